"""NormAD: a supervised rule that moves weights along what the inputs did at the moments of wrong spikes."""

from __future__ import annotations

import numpy as np

from analognets.errors import check_number
from analognets.spiking.filters import TAU_FALL, TAU_RISE, exponential_traces
from analognets.spiking.learning_rule import LearningRule
from analognets.spiking.trains import SpikeTrains

__all__ = ["NormAD"]


class NormAD(LearningRule):
    """The normalised approximate descent rule, applied once for each presentation.

        dw = r * sum over t with e(t) != 0 of  e(t) d(t) / ||d(t)||,    e = wanted spike (1/0) - observed spike (1/0)
        d(t) = (c * h)(t),  h(t) = exp(-t / tau) / C,  c(t) the double-exponential traces of the inputs

    d is computed in closed form on the grid of time, and looked up at the spikes only. A step with both a wanted and
    an observed spike has no error, and where no input has fired yet (d = 0) nothing is learned.

    Args:
        dt: step in ms.
        rate: r, in pA.
        tau: time constant of h in ms; a tenth of the membrane's.
        tau_fall: of the synaptic traces in ms, another one than tau.
        tau_rise: the same.

    Examples:
        >>> inputs = analognets.spiking.SpikeTrains.from_lists([[5.0], [20.0]], 50.0)
        >>> target = analognets.spiking.SpikeTrains.from_lists([[10.0]], 50.0)
        >>> rule = NormAD(dt=0.1)
        >>> change = rule.update(rule.directions(inputs), target, np.zeros((500, 1)))
        >>> print(np.sign(change).ravel())
        [1. 0.]

    Source: Anwani and Rajendran 2015; constants verified in the code of the same group
    (k18shruti/SNN-for-Pattern-Recognition), where r = 200 pA. The convolution over the whole pattern is from memory.
    """

    def __init__(
        self,
        *,
        dt: float = 0.1,
        rate: float = 200.0,
        tau: float = 1.0,
        tau_fall: float = TAU_FALL,
        tau_rise: float = TAU_RISE,
    ) -> None:
        super().__init__(dt=dt, rate=rate)
        self.tau, self.tau_fall, self.tau_rise = (
            check_number("NormAD", name, value, 1e-6, 1e6, unit="ms")
            for name, value in (("tau", tau), ("tau_fall", tau_fall), ("tau_rise", tau_rise))
        )

    def directions(self, inputs: SpikeTrains) -> np.ndarray:
        """Return d(t) / ||d(t)|| at the end of each step, float32 (steps, inputs); rows of zeros where d is 0.

        Raises:
            InvalidArgumentError: the inputs hold no spike at all.
        """
        inputs.require_spikes("The input of a learning rule")
        fast = np.exp(-self.dt / self.tau) * exponential_traces(inputs, self.dt, self.tau)
        d = np.zeros_like(fast)
        for tau, sign in ((self.tau_fall, 1.0), (self.tau_rise, -1.0)):
            tau = tau * (1 + 1e-6) if tau == self.tau else tau
            slow = np.exp(-self.dt / tau) * exponential_traces(inputs, self.dt, tau)
            d += sign * (slow - fast) * (tau * self.tau / (tau - self.tau))
        norm = np.linalg.norm(d, axis=1, keepdims=True)
        return np.divide(d, norm, out=np.zeros_like(d), where=norm > 1e-12).astype("float32")

    def moments(self, target: SpikeTrains, observed: np.ndarray) -> np.ndarray:
        """Return e, wanted minus observed spikes, (steps, outputs)."""
        return target.to_dense(self.dt).clip(max=1.0) - (observed > 0)
