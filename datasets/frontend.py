"""Audio front end: mel-frequency cepstral coefficients (MFCC) as one Keras layer for training, evaluation, export."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.errors import InvalidArgumentError, UnknownNameError, check_choice, check_integer, check_number

__all__ = ["MFCC", "list_presets"]

_PRESETS: dict[str, dict[str, Any]] = {
    "arm_40ms": {
        "source": "Zhang et al., Hello Edge, arXiv:1711.07128, section 4 (40 ms window, 20 ms hop, 10 coefficients); "
        "mel range and bands of Arm's ML-zoo runtime. Log offset and DCT scale are our reconstruction.",
        "settings": {},
    },
    "mlperf_tiny": {
        "source": "Banbury et al., MLPerf Tiny Benchmark, arXiv:2106.07597; settings as in the keyword-spotting "
        "reference of github.com/mlcommons/tiny (benchmark/training/keyword_spotting).",
        "settings": {
            "window_length": 480,
            "fft_length": 512,
            "mel": "tensorflow",
            "dct": "tensorflow",
            "normalize": "max",
        },
    },
}


def list_presets() -> dict[str, str]:
    """Return the name of each preset of `MFCC` and where its settings come from."""
    return {name: preset["source"] for name, preset in _PRESETS.items()}


@keras.saving.register_keras_serializable(package="analognets")
class MFCC(keras.layers.Layer):
    """Turn waveforms into mel-frequency cepstral coefficients.

    C = DCT-II( ln( |FFT(w * x_frame)| M + offset ) )[:coefficients],  then (C - mean) / std if given,

    with w the periodic Hann window and M the mel matrix. Frames start at multiples of the hop and never reach over the
    end of the clip. All but the FFT is computed in float32.

    Input: (batch, samples) floats in [-1, 1], or int16, which is divided by 32768.
    Output: float32 (batch, frames, coefficients, 1), frames = 1 + (samples - window_length) // hop_length.

    Args:
        sample_rate: in Hz, 1000 to 192000.
        window_length: samples in one frame, 16 to 65536.
        hop_length: samples from one frame to the next, 1 to 65536.
        fft_length: points of the FFT, at least `window_length` (frames are padded with zeros); None: `window_length`.
        mel_bands: triangular filters of M, 2 to 512.
        low_hz: lower edge of the first filter, at least 0.
        high_hz: upper edge of the last filter, above `low_hz`, at most half the sample rate.
        coefficients: how many coefficients are kept, 1 to `mel_bands`.
        log_offset: what is added before the logarithm, 1e-12 to 1.
        mel: "librosa" (HTK mel scale, filters linear in Hz, peak 1: `librosa.filters.mel(htk=True, norm=None)`) or
            "tensorflow" (filters linear in mel, no DC: `tf.signal.linear_to_mel_weight_matrix`).
        dct: "ortho" (orthonormal) or "tensorflow" (sqrt(2 / mel_bands) for the first coefficient too, so that it is
            sqrt(2) larger: `tf.signal.mfccs_from_log_mel_spectrograms`).
        normalize: None, or "max" to divide each clip by its own largest sample (clips without a positive sample stay
            as they are).
        mean: what is subtracted from each coefficient, `coefficients` numbers or None.
        std: what each coefficient is divided by, `coefficients` numbers above 0 or None.
        fft_precision: "double" (all of 747 real clips within 1e-4 of librosa), or "single" (half the time, the only one
            TFLite knows; off by up to 2e-4 where a quiet band stands beside a loud one).
        name: name of the layer.
        **kwargs: further arguments of `keras.layers.Layer`.

    Raises:
        InvalidArgumentError: a setting is not allowed or does not fit the others.

    Examples:
        >>> sound = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)[None]
        >>> print(MFCC()(sound).shape)
        (1, 49, 10, 1)
        >>> MFCC.from_preset("arm_40ms").coefficients
        10

    Source: Davis and Mermelstein, IEEE Trans. ASSP 28 (1980) 357; presets: see `list_presets`.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        window_length: int = 640,
        hop_length: int = 320,
        fft_length: int | None = None,
        mel_bands: int = 40,
        low_hz: float = 20.0,
        high_hz: float = 4000.0,
        coefficients: int = 10,
        log_offset: float = 1e-6,
        mel: str = "librosa",
        dct: str = "ortho",
        normalize: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        fft_precision: str = "double",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _check_float32(kwargs.pop("dtype", None))
        super().__init__(name=name, dtype="float32", **kwargs)
        self.sample_rate = check_integer("MFCC", "sample_rate", sample_rate, 1000, 192000)
        self.window_length = check_integer("MFCC", "window_length", window_length, 16, 65536)
        self.hop_length = check_integer("MFCC", "hop_length", hop_length, 1, 65536)
        fft_length = self.window_length if fft_length is None else fft_length
        self.fft_length = check_integer("MFCC", "fft_length", fft_length, self.window_length, 1 << 20)
        self.mel_bands = check_integer("MFCC", "mel_bands", mel_bands, 2, 512)
        self.low_hz = check_number("MFCC", "low_hz", low_hz, 0, self.sample_rate / 2, unit="Hz")
        self.high_hz = check_number("MFCC", "high_hz", high_hz, 0, self.sample_rate / 2, unit="Hz")
        self.coefficients = check_integer("MFCC", "coefficients", coefficients, 1, self.mel_bands)
        self.log_offset = check_number("MFCC", "log_offset", log_offset, 1e-12, 1)
        self.mel = check_choice("MFCC", "mel", mel, ("librosa", "tensorflow"))
        self.dct = check_choice("MFCC", "dct", dct, ("ortho", "tensorflow"))
        self.normalize = check_choice("MFCC", "normalize", normalize, (None, "max"))
        self.fft_precision = check_choice("MFCC", "fft_precision", fft_precision, ("double", "single"))
        self.mean = self._per_coefficient("mean", mean, low=-1e6)
        self.std = self._per_coefficient("std", std, low=1e-6)
        if self.low_hz >= self.high_hz:
            raise InvalidArgumentError(
                f"`low_hz` of MFCC must lie below `high_hz`. Received: low_hz={low_hz!r}, high_hz={high_hz!r}."
            )
        if (empty := int((self.mel_matrix().max(axis=0) <= 0).sum())) > 0:
            raise InvalidArgumentError(
                f"{empty} of the {self.mel_bands} mel filters of MFCC hold no FFT bin. Use fewer `mel_bands` or a "
                f"larger `fft_length`. Received: mel_bands={mel_bands!r}, fft_length={self.fft_length!r}."
            )

    @classmethod
    def from_preset(cls, name: str = "arm_40ms", **overrides: Any) -> MFCC:
        """Return the front end of that name, with single settings changed by keyword.

        Raises:
            UnknownNameError: there is no such preset; `list_presets()` returns what there is.
        """
        if name not in _PRESETS:
            raise UnknownNameError("front end", name, _PRESETS)
        return cls(**{**_PRESETS[name]["settings"], **overrides})

    def mel_matrix(self, warp: float = 1.0) -> np.ndarray:
        """Return M, float32 (FFT bins up to `high_hz`, mel_bands), whose input frequencies are scaled by `warp`.

        A warp of 1.1 treats a tone of 1000 Hz as one of 1100 Hz, as if the vocal tract were shorter (Jaitly and Hinton,
        Vocal Tract Length Perturbation, ICML workshop 2013; one linear piece, our simplification).
        """
        matrix = _mel_matrix(self.mel, self.sample_rate, self.fft_length, self.mel_bands, self.low_hz, self.high_hz)
        if warp != 1.0:
            bins = np.arange(len(matrix))
            matrix = np.stack([np.interp(bins * warp, bins, band, right=0.0) for band in matrix.T], axis=1)
        return np.ascontiguousarray(matrix[: self._bins], dtype=np.float32)

    def spectrum(self, audio: Any, fft_precision: str | None = None) -> Any:
        """Return |FFT| of each windowed frame up to `high_hz`: (batch, samples) -> (batch, frames, bins)."""
        audio = ops.convert_to_tensor(audio)
        self._check_shape(audio.shape)
        kind = keras.backend.standardize_dtype(audio.dtype)
        if kind != "int16" and not kind.startswith(("float", "bfloat")):
            raise InvalidArgumentError(
                f"MFCC takes int16 samples, or floats in [-1, 1]. Received: {kind}. Divide by the full scale, such as "
                "audio / 2**31 for whole numbers of 32 bit."
            )
        scale = 1.0 / 32768.0 if kind == "int16" else 1.0
        audio = ops.cast(audio, "float32") * scale
        if self.normalize == "max":
            largest = ops.max(audio, axis=-1, keepdims=True)
            audio = audio / ops.where(largest > 0, largest, 1.0)
        dtype = "float64" if (fft_precision or self.fft_precision) == "double" else "float32"
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window_length) / self.window_length)
        frames = ops.extract_sequences(ops.cast(audio, dtype), self.window_length, self.hop_length)
        parts = ops.rfft(frames * window.astype(dtype), fft_length=self.fft_length)
        real, imaginary = (ops.cast(part[..., : self._bins], "float32") for part in parts)
        return ops.sqrt(ops.square(real) + ops.square(imaginary))

    def log_mel(self, spectrum: Any, mel_matrix: Any = None) -> Any:
        """Return ln(spectrum M + offset), (batch, frames, mel_bands); M is one matrix or one for each clip."""
        matrix = self.mel_matrix() if mel_matrix is None else mel_matrix
        return ops.log(ops.matmul(spectrum, matrix) + self.log_offset)

    def cepstra(self, log_mel: Any) -> Any:
        """Return the coefficients of log-mel bands: (batch, frames, mel_bands) -> (batch, frames, coefficients, 1)."""
        matrix = self._dct_matrix()
        scale = 1.0 / np.asarray(self.std or 1.0)
        result = ops.matmul(log_mel, (matrix * scale).astype("float32"))
        if self.mean is not None:
            result = result - (np.asarray(self.mean) * scale).astype("float32")
        return ops.expand_dims(result, -1)

    def call(self, inputs: Any) -> Any:
        return self.cepstra(self.log_mel(self.spectrum(inputs)))

    def frames(self, samples: int) -> int:
        """Return how many frames a clip of so many samples has."""
        return 1 + (samples - self.window_length) // self.hop_length

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        frames = None if input_shape[-1] is None else self.frames(input_shape[-1])
        return (input_shape[0], frames, self.coefficients, 1)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._check_shape(input_shape)
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        settings = (
            "sample_rate window_length hop_length fft_length mel_bands low_hz high_hz coefficients log_offset mel dct "
            "normalize mean std fft_precision"
        ).split()
        return {**super().get_config(), **{setting: getattr(self, setting) for setting in settings}}

    @property
    def _bins(self) -> int:
        return min(self.fft_length // 2 + 1, int(np.ceil(self.high_hz * self.fft_length / self.sample_rate)) + 1)

    def _dct_matrix(self) -> np.ndarray:
        import scipy.fft

        matrix = scipy.fft.dct(np.eye(self.mel_bands), norm="ortho", axis=1)[:, : self.coefficients]
        if self.dct == "tensorflow":
            matrix[:, 0] *= np.sqrt(2.0)
        return matrix

    def _check_shape(self, input_shape: Any) -> None:
        if len(input_shape) != 2 or (input_shape[-1] is not None and input_shape[-1] < self.window_length):
            raise InvalidArgumentError(
                f"MFCC takes waveforms of shape (batch, samples) with at least window_length={self.window_length} "
                f"samples. Received: shape {tuple(input_shape)}."
            )

    def _per_coefficient(self, name: str, values: Any, low: float) -> tuple[float, ...] | None:
        if values is None:
            return None
        values = tuple(np.ravel(values).tolist())
        if len(values) != self.coefficients:
            raise InvalidArgumentError(
                f"`{name}` of MFCC must hold one number for each of the {self.coefficients} coefficients. "
                f"Received: {len(values)} numbers."
            )
        return tuple(check_number("MFCC", name, value, low, 1e6) for value in values)


def _check_float32(dtype: Any) -> None:
    if dtype is not None and keras.dtype_policies.get(dtype).compute_dtype != "float32":
        raise InvalidArgumentError(
            f"MFCC is always computed in float32; leave `dtype` away and cast its output. Received: dtype={dtype!r}."
        )


@functools.lru_cache(maxsize=32)
def _mel_matrix(kind: str, rate: int, points: int, bands: int, low: float, high: float) -> np.ndarray:
    if kind == "librosa":
        from librosa.filters import mel

        shape: dict[str, Any] = {"sr": rate, "n_fft": points, "n_mels": bands, "fmin": low, "fmax": high}
        with warnings.catch_warnings():  # about filters without a bin, which MFCC reports as an error
            warnings.simplefilter("ignore")
            return mel(**shape, htk=True, norm=None, dtype=np.float64).T
    frequencies = np.arange(points // 2 + 1) * (rate / points)
    bins = _hz_to_mel(frequencies)[:, None]
    edges = np.linspace(_hz_to_mel(low), _hz_to_mel(high), bands + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return matrix


def _hz_to_mel(frequency: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)
