"""Learning rules: what the spikes of a layer ask of its synapses."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from analognets.errors import check_number
from analognets.spiking.trains import SpikeTrains, check_step

__all__ = ["LearningRule", "SpikeTiming"]


class LearningRule(abc.ABC):
    """A rule that moves weights along what the inputs did before certain moments of the outputs.

        dw_ij = r * sum over t of  s_j(t) d_i(t)

    A subclass gives the directions d and the moments s. The synapses apply the change dw by their own means: exactly,
    or by pulses on devices.

    Args:
        dt: step in ms.
        rate: r, in pA.

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> rule = analognets.spiking.NormAD(dt=0.1, rate=100.0)
        >>> isinstance(rule, LearningRule), rule.rate
        (True, 100.0)
    """

    def __init__(self, *, dt: float = 0.1, rate: float = 200.0) -> None:
        self.dt = check_step(dt)
        self.rate = check_number(type(self).__name__, "rate", rate, 0.0, 1e9, unit="pA")

    @abc.abstractmethod
    def directions(self, inputs: SpikeTrains) -> np.ndarray:
        """Return d at the end of each step, float32 (steps, inputs); computed once for each pattern.

        Args:
            inputs: the spikes that come in.
        """

    @abc.abstractmethod
    def moments(self, target: SpikeTrains, observed: np.ndarray) -> np.ndarray:
        """Return s, (steps, outputs), 0 where nothing is learned.

        Args:
            target: wanted spikes of the outputs; a rule without a teacher leaves them alone.
            observed: dense observed spikes (steps, outputs), as `LIF` returns them.
        """

    def update(self, directions: np.ndarray, target: SpikeTrains, observed: np.ndarray) -> np.ndarray:
        """Return dw in pA, float32 (inputs, outputs).

        Args:
            directions: of the inputs.
            target: wanted spikes of the outputs.
            observed: dense observed spikes (steps, outputs), as `LIF` returns them.
        """
        moments = self.moments(target, np.asarray(observed))
        when, who = np.nonzero(moments)
        change = np.zeros((moments.shape[1], directions.shape[1]), "float32")
        np.add.at(change, who, moments[when, who][:, None] * directions[when])
        return self.rate * change.T


class SpikeTiming(LearningRule):
    """Spike-timing-dependent plasticity without a teacher: a spike strengthens recent inputs and weakens the others.

        s_j(t) = 1 at each spike of output j,   d_i(t) = exp(-(t - t_i) / window) - offset,   t_i the last spike of i

    Args:
        window: time constant in ms, > 0.
        offset: what every input loses at a spike, 0 to 1.
        dt: step in ms.
        rate: r, in pA.

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> rule = SpikeTiming(window=20.0, offset=0.2)
        >>> inputs = analognets.spiking.SpikeTrains.from_lists([[9.0], []], 50.0)
        >>> observed = np.zeros((500, 1))
        >>> observed[100] = 1.0
        >>> change = rule.update(rule.directions(inputs), inputs, observed)
        >>> print(np.sign(change).ravel())
        [ 1. -1.]

    Source: after Querlioz et al. 2013; there is no separate depression by inputs that come after the spike.
    """

    def __init__(self, *, window: float = 20.0, offset: float = 0.2, dt: float = 0.1, rate: float = 200.0) -> None:
        super().__init__(dt=dt, rate=rate)
        self.window = check_number("SpikeTiming", "window", window, 1e-3, 1e6, unit="ms")
        self.offset = check_number("SpikeTiming", "offset", offset, 0.0, 1.0)

    def directions(self, inputs: SpikeTrains) -> np.ndarray:
        """Return d at the end of each step, float32 (steps, inputs)."""
        fired = inputs.to_dense(self.dt) > 0
        steps = np.arange(len(fired))[:, None]
        last = np.maximum.accumulate(np.where(fired, steps, -1), axis=0)
        trace = np.where(last < 0, 0.0, np.exp((last - steps) * (self.dt / self.window)))
        return (trace - self.offset).astype("float32")

    def moments(self, target: SpikeTrains, observed: np.ndarray) -> np.ndarray:
        """Return 1 at each observed spike."""
        return np.asarray(observed > 0, "float32")

    def at_spike(self, ages: np.ndarray, inputs: np.ndarray, count: int, dtype: Any = "float32") -> np.ndarray:
        """Return d at one spike, from the events before it alone.

        Args:
            ages: times of the input spikes, counted from the spike of the output, in ms, <= 0 and rising.
            inputs: which input each of them is of.
            count: how many inputs there are.
            dtype: of the answer.
        """
        trace = np.zeros(count, dtype)
        # Of several spikes of one input the last counts: assignment goes in order.
        trace[inputs] = np.exp(ages * (1 / self.window))
        trace -= self.offset
        return trace
