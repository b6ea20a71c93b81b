"""The open files that go to a lab and come back: their index as checked data, with a published JSON schema."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from analognets.core.checked import Section, checking_file, is_none
from analognets.core.files import MAX_JSON, read_plain, recover
from analognets.errors import ChipFileError

__all__ = [
    "INDEX",
    "MEASURED",
    "SCHEMA",
    "Handover",
    "Measurements",
    "json_schema",
    "read_index",
    "read_measurements",
    "schema_text",
    "write_schema",
]

INDEX, MEASURED, SCHEMA = "index.json", "measured.json", "handover.schema.json"

Count = Annotated[int, Field(ge=0, le=1 << 40)]
Lines = Annotated[int, Field(ge=1, le=1 << 20)]
Positive = Annotated[float, Field(gt=0)]
Span = Annotated[tuple[Count, Count], Field(description="first and end: the end is not included")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1)]
Table = Annotated[
    list[list[Positive]],
    Field(min_length=1, description="for each row block one number per column block or per column"),
]


class Chip(Section):
    """The hardware the targets are for.

    Args:
        crossbar: name of the crossbar that the network was made for.
        accelerator: name of the chip whose arrays the tiles are placed on.
        device: class of the memory cell.
        g_max_us: largest conductance of a polarity in uS, over all its devices.
        devices_per_polarity: how many devices share the conductance of a polarity.
        rows: word lines of an array.
        cols: bit lines of an array (differential pairs).
        arrays: how many arrays the tiles take.
        adcs: converters of an array; converter k serves the columns k, k + adcs, k + 2 adcs, ...
        pass_ns: time of one pass in ns; null if the accelerator does not have this precision.
    """

    crossbar: str
    accelerator: str
    device: Name
    g_max_us: Positive
    devices_per_polarity: Lines
    rows: Lines
    cols: Lines
    arrays: Lines
    adcs: Lines
    pass_ns: Positive | None


class Dac(Section):
    """The row converters of a layer: level = round(clip(x, -range, range) / step).

    Args:
        bits: resolution, or null for an ideal converter.
        range: full scale in the unit of the layer's input.
        step: of one level, in the same unit; null for an ideal converter.
    """

    bits: Lines | None
    range: Positive
    step: Positive | None


class Adc(Dac):
    """The column converters of a layer; range and step are in the unit of the layer's output.

    Args:
        bits: resolution, or null for an ideal converter.
        range: full scale.
        step: of one level; null for an ideal converter.
        gain: S, full scale in units of one full input on one full weight.
        full_scale_us: sum of G x (input / DAC range) over a column that is full scale, in uS: S x g_max.
    """

    gain: Positive
    full_scale_us: Positive


class Adapter(Section):
    """A low-rank adapter beside the array, computed digitally.

    result + scale x (product of the inputs with A B, of the kind that the kernel is multiplied with)

    Args:
        a: name of A in the digital file, (..., inputs, rank).
        b: name of B there, (rank, outputs).
        scale: of the product.
    """

    a: Name
    b: Name
    scale: float


class Layer(Section):
    """One analog layer: what its converters are set to and how a result becomes a number of the network.

    Args:
        name: of the layer.
        kind: class of the layer.
        kernel_shape: (..., inputs, outputs) as it lies on the crossbar.
        weight_max: gamma; weight = (G+ - G-) x weight_max / g_max.
        dac: row converters.
        adc: column converters.
        row_blocks: ranges of input channels whose results are converted one by one and summed digitally.
        col_blocks: ranges of outputs that one drift-compensation scalar serves.
        target_readout: drift-compensation read-out of the targets, for each row block one number per column block or
            per column, in units of weight_max.
        adapter: what is added to the summed results, in front of the bias; left out if there is none.
        bias: name of its bias in the digital file, or null.
        activation: function behind the bias, by its name in Keras; left out if there is none.
        followed_by: names of the layers that read its output, where that is known.
    """

    name: Name
    kind: Name
    kernel_shape: list[Lines]
    weight_max: Positive
    dac: Dac
    adc: Adc
    row_blocks: list[Span]
    col_blocks: list[Span]
    target_readout: Table
    bias: str | None
    followed_by: list[str]
    adapter: Annotated[Adapter | None, Field(exclude_if=is_none)] = None
    activation: Annotated[str | None, Field(exclude_if=is_none)] = None


class Tile(Section):
    """A block of cells and its file: an array (2 polarities, devices a polarity, rows, cols) in uS, G+ first.

    Args:
        name: of the tile.
        file: path below the folder of the index.
        sha256: of the file.
        layer: whose weights it holds.
        row_block: number of the row block it belongs to.
        array: number of the array it lies on.
        row: its first word line.
        col: its first bit line.
        rows: word lines; row = kernel position x input channels of the tile + input channel.
        cols: bit lines, one an output.
        inputs: range of input channels.
        outputs: range of outputs.
    """

    name: Name
    file: Name
    sha256: Sha256
    layer: Name
    row_block: Count
    array: Count
    row: Count
    col: Count
    rows: Lines
    cols: Lines
    inputs: Span
    outputs: Span


class Step(Section):
    """One layer's turn in an inference; turns follow each other.

    Args:
        layer: which.
        tiles: its tiles in the order in which they are read.
        positions: input vectors.
        passes: over all tiles: positions x sum of ceil(cols / adcs).
        start_ns: when it starts; null if the time of a pass is not known.
        time_ns: how long it takes.
    """

    layer: Name
    tiles: list[Name]
    positions: Count
    passes: Count
    start_ns: float | None
    time_ns: float | None


class Digital(Section):
    """What stays digital: a copy of every variable of the network but the kernels that are programmed.

    Args:
        file: a safetensors file.
        sha256: of the file.
        variables: shape of each variable by its name: biases, batch-norms, digital layers, converter ranges.
        statement: in words.
    """

    file: Name
    sha256: Sha256
    variables: dict[str, list[Count]]
    statement: str


class Compensation(Section):
    """Global drift compensation: alpha = read-out after programming / read-out now, one scalar a tile of a layer.

    Args:
        readout: "one_hot": the mean |weight| over all one-hot inputs; "all_ones": the mean |column sum| for ones.
        floor: smallest read-out, in units of weight_max.
        reference_seconds: when the reference is read, in seconds since programming.
    """

    readout: Literal["one_hot", "all_ones"]
    floor: Positive
    reference_seconds: Annotated[float, Field(ge=0)]


class CompensationRule(Section):
    """Drift compensation by another rule than the global one.

    Args:
        rule: registered name of its class.
        settings: of the rule.
        statement: what the rule does, in words.
        reference_seconds: when the reference is read, in seconds since programming.
    """

    rule: Name
    settings: dict[str, pydantic.JsonValue]
    statement: str
    reference_seconds: Annotated[float, Field(ge=0)]


class Handover(Section):
    """The index of a folder of target conductances.

    Args:
        format: of these files.
        analognets: version that wrote them.
        model: name of the network.
        fingerprint: sha256 of the kernels.
        chip: the hardware.
        layers: in order of the network's analog layers.
        tiles: where they lie and their files.
        schedule: of one inference.
        drift_compensation: or null without.
        digital: what stays digital.
        statement: what lies where, in words.
        about: how to read all this.
    """

    format: Literal[1]
    analognets: str
    model: str
    fingerprint: Sha256
    chip: Chip
    layers: Annotated[list[Layer], Field(min_length=1)]
    tiles: Annotated[list[Tile], Field(min_length=1)]
    schedule: list[Step]
    drift_compensation: Compensation | CompensationRule | None
    digital: Digital
    statement: str
    about: list[str]


class MeasuredFile(Section):
    """A measured tile, laid out as its target.

    Args:
        file: path below the folder of the index.
        sha256: of the file, or null if it was not taken.
    """

    file: Name
    sha256: Sha256 | None = None


class Measurement(Section):
    """One reading of a whole chip.

    Args:
        seconds: since programming.
        tiles: files by name of the tile; every tile.
    """

    seconds: Annotated[float, Field(ge=0, le=1e12)]
    tiles: dict[str, MeasuredFile]


class MeasuredDie(Section):
    """One chip of the lab.

    Args:
        number: of the chip.
        reference: drift-compensation read-out right after programming by name of the layer; "targets": what the targets
            would give; "first_reading": that of its first reading.
        readings: at least one.
    """

    number: Count
    reference: Literal["targets", "first_reading"] | dict[str, Table] = "targets"
    readings: Annotated[list[Measurement], Field(min_length=1)]


class Measurements(Section):
    """The index of what a lab measured, beside the index of the targets.

    Args:
        format: of these files.
        fingerprint: of the targets' index: which network was programmed.
        chips: at least one.
    """

    format: Literal[1]
    fingerprint: Sha256
    chips: Annotated[list[MeasuredDie], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of both indexes, as it is published beside this module."""
    schema = pydantic.RootModel[Handover | Measurements].model_json_schema()
    title = "analognets hand-over: index.json (target conductances) and measured.json (measured ones)"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def schema_text() -> str:
    """Return the published schema file."""
    return (resources.files("analognets.deploy.lab") / SCHEMA).read_text("utf-8")


def read_index(folder: Path) -> Handover:
    """Read the index of a folder of targets.

    Raises:
        ChipFileError: it is missing or not valid.
    """
    hint = "Make such a folder with chips.export_targets(folder)."
    return _checked(Handover, folder / INDEX, hint)


def read_measurements(folder: Path) -> Measurements | None:
    """Read what was measured, or return None if nothing was yet.

    Raises:
        ChipFileError: it is not valid.
    """
    return _checked(Measurements, folder / MEASURED, "") if os.path.exists(folder / MEASURED) else None


def _checked(kind: Any, path: Path, hint: str) -> Any:
    recover(path.parent.absolute())
    if not os.path.exists(path):
        raise ChipFileError(f"'{path}' can't be read: No such file or directory. {hint}".rstrip())
    content = read_plain(path, "hand-over index", limit=MAX_JSON, error=ChipFileError, hint=hint)
    with checking_file(f"'{path}' is not valid", ChipFileError, f"Its rules are in '{SCHEMA}'."):
        return kind.model_validate_json(content)


def write_schema(path: Path) -> None:
    """Write the schema file; the published one is made by this."""
    path.write_text(json.dumps(json_schema(), indent=1) + "\n", "utf-8")
