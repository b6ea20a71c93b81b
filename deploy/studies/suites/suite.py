"""What a suite of networks is: members with their published files and figures, and where their data are looked for."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from analognets.errors import DataError, InvalidArgumentError, UnknownNameError

__all__ = ["Member", "Published", "Suite", "data_folders", "find_suite", "list_suites", "register_suite"]

SUITES = {"mlperf-tiny": "analognets.deploy.studies.suites.mlperf_tiny:SUITE"}
"""Name of each suite of the package, and where it is defined."""
REGISTERED: dict[str, Suite] = {}

_KEY = re.compile(r"[a-z][a-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Published:
    """A figure that others published of a network.

    Args:
        value: in percent, or an area under a curve.
        unit: "%" or "AUC".
        measured_on: which data it was measured on.

    Examples:
        >>> Published(91.6, "%", "Speech Commands v2, test archive")
        Published(value=91.6, unit='%', measured_on='Speech Commands v2, test archive')
    """

    value: float
    unit: str
    measured_on: str

    def __str__(self) -> str:
        return f"{self.value:g} %" if self.unit == "%" else f"{self.unit} {self.value:g}"


@dataclasses.dataclass(frozen=True)
class Member:
    """One network of a suite.

    Args:
        key: short name: small letters, digits and "_".
        title: what it does and which network it is.
        model: name of the file with the float network: .keras, .h5 or a SavedModel of Keras 2.
        int8: name of its int8 .tflite file; None if there is none.
        recipe: name or path of the recipe that fine-tunes it; None: it is converted and its cost computed, no more.
        no_data: why nothing of it is measured, one sentence; for members without a recipe.
        places: pairs of a folder below the one that the user names, and of what it holds if it is the right one.
        float_figure: what was published of the float network.
        int8_figure: what was published of the int8 network.
        target: what the suite demands.
        stand_in: what to say where a figure from these data stands; "" if they are those of the suite.
        overrides: changes of the recipe by bits, such as {4: ("hardware_aware.epochs=8",)}.
        weights: the option of the recipe's model that takes the path of the float network.

    Examples:
        >>> member = Member("mine", "My network", model="mine.keras", no_data="Nothing is measured.")
        >>> member.key, member.int8 is None
        ('mine', True)
    """

    key: str
    title: str
    model: str
    int8: str | None = None
    recipe: str | None = None
    no_data: str = ""
    places: tuple[tuple[str, str], ...] = ()
    float_figure: Published | None = None
    int8_figure: Published | None = None
    target: str = ""
    stand_in: str = ""
    overrides: Mapping[int, Sequence[str]] = dataclasses.field(default_factory=dict)
    weights: str = "weights"

    def data_folder(self, roots: Sequence[Path]) -> Path | None:
        """Return the folder of its data in one of several, the first that holds what it must."""
        for root in roots:
            for below, holds in self.places:
                if os.path.exists(root / below / holds):
                    return root / below
        return None


@dataclasses.dataclass(frozen=True)
class Suite:
    """Networks that are compared in one table.

    Args:
        name: to call it by.
        title: of the table.
        source: where the files are from, with their licence.
        members: its networks, each with a key of its own.
        locate: function of (file name, folder or None) that returns the path of a published file.
        official: function of a path that says whether the file is the published one, by its sha256.
        hardware: name of the hardware preset with "{bits}" in it.
        accelerator: whose time and energy are taken.

    Raises:
        InvalidArgumentError: two members have one key, or a key is not allowed.

    Examples:
        >>> suite = find_suite("mlperf-tiny")
        >>> suite.title, [member.key for member in suite.members]
        ('MLPerf Tiny on an analog chip', ['ic', 'kws', 'vww', 'ad', 'sww'])
        >>> suite.member("kws").int8
        'kws_ref_model.tflite'
    """

    name: str
    title: str
    source: str
    members: tuple[Member, ...]
    locate: Callable[[str, Path | None], Path]
    official: Callable[[Path], bool] = lambda path: False
    hardware: str = "aon_cim_{bits}bit"
    accelerator: str = "aon_cim"

    def __post_init__(self) -> None:
        keys = [member.key for member in self.members]
        if not keys or len({*keys}) < len(keys) or not all(_KEY.fullmatch(key) for key in keys):
            raise InvalidArgumentError(
                "Members of a suite have keys of small letters, digits and '_', each its own. Received: "
                f"{', '.join(map(repr, keys)) or 'none'}."
            )

    def member(self, key: str) -> Member:
        """Return the member of a key.

        Raises:
            UnknownNameError: there is none.
        """
        keys = {member.key: member for member in self.members}
        if key not in keys:
            raise UnknownNameError(f"member of {self.name}", key, keys)
        return keys[key]


def register_suite(suite: Suite) -> Suite:
    """Make a suite known by its name in this process.

    Raises:
        InvalidArgumentError: another suite has its name.

    Examples:
        >>> member = Member("cnn", "My network", "mine.keras", no_data="Nothing is measured.")
        >>> suite = register_suite(Suite("house", "My networks", "ours", (member,), lambda name, folder: folder / name))
        >>> suite.name in list_suites()
        True
    """
    if suite.name in SUITES or REGISTERED.get(suite.name, suite) is not suite:
        raise InvalidArgumentError(f"Another suite is called so. Received: {suite.name!r}.")
    REGISTERED[suite.name] = suite
    return suite


def list_suites() -> list[str]:
    """Return the names of all suites.

    Examples:
        >>> "mlperf-tiny" in list_suites()
        True
    """
    return [*SUITES, *REGISTERED]


def find_suite(name: str) -> Suite:
    """Return a suite by its name; "_" counts as "-".

    Raises:
        UnknownNameError: there is none.

    Examples:
        >>> find_suite("mlperf_tiny").title
        'MLPerf Tiny on an analog chip'
    """
    import importlib

    if name in REGISTERED:
        return REGISTERED[name]
    plain = name.replace("_", "-")
    if plain not in SUITES:
        raise UnknownNameError("suite", name, list_suites())
    module, _, attribute = SUITES[plain].partition(":")
    found: Suite = getattr(importlib.import_module(module), attribute)
    return found


def data_folders(suite: Suite, named: Sequence[str | Path]) -> dict[str, Path]:
    """Return the folder of data by member, as far as there is one.

    Args:
        suite: whose members need data.
        named: folders; "KEY=DIR" gives one member's own.

    Raises:
        UnknownNameError: a key is none of the suite's.
        DataError: a folder does not exist, or holds no data of any member.
    """
    own: dict[str, Path] = {}
    roots: list[Path] = []
    for entry in map(str, named):
        key, equals, place = entry.partition("=")
        if equals and not os.path.isdir(entry):
            own[suite.member(key).key] = existing(place)
            continue
        roots.append(existing(entry))
        if not any(member.data_folder(roots[-1:]) for member in suite.members):
            raise DataError(f"'{roots[-1]}' holds no data of {suite.name}. It looks for {wanted(suite)}.")
    found = {member.key: member.data_folder(roots) for member in suite.members if member.recipe}
    return {**{key: path for key, path in found.items() if path is not None}, **own}


def existing(folder: str) -> Path:
    """Return the path of a folder of data.

    Raises:
        DataError: it does not exist.
    """
    path = Path(folder).expanduser()
    if not os.path.isdir(path):
        raise DataError(f"There is no folder of data '{path}'. Name one that exists with --data.")
    return path


def wanted(suite: Suite) -> str:
    """Return what data folders of a suite hold, in words."""
    said = []
    for member in suite.members:
        entries = dict.fromkeys(f"{below}/{holds}" if below else holds for below, holds in member.places)
        if entries:
            said.append(f"{' or '.join(entries)} ({member.key})")
    return "; ".join(said) or "none"
