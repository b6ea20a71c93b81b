"""What each layer draws in one inference: energy laws, and the package's own of counted events times constants."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

from analognets.core.checked import Section, check
from analognets.deploy.accelerator.constants import Constant, Microwatt, Milliwatt, Nanowatt, Picojoule
from analognets.errors import InvalidArgumentError, UnknownNameError

if TYPE_CHECKING:
    from analognets.deploy.accelerator.placement import Placement
    from analognets.deploy.accelerator.schedule import LayerTime
    from analognets.deploy.accelerator.workload import LayerWork

__all__ = ["TERMS", "EnergyLaw", "EventEnergy", "events", "find_energy_law", "register_energy_law"]

TERMS = {"static": 1.0, "row": 1e-3, "adc": 1e-3, "cell": 1e-6, "control": 1.0, "result": 1.0, "sram": 1.0, "mac": 1.0}
"""The terms of `EventEnergy`, and the pJ of one event for a constant of 1: mW ns is 1 pJ, uW ns 1e-3, nW ns 1e-6."""

_LAWS: dict[str, type[EnergyLaw]] = {}


class EnergyLaw(Section, abc.ABC):
    """How much energy a layer draws in one inference. The fields of a subclass are its constants.

    An accelerator has one as its `energy`: `load_accelerator("aon_cim").replace(energy=MyLaw(...))`.

    A subclass gives `labels`, what each term is by its name, and `energy`. A term whose constant has the same name
    takes the status of that constant.

    Examples:
        >>> law = analognets.deploy.accelerator.load_accelerator("aon_cim").energy
        >>> isinstance(law, EnergyLaw), sorted(law.labels)
        (True, ['adc', 'cell', 'control', 'mac', 'result', 'row', 'sram', 'static'])
    """

    labels: ClassVar[Mapping[str, str]] = {}

    @abc.abstractmethod
    def energy(self, layer: LayerWork, time: LayerTime, placement: Placement, bits: int) -> dict[str, float]:
        """Return the energy of each term of `labels` in pJ.

        Args:
            layer: the product.
            time: when it runs.
            placement: where its blocks lie; `placement.of(layer.name)`, on `placement.accelerator`.
            bits: of the converters, and of the numbers in the SRAM.
        """

    def status(self, term: str) -> str:
        """Return the status of the constant of a term, "assumption" if the term has none."""
        constant = getattr(self, term, None)
        return constant.status if isinstance(constant, Constant) else "assumption"

    @pydantic.model_serializer(mode="wrap")
    def _with_name(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        names = [name for name, kind in _LAWS.items() if kind is type(self)]
        return {"law": names[0], **plain(self)} if names else plain(self)


def register_energy_law(name: str) -> Callable[[type[EnergyLaw]], type[EnergyLaw]]:
    """Return a decorator under whose name the file of an accelerator can have a law: `energy: {law: NAME, ...}`.

    Args:
        name: of the law; a law that is registered again under its name takes its place.

    Raises:
        InvalidArgumentError: what is decorated is no `EnergyLaw`.

    Examples:
        >>> from analognets.deploy.accelerator.constants import Picojoule
        >>> @register_energy_law("by_rows")
        ... class RowEnergy(EnergyLaw):
        ...     row: Picojoule
        ...     labels = {"row": "rows that are driven"}
        ...     def energy(self, layer, time, placement, bits):
        ...         return {"row": layer.positions * layer.rows * self.row.value}
        >>> RowEnergy(row={"value": 5.0, "unit": "pJ", "origin": "measured", "status": "verified"}).row.value
        5.0
    """

    def register(kind: type[EnergyLaw]) -> type[EnergyLaw]:
        if not issubclass(kind, EnergyLaw):
            raise InvalidArgumentError(f"An energy law must be a class derived from EnergyLaw. Received: {kind!r}.")
        _LAWS[name] = kind
        return kind

    return register


def find_energy_law(energy: Any, source: str) -> Any:
    """Return the section `energy` of an accelerator, as an object if it names a registered law.

    Args:
        energy: the section as read from a file.
        source: what to call the file in an error.

    Raises:
        UnknownNameError: no law of that name is registered.
        InvalidArgumentError: the constants are not those of the law.
    """
    if not isinstance(energy, dict) or "law" not in energy:
        return energy
    name = energy["law"]
    if not isinstance(name, str) or name not in _LAWS:
        raise UnknownNameError("energy law", str(name), _LAWS, "A law from outside is named by register_energy_law.")
    constants = {key: value for key, value in energy.items() if key != "law"}
    return check(_LAWS[name], constants, "energy law", source=f"`energy` of {source}", error=InvalidArgumentError)


class EventEnergy(EnergyLaw):
    """Power while a pass lasts, and energy of single events: E = sum over the terms of constant x number of `events`.

    Args:
        static: power of the common parts of an array while it works.
        row: power of a driven row.
        adc: power of a running ADC.
        cell: power of a conducting cell (differential pair).
        control: energy to start a pass.
        result: energy of one ADC result in the digital pipeline: scale, batch-norm, activation, pooling.
        sram: energy of one byte read or written.
        mac: energy of one digital product.

    Source: our reconstruction.
    """

    static: Milliwatt
    row: Microwatt
    adc: Microwatt
    cell: Nanowatt
    control: Picojoule
    result: Picojoule
    sram: Picojoule
    mac: Picojoule

    labels: ClassVar[Mapping[str, str]] = {
        "static": "static",
        "row": "row drivers",
        "adc": "ADCs",
        "cell": "cells",
        "control": "control",
        "result": "digital results",
        "sram": "SRAM",
        "mac": "digital products",
    }

    def energy(self, layer: LayerWork, time: LayerTime, placement: Placement, bits: int) -> dict[str, float]:
        """Return the energy of each term in pJ."""
        counts = events(layer, time, placement, bits)
        return {term: counts[term] * getattr(self, term).value * scale for term, scale in TERMS.items()}


def events(layer: LayerWork, time: LayerTime, placement: Placement, bits: int) -> dict[str, float]:
    """Return how often each energy constant is spent on a layer in one inference.

    While a pass lasts, T = T_CiM(bits):

        static   array time, waiting for the digital pipeline included
        row      T x driven rows: those of the block, or all of the array if rows are not gated
        adc      T x running ADCs: one per column of the block, or all if columns are not gated
        cell     T x conducting cells: rows x columns of the block that are converted

    and once for each event: control (a pass), result (an ADC result), sram (a byte fetched or written, bits / 8 of a
    byte for a number), mac (a digital product: of a layer that is not on the array, or of an input with the factor of a
    drift compensation before the DACs).

    Args:
        layer: the product.
        time: when it runs.
        placement: where its blocks lie.
        bits: of the converters, and of the numbers in the SRAM.

    Source: our reconstruction.
    """
    design = placement.accelerator
    blocks = placement.of(layer.name)
    pass_ns = design.pass_ns(bits)
    rows = adcs = cells = results = 0
    for block in blocks:
        passes = math.ceil(block.cols / design.adcs)
        rows += passes * (block.rows if design.gating.rows else design.array.rows)
        adcs += block.cols if design.gating.cols else passes * design.adcs
        cells += block.cells
        results += block.cols
    if not layer.analog:
        results = layer.cols
    return {
        "static": time.array_ns + (time.stall_ns if layer.analog else 0.0),
        "row": layer.positions * rows * pass_ns,
        "adc": layer.positions * adcs * pass_ns,
        "cell": layer.positions * cells * pass_ns,
        "control": float(time.passes),
        "result": float(layer.positions * results),
        "sram": layer.positions * (layer.fresh + results) * bits / 8,
        "mac": float(layer.digital_products),
    }
