"""The memory cell without flaws."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from analognets.devices.base import Device, State, seconds
from analognets.errors import check_number

__all__ = ["IdealDevice"]


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class IdealDevice(Device):
    """A device that keeps its target for ever: what a chip is compared with.

    G(t) = G_target

    Args:
        g_max: largest conductance in uS, > 0.

    Raises:
        InvalidArgumentError: g_max is out of range.

    Examples:
        >>> device = IdealDevice()
        >>> device.read(device.program([3.0, 25.0], seed=0), "10y").numpy().tolist()
        [3.0, 25.0]
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "g_max", check_number("IdealDevice", "g_max", self.g_max, 1e-6, 1e6, unit="uS"))

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return no draws."""
        return {}

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the targets as the state."""
        return {"conductance": ops.clip(ops.convert_to_tensor(g_target, dtype="float32"), 0.0, self.g_max)}

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return no draws."""
        return {}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the programmed conductances in uS, whatever the time."""
        seconds(time)
        return ops.convert_to_tensor(state["conductance"], dtype="float32")

    def first_deviation(self, g: Any) -> Any:
        """Return zeros."""
        return ops.zeros_like(g)
