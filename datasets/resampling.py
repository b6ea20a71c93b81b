"""Another sample rate for sound that comes block by block, the same as for the whole of it at once."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from analognets.datasets.audio_io import MOST_RATIO, RATES
from analognets.errors import DataError, check_integer

__all__ = ["Resampler"]


class Resampler:
    """Gives sound another rate block by block; all together is what `analognets.datasets.audio_io.resample` gives.

    A sample is given as soon as all that its filter reaches is there, 10 samples of the lower rate later.

    Args:
        found: samples a second of what comes, 1,000 to 768,000.
        wanted: samples a second to give, 1,000 to 768,000.

    Raises:
        DataError: the ratio of the rates, in lowest terms, has numbers too large for a filter.
        InvalidArgumentError: a rate is no whole number of this range.

    Source: scipy.signal.resample_poly, a polyphase filter.
    """

    def __init__(self, found: int, wanted: int) -> None:
        self.found = check_integer("a stream", "rate", found, *RATES)
        self.wanted = check_integer("Resampler", "wanted", wanted, *RATES)
        divisor = math.gcd(self.found, self.wanted)
        self._up, self._down = self.wanted // divisor, self.found // divisor
        if max(self._up, self._down) > MOST_RATIO:
            raise DataError(
                f"A stream of {self.found:,} Hz can't be resampled to {self.wanted:,} Hz: the ratio of the rates, in "
                f"lowest terms, may hold numbers up to {MOST_RATIO:,}. Record it at a common rate, such as 48,000 Hz."
            )
        self._half = 10 * max(self._up, self._down)
        self.reset()

    def reset(self) -> None:
        """Forget what came, as before the first block."""
        self._kept = np.zeros(0, np.float32)
        self._start = 0  # which sample the first kept one is: a multiple of `_down`
        self._given = 0

    def push(self, block: np.ndarray) -> np.ndarray:
        """Return what can be given after one more block.

        Args:
            block: float (samples,).
        """
        block = np.asarray(block, np.float32)
        if self._up == self._down:
            return block
        self._kept = np.concatenate([self._kept, block])
        seen = self._start + len(self._kept)
        return self._give((seen * self._up - self._half - 1) // self._down + 1)

    def finish(self) -> np.ndarray:
        """Return what is left at the end of the stream, behind which there is silence, and start anew."""
        if self._up == self._down:
            return np.zeros(0, np.float32)
        seen = self._start + len(self._kept)
        rest = self._give(-(-seen * self._up // self._down))
        self.reset()
        return rest

    def _give(self, ready: int) -> np.ndarray:
        """Return the samples up to a number, and forget what no later one needs."""
        if ready <= self._given:
            return np.zeros(0, np.float32)
        from scipy.signal import resample_poly

        first = self._start // self._down * self._up
        taps: Any = _taps(self._up, self._down)  # the stubs of SciPy know no arrays here
        sound = resample_poly(self._kept, self._up, self._down, window=taps)[self._given - first : ready - first]
        self._given = ready
        needed = max(0, -((self._half - ready * self._down) // self._up))
        start = needed // self._down * self._down
        self._kept, self._start = self._kept[start - self._start :], start
        return sound.astype(np.float32)


@functools.lru_cache(maxsize=4)
def _taps(up: int, down: int) -> np.ndarray:
    """Return the filter that scipy.signal.resample_poly makes by default, which takes long for odd ratios."""
    from scipy.signal import firwin

    most = max(up, down)
    return firwin(20 * most + 1, 1.0 / most, window=("kaiser", 5.0)).astype(np.float32)
