"""What a memory cell is: programmed to a conductance, read again at any later time."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.core.counted_draws import stateless_normal, stateless_uniform
from analognets.core.seeds import derive_seed
from analognets.devices.draws import drawing
from analognets.errors import InvalidArgumentError
from analognets.units import parse_duration

__all__ = ["Device", "State"]

State = dict[str, Any]
"""What is known of programmed devices: arrays by name. All a file has to keep for the chip to be read again."""

ROUNDING = 1e-5
"""Targets may pass 0 or g_max by this share of g_max: float32 rounding of a weight mapping."""


def normal(shape: tuple[int, ...], seed: int, stream: str) -> Any:
    """Return float32 standard-normal draws of the named stream of `seed`, on every backend the same up to rounding."""
    return seeded_normal(shape, derive_seed(seed, stream))


def seeded_normal(shape: Any, seed: Any) -> Any:
    """Return float32 standard-normal draws of a whole number, TensorFlow's on every backend; or of a SeedGenerator."""
    return _seeded("normal", keras.random.normal, stateless_normal, shape, seed)


def seeded_uniform(shape: Any, seed: Any) -> Any:
    """Return float32 draws uniform in [0, 1) of a whole number or a SeedGenerator, as `seeded_normal`."""
    return _seeded("uniform", keras.random.uniform, stateless_uniform, shape, seed)


def _seeded(kind: str, of_backend: Any, counted: Any, shape: Any, seed: Any) -> Any:
    own = drawing(seed)
    if own is not None:
        return own(kind, shape, seed)
    if isinstance(seed, keras.random.SeedGenerator) or keras.backend.backend() == "tensorflow":
        return of_backend(shape, dtype="float32", seed=seed)
    return ops.convert_to_tensor(counted(shape, seed))


@dataclasses.dataclass(frozen=True)
class Device(abc.ABC):
    """A kind of memory cell: frozen settings, no data; the data of programmed cells is the state.

    program: state = P(g_target, draws(seed)),  read: g(t) = R(state, t, draws(seed))

    A subclass gives the standard-normal draws (`programming_draws`, `read_draws`) and the arithmetic on them
    (`program_with`, `read_with`). The arithmetic branches on settings only, so it can be traced: a caller may draw
    outside and run it inside of a compiled function. Arrays may have any shape; a differential pair is a leading
    axis of 2, and each of its devices has its own noise and drift.

    Args:
        g_max: largest conductance that is programmed, in uS, > 0.

    Examples:
        >>> device = analognets.devices.get("pcm")
        >>> state = device.program([0.0, 12.5, 25.0], seed=1)
        >>> sorted(state)
        ['conductance', 'drift_exponent', 'read_noise_amplitude']
        >>> print(device.read(state, "1d", seed=2).shape)
        (3,)
    """

    g_max: float = 25.0

    @abc.abstractmethod
    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return the standard-normal draws that programming devices of this shape needs."""

    @abc.abstractmethod
    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices programmed to `g_target` (uS, in [0, g_max]) with the given draws."""

    @abc.abstractmethod
    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return the standard-normal draws that one reading of devices of this shape needs."""

    @abc.abstractmethod
    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the conductances in uS at `time` (seconds, duration text or a scalar tensor of seconds)."""

    def first_deviation(self, g: Any) -> Any:
        """Return the spread of a first reading of devices with the target g = G / g_max, as a share of g_max.

        What hardware-aware training with the noise of the devices draws its weights from: all noise there is right
        after programming, no drift.

        Raises:
            InvalidArgumentError: the device gives no such law.
        """
        raise InvalidArgumentError(
            f"{type(self).__name__} has no law for noise in training. Received: noise_model='device'. Give the class a "
            "method first_deviation(g), or train with noise_model='gaussian'."
        )

    def program(self, g_target: Any, seed: int) -> State:
        """Programme devices once.

        state = P(g_target, draws(seed))

        Args:
            g_target: target conductances in uS, 0 to g_max, any shape.
            seed: whole number >= 0. The same seed and shape give the same devices bit for bit, another seed
                independent ones. Use `derive_seed` for the parts of one chip.

        Returns:
            The state: float32 arrays by name, each with the shape of `g_target` (documented leading axes apart).

        Raises:
            InvalidArgumentError: a target lies outside of [0, g_max] or is not a number, or the seed is not valid.
        """
        g_target = ops.convert_to_tensor(g_target, dtype="float32")
        self._check_targets(g_target)
        return self.program_with(g_target, self.programming_draws(tuple(g_target.shape), seed))

    def read(self, state: Mapping[str, Any], time: Any, seed: int | None = None) -> Any:
        """Read programmed devices once.

        g(t) = R(state, t, draws(seed)); the state is not changed, so readings may come in any order.

        Args:
            state: what `program` returned, or the same arrays from a file.
            time: seconds since programming >= 0, a text such as "1d", or a scalar tensor of seconds.
            seed: whole number >= 0 for the noise of this reading; the same seed gives the same standard-normal
                draws at every time, so give each reading its own. Not needed without fresh read noise.

        Returns:
            Conductances in uS, float32, >= 0.

        Raises:
            InvalidArgumentError: the time is negative, a needed seed is missing or the state is of another kind.
        """
        self.check_state(state)
        return self.read_with(state, time, self.read_draws(self.shape_of(state), seed))

    def shape_of(self, state: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape of the array of devices that a state describes."""
        return tuple(state["conductance"].shape)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state."""
        return ("conductance",)

    @property
    def first_reading(self) -> float:
        """Time in seconds of the reading right after programming, to which drift compensation refers."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal device."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Device:
        """Build a device from `get_config`'s data."""
        return cls(**config)

    def _check_targets(self, g_target: Any) -> None:
        values = concrete(g_target)
        if values is None or values.size == 0:
            return
        low, high, slack = float(values.min()), float(values.max()), ROUNDING * self.g_max
        if not (low >= -slack and high <= self.g_max + slack):
            raise InvalidArgumentError(
                f"Target conductances of {type(self).__name__} must lie in [0, {self.g_max:g}] uS. Received: values "
                f"from {low:g} to {high:g} uS. Scale the weights by g_max / W_max and split them into a positive and a "
                "negative device first."
            )

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a state that this device can't read.

        Args:
            state: what `program` returned, or the same arrays from a file.

        Raises:
            InvalidArgumentError: an array is missing or of the wrong kind.
        """
        missing = [name for name in self.state_names if name not in state]
        if missing:
            raise InvalidArgumentError(
                f"The state does not fit {type(self).__name__}: it lacks {', '.join(missing)}. Received: "
                f"{', '.join(sorted(state)) or 'an empty state'}. Read it with the settings it was programmed with."
            )


def concrete(value: Any) -> np.ndarray | None:
    """Return the values, or None while a function is being traced."""
    try:
        return np.asarray(ops.convert_to_numpy(value))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return None


def seconds(time: Any) -> Any:
    """Return a time as a Python float, or as a float32 scalar tensor if it came as a tensor."""
    if ops.is_tensor(time):
        return ops.convert_to_tensor(time, dtype="float32")
    return parse_duration(time)
