"""The files of a preset, read without trusting them: names, sizes, checksums, JSON, tensors and zip archives."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from analognets.core.checked import Section, checking_file
from analognets.core.files import json_of, make_folder, new_folder, read_plain
from analognets.core.provenance import sha256_of
from analognets.core.tensors import tensors_of
from analognets.errors import AnalogNetsError, ChecksumError, PresetError, reason

__all__ = [
    "CARD", "FORMAT", "GOLDEN", "INDEX", "RECIPE", "RESULTS", "WEIGHTS", "Accuracy", "Architecture", "PresetRecord",
    "StoredFile", "archived_index", "check_file", "pack", "read_archive", "read_file", "read_record", "read_tensors",
    "tensors_in", "unpack",
]  # fmt: skip

FORMAT: Literal[1] = 1
INDEX = "preset.json"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.safetensors"
RECIPE = "recipe.yaml"
RESULTS = "results.csv"
CARD = "README.md"

MAX_INDEX = 16 * 2**20
MAX_TEXT = 4 * 2**20
MAX_PRESET = 2 * 2**30
MAX_MEMBERS = 64
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LIMITS = {INDEX: MAX_INDEX, RECIPE: MAX_TEXT, RESULTS: MAX_TEXT, CARD: MAX_TEXT}


class StoredFile(Section):
    """What preset.json says about another file.

    Args:
        sha256: checksum in hexadecimal.
        bytes: size.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=MAX_PRESET)]


class Architecture(Section):
    """How the network is built again.

    Args:
        kind: "zoo": by a function of this package, with the recipe's options; "keras": from a Keras config.
        name: of the function, or of the model.
        input_shape: of one sample of features; None for several inputs.
        config: the Keras config.
    """

    kind: Literal["zoo", "keras"]
    name: str
    input_shape: list[int | None] | None = None
    config: dict[str, JsonValue] | None = None


class Accuracy(Section):
    """Shares of right answers.

    Args:
        digital: of this preset with its converters taken out and no chip.
        reference: of the float network that the losses in results.csv are measured against.
        split: of the data they were measured on.
        samples: how many.
    """

    digital: float | None = None
    reference: float | None = None
    split: str = "test"
    samples: int | None = None


class PresetRecord(Section):
    """The content of preset.json.

    Args:
        format: version of this layout.
        name: of the preset.
        description: one sentence.
        architecture: how the network is built again.
        classes: names; the position is the label.
        frontend: Keras config of the layer that makes features, or None.
        hardware: Keras config of the crossbar, or None for a digital network.
        hardware_by_layer: what lies where, if layers lie on different crossbars; the configs are in the architecture.
        weight_noise: eta of the training noise.
        exempt: layers that stayed digital by request.
        calibrated: whether the converter ranges are set.
        parameters: weights and other variables of the network.
        precision: how kernels (two axes and more) and all other variables are stored.
        accuracy: of the network.
        data: what it was trained and measured on, its licence and statement.
        origin: recipe fingerprint, seed, code and versions it was made with.
        files: every other file.
    """

    format: Literal[1]
    name: Annotated[str, Field(pattern=rf"^{PLAIN_NAME.pattern}$")]
    description: str = ""
    architecture: Architecture
    classes: list[str] = []
    frontend: dict[str, JsonValue] | None = None
    hardware: dict[str, JsonValue] | None = None
    hardware_by_layer: Annotated[str, Field(exclude_if="".__eq__)] = ""
    weight_noise: float = 0.0
    exempt: list[str] = []
    calibrated: bool = False
    parameters: int
    precision: dict[str, str]
    accuracy: Accuracy = Accuracy()
    data: dict[str, JsonValue] = {}
    origin: dict[str, JsonValue] = {}
    files: dict[str, StoredFile]


def check_file(folder: Path, name: str, *, root: Path | None = None) -> Path:
    """Return the path of a file of a preset, if it is one and no larger than such a file may be.

    Args:
        folder: the preset.
        name: of the file, without any folder.
        root: where a link may lead to; the folder itself by default.

    Raises:
        PresetError: the name leads elsewhere, or the file is missing, no plain file or too large.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise PresetError(
            f"A preset holds plain file names only (letters, digits, '.', '_' and '-'). Received: {name!r} in "
            f"'{folder}', which is refused."
        )
    path = folder / name
    try:
        real = path.resolve(strict=True)
        size = real.stat()
    except (OSError, RuntimeError):
        raise PresetError(f"The preset '{folder}' holds no {name}. Download or save it again.") from None
    if not real.is_relative_to((root or folder).resolve()) or (root is None and path.is_symlink()):
        raise PresetError(f"'{path}' is a link that leads out of the preset. Received: a link to '{real}', refused.")
    if not stat.S_ISREG(size.st_mode):
        raise PresetError(f"'{path}' must be a plain file. Received: a folder or device.")
    limit = LIMITS.get(name, MAX_PRESET)
    if size.st_size > limit:
        raise PresetError(f"'{path}' may have at most {limit:,} bytes. Received: {size.st_size:,} bytes.")
    return path


def read_record(
    folder: Path, *, root: Path | None = None, verify: bool = True, sha256: str | None = None
) -> PresetRecord:
    """Return what preset.json holds, after checking it and the files it names.

    Args:
        folder: the preset.
        root: where links of the files may lead to.
        verify: also check the sha256 of all files.
        sha256: that preset.json must have.

    Raises:
        PresetError: something is missing, changed, unsafe or of another version.
        ChecksumError: preset.json has another sha256.
    """
    path = folder / INDEX
    content = read_file(folder, INDEX, root=root)
    if sha256 is not None and sha256_of(content) != sha256.lower():
        found = sha256_of(content)
        raise ChecksumError(f"{INDEX} in '{folder}' must have the sha256 {sha256}. Received: {found}.")
    record = parse_record(content, path)
    for name, stored in record.files.items():
        place = check_file(folder, name, root=root)
        if place.stat().st_size != stored.bytes:
            raise PresetError(
                f"'{place}' is not the file that was saved: it was cut short or changed (sha256 differs from "
                f"{INDEX}). Download or save the preset again."
            )
        if verify:
            read_file(folder, name, root=root, stored=stored)
    return record


def parse_record(content: bytes, path: Path) -> PresetRecord:
    """Return what the content of a preset.json says.

    Raises:
        PresetError: it is not valid, or of another version.
    """
    raw = json_of(content, path, "preset's description", error=PresetError, finite=True, hint="Download it again.")
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] != FORMAT:
        raise PresetError(
            f"'{path.parent}' has preset format {raw['format']}, this version reads {FORMAT}. Use the version of "
            "analognets it was made with, or a newer one."
        )
    with checking_file(f"'{path}' is not the description of a preset", PresetError):
        record = PresetRecord.model_validate(raw)
    for name in (WEIGHTS, GOLDEN, RESULTS, CARD):
        if name not in record.files:
            raise PresetError(f"'{path}' names no {name}, which every preset has. Save the preset again.")
    total = sum(stored.bytes for stored in record.files.values())
    if total > MAX_PRESET:
        raise PresetError(f"A preset may have at most {MAX_PRESET:,} bytes. Received: '{path.parent}' with {total:,}.")
    return record


def read_file(
    folder: Path, name: str, *, root: Path | None = None, stored: StoredFile | None = None, sha256: str | None = None
) -> bytes:
    """Return the content of a file of a preset; what is checked is what is returned.

    Args:
        folder: the preset.
        name: of the file.
        root: where a link may lead to.
        stored: what preset.json says of the file, to be checked again.
        sha256: that it must have.

    Raises:
        PresetError: the file is missing, unsafe or changed.
    """
    path = check_file(folder, name, root=root)
    content = read_plain(path, "file", limit=LIMITS.get(name, MAX_PRESET), error=PresetError)
    wanted = stored.sha256 if stored is not None else sha256
    if wanted is not None and sha256_of(content) != wanted:
        raise PresetError(
            f"'{path}' is not the file that was saved: it was cut short or changed (sha256 differs from "
            f"{INDEX}). Download or save the preset again."
        )
    return content


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file whose header was checked first.

    Raises:
        PresetError: the header is too long or not of this format, or an array holds NaN or infinity.
    """
    return tensors_in(read_plain(path, "file", limit=MAX_PRESET, error=PresetError), path)


def tensors_in(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """Return the arrays in the content of a file of a preset; see `read_tensors`."""
    return tensors_of(content, path, PresetError, hint="Download or save the preset again.")


def pack(folder: Path, archive: Path) -> None:
    """Write a preset as one .zip, for a web server; equal presets give equal files."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, path.read_bytes())


def unpack(archive: Path, target: Path, *, content: bytes | None = None) -> None:
    """Unpack a preset's .zip into the new folder `target`, which appears only when all of it is there.

    The files stand at the top of the archive or in one folder of it.

    Args:
        archive: the .zip.
        target: new folder.
        content: of the archive, if it was read already.

    Raises:
        PresetError: it is no zip, holds too much, or a member that is no plain file with a plain name.
    """
    content = read_archive(archive) if content is None else content
    make_folder(target.parent, "folder of presets", error=PresetError)
    with (
        new_folder(target, "files of the preset", PresetError, place=_first_come) as draft,
        _opened(archive, content) as (source, members),
    ):
        for name, member in members.items():
            with source.open(member) as data, (draft / name).open("xb") as file:
                _copy(archive, data, file, member.file_size)


def read_archive(archive: Path) -> bytes:
    """Return the content of a .zip.

    Raises:
        PresetError: it is no plain file, or too large.
    """
    return read_plain(archive, "archive", limit=MAX_PRESET, error=PresetError)


def archived_index(archive: Path, content: bytes) -> bytes:
    """Return the preset.json in the content of a preset's .zip.

    Raises:
        PresetError: there is none.
    """
    with _opened(archive, content) as (source, members):
        if INDEX not in members:
            raise PresetError(f"'{archive}' holds no {INDEX}, so it is no preset.")
        return source.read(members[INDEX])


def _first_come(draft: Path, target: Path) -> None:
    """Leave what another process unpacked in the meantime: it is the same."""
    try:
        draft.rename(target)
    except OSError:
        if not target.exists():
            raise


@contextlib.contextmanager
def _opened(archive: Path, content: bytes) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Yield an archive and its checked members by their plain names."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as source:
            members = [member for member in source.infolist() if not member.is_dir()]
            top = {member.filename.partition("/")[0] for member in members}
            folder = top.pop() if len(top) == 1 and "/" in members[0].filename else ""
            inside = f"{folder}/" if PLAIN_NAME.fullmatch(folder) else ""
            _check_members(archive, members, inside)
            yield source, {member.filename.removeprefix(inside): member for member in members}
    except AnalogNetsError:
        raise
    except Exception as error:  # zipfile and the decoders below it each have errors of their own
        raise PresetError(f"'{archive}' can't be unpacked: {reason(error)}. Download it again.") from None


def _check_members(archive: Path, members: list[zipfile.ZipInfo], inside: str) -> None:
    total = sum(member.file_size for member in members)
    if not members or len(members) > MAX_MEMBERS or total > MAX_PRESET:
        raise PresetError(
            f"A preset's archive may hold 1 to {MAX_MEMBERS} files of {MAX_PRESET:,} bytes in all. Received: "
            f"'{archive}' with {len(members)} files of {total:,} bytes."
        )
    names = [member.filename.removeprefix(inside) for member in members]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PresetError(f"'{archive}' holds {twice!r} more than once. It is refused.")
    for name, member in zip(names, members, strict=True):
        mode = member.external_attr >> 16
        if not PLAIN_NAME.fullmatch(name) or (mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise PresetError(
                f"A preset's archive may hold plain files with plain names only. Received: {member.filename!r} in "
                f"'{archive}', which is refused."
            )
        if member.file_size > LIMITS.get(name, MAX_PRESET):
            raise PresetError(f"'{archive}' holds {name} with {member.file_size:,} bytes, which is too much.")


def _copy(archive: Path, data: Any, file: Any, size: int) -> None:
    """Copy what the archive's list of members says, and refuse more: the list may lie."""
    left = size
    while piece := data.read(1 << 20):
        left -= len(piece)
        if left < 0:
            raise PresetError(f"'{archive}' holds more than its list of files says. It is refused.")
        file.write(piece)
