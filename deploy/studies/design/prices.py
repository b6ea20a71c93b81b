"""What candidates cost in time, energy and area; the products of a network are counted once."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import keras

from analognets.deploy.accelerator import cost, workload
from analognets.deploy.accelerator.workload import width_of
from analognets.deploy.studies.design.budgets import COLUMNS, text_of
from analognets.deploy.studies.design.knobs import Candidate, ConverterBits
from analognets.deploy.studies.design.space import Space
from analognets.errors import AnalogNetsError, InvalidArgumentError

__all__ = ["Prices", "check_reachable"]

MANY = 400
"""Most settings beside bits that are priced to find the least of a budget."""


class Prices:
    """Prices of a network on candidates.

    Args:
        model: analog.

    Raises:
        ConversionError: it has no product for a crossbar.
        InvalidArgumentError: the sizes of its inputs are not known.
    """

    def __init__(self, model: keras.Model) -> None:
        self.work = workload(model)

    def of(self, candidate: Candidate, *, ranges: bool = True) -> dict[str, Any]:
        """Return energy with its range, area, time, arrays, and the mean bits of the analog layers.

        Args:
            candidate: the hardware.
            ranges: False leaves the range of the energy out, which takes most of the time.

        Raises:
            AnalogNetsError: the accelerator can't be so.
        """
        layers = tuple(
            dataclasses.replace(one, why_digital="by design") if candidate.layers.get(one.name, one) is None else one
            for one in self.work.layers
        )
        bits = {
            name: width
            for name, one in candidate.layers.items()
            if one is not None and (width := width_of(one)) is not None
        }
        found = cost(dataclasses.replace(self.work, layers=layers), candidate.accelerator, bits=bits)
        names = ("energy_uj", "area_mm2", "latency_us", "tops_per_watt", "utilisation")
        prices = {name: getattr(found, name) for name in names}
        prices |= {"arrays": found.placement.arrays, "mean_bits": sum(bits.values()) / max(len(bits), 1)}
        if ranges:
            known = found.ranges()
            prices |= {name: known[name] for name in ("energy_low_uj", "energy_high_uj", "energy_status")}
        return prices


def check_reachable(space: Space, prices: Prices, budgets: dict[str, float]) -> None:
    """Raise if no candidate meets a budget of energy or area, before anything slow is done.

    The least is looked for among the lowest and highest bits of all layers together and all other settings.

    Raises:
        InvalidArgumentError: none does; or there is no such hardware at all.
    """
    bits = [knob for knob in space.knobs if isinstance(knob, ConverterBits)]
    ends = [{knob.name: end(knob.values) for knob in bits} for end in (min, max)]
    others = [[(knob.name, value) for value in knob.values] for knob in space.knobs if knob not in bits]
    least: dict[str, tuple[float, dict[str, Any]]] = {}
    problem: AnalogNetsError | None = None
    for rest, end in itertools.product(itertools.islice(itertools.product(*others), MANY), ends):
        settings = {**end, **dict(rest)}
        try:
            row = prices.of(space.candidate(settings), ranges=False)
        except AnalogNetsError as error:
            problem = error
            continue
        for name in ("energy", "area"):
            if name not in least or row[COLUMNS[name]] < least[name][0]:
                least[name] = (row[COLUMNS[name]], settings)
    if not least:
        raise InvalidArgumentError(f"There is no such hardware. {problem}") from problem
    for name in budgets:
        value, settings = least.get(name, (0.0, {}))
        if value > budgets[name]:
            raise InvalidArgumentError(
                f"Nothing meets the budget of {text_of(name, budgets[name])}: the nearest takes "
                f"{text_of(name, value)} ({space.label(settings)}). Allow more, or give the search other values, such "
                "as fewer bits or ADCs."
            )
