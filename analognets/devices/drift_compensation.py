"""Drift compensation: what is read out of an array of devices, and how its results are corrected by that."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from analognets.errors import InvalidArgumentError, UnknownNameError, check_choice, check_number, reading_config

__all__ = [
    "ArrayDriftCompensation",
    "ColumnDriftCompensation",
    "Correction",
    "DriftCompensation",
    "GlobalDriftCompensation",
    "InputDriftCompensation",
    "get_drift_compensation",
    "list_drift_compensations",
]


class Correction(NamedTuple):
    """What the digital part does about the drift of one layer.

    Args:
        scales: what results are multiplied by after the ADC, (row blocks, column blocks) or (row blocks, columns).
        input_scales: what inputs are multiplied by before the DAC, (row blocks,), or None: 1.

    Examples:
        >>> rule = analognets.devices.get_drift_compensation("global")
        >>> correction = rule.correction(np.array([[0.5]]), np.array([[0.4]]))
        >>> correction.scales.tolist(), correction.input_scales
        ([[1.25]], None)
    """

    scales: np.ndarray
    input_scales: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class DriftCompensation(abc.ABC):
    """A rule that corrects the results of drifted tiles by read-outs of them: frozen settings, no data.

    y = b * tile(a x),   a = input_scale(reference, now),   b = scale(reference, now)

    with reference = response(W_ref) and now = response(W(t)), where the tile has its DAC and ADC in it.

    A rule of one's own is a frozen dataclass with a `response`, registered with Keras so that models and presets that
    have it can be saved. It acts by itself in programming, evaluation, stored chips, sweeps and lab exports.

    Examples:
        >>> rule = analognets.devices.get_drift_compensation("global")
        >>> reference, now = rule.response(np.eye(4)), rule.response(0.8 * np.eye(4))
        >>> round(float(rule.scale(reference, now)), 4)
        1.25
    """

    @abc.abstractmethod
    def response(self, weights: Any) -> Any:
        """Return what is read out of one tile.

        Written in keras.ops, since it is traced.

        Args:
            weights: what the tile multiplies by, in units of W_max, shape (rows, columns).

        Returns:
            Numbers > 0: a float32 scalar for the tile, or a vector with one number per column.
        """

    def scale(self, reference: Any, now: Any) -> Any:
        """Return what the results are multiplied by after the ADC: reference / now.

        Args:
            reference: `response` right after programming, of one tile or of all tiles of a layer: (row blocks, column
                blocks), or (row blocks, columns) if there is one per column.
            now: the same at the time of use.

        Returns:
            Float32 numbers that broadcast to the shape of `now`.
        """
        return ops.convert_to_tensor(reference, dtype="float32") / ops.convert_to_tensor(now, dtype="float32")

    def input_scale(self, reference: Any, now: Any) -> Any:
        """Return what the inputs are multiplied by before the DAC; here None, which is 1.

        A factor of 2 is a DAC of half the range: with the same gain of the ADC, results become twice as large.

        Args:
            reference: `response` right after programming of all tiles of a layer, as for `scale`.
            now: the same at the time of use.

        Returns:
            One number > 0 per row block, whose DACs drive all of its columns, or None.
        """
        return None

    def reads_like(self, other: DriftCompensation) -> bool:
        """Whether a reference taken by another rule serves this one: they are equal, or read alike from probe tiles.

        Args:
            other: by which the reference was taken.
        """
        if self == other or type(self) is type(other) and self.get_config() == other.get_config():
            return True
        probes = np.random.default_rng(0).normal(size=(4, 3)), np.zeros((4, 3))
        try:
            mine, theirs = ([ops.convert_to_numpy(rule.response(one)) for one in probes] for rule in (self, other))
        except Exception:  # a rule of one's own that takes tiles of another shape: it is like itself alone
            return False
        return all(np.array_equal(one, two, equal_nan=True) for one, two in zip(mine, theirs, strict=True))

    @property
    def scales_inputs(self) -> bool:
        """Whether the rule multiplies inputs before the DAC, which the digital part must do for each of them."""
        return type(self).input_scale is not DriftCompensation.input_scale

    def correction(self, reference: np.ndarray, now: np.ndarray) -> Correction:
        """Return both factors for the tiles of a layer as checked NumPy arrays.

        Args:
            reference: `response` right after programming, as for `scale`, with two axes.
            now: the same at the time of use.

        Raises:
            InvalidArgumentError: the reference has another shape than the reading, or a factor one that is not allowed.
        """
        if np.shape(reference) != np.shape(now):
            raise InvalidArgumentError(
                f"The reference was taken by another drift compensation than {self!r}, which reads {np.shape(now)} "
                f"numbers of this layer. Received: a reference of shape {np.shape(reference)}. Take the chip with the "
                "model that it was programmed from."
            )
        scales, inputs = self.scale(reference, now), self.input_scale(reference, now)
        return Correction(
            self._shaped("scale", scales, np.shape(now)),
            None if inputs is None else self._shaped("input_scale", inputs, (len(now),)),
        )

    def _shaped(self, name: str, factor: Any, shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(ops.convert_to_numpy(factor), np.float32)
        try:
            return np.broadcast_to(values, shape)
        except ValueError:
            raise InvalidArgumentError(
                f"`{name}` of {type(self).__name__} must return numbers of the shape {shape}, or that broadcast to it. "
                f"Received: shape {values.shape}."
            ) from None

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DriftCompensation:
        """Build a rule from `get_config`'s data."""
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class _TestInputs(DriftCompensation):
    """The settings of rules that go by the answers of a tile to test inputs.

    Args:
        readout: "one_hot": all one-hot inputs, one after the other; "all_ones": an input of ones.
        floor: smallest response, > 0.
    """

    readout: str = "one_hot"
    floor: float = 1e-4

    def __post_init__(self) -> None:
        check_choice(type(self).__name__, "readout", self.readout, ("one_hot", "all_ones"))
        floor = check_number(type(self).__name__, "floor", self.floor, 1e-12, 1e6)
        object.__setattr__(self, "floor", floor)

    def answers(self, weights: Any) -> Any:
        """Return |y| for each test input and column, or for each column if there is one input.

        Raises:
            InvalidArgumentError: `weights` does not have two axes.
        """
        weights = ops.convert_to_tensor(weights, dtype="float32")
        if len(weights.shape) != 2:
            raise InvalidArgumentError(
                "The weights of a tile must have the shape (rows, columns). Received: shape "
                f"{tuple(weights.shape)}. Reshape a kernel to (-1, outputs) first."
            )
        return ops.abs(weights if self.readout == "one_hot" else ops.sum(weights, axis=0))


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class GlobalDriftCompensation(_TestInputs):
    """One factor per tile that brings its mean response back to the one after programming.

    alpha(t) = readout(W_ref) / readout(W(t)),   y = alpha(t) * tile(x)

    It removes the mean decay, not the spread of the drift exponents nor the read noise.

    Args:
        readout: "one_hot": the mean of |y| over all one-hot inputs, which is mean |W|; "all_ones": the mean of |y|
            for an input of ones, which is the mean |column sum|.
        floor: smallest readout, > 0, in the unit of the weights given, so that a tile of zeros keeps alpha = 1. Give
            weights in units of W_max, or conductances, so that it is small beside them.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Examples:
        >>> rule = GlobalDriftCompensation()
        >>> reference = rule.response(np.array([[0.5, -0.5], [0.25, 0.75]]))
        >>> drifted = rule.response(np.array([[0.4, -0.4], [0.2, 0.6]]))
        >>> round(float(rule.scale(reference, drifted)), 4)
        1.25

    Source: Le Gallo et al., IEEE Trans. Electron Devices 65(10), 2018 (verified: as cited by the aihwkit
    documentation); one_hot and the floor of 1e-4 as in aihwkit's code (verified), all_ones as in its documentation
    (verified).
    """

    def response(self, weights: Any) -> Any:
        """Return the readout of one tile, a float32 scalar.

        max(mean |W|, floor) or max(mean_j |sum_i W_ij|, floor)

        Args:
            weights: what the tile multiplies by now, shape (rows, columns).

        Raises:
            InvalidArgumentError: `weights` does not have two axes.
        """
        return ops.maximum(ops.mean(self.answers(weights)), self.floor)


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class ColumnDriftCompensation(_TestInputs):
    """One factor per column of a tile, which also removes what the mean decay differs by from column to column.

    alpha_j(t) = readout_j(W_ref) / readout_j(W(t)),   y_j = alpha_j(t) * tile(x)_j

    A column has fewer devices than a tile, so read noise moves its factor more.

    Args:
        readout: "one_hot": the mean of |y_j| over all one-hot inputs, which is mean_i |W_ij|; "all_ones": |y_j| for an
            input of ones, which is the |column sum|; it is small, and noisy, where weights cancel.
        floor: smallest readout, > 0, in units of W_max, so that a column of zeros keeps alpha_j = 1.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Examples:
        >>> rule = ColumnDriftCompensation()
        >>> now = rule.response(np.array([[0.5, 0.2], [0.5, 0.6]]))
        >>> rule.scale([1.0, 0.8], now).numpy().tolist()
        [2.0, 2.0]

    Source: our reconstruction: the rule of `GlobalDriftCompensation` applied column by column, for chips with a digital
    scale behind each column's ADC.
    """

    def response(self, weights: Any) -> Any:
        """Return the readout of each column of one tile, a float32 vector.

        max(mean_i |W_ij|, floor) or max(|sum_i W_ij|, floor)

        Args:
            weights: what the tile multiplies by now, shape (rows, columns).

        Raises:
            InvalidArgumentError: `weights` does not have two axes.
        """
        answers = self.answers(weights)
        return ops.maximum(answers if len(answers.shape) == 1 else ops.mean(answers, axis=0), self.floor)


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class InputDriftCompensation(GlobalDriftCompensation):
    """One factor per tile, as `GlobalDriftCompensation` has, but on the inputs, before the DAC.

    a = min(mean_k readout_k(W_ref) / mean_k readout_k(W(t)), limit),   b_k = alpha_k(t) / a,   y_k = b_k * tile_k(a x)

    over the tiles k of one row block, which share their DACs. The ADC then sees the signal of the undrifted tile again
    and keeps its levels, at the same fixed gain; a factor after the ADC scales levels that are lost already. The price:
    inputs above 1 / a of the DAC's range are clipped. What single tiles differ by, and what is beyond the limit, is
    scaled after the ADC: b_k is 1 where a row block is one tile.

    Args:
        readout: as for `GlobalDriftCompensation`.
        floor: likewise.
        limit: largest factor on the inputs, 1 to 16: what the multiplier before the DAC can do. A drift exponent of
            0.05 needs 1.5 a day and 2 a year after a reference at 25 s.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Examples:
        >>> rule = InputDriftCompensation(limit=2.0)
        >>> reference, now = np.array([[0.5]]), np.array([[0.4]])
        >>> rule.input_scale(reference, now).numpy().tolist(), rule.scale(reference, now).numpy().tolist()
        ([1.25], [[1.0]])

    Source: ours; the factor is that of Le Gallo et al. 2018, see `GlobalDriftCompensation`.
    """

    limit: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "limit", check_number(type(self).__name__, "limit", self.limit, 1.0, 16.0))

    def input_scale(self, reference: Any, now: Any) -> Any:
        """Return a for each row block, at most `limit`.

        Args:
            reference: `response` right after programming, (row blocks, column blocks).
            now: the same at the time of use.
        """
        means = [ops.mean(ops.convert_to_tensor(one, dtype="float32"), axis=-1) for one in (reference, now)]
        return ops.minimum(means[0] / means[1], self.limit)

    def scale(self, reference: Any, now: Any) -> Any:
        """Return b for each tile: what the factor on the inputs leaves.

        Args:
            reference: as for `input_scale`.
            now: likewise.
        """
        return super().scale(reference, now) / ops.expand_dims(self.input_scale(reference, now), -1)


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class ArrayDriftCompensation(DriftCompensation):
    """One factor for a whole array of devices, from the sum of all its conductances (array-level scaling).

    alpha(t) = sum |G(t_ref)| / sum |G(t)|

    For arrays that learn on their devices, whose conductances are read of both polarities and all copies.

    Examples:
        >>> rule = ArrayDriftCompensation()
        >>> float(rule.scale(rule.response([10.0, 20.0]), rule.response([8.0, 16.0])))
        1.25

    Source: array-level scaling is of arXiv 1905.11929 (verified), its formula is our reconstruction.
    """

    def response(self, weights: Any) -> Any:
        """Return sum |G|: of a NumPy array in float64, of a tensor in its own precision.

        Args:
            weights: the conductances of the array, of any shape.
        """
        if isinstance(weights, np.ndarray):
            return np.maximum(np.abs(weights).sum(dtype="float64"), _SMALLEST)
        return ops.maximum(ops.sum(ops.abs(weights)), _SMALLEST)

    def scale(self, reference: Any, now: Any) -> Any:
        """Return alpha = reference / now, in their precision."""
        return reference / now


_SMALLEST = 1e-30  # keeps the factor of an array of zeros at 1

_RULES: dict[str, type[DriftCompensation]] = {
    "column": ColumnDriftCompensation,
    "global": GlobalDriftCompensation,
    "input": InputDriftCompensation,
}


def list_drift_compensations() -> list[str]:
    """Return the names that `get_drift_compensation` knows.

    Examples:
        >>> list_drift_compensations()
        ['column', 'global', 'input']
    """
    return sorted(_RULES)


@reading_config("a drift compensation")
def get_drift_compensation(identifier: Any, **settings: Any) -> DriftCompensation | None:
    """Return a rule from an object, a name with settings or a config; None stays None.

    Args:
        identifier: a `DriftCompensation`; "global", "column" or "input"; what Keras serialized; or None.
        **settings: arguments of the named rule.

    Raises:
        UnknownNameError: no rule has that name, or it has no such setting.
        InvalidArgumentError: the identifier is none of these, or a setting is out of range.

    Examples:
        >>> type(get_drift_compensation("column")).__name__
        'ColumnDriftCompensation'
    """
    if isinstance(identifier, str):
        if identifier not in _RULES:
            raise UnknownNameError("drift compensation", identifier, _RULES)
        known = [field.name for field in dataclasses.fields(_RULES[identifier])]
        for name in settings:
            if name not in known:
                raise UnknownNameError(f"setting of drift compensation '{identifier}'", name, known)
        return _RULES[identifier](**settings)
    found = identifier
    if isinstance(identifier, dict) and "class_name" in identifier:
        with contextlib.suppress(TypeError):  # Keras does not know the class, or the class not the settings
            found = keras.saving.deserialize_keras_object(identifier)
    if not (found is None or isinstance(found, DriftCompensation)):
        raise InvalidArgumentError(
            "`drift_compensation` of Crossbar must be a GlobalDriftCompensation or another DriftCompensation, a config "
            f"of one, None or one of the names {', '.join(list_drift_compensations())}. Received: "
            f"drift_compensation={identifier!r}. A class of your own needs keras.saving.register_keras_serializable."
        )
    return found
