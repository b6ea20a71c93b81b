"""Synthetic persons: drawn scenes with and without a person, for machines without the data of Visual Wake Words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL

from analognets.core.provenance import json_sha256
from analognets.core.seeds import generator
from analognets.datasets.base import DatasetInfo, Split, TaskData
from analognets.datasets.clip_cache import ClipCache, cache_folder
from analognets.datasets.drawn_scenes import draw_scene
from analognets.datasets.file_reader import Progress
from analognets.datasets.folders import SPLITS, describe_splits
from analognets.datasets.image_folder import KEEP, VWW_CLASSES
from analognets.errors import check_integer

__all__ = ["load_synthetic_persons"]

_RECIPE = "synthetic_persons 2"
_BLOCK = 128


def load_synthetic_persons(
    *,
    pictures_per_class: int = 1500,
    held_out_per_class: int | None = None,
    size: int = 96,
    seed: int = 0,
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return drawn scenes as uint8 RGB, with and without a person in them; always labelled synthetic.

    See `analognets.datasets.drawn_scenes.draw_scene` for what is drawn.

    Args:
        pictures_per_class: training pictures of each class, 1 to 50000.
        held_out_per_class: validation pictures and, as many again, test pictures of each class, 1 to 50000; None for a
            quarter of `pictures_per_class`.
        size: height and width in pixels, 16 to 512.
        seed: 0 to 2^32 - 1; the same seed gives the same pictures with the same packages.
        cache_dir: where to keep the pictures; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (pictures done, pictures in all).

    Raises:
        InvalidArgumentError: an argument is not allowed.

    Source: our own; what is drawn follows no photographs.
    """
    owner = "load_synthetic_persons"
    train = check_integer(owner, "pictures_per_class", pictures_per_class, 1, 50_000)
    held = max(1, train // 4) if held_out_per_class is None else held_out_per_class
    held = check_integer(owner, "held_out_per_class", held, 1, 50_000)
    check_integer(owner, "size", size, 16, 512)
    check_integer(owner, "seed", seed, 0, 2**32 - 1)
    store = ClipCache(cache_folder(cache_dir) / "pictures", KEEP, (size, size, 3), "|u1") if cache else None
    counts = dict(zip(SPLITS, (2 * train, 2 * held, 2 * held), strict=True))
    splits: dict[str, Split] = {}
    notes: list[str] = []
    done = 0
    for name, count in counts.items():

        def report(now: int, before: int = done) -> None:
            if progress:
                progress(before + now, sum(counts.values()))

        pictures, trouble = _pictures(name, count, size, seed, store, report)
        done += count
        notes += [trouble] if trouble else []
        labels = np.arange(count, dtype=np.int32) % 2
        names = tuple(f"{VWW_CLASSES[label]}/{name}_{seed}_{i:05d}" for i, label in enumerate(labels))
        splits[name] = Split(pictures, labels, names)
    statement = (
        f"Synthetic: drawn scenes with and without a person, {size} x {size} pixels; no photograph is in it. "
        f"{describe_splits(splits, what='pictures')}. Accuracy on it says nothing about photographs."
    )
    info = DatasetInfo(
        "synthetic_persons",
        _RECIPE.split()[1],
        "",
        "generated on this machine",
        "this package",
        statement,
        True,
        (*notes,),
    )
    return TaskData(info.name, splits["train"], splits["validation"], splits["test"], VWW_CLASSES, info=info)


def _pictures(
    split: str, count: int, size: int, seed: int, store: ClipCache | None, report: Callable[[int], None]
) -> tuple[np.ndarray, str]:
    """Return the pictures of a split, from the cache if they are there, and a note if the cache is at fault."""
    key = json_sha256([_RECIPE, np.__version__, PIL.__version__, split, count, size, seed])[:24]
    found, damage = store.load(key, count) if store else (None, "")
    if found:
        report(count)
        return found.rows, ""
    trouble = ""
    if store:
        kept, trouble = store.store(key, count, _blocks(split, count, size, seed, report), {}, {})
        if kept is not None:
            return kept, damage
    return np.concatenate(list(_blocks(split, count, size, seed, report))), trouble


def _blocks(split: str, count: int, size: int, seed: int, report: Callable[[int], None]) -> Iterator[np.ndarray]:
    for first in range(0, count, _BLOCK):
        numbers = range(first, min(first + _BLOCK, count))
        yield np.stack([draw_scene(bool(i % 2), size, generator(seed, "persons", split, str(i))) for i in numbers])
        report(numbers.stop)
