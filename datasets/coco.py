"""Visual Wake Words made from COCO 2014 or 2017: which picture shows a person, by the official annotation files."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analognets.core.files import open_plain
from analognets.datasets.base import DatasetInfo, TaskData, check_disjoint
from analognets.datasets.clip_cache import cache_folder
from analognets.datasets.fetch import Archive, install
from analognets.datasets.file_reader import Progress
from analognets.datasets.folders import Folders, Item, SplitRule, describe_splits, require_all, split_items
from analognets.datasets.image_folder import VWW_CLASSES, read_splits
from analognets.datasets.image_io import DEFAULT_SIZE, check_size
from analognets.datasets.notes import Notes
from analognets.errors import (
    DataError,
    MissingExtraError,
    check_choice,
    check_number,
    reason,
)

__all__ = ["ARCHIVES", "RULES", "YEARS", "download", "load_coco_vww", "shows_person"]

YEARS = (2014, 2017)
RULES = ("paper", "script")
"""Which annotations make a picture one of a person; see `shows_person`."""

_CITATION = (
    "A. Chowdhery et al., Visual Wake Words Dataset, arXiv:1906.05721 (2019); T.-Y. Lin et al., Microsoft COCO: Common "
    "Objects in Context, arXiv:1405.0312 (2014)"
)
_LICENCE = "annotations CC BY 4.0 (COCO Consortium); each picture has the licence its owner gave it on Flickr"
_URL = "http://images.cocodataset.org"

# Sizes and sha256 as TensorFlow Datasets publishes them (url_checksums/coco.txt).
ARCHIVES: dict[int, tuple[Archive, ...]] = {
    2014: (
        Archive(
            f"{_URL}/annotations/annotations_trainval2014.zip",
            "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
            252_872_794,
            "annotations",
        ),
        Archive(
            f"{_URL}/zips/val2014.zip",
            "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
            6_645_013_297,
            "val2014",
        ),
        Archive(
            f"{_URL}/zips/train2014.zip",
            "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
            13_510_573_713,
            "train2014",
        ),
    ),
    2017: (
        Archive(
            f"{_URL}/annotations/annotations_trainval2017.zip",
            "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            252_907_541,
            "annotations",
        ),
        Archive(
            f"{_URL}/zips/val2017.zip",
            "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            815_585_330,
            "val2017",
        ),
        Archive(
            f"{_URL}/zips/train2017.zip",
            "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            19_336_861_798,
            "train2017",
        ),
    ),
}


def download(
    cache_dir: Path | str | None = None,
    *,
    year: int = 2017,
    progress: Progress | None = None,
    archives: Sequence[Archive] | None = None,
) -> Path:
    """Fetch the official archives of a year (20 GB), check their sha256, unpack them, and return the folder of all.

    What is there already is not fetched again.

    Args:
        cache_dir: where to; None for $ANALOGNETS_CACHE or the system's cache folder.
        year: 2014 or 2017.
        progress: called with (bytes done, bytes in all).
        archives: what to fetch; None for the official ones.

    Raises:
        ChecksumError: an archive is not the published one.
        DataError: no network, no room on the disk, or an archive that can't be unpacked.
        InvalidArgumentError: there is no such year.
    """
    check_choice("download", "year", year, YEARS)
    target = cache_folder(cache_dir) / f"coco_{year}"
    install(ARCHIVES[year] if archives is None else archives, target, progress=progress)
    return target


def load_coco_vww(
    data_dir: Path | str | None = None,
    *,
    year: int = 2017,
    rule: str = "paper",
    min_area: float = 0.005,
    minival_ids: Path | str | None = None,
    size: int | Sequence[int] = DEFAULT_SIZE,
    fit: str = "stretch",
    validation_share: float = 0.1,
    on_corrupt: str = "error",
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return COCO's pictures as uint8 RGB, labelled by whether they show a person: the Visual Wake Words task.

    The test split is COCO's validation set; with `minival_ids` it is those pictures, and all others of both sets are
    for training, as in the Visual Wake Words paper. The validation split is cut from the training pictures by a hash of
    the file name.

    Args:
        data_dir: folder that holds annotations/instances_{train,val}<year>.json, train<year>/ and val<year>/; None for
            what `download` has put into the cache.
        year: 2014 or 2017.
        rule: "paper" or "script"; see `shows_person`.
        min_area: least area of a person as a share of the picture's, 0 to 1.
        minival_ids: text file with one image id a line (such as mscoco_minival_ids.txt of the TensorFlow models, for
            2014).
        size: pixels, 8 to 1024, one number or height and width.
        fit: "stretch" keeps all of a picture, so that no person is cut off; "crop" takes the largest middle part of the
            right shape.
        validation_share: of the training pictures, 0.01 to 0.5.
        on_corrupt: "error", or "skip" to leave out and note pictures that are missing or can't be read.
        cache_dir: where to cache what was read; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (pictures done, pictures in all).

    Raises:
        MissingExtraError: pycocotools is not installed (extra `images`).
        DataError: a folder, annotation file or picture is missing or broken.
        InvalidArgumentError: an argument is not allowed.

    Source: Chowdhery et al., arXiv:1906.05721; split by minival: the same.
    """
    owner = "load_coco_vww"
    check_choice(owner, "year", year, YEARS)
    check_choice(owner, "rule", rule, RULES)
    check_choice(owner, "on_corrupt", on_corrupt, ("error", "skip"))
    check_number(owner, "min_area", min_area, 0, 1)
    wanted = check_size(owner, size) or DEFAULT_SIZE
    split_rule = SplitRule(validation_share, split_by="file")
    root = Path(data_dir).expanduser() if data_dir is not None else cache_folder(cache_dir) / f"coco_{year}"
    notes: list[str] = []
    found = {part: _labelled(root, f"{part}{year}", rule, min_area, on_corrupt, notes) for part in ("train", "val")}
    held = _read_ids(minival_ids) if minival_ids is not None else None
    pool, test = _divide(found, held)
    if held is not None and len(test) < len(held):
        notes.append(f"{len(held) - len(test)} of the {len(held)} ids in {minival_ids} are not among the pictures.")
    folders = Folders(root, {"train": pool, "test": test}, ())
    chosen, made = split_items(folders, split_rule, what="pictures")
    missing = require_all(chosen, VWW_CLASSES, what="pictures")
    store = (cache_folder(cache_dir) if cache else None, on_corrupt, progress)
    told = Notes("pictures")
    splits, read_notes = read_splits(chosen, VWW_CLASSES, root, wanted, fit, *store, told)
    area = "box" if rule == "paper" else "segmented"
    statement = (
        f"Visual Wake Words made from COCO {year} (rule '{rule}': {area} area of a person "
        f"{'over' if rule == 'paper' else 'at least'} {100 * min_area:g} % of the picture), "
        f"{wanted[0]} x {wanted[1]} pixels: {describe_splits(splits, what='pictures')}. The test "
        f"pictures are {'the minival ids given' if held is not None else f'val{year} of COCO'}."
    )
    notes = [*notes, *missing, *told.sentences(), *read_notes]
    info = DatasetInfo(
        "coco_vww",
        str(year),
        "https://cocodataset.org",
        _LICENCE,
        _CITATION,
        " ".join([statement, *made]),
        False,
        (*notes,),
    )
    data = TaskData("coco_vww", splits["train"], splits["validation"], splits["test"], VWW_CLASSES, info=info)
    check_disjoint(data, speakers=False)
    return data


def shows_person(
    annotations: Sequence[Mapping[str, Any]],
    picture: Mapping[str, Any],
    *,
    rule: str = "paper",
    min_area: float = 0.005,
) -> bool:
    """Return whether a picture counts as one of a person.

    "paper": width x height of the box of some person > min_area x area of the picture; boxes of crowds don't count.
    "script": the annotation's own `area` (that of the outline) of some person or crowd of persons >= min_area x area of
    the picture, as the authors' published script computes it.

    Args:
        annotations: COCO annotations of the category person on this picture.
        picture: its entry in `images`, with width and height in pixels.
        rule: one of `RULES`.
        min_area: least share, 0 to 1.

    Source: Chowdhery et al., arXiv:1906.05721, section 3 (a box over 0.5 % of the image); crowds are not spoken of
    there, leaving them out is our choice. Script: build_visualwakewords_data_lib.py of the TensorFlow models.
    """
    least = min_area * picture["width"] * picture["height"]
    if rule == "script":
        return any(found["area"] >= least for found in annotations)
    return any(found["bbox"][2] * found["bbox"][3] > least for found in annotations if not found.get("iscrowd"))


def _labelled(root: Path, part: str, rule: str, min_area: float, on_corrupt: str, notes: list[str]) -> dict[int, Item]:
    """Return the labelled pictures of train2017 and the like by their id."""
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise MissingExtraError("Reading COCO's annotations", "images") from error
    path = root / "annotations" / f"instances_{part}.json"
    folder = root / part
    for needed in (path, folder):
        if not os.path.exists(needed):
            raise DataError(
                f"COCO needs a folder that holds annotations/instances_{part}.json and {part}/. Received: {root}, "
                f"which has no {needed.relative_to(root)}. Unpack the official archives there, or run `analognets data "
                "prepare coco_vww` to download them (20 GB)."
            )
    open_plain(path, "annotations", limit=1 << 31, error=DataError).close()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress
            index = COCO(str(path))
        people = index.getCatIds(catNms=["person"])
        if len(people) != 1:
            raise DataError(f"{path} knows no category 'person'. Is it an instances_*.json of COCO?")
        there = {entry.name for entry in folder.iterdir()}
        items, lost = {}, []
        for number, picture in sorted(index.imgs.items()):
            name = str(picture["file_name"])
            if name not in there:
                lost.append(name)
                continue
            boxes = [index.anns[i] for i in index.getAnnIds(imgIds=[number], catIds=people)]
            label = VWW_CLASSES[shows_person(boxes, picture, rule=rule, min_area=min_area)]
            items[int(number)] = Item(folder / name, label, f"{label}/{part}/{name}")
    except DataError:
        raise
    except Exception as error:  # pycocotools trusts its file
        raise DataError(
            f"Can't read {path} as annotations of COCO: {type(error).__name__}: {reason(error)}. Unpack the archive "
            "again."
        ) from error
    if lost:
        text = f"{len(lost)} pictures of {path.name} are not in {folder}, such as {lost[0]!r}"
        if on_corrupt == "error":
            raise DataError(f"{text}. Unpack the archive again, or pass on_corrupt='skip' to go on without them.")
        notes.append(f"{text}; they were left out.")
    return items


def _divide(
    found: Mapping[str, Mapping[int, Item]], held: set[int] | None
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    if held is None:
        return tuple(found["train"].values()), tuple(found["val"].values())
    everything = {**found["train"], **found["val"]}
    pool = tuple(item for number, item in everything.items() if number not in held)
    return pool, tuple(item for number, item in everything.items() if number in held)


def _read_ids(path: Path | str) -> set[int]:
    try:
        with open_plain(Path(path).expanduser(), limit=1 << 26, error=DataError) as file:
            return {int(line) for line in file.read().decode("utf-8").split()}
    except (OSError, ValueError) as error:
        raise DataError(
            f"minival_ids must be a text file with one image id a line. Received: {path}: {reason(error)}."
        ) from error
