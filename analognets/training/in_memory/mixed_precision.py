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
from analognets.core.backend import check_backend
from analognets.errors import InvalidArgumentError, RunError, check_integer
from analognets.synapses.policies import Stochastic, Truncated, UpdateRule
from analognets.synapses.pulsed_array import pulsed_device
from analognets.training.in_memory.rules import MixedPrecisionRules
from analognets.training.in_memory.synapses import Synapses
from analognets.units import parse_duration

__all__ = ["MixedPrecision"]

LOOKS_AT_WEIGHTS = tuple(
    getattr(keras.optimizers, name)
    for name in ("Lamb", "Adafactor", "Ftrl", "ScheduleFreeAdamW")
    if hasattr(keras.optimizers, name)
)
"""Optimizers whose step depends on the value of the variable, which on devices is chi and not the weight."""


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
        base: rule of the digital step: a Keras optimizer, its name or its config. Not with `use_ema` or
            `gradient_accumulation_steps`, and none whose steps depend on the weights (Lamb, Adafactor, Ftrl ...).
        device: a pulsed device, its name or its config.
        variables: which trainable variables live on devices: "kernels" (those with two or more axes called kernel,
            recurrent_kernel, ...), "all", or patterns of their paths such as ["dense*/kernel"].
        seed: whole number >= 0 of the initial writing and all draws.
        settings: keywords of `MixedPrecisionRules`: devices_per_polarity, weight_range, weight_range_sigma,
            conductance_range, initial_conductance, epsilon, max_pulses, accumulate, refresh_every, refresh_above,
            refresh_below, refresh_pulses, refresh_feedback, read_every, seconds_per_step.

    Raises:
        InvalidArgumentError: an argument is out of range, or the devices can't hold the initial weights.

    Examples:
        >>> net = analognets.conversion.same_model(model)
        >>> net.compile(MixedPrecision("sgd", device="pulsed_pcm"), "mse", jit_compile=False)
        >>> net.optimizer.build(net.trainable_variables)
        >>> sorted(net.optimizer.statistics())
        ['net/hidden/kernel', 'net/logits/kernel']

    A subclass that overrides `update_rule` learns by another rule. TensorFlow only, and not under XLA: what is pulsed
    in a step has no fixed shape, so compile with jit_compile=False where Keras would choose otherwise.

    Source: see `MixedPrecisionRules`.
    """

    def __init__(
        self,
        base: Any = "sgd",
        *,
        device: Any = "pulsed_pcm",
        variables: str | Sequence[str] = "kernels",
        seed: int = 0,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        check_backend("MixedPrecision learns on devices", "tensorflow")
        base = keras.optimizers.get(base)
        if not isinstance(base, keras.optimizers.Optimizer) or isinstance(base, MixedPrecision):
            raise InvalidArgumentError(
                "The base rule of MixedPrecision must be another Keras optimizer, its name or its config, such as "
                f"'sgd'. Received: {type(base).__name__}."
            )
        rule = base.inner_optimizer if isinstance(base, keras.optimizers.LossScaleOptimizer) else base
        if isinstance(rule, LOOKS_AT_WEIGHTS):
            raise InvalidArgumentError(
                "The base rule of MixedPrecision moves chi, and must go by gradients alone. Received: "
                f"{type(rule).__name__}, whose steps depend on the weights. Take one such as 'sgd', 'adam' or 'adamw'."
            )
        if rule.use_ema:
            raise InvalidArgumentError(
                "The base rule of MixedPrecision can't average weights, which devices have no place for. Received: "
                "use_ema=True."
            )
        if rule.gradient_accumulation_steps:
            raise InvalidArgumentError(
                "The base rule of MixedPrecision takes a step with each batch, as chi gathers gradients already. "
                f"Received: gradient_accumulation_steps={rule.gradient_accumulation_steps}. Leave it out."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.base, self._rule = base, rule
        self.device = pulsed_device(device, "MixedPrecision")
        self.settings = MixedPrecisionRules(**settings)
        self.rules = self.settings.on(self.device)
        self.choice = _chosen(variables)
        self.seed = check_integer("MixedPrecision", "seed", seed, 0, 2**63 - 1)
        self._devices: _Arrays = _Arrays()

    def update_rule(self) -> UpdateRule:
        """Return how what waits in chi becomes pulses: `Truncated`, or `Stochastic` without accumulation."""
        return (Truncated if self.rules.accumulate else Stochastic)(self.rules.max_pulses)

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
            self._devices.by_number = {
                number: Synapses(
                    variable,
                    number=number,
                    device=self.device,
                    rules=self.rules,
                    update=self.update_rule(),
                    add_variable=self.add_variable,
                    seed=generator,
                )
                for number, variable in chosen.items()
            }
            super().build(variables)
            self._decaying = [self._rule._use_weight_decay(variable) for variable in variables]
            spared = [variable for variable, decays in zip(variables, self._decaying, strict=True) if not decays]
            chis = [array.chi for array in self._devices.arrays]
            self._rule.exclude_from_weight_decay(var_list=[*chis, *spared])  # replaces what was excluded before
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
        time = tf.cast(self.base.iterations, tf.float32) * self.rules.seconds_per_step
        for array in touched:
            array.transfer(time)
        refresh_every, read_every = self.rules.refresh_every, self.rules.read_every
        if refresh_every == read_every:
            self._now_and_then(read_every, lambda array: array.serve(time, read=True, refresh=True))
        else:
            self._now_and_then(refresh_every, lambda array: array.serve(time, read=False, refresh=True))
            self._now_and_then(read_every, lambda array: array.serve(time, read=True, refresh=False))

    def _decay(self, arrays: list[Synapses]) -> None:
        if self._rule.weight_decay is None:
            return
        for array in arrays:
            if self._decaying[self._get_variable_index(array.variable)]:
                share = tf.cast(self.base.learning_rate, tf.float32) * self._rule.weight_decay
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
            "seed": self.seed,
            **self.settings.get_config(),
        }

    # ---- what users call

    @property
    def synapses(self) -> list[Synapses]:
        """The arrays of devices, one for each variable on devices."""
        return list(self._devices.arrays)

    @property
    def time(self) -> float:
        """Simulated seconds since the initial writing."""
        return float(keras.ops.convert_to_numpy(self.base.iterations)) * self.rules.seconds_per_step

    def program(self) -> None:
        """Write the variables' present values to the devices, with verification, now; chi takes the rest.

        For weights that were set after the optimizer was built (`load_weights`, `set_weights`). They drift from now on.

        Raises:
            InvalidArgumentError: the devices can't hold them.
        """
        for array in self._devices.arrays:
            array.program_variable(devices.derive_seed(self.seed, "program"), self.time)

    def read(self, time: Any = None, *, seed: int = 0, compensate: bool = False) -> dict[str, np.ndarray]:
        """Return the weights that a reading of the devices gives, by path; the model's weights stay as they are.

        W(t) = scale * c * (sum G+(t) - sum G-(t)),  c = 1 or sum of all G at the last step / sum of all G(t)

        Args:
            time: simulated seconds or a duration text on the clock of `time`; None: now.
            seed: of the reading's noise.
            compensate: whether each array is scaled against its mean drift (`ArrayDriftCompensation`).
        """
        moment, weights = self.time if time is None else parse_duration(time), {}
        for array in self._devices.arrays:
            read = array.conductances(moment, seed=devices.derive_seed(seed, array.number))
            values = array.weights(read)
            if compensate:
                first = array.conductances(self.time, seed=devices.derive_seed(seed, array.number, "reference"))
                values = values * array.drift_factor(array.readout(first), read)
            weights[array.path] = np.reshape(values.numpy(), array.shape)
        return weights

    def statistics(self, *, bins: int = 24) -> dict[str, dict[str, Any]]:
        """Return what happened to the devices, by path of the variable; see `Synapses.report`."""
        return {array.path: array.report(bins=bins) for array in self._devices.arrays}


class _Arrays:
    """The arrays by the variable's number. A plain object, so that Keras does not look for variables in it."""

    def __init__(self) -> None:
        self.by_number: dict[int, Synapses] = {}
        self.generator: keras.random.SeedGenerator | None = None

    @property
    def arrays(self) -> list[Synapses]:
        return list(self.by_number.values())


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
