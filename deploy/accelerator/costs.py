"""The cost of an inference: time, energy and area of a model on an accelerator."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from analognets.deploy.accelerator.design import Accelerator, load_accelerator
from analognets.deploy.accelerator.energy import TERMS, events
from analognets.deploy.accelerator.held import PublishedFigure
from analognets.deploy.accelerator.intervals import ConstantSet
from analognets.deploy.accelerator.placement import Placement, place
from analognets.deploy.accelerator.schedule import LayerTime, schedule
from analognets.deploy.accelerator.workload import LayerWork, Workload
from analognets.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cost", "LayerCost", "cost", "with_range"]


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs in one inference.

    Args:
        work: its product.
        time: when it runs.
        energy_pj: of each term of the accelerator's energy law, in pJ.
        bits: of its converters, and of its numbers in the SRAM.

    Examples:
        >>> first = analognets.deploy.cost(model, bits=8).layers[0]
        >>> first.work.name, first.time.passes
        ('hidden', 1)
        >>> first.total_pj == sum(first.energy_pj.values())
        True
    """

    work: LayerWork
    time: LayerTime
    energy_pj: dict[str, float]
    bits: int

    @property
    def total_pj(self) -> float:
        """Energy of the layer in pJ."""
        return sum(self.energy_pj.values())


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one inference of a model costs on an accelerator; made by `cost`.

    Args:
        placement: where the weights lie.
        bits: of the converters with most of them.
        overlapped: whether the digital pipeline works while the array does.
        layers: one `LayerCost` for each product.

    Examples:
        >>> found = analognets.deploy.cost(model, bits=8)
        >>> found.operations, found.passes
        (384, 2)
        >>> found.tops_per_watt > 0, len(found.table())
        (True, 2)
    """

    placement: Placement
    bits: int
    overlapped: bool
    layers: tuple[LayerCost, ...]

    @property
    def accelerator(self) -> Accelerator:
        """The accelerator."""
        return self.placement.accelerator

    @property
    def operations(self) -> int:
        """Multiplications and additions; zeros of unrolled layers do not count."""
        return sum(layer.work.operations for layer in self.layers)

    @property
    def passes(self) -> int:
        """Passes of the arrays."""
        return sum(layer.time.passes for layer in self.layers)

    @property
    def latency_us(self) -> float:
        """Time of one inference in microseconds."""
        return self.layers[-1].time.end_ns / 1e3

    @property
    def inferences_per_second(self) -> float:
        """Inferences per second, one after the other."""
        return 1e6 / self.latency_us

    @property
    def energy_uj(self) -> float:
        """Energy of one inference in uJ."""
        return sum(layer.total_pj for layer in self.layers) / 1e6

    @property
    def energy_terms_uj(self) -> dict[str, float]:
        """Energy of one inference in uJ, by term."""
        return {
            term: sum(layer.energy_pj[term] for layer in self.layers) / 1e6 for term in self.accelerator.energy.labels
        }

    @functools.cached_property
    def constant_set(self) -> ConstantSet:
        """All energy constants that meet the accelerator's published figures."""
        return ConstantSet(self.accelerator)

    def events_of(self, layer: LayerCost) -> dict[str, float]:
        """Return the events of a layer in pJ for a constant of 1, by term of `EventEnergy`."""
        counts = events(layer.work, layer.time, self.placement, layer.bits)
        return {term: scale * counts[term] for term, scale in TERMS.items()}

    @functools.cached_property
    def events(self) -> dict[str, float]:
        """Events of a whole inference in pJ for a constant of 1, by term of `EventEnergy`."""
        totals = dict.fromkeys(TERMS, 0.0)
        for layer in self.layers:
            for term, count in self.events_of(layer).items():
                totals[term] += count
        return totals

    @property
    def fitted_to(self) -> PublishedFigure | None:
        """The published figure of this very inference that the constants were fitted to; None of a prediction."""
        return self.constant_set.fitted(self.bits, self.operations, self.events)

    @property
    def energy_status(self) -> str:
        """What its energy is: "fitted" to a published figure, "predicted", or "unknown": a point without a range."""
        return "unknown" if self.constant_set.reason else "fitted" if self.fitted_to else "predicted"

    @functools.cached_property
    def energy_range_uj(self) -> tuple[float, float] | None:
        """Least and largest energy in uJ of all constants that meet the published figures; None if none are known."""
        return _over(self.constant_set.bounds_pj(self.events), 1e6)

    @property
    def tops_per_watt_range(self) -> tuple[float, float] | None:
        """Least and largest TOPS/W of all constants that meet the published figures; None if none are known."""
        if self.energy_range_uj is None:
            return None
        low, high = (self.operations / energy / 1e6 if energy else math.inf for energy in self.energy_range_uj)
        return high, low

    @property
    def power_range_mw(self) -> tuple[float, float] | None:
        """Least and largest mean power in mW while inferences follow each other; None if none are known."""
        return _over(self.energy_range_uj, self.latency_us / 1e3)

    @property
    def power_mw(self) -> float:
        """Mean power in mW while inferences follow each other."""
        return 1e3 * self.energy_uj / self.latency_us

    @property
    def tops(self) -> float:
        """Operations per second in 10^12."""
        return self.operations / self.latency_us / 1e6

    @property
    def tops_per_watt(self) -> float:
        """Operations for each pJ, which is 10^12 operations per second and watt."""
        return self.operations / self.energy_uj / 1e6 if self.energy_uj else math.inf

    @property
    def utilisation(self) -> float:
        """Share of the used arrays' cells that blocks occupy, 0 to 1."""
        return self.placement.utilisation

    @property
    def effective_utilisation(self) -> float:
        """Share of the used arrays' cells that hold a real weight, 0 to 1."""
        return self.placement.effective_utilisation

    @property
    def area_mm2(self) -> float:
        """Area in mm^2 of the accelerator, with more arrays than it has if the model needs them."""
        return self.accelerator.area_mm2(max(self.placement.arrays, self.accelerator.arrays))

    @property
    def activation_kb(self) -> float:
        """Activation memory in kB (1024 bytes): the largest input and output of one layer.

        Tensors that are kept for a later sum come on top.
        """
        return max((layer.work.inputs + layer.work.outputs) * layer.bits for layer in self.layers) / 8 / 1024

    @property
    def widths(self) -> tuple[int, ...]:
        """The different precisions of the analog layers' converters in bits, in rising order."""
        return tuple(sorted({layer.bits for layer in self.layers if layer.work.analog} or {self.bits}))

    @property
    def resolution(self) -> str:
        """The bits of the converters in words: "8 bit", or "4 and 8 bit" where layers differ."""
        *others, most = map(str, self.widths)
        return f"{', '.join(others)} and {most} bit" if others else f"{most} bit"

    def table(self) -> pd.DataFrame:
        """Return one row per layer: placement, passes, time, operations, energy with its range, TOPS/W."""
        import pandas as pd

        rows = self.placement.table().to_dict("records")
        for row, layer in zip(rows, self.layers, strict=True):
            low, high = _over(self.constant_set.bounds_pj(self.events_of(layer)), 1e6) or (None, None)
            row.update(
                bits=layer.bits,
                operations=layer.work.operations,
                start_us=layer.time.start_ns / 1e3,
                time_us=layer.time.time_ns / 1e3,
                analog_us=layer.time.analog_ns / 1e3,
                digital_us=layer.time.digital_ns / 1e3,
                energy_uj=layer.total_pj / 1e6,
                energy_low_uj=low,
                energy_high_uj=high,
                tops_per_watt=layer.work.operations / layer.total_pj if layer.total_pj else math.inf,
                **{f"{term}_uj": value / 1e6 for term, value in layer.energy_pj.items()},
            )
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the cost as plain data, per layer and in total."""
        names = (
            *("operations", "passes", "latency_us", "inferences_per_second", "energy_uj", "power_mw", "tops"),
            *("tops_per_watt", "utilisation", "effective_utilisation", "area_mm2", "activation_kb"),
        )
        data: dict[str, Any] = {
            "model": self.placement.workload.model,
            "accelerator": self.accelerator.name,
            "bits": self.bits,
            "overlapped": self.overlapped,
            **{name: getattr(self, name) for name in names},
            **self.ranges(),
            "sram_kb": self.accelerator.sram.value,
            "arrays": self.placement.arrays,
            "fits": self.placement.fits,
            "statement": self.statement,
            "energy_terms_uj": self.energy_terms_uj,
            "constants": {name: constant.model_dump() for name, constant in self.accelerator.constants().items()},
            "layers": self.table().to_dict("records"),
            "blocks": self.placement.to_dict()["blocks"],
        }
        for part in (data, *data["layers"]):
            for name in ("tops_per_watt", "tops_per_watt_low", "tops_per_watt_high"):
                if math.isinf(part.get(name) or 0.0):
                    part[name] = None  # without energy constants; JSON has no infinity
        return data

    def ranges(self) -> dict[str, Any]:
        """Return how far the energy is known, as plain data: ends of its range, status, and what it rests on."""
        energy, power, efficiency = self.energy_range_uj, self.power_range_mw, self.tops_per_watt_range
        ends = {"energy_{}_uj": energy, "power_{}_mw": power, "tops_per_watt_{}": efficiency}
        found: dict[str, Any] = {
            name.format(end): None if pair is None else pair[place]
            for name, pair in ends.items()
            for place, end in enumerate(("low", "high"))
        }
        fitted = self.fitted_to
        terms: Mapping[str, Any] = {} if energy is None else {
            term: _over(self.constant_set.bounds_pj({term: count}), 1e6) for term, count in self.events.items()
        }  # fmt: skip
        return {
            **found,
            "energy_status": self.energy_status,
            "energy_statement": self.energy_statement,
            "fitted_to": None if fitted is None else fitted.model_dump(exclude={"events", "operations", "scaled"}),
            "energy_terms_range_uj": dict(terms),
        }

    @property
    def statement(self) -> str:
        """In sentences: what fits where, what was cut, what is left digital, and whether activations fit the SRAM."""
        need, has = self.activation_kb, self.accelerator.sram.value
        more = f" Activations take {need:.1f} kB and the SRAM has {has:g} kB: they do not fit." if need > has else ""
        if products := sum(layer.work.digital_products for layer in self.layers if layer.work.analog):
            more += f" Drift compensation multiplies inputs before the DACs: {products:,} digital products."
        if names := self.placement.workload.attention:
            more += f" Products of activations with each other, in {', '.join(names)}, are not counted."
        return self.placement.statement + more

    @property
    def energy_statement(self) -> str:
        """In sentences: whether the energy is fitted or predicted, and what the published figures allow."""
        known, fitted = self.constant_set, self.fitted_to
        if known.reason:
            return f"Energy is a point estimate whose range is not known: {known.reason}."
        if fitted is not None:
            return f"Energy is fitted to {fitted} ({fitted.status}) within {100 * fitted.precision:g} %."
        own = self.accelerator.held_to
        verified = sum(figure.status == "verified" for figure in own)
        precision = 100 * max(figure.precision for figure in own)
        low, high = self.tops_per_watt_range or (math.nan, math.nan)
        said = (
            f"Energy is predicted: all constants that meet {len(own)} published figures ({verified} verified) within "
            f"{precision:g} % give {low:.3g} to {high:.3g} TOPS/W."
        )
        if unheld := known.unheld(self.events):
            names = ", ".join(self.accelerator.energy.labels[term] for term in unheld)
            said += f" No published figure counts {names}: there the assumed constant stands."
        return said

    @property
    def origin(self) -> str:
        """In a sentence: how much of the energy rests on constants of which status."""
        terms = self.energy_terms_uj
        shares: dict[str, float] = {}
        for term, value in terms.items():
            status = self.accelerator.energy.status(term)
            shares[status] = shares.get(status, 0.0) + value
        total = sum(shares.values()) or 1.0
        parts = [f"{100 * value / total:.0f} % {status}" for status, value in shares.items() if value]
        return f"Energy by the status of its constants: {', '.join(parts) or 'none'}."

    def __str__(self) -> str:
        place = self.placement
        return "\n".join(
            [
                f"{place.workload.model} on {self.accelerator.name} at {self.resolution}",
                f"  {self.operations / 1e6:.1f} MOp in {self.passes:,} passes, {self.latency_us:.1f} us, "
                f"{self.inferences_per_second:,.0f} inferences/s, {self.tops:.3f} TOPS",
                f"  {with_range(self.energy_uj, self.energy_range_uj, '.3f', 'uJ per inference')}, "
                f"{with_range(self.power_mw, self.power_range_mw, '.1f', 'mW')}, "
                f"{with_range(self.tops_per_watt, self.tops_per_watt_range, '.2f', 'TOPS/W')}",
                f"  {100 * self.utilisation:.1f} % of the cells in use "
                f"({100 * self.effective_utilisation:.1f} % hold a weight), "
                f"{self.area_mm2:.2f} mm^2, {self.activation_kb:.1f} kB of activations",
                f"  {self.statement}",
                f"  {self.energy_statement}",
                f"  {self.origin}",
            ]
        )


def with_range(value: float, ends: tuple[float, float] | None, form: str = ".3g", unit: str = "") -> str:
    """Return a figure with the range it lies in, as text.

    Args:
        value: the figure.
        ends: of its range; None: the figure alone.
        form: of the numbers, as for `format`.
        unit: behind the figure.

    Examples:
        >>> with_range(8.55, (8.32, 8.84), ".2f", "TOPS/W")
        '8.55 TOPS/W (8.32 to 8.84)'
    """
    text = f"{value:{form}} {unit}".rstrip()
    return text if ends is None else f"{text} ({ends[0]:{form}} to {ends[1]:{form}})"


def _over(pair: tuple[float, float] | None, unit: float) -> tuple[float, float] | None:
    return None if pair is None else (pair[0] / unit, pair[1] / unit)


def cost(
    model: keras.Model | Workload,
    accelerator: Any = "aon_cim",
    *,
    bits: int | Mapping[str, int] | None = None,
    depthwise: str = "analog",
    digital: str | Sequence[str] = (),
    overlapped: bool | None = None,
    input_shape: Any = None,
) -> Cost:
    """Return what one inference of a model costs on an accelerator.

    Args:
        model: a built Keras model, plain or analog, or its `Workload`. Only shapes matter.
        accelerator: name of an accelerator, path of a YAML file, or an `Accelerator`.
        bits: of the converters: of all layers, or by the name of single ones; None, and for all others: those of the
            model's own converters, of the wider where DACs and ADCs differ, or as many as most of them have where they
            are not known, else 8.
        depthwise: "analog" or "digital", as in `place`.
        digital: names of further layers to leave digital.
        overlapped: whether the digital pipeline works while the array does; None: as the accelerator says.
        input_shape: shape of one sample, where the model leaves sizes open.

    Raises:
        ConversionError: the model has no product for a crossbar.
        UnknownNameError: there is no such accelerator or layer.
        InvalidArgumentError: an option is not allowed, or the accelerator has no such precision.

    Examples:
        >>> cost(analognets.zoo.analognet_kws((49, 10, 1), classes=12), "aon_cim", bits=8).passes
        991

    Source: our reconstruction; the constants of the accelerator name their own origins.
    """
    design = load_accelerator(accelerator)
    if isinstance(bits, int):
        design.check_bits(bits)
    placement = place(model, design, depthwise=depthwise, digital=digital, input_shape=input_shape)
    widths = _widths(placement, bits)
    times = schedule(placement, widths, overlapped=overlapped)
    layers = tuple(
        LayerCost(work, time, design.energy.energy(work, time, placement, widths[work.name]), widths[work.name])
        for work, time in zip(placement.workload.layers, times, strict=True)
    )
    on_crossbar = [widths[work.name] for work in placement.workload.layers if work.analog]
    width = max(on_crossbar or widths.values())
    return Cost(placement, width, design.digital.overlapped if overlapped is None else overlapped, layers)


def _widths(placement: Placement, bits: int | Mapping[str, int] | None) -> dict[str, int]:
    """Return the precision of each layer's converters by its name, checked."""
    work, check = placement.workload.layers, placement.accelerator.check_bits
    if bits is not None and not isinstance(bits, Mapping):
        return {layer.name: check(bits) for layer in work}
    given = bits or {}
    names = [layer.name for layer in work]
    for name in given:
        if name not in names:
            raise UnknownNameError("layer with bits of its own", name, names)
    most = max((layer.bits for layer in work if layer.bits is not None), default=8)
    return {layer.name: check(given.get(layer.name, layer.bits or most)) for layer in work}
