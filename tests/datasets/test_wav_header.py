"""Headers of streams, and headers that lie: the whole sound, a note or a refusal, never a few samples in silence."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from analognets.datasets.audio_blocks import RecordingBlocks
from analognets.datasets.audio_io import read_clips, read_recording
from analognets.datasets.wav_header import read_header
from analognets.errors import DataError

SOUND = (8000 * np.sin(np.arange(16_000) / 7)).astype(np.int16)
RATE, DATA = 24, 40


def wav(subtype: str = "PCM_16", rate: int = 16_000, sound: np.ndarray = SOUND) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def data_at(data: bytes) -> int:
    return data.index(b"data") + 4


def changed(data: bytes, *changes: tuple[int, int]) -> bytes:
    whole = bytearray(data)
    for place, value in changes:
        struct.pack_into("<I", whole, place, value)
    return bytes(whole)


@pytest.mark.parametrize("size", [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFD8, 0xFFFF_FFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("outer", [False, True], ids=["", "riff"])
def test_streams_are_read_whole(tmp_path: Path, size: int, subtype: str, outer: bool) -> None:
    whole = wav(subtype)
    (tmp_path / "whole.wav").write_bytes(whole)
    changes = [(data_at(whole), size), *([(4, size)] if outer else [])]
    (tmp_path / "stream.wav").write_bytes(changed(whole[: data_at(whole) + 4 + len(SOUND) * 4], *changes))
    read, wanted = (read_recording(tmp_path / f"{name}.wav") for name in ("stream", "whole"))
    np.testing.assert_array_equal(read.samples, wanted.samples)
    assert len(read.samples) == len(SOUND) and read.remarks == wanted.remarks


def test_no_sound_and_a_list_behind_it_stay_no_sound(tmp_path: Path) -> None:
    whole = wav()[:DATA] + struct.pack("<I", 0) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    (tmp_path / "x.wav").write_bytes(changed(whole, (4, len(whole) - 8)))
    with pytest.raises(DataError, match="holds no samples"):
        read_recording(tmp_path / "x.wav")


def test_chunks_and_padding_behind_the_sound_are_no_fault(tmp_path: Path) -> None:
    for rest in (b"", b"LIST" + struct.pack("<I", 2000) + b"x" * 2000, bytes(5000), b"TAG" + b" " * 125):
        (tmp_path / "x.wav").write_bytes(wav() + rest)
        assert read_recording(tmp_path / "x.wav").remarks == {}


@pytest.mark.parametrize(
    ("place", "value"),
    [(DATA, 16), (RATE, 768_000), (RATE, 15_000)],
    ids=["8 samples", "rate up", "rate"],
)
def test_a_header_at_odds_with_the_file_is_noted(tmp_path: Path, place: int, value: int) -> None:
    (tmp_path / "odd.wav").write_bytes(changed(wav(), (place, value)))
    notes = read_clips([tmp_path / "odd.wav"], root=tmp_path).notes
    assert any("have a header that does not fit the file" in note and "odd.wav" in note for note in notes)
    assert value == 15_000 or any("shorter than 0.1 s" in note for note in notes)


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 10_000_019, 32_000_000, 2**31 - 1, 2**32 - 1])
def test_the_rate_is_bounded(tmp_path: Path, rate: int) -> None:
    (tmp_path / "x.wav").write_bytes(changed(wav(), (RATE, rate)))
    with pytest.raises(DataError, match="x.wav.*(1,000 to 768,000 samples a second. Received: |as audio)"):
        read_recording(tmp_path / "x.wav")


def test_a_rate_of_an_unwieldy_ratio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(changed(wav(), (RATE, 767_999)))
    with pytest.raises(DataError, match="can't be resampled to 16,000 Hz.*Received: 767,999 Hz"):
        read_recording(tmp_path / "x.wav")


@pytest.mark.parametrize(("seconds", "rate"), [(601, 1000), (601, 16_000), (400, 96_000)])
def test_the_length_is_bounded_before_it_is_decoded(tmp_path: Path, seconds: int, rate: int) -> None:
    with (tmp_path / "x.flac").open("wb") as file:
        soundfile.write(file, np.zeros(seconds * rate, np.int16), rate, format="FLAC")
    with pytest.raises(DataError, match=f"may be 600 s long.*Received: {seconds} s at {rate:,} Hz. Cut it"):
        read_recording(tmp_path / "x.flac")


def test_too_many_bytes_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.wav").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(DataError, match="at most 268,435,456 bytes. Received: 1,000,000,000,000"):
        read_recording(tmp_path / "x.wav")


@given(st.integers(12, 43), st.binary(min_size=1, max_size=4))
def test_a_changed_header_never_shortens_in_silence(place: int, junk: bytes) -> None:
    data = bytearray(wav())
    data[place : place + len(junk)] = junk
    try:
        header = read_header(bytes(data), "x.wav")
    except DataError:
        return
    if header and header.encoding == 1 and not header.is_odd:
        assert header.size > 2 * len(SOUND) - 1100


FMT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)


@pytest.mark.parametrize("before", [b"", FMT + b"data\0\0\0\0"])
def test_a_file_of_a_million_chunks_is_given_up_at_once(before: bytes, tmp_path: Path) -> None:
    data = b"RIFF\xff\xff\xff\x7fWAVE" + before + b"AAAA\0\0\0\0" * 1_000_000
    began = time.process_time()
    header = read_header(data, "x.wav")
    assert time.process_time() - began < 1.0
    assert header is None or header.is_odd or header.is_open


@pytest.mark.parametrize("kind", ["RF64", "AIFF", "AU", "AU-", "W64", "FLAC", "OGG", "CAF"])
def test_half_of_a_file_of_any_kind_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with path.open("wb") as file:
        order = {"endian": "LITTLE"} if kind.endswith("-") else {}
        soundfile.write(file, np.sin(np.arange(16_000)) / 2, 16_000, format=kind.rstrip("-"), **order)
    assert len(read_recording(path).samples) == 16_000
    assert RecordingBlocks(path).seconds == 1
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (read_recording, lambda path: list(RecordingBlocks(path))):
        with pytest.raises(DataError, match="is cut short: its header promises|Can't read"):
            read(path)


@pytest.mark.parametrize(("kind", "places"), [
    ("AIFF", {4: struct.pack(">I", 0x7F00_0008)}), ("W64", {16: struct.pack("<Q", (1 << 63) - 1)}),
    ("AU", {8: struct.pack(">I", 0xFFFF_FFFF)}), ("RF64", {20: struct.pack("<Q", (1 << 64) - 1)}),
])  # fmt: skip
def test_sizes_that_a_stream_left_open_are_no_promise(kind: str, places: dict[int, bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with path.open("wb") as file:
        soundfile.write(file, np.sin(np.arange(16_000)) / 2, 16_000, format=kind)
    data = bytearray(path.read_bytes())
    for place, size in places.items():
        data[place : place + len(size)] = size
    assert read_header(bytes(data), path) is None
