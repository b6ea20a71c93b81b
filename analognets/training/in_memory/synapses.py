"""The devices behind one variable of an optimizer, and the digital memory of what is due."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.devices import PulsedDevice, derive_seed
from analognets.errors import InvalidArgumentError, RunError
from analognets.layers.ranges import FrozenRange
from analognets.synapses.policies import Refresh, SharedTurn, UpdateRule
from analognets.synapses.pulsed_array import PulsedArray, spots
from analognets.training.in_memory.rules import MixedPrecisionRules

__all__ = ["Synapses"]

EXACT_BITS = 16
"""Significant bits of epsilon: with these, p * epsilon and chi - p * epsilon are exact in float32."""

STORED_AS = {"pulses": "uint8"}
COUNTERS = ("set", "reset", "refreshed", "selection")


def rounded(value: float, bits: int = EXACT_BITS) -> float:
    """Return the nearest number with that many significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**bits), exponent - bits)


class Synapses(PulsedArray):
    """A variable on devices: W = scale * (sum of N G+ - sum of N G-), as it was last read, and what waits in chi.

    Args:
        variable: the weights, float32. Its value is written to the devices by `program_variable`.
        number: of the variable in the optimizer; draws depend on it, not on names.
        device: kind of the devices.
        rules: settings, with the device's numbers.
        update: how chi becomes pulses.
        add_variable: makes a variable of the optimizer.
        seed: a generator for all draws in training.

    Raises:
        InvalidArgumentError: the variable is not float32, has a constraint, or its weights don't fit into the devices.

    Examples:
        >>> net = analognets.conversion.same_model(model)
        >>> optimizer = analognets.training.in_memory.MixedPrecision(device="pulsed_pcm", seed=0)
        >>> optimizer.build(net.trainable_variables)
        >>> [(tuple(array.shape), array.device_count) for array in optimizer.synapses]
        [((8, 16), 256), ((16, 4), 128)]
    """

    def __init__(
        self,
        variable: keras.Variable,
        *,
        number: int,
        device: PulsedDevice,
        rules: MixedPrecisionRules,
        update: UpdateRule,
        add_variable: Callable[..., keras.Variable],
        seed: keras.random.SeedGenerator,
    ) -> None:
        self.variable, self.number, self.rules, self.update, self.seed = variable, number, rules, update, seed
        self.path = getattr(variable, "path", variable.name)
        self._check()
        name, shape = self.path.replace("/", "_"), tuple(int(size) for size in variable.shape)
        count = 2 * rules.devices_per_polarity * math.prod(shape)
        # In this order they stand in checkpoints.
        self.numbers = add_variable((2,), dtype="float32", name=f"{name}_scale_epsilon")
        self.chi = add_variable(shape, dtype="float32", name=f"{name}_chi")
        self.state = {
            key: add_variable((count,), dtype=STORED_AS.get(key, "float32"), name=f"{name}_{key}")
            for key in device.state_names
        }
        self.counts = add_variable((len(COUNTERS),), dtype="int64", name=f"{name}_counts")
        super().__init__(
            device,
            shape,
            copies=rules.devices_per_polarity,
            cells=self.state,
            turn=SharedTurn(lambda: self.counts.value[COUNTERS.index("selection")]),
            refreshing=Refresh(rules.refresh_above, rules.refresh_below, rules.refresh_pulses),  # type: ignore[arg-type]
        )
        self.numbers.assign(self._scale_and_epsilon())

    def _check(self) -> None:
        if self.variable.dtype != "float32":
            raise InvalidArgumentError(
                f"Weights on devices must be float32 variables. Received: '{self.path}' of {self.variable.dtype}. Use "
                "a float32 or mixed policy, or leave it out of `variables`."
            )
        constraint = self.variable.constraint
        if isinstance(constraint, FrozenRange):
            if np.any(constraint.w_max.numpy() > 0):
                raise InvalidArgumentError(
                    f"'{self.path}' is clipped to a frozen W_max, which weights on devices go beyond. Received: W_max "
                    f"{constraint.w_max.numpy().max():.4g}. Learn on devices first; freeze and calibrate afterwards."
                )
            constraint = constraint.inner  # of an analog layer: what bounds its weights now is the devices' g_max
        if constraint is not None:
            raise InvalidArgumentError(
                f"'{self.path}' has a constraint ({type(constraint).__name__}). Devices can't obey "
                "it: they move by pulses only. Remove the constraint, or leave the variable out of `variables`."
            )

    # ---- units of weights

    def _scale_and_epsilon(self, wanted: float | str = "auto") -> list[float]:
        """Return both for the variable's present weights; they are stored, because training goes on with the first."""
        weight_range = self._weight_range() if wanted == "auto" else float(wanted)
        scale = weight_range / (self.copies * self.rules.conductance_range)  # type: ignore[operator]
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
        weights, rules = self.variable.numpy(), self.rules
        largest = float(np.abs(weights).max(initial=0.0))
        if rules.weight_range != "auto":
            wanted = float(rules.weight_range)
        else:
            wanted = max(rules.weight_range_sigma * float(weights.std()), largest) or 1.0
        self._check_reach(wanted)
        return wanted

    def _check_reach(self, wanted: float) -> None:
        """Raise unless the pairs hold the variable's present weights at a range."""
        largest, rules = float(np.abs(self.variable.numpy()).max(initial=0.0)), self.rules
        room = self.device.g_max - self.device.g_min - rules.initial_conductance
        reach = room / rules.conductance_range * wanted  # type: ignore[operator]
        if largest > reach * (1 + 1e-6):
            raise InvalidArgumentError(
                f"The devices can't hold '{self.path}': its weights reach {largest:.4g}, the pairs {reach:.4g}. "
                f"Received: weight_range={wanted:.4g} at {rules.conductance_range:g} of {self.device.g_max:g} uS. "
                f"Use weight_range of at least {largest / reach * wanted:.4g}, or 'auto' with these weights at first."
            )

    def weights(self, conductances: Any, scale: Any = None) -> Any:
        """Return the weights of conductances in uS, (2, N, ...) to (...); scale None: the array's own."""
        return super().weights(conductances, self.numbers.value[0] if scale is None else scale)

    # ---- what the optimizer does

    def program_variable(self, seed: int, time: float = 0.0) -> None:
        """Write the variable's present value to the devices and read it back; chi takes what the devices missed.

        Args:
            seed: of the writing.
            time: now, in seconds.

        Raises:
            InvalidArgumentError: the devices can't hold it.
        """
        self._check_reach(self.scale * self.copies * self.rules.conductance_range)  # type: ignore[operator]
        wanted = tf.identity(self.variable.value)
        difference = wanted.numpy().reshape(-1) * (1.0 / (self.scale * self.copies))
        self.program(difference, derive_seed(seed, self.number), offset=self.rules.initial_conductance, time=time)
        self.read_all(tf.constant(time, tf.float32))
        self.chi.assign(wanted - self.variable.value)

    def transfer(self, time: Any) -> None:
        """Turn what is due into blind pulses, and read the synapses that got some."""
        index, pulses = self._due()

        def pulse_and_read() -> Any:
            if self.update.keeps_rest:
                self.chi.value.scatter_nd_sub(spots(index, self.shape), pulses * self.numbers.value[1])
            given, most = self.give(index, pulses, time, lambda number: self.seed)
            self._count(set=given, selection=most)
            self._read(index, time)
            return tf.constant(0)

        tf.cond(tf.size(index) > 0, pulse_and_read, lambda: tf.constant(0))

    def _due(self) -> tuple[Any, Any]:
        """Return the flat indices of the synapses that get pulses, and how many (signed)."""
        epsilon = self.numbers.value[1]
        if self.update.least:
            index, values = self._reaching(self.update.least * epsilon)
            pulses = self.update.pulses(values / epsilon, lambda: self._even(tf.shape(values)))
        else:
            pulses = self.update.pulses(tf.reshape(self.chi.value, [-1]) / epsilon, lambda: self._even((self.size,)))
            index = tf.where(tf.not_equal(pulses, 0.0))[:, 0]
            pulses = tf.gather(pulses, index)
        if not self.update.keeps_rest:
            self.chi.value.assign(tf.zeros_like(self.chi.value))
        return index, pulses

    def _even(self, shape: Any) -> Any:
        return keras.random.uniform(shape, seed=self.seed)

    def _reaching(self, least: Any) -> tuple[Any, Any]:
        """Return flat indices and values of what is `least` or more in chi, whatever its sign."""
        chi, columns = self.chi.value, self.shape[-1]
        if columns < 16 or len(self.shape) < 2:
            flat = tf.reshape(chi, [-1])
            index = tf.where(tf.abs(flat) >= least)[:, 0]
            return index, tf.gather(flat, index)
        # Most rows hold none: one pass that allocates nothing finds them.
        table = tf.reshape(chi, [-1, columns])
        peaks = tf.maximum(tf.reduce_max(table, 1), -tf.reduce_min(table, 1))
        rows = tf.where(peaks >= least)[:, 0]
        part = tf.gather(table, rows)
        within = tf.where(tf.abs(part) >= least)
        return tf.gather(rows, within[:, 0]) * columns + within[:, 1], tf.gather_nd(part, within)

    def _count(self, **more: Any) -> None:
        self.counts.assign_add(tf.stack([tf.cast(more.get(name, 0), tf.int64) for name in COUNTERS]))

    def _read(self, index: Any, time: Any) -> None:
        weights = self.weights(self.read_some(index, time, seed=self.seed))
        self.variable.value.scatter_nd_update(spots(index, self.shape), weights)

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
        conductances = self.conductances(time, seed=self.seed)
        if read:
            self.variable.value.assign(tf.reshape(self.weights(conductances), self.shape))
        if refresh:
            pairs, difference = self.refreshing.due(conductances)
            tf.cond(tf.size(pairs) > 0, lambda: self._refresh(pairs, difference, time), lambda: tf.constant(0))

    def _refresh(self, pairs: Any, difference: Any, time: Any) -> Any:
        given, resets = self.rewrite(pairs, difference, time, seed=self.seed)
        self._count(set=given, reset=resets, refreshed=tf.size(pairs))
        index = tf.unique(tf.math.floormod(pairs, self.size))[0]
        where = spots(index, self.shape)
        before = tf.gather_nd(self.variable.value, where)
        self._read(index, time)
        if self.rules.refresh_feedback:
            self.chi.value.scatter_nd_add(where, before - tf.gather_nd(self.variable.value, where))
        return tf.constant(0)

    def report(self, *, bins: int = 24) -> dict[str, Any]:
        """Return what happened to the devices since the initial writing.

        Returns:
            What `statistics` returns, with `set_pulses`, `resets`, `refreshed_pairs` (sums), `pulses_per_weight`; and
            `pending`: root mean square of chi / epsilon.
        """
        counts = dict(zip(COUNTERS, (int(count) for count in self.counts.numpy()), strict=True))
        found = self.statistics(
            epsilon=self.epsilon,
            bins=bins,
            set_pulses=counts["set"],
            resets=counts["reset"],
            refreshed_pairs=counts["refreshed"],
            pulses_per_weight=counts["set"] / self.size,
        )
        return {**found, "pending": float(np.sqrt(np.mean(np.square(self.chi.numpy() / self.epsilon))))}
