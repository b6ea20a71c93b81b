"""The leaky integrate-and-fire neuron as a Keras layer that scans over time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.errors import InvalidArgumentError, check_number
from analognets.spiking.filters import TAU_FALL, TAU_RISE, scan_dtype, step_weights
from analognets.spiking.trains import check_step

__all__ = ["LIF"]


@keras.saving.register_keras_serializable(package="analognets")
class LIF(keras.layers.Layer):
    """Leaky integrate-and-fire neurons: currents (batch, steps, units) in pA in, spikes of that shape out.

        C dV/dt = -g_L (V - E_L) + I;   V >= V_T: a spike, V = E_L for the refractory time;   V never below E_L

    The current is constant within a step, and the step is exact: V' = E_L + (V - E_L) p + (1 - p) I / g_L with
    p = exp(-dt g_L / C). With the traces of `DoubleExponential` that is exact for its currents too. V of step k is
    that at the end of the step; a spike of step k is 1 there. Spikes pass no gradient.

    Lateral inhibition: every spike of a unit adds -lateral_inhibition (exp(-t / 5 ms) - exp(-t / 1.25 ms)) to the
    currents of all other units, from the next step on.

    Args:
        dt: step in ms, at most the refractory time if there is one.
        capacitance: C in pF, > 0.
        leak: g_L in nS, > 0.
        rest: E_L in mV.
        threshold: V_T in mV, above rest.
        refractory: in ms; a whole number of steps is taken, the nearest; 0: there is none.
        lateral_inhibition: in pA, >= 0; 0 is none. The MNIST code of the source has 1000.
        clamp: whether V is kept from falling below E_L.
        return_membrane: return (spikes, V) instead of spikes; V in mV is E_L in the step of a spike.

    Raises:
        InvalidArgumentError: a constant is out of range, or the step is longer than the refractory time.

    Examples:
        >>> neurons = LIF(dt=0.5)
        >>> spikes = neurons(np.full((1, 200, 1), 3000.0))
        >>> int(spikes.numpy().sum()), round(neurons.rheobase)
        (3, 2700)

    Source: constants verified in the code of the same group (k18shruti/SNN-for-Pattern-Recognition), not in the paper
    on PCM synapses; there a 2nd-order Runge-Kutta step. The time course of the inhibition is our reconstruction.
    """

    def __init__(
        self,
        *,
        dt: float = 0.1,
        capacitance: float = 300.0,
        leak: float = 30.0,
        rest: float = -70.0,
        threshold: float = 20.0,
        refractory: float = 3.0,
        lateral_inhibition: float = 0.0,
        clamp: bool = True,
        return_membrane: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        self.refractory = check_number("LIF", "refractory", refractory, 0.0, 1e6, unit="ms")
        self.dt = check_step(dt, self.refractory or None)
        self.capacitance = check_number("LIF", "capacitance", capacitance, 1e-6, 1e9, unit="pF")
        self.leak = check_number("LIF", "leak", leak, 1e-6, 1e9, unit="nS")
        self.rest = check_number("LIF", "rest", rest, -1e6, 1e6, unit="mV")
        self.threshold = check_number("LIF", "threshold", threshold, -1e6, 1e6, unit="mV")
        if not self.rest < self.threshold:
            raise InvalidArgumentError(
                f"`threshold` of LIF must be above rest. Received: threshold={threshold:g}, rest={rest:g} mV."
            )
        self.lateral_inhibition = check_number("LIF", "lateral_inhibition", lateral_inhibition, 0.0, 1e9, unit="pA")
        self.clamp, self.return_membrane = clamp, return_membrane

    @property
    def membrane(self) -> float:
        """Time constant C / g_L in ms."""
        return self.capacitance / self.leak

    @property
    def rheobase(self) -> float:
        """The constant current in pA below which the neuron never fires: g_L (V_T - E_L)."""
        return self.leak * (self.threshold - self.rest)

    def rate(self, current: Any) -> np.ndarray:
        """Return the rate in Hz at a constant current in pA: 1 / (t_ref + tau ln(I / (I - I_rheobase))), or 0.

        The closed form in continuous time; the layer's rates are on its grid of time.
        """
        current = np.asarray(current, dtype=float)
        above = current > self.rheobase
        ratio = np.divide(current, current - self.rheobase, out=np.ones_like(current), where=above)
        period = self.refractory + self.membrane * np.log(ratio)
        return np.where(above, 1000.0 / period, 0.0)

    def call(self, currents: Any) -> Any:
        currents = ops.cast(currents, scan_dtype(self.compute_dtype))
        keep = float(np.exp(-self.dt / self.membrane))
        gain = float(-np.expm1(-self.dt / self.membrane) / self.leak)
        hold = float(max(1, round(self.refractory / self.dt))) if self.refractory else 0.0
        height = self.threshold - self.rest
        decays = [float(np.exp(-self.dt / tau)) for tau in (TAU_FALL, TAU_RISE)]
        weights = [step_weights(self.dt, tau, self.membrane) for tau in (TAU_FALL, TAU_RISE)]

        def step(carry: Any, current: Any) -> Any:
            u, wait, *inhibition = carry
            if inhibition:
                fall, rise = (ops.sum(trace, -1, keepdims=True) - trace for trace in inhibition)
                current = current - self.lateral_inhibition * (weights[0] * fall - weights[1] * rise)
            u = keep * u + gain * current
            if self.clamp:
                u = ops.maximum(u, 0.0)
            u = ops.where(wait > 0.5, 0.0, u)
            spike = ops.cast(u >= height, u.dtype)
            u = u * (1.0 - spike)
            wait = ops.maximum(wait - 1.0, 0.0) + hold * spike
            later = [decay * trace + spike for decay, trace in zip(decays, inhibition, strict=False)]
            # Keras wants outputs of the structure of the carry here, on TensorFlow.
            return (u, wait, *later), (spike, u, *later)

        rest = ops.zeros_like(currents[:, 0])
        start = (rest,) * (4 if self.lateral_inhibition else 2)
        _, (spikes, u, *_) = ops.scan(step, start, ops.swapaxes(currents, 0, 1))
        spikes = ops.cast(ops.stop_gradient(ops.swapaxes(spikes, 0, 1)), self.compute_dtype)
        if not self.return_membrane:
            return spikes
        return spikes, ops.cast(ops.swapaxes(u, 0, 1) + self.rest, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> Any:
        return (input_shape, input_shape) if self.return_membrane else input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("dt", "capacitance", "leak", "rest", "threshold", "refractory", "lateral_inhibition", "clamp")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in (*names, "return_membrane")},
        }
