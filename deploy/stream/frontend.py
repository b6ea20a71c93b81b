"""The front end for streams: every frame is computed once, and every window is what the front end makes of a clip."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from analognets.datasets.frontend import MFCC
from analognets.errors import ConversionError, InvalidArgumentError, check_integer

__all__ = ["StreamingMFCC", "Windows", "check_mfcc"]

_MOST_FRAMES = 3000
"""Frames computed at once: a minute of a long block."""


def check_mfcc(frontend: Any, owner: str = "") -> MFCC:
    """Return a front end if it is an `MFCC`.

    Args:
        frontend: a layer, or None.
        owner: whose it is, for the message: "the preset 'x'".

    Raises:
        ConversionError: it is none.
    """
    if isinstance(frontend, MFCC):
        return frontend
    kind = "none" if frontend is None else f"a front end of kind {type(frontend).__name__}"
    raise ConversionError(
        f"Listening needs a network with an MFCC front end, for sound. Received: {kind}{owner and f' of {owner}'}. "
        "Take a network for words, such as analognet_kws.hwa_8bit (`analognets zoo list`), or give its "
        "`frontend` in Python."
    )


class Windows(NamedTuple):
    """Some windows of a stream.

    Args:
        features: (windows, frames, coefficients, 1), what the front end makes of each window as a clip.
        times: end of each window in seconds from the start of the stream.

    Examples:
        >>> streaming = StreamingMFCC(analognets.datasets.MFCC(), every=5)
        >>> windows = streaming.push(np.zeros(24_000, "int16"))
        >>> print(windows.times[:2])
        [1.  1.1]
    """

    features: np.ndarray
    times: np.ndarray


class StreamingMFCC:
    """Makes the features of a window every few frames of a stream, equal to those of the same samples as a clip.

    Window k holds the samples from k * every * hop_length on, `samples` of them. Each frame is computed once, whatever
    the blocks. A front end with normalize="max" divides a clip by its own largest sample: frames are then computed anew
    where that sample changes from window to window.

    Args:
        frontend: an `MFCC` layer.
        samples: in a window, as many as in a clip that the network was trained on; None: one second.
        every: frames from one window to the next, 1 to those in a window.

    Attributes:
        frames: in a window.
        step: seconds from one window to the next.

    Raises:
        ConversionError: the front end is no `MFCC`.
        InvalidArgumentError: a window is shorter than a frame.

    Examples:
        >>> streaming = StreamingMFCC(analognets.datasets.MFCC(), every=5)
        >>> windows = streaming.push(np.zeros(24_000, "int16"))
        >>> windows.features.shape, streaming.step
        ((6, 49, 10, 1), 0.1)
    """

    def __init__(self, frontend: Any, *, samples: int | None = None, every: int = 5) -> None:
        self.frontend = frontend = check_mfcc(frontend)
        samples = frontend.sample_rate if samples is None else samples
        self.samples = check_integer("StreamingMFCC", "samples", samples, 1, 1 << 30)
        if self.samples < frontend.window_length:
            raise InvalidArgumentError(
                "A window of StreamingMFCC must hold at least one frame of "
                f"{frontend.window_length} samples. Received: samples={samples!r}."
            )
        self.frames = frontend.frames(self.samples)
        self.every = check_integer("StreamingMFCC", "every", every, 1, self.frames)
        self.step = self.every * frontend.hop_length / frontend.sample_rate
        plain = {**frontend.get_config(), "normalize": None, "name": None}
        self._plain = MFCC.from_config(plain) if frontend.normalize == "max" else frontend
        self.reset()

    def reset(self) -> None:
        """Forget what came, as before the first block."""
        config = self.frontend
        self.seen = 0
        self.computed = 0
        self._window = 0  # number of the next window
        self._sound = np.zeros(0, np.float32)  # from the first sample of the next frame, or window, to the last
        self._skip = 0  # samples to come that no frame holds
        self._made = np.zeros((0, config.coefficients), np.float32)  # frames, from the first of the next window on

    def push(self, block: np.ndarray) -> Windows:
        """Return the windows that end in a block.

        Args:
            block: float32 samples (samples,) at the front end's rate, of any number.
        """
        self._sound = np.concatenate([self._sound, np.asarray(block, np.float32)])
        self._drop(0)
        self.seen += len(block)
        hop, first = self.every * self.frontend.hop_length, self._window
        count = max(0, (self.seen - self.samples) // hop + 1 - first) if self.seen >= self.samples else 0
        features = self._normalized(count) if self.frontend.normalize == "max" else self._once(count)
        self._window = first + count
        times = (np.arange(first, self._window) * hop + self.samples) / self.frontend.sample_rate
        return Windows(features[..., None], times)

    def _once(self, count: int) -> np.ndarray:
        """Return the next windows, where frames don't depend on the window they stand in."""
        hop = self.frontend.hop_length
        new = max(0, (len(self._sound) - self.frontend.window_length) // hop + 1) if len(self._sound) else 0
        self._made = np.concatenate([self._made, self._frames(self._sound, new)])
        self._drop(new * hop)
        windows = self._cut(self._made, count)
        self._made = self._made[count * self.every :]
        return windows

    def _normalized(self, count: int) -> np.ndarray:
        """Return the next windows, each divided by its largest sample; equal neighbours share their frames."""
        hop = self.every * self.frontend.hop_length
        sound = self._sound
        peaks = np.array([sound[i * hop : i * hop + self.samples].max() for i in range(count)], np.float32)
        peaks = np.where(peaks > 0, peaks, np.float32(1))
        windows, first = [np.zeros((0, self.frames, self.frontend.coefficients), np.float32)], 0
        while first < count:
            run = int(np.argmax(np.append(peaks[first:], np.nan) != peaks[first]))
            piece = sound[first * hop : (first + run - 1) * hop + self.samples] / peaks[first]
            made = self._frames(piece, (run - 1) * self.every + self.frames)
            windows.append(self._cut(made, run))
            first += run
        self._drop(count * hop)
        return np.concatenate(windows)

    def _drop(self, count: int) -> None:
        """Forget so many samples, which may not all be there yet."""
        self._skip += count
        there = min(self._skip, len(self._sound))
        self._sound = self._sound[there:]
        self._skip -= there

    def _frames(self, sound: np.ndarray, count: int) -> np.ndarray:
        """Return so many frames of a sound, (frames, coefficients)."""
        hop, reach = self.frontend.hop_length, self.frontend.window_length
        made = [np.zeros((0, self.frontend.coefficients), np.float32)]
        for first in range(0, count, _MOST_FRAMES):
            last = min(count, first + _MOST_FRAMES) - 1
            piece = self._plain(sound[None, first * hop : last * hop + reach])
            made.append(ops.convert_to_numpy(piece)[0, ..., 0])
        self.computed += count
        return np.concatenate(made)

    def _cut(self, made: np.ndarray, count: int) -> np.ndarray:
        """Return windows (windows, frames, coefficients) of frames that follow each other."""
        if not count:
            return np.zeros((0, self.frames, self.frontend.coefficients), np.float32)
        views = np.lib.stride_tricks.sliding_window_view(made, self.frames, axis=0)[:: self.every][:count]
        return np.ascontiguousarray(views.transpose(0, 2, 1))
