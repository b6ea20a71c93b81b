"""Finding energy constants from published totals: non-negative least squares on counted events."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from analognets.core.checked import check
from analognets.deploy.accelerator.costs import cost
from analognets.deploy.accelerator.design import Accelerator
from analognets.deploy.accelerator.energy import TERMS, EventEnergy
from analognets.deploy.accelerator.held import PRECISION, PublishedFigure
from analognets.errors import InvalidArgumentError, check_choice, check_number

__all__ = ["Calibrated", "Observation", "calibrate_energy"]

FREE = ("static", "row", "adc", "control", "result")


@dataclasses.dataclass(frozen=True)
class Observation:
    """A published efficiency.

    Args:
        name: what to call it.
        model: the Keras model or `Workload` it is of.
        bits: at this precision.
        tops_per_watt: the published figure.
        weight: how much it counts, above 0.
        precision: relative, above 0 and below 1: constants that miss it by less are as good.
        status: "verified" in a source that was opened, "memory" or "given".
    """

    name: str
    model: Any
    bits: int
    tops_per_watt: float
    weight: float = 1.0
    precision: float = PRECISION
    status: str = "given"


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """The outcome of a calibration.

    Args:
        accelerator: with the constants found, status "calibrated", held to the observations.
        residuals: (name, bits, published, ours, relative error) of each observation.
    """

    accelerator: Accelerator
    residuals: tuple[tuple[str, int, float, float, float], ...]

    @property
    def largest(self) -> float:
        """Largest relative error without its sign."""
        return max(abs(error) for *_, error in self.residuals)


def calibrate_energy(
    accelerator: Accelerator,
    observations: Sequence[Observation],
    *,
    free: Sequence[str] = FREE,
    origin: str = "non-negative least squares on published TOPS/W",
) -> Calibrated:
    """Find energy constants that give published efficiencies; all are at least 0, the others stay as they are.

    minimise over c >= 0 the sum of (weight x (sum over terms of c_term n_term - E) / E)^2,  E = operations / (TOPS/W)

    with n the counted events of each observation (`analognets.deploy.accelerator.energy.events`).

    Args:
        accelerator: whose geometry, timing and fixed constants hold.
        observations: at least as many as free constants.
        free: names of the terms to find.
        origin: what to write into the constants found.

    Raises:
        InvalidArgumentError: too few observations, an unknown term, or fixed constants alone exceed a published energy.

    Source: our reconstruction; the published figures do not determine single constants, only their sums.
    """
    from scipy.optimize import nnls

    if not isinstance(accelerator.energy, EventEnergy):
        raise InvalidArgumentError(
            f"The energy of the accelerator '{accelerator.name}' must be an EventEnergy to be calibrated. "
            f"Received: {type(accelerator.energy).__name__}."
        )
    for term in free:
        check_choice("calibrate_energy", "free", term, TERMS)
    if len(observations) < len(free):
        raise InvalidArgumentError(
            f"A calibration of {len(free)} constants needs as many observations. Received: {len(observations)}."
        )
    rows, targets, figures = [], [], []
    for seen in observations:
        check_number("Observation", "weight", seen.weight, 1e-6, 1e6)
        check_number("Observation", "tops_per_watt", seen.tops_per_watt, 1e-6, 1e9)
        of_model = cost(seen.model, accelerator, bits=seen.bits)
        counts = of_model.events
        figures.append(held_figure(seen, of_model.operations, counts))
        published = of_model.operations / seen.tops_per_watt
        held = {term: getattr(accelerator.energy, term).value for term in TERMS if term not in free}
        rest = published - sum(value * counts[term] for term, value in held.items())
        if rest <= 0:
            raise InvalidArgumentError(
                f"The constants that stay fixed ({', '.join(held)}) alone exceed the energy published for {seen.name} "
                f"at {seen.bits} bit. Received: {published / 1e6:g} uJ published, {rest / 1e6:g} uJ left."
            )
        rows.append([seen.weight * counts[term] / published for term in free])
        targets.append(seen.weight * rest / published)
    matrix = np.array(rows)
    scale = np.where(
        matrix.max(axis=0) > 0, matrix.max(axis=0), 1.0
    )  # or columns of pJ and nW would be ill-conditioned
    values, _ = nnls(matrix / scale, np.array(targets))
    found = accelerator.model_dump()["energy"]
    for term, value in zip(free, values / scale, strict=True):
        found[term] |= {"value": float(f"{value:.5g}"), "origin": origin, "status": "calibrated"}
    design = accelerator.replace(energy=found, held_to=figures)
    residuals = []
    for seen in observations:
        ours = cost(seen.model, design, bits=seen.bits).tops_per_watt
        residuals.append((seen.name, seen.bits, seen.tops_per_watt, ours, ours / seen.tops_per_watt - 1))
    return Calibrated(design, tuple(residuals))


def held_figure(seen: Observation, operations: int, counts: dict[str, float]) -> PublishedFigure:
    """Return an observation as a figure that constants are held to."""
    data = {name: getattr(seen, name) for name in ("name", "bits", "tops_per_watt", "precision", "status")}
    return check(
        PublishedFigure,
        {**data, "operations": operations, "events": counts},
        "observation",
        source=f"The observation '{seen.name}'",
        error=InvalidArgumentError,
    )
