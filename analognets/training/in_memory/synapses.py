"""The devices of one weight array: pairs of pulsed cells that hold it, and the digital memory of what is due."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.devices import PulsedDevice, State, derive_seed
from analognets.errors import InvalidArgumentError, RunError
from analognets.layers.ranges import FrozenRange

__all__ = ["Rules", "Synapses"]

EXACT_BITS = 16
"""Significant bits of epsilon: with these, p * epsilon and chi - p * epsilon are exact in float32."""

STORED_AS = {"pulses": "uint8"}
MOST_PULSES = 255
COUNTERS = ("set", "reset", "refreshed", "selection")


@dataclasses.dataclass(frozen=True)
class Rules:
    """How weights lie in devices and how they are updated; see `MixedPrecision` for the arguments."""

    devices_per_polarity: int
    weight_range: float | str
    weight_range_sigma: float
    conductance_range: float
    epsilon: float | str
    max_pulses: int
    accumulate: bool
    initial_conductance: float
    refresh_above: float
    refresh_below: float
    refresh_pulses: int
    refresh_feedback: bool


def rounded(value: float, bits: int = EXACT_BITS) -> float:
    """Return the nearest number with that many significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**bits), exponent - bits)


class Synapses:
    """The devices behind one variable: W = scale * (sum of N G+ - sum of N G-), as it was last read.

    Everything here can be traced and touches pulsed synapses only. `analognets.spiking.PulsedSynapses` are whole arrays
    without a graph: one update a presentation, a turn for each synapse, refresh of whole synapses.

    Args:
        variable: the weights, float32. Its value is written to the devices by `program`.
        number: of the variable in the optimizer; draws depend on it, not on names.
        device: kind of the devices.
        rules: of the update.
        add_variable: makes a variable of the optimizer.
        seed: a generator for all draws in training.

    Raises:
        InvalidArgumentError: the variable is not float32, has a constraint, or its weights don't fit into the devices.
    """

    def __init__(
        self,
        variable: keras.Variable,
        *,
        number: int,
        device: PulsedDevice,
        rules: Rules,
        add_variable: Callable[..., keras.Variable],
        seed: keras.random.SeedGenerator,
    ) -> None:
        self.variable, self.number = variable, number
        self.device, self.rules, self.seed = device, rules, seed
        self.path = getattr(variable, "path", variable.name)
        self.shape = tuple(int(size) for size in variable.shape)
        self.size = math.prod(self.shape)
        self.copies = rules.devices_per_polarity
        self._check()
        device.pulse_curve(rules.refresh_pulses)  # simulated once, and not while a step is traced
        name = self.path.replace("/", "_")
        self.numbers = add_variable((2,), dtype="float32", name=f"{name}_scale_epsilon")
        self.numbers.assign(self._scale_and_epsilon())
        self.chi = add_variable(self.shape, dtype="float32", name=f"{name}_chi")
        self.state = {
            key: add_variable((2 * self.copies * self.size,), dtype=STORED_AS.get(key, "float32"), name=f"{name}_{key}")
            for key in device.state_names
        }
        self.counts = add_variable((len(COUNTERS),), dtype="int64", name=f"{name}_counts")

    def _check(self) -> None:
        if self.variable.dtype != "float32":
            raise InvalidArgumentError(
                f"Weights on devices must be float32 variables. Received: '{self.path}' of {self.variable.dtype}. Use "
                "a float32 or mixed policy, or leave it out of `variables`."
            )
        constraint = self.variable.constraint
        if isinstance(constraint, FrozenRange):
            constraint = constraint.inner  # of an analog layer: what bounds its weights now is the devices' g_max
        if constraint is not None:
            raise InvalidArgumentError(
                f"'{self.path}' has a constraint ({type(constraint).__name__}). Devices can't obey "
                "it: they move by pulses only. Remove the constraint, or leave the variable out of `variables`."
            )

    def _scale_and_epsilon(self, wanted: float | str = "auto") -> list[float]:
        """Return both for the variable's present weights; they are stored, because training goes on with the first."""
        weight_range = self._weight_range() if wanted == "auto" else float(wanted)
        scale = weight_range / (self.copies * self.rules.conductance_range)
        granularity = self.device.mean_step * scale if self.rules.epsilon == "auto" else float(self.rules.epsilon)
        return [scale, rounded(granularity)]

    def check_numbers(self, stored: np.ndarray) -> None:
        """Raise unless a stored scale and epsilon are what was asked for, where that was not "auto"."""
        asked = self._scale_and_epsilon(wanted=self.rules.weight_range)
        for name, value, other in zip(("weight_range", "epsilon"), asked, stored.tolist(), strict=True):
            if getattr(self.rules, name) != "auto" and not math.isclose(value, other, rel_tol=1e-5):
                raise RunError(
                    f"The optimizer's checkpoint has another {name} for '{self.path}'. Received: "
                    f"{other / value * float(getattr(self.rules, name)):.6g} in the checkpoint, "
                    f"{getattr(self.rules, name):g} here. Use the one it was made with, or 'auto' to go on with it."
                )

    @property
    def scale(self) -> float:
        """Weight of 1 uS."""
        return float(self.numbers.numpy()[0])

    @property
    def epsilon(self) -> float:
        """Weight that counts as one pulse."""
        return float(self.numbers.numpy()[1])

    def _weight_range(self) -> float:
        weights = self.variable.numpy()
        largest = float(np.abs(weights).max(initial=0.0))
        if self.rules.weight_range != "auto":
            wanted = float(self.rules.weight_range)
        else:
            wanted = max(self.rules.weight_range_sigma * float(weights.std()), largest) or 1.0
        reach = (
            (self.device.g_max - self.device.g_min - self.rules.initial_conductance)
            / self.rules.conductance_range
            * wanted
        )
        if largest > reach:
            raise InvalidArgumentError(
                f"The devices can't hold '{self.path}': its weights reach {largest:.4g}, the pairs {reach:.4g}. "
                f"Received: weight_range={wanted:.4g} at {self.rules.conductance_range:g} of {self.device.g_max:g} uS. "
                f"Use weight_range of at least {largest / reach * wanted:.4g}, or 'auto'."
            )
        return wanted

    # ---- writing all

    def program(self, seed: int) -> None:
        """Write the variable's present value to the devices and read it back; chi takes what the devices missed."""
        wanted = tf.identity(self.variable.value)
        weights = tf.reshape(self.variable.value, [1, 1, -1]) * (1.0 / (self.scale * self.copies))
        parts = (
            tf.concat([tf.maximum(weights, 0.0), tf.maximum(-weights, 0.0)], 0)
            + self.device.g_min
            + self.rules.initial_conductance
        )
        targets = tf.minimum(tf.repeat(parts, self.copies, axis=1), self.device.g_max)
        state = self.device.program(tf.reshape(targets, [-1]), derive_seed(seed, self.number))
        for name, stored in self.state.items():
            stored.assign(self._packed(name, state[name]))
        self.read_all(tf.constant(0.0))
        self.chi.assign(wanted - self.variable.value)

    def _packed(self, name: str, values: Any) -> Any:
        if STORED_AS.get(name) == "uint8":
            return tf.cast(tf.minimum(tf.round(values), float(MOST_PULSES)), tf.uint8)
        return values

    # ---- part by part

    def _gather(self, places: Any) -> State:
        return {name: tf.cast(tf.gather(stored.value, places), tf.float32) for name, stored in self.state.items()}

    def _scatter(self, places: Any, state: State) -> None:
        for name, stored in self.state.items():
            stored.value.scatter_update(tf.IndexedSlices(self._packed(name, state[name]), places))

    def _count(self, **more: Any) -> None:
        self.counts.assign_add(tf.stack([tf.cast(more.get(name, 0), tf.int64) for name in COUNTERS]))

    def _spots(self, index: Any) -> Any:
        """Return multi-dimensional indices of flat ones."""
        parts = []
        for size in reversed(self.shape[1:]):
            parts.append(tf.math.floormod(index, size))
            index = index // size
        return tf.stack([index, *reversed(parts)], axis=1)

    def due(self) -> tuple[Any, Any]:
        """Return flat indices of the synapses whose chi holds a pulse or more, and how many (signed)."""
        chi, epsilon, columns = self.chi.value, self.numbers.value[1], self.shape[-1]
        if columns < 16 or len(self.shape) < 2:
            flat = tf.reshape(chi, [-1])
            index = tf.where(tf.abs(flat) >= epsilon)[:, 0]
            values = tf.gather(flat, index)
        else:  # most rows hold none: one pass that allocates nothing finds them
            table = tf.reshape(chi, [-1, columns])
            peaks = tf.maximum(tf.reduce_max(table, 1), -tf.reduce_min(table, 1))
            rows = tf.where(peaks >= epsilon)[:, 0]
            part = tf.gather(table, rows)
            within = tf.where(tf.abs(part) >= epsilon)
            values = tf.gather_nd(part, within)
            index = tf.gather(rows, within[:, 0]) * columns + within[:, 1]
        pulses = tf.sign(values) * tf.floor(tf.abs(values) / epsilon)
        pulses = tf.clip_by_value(pulses, -float(self.rules.max_pulses), float(self.rules.max_pulses))
        return index, pulses

    def due_at_random(self) -> tuple[Any, Any]:
        """Return pulses drawn with the probability chi / epsilon, and forget chi: the update without accumulation."""
        flat = tf.reshape(self.chi.value, [-1]) / self.numbers.value[1]
        pulses = tf.sign(flat) * tf.floor(tf.abs(flat) + keras.random.uniform((self.size,), seed=self.seed))
        pulses = tf.clip_by_value(pulses, -float(self.rules.max_pulses), float(self.rules.max_pulses))
        self.chi.value.assign(tf.zeros_like(self.chi.value))
        index = tf.where(tf.not_equal(pulses, 0.0))[:, 0]
        return index, tf.gather(pulses, index)

    def transfer(self, time: Any) -> None:
        """Turn what is due into blind pulses, and read the synapses that got some."""
        index, pulses = self.due() if self.rules.accumulate else self.due_at_random()

        def pulse_and_read() -> Any:
            if self.rules.accumulate:
                self.chi.value.scatter_nd_sub(self._spots(index), pulses * self.numbers.value[1])
            self._pulse(index, pulses, time)
            self._read(index, time)
            return tf.constant(0)

        tf.cond(tf.size(index) > 0, pulse_and_read, lambda: tf.constant(0))

    def _pulse(self, index: Any, pulses: Any, time: Any) -> None:
        """Give synapses pulses, those of one synapse one after the other on the next devices in turn."""
        first = self.counts.value[COUNTERS.index("selection")]
        starts = tf.cast(pulses < 0.0, tf.int64) * (self.copies * self.size) + index
        counts = tf.abs(pulses)

        def places(of: Any, number: Any) -> Any:
            return of + tf.math.floormod(first + tf.cast(number, tf.int64), self.copies) * self.size

        self._set_once(places(starts, 0.0), time)
        most = self._set_more(starts, counts, time, places)
        self._count(set=tf.reduce_sum(counts), selection=most)

    def _set_once(self, places: Any, time: Any) -> None:
        draws = self.device.pulse_draws((tf.size(places),), self.seed)
        self._scatter(places, self.device.pulse_with(self._gather(places), draws, time=time))

    def _set_more(self, starts: Any, counts: Any, time: Any, places: Callable[[Any, Any], Any]) -> Any:
        """Give the second, third ... pulse to those with more than one, and return the largest count."""

        def one(number: Any) -> Any:
            self._set_once(places(tf.gather(starts, tf.where(counts > number)[:, 0]), number), time)
            return (number + 1.0,)

        most = tf.reduce_max(counts)
        tf.while_loop(lambda number: number < most, one, (tf.constant(1.0),), parallel_iterations=1)
        return most

    def _places(self, index: Any) -> Any:
        """Return the places of all devices of synapses, an axis of 2 N first."""
        return tf.range(2 * self.copies, dtype=tf.int64)[:, None] * self.size + index[None, :]

    def weights(self, conductances: Any) -> Any:
        """Return the weights of conductances in uS whose first axis holds N positive and N negative devices."""
        plus = tf.reduce_sum(conductances[: self.copies], 0)
        return self.numbers.value[0] * (plus - tf.reduce_sum(conductances[self.copies :], 0))

    def _read(self, index: Any, time: Any) -> None:
        places = self._places(index)
        draws = self.device.read_draws((2 * self.copies, tf.size(index)), self.seed)
        weights = self.weights(self.device.read_with(self._gather(places), time, draws))
        self.variable.value.scatter_nd_update(self._spots(index), weights)

    def conductances(self, time: Any, seed: Any) -> Any:
        """Return one reading of all devices in uS, of shape (2 N, synapses)."""
        shape = (2 * self.copies, self.size)
        state = {name: tf.cast(tf.reshape(stored.value, shape), tf.float32) for name, stored in self.state.items()}
        return self.device.read_with(state, time, self.device.read_draws(shape, seed))

    def read_all(self, time: Any) -> None:
        """Read all devices anew into the variable."""
        self.serve(time, read=True, refresh=False)

    def serve(self, time: Any, *, read: bool, refresh: bool) -> None:
        """Read all devices once; put the weights into the variable, refresh the pairs that need it, or both.

        Args:
            time: now, in seconds.
            read: whether all weights become this reading. Those of refreshed pairs do in any case.
            refresh: whether pairs are refreshed.
        """
        conductances = self.conductances(time, self.seed)
        if read:
            self.variable.value.assign(tf.reshape(self.weights(conductances), self.shape))
        if refresh:
            plus, minus = (
                tf.reshape(part, [-1]) for part in (conductances[: self.copies], conductances[self.copies :])
            )
            full = tf.maximum(plus, minus) > self.rules.refresh_above
            chosen = tf.where(full & (tf.abs(plus - minus) < self.rules.refresh_below))[:, 0]
            difference = tf.gather(plus, chosen) - tf.gather(minus, chosen)
            tf.cond(tf.size(chosen) > 0, lambda: self._rewrite(chosen, difference, time), lambda: tf.constant(0))

    def _rewrite(self, pairs: Any, difference: Any, time: Any) -> Any:
        """RESET both devices of pairs, write the differences blindly on one of each and read the synapses."""
        offset = self.copies * self.size
        both = tf.concat([pairs, pairs + offset], 0)
        self._scatter(both, self.device.reset_with(self.device.reset_draws((tf.size(both),), self.seed), time=time))
        counts = self.device.pulses_for(tf.abs(difference), self.rules.refresh_pulses)
        hit = tf.where(counts > 0.0)[:, 0]
        starts, counts = tf.gather(pairs + tf.cast(difference < 0.0, tf.int64) * offset, hit), tf.gather(counts, hit)
        self._set_once(starts, time)
        self._set_more(starts, counts, time, lambda of, number: of)
        self._count(set=tf.reduce_sum(counts), reset=tf.size(both), refreshed=tf.size(pairs))
        index = tf.unique(tf.math.floormod(pairs, self.size))[0]
        spots = self._spots(index)
        before = tf.gather_nd(self.variable.value, spots)
        self._read(index, time)
        if self.rules.refresh_feedback:
            self.chi.value.scatter_nd_add(spots, before - tf.gather_nd(self.variable.value, spots))
        return tf.constant(0)
