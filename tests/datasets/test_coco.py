"""Visual Wake Words from annotation files in COCO's format, on a tiny data set drawn here."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analognets.datasets import coco
from analognets.datasets.coco import load_coco_vww, shows_person
from analognets.datasets.fetch import Archive
from analognets.datasets.registry import load_dataset
from analognets.errors import DataError, InvalidArgumentError, MissingExtraError

pytest.importorskip("pycocotools")

WIDTH, HEIGHT = 100, 50  # 0.5 % of it is an area of 25
PERSON, DOG = 1, 18


def box(
    width: float, height: float, *, kind: int = PERSON, crowd: int = 0, area: float | None = None
) -> dict[str, Any]:
    found = {"bbox": [3, 4, width, height], "category_id": kind, "iscrowd": crowd}
    return {**found, "area": width * height if area is None else area, "segmentation": []}


KINDS: dict[str, tuple[list[dict[str, Any]], bool, bool]] = {  # annotations; a person by "paper"?; by "script"?
    "nothing": ([], False, False),
    "dog": ([box(50, 40, kind=DOG)], False, False),
    "person": ([box(20, 40)], True, True),
    "far": ([box(4, 6)], False, False),
    "limit": ([box(5, 5)], False, True),
    "thin": ([box(10, 10, area=20)], True, False),
    "crowd": ([box(50, 40, crowd=1)], False, True),
    "both": ([box(50, 40, kind=DOG), box(4, 6), box(6, 6)], True, True),
}


def build(root: Path, year: int = 2017, copies: tuple[int, int] = (5, 2)) -> Path:
    """Write train and val with so many pictures of every kind."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    number = 0
    for part, count in zip(("train", "val"), copies, strict=True):
        images, annotations = [], []
        (root / f"{part}{year}").mkdir()
        for kind in [*KINDS] * count:
            number += 1
            name = f"{number:012d}.jpg" if year == 2017 else f"COCO_{part}{year}_{number:012d}.jpg"
            shade = np.full((HEIGHT, WIDTH, 3), 10 * (number % 25), np.uint8)
            Image.fromarray(shade).save(root / f"{part}{year}" / name, quality=95)
            images.append({"id": number, "width": WIDTH, "height": HEIGHT, "file_name": name, "flickr_url": kind})
            for found in KINDS[kind][0]:
                annotations.append({**found, "id": len(annotations) + 1, "image_id": number})
        categories = [{"id": PERSON, "name": "person"}, {"id": DOG, "name": "dog"}]
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{part}{year}.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return build(tmp_path / "coco")


def kinds(root: Path, year: int = 2017) -> dict[str, str]:
    found = {}
    for part in ("train", "val"):
        content = json.loads((root / "annotations" / f"instances_{part}{year}.json").read_text())
        found |= {image["file_name"]: image["flickr_url"] for image in content["images"]}
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", coco.RULES)
def test_the_rule(kind: str, rule: str) -> None:
    annotations, paper, script = KINDS[kind]
    people = [found for found in annotations if found["category_id"] == PERSON]
    wanted = paper if rule == "paper" else script
    assert shows_person(people, {"width": WIDTH, "height": HEIGHT}, rule=rule) is wanted


@pytest.mark.parametrize("rule", coco.RULES)
def test_every_picture_is_labelled_by_the_rule(tree: Path, rule: str) -> None:
    data = load_coco_vww(tree, rule=rule, size=16, cache=False)
    of = kinds(tree)
    seen = 0
    for part in data.splits.values():
        for name, label in zip(part.names, part.labels, strict=True):
            seen += 1
            assert label == KINDS[of[name.rpartition("/")[2]]][1 if rule == "paper" else 2]
    assert seen == 7 * len(KINDS)
    assert len(data.test) == 2 * len(KINDS)
    assert all("/val2017/" in name for name in data.test.names)
    assert data.classes == ("non_person", "person")
    assert data.train.inputs.shape[1:] == (16, 16, 3)
    assert f"rule '{rule}'" in data.info.statement and "0.5 %" in data.info.statement


def test_the_least_area_can_be_changed(tree: Path) -> None:
    more = load_coco_vww(tree, min_area=0.004, size=16, cache=False)
    few = load_coco_vww(tree, min_area=0.1, size=16, cache=False)
    share = [np.mean(np.concatenate([part.labels for part in data.splits.values()])) for data in (more, few)]
    assert share == pytest.approx([5 / 8, 1 / 8])


def test_2014_with_minival_ids(tmp_path: Path) -> None:
    root = build(tmp_path / "coco", 2014)
    held = [41, 42, 43, 49, 1, 999]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, held)))
    data = load_dataset("coco_vww", root, year=2014, minival_ids=str(tmp_path / "ids.txt"), size=16, cache=False)
    assert {int(name[-16:-4]) for name in data.test.names} == {41, 42, 43, 49, 1}
    assert len(data.train) + len(data.validation) == 7 * len(KINDS) - 5
    assert any("1 of the 6 ids" in note for note in data.info.notes)
    with pytest.raises(DataError, match="one image id a line. Received: .*none.txt: No such file"):
        load_coco_vww(root, year=2014, minival_ids=tmp_path / "none.txt")


def test_missing_pictures(tree: Path) -> None:
    lost = sorted((tree / "train2017").iterdir())[2]
    lost.unlink()
    with pytest.raises(DataError, match=rf"1 pictures of instances_train2017.json are not in .*{lost.name}"):
        load_coco_vww(tree, size=16, cache=False)
    data = load_coco_vww(tree, size=16, cache=False, on_corrupt="skip")
    assert sum(map(len, data.splits.values())) == 7 * len(KINDS) - 1
    assert any("were left out" in note for note in data.info.notes)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"images": []}', '{"images": [], "annotations": [], "categories": []}']
)
def test_broken_annotations(tree: Path, content: str) -> None:
    (tree / "annotations" / "instances_val2017.json").write_text(content)
    with pytest.raises(DataError, match="instances_val2017.json"):
        load_coco_vww(tree, size=16, cache=False)


def test_what_is_missing_is_named(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="has no annotations/instances_train2014.json.*data prepare coco_vww"):
        load_coco_vww(tree, year=2014)
    with pytest.raises(DataError, match="coco_2017, which has no annotations"):
        load_coco_vww(cache_dir=tmp_path)
    for wrong in ({"year": 2015}, {"rule": "mine"}, {"min_area": 2}, {"size": 1}, {"on_corrupt": "?"}):
        with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}` of load_coco_vww"):
            load_coco_vww(tree, **wrong)  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.coco", None)
    with pytest.raises(MissingExtraError, match=r"analognets\[images\]"):
        load_coco_vww(tree)


def test_official_archives_have_checksums_and_places() -> None:
    for year, archives in coco.ARCHIVES.items():
        assert [archive.folder for archive in archives] == ["annotations", f"val{year}", f"train{year}"]
        for archive in archives:
            assert len(archive.sha256) == 64 and archive.bytes > 10**8
            assert archive.url.startswith("http://images.cocodataset.org/") and str(year) in archive.url


def test_download_unpacks_zip_files_where_the_loader_looks(
    tree: Path, tmp_path: Path, web: Callable[[Path], str]
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    archives = []
    for folder in ("annotations", "val2017", "train2017"):
        with zipfile.ZipFile(served / f"{folder}.zip", "w") as packed:
            for path in sorted((tree / folder).iterdir()):
                packed.write(path, f"{folder}/{path.name}")
        content = (served / f"{folder}.zip").read_bytes()
        archives.append((f"{folder}.zip", sha256(content).hexdigest(), len(content), folder))
    address = web(served)
    wanted = [Archive(f"{address}/{name}", digest, size, folder) for name, digest, size, folder in archives]
    done: list[tuple[int, int]] = []
    place = coco.download(tmp_path / "cache", archives=wanted, progress=lambda *count: done.append(count))
    assert done[-1][0] == done[-1][1] == sum(archive.bytes for archive in wanted)
    assert sorted(path.name for path in place.iterdir() if path.name != "downloads") == [
        "annotations",
        "train2017",
        "val2017",
    ]
    data = load_coco_vww(cache_dir=tmp_path / "cache", size=16, cache=False)
    assert sum(map(len, data.splits.values())) == 7 * len(KINDS)
