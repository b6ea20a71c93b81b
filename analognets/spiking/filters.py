"""Double-exponential synaptic currents: the trace each presynaptic spike leaves, on a grid of time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.signal import lfilter

from analognets.errors import InvalidArgumentError, check_number
from analognets.spiking.trains import SpikeTrains, check_step

__all__ = ["DoubleExponential", "exponential_traces", "scan_dtype", "step_weights"]

TAU_FALL, TAU_RISE = 5.0, 1.25


def scan_dtype(compute_dtype: str) -> str:
    """Return the dtype of sums over time: a half-precision decay near 1 would be 1, and small steps would be lost."""
    return "float64" if compute_dtype == "float64" else "float32"


def step_weights(dt: float, tau: float, membrane: float | None) -> float:
    """Return what a trace exp(-t / tau) that stands at 1 at the start of a step counts as in that step.

    With the membrane's time constant it is the constant current that moves a leaky membrane over the step exactly as
    the decaying one does; without (None) it is the value at the end of the step.

        w = tau / (tau - tau_m) * (exp(-dt / tau) - exp(-dt / tau_m)) / (1 - exp(-dt / tau_m))

    Source: exact integration of linear equations, Rotter and Diesmann 1999.
    """
    if membrane is None:
        return float(np.exp(-dt / tau))
    if abs(tau / membrane - 1.0) < 1e-6:
        return float(dt / membrane * np.exp(-dt / membrane) / -np.expm1(-dt / membrane))
    share = (np.exp(-dt / tau) - np.exp(-dt / membrane)) / -np.expm1(-dt / membrane)
    return float(tau / (tau - membrane) * share)


def exponential_traces(trains: SpikeTrains, dt: float, tau: float) -> np.ndarray:
    """Return x(k) = sum of exp(-(k dt - t_f) / tau) over the spikes until the start of step k, (steps, channels).

    A spike acts from the start of its step on. Event-driven: spikes are added where they are, then one recursion runs.

    Args:
        trains: the spikes.
        dt: step in ms.
        tau: time constant in ms.
    """
    decay = np.exp(-check_step(dt) / tau)
    return lfilter([1.0], [1.0, -decay], trains.to_dense(dt, "float64"), axis=0)


@keras.saving.register_keras_serializable(package="analognets")
class DoubleExponential(keras.layers.Layer):
    """Turns spikes (batch, steps, channels) into synaptic traces of the same shape, step by step.

        c(t) = sum over spikes f of  exp(-(t - t_f) / tau_fall) - exp(-(t - t_f) / tau_rise)

    A weight times c is the synaptic current. The value of a step is the constant current with the same effect on a
    membrane of time constant `membrane` as c over that step, so that `LIF` integrates exactly.

    Args:
        dt: step in ms.
        tau_fall: in ms, more than tau_rise.
        tau_rise: in ms, > 0.
        membrane: time constant of the membrane in ms; None: c at the end of the step.

    Raises:
        InvalidArgumentError: a time is out of range.

    Examples:
        >>> spikes = np.zeros((1, 100, 1), "float32")
        >>> spikes[0, 10] = 1.0
        >>> traces = DoubleExponential(dt=0.1)(spikes)
        >>> print(traces.shape, int(np.argmax(traces)))
        (1, 100, 1) 33

    Source: constants verified in the code of the same group (k18shruti/SNN-for-Pattern-Recognition), not in the paper
    on PCM synapses.
    """

    def __init__(
        self,
        *,
        dt: float = 0.1,
        tau_fall: float = TAU_FALL,
        tau_rise: float = TAU_RISE,
        membrane: float | None = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"trainable": False, **kwargs})
        self.dt = check_step(dt)
        self.tau_rise = check_number("DoubleExponential", "tau_rise", tau_rise, 1e-6, 1e6, unit="ms")
        self.tau_fall = check_number("DoubleExponential", "tau_fall", tau_fall, 1e-6, 1e6, unit="ms")
        if not self.tau_rise < self.tau_fall:
            raise InvalidArgumentError(
                f"`tau_fall` of DoubleExponential must be longer than tau_rise. Received: tau_fall={tau_fall:g}, "
                f"tau_rise={tau_rise:g} ms."
            )
        self.membrane = membrane
        if membrane is not None:
            self.membrane = check_number("DoubleExponential", "membrane", membrane, 1e-6, 1e6, unit="ms")

    def call(self, spikes: Any) -> Any:
        spikes = ops.cast(spikes, scan_dtype(self.compute_dtype))
        parts = [
            (float(np.exp(-self.dt / tau)), sign * step_weights(self.dt, tau, self.membrane))
            for tau, sign in ((self.tau_fall, 1.0), (self.tau_rise, -1.0))
        ]

        def step(carry: Any, now: Any) -> Any:
            carry = tuple(decay * trace + now for trace, (decay, _) in zip(carry, parts, strict=True))
            current = sum(trace * weight for trace, (_, weight) in zip(carry, parts, strict=True))
            return carry, (current, now)  # Keras wants outputs of the structure of the carry here, on TensorFlow

        rest = ops.zeros_like(spikes[:, 0])
        _, (traces, _) = ops.scan(step, (rest, rest), ops.swapaxes(spikes, 0, 1))
        return ops.cast(ops.swapaxes(traces, 0, 1), self.compute_dtype)

    def traces(self, trains: SpikeTrains) -> np.ndarray:
        """Return the same traces (steps, channels) of spike trains, float64, without a loop over time."""
        fall, rise = (
            step_weights(self.dt, tau, self.membrane) * exponential_traces(trains, self.dt, tau)
            for tau in (self.tau_fall, self.tau_rise)
        )
        return fall - rise

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("dt", "tau_fall", "tau_rise", "membrane")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
