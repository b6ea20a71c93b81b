"""The likelihood of one cell's readings, with its programmed conductance and drift exponent integrated out."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import log_ndtr, logsumexp

from analognets.devices.fitting.measurements import Measurements

__all__ = ["FINE_NODES", "NODES", "Cells", "Likelihood", "posterior"]

NODES = 4
"""Gauss-Hermite nodes for each of the two hidden numbers of a cell, while laws are searched."""
FINE_NODES = 8
"""And for the constants that are reported: 4 bias the spread of drift exponents where exponents are near 0."""
SMALLEST = 1e-12
PIECE = 1_000
"""Cells that are computed at once."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """Readings as the likelihood needs them: arrays of the shape (cells, readings), 0 where there is none.

    Args:
        target: in uS, shape (cells,).
        log_y: ln of positive readings.
        log_time: ln D, which the drift exponent multiplies.
        variance: L(t) of positive readings, 1 elsewhere.
        positive: 1 for a positive reading.
        zero: 1 for a reading of exactly 0.
    """

    target: np.ndarray
    log_y: np.ndarray
    log_time: np.ndarray
    variance: np.ndarray
    positive: np.ndarray
    zero: np.ndarray

    @classmethod
    def of(cls, found: Measurements, t_0: float, t_read: float) -> Cells:
        """Return the readings of a table with its clock: t_0 and t_read in seconds."""
        there = np.isfinite(found.conductance)
        time = np.where(there, found.time, t_0)
        positive = there & (found.conductance > 0)
        return cls(
            target=found.target,
            log_y=np.log(np.where(positive, found.conductance, 1.0)),
            log_time=np.log(np.maximum(time / t_0, 1.0)) * positive,
            variance=np.where(there, np.log(np.maximum((time + t_read) / (2.0 * t_read), 1.0 + 1e-9)), 1.0),
            positive=positive.astype(np.float64),
            zero=(there & ~positive).astype(np.float64),
        )

    def __len__(self) -> int:
        return len(self.target)

    def only(self, chosen: slice | np.ndarray) -> Cells:
        """Return some of the cells."""
        return Cells(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """What the readings say about the five values of each cell: mean error b, spread s, mu, sigma, Q.

    Args:
        log: ln of the likelihood of each cell, shape (cells,).
        score: its derivatives, shape (cells, 5).
        curvature: minus its second derivatives, shape (cells, 5, 5).
        exponent: mean of the drift exponent given the readings, shape (cells,).
        programmed: mean of the programmed conductance given the readings.
    """

    log: np.ndarray
    score: np.ndarray
    curvature: np.ndarray
    exponent: np.ndarray
    programmed: np.ndarray


def posterior(
    cells: Cells, values: np.ndarray, *, drifts: bool, curvature: bool = False, nodes: int = NODES
) -> Likelihood:
    """Return the likelihood of cells with the five values of each, shape (5, cells).

    G ~ N(G_target + b, s^2), x ~ N(mu, sigma^2), nu = |x|, y_j ~ N(G D_j^-nu, (Q G D_j^-nu)^2 L_j), cut at 0. Both
    hidden numbers of a cell are integrated by Gauss-Hermite quadrature around where the readings put them; scores and
    curvature follow from the same nodes (identities of Fisher and Louis), so that no difference quotient is needed.

    Args:
        cells: readings.
        values: b and s in uS, mu, sigma and Q of each cell; s, sigma and Q > 0.
        drifts: whether exponents are integrated; else they are 0.
        curvature: whether second derivatives are wanted.
        nodes: of the quadrature, for each hidden number.
    """
    pieces = [
        _piece(cells.only(slice(at, at + PIECE)), values[:, at : at + PIECE], drifts, curvature, nodes)
        for at in range(0, len(cells), PIECE)
    ]
    return Likelihood(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))


def _piece(
    cells: Cells, values: np.ndarray, drifts: bool, curvature: bool, count_of_nodes: int
) -> tuple[np.ndarray, ...]:
    b, s, mu, sigma, q = values
    mean = cells.target + b
    log_g, x, log_weight = _nodes(cells, mean, values, drifts, count_of_nodes)
    exponent = np.abs(x)
    squares = _squares(cells, log_g, exponent)
    count = cells.positive.sum(-1)
    error, off = np.exp(log_g) - mean, x - mu
    constant = -0.5 * (cells.positive * np.log(2.0 * np.pi * cells.variance)).sum(-1) - count * np.log(q) - np.log(s)
    log_joint = log_weight - squares / (2.0 * q**2) + (1.0 - count) * log_g - 0.5 * (error / s) ** 2
    if drifts:
        log_joint += exponent * cells.log_time.sum(-1) - 0.5 * (off / sigma) ** 2
        constant -= np.log(sigma) + 0.5 * np.log(2.0 * np.pi)
    log = logsumexp(log_joint, axis=0)
    share = np.exp(log_joint - log)
    log += constant - 0.5 * np.log(2.0 * np.pi)

    def expected(nodes: np.ndarray) -> np.ndarray:
        return (share * nodes).sum(0)

    score = np.zeros((len(cells), 5))
    score[:, 0] = expected(error) / s**2
    score[:, 1] = expected(error**2) / s**3 - 1.0 / s
    score[:, 4] = expected(squares) / q**3 - count / q
    if drifts:
        score[:, 2] = expected(off) / sigma**2
        score[:, 3] = expected(off**2) / sigma**3 - 1.0 / sigma
    second = np.zeros((len(cells), 5, 5))
    if curvature:
        second = _curvature(values, share, score, (error, off, squares), count, drifts)
    _add_zeros(cells, values, log, score, second)
    return log, score, second, expected(exponent), expected(error) + mean


def _squares(cells: Cells, log_g: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Return sum_j (y_j D_j^nu / G - 1)^2 / L_j at each node; a loop over readings keeps the arrays in the cache."""
    total = np.zeros_like(log_g)
    for at in range(cells.log_y.shape[1]):
        moved = exponent * cells.log_time[:, at]
        moved += cells.log_y[:, at]
        moved -= log_g
        np.minimum(moved, 300.0, out=moved)
        np.expm1(moved, out=moved)
        moved *= moved
        moved *= cells.positive[:, at] / cells.variance[:, at]
        total += moved
    return total


def _nodes(cells: Cells, mean: np.ndarray, values: np.ndarray, drifts: bool, count: int) -> tuple[np.ndarray, ...]:
    """Return nodes for ln G and the exponent, shape (nodes, cells), and ln of their weights.

    They are those of a normal distribution: readings in logarithms, the prior of G as a parabola at what they say.
    """
    _, s, mu, sigma, q = values
    weight = cells.positive / (cells.variance * q[:, None] ** 2 + 1e-12)
    total = np.maximum(weight.sum(-1), SMALLEST)
    high = np.where(cells.positive > 0, cells.log_y, -np.inf).max(-1, initial=-700.0)[:, None]
    log_y = np.maximum(cells.log_y, high - 4.0) * cells.positive  # noise may leave next to nothing of a reading
    back = log_y + mu[:, None] * cells.log_time
    log_g = (weight * back).sum(-1) / total
    g = np.exp(log_g)
    stiff = np.clip((g / s) ** 2, 0.05, None)
    prior = log_g - np.clip((g - mean) / g, -2.0, 2.0)
    alone = cells.positive.sum(-1) == 0
    prior, stiff = np.where(alone, np.log(np.maximum(mean, 0.1 * s)), prior), np.where(alone, 1.0, stiff)
    points, point_weights = np.polynomial.hermite.hermgauss(count)
    p11, r1 = total + stiff, (weight * log_y).sum(-1) + stiff * prior
    if not drifts:
        centre, deviation = r1 / p11, 1.0 / np.sqrt(p11)
        nodes = centre + np.sqrt(2.0) * deviation * points[:, None]
        log_weight = points[:, None] ** 2 + np.log(point_weights)[:, None] + 0.5 * np.log(2.0) + np.log(deviation)
        return nodes, np.zeros_like(nodes), log_weight
    p12 = -(weight * cells.log_time).sum(-1)
    p22 = (weight * cells.log_time**2).sum(-1) + 1.0 / sigma**2
    r2 = -(weight * cells.log_time * log_y).sum(-1) + mu / sigma**2
    determinant = p11 * p22 - p12**2
    centre_g, centre_x = (p22 * r1 - p12 * r2) / determinant, (p11 * r2 - p12 * r1) / determinant
    # Cholesky factor of the inverse of the precision.
    first = np.sqrt(p22 / determinant)
    cross, rest = -p12 / determinant / first, 1.0 / np.sqrt(p22)
    one, two = (each.ravel()[:, None] for each in np.meshgrid(points, points, indexing="ij"))
    weights = np.outer(point_weights, point_weights).ravel()[:, None]
    log_nodes = centre_g + np.sqrt(2.0) * first * one
    x = centre_x + np.sqrt(2.0) * (cross * one + rest * two)
    return log_nodes, x, one**2 + two**2 + np.log(weights) + np.log(2.0 * first * rest)


def _curvature(
    values: np.ndarray,
    share: np.ndarray,
    score: np.ndarray,
    nodes: tuple[np.ndarray, np.ndarray, np.ndarray],
    count: np.ndarray,
    drifts: bool,
) -> np.ndarray:
    """Return minus the second derivatives: those of the complete data, less what the hidden numbers leave open."""
    _, s, _, sigma, q = values
    error, off, squares = nodes

    def mean(node: np.ndarray) -> np.ndarray:
        return (share * node).sum(0)

    scores = [
        error / s**2,
        error**2 / s**3 - 1.0 / s,
        np.zeros_like(off),
        np.zeros_like(off),
        squares / q**3 - count / q,
    ]
    if drifts:
        scores[2:4] = [off / sigma**2, off**2 / sigma**3 - 1.0 / sigma]
    found = score[:, :, None] * score[:, None, :]
    for row in range(5):
        for column in range(row, 5):
            both = mean(scores[row] * scores[column])
            found[:, row, column] -= both
            if row != column:
                found[:, column, row] -= both
    found[:, 0, 0] += 1.0 / s**2
    found[:, 1, 1] += 3.0 * mean(error**2) / s**4 - 1.0 / s**2
    for pair in ((0, 1), (1, 0)):
        found[:, *pair] += 2.0 * mean(error) / s**3
    found[:, 4, 4] += 3.0 * mean(squares) / q**4 - count / q**2
    if drifts:
        found[:, 2, 2] += 1.0 / sigma**2
        found[:, 3, 3] += 3.0 * mean(off**2) / sigma**4 - 1.0 / sigma**2
        for pair in ((2, 3), (3, 2)):
            found[:, *pair] += 2.0 * mean(off) / sigma**3
    return found


def _add_zeros(cells: Cells, values: np.ndarray, log: np.ndarray, score: np.ndarray, second: np.ndarray) -> None:
    """Add, in place, what readings of exactly 0 say: noise that took a reading to 0, or a cell programmed to 0."""
    b, s, _, _, q = values
    some = cells.zero.any(-1) & cells.positive.any(-1)
    if some.any():
        argument = -1.0 / (q[some, None] * np.sqrt(cells.variance[some]))
        each = log_ndtr(argument)
        ratio = np.exp(-0.5 * argument**2 - 0.5 * np.log(2.0 * np.pi) - each)
        log[some] += (cells.zero[some] * each).sum(-1)
        score[some, 4] += (cells.zero[some] * ratio * -argument).sum(-1) / q[some]
    empty = ~cells.positive.any(-1)
    if not empty.any():
        return
    s = s[empty]
    at = -(cells.target[empty] + b[empty]) / s
    log[empty] = log_ndtr(at)
    rate = np.exp(-0.5 * at**2 - 0.5 * np.log(2.0 * np.pi) - log[empty])
    bend = rate * (at + rate)
    score[empty] = 0.0
    score[empty, 0], score[empty, 1] = -rate / s, -rate * at / s
    second[empty] = 0.0
    second[empty, 0, 0] = bend / s**2
    second[empty, 1, 1] = (bend * at - 2.0 * rate) * at / s**2
    second[empty, 0, 1] = second[empty, 1, 0] = (bend * at - rate) / s**2
