"""A device without laws: quantiles of measured conductances by level and time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import keras
import numpy as np
from keras import ops
from scipy.special import ndtri

from analognets.devices.base import Device, State, normal, seconds
from analognets.devices.strengths import is_off
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["TabulatedDevice"]


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class TabulatedDevice(Device):
    """A memory cell whose conductance is drawn from the measured quantiles of its level.

        G(t) = max(0, q(G_target, t, Phi(z))),   z = sqrt(m) N1 + sqrt(1 - m) N2

    with N1 kept by each cell and N2 drawn at each reading, both standard normal; Phi is their distribution function and
    m the share of a cell's place among its like that it keeps from one reading to the next. q is interpolated linearly
    in the target, in ln t and in Phi^-1 of the share. Below the first and above the last level, and before the first
    and after the last time, the deviation from the target is that of the nearest one; so is it beyond the outer shares.

    State: `conductance` (at the first time, uS), `target` (uS), `place` (N1).

    Args:
        g_max: largest conductance in uS, > 0; None: the highest level.
        levels: target conductances in uS, rising, >= 0.
        times: seconds since programming, rising, > 0.
        shares: of cells that lie below a quantile, rising, between 0 and 1.
        quantiles: in uS, for each time, for each level, for each share, not falling.
        memory: m, 0 to 1; 1: a cell keeps its place and reading needs no seed.
        programming_noise_scale: factor >= 0 on what z does; 0: every cell reads the median of its level.
        source: which data the quantiles come from.

    Raises:
        InvalidArgumentError: a setting is out of range or a list has the wrong length.

    Examples:
        >>> device = TabulatedDevice(
        ...     levels=[0.0, 20.0],
        ...     times=[60.0, 86400.0],
        ...     shares=[0.1, 0.5, 0.9],
        ...     quantiles=[[[0.0, 0.5, 1.0], [19.0, 20.0, 21.0]], [[0.0, 0.4, 1.0], [15.0, 17.0, 19.0]]],
        ...     programming_noise_scale=0.0,
        ... )
        >>> print(device.read(device.program([0.0, 20.0], seed=0), "1d").numpy().round(3))
        [ 0.4 17. ]

    Source: our reconstruction.
    """

    g_max: float | None = None  # type: ignore[assignment]
    _: dataclasses.KW_ONLY
    levels: Sequence[float]
    times: Sequence[float]
    shares: Sequence[float]
    quantiles: Sequence[Sequence[Sequence[float]]]
    memory: float = 1.0
    programming_noise_scale: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        for name, low, high, unit in (
            ("levels", 0.0, 1e6, "uS"),
            ("times", 1e-9, 1e12, "s"),
            ("shares", 1e-9, 1 - 1e-9, ""),
        ):
            self._set(name, self._rising(name, low, high, unit))
        g_max = self.levels[-1] if self.g_max is None else self.g_max
        self._set("g_max", check_number("TabulatedDevice", "g_max", g_max, 1e-6, 1e6, unit="uS"))
        self._set("memory", check_number("TabulatedDevice", "memory", self.memory, 0.0, 1.0))
        scale = check_number("TabulatedDevice", "programming_noise_scale", self.programming_noise_scale, 0.0, 1e3)
        self._set("programming_noise_scale", scale)
        shape = (len(self.times), len(self.levels), len(self.shares))
        try:
            table = np.asarray(self.quantiles, dtype=np.float64)
        except (TypeError, ValueError):
            table = np.empty(0)
        if table.shape != shape or not np.isfinite(table).all() or (table < 0).any() or (np.diff(table) < 0).any():
            raise InvalidArgumentError(
                f"`quantiles` of TabulatedDevice must hold {shape[0]} times x {shape[1]} levels x {shape[2]} shares of "
                f"conductances >= 0 in uS that don't fall with the share. Received: shape {table.shape}."
            )
        self._set("quantiles", tuple(tuple(tuple(map(float, row)) for row in rows) for rows in table))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _rising(self, name: str, low: float, high: float, unit: str) -> tuple[float, ...]:
        values = getattr(self, name)
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not values:
            raise InvalidArgumentError(f"`{name}` of TabulatedDevice must be a list of numbers. Received: {values!r}.")
        found = tuple(check_number("TabulatedDevice", name, value, low, high, unit=unit) for value in values)
        if any(late <= early for early, late in zip(found[:-1], found[1:], strict=True)):
            raise InvalidArgumentError(f"`{name}` of TabulatedDevice must rise. Received: {name}={values!r}.")
        return found

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state that reading needs."""
        return ("conductance", "target", "place")

    @property
    def first_reading(self) -> float:
        """The first measured time in seconds."""
        return self.times[0]

    @property
    def _table(self) -> np.ndarray:
        """Deviations from the level in uS, (times, levels, shares)."""
        return (np.array(self.quantiles) - np.array(self.levels)[None, :, None]).astype(np.float32)

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return the standard-normal draw "programming"."""
        return {"programming": normal(shape, seed, "programming")}

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return the standard-normal draw "read"; nothing where a cell keeps its place."""
        if self.memory == 1.0 or is_off(self.programming_noise_scale):
            return {}
        if seed is None:
            raise InvalidArgumentError(
                "A reading of TabulatedDevice with memory below 1 needs a seed. Received: seed=None. Pass seed=0 (and "
                "another number for every further reading), or use memory=1."
            )
        return {"read": normal(shape, seed, "read")}

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices programmed to `g_target` (uS, in [0, g_max]) with the given draws."""
        target = ops.clip(ops.convert_to_tensor(g_target, dtype="float32"), 0.0, self.g_max)
        place = ops.convert_to_tensor(draws["programming"], dtype="float32")
        first = self._quantile(target, ops.convert_to_tensor(self._table[0]), place * math.sqrt(self.memory))
        return {"conductance": first, "target": target, "place": place}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the conductances in uS at `time` (seconds, duration text or a scalar tensor of seconds)."""
        target = ops.convert_to_tensor(state["target"], dtype="float32")
        place = ops.convert_to_tensor(state["place"], dtype="float32")
        if "read" in draws:
            place = math.sqrt(self.memory) * place + math.sqrt(1.0 - self.memory) * draws["read"]
        return self._quantile(target, self._at(seconds(time)), place)

    def _at(self, time: Any) -> Any:
        """Return the table at a time, (levels, shares)."""
        weights = _hat(ops.log(ops.maximum(ops.convert_to_tensor(time, dtype="float32"), 1e-9)), np.log(self.times))
        return ops.tensordot(weights, ops.convert_to_tensor(self._table), axes=1)

    def _quantile(self, target: Any, table: Any, place: Any) -> Any:
        rows, row_share = _position(target, np.array(self.levels))
        columns, column_share = _position(self.programming_noise_scale * place, ndtri(np.array(self.shares)))
        count = len(self.shares)
        flat, total = ops.reshape(table, (-1,)), target
        for row, by_row in ((0, 1.0 - row_share), (1, row_share)):
            for column, by_column in ((0, 1.0 - column_share), (1, column_share)):
                at = ops.minimum(rows + row, len(self.levels) - 1) * count + ops.minimum(columns + column, count - 1)
                total = total + by_row * by_column * ops.take(flat, at)
        return ops.maximum(total, 0.0)

    def first_deviation(self, g: Any) -> Any:
        """Return the spread of a first reading as a share of g_max: that of the quantiles, between levels linear."""
        table = self._table[0].astype(np.float64)
        masses = np.diff([0.0, *(0.5 * (np.array(self.shares)[:-1] + np.array(self.shares)[1:])), 1.0])
        mean = table @ masses
        spread = np.sqrt(np.maximum((table**2) @ masses - mean**2, 0.0))
        rows, share = _position(g * self.g_max, np.array(self.levels))
        known = ops.convert_to_tensor(spread.astype("float32"))
        upper = ops.take(known, ops.minimum(rows + 1, len(self.levels) - 1))
        value = (1.0 - share) * ops.take(known, rows) + share * upper
        return value * (self.programming_noise_scale / cast(float, self.g_max))

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal device."""
        return {**super().get_config(), "quantiles": [[list(row) for row in rows] for rows in self.quantiles]}


def _position(value: Any, knots: np.ndarray) -> tuple[Any, Any]:
    """Return the knot below each value and how far it lies on the way to the next, 0 to 1."""
    if len(knots) == 1:
        return ops.zeros_like(ops.cast(value, "int32")), ops.zeros_like(value)
    knots = knots.astype(np.float32)
    inner = ops.convert_to_tensor(knots[1:-1])
    below = ops.searchsorted(inner, ops.reshape(value, (-1,)), side="right") if len(knots) > 2 else None
    below = ops.zeros_like(ops.cast(value, "int32")) if below is None else ops.reshape(below, ops.shape(value))
    low, high = ops.take(ops.convert_to_tensor(knots), below), ops.take(ops.convert_to_tensor(knots), below + 1)
    return below, ops.clip((value - low) / (high - low), 0.0, 1.0)


def _hat(value: Any, knots: np.ndarray) -> Any:
    """Return the weights of linear interpolation between knots at one value, shape (knots,); held outside."""
    knots = knots.astype(np.float32)
    if len(knots) == 1:
        return ops.ones((1,), dtype="float32")
    value = ops.clip(value, float(knots[0]), float(knots[-1]))
    widths = np.diff(knots)
    rise = np.concatenate([[np.inf], widths]).astype(np.float32)
    fall = np.concatenate([widths, [np.inf]]).astype(np.float32)
    off = value - knots
    return ops.maximum(0.0, 1.0 - ops.where(off < 0, -off / rise, off / fall))
