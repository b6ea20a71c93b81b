"""Policies of pulsed arrays: how a change becomes pulses, which device takes them, and what is refreshed."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

__all__ = [
    "Amplitude",
    "Nearest",
    "OwnTurn",
    "Refresh",
    "SharedTurn",
    "Stochastic",
    "Truncated",
    "Turn",
    "UpdateRule",
]


@dataclasses.dataclass(frozen=True)
class UpdateRule(abc.ABC):
    """How a wanted change of a synapse, x in units of a step, becomes blind pulses.

    p = sign(x) * min(size(|x|), most):  p > 0: p SET pulses on G+,  p < 0: -p on G-

    A subclass gives `size`, and says in class variables what happens to small changes and to the rest.

    Args:
        most: largest answer, >= 1.

    Examples:
        >>> class Whole(UpdateRule):
        ...     def size(self, change, uniform):
        ...         return keras.ops.round(change)
        >>> Whole(most=4).pulses(np.array([0.4, -1.7, 9.0]), None).numpy().tolist()
        [0.0, -2.0, 4.0]
    """

    most: float
    least: ClassVar[float] = 0.0
    """Smallest |x| that gives a pulse, where all from there on do: a sparse update looks at these only. 0: at all."""
    keeps_rest: ClassVar[bool] = False
    """Whether an accumulator keeps x - p for later; else it forgets it."""
    in_amplitude: ClassVar[bool] = False
    """Whether p is the amplitude of one pulse; else it is a number of pulses of amplitude 1."""

    @abc.abstractmethod
    def size(self, change: Any, uniform: Callable[[], Any]) -> Any:
        """Return pulses for the absolute change |x|.

        Args:
            change: |x|, any shape.
            uniform: draws even numbers from 0 to 1 of that shape, for rules that round by chance.
        """

    def pulses(self, change: Any, uniform: Callable[[], Any]) -> Any:
        """Return the signed pulses p for a change x."""
        return tf.sign(change) * tf.minimum(self.size(tf.abs(change), uniform), float(self.most))


class Truncated(UpdateRule):
    """Whole steps only, and the rest waits in an accumulator: size = floor(|x|).

    Source: Nandakumar et al., arXiv 2001.11773.
    """

    least: ClassVar[float] = 1.0
    keeps_rest: ClassVar[bool] = True

    def size(self, change: Any, uniform: Callable[[], Any]) -> Any:
        return tf.floor(change)


class Stochastic(UpdateRule):
    """Rounding that is right in the mean: size = floor(|x| + U), U even from 0 to 1."""

    def size(self, change: Any, uniform: Callable[[], Any]) -> Any:
        return tf.floor(change + uniform())


class Nearest(UpdateRule):
    """Rounding that loses what is smaller than half a step: size = round(|x|)."""

    def size(self, change: Any, uniform: Callable[[], Any]) -> Any:
        return tf.round(change)


@dataclasses.dataclass(frozen=True)
class Amplitude(UpdateRule):
    """One pulse whose amplitude is the change itself: size = |x|, or 0 below the smallest amplitude.

    Args:
        smallest: amplitude that is programmed, > 0.
    """

    smallest: float = 0.1
    in_amplitude: ClassVar[bool] = True

    def size(self, change: Any, uniform: Callable[[], Any]) -> Any:
        change = tf.minimum(change, float(self.most))
        return tf.where(change < self.smallest, tf.zeros_like(change), change)


class Turn(abc.ABC):
    """Which of the N devices of a polarity takes the next pulse of a synapse."""

    @abc.abstractmethod
    def begin(self, copies: int, size: int) -> Callable[[Any, Any], Any]:
        """Begin an update and return a function (starts, number) -> places.

        Args:
            copies: N.
            size: synapses of the array.

        Returns:
            What gives the places of the devices that take pulse `number` (0, 1, ...) of this update; `starts` are the
            places of the first devices of their polarity. It is called once for each number, in order.
        """


@dataclasses.dataclass(frozen=True)
class SharedTurn(Turn):
    """Cyclic, by one counter for the array: pulse n of an update goes to device (counter + n) mod N.

    Args:
        counter: returns the counter; its owner moves it on by the largest number of pulses after each update.
    """

    counter: Callable[[], Any]

    def begin(self, copies: int, size: int) -> Callable[[Any, Any], Any]:
        first = self.counter()
        return lambda starts, number: starts + tf.math.floormod(first + tf.cast(number, tf.int64), copies) * size


@dataclasses.dataclass(frozen=True)
class OwnTurn(Turn):
    """Cyclic, by a counter for each synapse and polarity.

    Args:
        counts: the pulses so far, int32, first of all positive polarities, then of all negative ones.
    """

    counts: keras.Variable

    def begin(self, copies: int, size: int) -> Callable[[Any, Any], Any]:
        def places(starts: Any, number: Any) -> Any:
            counters = tf.where(starts < copies * size, starts, starts - (copies - 1) * size)
            turns = tf.gather(self.counts.value, counters)
            self.counts.value.scatter_add(tf.IndexedSlices(tf.ones_like(turns), counters))
            return starts + tf.cast(tf.math.floormod(turns, copies), tf.int64) * size

        return places


@dataclasses.dataclass(frozen=True)
class Refresh:
    """Units that are reset and re-written, because both polarities are high and differ little.

        pairs:           max(G+, G-) > above  and  |G+ - G-| < below;  the difference comes back on one of both devices
        whole synapses:  any G > above  and  |sum of G+ - sum of G-| / N < below;  it comes back in equal parts on all
                         devices of one polarity, in turn

    Args:
        above: in uS.
        below: in uS.
        most: pulses a device for re-writing the difference, 1 to 1000.
        whole: whether a unit is a whole synapse; else each of its pairs is one.
    """

    above: float
    below: float
    most: int = 20
    whole: bool = False

    def due(self, conductances: Any) -> tuple[Any, Any]:
        """Return the numbers of the units that are due, and G+ - G- of each in uS a device.

        Args:
            conductances: a reading in uS, (2, N, synapses).
        """
        plus, minus = conductances[0], conductances[1]
        if self.whole:
            pairs = tf.unstack(plus - minus)
            highest, difference = tf.reduce_max(conductances, [0, 1]), sum(pairs) / float(len(pairs))
        else:
            plus, minus = tf.reshape(plus, [-1]), tf.reshape(minus, [-1])
            highest, difference = tf.maximum(plus, minus), plus - minus
        chosen = tf.where((highest > self.above) & (tf.abs(difference) < self.below))[:, 0]
        return chosen, tf.gather(difference, chosen)
