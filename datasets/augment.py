"""Random changes to training clips, drawn from stateless seeds: the same seed gives the same batch, bit for bit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from analognets.datasets.frontend import MFCC
from analognets.errors import InvalidArgumentError, check_integer, check_number

__all__ = ["Augmentation", "Noise", "coloured_noise", "noise_bank"]

_BLOCK = 160  # samples; noise crops start at multiples of it, so that a crop is a copy of whole rows
_WARPS = 21
_MASKS = 4
_SHIFT, _SPEED, _GAIN, _USE, _LEVEL, _FILE, _PLACE, _WARP, _ZERO, _RMS, _CHANNEL = range(11)
_TIME_MASK = _CHANNEL + 3
_FREQUENCY_MASK = _TIME_MASK + 3 * _MASKS
_DRAWS = _FREQUENCY_MASK + 3 * _MASKS


class Noise(NamedTuple):
    """Noise recordings as tensors: rows of 160 samples and their power; first row, starts and odds of each."""

    rows: Any
    power: Any
    first: Any
    starts: Any
    cumulative: Any


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random in training clips; with the defaults nothing is.

    On the waveform: y(t) = clip(g * (x(c + s (t - c) - shift) + v * noise(t)), -1, 1) with c the middle of the clip;
    clips of the silence class become noise of a random loudness. On the log-mel bands: a random smooth channel response
    is added and masks are laid over; the frequency warp changes the mel filters of each clip. Everything is drawn anew
    for each clip.

    Args:
        time_shift_ms: largest shift to either side, in ms, 0 to 1000, uniform in whole samples; zeros move in.
        speed: largest relative change of speed (and pitch), 0 to 0.5, by linear interpolation.
        gain_db: largest gain to either side, in dB, 0 to 60.
        background_probability: share of clips that noise is added to, 0 to 1. Needs one of the two next.
        background_volume: lowest and highest factor on the recording as it is, 0 to 10 (Arm's rule: (0, 0.1)).
        background_snr_db: lowest and highest ratio of the clip's power to the noise's, in dB, -60 to 100.
        coloured_noise: share of noise crops taken from generated 1/f^a noise (a from 0 to 2), 0 to 1.
        frequency_warp: largest relative warp of the frequency axis, 0 to 0.5 (vocal tract length perturbation).
        channel: standard deviation of each of three cosine terms added to the log-mel bands, in ln units, 0 to 5.
        time_masks: masks over frames, 0 to 4.
        time_mask_frames: a mask is this long at most, 0 to 1000.
        frequency_masks: masks over mel bands, 0 to 4.
        frequency_mask_bands: a mask is this wide at most, 0 to 512.
        mask_probability: chance of each mask, 0 to 1; masked cells take the mean of the clip's log-mel bands.
        silence_recut: make each clip of the silence class anew from noise, of log-uniform loudness.
        silence_rms: lowest and highest loudness (root mean square, full scale 1), 1e-6 to 1.
        silence_zeros: share of silence clips that are exactly zero, 0 to 1.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Examples:
        >>> augmentation = Augmentation(time_shift_ms=100.0, gain_db=6.0, frequency_masks=1)
        >>> augmentation.needs_noise, augmentation.get_config()["gain_db"]
        (False, 6.0)
        >>> Augmentation(background_probability=0.8, background_volume=(0.0, 0.1)).needs_noise
        True

    Source: shift and background as in Arm's keyword-spotting training (arXiv:1711.07128); masks: SpecAugment,
    arXiv:1904.08779; warp: Jaitly and Hinton, ICML workshop 2013; the rest is our reconstruction.
    """

    time_shift_ms: float = 0.0
    speed: float = 0.0
    gain_db: float = 0.0
    background_probability: float = 0.0
    background_volume: tuple[float, float] | None = None
    background_snr_db: tuple[float, float] | None = None
    coloured_noise: float = 0.0
    frequency_warp: float = 0.0
    channel: float = 0.0
    time_masks: int = 0
    time_mask_frames: int = 8
    frequency_masks: int = 0
    frequency_mask_bands: int = 6
    mask_probability: float = 1.0
    silence_recut: bool = False
    silence_rms: tuple[float, float] = (1e-4, 0.35)
    silence_zeros: float = 0.03

    def __post_init__(self) -> None:
        limits: dict[str, float] = {
            "time_shift_ms": 1000,
            "speed": 0.5,
            "gain_db": 60,
            "background_probability": 1,
            "coloured_noise": 1,
            "frequency_warp": 0.5,
            "channel": 5,
            "mask_probability": 1,
            "silence_zeros": 1,
        }
        for name, high in limits.items():
            self._set(name, check_number("Augmentation", name, getattr(self, name), 0, high))
        counts = {"time_masks": 4, "frequency_masks": 4, "time_mask_frames": 1000, "frequency_mask_bands": 512}
        for name, most in counts.items():
            self._set(name, check_integer("Augmentation", name, getattr(self, name), 0, most))
        ranges: dict[str, tuple[float, float]] = {
            "background_volume": (0, 10),
            "background_snr_db": (-60, 100),
            "silence_rms": (1e-6, 1),
        }
        for name, (low, high) in ranges.items():
            if getattr(self, name) is not None or name == "silence_rms":
                self._set(name, _check_pair(name, getattr(self, name), low, high))
        if not isinstance(self.silence_recut, bool):
            raise InvalidArgumentError(
                f"`silence_recut` of Augmentation must be True or False. Received: {self.silence_recut!r}."
            )
        given = sum(pair is not None for pair in (self.background_volume, self.background_snr_db))
        if given > 1 or (self.background_probability > 0 and given != 1):
            raise InvalidArgumentError(
                "Augmentation mixes background at a volume or at a signal-to-noise ratio: set one of "
                "`background_volume` and `background_snr_db`. "
                f"Received: {self.background_volume!r} and {self.background_snr_db!r}."
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def needs_noise(self) -> bool:
        """Whether noise is mixed in, or silence made from it."""
        return self.background_probability > 0 or self.silence_recut

    def get_config(self) -> dict[str, Any]:
        """Return all settings by name; `Augmentation(**config)` is the same again."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def draw(self, clips: Any, seed: Any) -> Any:
        """Return the random numbers of so many clips, uniform in [0, 1): (clips, draws). `seed` is two integers.

        Each setting uses columns of its own: switching one on leaves the draws of the others as they are.
        """
        return tf.random.stateless_uniform([clips, _DRAWS], tf.convert_to_tensor(seed))

    def waveform(
        self, audio: Any, draws: Any, *, noise: Noise | None = None, silence: Any = None, sample_rate: int = 16000
    ) -> Any:
        """Return changed waveforms.

        Args:
            audio: (batch, samples), int16 or floats in [-1, 1].
            draws: from `draw`.
            noise: from `noise_bank`; needed if `needs_noise`.
            silence: bool (batch,), which clips are of the silence class; None: none is.
            sample_rate: in Hz.

        Raises:
            InvalidArgumentError: noise is needed and not given.
        """
        if self.needs_noise and noise is None:
            raise InvalidArgumentError(
                "Augmentation mixes in noise and got none. Pass `noise=noise_bank(recordings)`, or set "
                f"background_probability=0 and silence_recut=False. Received: noise={noise!r}."
            )
        audio = tf.convert_to_tensor(audio)
        scale = tf.fill(tf.shape(draws[:, :1]), 1.0 / 32768.0 if audio.dtype == tf.int16 else 1.0)
        if self.time_shift_ms > 0 or self.speed > 0:
            most = self.time_shift_ms * sample_rate / 1000
            shift = tf.floor(_between(draws, _SHIFT, -most, most + 1)) if most > 0 else tf.zeros_like(scale)
            audio = _resample(audio, _between(draws, _SPEED, -self.speed, self.speed), shift)
        audio = tf.cast(audio, tf.float32)
        gain = _from_db(_between(draws, _GAIN, -self.gain_db, self.gain_db)) if self.gain_db > 0 else 1.0
        if not self.needs_noise or noise is None:
            return _mix(audio, scale * gain)
        crop, loudness = _crop(noise, draws, audio.shape[-1])
        added = self._background_scale(audio, scale, loudness, draws) * gain
        scale *= gain
        if self.silence_recut and silence is not None:
            low, high = np.log(self.silence_rms)
            wanted = tf.exp(_between(draws, _RMS, low, high)) / loudness
            wanted = tf.where(draws[:, _ZERO, None] < self.silence_zeros, 0.0, wanted)
            added = tf.where(silence[:, None], wanted, added)
            scale = tf.where(silence[:, None], 0.0, scale)
        return _mix(audio, scale, crop, added)

    def _background_scale(self, audio: Any, scale: Any, loudness: Any, draws: Any) -> Any:
        if self.background_probability == 0:
            return tf.zeros_like(scale)
        if self.background_volume is not None:
            factor = _between(draws, _LEVEL, *self.background_volume)
        else:
            low, high = self.background_snr_db or (0.0, 0.0)
            factor = _from_db(-_between(draws, _LEVEL, low, high)) * scale * _rms(audio) / loudness
        return tf.where(draws[:, _USE, None] < self.background_probability, factor, 0.0)

    def log_mel(self, log_mel: Any, draws: Any, *, silence: Any = None) -> Any:
        """Return changed log-mel bands (batch, frames, bands); clips of the silence class stay as they are."""
        frames, bands = log_mel.shape[1:]
        result = log_mel
        if self.channel > 0:
            weights = self.channel * tf.math.ndtri(tf.clip_by_value(draws[:, _CHANNEL : _CHANNEL + 3], 1e-6, 1 - 1e-6))
            places = np.pi * np.outer(np.arange(1, 4), np.arange(bands) + 0.5) / bands
            result += tf.matmul(weights, np.cos(places).astype(np.float32))[:, None, :]
        masked = self._masks(draws, _TIME_MASK, self.time_masks, self.time_mask_frames, frames, (1, frames, 1))
        masked += self._masks(
            draws, _FREQUENCY_MASK, self.frequency_masks, self.frequency_mask_bands, bands, (1, 1, bands)
        )
        if masked:
            hidden = functools.reduce(tf.logical_or, masked)
            result = tf.where(hidden, tf.reduce_mean(result, axis=[1, 2], keepdims=True), result)
        return result if silence is None or result is log_mel else tf.where(silence[:, None, None], log_mel, result)

    def _masks(
        self, draws: Any, column: int, masks: int, longest: int, cells: int, shape: tuple[int, ...]
    ) -> list[Any]:
        found = []
        for mask in range(masks):
            use, length, start = (draws[:, column + 3 * mask + i, None, None] for i in range(3))
            length = tf.floor(length * (min(longest, cells) + 1))
            length = tf.where(use < self.mask_probability, length, 0.0)
            start = tf.floor(start * (cells - length + 1))
            cell = np.arange(cells, dtype=np.float32).reshape(shape)
            found.append((cell >= start) & (cell < start + length))
        return found

    def mel_matrices(self, frontend: MFCC, draws: Any) -> Any:
        """Return a mel matrix for each clip, one of 21 warps: (batch, bins, bands); None without a frequency warp."""
        if self.frequency_warp == 0:
            return None
        warps = 1 + self.frequency_warp * np.linspace(-1, 1, _WARPS)
        bank = np.stack([frontend.mel_matrix(warp) for warp in warps])
        return tf.gather(bank, tf.cast(draws[:, _WARP] * _WARPS, tf.int32))

    def features(
        self, frontend: MFCC, audio: Any, draws: Any, *, noise: Noise | None = None, silence: Any = None
    ) -> Any:
        """Return coefficients of changed clips, (batch, frames, coefficients, 1); arguments as in `waveform`."""
        audio = self.waveform(audio, draws, noise=noise, silence=silence, sample_rate=frontend.sample_rate)
        single = functools.partial(frontend.spectrum, fft_precision="single")  # half the time; noise is no finer
        spectrum = tf.function(single, jit_compile=True)(audio)
        bands = frontend.log_mel(spectrum, self.mel_matrices(frontend, draws))
        return frontend.cepstra(self.log_mel(bands, draws, silence=silence))


def noise_bank(
    recordings: Sequence[np.ndarray], *, samples: int = 16000, coloured_share: float = 0.0, sample_rate: int = 16000
) -> Noise:
    """Return recordings in the form that `Augmentation` cuts noise from; each recording is as likely as any other.

    Args:
        recordings: floats in [-1, 1]; one that is shorter than a clip is repeated.
        samples: of a clip.
        coloured_share: share of crops that are `coloured_noise` instead, 0 to 1; 1 if there are no recordings.
        sample_rate: in Hz.

    Raises:
        InvalidArgumentError: there are no recordings and no coloured noise.
    """
    share = check_number("noise_bank", "coloured_share", coloured_share, 0, 1)
    if not len(recordings) and share == 0:
        raise InvalidArgumentError(
            "Noise is to be mixed in, but there is no background recording. Use a data set with background, set "
            "coloured_noise above 0, or set background_probability=0 and silence_recut=False. Received: no recording."
        )
    share = share if len(recordings) else 1.0
    coloured = list(coloured_noise(sample_rate)) if share > 0 else []
    recorded = list(recordings) if share < 1 else []
    odds = [(1 - share) / len(recorded)] * len(recorded) if recorded else []
    odds += [share / len(coloured)] * len(coloured) if coloured else []
    rows_in_crop = -(-samples // _BLOCK)
    rows, counts = [], []
    for recording in [*recorded, *coloured]:
        recording = np.resize(recording, max(len(recording), rows_in_crop * _BLOCK)).astype(np.float32)
        counts.append(len(recording) // _BLOCK)
        rows.append(recording[: counts[-1] * _BLOCK].reshape(-1, _BLOCK))
    joined = np.concatenate(rows)
    return Noise(
        tf.constant(joined),
        tf.constant(np.einsum("rs,rs->r", joined, joined) / _BLOCK),
        tf.constant(np.cumsum([0, *counts[:-1]]), tf.int32),
        tf.constant(np.array(counts) - rows_in_crop + 1, tf.int32),
        tf.constant(np.cumsum(odds), tf.float32),
    )


@functools.lru_cache(maxsize=2)
def coloured_noise(sample_rate: int = 16000) -> tuple[np.ndarray, ...]:
    """Return ten recordings of ten seconds of generated noise with power ~ 1/f^a, a = 0 to 2, RMS 0.005 of full scale.

    The loudness is that of the recordings of Speech Commands; always the same ten.
    """
    length = 10 * sample_rate
    rng = np.random.default_rng(20211106)
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / sample_rate), 20.0)
    found = []
    for exponent in np.linspace(0, 2, 10):
        wave = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * frequency ** (-exponent / 2), length)
        found.append((0.005 * wave / wave.std()).astype(np.float32))
    return tuple(found)


def _check_pair(name: str, pair: Any, low: float, high: float) -> tuple[float, float]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or pair[0] > pair[1]:
        raise InvalidArgumentError(
            f"`{name}` of Augmentation must be two numbers, the lowest and the highest. Received: {name}={pair!r}."
        )
    lowest, highest = (check_number("Augmentation", name, number, low, high) for number in pair)
    return lowest, highest


def _between(draws: Any, column: int, low: float, high: float) -> Any:
    return low + (high - low) * draws[:, column, None]


def _from_db(decibel: Any) -> Any:
    return tf.exp(decibel * (np.log(10) / 20))


def _rms(audio: Any) -> Any:
    return tf.sqrt(tf.reduce_mean(tf.square(audio), axis=1, keepdims=True) + 1e-14)


def _crop(noise: Noise, draws: Any, samples: int) -> tuple[Any, Any]:
    """Return a crop (batch, samples) for each clip and its root mean square (batch, 1), to whole rows."""
    chosen = tf.searchsorted(noise.cumulative, draws[:, _FILE], side="right")
    chosen = tf.minimum(chosen, tf.shape(noise.first)[0] - 1)
    starts = tf.cast(tf.gather(noise.starts, chosen), tf.float32)
    row = tf.gather(noise.first, chosen) + tf.cast(tf.floor(draws[:, _PLACE] * starts), tf.int32)
    count = -(-samples // _BLOCK)
    rows = row[:, None] + tf.range(count)
    crop = tf.reshape(tf.gather(noise.rows, rows), [-1, count * _BLOCK])[:, :samples]
    return crop, tf.sqrt(tf.reduce_mean(tf.gather(noise.power, rows), axis=1, keepdims=True) + 1e-14)


# XLA makes one loop of each of these: 8 ms for 100 clips on one core, against 30 to 40 ms op by op.
@tf.function(jit_compile=True)
def _mix(audio: Any, scale: Any, noise: Any = 0.0, added: Any = 0.0) -> Any:
    return tf.clip_by_value(audio * scale + noise * added, -1.0, 1.0)


@tf.function(jit_compile=True)
def _resample(audio: Any, speed: Any, shift: Any) -> Any:
    """Return y(t) = x(t + d), d = speed * (t - middle) - shift, by linear interpolation; zeros outside of the clip."""
    samples = audio.shape[-1]
    time = tf.range(samples)[None]
    offset = speed * (tf.cast(time, tf.float32) - (samples - 1) / 2) - shift
    whole = tf.floor(offset)
    place = tf.clip_by_value(time + tf.cast(whole, tf.int32) + 2, 0, samples + 2)
    padded = tf.pad(tf.cast(audio, tf.float32), [[0, 0], [2, 2]])
    place += tf.range(tf.shape(audio)[0])[:, None] * (samples + 4)
    flat = tf.reshape(padded, [-1])
    before, after = tf.gather(flat, place), tf.gather(flat, place + 1)
    return before + (after - before) * (offset - whole)
