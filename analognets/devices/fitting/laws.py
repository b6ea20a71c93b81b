"""The laws that a fit chooses from: what the mean, spread, drift and read noise of cells can do over conductance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["LOWEST_SHARE", "PARTS", "Law", "Part", "Scale", "laws_of"]

LOWEST_SHARE = 0.001
"""Logarithms of g = G / g_max stop here: cells below tell no law in ln g, and the one that is found is held there.

A larger value biases the exponent of the read noise: cells below it, whose noise goes on rising, pull it up.
"""


@dataclasses.dataclass(frozen=True)
class Scale:
    """What laws are counted in.

    Args:
        g: G_target / g_max of each cell.
        g_max: in uS.
    """

    g: np.ndarray
    g_max: float

    @property
    def log_g(self) -> np.ndarray:
        """Ln g of each cell, not below that of `LOWEST_SHARE`."""
        return np.log(np.maximum(self.g, LOWEST_SHARE))


@dataclasses.dataclass(frozen=True)
class Law:
    """One law of one part.

    Args:
        name: such as "line in ln g".
        free: how many constants it has.
        values: (constants, scale) -> value of each cell.
        slopes: (constants, scale) -> derivatives, shape (cells, constants).
        device: (constants, scale) -> all constants of the part as the device's field holds them.
        bounds: low and high of each constant.
        units: what each constant is about as large as; the optimiser counts in these.
        places: of the constants in the device's field.
    """

    name: str
    free: int
    values: Callable[[np.ndarray, Scale], np.ndarray]
    slopes: Callable[[np.ndarray, Scale], np.ndarray]
    device: Callable[[np.ndarray, Scale], list[float]]
    bounds: tuple[tuple[float, float], ...]
    units: tuple[float, ...]
    places: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the device's statistics.

    Args:
        name: "programming_spread" and so on.
        field: of the device, that holds its constants.
        title: for people.
        floor: smallest value that the likelihood can take, for what must be positive.
        labels: of the constants in the field.
    """

    name: str
    field: str
    title: str
    floor: float | None
    labels: tuple[str, ...]


PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part("programming_mean", "programming_bias_fit", "mean programming error", None, ("1", "g", "g^2")),
        Part("programming_spread", "programming_fit", "programming noise", 1e-5, ("1", "g", "g^2", "g^3")),
        Part("drift_mean", "drift_mean_fit", "mean drift exponent", None, ("slope", "offset", "low", "high")),
        Part(
            "drift_spread", "drift_spread_fit", "spread of the drift exponent", 1e-5, ("slope", "offset", "low", "high")
        ),
        Part("read_noise", "read_noise_fit", "1/f read noise", 1e-6, ("factor", "exponent", "high")),
    )
}
"""In the order of the likelihood's arguments. A floor of a programming part is a share of g_max."""

FAR = 1e3


def laws_of(part: str, scale: Scale) -> list[Law]:
    """Return the laws of a part from the simplest to the richest, as far as the targets of the cells can tell them."""
    levels = len(np.unique(np.round(scale.g, 3)))
    if part in ("programming_mean", "programming_spread"):
        top = 2 if part == "programming_mean" else 3
        found = [
            _polynomial(degree, top, scale.g_max) for degree in range(top + 1) if degree == 0 or levels > degree + 1
        ]
        return [_nothing(top), *found] if part == "programming_mean" else found
    if part == "read_noise":
        found = [_power(1), _power(2), _power(3)]
        return found[: 1 if levels < 3 else 2 if levels < 5 else 3]
    small = 0.05 if part == "drift_mean" else 0.01
    found = [
        _constant(small),
        _line(small, ""),
        _line(small, "low"),
        _line(small, "high"),
        _line(small, "low and high"),
    ]
    return found[: 1 if levels < 3 else 2 if levels < 5 else 4 if levels < 7 else 5]


def _nothing(top: int) -> Law:
    return Law("none", 0, lambda c, s: np.zeros_like(s.g), lambda c, s: np.zeros((len(s.g), 0)),
               lambda c, s: [0.0] * (top + 1), (), (), ())  # fmt: skip


def _polynomial(degree: int, top: int, g_max: float) -> Law:
    name = ("constant", "line in g", "quadratic in g", "cubic in g")[degree]
    free = degree + 1

    def powers(scale: Scale) -> np.ndarray:
        return np.power.outer(scale.g, np.arange(free))

    return Law(
        name,
        free,
        lambda c, s: powers(s) @ c,
        lambda c, s: powers(s),
        lambda c, s: [float(value) for value in c] + [0.0] * (top - degree),
        ((-FAR * g_max, FAR * g_max),) * free,
        (0.05 * g_max,) * free,
        tuple(range(free)),
    )


def _constant(small: float) -> Law:
    return Law(
        "constant",
        1,
        lambda c, s: np.full_like(s.g, c[0]),
        lambda c, s: np.ones((len(s.g), 1)),
        lambda c, s: [0.0, *map(float, (c[0], c[0], c[0]))],
        ((0.0, 2.0),),
        (small,),
        (1,),
    )


def _line(small: float, stops: str) -> Law:
    """Return clip(slope ln g + offset, low, high); a stop that is no constant lies at the edge of the data."""
    free = 2 + len(stops.split(" and ")) if stops else 2
    has_low, has_high = "low" in stops, "high" in stops

    def edges(c: np.ndarray, s: Scale) -> tuple[float, float]:
        ends = c[1] + c[0] * np.array([s.log_g.min(), s.log_g.max()])
        return (c[2] if has_low else ends.min()), (c[2 + has_low] if has_high else ends.max())

    def values(c: np.ndarray, s: Scale) -> np.ndarray:
        low, high = edges(c, s)
        return np.minimum(np.maximum(c[0] * s.log_g + c[1], low), high)

    def slopes(c: np.ndarray, s: Scale) -> np.ndarray:
        low, high = edges(c, s)
        line = c[0] * s.log_g + c[1]
        at_high = (line >= high) & has_high | (high < low) & has_high
        at_low = (line < low) & has_low & ~at_high
        on_line = ~at_low & ~at_high
        columns = [s.log_g * on_line, on_line] + [at_low] * has_low + [at_high] * has_high
        return np.stack(columns, axis=1).astype(np.float64)

    def device(c: np.ndarray, s: Scale) -> list[float]:
        return [float(c[0]), float(c[1]), *sorted(map(float, edges(c, s)))]

    name = "line in ln g" + (f" that stops at a {stops} value" if stops else "")
    bounds = ((-1.0, 1.0), (-2.0, 2.0), *((0.0, 2.0),) * (free - 2))
    places = (0, 1, *(2,) * has_low, *(3,) * has_high)
    return Law(name, free, values, slopes, device, bounds, (small / 3, *(small,) * (free - 1)), places)


def _power(free: int) -> Law:
    """Return min(factor g^-exponent, high): exponent 0 for one constant, high at the edge of the data for two."""
    name = ("constant", "power of g", "power of g that stops at a high value")[free - 1]

    def parts(c: np.ndarray, s: Scale) -> tuple[np.ndarray, float]:
        rise = np.exp(-(c[1] if free > 1 else 0.0) * s.log_g)
        return rise, float(c[2]) if free > 2 else float((c[0] * rise).max())

    def values(c: np.ndarray, s: Scale) -> np.ndarray:
        rise, high = parts(c, s)
        return np.minimum(c[0] * rise, high)

    def slopes(c: np.ndarray, s: Scale) -> np.ndarray:
        rise, high = parts(c, s)
        below = c[0] * rise <= high
        columns = [rise * below, -c[0] * s.log_g * rise * below, ~below][:free]
        return np.stack(columns, axis=1).astype(np.float64)

    def device(c: np.ndarray, s: Scale) -> list[float]:
        return [float(c[0]), float(c[1]) if free > 1 else 0.0, parts(c, s)[1]]

    bounds = ((1e-6, 1.0), (-3.0, 3.0), (1e-6, 2.0))[:free]
    return Law(name, free, values, slopes, device, bounds, (0.005, 0.5, 0.1)[:free], (0, 1, 2)[:free])
