"""Where a stream comes from: blocks of samples of any origin, checked, and the microphone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from analognets.datasets.audio_blocks import RecordingBlocks
from analognets.errors import (
    DataError,
    DataWarning,
    InvalidArgumentError,
    MissingExtraError,
    check_number,
    reason,
    shortened,
)

__all__ = ["Microphone", "RecordingBlocks", "samples_of"]

FAR_OVER = 8.0
"""Float samples up to so many times full scale are overdriven; larger ones have another unit."""


def samples_of(block: Any, number: int = 0) -> np.ndarray:
    """Return a block of a stream as float32 samples in units of full scale.

    Args:
        block: mono samples of shape (samples,) or (samples, 1): floats in [-1, 1], or int16, which is divided by 32768.
        number: of the block, for messages.

    Raises:
        InvalidArgumentError: it has several channels, or holds something else than such numbers.
        DataError: a sample is NaN or infinite, or far over full scale.
    """
    try:
        found = np.asarray(block)
    except ValueError:  # rows of different lengths
        found = np.asarray(None)
    if found.dtype.kind not in "fi" or (found.dtype.kind == "i" and found.dtype != np.int16):
        raise InvalidArgumentError(
            f"A block of a stream must hold floats from -1 to 1, or int16. Received: {found.dtype} in block {number}, "
            f"{shortened(block)}."
        )
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise InvalidArgumentError(
            "A block of a stream must be mono, of shape (samples,). Received: shape "
            f"{found.shape} in block {number}. Average its channels first, such as block.mean(axis=1)."
        )
    if found.dtype == np.int16:
        return found.astype(np.float32) / np.float32(32768)
    with np.errstate(over="ignore"):
        samples = found.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(samples))
    if len(bad):
        raise DataError(
            f"A stream must hold finite samples. Received: {found[bad[0]]} as sample {bad[0]} of block {number}, and "
            f"{len(bad)} such samples in it. Leave the block out, or put silence in its place."
        )
    if len(samples) and float(np.max(np.abs(samples))) > FAR_OVER:
        raise DataError(
            "Float samples of a stream must lie from -1 to 1. Received: up to "
            f"{float(np.max(np.abs(samples))):g} in block {number}. Divide them by the full scale, or pass int16."
        )
    return samples


class Microphone:
    """Blocks of mono int16 from a microphone, without an end; needs the extra `microphone` (sounddevice).

    Args:
        rate: samples a second wanted; where the device has another rate only, its own, which `rate` then is.
        seconds: length of a block, 0.01 to 10.
        device: name or number of the device, as sounddevice knows it; None: the system's default.

    Raises:
        MissingExtraError: sounddevice is not installed.
        DataError: there is no microphone, or it can't be opened.
    """

    def __init__(self, rate: int = 16000, *, seconds: float = 0.1, device: str | int | None = None) -> None:
        self.seconds = check_number("Microphone", "seconds", seconds, 0.01, 10, unit="s")
        self.device = device
        self._library = _sounddevice()
        self.rate = self._rate(rate)

    def _rate(self, wanted: int) -> int:
        settings: dict[str, Any] = {"device": self.device, "channels": 1, "dtype": "int16"}
        try:
            facts = self._library.query_devices(self.device, "input")
        except Exception as error:  # ValueError and the library's own
            raise _no_microphone(error) from error
        for rate in (wanted, int(facts["default_samplerate"])):
            try:
                self._library.check_input_settings(samplerate=rate, **settings)
                return rate
            except Exception as error:  # the library's own, whatever the device refuses
                problem = error
        raise _no_microphone(problem) from problem

    def __iter__(self) -> Iterator[np.ndarray]:
        frames = max(1, round(self.seconds * self.rate))
        try:
            stream = self._library.InputStream(
                samplerate=self.rate, blocksize=frames, device=self.device, channels=1, dtype="int16"
            )
            stream.start()
        except Exception as error:  # the library's own
            raise _no_microphone(error) from error
        told = False
        try:
            while True:
                try:
                    block, overflowed = stream.read(frames)
                except Exception as error:  # the library's own: the device was taken away
                    raise _no_microphone(error) from error
                if overflowed and not told:
                    told = True
                    text = "The microphone gave sound faster than it was looked at: some of it is lost."
                    warnings.warn(text, DataWarning, stacklevel=2)
                yield np.array(block[:, 0])
        finally:
            stream.close()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError("Listening to a microphone", "microphone") from error
    except OSError as error:
        raise DataError(
            f"The microphone can't be used: {reason(error)}. Install PortAudio (on Debian: libportaudio2), or listen "
            "to a file (--wav FILE)."
        ) from error
    return sounddevice


def _no_microphone(error: BaseException) -> DataError:
    return DataError(
        f"No microphone can be opened: {reason(error)}. Plug one in, name another with `device` (--device), or listen "
        "to a file (--wav FILE)."
    )
