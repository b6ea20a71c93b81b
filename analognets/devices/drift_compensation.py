"""Undoing the mean decay of a tile with one digital number."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from analognets.errors import InvalidArgumentError, check_choice, check_number

__all__ = ["GlobalDriftCompensation"]


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class GlobalDriftCompensation:
    """One scalar a tile that brings its mean response back to the one after programming.

    alpha(t) = readout(W_ref) / readout(W(t)),   y = alpha(t) * tile(x)

    It removes the mean decay, not the spread of the drift exponents nor the read noise.

    Args:
        readout: "one_hot": the mean of |y| over all one-hot inputs, which is mean |W|; "all_ones": the mean of |y|
            for an input of ones, which is the mean |column sum|.
        floor: smallest readout, > 0, in the unit of the weights given, so that a tile of zeros keeps alpha = 1. Give
            weights in units of W_max, or conductances, so that it is small beside them.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Source: Le Gallo et al., IEEE Trans. Electron Devices 65(10), 2018 (verified: as cited by the aihwkit
    documentation); one_hot and the floor of 1e-4 as in aihwkit's code (verified), all_ones as in its documentation
    (verified).
    """

    readout: str = "one_hot"
    floor: float = 1e-4

    def __post_init__(self) -> None:
        check_choice("GlobalDriftCompensation", "readout", self.readout, ("one_hot", "all_ones"))
        floor = check_number("GlobalDriftCompensation", "floor", self.floor, 1e-12, 1e6)
        object.__setattr__(self, "floor", floor)

    def response(self, weights: Any) -> Any:
        """Return the readout of one tile.

        max(mean |W|, floor) or max(mean_j |sum_i W_ij|, floor)

        Args:
            weights: what the tile multiplies by now, shape (rows, columns).

        Returns:
            A float32 scalar.

        Raises:
            InvalidArgumentError: `weights` does not have two axes.
        """
        weights = ops.convert_to_tensor(weights, dtype="float32")
        if len(weights.shape) != 2:
            raise InvalidArgumentError(
                "The weights of a tile must have the shape (rows, columns). Received: shape "
                f"{tuple(weights.shape)}. Reshape a kernel to (-1, outputs) first."
            )
        outputs = weights if self.readout == "one_hot" else ops.sum(weights, axis=0)
        return ops.maximum(ops.mean(ops.abs(outputs)), self.floor)

    def scale(self, reference: Any, now: Any) -> Any:
        """Return alpha = reference / now.

        Args:
            reference: `response` of the tile right after programming.
            now: `response` of the tile at the time of use.

        Returns:
            A float32 scalar.
        """
        return ops.convert_to_tensor(reference, dtype="float32") / ops.convert_to_tensor(now, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GlobalDriftCompensation:
        """Build a compensation from `get_config`'s data."""
        return cls(**config)
