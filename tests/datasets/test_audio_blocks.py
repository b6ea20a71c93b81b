"""Recordings block by block, and their rate: the same as all at once, whatever the blocks."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.datasets.audio_blocks import RecordingBlocks
from analognets.datasets.audio_io import read_wav, resample
from analognets.datasets.resampling import Resampler
from analognets.errors import DataError, DataWarning, InvalidArgumentError

RATES = (1000, 8000, 11_025, 16_000, 22_050, 44_100, 48_000)
SOUND = (0.3 * np.random.default_rng(3).normal(size=30_000)).clip(-1, 1)


@given(st.sampled_from(RATES), st.sampled_from(RATES), st.lists(st.integers(0, 4000), max_size=8), st.integers(0, 9999))
@settings(max_examples=15)
def test_a_rate_is_changed_block_by_block_as_all_at_once(found: int, wanted: int, blocks: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).normal(size=sum(blocks)).astype(np.float32)
    resampler = Resampler(found, wanted)
    for _ in range(2):  # the second time after a stream that ended
        pieces = [resampler.push(block) for block in np.split(sound, np.cumsum(blocks)[:-1])] if blocks else []
        whole = np.concatenate([*pieces, resampler.finish()])
        np.testing.assert_allclose(whole, resample(sound, found, wanted), atol=1e-6)


def test_what_is_given_lags_by_the_filter_alone() -> None:
    given_ = Resampler(48_000, 16_000).push(np.zeros(48_000, np.float32))
    assert 16_000 - 11 <= len(given_) <= 16_000


@pytest.mark.parametrize("rate", [0, 999, 1_000_000, 16_000.5, "fast", None])
def test_no_rate(rate: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`rate` of a stream must be a whole number from 1000 to 768000"):
        Resampler(rate, 16_000)  # type: ignore[arg-type]


def test_a_rate_that_can_not_be_changed() -> None:
    with pytest.raises(DataError, match=r"stream of 300,007 Hz can't be resampled to 16,000 Hz.*common rate"):
        Resampler(300_007, 16_000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8000, 3)])
def test_blocks_are_the_recording(tmp_path: Path, subtype: str, rate: int, channels: int) -> None:
    sound = np.stack([np.roll(SOUND, shift) for shift in range(channels)], axis=1)
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype=subtype)
    blocks = RecordingBlocks(tmp_path / "a.wav", seconds=0.07)
    assert (blocks.found, blocks.seconds) == (rate, len(sound) / rate)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(blocks)), read_wav(tmp_path / "a.wav")[0])
    assert all(block.dtype == np.int16 and len(block) <= 1500 for block in blocks)


@pytest.mark.parametrize("scale", [1.0, 1.7, 20_000.0])
def test_floats_of_another_scale(tmp_path: Path, scale: float) -> None:
    sound = np.rint(SOUND * scale) if scale > 8 else SOUND * scale
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    with pytest.warns(DataWarning, match="int16 values|over full scale") if scale > 1 else contextlib.nullcontext():
        blocks = RecordingBlocks(tmp_path / "a.wav")
    assert len(blocks.notes) == (scale > 1)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), read_wav(tmp_path / "a.wav")[0])


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_header_left_open(tmp_path: Path, size: int, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND, 16_000, subtype=subtype)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    place = data.index(b"data") + 4
    for start in (4, place):
        struct.pack_into("<I", data, start, size)
    (tmp_path / "a.wav").write_bytes(data[: place + 4 + 4 * len(SOUND)])
    blocks = np.concatenate(list(RecordingBlocks(tmp_path / "a.wav")))
    np.testing.assert_array_equal(blocks, read_wav(tmp_path / "a.wav")[0])


def write_broken(path: Path, kind: str) -> None:
    soundfile.write(path, SOUND, 16_000, subtype="PCM_16")
    data = path.read_bytes()
    if kind == "not finite":
        soundfile.write(path, np.full(100, np.nan), 16_000, subtype="FLOAT")
    elif kind == "unknown scale":
        soundfile.write(path, np.full(100, 1e6), 16_000, subtype="FLOAT")
    elif kind == "can't be resampled":
        soundfile.write(path, SOUND, 300_007, subtype="PCM_16")
    elif kind != "No such file":
        path.write_bytes({"cut short": data[:20_000], "no samples": data[:40] + bytes(4), "as audio": b"none"}[kind])
    else:
        path.unlink()


@pytest.mark.parametrize(
    "kind",
    ["cut short", "no samples", "as audio", "not finite", "unknown scale", "can't be resampled", "No such file"],
)
def test_broken_recordings_are_named(tmp_path: Path, kind: str) -> None:
    write_broken(tmp_path / "odd.wav", kind)
    with pytest.raises(DataError, match=kind) as caught:
        list(RecordingBlocks(tmp_path / "odd.wav"))
    assert "odd.wav" in str(caught.value)
