"""A Keras optimizer that keeps the weights in memory devices."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets import devices
from analognets.errors import InvalidArgumentError, RunError, check_integer, check_number
from analognets.training.in_memory.statistics import report
from analognets.training.in_memory.synapses import Rules, Synapses
from analognets.units import parse_duration

__all__ = ["MixedPrecision"]


@keras.saving.register_keras_serializable(package="analognets")
class MixedPrecision(keras.optimizers.Optimizer):
    """Trains weights that live in pulsed memory devices; a digital accumulator takes what is smaller than a pulse.

        chi <- chi + dW,   p = trunc(chi / epsilon),   chi <- chi - p epsilon
        p > 0: p blind SET pulses on G+,   p < 0: -p on G-;   W = scale * (sum G+ - sum G-), as read

    dW is the step of any Keras optimizer (`base`), whose momentum, Adam moments, clipping, schedule and weight decay
    stay as they are. The weights a model sees are readings of its devices, so forward and backward pass use the same
    array; with analog layers (`analognets.to_analog`) the products go through their converters in training too, and
    errors straight through. A synapse is read when it was pulsed, and all of them every `read_every` steps, with noise
    and drift. Pairs near the end of their range are refreshed every `refresh_every` steps. Variables that are not
    chosen stay digital.

    The initial weights are written with verification when the optimizer is built (at the start of `fit`), and chi
    begins as what the devices missed of them. Devices,
    chi and the state of all random draws are variables of the optimizer: they are saved and resumed with it, bit for
    bit. Weights that are set later do not reach the devices until `program`.

    Args:
        base: rule of the digital step: a Keras optimizer, its name or its config. Not with `use_ema`.
        device: a pulsed device, its name or its config.
        epsilon: step of a weight that counts as one pulse, > 0; "auto": the device's mean step. It is rounded to 16
            significant bits, which makes chi exact. 0.096 at weight_range 1 is the paper's (from memory).
        variables: which trainable variables live on devices: "kernels" (those with two or more axes called kernel,
            recurrent_kernel, ...), "all", or patterns of their paths such as ["dense*/kernel"].
        devices_per_polarity: N, 1 to 64. The pulsed device is chosen cyclically, by one counter for each variable.
        weight_range: weight that maps to `conductance_range` on all N devices of a polarity, > 0; or "auto" for each
            variable, the larger of its largest initial weight and `weight_range_sigma` standard deviations.
        weight_range_sigma: of the initial weights, > 0; 8 leaves room to grow, less makes pulses and noise of readings
            smaller (our choice).
        conductance_range: in uS; None: two thirds of the device's g_max (8 uS of 12, from memory).
        initial_conductance: what both devices of a pair get above g_min in the initial writing, in uS, >= 0. More than
            0 leaves the first and largest step of PCM behind; up to half of the device's range.
        refresh_every: steps between refreshes, 1 or more; None: never.
        refresh_above: pairs with a device above this are refreshed, in uS; None: `conductance_range`.
        refresh_below: if their devices differ by less than this, in uS; None: 3/4 of `conductance_range`.
        refresh_pulses: most pulses for re-writing a difference, 1 to 20.
        refresh_feedback: whether chi takes what a refresh misses of the weight as it was read before; else it is lost
            (ours; the sources rewrite blindly).
        read_every: steps between readings of all devices, 1 or more; None: only pulsed synapses are read.
        seconds_per_step: time that passes in a training step, for drift, >= 0.
        max_pulses: most pulses a synapse gets in a step, 1 to 255; what is left stays in chi. With N devices and large
            steps take 10 N, else updates lag behind.
        accumulate: False is the direct stochastic update: pulses with probability dW / epsilon, nothing is kept.
        seed: whole number >= 0 of the initial writing and all draws.

    Raises:
        InvalidArgumentError: an argument is out of range, or the devices can't hold the initial weights.

    Example:
        >>> model.compile(MixedPrecision("sgd", device="pulsed_pcm"), "mse")

    Source: Nandakumar et al., Front. Neurosci. 14:406 (2020), arXiv 2001.11773; the scheme and its thresholds as far
    as other sources report them, the rest is our reconstruction. TensorFlow only, and not under XLA: what is pulsed in
    a step has no fixed shape, so compile with jit_compile=False where Keras would choose otherwise.
    """

    def __init__(
        self,
        base: Any = "sgd",
        *,
        device: Any = "pulsed_pcm",
        epsilon: float | str = "auto",
        variables: str | Sequence[str] = "kernels",
        devices_per_polarity: int = 1,
        weight_range: float | str = "auto",
        weight_range_sigma: float = 8.0,
        conductance_range: float | None = None,
        initial_conductance: float = 0.0,
        refresh_every: int | None = 100,
        refresh_above: float | None = None,
        refresh_below: float | None = None,
        refresh_pulses: int = 5,
        refresh_feedback: bool = False,
        read_every: int | None = 100,
        seconds_per_step: float = 0.0,
        max_pulses: int = 10,
        accumulate: bool = True,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        base = keras.optimizers.get(base)
        if not isinstance(base, keras.optimizers.Optimizer) or isinstance(base, MixedPrecision):
            raise InvalidArgumentError(
                "The base rule of MixedPrecision must be another Keras optimizer, its name or its config, such as "
                f"'sgd'. Received: {type(base).__name__}."
            )
        if base.use_ema:
            raise InvalidArgumentError(
                "The base rule of MixedPrecision can't average weights, which devices have no place for. Received: "
                "use_ema=True."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.base = base
        self.device = _pulsed(device)
        self.rules = self._rules(
            devices_per_polarity, weight_range, weight_range_sigma, conductance_range, epsilon, max_pulses, accumulate,
            initial_conductance, refresh_above, refresh_below, refresh_pulses,
            refresh_feedback,
        )  # fmt: skip
        self.choice = _chosen(variables)
        self.refresh_every = _steps("refresh_every", refresh_every)
        self.read_every = _steps("read_every", read_every)
        self.seconds_per_step = check_number("MixedPrecision", "seconds_per_step", seconds_per_step, 0.0, 1e9, unit="s")
        self.seed = check_integer("MixedPrecision", "seed", seed, 0, 2**63 - 1)
        self._given: dict[str, Any] = {"conductance_range": conductance_range, "refresh_above": refresh_above}
        self._given |= {"refresh_below": refresh_below, "epsilon": epsilon}
        self._devices: _Arrays = _Arrays()

    def _rules(
        self, copies: int, weight_range: Any, sigma: float, conductance_range: Any, epsilon: Any, max_pulses: int,
        accumulate: bool, initial: float, above: Any, below: Any, refresh_pulses: int,
        feedback: bool,
    ) -> Rules:  # fmt: skip
        def number(name: str, value: Any, low: float, high: float) -> float:
            return check_number("MixedPrecision", name, value, low, high)

        high = self.device.g_max
        reach = number(
            "conductance_range", high * 2 / 3 if conductance_range is None else conductance_range, 1e-6, high
        )
        return Rules(
            devices_per_polarity=check_integer("MixedPrecision", "devices_per_polarity", copies, 1, 64),
            weight_range=weight_range if weight_range == "auto" else number("weight_range", weight_range, 1e-9, 1e9),
            weight_range_sigma=number("weight_range_sigma", sigma, 1e-3, 1e3),
            conductance_range=reach,
            epsilon=epsilon if epsilon == "auto" else number("epsilon", epsilon, 1e-12, 1e9),
            max_pulses=check_integer("MixedPrecision", "max_pulses", max_pulses, 1, 255),
            accumulate=bool(accumulate),
            initial_conductance=number("initial_conductance", initial, 0.0, (high - self.device.g_min) / 2),
            refresh_above=number("refresh_above", reach if above is None else above, 0.0, 1e9),
            refresh_below=number("refresh_below", 0.75 * reach if below is None else below, 0.0, 1e9),
            refresh_pulses=check_integer("MixedPrecision", "refresh_pulses", refresh_pulses, 1, 20),
            refresh_feedback=bool(feedback),
        )

    # ---- what Keras calls

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        with tf.init_scope():
            generator = keras.random.SeedGenerator(devices.derive_seed(self.seed, "training"))
            self._track_variable(generator.state)
            chosen = {number: v for number, v in enumerate(variables) if self._is_on_devices(v)}
            if not chosen:
                raise InvalidArgumentError(
                    "No variable is on devices. Received: "
                    f"variables={self.choice!r} with {', '.join(variable.path for variable in variables)}."
                )
            self._devices.generator = generator
            options = {"device": self.device, "rules": self.rules, "add_variable": self.add_variable, "seed": generator}
            self._devices.by_number = {
                number: Synapses(variable, number=number, **options) for number, variable in chosen.items()
            }
            super().build(variables)
            self._decaying = [self.base._use_weight_decay(variable) for variable in variables]
            self.base.exclude_from_weight_decay(var_list=[array.chi for array in self._devices.arrays])
            self.base.build([self._digital(variable) for variable in variables])
            self.program()

    def _is_on_devices(self, variable: keras.Variable) -> bool:
        if self.choice == "all":
            return True
        if self.choice == "kernels":
            return len(variable.shape) >= 2 and variable.name.endswith("kernel")
        patterns = [self.choice] if isinstance(self.choice, str) else self.choice
        return any(fnmatch.fnmatchcase(variable.path, pattern) for pattern in patterns)

    def _array(self, variable: Any) -> Synapses | None:
        return self._devices.by_number.get(self._get_variable_index(variable))

    def _digital(self, variable: Any) -> Any:
        """Return what the base rule moves: chi, or the variable itself."""
        array = self._array(variable)
        return variable if array is None else array.chi

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Take a step: the base rule moves chi and the digital variables, and what is due goes to the devices.

        Args:
            grads: one for each variable; None leaves the variable alone.
            trainable_variables: those the optimizer was built with; None: all of them.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            trainable_variables = self._trainable_variables
        trainable_variables = list(trainable_variables)
        if not self.built:
            self.build(trainable_variables)
        self._check_variables_are_known(trainable_variables)
        found = zip(grads, map(self._array, trainable_variables), strict=True)
        touched = [array for gradient, array in found if array is not None and gradient is not None]
        self._decay(touched)
        self.base.apply(grads, [self._digital(variable) for variable in trainable_variables])
        time = tf.cast(self.base.iterations, tf.float32) * self.seconds_per_step
        for array in touched:
            array.transfer(time)
        if self.refresh_every == self.read_every:
            self._now_and_then(self.read_every, lambda array: array.serve(time, read=True, refresh=True))
        else:
            self._now_and_then(self.refresh_every, lambda array: array.serve(time, read=False, refresh=True))
            self._now_and_then(self.read_every, lambda array: array.serve(time, read=True, refresh=False))

    def _decay(self, arrays: list[Synapses]) -> None:
        if self.base.weight_decay is None:
            return
        for array in arrays:
            if self._decaying[self._get_variable_index(array.variable)]:
                share = tf.cast(self.base.learning_rate, tf.float32) * self.base.weight_decay
                array.chi.value.assign_sub(array.variable.value * share)

    def _now_and_then(self, steps: int | None, action: Any) -> None:
        if steps is None:
            return

        def act() -> Any:
            for array in self._devices.arrays:
                action(array)
            return tf.constant(0)

        due = tf.equal(tf.math.floormod(tf.cast(self.base.iterations, tf.int64), steps), 0)
        tf.cond(due, act, lambda: tf.constant(0))

    @property
    def variables(self) -> list[keras.Variable]:
        """The devices, chi, the state of the draws and the base rule's variables."""
        return self._variables + self.base.variables

    @property
    def iterations(self) -> Any:
        """How many steps were taken."""
        return self.base.iterations

    @property
    def learning_rate(self) -> Any:
        """Learning rate of the base rule."""
        return self.base.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        """Set the learning rate of the base rule."""
        self.base.learning_rate = learning_rate

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the base rule's loss scale."""
        return self.base.scale_loss(loss)

    def save_own_variables(self, store: Any) -> None:
        for index, variable in enumerate(self._variables):
            store[str(index)] = variable.numpy()
        store["device"] = np.frombuffer(self._fingerprint().encode(), dtype="uint8")

    def load_own_variables(self, store: Any) -> None:
        stored = bytes(np.asarray(store["device"])).decode() if "device" in store else "none"
        if stored != self._fingerprint():
            raise RunError(
                f"The optimizer's checkpoint is of other devices. Received: {stored}; this optimizer has "
                f"{self._fingerprint()}. Use the device and devices_per_polarity it was made with."
            )
        found = [np.asarray(store[str(index)]) for index in range(len(self._variables))]
        for array in self._devices.arrays:
            number = next(index for index, variable in enumerate(self._variables) if variable is array.numbers)
            array.check_numbers(found[number])
        for variable, values in zip(self._variables, found, strict=True):
            variable.assign(values)

    def _fingerprint(self) -> str:
        settings = {"device": type(self.device).__name__, **self.device.get_config()}
        return json.dumps({**settings, "devices_per_polarity": self.rules.devices_per_polarity}, sort_keys=True)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {
            "name": self.name,
            "base": keras.optimizers.serialize(self.base),
            "device": devices.serialize(self.device),
            "variables": self.choice if isinstance(self.choice, str) else list(self.choice),
            "devices_per_polarity": self.rules.devices_per_polarity,
            "weight_range": self.rules.weight_range,
            "weight_range_sigma": self.rules.weight_range_sigma,
            "initial_conductance": self.rules.initial_conductance,
            "refresh_every": self.refresh_every,
            "refresh_pulses": self.rules.refresh_pulses,
            "refresh_feedback": self.rules.refresh_feedback,
            "read_every": self.read_every,
            "seconds_per_step": self.seconds_per_step,
            "max_pulses": self.rules.max_pulses,
            "accumulate": self.rules.accumulate,
            "seed": self.seed,
            **self._given,
        }

    # ---- what users call

    @property
    def synapses(self) -> list[Synapses]:
        """The arrays of devices, one for each variable on devices."""
        return list(self._devices.arrays)

    @property
    def time(self) -> float:
        """Simulated seconds since the initial writing."""
        return float(keras.ops.convert_to_numpy(self.base.iterations)) * self.seconds_per_step

    def program(self) -> None:
        """Write the variables' present values to the devices, with verification; chi takes the rest.

        For weights that were set after the optimizer was built (`load_weights`, `set_weights`).
        """
        for array in self._devices.arrays:
            array.program(devices.derive_seed(self.seed, "program"))

    def read(self, time: Any = None, *, seed: int = 0, compensate: bool = False) -> dict[str, np.ndarray]:
        """Return the weights that a reading of the devices gives, by path; the model's weights stay as they are.

        W(t) = scale * c * (sum G+(t) - sum G-(t)),  c = 1 or sum of all G at the last step / sum of all G(t)

        Args:
            time: simulated seconds or a duration text on the clock of `time`; None: now.
            seed: of the reading's noise.
            compensate: whether each array is scaled against its mean drift (`ArrayDriftCompensation`).
        """
        moment, weights = self.time if time is None else parse_duration(time), {}
        rule = devices.ArrayDriftCompensation()
        for array in self._devices.arrays:
            read = array.conductances(moment, devices.derive_seed(seed, array.number))
            values = array.weights(read)
            if compensate:
                first = array.conductances(self.time, devices.derive_seed(seed, array.number, "reference"))
                values = values * rule.scale(rule.response(first), rule.response(read))
            weights[array.path] = np.reshape(values.numpy(), array.shape)
        return weights

    def statistics(self, *, bins: int = 24) -> dict[str, dict[str, Any]]:
        """Return what happened to the devices, by path of the variable; see `in_memory.statistics.report`."""
        return {array.path: report(array, bins=bins) for array in self._devices.arrays}


class _Arrays:
    """The arrays by the variable's number. A plain object, so that Keras does not look for variables in it."""

    def __init__(self) -> None:
        self.by_number: dict[int, Synapses] = {}
        self.generator: keras.random.SeedGenerator | None = None

    @property
    def arrays(self) -> list[Synapses]:
        return list(self.by_number.values())


def _pulsed(identifier: Any) -> devices.PulsedDevice:
    device = devices.get(identifier)
    if not isinstance(device, devices.PulsedDevice):
        raise InvalidArgumentError(
            "`device` of MixedPrecision must take pulses: PulsedPCM, PulsedStepPCM or PulsedLinear. "
            f"Received: {device!r}."
        )
    return device


def _chosen(variables: Any) -> str | list[str]:
    if isinstance(variables, str):
        return variables
    found = list(variables) if isinstance(variables, Sequence) else [variables]
    if not found or not all(isinstance(pattern, str) for pattern in found):
        raise InvalidArgumentError(
            "`variables` of MixedPrecision must be 'kernels', 'all' or a list of patterns of paths, such as "
            f"['dense*/kernel']. Received: {variables!r}."
        )
    return found


def _steps(name: str, value: int | None) -> int | None:
    return None if value is None else check_integer("MixedPrecision", name, value, 1, 1 << 30)
