"""The devices of one weight array: differential pairs of pulsed cells, several for each polarity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from analognets import devices
from analognets.core.backend import check_backend
from analognets.devices import ArrayDriftCompensation, DriftCompensation, PulsedDevice, State, derive_seed
from analognets.errors import InvalidArgumentError
from analognets.synapses.policies import Refresh, Turn

__all__ = ["PulsedArray", "pulsed_device", "spots"]

MOST_PULSES = 255
SAMPLED, DRAWS = 20_000, 30
"""On how many devices, and how often on each, a pulse is simulated to say what one more would do."""
Seed: TypeAlias = int | keras.random.SeedGenerator


class PulsedArray:
    """2 N pulsed devices for each synapse: W = scale * (sum of N G+ - sum of N G-), as read with noise and drift.

    SET pulses go to places that a policy names (`Turn`); units that are full are RESET and re-written (`Refresh`).
    Places are flat numbers into arrays of the shape (2, N, synapses). TensorFlow only. With flat cells all of it can be
    traced and touches pulsed devices only.

    A subclass says what the weights are for: `scale`, and when devices are pulsed, read and refreshed.

    Args:
        device: kind of the devices.
        shape: of the weights.
        copies: N, 1 to 64.
        cells: variables that hold the state of the devices by name, of any shape with 2 N synapses places.
        turn: which device of a polarity is next.
        refreshing: which units are re-written.

    Examples:
        >>> synapses = analognets.synapses.PulsedSynapses((3, 2), seed=0)
        >>> isinstance(synapses, PulsedArray), synapses.device_count
        (True, 48)
        >>> synapses.conductances(0.0, seed=1).shape
        (2, 4, 6)
    """

    def __init__(
        self,
        device: PulsedDevice,
        shape: tuple[int, ...],
        *,
        copies: int,
        cells: Mapping[str, keras.Variable],
        turn: Turn,
        refreshing: Refresh,
    ) -> None:
        check_backend("Arrays of pulsed devices learn", "tensorflow")
        self.device, self.shape, self.copies, self.cells = device, tuple(shape), copies, dict(cells)
        self.size, self.turn, self.refreshing = math.prod(self.shape), turn, refreshing
        self.compensation: DriftCompensation = ArrayDriftCompensation()
        device.pulse_curve(refreshing.most)  # simulated once, and not while a step is traced

    @property
    def scale(self) -> float:
        """Weight of 1 uS on one device."""
        raise NotImplementedError

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return 2 * self.copies * self.size

    # ---- all devices

    def program(self, difference: np.ndarray, seed: int, *, offset: float = 0.0, time: float = 0.0) -> None:
        """Write weights to the devices, with verification.

        Args:
            difference: of both polarities in uS a device, (synapses,).
            seed: of the writing.
            offset: what both polarities get above g_min, in uS.
            time: of the writing, on the clock of the pulses, in seconds.
        """
        parts = np.stack([np.maximum(difference, 0.0), np.maximum(-difference, 0.0)]) + self.device.g_min + offset
        targets = np.repeat(np.minimum(parts, self.device.g_max)[:, None], self.copies, axis=1).astype("float32")
        state = self.device.program(targets, seed)
        state["pulsed_at"] = tf.zeros_like(state["pulsed_at"]) + float(time)
        for name, stored in self.cells.items():
            stored.assign(tf.reshape(_packed(stored, state[name]), stored.shape))

    def conductances(self, time: Any, *, seed: Any) -> Any:
        """Return one reading of all devices in uS, (2, N, synapses).

        Args:
            time: on the clock of the pulses, in seconds.
            seed: of the read noise, or a generator.
        """
        shape = (2, self.copies, self.size)
        return self.device.read_with(self.state_at(time), time, self.device.read_draws(shape, seed))

    def state_at(self, time: Any) -> State:
        """Return the state of all devices as a reading at a time finds it, arrays (2, N, synapses)."""
        del time
        shape = (2, self.copies, self.size)
        return {name: tf.cast(tf.reshape(stored.value, shape), tf.float32) for name, stored in self.cells.items()}

    def weights(self, conductances: Any, scale: Any = None) -> Any:
        """Return the weights of conductances in uS, (2, N, ...) to (...); scale None: the array's own."""
        if isinstance(conductances, np.ndarray):  # NumPy sums more than 13 devices in another order
            plus, minus = conductances.sum(axis=1)
        else:
            plus, minus = tf.reduce_sum(conductances[0], 0), tf.reduce_sum(conductances[1], 0)
        return (self.scale if scale is None else scale) * (plus - minus)

    def readout(self, conductances: Any) -> Any:
        """Return what drift compensation goes by, of a reading in uS."""
        return self.compensation.response(conductances)

    def drift_factor(self, reference: Any, conductances: Any) -> Any:
        """Return what the weights of a reading are multiplied by, given the `readout` of the reference."""
        return self.compensation.scale(reference, self.readout(conductances))

    def statistics(self, *, epsilon: float, bins: int = 24, **counts: Any) -> dict[str, Any]:
        """Return what happened to the devices.

        Args:
            epsilon: weight that counts as one pulse.
            bins: of the histograms between 0 and the device's g_max.
            counts: what was counted in training; it comes back with the rest.

        Returns:
            `synapses`, `devices`, the counts; `saturated_pairs`: share of pairs with a device above the limit of
            refreshing; `edges`, `g_plus`, `g_minus`: histograms of the stored conductances in uS; `epsilon` and, in the
            same unit of weights, `next_step_mean` and `next_step_spread`: mean and standard deviation of what one more
            SET pulse would do to a device, averaged over devices (over 20,000 of them, if there are more).
        """
        plus, minus = np.split(self.cells["conductance"].numpy().reshape(-1), 2)
        mean, spread = self._next_step()
        edges = np.linspace(0.0, self.device.g_max, bins + 1)
        return {
            "synapses": self.size,
            "devices": self.device_count,
            **counts,
            "saturated_pairs": float(np.mean(np.maximum(plus, minus) > self.refreshing.above)),
            "edges": edges.tolist(),
            "g_plus": np.histogram(plus, edges)[0].tolist(),
            "g_minus": np.histogram(minus, edges)[0].tolist(),
            "epsilon": epsilon,
            "next_step_mean": mean * self.scale,
            "next_step_spread": spread * self.scale,
        }

    def _next_step(self) -> tuple[float, float]:
        """Return mean and standard deviation in uS of the step of a SET pulse, over devices, from simulated pulses."""
        count = min(self.device_count, SAMPLED)
        state = self.gather(np.linspace(0, self.device_count - 1, count).astype(np.int64))
        fresh = [self.device.pulse(state, 1, seed=seed)["conductance"] for seed in range(DRAWS)]
        steps = np.stack([one.numpy() for one in fresh]) - state["conductance"].numpy()
        return float(steps.mean()), float(steps.std(axis=0, ddof=1).mean())

    # ---- some devices

    def gather(self, places: Any) -> State:
        """Return the state of the devices at places of any shape."""
        return {name: tf.cast(_gathered(stored, places), tf.float32) for name, stored in self.cells.items()}

    def scatter(self, places: Any, state: State) -> None:
        """Replace the state of the devices at places."""
        for name, values in state.items():
            stored = self.cells[name]
            values = _packed(stored, values)
            if len(stored.shape) == 1:
                stored.value.scatter_update(tf.IndexedSlices(values, places))
            else:
                whole = np.array(stored.numpy())
                whole.reshape(-1)[places.numpy()] = values.numpy()
                stored.assign(whole)

    def places(self, index: Any) -> Any:
        """Return the places of all devices of synapses, (2, N, number of synapses)."""
        first = self.size * tf.range(2 * self.copies, dtype=tf.int64)
        return tf.reshape(first, (2, self.copies, 1)) + index

    def read_some(self, index: Any, time: Any, *, seed: Any) -> Any:
        """Return one reading of the devices of some synapses in uS, (2, N, number of synapses)."""
        draws = self.device.read_draws((2, self.copies, _length(index)), seed)
        return self.device.read_with(self.gather(self.places(index)), time, draws)

    def give(
        self, index: Any, pulses: Any, time: Any, seeds: Callable[[Any], Seed], *, in_amplitude: bool = False
    ) -> tuple[Any, Any]:
        """Give synapses pulses, those of one synapse one after the other on the devices whose turn it is.

        Args:
            index: numbers of the synapses, at least one.
            pulses: as `UpdateRule.pulses` returns them for each, none of them 0.
            time: of the pulses, in seconds.
            seeds: seed, or generator, of the draws of pulse 0, 1, ... of a synapse.
            in_amplitude: whether `pulses` are the amplitudes of one pulse each.

        Returns:
            How many pulses that were, and the most of one synapse.
        """
        starts = tf.cast(pulses < 0.0, tf.int64) * (self.copies * self.size) + index
        size, places = tf.abs(pulses), self.turn.begin(self.copies, self.size)
        if in_amplitude:
            return self._give(starts, tf.ones_like(size), time, seeds, places, size)
        return self._give(starts, size, time, seeds, places)

    def _give(
        self, starts: Any, counts: Any, time: Any, seeds: Any, places: Any, amplitudes: Any = None
    ) -> tuple[Any, Any]:
        def once(number: Any) -> Any:
            chosen = tf.where(counts > number)[:, 0]
            at = places(tf.gather(starts, chosen), number)
            draws = self.device.pulse_draws((_length(at),), seeds(number))
            amplitude = 1.0 if amplitudes is None else tf.gather(amplitudes, chosen)
            self.scatter(at, self.device.pulse_with(self.gather(at), draws, time=time, amplitude=amplitude))
            return (number + 1.0,)

        most = tf.reduce_max(counts)
        tf.while_loop(lambda number: number < most, once, (tf.constant(0.0),), parallel_iterations=1)
        return tf.reduce_sum(counts), most

    def rewrite(self, units: Any, difference: Any, time: Any, *, seed: Seed) -> tuple[Any, Any]:
        """RESET all devices of units and write their differences blindly on one polarity.

        Args:
            units: numbers of the units, as `Refresh.due` returns them, at least one.
            difference: the same.
            time: in seconds.
            seed: of the pulses, or a generator.

        Returns:
            How many SET and RESET pulses that took.
        """
        half, pairs = self.copies * self.size, self.copies if self.refreshing.whole else 1
        every = tf.reshape(half // pairs * tf.range(2 * pairs, dtype=tf.int64)[:, None] + units, [-1])
        draws = self.device.reset_draws((_length(every),), seed)
        fresh = self.device.reset_with(draws, time=time)
        self.scatter(every, {name: fresh[name] for name in fresh if name not in self.device.fixed_names})
        counts = self.device.pulses_for(tf.abs(difference), self.refreshing.most)
        hit = tf.where(counts > 0.0)[:, 0]
        starts = tf.gather(units + tf.cast(difference < 0.0, tf.int64) * half, hit)
        places = self.turn.begin(self.copies, self.size) if self.refreshing.whole else lambda some, number: some

        def seeds(number: Any) -> Seed:
            return derive_seed(seed, "rewrite", *divmod(int(number), pairs)) if isinstance(seed, int) else seed

        given, _ = self._give(starts, tf.gather(counts, hit) * float(pairs), time, seeds, places)
        return given, tf.size(every)


def pulsed_device(identifier: Any, owner: str) -> PulsedDevice:
    """Return a device that takes pulses, by its name, its config or as it is.

    Args:
        identifier: of the device.
        owner: who needs it, for the message.

    Raises:
        InvalidArgumentError: it takes no pulses.
    """
    device = devices.get(identifier)
    if not isinstance(device, PulsedDevice):
        raise InvalidArgumentError(
            f"The device of {owner} must take pulses. Updates need a pulsed device, such as 'pulsed_pcm'. Received: "
            f"{type(device).__name__}."
        )
    return device


def spots(index: Any, shape: tuple[int, ...]) -> Any:
    """Return the multi-dimensional indices of flat ones, an axis more at the end."""
    parts = []
    for size in reversed(shape[1:]):
        parts.append(tf.math.floormod(index, size))
        index = index // size
    return tf.stack([index, *reversed(parts)], axis=-1)


def _length(index: Any) -> Any:
    known = index.shape[0]
    return tf.size(index) if known is None else known


def _gathered(stored: keras.Variable, places: Any) -> Any:
    return tf.gather(stored.value if len(stored.shape) == 1 else tf.reshape(stored.value, [-1]), places)


def _packed(stored: keras.Variable, values: Any) -> Any:
    if stored.dtype == "uint8":
        return tf.cast(tf.minimum(tf.round(values), float(MOST_PULSES)), tf.uint8)
    return values
