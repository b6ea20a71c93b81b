"""Augmentation: each change obeys its law, and everything comes back bit for bit from its seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.datasets.augment import Augmentation, Noise, coloured_noise, noise_bank
from analognets.datasets.frontend import MFCC
from analognets.errors import InvalidArgumentError

CLIPS, SAMPLES = 64, 8000
EVERYTHING: dict[str, Any] = {
    "time_shift_ms": 100,
    "speed": 0.1,
    "gain_db": 6,
    "background_probability": 0.8,
    "background_snr_db": (0, 20),
    "frequency_warp": 0.1,
    "channel": 0.3,
    "time_masks": 2,
    "frequency_masks": 1,
    "silence_recut": True,
}


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((CLIPS, SAMPLES)) * 1000).astype(np.int16)


@pytest.fixture(scope="module")
def noise() -> Noise:
    rng = np.random.default_rng(1)
    return noise_bank([rng.standard_normal(30000) * 0.01, rng.standard_normal(20000) * 0.1], samples=SAMPLES)


def changed(augmentation: Augmentation, audio: Any, seed: tuple[int, int] = (1, 2), **arguments: Any) -> np.ndarray:
    draws = augmentation.draw(len(audio), seed)
    return augmentation.waveform(audio, draws, **arguments).numpy()


def test_nothing_changes_by_default(audio: np.ndarray) -> None:
    np.testing.assert_array_equal(changed(Augmentation(), audio), audio / np.float32(32768))
    bands = tf.random.normal((CLIPS, 49, 40))
    np.testing.assert_array_equal(Augmentation().log_mel(bands, Augmentation().draw(CLIPS, (0, 0))), bands)
    assert Augmentation().mel_matrices(MFCC(), None) is None


def test_same_seed_same_bits_and_other_seeds_differ(audio: np.ndarray, noise: Noise) -> None:
    everything = Augmentation(**EVERYTHING)
    silence = np.arange(CLIPS) % 8 == 0

    def features(seed: tuple[int, int]) -> np.ndarray:
        draws = everything.draw(CLIPS, seed)
        return everything.features(MFCC(), audio, draws, noise=noise, silence=silence).numpy()

    first = features((3, 4))
    np.testing.assert_array_equal(features((3, 4)), first)
    assert np.isfinite(first).all()
    for other in ((3, 5), (4, 4)):
        assert (features(other) != first).mean() > 0.99


def test_a_shifted_impulse_moves_by_whole_samples_within_the_limit() -> None:
    impulses = np.zeros((400, SAMPLES), np.float32)
    impulses[:, 3000] = 0.5
    found = changed(Augmentation(time_shift_ms=10), impulses)
    assert set(np.unique(found)) == {0.0, 0.5}
    assert (found.sum(axis=1) == 0.5).all()
    moved = found.argmax(axis=1) - 3000
    assert np.abs(moved).max() <= 160
    # uniform over -160 ... 160: mean 0 and standard deviation 92.7, each within 4 standard errors
    assert abs(moved.mean()) < 4 * 92.7 / 20
    assert abs(moved.std() - 92.7) < 4 * 92.7 / 20 / np.sqrt(2)


def test_what_is_shifted_out_is_gone_and_zeros_move_in() -> None:
    found = changed(Augmentation(time_shift_ms=200), np.full((50, SAMPLES), 0.25, np.float32))
    assert set(np.unique(found)) == {0.0, 0.25}
    zeros = (found == 0).sum(axis=1)
    assert zeros.max() <= 3200
    assert ((found[:, 0] == 0) != (found[:, -1] == 0))[zeros > 0].all()


def test_speed_scales_time_about_the_middle() -> None:
    time = np.arange(SAMPLES) - (SAMPLES - 1) / 2
    ramps = np.tile((time * 1e-4).astype(np.float32), (40, 1))
    augmentation = Augmentation(speed=0.2)
    found = changed(augmentation, ramps)[:, 1500:-1500]
    slopes = np.diff(found, axis=1)
    factors = slopes.mean(axis=1) / 1e-4
    np.testing.assert_allclose(slopes, np.broadcast_to(factors[:, None] * 1e-4, slopes.shape), atol=1e-6)
    np.testing.assert_allclose(found, factors[:, None] * ramps[:, 1500:-1500], atol=1e-5)
    assert factors.min() >= 0.8
    assert factors.max() <= 1.2
    assert np.ptp(factors) > 0.2


def test_gain_stays_within_its_decibels_and_output_within_full_scale(audio: np.ndarray) -> None:
    quiet = audio.astype(np.float32) / 32768
    gains = 20 * np.log10(changed(Augmentation(gain_db=6), quiet).std(axis=1) / quiet.std(axis=1))
    assert np.abs(gains).max() <= 6.001
    assert np.ptp(gains) > 8
    assert np.abs(changed(Augmentation(gain_db=60), quiet)).max() == 1.0


def test_background_has_the_asked_ratio_and_share(audio: np.ndarray, noise: Noise) -> None:
    many = np.tile(audio, (5, 1))
    augmentation = Augmentation(background_probability=0.7, background_snr_db=(5, 15))
    found = changed(augmentation, many, noise=noise)
    clean = many / np.float32(32768)
    added = found - clean
    mixed = np.abs(added).max(axis=1) > 0
    assert abs(mixed.mean() - 0.7) < 4 * np.sqrt(0.7 * 0.3 / len(many))
    ratio = 20 * np.log10(clean[mixed].std(axis=1) / added[mixed].std(axis=1))
    assert ratio.min() > 4.9
    assert ratio.max() < 15.1
    assert abs(ratio.mean() - 10) < 4 * (10 / np.sqrt(12)) / np.sqrt(mixed.sum())


def test_background_volume_is_a_factor_on_the_recording() -> None:
    recordings = noise_bank([np.full(9000, 0.5, np.float32)], samples=SAMPLES)
    augmentation = Augmentation(background_probability=1.0, background_volume=(0.1, 0.3))
    found = changed(augmentation, np.zeros((200, SAMPLES), np.float32), noise=recordings)
    assert np.ptp(found, axis=1).max() == 0
    assert 0.05 <= found.min() < 0.06
    assert 0.14 < found.max() <= 0.1501


def test_silence_is_made_anew_over_the_whole_range_of_loudness(noise: Noise) -> None:
    clips = np.full((400, SAMPLES), 0.5, np.float32)
    silence = np.arange(400) % 2 == 0
    found = changed(
        Augmentation(silence_recut=True, silence_rms=(1e-4, 0.1), silence_zeros=0.1),
        clips,
        noise=noise,
        silence=silence,
    )
    np.testing.assert_array_equal(found[~silence], clips[~silence])
    loudness = np.sqrt((found[silence] ** 2).mean(axis=1))
    zeros = loudness == 0
    assert abs(zeros.mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 200)
    logs = np.log10(loudness[~zeros])
    assert logs.min() > -4.01
    assert logs.max() < -0.99
    assert abs(logs.mean() + 2.5) < 4 * (3 / np.sqrt(12)) / np.sqrt(len(logs))


def test_switching_one_setting_on_leaves_the_draws_of_others(audio: np.ndarray) -> None:
    one = Augmentation(time_shift_ms=50)
    both = Augmentation(time_shift_ms=50, time_masks=2)
    np.testing.assert_array_equal(changed(one, audio), changed(both, audio))


@settings(max_examples=20, deadline=None)
@given(
    masks=st.integers(1, 4),
    longest=st.integers(1, 60),
    probability=st.floats(0, 1),
    over_time=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
)
def test_masks_are_whole_bands_no_longer_than_asked(
    masks: int, longest: int, probability: float, over_time: bool, seed: int
) -> None:
    names = ("time_masks", "time_mask_frames") if over_time else ("frequency_masks", "frequency_mask_bands")
    augmentation = Augmentation(**{names[0]: masks, names[1]: longest}, mask_probability=probability)
    bands = np.random.default_rng(seed).standard_normal((16, 49, 40)).astype(np.float32)
    found = augmentation.log_mel(tf.constant(bands), augmentation.draw(16, (seed, 1))).numpy()
    masked = found != bands
    lines = masked.any(axis=2 if over_time else 1)
    np.testing.assert_array_equal(masked.all(axis=2 if over_time else 1), lines)
    assert lines.sum(axis=1).max() <= masks * min(longest, lines.shape[1])
    assert np.abs(np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1).max() <= 2 * masks
    fill = np.where(masked, found - bands.mean(axis=(1, 2), keepdims=True), 0)
    assert np.abs(fill).max() < 1e-5
    if probability == 0:
        assert not masked.any()


def test_mask_lengths_are_uniform() -> None:
    augmentation = Augmentation(time_masks=1, time_mask_frames=9)
    bands = tf.random.stateless_normal((2000, 49, 2), (0, 0))
    lengths = (augmentation.log_mel(bands, augmentation.draw(2000, (5, 5))) != bands).numpy()[:, :, 0].sum(axis=1)
    counts = np.bincount(lengths, minlength=10)
    assert len(counts) == 10
    assert np.abs(counts - 200).max() < 4.5 * np.sqrt(200 * 0.9)


def test_silence_keeps_its_bands() -> None:
    augmentation = Augmentation(time_masks=4, time_mask_frames=40, channel=1.0)
    bands = tf.random.stateless_normal((10, 49, 40), (0, 0))
    silence = np.arange(10) < 5
    found = augmentation.log_mel(bands, augmentation.draw(10, (0, 1)), silence=silence).numpy()
    np.testing.assert_array_equal(found[:5], bands[:5])
    assert (found[5:] != bands.numpy()[5:]).any(axis=(1, 2)).all()


def test_channel_adds_the_same_smooth_curve_to_every_frame() -> None:
    augmentation = Augmentation(channel=0.5)
    found = augmentation.log_mel(tf.zeros((4000, 2, 40)), augmentation.draw(4000, (0, 1))).numpy()
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert np.abs(found.mean(axis=2)).max() < 1e-5
    weights = found[:, 0] @ np.cos(np.pi * np.outer(np.arange(40) + 0.5, np.arange(1, 4)) / 40) / 20
    np.testing.assert_allclose(weights.std(axis=0), 0.5, atol=4 * 0.5 / np.sqrt(8000))


def test_frequency_warp_takes_one_of_its_filters_for_each_clip() -> None:
    augmentation = Augmentation(frequency_warp=0.1)
    matrices = augmentation.mel_matrices(MFCC(), augmentation.draw(100, (0, 1))).numpy()
    assert matrices.shape == (100, *MFCC().mel_matrix().shape)
    bank = [MFCC().mel_matrix(warp) for warp in 1 + 0.1 * np.linspace(-1, 1, 21)]
    which = {next(i for i, known in enumerate(bank) if np.array_equal(known, matrix)) for matrix in matrices}
    assert len(which) > 15


def test_crops_come_from_within_recordings_with_the_asked_odds() -> None:
    recordings = [np.full(SAMPLES + 4000, 0.25), np.full(100, 0.5)]
    bank = noise_bank(recordings, samples=SAMPLES, coloured_share=0.5)
    augmentation = Augmentation(background_probability=1, background_volume=(1, 1), coloured_noise=0.5)
    found = changed(augmentation, np.zeros((400, SAMPLES), np.float32), noise=bank)
    flat = np.ptp(found, axis=1) == 0
    assert abs(flat.mean() - 0.5) < 4 * 0.5 / 20
    assert set(np.unique(found[flat])) == {0.25, 0.5}
    assert abs((found[flat][:, 0] == 0.5).mean() - 0.5) < 4 * 0.5 / np.sqrt(flat.sum())


def test_coloured_noise_falls_with_frequency_as_it_says() -> None:
    for exponent, wave in zip(np.linspace(0, 2, 10), coloured_noise(), strict=True):
        power = np.abs(np.fft.rfft(wave)) ** 2
        frequency = np.fft.rfftfreq(len(wave), 1 / 16000)
        octaves = [power[(frequency >= low) & (frequency < 2 * low)].mean() for low in (50, 100, 200, 400, 800, 1600)]
        slope = np.polyfit(np.arange(6), np.log2(octaves), 1)[0]
        assert slope == pytest.approx(-exponent, abs=0.1)
        assert wave.std() == pytest.approx(0.005, rel=1e-3)


def test_config_round_trip_and_lists_from_yaml() -> None:
    augmentation = Augmentation(**EVERYTHING)
    again = Augmentation(**augmentation.get_config())
    assert again == augmentation
    assert hash(Augmentation(background_snr_db=[0, 20])) == hash(Augmentation(background_snr_db=(0.0, 20.0)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"time_shift_ms": -1}, "`time_shift_ms` of Augmentation must be a number from 0 to 1000"),
        ({"speed": 0.6}, "`speed` of Augmentation must be a number from 0 to 0.5"),
        ({"gain_db": "loud"}, "`gain_db` of Augmentation .* Received: gain_db='loud'"),
        ({"time_masks": 5}, "`time_masks` of Augmentation must be a whole number from 0 to 4"),
        ({"background_snr_db": (20, 0)}, "`background_snr_db` of Augmentation must be two numbers, the lowest"),
        ({"background_snr_db": 20}, "must be two numbers"),
        ({"background_snr_db": ("a", "b")}, "`background_snr_db` of Augmentation must be a number from -60"),
        ({"silence_rms": (0.0, 1.0)}, "`silence_rms` of Augmentation must be a number from 1e-06"),
        ({"silence_recut": 1}, "`silence_recut` of Augmentation must be True or False"),
        ({"background_probability": 0.5}, "set one of `background_volume` and `background_snr_db`"),
        ({"background_volume": (0, 1), "background_snr_db": (0, 1)}, "set one of `background_volume` and"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Augmentation(**wrong)


def test_missing_noise_is_named(audio: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="Augmentation mixes in noise and got none"):
        changed(Augmentation(background_probability=1, background_volume=(0, 1)), audio)
    with pytest.raises(InvalidArgumentError, match="there is no background recording"):
        noise_bank([])
