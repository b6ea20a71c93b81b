"""A folder of one's own words or pictures, looked at before a network is fine-tuned on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from analognets.datasets.audio_folder import SUFFIXES as SOUND
from analognets.datasets.folders import find_classes, read_folders
from analognets.datasets.image_folder import SUFFIXES as PICTURES
from analognets.datasets.speech_layout import UNKNOWN
from analognets.errors import DataError, InvalidArgumentError

__all__ = ["OwnData", "survey"]

FEWEST = 8
"""Fewest samples of a class: two for validation, two for testing, and some to learn from."""

WORDS = {"audio": "recordings", "image": "pictures"}


class OwnData(NamedTuple):
    """What a folder holds.

    Args:
        classes: names of all classes, "silence" and "unknown" included.
        training: about how many samples there are to train on.
        dataset: name and options of the data set, as in a recipe.
    """

    classes: tuple[str, ...]
    training: int
    dataset: dict[str, Any]


def survey(data: Path, wanted: list[str] | None, *, unknown: bool = False, silence: bool = False) -> OwnData:
    """Look at a folder of one's own samples without reading a file, and refuse what can't be learned from.

    Args:
        data: with one folder a class.
        wanted: names of the folders to tell apart; None: all.
        unknown: make the other folders one class, "unknown".
        silence: add the class "silence", made from noise.

    Raises:
        InvalidArgumentError: `unknown` or `silence` does not go with the data.
        DataError: there is no such folder, a class is missing, there is one class only, or too few samples.
    """
    found = read_folders(data, (*SOUND, *PICTURES), what="recordings or pictures")
    endings = [item.path.suffix.lower() for items in found.items.values() for item in items]
    kind = "audio" if sum(ending in SOUND for ending in endings) * 2 >= len(endings) else "image"
    if kind == "image" and (unknown or silence):
        raise InvalidArgumentError("--unknown and --silence are for recordings; --data holds pictures.")
    if unknown and wanted is None:
        raise InvalidArgumentError("--unknown gathers the folders outside of --classes: give --classes, too.")
    named = find_classes(found, wanted, what=WORDS[kind])
    counts = {name: 0 for name in named}
    others = training = 0
    for split, items in found.items.items():
        for item in items:
            if item.folder in counts:
                counts[item.folder] += 1
            elif item.folder[0] != "_" or item.folder == UNKNOWN:
                others += 1
            training += split in ("", "train") and (item.folder in counts or unknown)
    made = [*(["silence"] if silence else []), *(["unknown"] if unknown else [])]
    if len(named) + len(made) < 2:
        raise DataError(
            f"At least two classes are needed to tell apart. Received: {', '.join(named) or 'none'} in '{data}'. Put "
            f"other {WORDS[kind]} into a second folder" + (", or add --silence." if kind == "audio" else ".")
        )
    few = {name: count for name, count in counts.items() if count < FEWEST}
    if unknown and others < FEWEST:
        few["unknown"] = others
    if few:
        raise DataError(
            f"Each class needs at least {FEWEST} {WORDS[kind]}, better some hundred. Received: "
            f"{', '.join(f'{count} of {name!r}' for name, count in few.items())} in '{data}'."
        )
    share = 1.0 if set(found.items) & {"validation", "test"} else 0.8
    options: dict[str, Any] = {} if wanted is None else {"classes": wanted}
    options |= {name: True for name in reversed(made)}
    return OwnData((*named, *made), max(1, int(share * training)), {"name": f"{kind}_folder", "options": options})
