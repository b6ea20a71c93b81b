"""Accelerators as data: array, converters, timing, energy and area, every constant with its unit and origin."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, WrapValidator

from analognets.core.checked import Section, check
from analognets.core.config import names_a_file, read_yaml, yaml_names
from analognets.deploy.accelerator.constants import (
    Constant,
    Gigahertz,
    Kilobyte,
    Nanoseconds,
    PerCycle,
    SquareMicrometre,
    SquareMillimetre,
)
from analognets.deploy.accelerator.energy import EnergyLaw, EventEnergy, find_energy_law
from analognets.deploy.accelerator.held import PublishedFigure
from analognets.errors import InvalidArgumentError, UnknownNameError, check_integer

__all__ = ["Accelerator", "list_accelerators", "load_accelerator"]

FOLDER = resources.files("analognets.deploy.accelerator") / "designs"
Lines = Annotated[int, Field(ge=1, le=1 << 20)]
Bits = Annotated[int, Field(ge=2, le=16)]


class Array(Section):
    """The crossbar.

    Args:
        rows: word lines.
        cols: bit lines (differential pairs).
    """

    rows: Lines
    cols: Lines


class PassTime(Section):
    """How long the converters take for one pass: settle + step x 2^(bits - 1).

    Args:
        settle: fixed part.
        step: of one level of a pulse-width DAC and a counting ADC.
    """

    settle: Nanoseconds
    step: Nanoseconds


class Digital(Section):
    """The pipeline behind the converters: im2col, scale, batch-norm, activation, pooling, SRAM.

    Args:
        clock: of the pipeline.
        lanes: results (or fetched inputs) it handles per cycle.
        macs: digital products per cycle, for layers that are not on the array.
        overlapped: whether it works while the array does; if not, the array waits for it.
    """

    clock: Gigahertz
    lanes: PerCycle
    macs: PerCycle
    overlapped: bool


class Gating(Section):
    """What is switched off where a layer does not need it.

    Args:
        rows: word-line drivers of unused rows.
        cols: converters of unused columns.
    """

    rows: bool
    cols: bool


class Area(Section):
    """Silicon area.

    Args:
        cell: of a differential pair.
        row: of a word-line driver and its DAC.
        adc: of an ADC.
        fixed: of the digital side, SRAM included, of the whole chip.
    """

    cell: SquareMicrometre
    row: SquareMicrometre
    adc: SquareMicrometre
    fixed: SquareMillimetre


def _or_law(energy: Any, check: Any) -> EnergyLaw:
    return energy if isinstance(energy, EnergyLaw) else check(energy)


class Accelerator(Section):
    """The design of a chip with one or more crossbar arrays.

    Args:
        name: what to call it.
        description: one sentence for people.
        source: where the figures come from.
        array: rows and columns of an array.
        arrays: how many it has.
        adcs: per array, at most its columns; ADC k serves the columns k, k + adcs, k + 2 adcs, ...
        arrays_at_once: "one": blocks of a layer run one after the other; "all": those on different arrays at once.
        min_bits: lowest precision of the converters.
        max_bits: highest precision of the converters.
        pass_time: of the converters.
        digital: the digital pipeline.
        gating: of unused rows and columns.
        energy: the law of its energy with its constants; an `EventEnergy` unless it names another registered law.
        held_to: published figures that these constants meet; they say how far an energy that is predicted is known.
        area: its constants.
        sram: its activation memory.

    Examples:
        >>> chip = analognets.deploy.accelerator.load_accelerator("aon_cim")
        >>> chip.array, chip.adcs
        (Array(rows=1024, cols=512), 128)
        >>> wide = chip.replace(adcs=256)
        >>> round(wide.peak_tops(8) / chip.peak_tops(8), 2)
        2.0
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, '.', '_', '-'")]
    description: str = ""
    source: str = ""
    array: Array
    arrays: Lines = 1
    adcs: Lines
    arrays_at_once: Literal["one", "all"] = "one"
    min_bits: Bits = 2
    max_bits: Bits = 8
    pass_time: PassTime
    digital: Digital
    gating: Gating
    energy: SerializeAsAny[Annotated[EventEnergy, WrapValidator(_or_law)]]
    held_to: list[PublishedFigure] = []
    area: Area
    sram: Kilobyte

    @property
    def cells(self) -> int:
        """Cells of one array."""
        return self.array.rows * self.array.cols

    def check_bits(self, bits: Any) -> int:
        """Return the precision as an int.

        Raises:
            InvalidArgumentError: its converters don't have it.
        """
        return check_integer(f"accelerator '{self.name}'", "bits", bits, self.min_bits, self.max_bits)

    def pass_ns(self, bits: int) -> float:
        """Return T_CiM, the nanoseconds of one pass: settle + step x 2^(bits - 1)."""
        return self.pass_time.settle.value + self.pass_time.step.value * 2 ** (self.check_bits(bits) - 1)

    def peak_tops(self, bits: int) -> float:
        """Return the peak throughput of one array in TOPS: 2 x rows x ADCs / T_CiM."""
        return 2 * self.array.rows * self.adcs / self.pass_ns(bits) / 1e3

    def area_mm2(self, arrays: int = 1) -> float:
        """Return the area in mm^2 with so many arrays."""
        area = self.area
        array = self.cells * area.cell.value + self.array.rows * area.row.value + self.adcs * area.adc.value
        return arrays * array / 1e6 + area.fixed.value

    def replace(self, **changes: Any) -> Accelerator:
        """Return a copy with some top-level keys changed, checked as if read from a file.

        Raises:
            InvalidArgumentError: a key does not exist or a value is not allowed.
        """
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return _checked({**own, **changes}, f"The accelerator '{self.name}' with its changes")

    def constants(self) -> dict[str, Constant]:
        """Return every constant by its dotted name."""

        def walk(section: Section, prefix: str) -> dict[str, Constant]:
            found: dict[str, Constant] = {}
            for name in type(section).model_fields:
                value = getattr(section, name)
                if isinstance(value, Constant):
                    found[prefix + name] = value
                elif isinstance(value, Section):
                    found |= walk(value, f"{prefix}{name}.")
            return found

        return walk(self, "")


def _checked(data: Any, source: str) -> Accelerator:
    if isinstance(data, dict) and "energy" in data:
        data = {**data, "energy": find_energy_law(data["energy"], source)}
    design = check(Accelerator, data, "accelerator", source=source, error=InvalidArgumentError)
    if design.adcs > design.array.cols:
        raise InvalidArgumentError(
            f"{source} is not valid: `adcs` must be at most the {design.array.cols} columns of the array. "
            f"Received: {design.adcs}."
        )
    if design.min_bits > design.max_bits:
        raise InvalidArgumentError(
            f"{source} is not valid: `min_bits` must be at most `max_bits`. Received: {design.min_bits}, "
            f"{design.max_bits}."
        )
    if design.pass_ns(design.min_bits) <= 0:
        raise InvalidArgumentError(f"{source} is not valid: `pass_time` must be longer than 0.")
    return design


def list_accelerators() -> list[str]:
    """Return the names of the accelerators that come with the package.

    Examples:
        >>> "aon_cim" in list_accelerators()
        True
    """
    return yaml_names(FOLDER)


def load_accelerator(source: Any = "aon_cim") -> Accelerator:
    """Return an accelerator.

    Args:
        source: name of one that comes with the package, path of a YAML file (anything with a "/" or ending in .yaml),
            or an `Accelerator`, which is returned as it is.

    Raises:
        UnknownNameError: there is none of that name.
        InvalidArgumentError: the file can't be read, a key is unknown or missing, or a value is not allowed.

    Examples:
        >>> chip = load_accelerator("aon_cim")
        >>> chip.array, chip.min_bits, chip.max_bits
        (Array(rows=1024, cols=512), 2, 8)
    """
    if isinstance(source, Accelerator):
        return source
    text = str(source)
    label = f"The accelerator '{text}'"
    if not names_a_file(text) and text not in list_accelerators():
        raise UnknownNameError("accelerator", text, list_accelerators(), "A file is given by its path: ./mine.yaml.")
    file = Path(text) if names_a_file(text) else FOLDER / f"{text}.yaml"
    return _checked(read_yaml(file, source=label), label)
