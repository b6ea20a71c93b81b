"""Listening: what is heard and when, from any source at any rate in any blocks, on chips too; and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import analognets as an
from analognets.datasets.audio_io import to_int16
from analognets.deploy.stream import DetectorSettings, Listener, Microphone, StreamingMFCC, listen
from analognets.deploy.stream.blocks import samples_of
from analognets.deploy.stream.network import ChipNetwork, DigitalNetwork, network_for
from analognets.errors import (
    ConversionError,
    DataError,
    DataWarning,
    InvalidArgumentError,
    MissingExtraError,
    UnknownNameError,
)
from analognets.zoo.trained import open_trained

SETTINGS = DetectorSettings(0.6, smoothing=0.3, suppression=2.0)


def hear(toy: Any, stream: Any, **options: Any) -> list[tuple[float, str]]:
    options = {"settings": SETTINGS, "frontend": toy.frontend, "classes": toy.classes, **options}
    return [(round(one.time, 6), one.word) for one in listen(toy.model, stream, **options)]


def test_loud_seconds_are_heard_once_each(toy: Any, bursts: np.ndarray) -> None:
    found = hear(toy, bursts)
    assert [word for _, word in found] == ["loud", "loud"]
    assert all(start < time < start + 1.5 for start, (time, _) in zip((3, 7), found, strict=True))


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("kind", ["wav", "blocks"])
def test_any_source_and_rate(toy: Any, bursts: np.ndarray, tmp_path: Path, rate: int, kind: str) -> None:
    from scipy.signal import resample_poly

    sound = resample_poly(bursts, rate, 16_000).astype(np.float32) if rate != 16_000 else bursts
    if kind == "wav":
        soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], axis=1), rate)
        found = hear(toy, tmp_path / "a.wav")
    else:
        found = hear(toy, np.array_split(to_int16(sound), 77), rate=rate)
    assert [word for _, word in found] == ["loud", "loud"]
    np.testing.assert_allclose([time for time, _ in found], [time for time, _ in hear(toy, bursts)], atol=0.11)


@given(st.lists(st.integers(0, 192_000), max_size=20), st.sampled_from(["digital", "chip"]))
@settings(max_examples=6)
def test_blocks_don_t_matter(toy: Any, toy_chips: Any, bursts: np.ndarray, cuts: list[int], on: str) -> None:
    network = DigitalNetwork(toy.model, 3) if on == "digital" else ChipNetwork(toy_chips, 3).load("1d", chip=1)
    listener = Listener(network, StreamingMFCC(toy.frontend), toy.classes, SETTINGS)
    whole = list(listener.listen([bursts]))
    found = list(listener.listen(np.split(bursts, sorted(cuts))))
    assert [(one.time, one.word) for one in found] == [(one.time, one.word) for one in whole]
    np.testing.assert_allclose([one.score for one in found], [one.score for one in whole], atol=0.02)
    assert len(whole) == 2 and listener.seconds == 12.0


def test_detections_come_as_soon_as_they_can(toy: Any, bursts: np.ndarray) -> None:
    given_: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        for number in range(120):
            given_.append(number)
            yield bursts[1600 * number : 1600 * (number + 1)]

    first = next(iter(listen(toy.model, blocks(), settings=SETTINGS, frontend=toy.frontend, classes=toy.classes)))
    assert len(given_) == round(first.time / 0.1)


def test_a_preset_on_a_chip_hears_what_the_chip_says_of_clips() -> None:
    trained = open_trained("analognet_kws.hwa_8bit")
    sound = 0.05 * np.random.default_rng(0).normal(size=3 * 16_000).astype(np.float32)
    front = an.deploy.stream.stream_frontend(trained)
    windows = front.push(sound)
    network = network_for(trained, at="1d", seed=3)
    logits = an.deploy.program(trained.model, chips=1, seed=3).predict(windows.features, at="1d")
    np.testing.assert_allclose(network.posteriors(windows.features), np.asarray(keras.ops.softmax(logits)), atol=1e-6)
    assert list(listen("analognet_kws.hwa_8bit", sound, at="1d", settings=DetectorSettings(1.0))) == []


def test_stored_calibrations_count() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3)]
    )
    windows = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    chips = an.deploy.program(an.to_analog(model, "aon_cim_8bit", calibrate_on=windows), 1)
    network = ChipNetwork(chips, 3)
    before = {at: network.load(at).posteriors(windows) for at in ("25s", "1d", "1y")}
    chips.calibrate(windows, at="1d")
    for at, old in before.items():
        logits = chips.predict(windows, at=at)
        new = network.load(at).posteriors(windows)
        np.testing.assert_allclose(new, np.asarray(keras.ops.softmax(logits)), atol=1e-6)
        assert np.array_equal(new, old) == (at == "25s")


def test_noise_of_products_depends_on_the_window_not_on_blocks() -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(3)])
    windows = np.random.default_rng(0).normal(size=(130, 6)).astype(np.float32)
    analog = an.to_analog(model, "aimc_standard", calibrate_on=windows)
    network = ChipNetwork(an.deploy.program(analog, 1), 3).load("1h")
    whole = network.posteriors(windows)
    pieces, done = [], 0
    for size in (1, 30, 40, 1, 58):
        pieces.append(network.posteriors(windows[done : done + size], done))
        done += size
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)
    np.testing.assert_allclose(network.load("1h").posteriors(windows), whole, atol=1e-6)
    same = network.posteriors(np.repeat(windows[:1], 120, axis=0))
    assert len(np.unique(same[:50, 0])) > 5 and not np.array_equal(same[:50], same[50:100]), "each has its own noise"


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (np.zeros((100, 2), np.float32), InvalidArgumentError, r"must be mono.*shape \(100, 2\) in block 1. Average"),
        (np.zeros((1, 100), np.float32), InvalidArgumentError, r"must be mono.*shape \(1, 100\)"),
        (np.array([0, np.nan], np.float32), DataError, r"finite samples. Received: nan as sample 1 of block 1"),
        (np.array([0, np.inf]), DataError, r"finite samples. Received: inf"),
        (np.array([0, 3000.0]), DataError, r"lie from -1 to 1. Received: up to 3000 in block 1. Divide them"),
        (np.zeros(5, np.int32), InvalidArgumentError, r"floats from -1 to 1, or int16. Received: int32"),
        (["a", "b"], InvalidArgumentError, r"floats from -1 to 1, or int16. Received: <U1"),
        ([[1.0], [2.0, 3.0]], InvalidArgumentError, r"floats from -1 to 1, or int16. Received: object"),
        (None, InvalidArgumentError, r"floats from -1 to 1, or int16. Received: object"),
    ],
)
def test_wrong_blocks(toy: Any, bursts: np.ndarray, block: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hear(toy, [bursts, block])


def test_blocks_of_one_column_and_int16_are_taken() -> None:
    values = np.array([0, 16384, -32768], np.int16)
    for block in (values, values[:, None], values / 32768):
        np.testing.assert_array_equal(samples_of(block), [0, 0.5, -1])


@pytest.mark.parametrize("stream", [[], [np.zeros(15_999, np.float32)], np.zeros(100, np.int16)])
def test_streams_shorter_than_a_window(toy: Any, stream: Any) -> None:
    with pytest.raises(DataError, match=r"at least one window of 1 s long. Received: [\d.]+ s. Record more"):
        hear(toy, stream)


def test_other_wrong_streams(toy: Any, bursts: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.wav: No such file"):
        hear(toy, tmp_path / "none.wav")
    with pytest.raises(InvalidArgumentError, match=r"iterable of blocks of samples. Received: int"):
        hear(toy, 5)
    with pytest.raises(DataError, match=r"300,007 Hz can't be resampled to 16,000 Hz"):
        hear(toy, bursts, rate=300_007)
    with pytest.raises(InvalidArgumentError, match=r"`rate` of a stream must be a whole number from 1000 to 768000"):
        hear(toy, bursts, rate=5)
    with pytest.raises(InvalidArgumentError, match=r"`every` of a stream must be a number from 0.001 to 0.98 s"):
        hear(toy, bursts, every=0)
    soundfile.write(tmp_path / "a.wav", np.repeat(bursts, 3), 48_000)
    assert hear(toy, tmp_path / "a.wav", rate=48_000) == hear(toy, tmp_path / "a.wav"), "the file's own rate"
    with pytest.raises(InvalidArgumentError, match="its own rate, 48,000 samples a second. Received: rate=44100"):
        hear(toy, tmp_path / "a.wav", rate=44_100)


def test_networks_that_can_not_listen(toy: Any, bursts: np.ndarray) -> None:
    with pytest.raises(ConversionError, match=r"MFCC front end, for sound.*Image of the preset 'analognet_vww.float'"):
        listen("analognet_vww.float", bursts)
    with pytest.raises(ConversionError, match=r"Received: none of the model 'toy'"):
        listen(toy.model, bursts)
    with pytest.raises(ConversionError, match=r"names no classes, so no word can be reported"):
        listen(toy.model, bursts, frontend=toy.frontend)
    with pytest.raises(ConversionError, match=r"one output for each of its 2 classes. Received: 'toy'"):
        listen(toy.model, bursts, frontend=toy.frontend, classes=("a", "b"))
    with pytest.raises(ConversionError, match=r"digital network, with nothing to programme into chips"):
        listen("analognet_kws.float", bursts, on="chip")
    with pytest.raises(ConversionError, match=r"holds no float network from before training for hardware"):
        listen("analognet_kws.hwa_8bit", bursts, on="float")
    with pytest.raises(InvalidArgumentError, match=r"`on` of a stream must be one of 'chip', 'digital', 'float'"):
        listen("analognet_kws.hwa_8bit", bursts, on="moon")
    with pytest.raises(UnknownNameError, match=r"Unknown preset. Did you mean"):
        listen("analognet_kws.hwa_8bits", bursts)
    network = DigitalNetwork(toy.model, 3)
    with pytest.raises(InvalidArgumentError, match=r"takes features of shape \(49, 10, 1\). Received: \(48, 10, 1\)"):
        network.posteriors(np.zeros((1, 48, 10, 1), np.float32))
    with pytest.raises(InvalidArgumentError, match=r"`chip` of a stream must be a whole number from 0 to 0"):
        ChipNetwork(an.deploy.program(open_trained("analognet_kws.hwa_8bit").model, 1), 12).load("1d", chip=1)


class FakeStream:
    """A microphone that gives noise, and overflows once."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.reads = 0
        self.closed = False

    def start(self) -> None:
        """Begin."""

    def read(self, frames: int) -> tuple[np.ndarray, bool]:
        self.reads += 1
        return np.full((frames, 1), self.reads, np.int16), self.reads == 2

    def close(self) -> None:
        self.closed = True


def library(rates: tuple[int, ...], default: int = 48_000) -> SimpleNamespace:
    """Return a sounddevice with one microphone of these rates, or none."""
    opened: list[FakeStream] = []

    def query(device: Any, kind: str) -> dict[str, Any]:
        if not rates:
            raise ValueError("No input device matching 'x'")
        return {"default_samplerate": float(default), "max_input_channels": 1}

    def check(**settings: Any) -> None:
        if settings["samplerate"] not in rates:
            raise RuntimeError("Invalid sample rate [PaErrorCode -9997]")

    def make(**settings: Any) -> FakeStream:
        opened.append(FakeStream(**settings))
        return opened[-1]

    return SimpleNamespace(query_devices=query, check_input_settings=check, InputStream=make, opened=opened)


def test_a_microphone_gives_blocks_at_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    for rates, wanted in (((16_000, 48_000), 16_000), ((48_000,), 48_000)):
        fake = library(rates)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        microphone = Microphone(16_000, seconds=0.05)
        assert microphone.rate == wanted
        blocks = iter(microphone)
        with pytest.warns(DataWarning, match="faster than it was looked at"):
            found = [next(blocks) for _ in range(3)]
        assert [len(block) for block in found] == [wanted // 20] * 3 and found[0].dtype == np.int16
        assert [block[0] for block in found] == [1, 2, 3]
        blocks.close()  # type: ignore[attr-defined]
        assert fake.opened[0].closed


def test_no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"microphone needs optional packages.*analognets\[microphone\]"):
        Microphone()
    for fake in (library(()), library((8000,))):
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        with pytest.raises(DataError, match=r"No microphone can be opened: (No input|Invalid sample).*--wav FILE"):
            Microphone()


def test_results_are_plain_data(toy: Any, bursts: np.ndarray) -> None:
    options = {"settings": SETTINGS, "frontend": toy.frontend, "classes": toy.classes}
    rows = [one.to_dict() for one in listen(toy.model, bursts, **options)]
    assert json.loads(json.dumps(rows)) == rows
