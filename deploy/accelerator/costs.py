"""The cost of an inference: time, energy and area of a model on an accelerator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from analognets.deploy.accelerator.design import Accelerator, load_accelerator
from analognets.deploy.accelerator.placement import Placement, place
from analognets.deploy.accelerator.schedule import LayerTime, schedule
from analognets.deploy.accelerator.workload import LayerWork, Workload
from analognets.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cost", "LayerCost", "cost"]


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs in one inference.

    Args:
        work: its product.
        time: when it runs.
        energy_pj: of each term of the accelerator's energy law, in pJ.
        bits: of its converters, and of its numbers in the SRAM.
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
        """Return one row per layer: placement, passes, time, operations, energy, TOPS/W."""
        import pandas as pd

        rows = self.placement.table().to_dict("records")
        for row, layer in zip(rows, self.layers, strict=True):
            row.update(
                bits=layer.bits,
                operations=layer.work.operations,
                start_us=layer.time.start_ns / 1e3,
                time_us=layer.time.time_ns / 1e3,
                analog_us=layer.time.analog_ns / 1e3,
                digital_us=layer.time.digital_ns / 1e3,
                energy_uj=layer.total_pj / 1e6,
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
            if math.isinf(part["tops_per_watt"]):
                part["tops_per_watt"] = None  # without energy constants; JSON has no infinity
        return data

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
                f"  {self.energy_uj:.3f} uJ per inference, {self.power_mw:.1f} mW, {self.tops_per_watt:.2f} TOPS/W",
                f"  {100 * self.utilisation:.1f} % of the cells in use "
                f"({100 * self.effective_utilisation:.1f} % hold a weight), "
                f"{self.area_mm2:.2f} mm^2, {self.activation_kb:.1f} kB of activations",
                f"  {self.statement}",
                f"  {self.origin}",
            ]
        )


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
            model's own ADCs, or as many as its ADC with most of them where they are not known, else 8.
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
    return Cost(
        placement, max(widths.values()), design.digital.overlapped if overlapped is None else overlapped, layers
    )


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
