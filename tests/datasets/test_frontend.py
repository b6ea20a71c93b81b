"""The MFCC layer: definition, parity with librosa and with MLPerf Tiny's published features, settings, saving."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import librosa
import numpy as np
import pytest
import scipy.fft
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.datasets.frontend import MFCC, list_presets
from analognets.errors import InvalidArgumentError, UnknownNameError

PRESETS = ("arm_40ms", "mlperf_tiny")


@pytest.fixture
def parity(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return benchmarks.frontend_parity, which is no part of the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    return importlib.import_module("benchmarks.frontend_parity")


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Tones in noise of very different loudness, and one clip of zeros."""
    rng = np.random.default_rng(1)
    time = np.arange(16000) / 16000
    loudness = 10.0 ** -np.arange(0, 4, 0.5)[:, None]
    waves = np.sin(2 * np.pi * rng.uniform(100, 3500, (8, 1)) * time) + 0.1 * rng.standard_normal((8, 16000))
    waves[-1] = 0
    return (np.clip(waves * loudness * 0.5, -1, 0.9999) * 32768).astype(np.int16)


@pytest.mark.parametrize("preset", PRESETS)
def test_one_second_gives_49_frames_of_10_coefficients(preset: str, clips: np.ndarray) -> None:
    frontend = MFCC.from_preset(preset)
    found = frontend(clips)
    assert found.shape == (8, 49, 10, 1) == frontend.compute_output_shape((8, 16000))
    assert found.dtype == tf.float32
    assert np.isfinite(found).all()


def test_presets_say_where_they_come_from() -> None:
    assert set(list_presets()) == set(PRESETS)
    assert all("arXiv" in source for source in list_presets().values())


@pytest.mark.parametrize("preset", PRESETS)
def test_int16_is_full_scale_32768(preset: str, clips: np.ndarray) -> None:
    frontend = MFCC.from_preset(preset)
    np.testing.assert_array_equal(frontend(clips), frontend(clips.astype(np.float32) / 32768))


def test_agrees_with_librosa(parity: ModuleType, clips: np.ndarray) -> None:
    assert parity.librosa_parity(clips) < 1e-4


@settings(max_examples=10, deadline=None)
@given(
    window=st.integers(64, 1024),
    hop=st.integers(50, 700),
    padding=st.integers(0, 300),
    bands=st.integers(2, 16),
    high=st.integers(2000, 8000),
    seed=st.integers(0, 99),
)
def test_agrees_with_librosa_for_other_settings(
    window: int, hop: int, padding: int, bands: int, high: int, seed: int
) -> None:
    audio = np.random.default_rng(seed).standard_normal((2, 5000)).astype(np.float32) * 0.1
    points = window + padding
    frontend_settings: dict[str, Any] = {"mel_bands": bands, "high_hz": high, "low_hz": 0, "coefficients": bands}
    try:
        frontend = MFCC(window_length=window, hop_length=hop, fft_length=points, **frontend_settings)
    except InvalidArgumentError as error:
        assert "hold no FFT bin" in str(error)  # noqa: PT017
        return
    frames = np.lib.stride_tricks.sliding_window_view(audio, window, axis=1)[:, ::hop]
    spectrum = np.abs(np.fft.rfft(frames * librosa.filters.get_window("hann", window), points))
    matrix = librosa.filters.mel(sr=16000, n_fft=points, n_mels=bands, fmin=0, fmax=high, htk=True, norm=None)
    expected = scipy.fft.dct(np.log(spectrum @ matrix.T + 1e-6), norm="ortho")
    np.testing.assert_allclose(np.asarray(frontend(audio))[..., 0], expected, atol=1e-4)


def test_mlperf_tiny_is_tensorflows_definition(clips: np.ndarray) -> None:
    audio = clips[:-1] / clips[:-1].max(axis=1, keepdims=True)
    spectrum = tf.abs(tf.signal.stft(tf.constant(audio, tf.float32), 480, 320))
    matrix = tf.signal.linear_to_mel_weight_matrix(40, 257, 16000, 20.0, 4000.0)
    bands = tf.math.log(tf.tensordot(spectrum, matrix, 1) + 1e-6)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(bands)[..., :10]
    np.testing.assert_allclose(MFCC.from_preset("mlperf_tiny")(clips[:-1])[..., 0], expected, atol=5e-3)


def test_normalised_by_its_maximum_loudness_does_not_matter(clips: np.ndarray) -> None:
    frontend = MFCC.from_preset("mlperf_tiny")
    audio = clips[:2].astype(np.float32)
    np.testing.assert_allclose(frontend(audio), frontend(audio / 1000), atol=1e-3)


def test_published_mlperf_features_on_real_clips(
    parity: ModuleType, data_root: Path, speech_commands_dir: Path
) -> None:
    features = data_root / "mlperf_tiny_kws01" / "features.npz"
    if not features.exists():
        pytest.skip(f"needs MLPerf Tiny's published features: {features} is not there")
    found = parity.mlperf_parity(features, speech_commands_dir)
    assert found["clips"] == 747
    assert found["within_one_step"] > 0.999
    assert found["exact"] > 0.995


def test_librosa_on_real_clips(parity: ModuleType, speech_commands_dir: Path) -> None:
    folder = speech_commands_dir / "speech_commands_test_set_v0.02"
    paths = sorted(folder.rglob("*.wav"))[::13]
    clips = parity.read_clips(folder, [str(path.relative_to(folder)) for path in paths])
    assert parity.librosa_parity(clips) < 1e-4


def test_single_precision_is_close(clips: np.ndarray) -> None:
    difference = np.abs(MFCC()(clips) - MFCC(fft_precision="single")(clips))
    assert 0 < difference.max() < 1e-3
    assert np.median(difference) < 1e-5


def test_mean_and_std_standardise(clips: np.ndarray) -> None:
    plain = np.asarray(MFCC(coefficients=3)(clips))
    mean, std = (1.0, -2.0, 3.0), (2.0, 4.0, 0.5)
    found = MFCC(coefficients=3, mean=mean, std=std)(clips)
    expected = (plain[..., 0] - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-4, atol=1e-4)


def test_warped_mel_filters_see_higher_tones() -> None:
    frontend = MFCC()
    np.testing.assert_array_equal(frontend.mel_matrix(1.0), frontend.mel_matrix())
    bins = np.arange(len(frontend.mel_matrix()))
    centre = {warp: (bins @ frontend.mel_matrix(warp) / frontend.mel_matrix(warp).sum(0))[20] for warp in (1.0, 1.1)}
    assert centre[1.0] / centre[1.1] == pytest.approx(1.1, rel=0.02)


def test_works_in_a_functional_model_a_dataset_and_an_export(clips: np.ndarray, tmp_path: Path) -> None:
    frontend = MFCC()
    expected = np.asarray(frontend(clips))
    inputs = keras.Input((16000,), dtype="int16")
    model = keras.Model(inputs, frontend(inputs))
    assert model.output_shape == (None, 49, 10, 1)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(clips), expected)
    mapped = tf.data.Dataset.from_tensors(clips).map(frontend)
    np.testing.assert_allclose(next(iter(mapped)), expected, atol=1e-5)
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported")).serve(clips)
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_stays_in_float32_under_mixed_precision(clips: np.ndarray) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = MFCC()(clips)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(found, MFCC()(clips))


@settings(max_examples=15, deadline=None)
@given(
    preset=st.sampled_from(PRESETS),
    hop=st.integers(1, 2000),
    coefficients=st.integers(1, 40),
    offset=st.floats(1e-9, 1),
    normalize=st.sampled_from([None, "max"]),
    standard=st.booleans(),
)
def test_config_round_trip(
    preset: str, hop: int, coefficients: int, offset: float, normalize: str | None, standard: bool
) -> None:
    std = tuple(np.arange(1.0, coefficients + 1)) if standard else None
    frontend = MFCC.from_preset(
        preset, hop_length=hop, coefficients=coefficients, log_offset=offset, normalize=normalize, std=std
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(frontend))
    assert isinstance(again, MFCC)
    assert again.get_config() == frontend.get_config()
    assert again.compute_output_shape((None, 16000)) == (
        None,
        1 + (16000 - again.window_length) // hop,
        coefficients,
        1,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window_length": 8}, "`window_length` of MFCC must be a whole number from 16"),
        ({"hop_length": 0.5}, "`hop_length` of MFCC .* Received: hop_length=0.5"),
        ({"fft_length": 512}, "`fft_length` of MFCC must be a whole number from 640"),
        ({"coefficients": 41}, "`coefficients` of MFCC must be a whole number from 1 to 40"),
        ({"high_hz": 9000}, "`high_hz` of MFCC must be a number from 0 to 8000 Hz"),
        ({"low_hz": 4000}, "`low_hz` of MFCC must lie below `high_hz`"),
        ({"log_offset": 0}, "`log_offset` of MFCC"),
        ({"mel": "slaney"}, "`mel` of MFCC must be one of 'librosa', 'tensorflow'"),
        ({"dct": None}, "`dct` of MFCC must be one of"),
        ({"normalize": "rms"}, "`normalize` of MFCC must be one of None, 'max'"),
        ({"fft_precision": "half"}, "`fft_precision` of MFCC must be one of"),
        ({"mel_bands": 200}, "of the 200 mel filters of MFCC hold no FFT bin"),
        ({"mean": (1.0, 2.0)}, "`mean` of MFCC must hold one number for each of the 10 coefficients. Received: 2"),
        ({"std": (0.0,) * 10}, "`std` of MFCC must be a number from 1e-06"),
        ({"dtype": "float16"}, "MFCC is always computed in float32"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        MFCC(**wrong)


def test_wrong_shapes_and_presets_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"at least window_length=640 samples. Received: shape \(1, 600\)"):
        MFCC()(np.zeros((1, 600), np.float32))
    with pytest.raises(InvalidArgumentError, match="MFCC takes waveforms of shape"):
        MFCC()(np.zeros((1, 16000, 1), np.float32))
    with pytest.raises(UnknownNameError, match="Did you mean 'mlperf_tiny'"):
        MFCC.from_preset("mlperf_tini")


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
def test_whole_numbers_of_another_unit_are_refused(kind: str) -> None:
    clip = np.ones((1, 16_000), kind)
    with pytest.raises(InvalidArgumentError, match=f"MFCC takes int16 samples, or floats .* Received: {kind}"):
        MFCC()(clip)
    with pytest.raises(InvalidArgumentError, match=f"Received: {kind}"):
        tf.function(MFCC(), autograph=False)(tf.constant(clip))
