"""Several equal devices in parallel that are read as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from analognets.devices.base import Device, State
from analognets.errors import InvalidArgumentError, check_integer

__all__ = ["ParallelDevices"]


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class ParallelDevices(Device):
    """N equal devices whose currents add: G = sum of N conductances, each with its own noise and drift.

    The arrays of a state are those of the device with a leading axis of N. Programmed to a target, each gets an N-th.

    Args:
        device: the single device.
        copies: N, 1 to 64.

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> pair = ParallelDevices(device=analognets.devices.PCM(), copies=2)
        >>> pair.g_max
        50.0
        >>> state = pair.program([30.0, 50.0], seed=0)
        >>> print(state["conductance"].shape, pair.read(state, "1h", seed=1).shape)
        (2, 2) (2,)

    Source: multi-memristive synapses (Boybat et al., Nat. Commun. 9:2514, 2018, from memory).
    """

    g_max: float = dataclasses.field(init=False, default=0.0)
    device: Device = dataclasses.field(kw_only=True)
    copies: int = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.device, Device):
            raise InvalidArgumentError(f"`device` of ParallelDevices must be a device. Received: {self.device!r}.")
        check_integer("ParallelDevices", "copies", self.copies, 1, 64)
        object.__setattr__(self, "g_max", self.copies * self.device.g_max)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state."""
        return self.device.state_names

    @property
    def first_reading(self) -> float:
        """Time in seconds of the reading right after programming."""
        return self.device.first_reading

    def shape_of(self, state: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the shape of the array of synapses: without the axis of the copies."""
        return self.device.shape_of(state)[1:]

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return the draws of the single devices."""
        return self.device.programming_draws((self.copies, *shape), seed)

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices that share `g_target` (uS) equally."""
        each = ops.convert_to_tensor(g_target, dtype="float32") / self.copies
        return self.device.program_with(ops.repeat(each[None], self.copies, axis=0), draws)

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return the draws of one reading of the single devices."""
        return self.device.read_draws((self.copies, *shape), seed)

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the summed conductances in uS at `time`."""
        return ops.sum(self.device.read_with(state, time, draws), axis=0)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {"device": keras.saving.serialize_keras_object(self.device), "copies": self.copies}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ParallelDevices:
        """Build from `get_config`'s data."""
        device = config["device"]
        device = keras.saving.deserialize_keras_object(device) if isinstance(device, dict) else device
        return cls(device=device, copies=config["copies"])
