"""What a design may choose: knobs, each with the values it takes and what they change in hardware and accelerator."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from analognets.crossbar import Crossbar
from analognets.deploy.accelerator import Accelerator
from analognets.deploy.accelerator.constants import Constant
from analognets.errors import InvalidArgumentError, UnknownNameError, check_integer, check_number

__all__ = [
    "AdcCount",
    "Candidate",
    "ConverterBits",
    "GMax",
    "Knob",
    "LayerPlace",
    "TileSize",
    "knobs_of",
]

ANALOG, DIGITAL = "analog", "digital"
CONVERTERS = {"bits": ("dac_bits", "adc_bits"), "dac_bits": ("dac_bits",), "adc_bits": ("adc_bits",)}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Hardware that a network could lie on.

    Args:
        layers: the crossbar of each analog layer by its name; None leaves it digital.
        accelerator: whose time, energy and area count.
    """

    layers: Mapping[str, Crossbar | None]
    accelerator: Accelerator

    def with_layers(self, names: Collection[str], **changes: Any) -> Candidate:
        """Return a copy in which the crossbars of some layers differ; digital layers stay digital."""
        layers = {
            name: one.replace(**changes) if one is not None and name in names else one
            for name, one in self.layers.items()
        }
        return dataclasses.replace(self, layers=layers)


class Knob(abc.ABC):
    """One thing that a design chooses; a subclass gives `name`, `values`, `turned`, and `own` if it is known.

    Attributes:
        name: of the parameter in tables and in the study.
        values: what it may be set to, plain data, two at least.
        own: the value that the hardware of the training has, one of `values`; None: not known, or none of them.
        touches_accuracy: False where only time, energy and area depend on it, so that nothing is measured anew.

    Examples:
        >>> class Columns(Knob):
        ...     name, values, own = "columns", (128, 512), 512
        ...     def turned(self, candidate, value):
        ...         return candidate.with_layers(candidate.layers, cols=value)
        >>> hardware = analognets.crossbar.get("aon_cim_8bit")
        >>> start = Candidate({"hidden": hardware}, analognets.deploy.accelerator.load_accelerator("aon_cim"))
        >>> Columns().turned(start, 128).layers["hidden"].cols
        128
    """

    name: str
    values: tuple[Any, ...]
    own: Any = None
    touches_accuracy: bool = True

    @abc.abstractmethod
    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        """Return the candidate with this knob set.

        Args:
            candidate: the hardware so far.
            value: one of `values`.
        """

    @property
    def start(self) -> Any:
        """The value to begin with: that of the training, or the first."""
        return self.own if self.own in self.values else self.values[0]


@dataclasses.dataclass(frozen=True)
class ConverterBits(Knob):
    """Bits of the converters of a layer.

    Args:
        layer: its name.
        values: bits.
        own: as trained.
        kind: "bits" for DACs and ADCs alike, "dac_bits" or "adc_bits".
    """

    layer: str
    values: tuple[Any, ...]
    own: Any = None
    kind: str = "bits"

    @property
    def name(self) -> str:  # type: ignore[override]
        """Such as "conv_1 bits"."""
        return f"{self.layer} {self.kind}"

    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        """Return the candidate with these bits."""
        return candidate.with_layers((self.layer,), **dict.fromkeys(CONVERTERS[self.kind], value))


@dataclasses.dataclass(frozen=True)
class LayerPlace(Knob):
    """Whether a layer lies on arrays or is computed digitally.

    Args:
        layer: its name.
    """

    layer: str
    values: tuple[Any, ...] = (ANALOG, DIGITAL)
    own: Any = ANALOG

    @property
    def name(self) -> str:  # type: ignore[override]
        """Such as "conv_1 place"."""
        return f"{self.layer} place"

    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        """Return the candidate with the layer there."""
        if value == ANALOG:
            return candidate
        return dataclasses.replace(candidate, layers={**candidate.layers, self.layer: None})


@dataclasses.dataclass(frozen=True)
class AdcCount(Knob):
    """ADCs of an array: fewer are shared by more columns. Accuracy does not depend on it.

    Args:
        values: how many.
        own: of the accelerator.
    """

    values: tuple[Any, ...]
    own: Any = None
    name: str = "adcs"
    touches_accuracy: bool = False

    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        """Return the candidate with so many ADCs."""
        return dataclasses.replace(candidate, accelerator=candidate.accelerator.replace(adcs=value))


@dataclasses.dataclass(frozen=True)
class TileSize(Knob):
    """Rows x columns of an array, of the crossbars and of the accelerator.

    Args:
        values: such as "1024x512".
        own: of the training.
    """

    values: tuple[Any, ...]
    own: Any = None
    name: str = "array"

    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        """Return the candidate with such arrays; an array of fewer columns than ADCs has one a column."""
        rows, cols = map(int, value.split("x"))
        chip, array = candidate.accelerator, {"rows": rows, "cols": cols}
        chip = chip.replace(array=array, adcs=min(chip.adcs, cols))
        return dataclasses.replace(candidate.with_layers(candidate.layers, rows=rows, cols=cols), accelerator=chip)


@dataclasses.dataclass(frozen=True)
class GMax(Knob):
    """The largest conductance that is programmed, in uS; the power of a conducting cell follows it.

    Args:
        values: in uS.
        own: of the trained hardware's device.
    """

    values: tuple[Any, ...]
    own: Any = None
    name: str = "g_max"

    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        """Return the candidate with devices of this range."""
        layers = {
            name: None if one is None else one.replace(device=dataclasses.replace(one.device, g_max=float(value)))
            for name, one in candidate.layers.items()
        }
        chip, own = candidate.accelerator, next((one for one in candidate.layers.values() if one is not None), None)
        cell = getattr(chip.energy, "cell", None)
        if isinstance(cell, Constant) and own is not None and own.device.g_max != value:
            power = cell.model_copy(update={"value": cell.value * float(value) / own.device.g_max})
            chip = chip.replace(energy=chip.energy.model_copy(update={"cell": power}))
        return Candidate(layers, chip)


def knobs_of(
    start: Candidate,
    *,
    bits: Sequence[int],
    dac_bits: Sequence[int] = (),
    adcs: Sequence[int] = (),
    arrays: Sequence[tuple[int, int]] = (),
    g_max: Sequence[float] = (),
    layers: Sequence[str] | None = None,
    digital: Sequence[str] = (),
) -> list[Knob]:
    """Return the knobs that differ in what they can be set to, those of the layers first, checked.

    Args:
        start: the hardware of the training.
        bits: of ADCs, and of DACs unless these have their own.
        dac_bits: of DACs, if they are chosen apart.
        adcs: ADCs of an array; empty: those of the accelerator, half and twice as many.
        arrays: (rows, columns); empty: as trained.
        g_max: in uS; empty: as trained.
        layers: whose bits are chosen; None: all analog layers.
        digital: layers that may be left digital.

    Raises:
        UnknownNameError: a layer is none of the analog ones.
        InvalidArgumentError: a value is out of range, or the device has no such setting.
    """
    names = list(start.layers)
    for name in (*(layers or ()), *digital):
        if name not in names:
            raise UnknownNameError("analog layer", name, names)
    chip = start.accelerator
    for width in (*bits, *dac_bits):
        chip.check_bits(width)
    if not bits:
        raise InvalidArgumentError("`bits` of design must hold at least one value. Received: none.")
    knobs: list[Knob] = []
    for name in names if layers is None else dict.fromkeys(layers):
        kinds = {"bits": bits} if not dac_bits else {"adc_bits": bits, "dac_bits": dac_bits}
        for kind, widths in kinds.items():
            own = getattr(start.layers[name], CONVERTERS[kind][-1])
            knobs.append(ConverterBits(name, _unique(widths), own, kind))
    knobs += [LayerPlace(name) for name in dict.fromkeys(digital)]
    knobs += _of_the_chip(start, adcs, arrays, g_max)
    return [knob for knob in knobs if len(knob.values) > 1 or knob.values[0] != knob.own]


def _of_the_chip(
    start: Candidate, adcs: Sequence[int], arrays: Sequence[tuple[int, int]], g_max: Sequence[float]
) -> list[Knob]:
    """Return the knobs that are not about single layers."""
    chip = start.accelerator
    knobs: list[Knob] = []
    if arrays:
        for size in arrays:
            for value in size:
                check_integer("design", "arrays", value, 1, 1 << 20)
        crossbars = {(one.rows, one.cols) for one in start.layers.values() if one is not None}
        own = next(iter(crossbars)) if crossbars == {(chip.array.rows, chip.array.cols)} else None
        sizes = _unique("x".join(map(str, size)) for size in arrays)
        knobs.append(TileSize(sizes, None if own is None else "x".join(map(str, own))))
    widest = max([cols for _, cols in arrays] or [chip.array.cols])
    for count in adcs:
        check_integer("design", "adcs", count, 1, widest)
    around = sorted({max(1, chip.adcs // 2), chip.adcs, min(2 * chip.adcs, widest)})
    knobs.append(AdcCount(_unique(adcs or around), chip.adcs))
    if g_max:
        devices = [one.device for one in start.layers.values() if one is not None]
        for device in devices:
            if not dataclasses.is_dataclass(device) or "g_max" not in {one.name for one in dataclasses.fields(device)}:
                kind = type(device).__name__
                raise InvalidArgumentError(f"The device {kind} has no `g_max` to choose. Received: g_max={g_max!r}.")
        values = _unique(check_number("design", "g_max", value, 1e-6, 1e6) for value in g_max)
        ranges = {device.g_max for device in devices}
        knobs.append(GMax(values, next(iter(ranges)) if len(ranges) == 1 else None))
    return knobs


def _unique(values: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
