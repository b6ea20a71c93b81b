"""Sounds and pictures to spikes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.errors import InvalidArgumentError
from analognets.spiking import Cochlea, PixelCode

RATE = 16_000
FEW = settings(max_examples=20, deadline=None, derandomize=True)


def tone(frequency, milliseconds=300, loudness=0.5):
    return loudness * np.sin(2 * np.pi * frequency * np.arange(RATE * milliseconds // 1000) / RATE)


def small(**changes):
    return Cochlea(**{"channels": 24, "duration": 300.0, "subsample": 1, "compression": 1.0, **changes})


@pytest.mark.parametrize("frequency", [200.0, 1000.0, 4000.0])
def test_a_tone_is_loudest_in_the_band_of_its_frequency(frequency) -> None:
    cochlea = small()
    loudness = cochlea.envelopes(tone(frequency))[100:].mean(0)
    nearest = np.abs(np.log(cochlea.centres() / frequency)).argmin()
    assert abs(int(loudness.argmax()) - nearest) <= 1
    rates = cochlea.encode(tone(frequency)).rates()
    assert rates.argmax() == loudness.argmax() and rates[nearest] > 10 * np.median(rates)


def test_rates_follow_the_envelope() -> None:
    cochlea = small(max_rate=200.0)
    sound = tone(800.0)
    expected = cochlea.max_rate * cochlea.envelopes(sound).sum(0) / 1000
    assert np.all(np.abs(cochlea.encode(sound, seed=3).counts() - expected) <= 1)


def test_sub_sampling_keeps_every_nth_spike() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, RATE)
    whole, part = (small(subsample=n, compression=0.3, max_rate=300.0).encode(sound).counts() for n in (1, 3))
    assert np.all(np.abs(part - whole / 3) <= 1)


def test_levels_send_up_and_down() -> None:
    cochlea = small(coding="level", level=0.1)
    sound = tone(1000.0)
    sound[:1600] = sound[-1600:] = 0.0
    spikes = cochlea.encode(sound)
    band = int(np.abs(np.log(cochlea.centres() / 1000.0)).argmin())
    up, down = spikes.lists()[band], spikes.lists()[12 + band]
    assert cochlea.bands == 12 and len(up) >= 8 and up.min() >= 99 and down.max() > up[0]
    assert 100 <= np.median(up) <= 130 and down[-1] > 200


def test_louder_and_quieter_recordings_have_one_code() -> None:
    loud, quiet = (small().encode(tone(700.0, loudness=x)) for x in (0.8, 0.02))
    np.testing.assert_allclose(loud.times, quiet.times, atol=1e-6)
    whole = (tone(700.0, loudness=0.5) * 32767).astype(np.int16)
    assert len(small().encode(whole)) == len(loud)


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros(RATE), "The sound must not be silent. Received: a peak of 0 of full scale"),
        (tone(500.0, 200), "at least as long as the window of 300 ms. Received: 200 ms. Stretch or pad it"),
        (np.full(RATE, np.nan), "one channel of finite samples"),
        (np.ones((RATE, 2)), r"one channel of finite samples. Received: shape \(16000, 2\)"),
    ],
)
def test_sounds_that_cannot_be_heard_are_refused(sound, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        small().encode(sound)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 5000.0, "high": 400.0}, "`high` of Cochlea must be above low"),
        ({"coding": "level", "channels": 7}, "even number of channels"),
        ({"coding": "phase"}, "`coding` of Cochlea must be one of|coding"),
        ({"high": 9000.0}, "`high` of Cochlea must be a number from 20 to 7840 Hz"),
    ],
)
def test_bad_cochleas_are_refused(changes, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        small(**changes)


@FEW
@given(st.integers(0, 1000), st.integers(1, 12))
def test_pictures_come_back_from_their_spikes(seed, most) -> None:
    code = PixelCode(shape=(5, 4), most=most, duration=1000.0)
    picture = np.random.default_rng(seed).integers(0, most + 1, (5, 4)) / most
    picture[0, 0] = 1.0
    spikes = code.encode(picture, seed=seed)
    np.testing.assert_allclose(code.decode(spikes), picture)
    for times in spikes.lists():
        assert np.all(np.diff(times) >= code.gap - 1e-9) and np.all(times >= code.start)


def test_pictures_have_the_published_size() -> None:
    spikes = PixelCode().encode(np.full((14, 12), 0.5))
    assert (spikes.n_channels, spikes.duration) == (168, 1250.0)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((14, 12)), "The wanted spikes of a picture must hold at least one spike. Received: 168 empty"),
        (np.ones((12, 14)), r"must have 14 x 12 values from 0 to 1. Received: shape \(12, 14\)"),
        (np.full((14, 12), 2.0), "Received: largest 2. Divide by it"),
    ],
)
def test_pictures_that_have_no_code_are_refused(picture, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        PixelCode().encode(picture)


def test_spikes_that_do_not_fit_into_the_window_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="60 spikes 30 ms apart don't fit between 30 and 1250 ms"):
        PixelCode(most=60)
