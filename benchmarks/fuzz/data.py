"""Malformed recordings, pictures, arrays, archives, folders and lists for the readers of `analognets.datasets`."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analognets.datasets.base import KWS_CLASSES
from benchmarks.fuzz.damage import Reader, damage, mutated, special, with_damage

__all__ = ["READERS"]


def sound_bytes(rng: np.random.Generator, kind: str) -> bytes:
    """Return a good recording: WAV of some encoding, FLAC, OGG."""
    import soundfile

    file = io.BytesIO()
    subtype = str(rng.choice(["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])) if kind == "WAV" else None
    samples = rng.normal(0, 0.1, (int(rng.integers(1, 30_000)), int(rng.integers(1, 3))))
    soundfile.write(file, samples, int(rng.choice([8000, 16_000, 44_100])), format=kind, subtype=subtype)
    return file.getvalue()


def noise_bytes(seconds: int) -> bytes:
    """Return a good recording of noise, a WAV at 16 kHz."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seconds).normal(0, 0.1, 16_000 * seconds), 16_000, format="WAV")
    return file.getvalue()


def picture_bytes(rng: np.random.Generator, kind: str) -> bytes:
    """Return a good picture of a format of Pillow."""
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    mode = str(rng.choice(["L", "RGB", "P", "1"])) if kind not in ("JPEG", "WEBP") else "RGB"
    picture.convert(mode).save(file, kind)
    return file.getvalue()


def one_file(name: str, make: Callable[[np.random.Generator], bytes]) -> Callable[[np.random.Generator, Path], Path]:
    def make_input(rng: np.random.Generator, folder: Path) -> Path:
        path = folder / name
        if not special(rng, path):
            path.write_bytes(damage(rng, make(rng)))
        return path

    return make_input


def npz_bytes(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    inputs: np.ndarray = rng.normal(size=(8, 3)).astype(rng.choice(["f4", "f8", "i4"]))
    if rng.random() < 0.3 and inputs.dtype.kind == "f":
        inputs[0, 0] = rng.choice([np.nan, np.inf])
    labels = rng.choice([0, 1, -1, 0.5, 10**6, np.nan], 8, p=[0.4, 0.4, 0.05, 0.05, 0.05, 0.05])
    write = np.savez if rng.random() < 0.5 else np.savez_compressed
    write(file, inputs=inputs, labels=labels.astype(rng.choice(["f8", "f4", "U8"])))
    return file.getvalue()


def archive_bytes(rng: np.random.Generator, kind: str) -> bytes:
    file = io.BytesIO()
    names = rng.choice(["a/x.wav", "../x", "/x", "a", "a\\..\\x", "b/" * 300 + "x", "\u00e9", "c:x"], 4)
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, name in enumerate(names):
                archive.writestr(f"{number}{name}" if rng.random() < 0.7 else str(name), rng.bytes(500))
    else:
        with tarfile.open(fileobj=file, mode=f"w:{kind}") as tar:
            for name in names:
                member = tarfile.TarInfo(str(name))
                member.type = rng.choice([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
                member.linkname = str(rng.choice(["a", "../../x", "/etc/x"]))
                member.size = 500 if member.type == tarfile.REGTYPE else 0
                member.mtime = int(rng.choice([0, -(2**40), 2**60, 10**9]))
                tar.addfile(member, io.BytesIO(rng.bytes(500)) if member.size else None)
    return file.getvalue()


def folder_of(suffix: str, make: Callable[[np.random.Generator], bytes]) -> Callable[[np.random.Generator, Path], Path]:
    """Return a maker of folders of two classes, with a few bad files and odd names."""

    def make_input(rng: np.random.Generator, folder: Path) -> Path:
        for name in (b"a", b"b", *([b"caf\xe9", b".x", b"a\nb"][: rng.integers(4)] if rng.random() < 0.3 else [])):
            os.mkdir(os.fsencode(folder) + b"/" + name)
            for number in range(5):
                path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name + f"/{number}{suffix}".encode()))
                if not special(rng, path):
                    path.write_bytes(damage(rng, make(rng)) if rng.random() < 0.2 else make(rng))
        if rng.random() < 0.2:
            (folder / "a" / "more").symlink_to(rng.choice(["..", "/dev", "nowhere"]))
        return folder

    return make_input


def cache_input(rng: np.random.Generator, folder: Path) -> Path:
    from analognets.datasets.clip_cache import ClipCache

    rows = np.full((4, 16_000), 7, np.int16)
    ClipCache(folder).store("k", 4, [rows], {}, {"a.wav": {"rate": 8000.0}})
    path = folder / f"k.{rng.choice(['npy', 'json'])}"
    whole = path.read_bytes()
    path.unlink()
    if not special(rng, path):
        path.write_bytes(damage(rng, whole))
    return folder


def read_cache(folder: Path) -> None:
    from analognets.datasets.clip_cache import ClipCache

    found, _ = ClipCache(folder).load("k", 4)
    if found is not None and not ((found.rows == 7).all() and found.remarks == {"a.wav": {"rate": 8000.0}}):
        raise AssertionError("a changed cache was taken")


def read_sound(path: Path) -> Any:
    from analognets.datasets.audio_io import read_clips

    return read_clips([path], root=path.parent)


def read_picture(path: Path) -> Any:
    from analognets.datasets import image_io

    return image_io.common_size([path]), image_io.read_picture(path)


def read_npz(path: Path) -> None:
    from analognets.datasets.arrays import read_labelled

    inputs, labels = read_labelled(path, classes=2)
    if not np.isfinite(inputs).all() or not ((labels == 0) | (labels == 1)).all():
        raise AssertionError("wrong data were taken")


def read_archive(path: Path) -> None:
    from analognets.datasets.fetch import unpack

    unpack(path, path.parent / "out" / "a")
    left = [item.name for item in path.parent.iterdir() if item.name not in (path.name, "out")]
    if left:
        raise AssertionError(f"something was written elsewhere: {left}")


def read_audio_folder(folder: Path) -> Any:
    from analognets.datasets.audio_folder import load_audio_folder

    return load_audio_folder(folder, cache=False, on_corrupt="skip")


def read_image_folder(folder: Path) -> Any:
    from analognets.datasets.image_folder import load_image_folder

    return load_image_folder(folder, cache=False, on_corrupt="skip")


def pictures_npz(rng: np.random.Generator, folder: Path) -> Path:
    """Write an mnist.npz with something wrong."""
    arrays = {"x_train": rng.integers(0, 256, (30, 28, 28), np.uint8), "x_test": np.zeros((5, 28, 28), np.uint8)}
    arrays |= {"y_train": rng.integers(0, 10, 30), "y_test": rng.integers(0, 10, 5)}
    name, kind = str(rng.choice(sorted(arrays))), int(rng.integers(5))
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = arrays[name].astype(str(rng.choice(["f4", "i8", "U9", "O", "?"])))
    elif kind == 2:
        arrays[name] = arrays[name].reshape(-1)[: int(rng.integers(9))]
    elif kind == 3:
        arrays[name].reshape(-1)[:2] = rng.choice([10, 200])
    np.savez_compressed(folder / "mnist.npz", **arrays)
    if kind == 4 or rng.random() < 0.3:
        with_damage(rng, folder / "mnist.npz")
    return folder


def read_pictures(folder: Path) -> None:
    from analognets.datasets.mnist import load_mnist

    task = load_mnist(folder, validation=5)
    for split in (task.train, task.validation, task.test):
        if not ((split.labels >= 0) & (split.labels < 10)).all():
            raise AssertionError("labels of no class were taken")


def lists_input(rng: np.random.Generator, folder: Path) -> Path:
    """Write a small Speech Commands with a damaged list or clip."""
    root = folder / "speech_commands_v0.02"
    whole_second = noise_bytes(1)
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for word in KWS_CLASSES[:10]:
        (root / word).mkdir(parents=True)
        for number in range(4):
            name = f"{word}/aa0{number}_nohash_0.wav"
            (root / name).write_bytes(whole_second)
            lists.get(("", "", "validation", "testing")[number], []).append(name)
    (root / "_background_noise_").mkdir()
    (root / "_background_noise_" / "hiss.wav").write_bytes(noise_bytes(20))
    for name, names in lists.items():
        (root / f"{name}_list.txt").write_text("\n".join(names) + "\n")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix == ".txt"]
    chosen = texts if rng.random() < 0.6 else files
    with_damage(rng, chosen[int(rng.integers(len(chosen)))])
    return folder


def read_speech(folder: Path) -> Any:
    from analognets.datasets.speech_commands import load_speech_commands

    return load_speech_commands(folder, cache=False)


def coco_input(rng: np.random.Generator, folder: Path) -> Path:
    """Write a small COCO whose annotations are damaged."""
    images, notes = [], []
    for part in ("train2017", "val2017"):
        (folder / part).mkdir()
    for number in range(12):
        part = "val2017" if number > 8 else "train2017"
        (folder / part / f"{number}.jpg").write_bytes(picture_bytes(rng, "JPEG"))
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 20, "width": 30})
        box = {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [1, 1, 9, 9]}
        notes.append({**box, "area": 81.0, "iscrowd": 0})
    (folder / "annotations").mkdir()
    for part in ("train2017", "val2017"):
        chosen = [image for image in images if (folder / part / image["file_name"]).exists()]
        data = {
            "images": chosen,
            "annotations": [one for one in notes if any(one["image_id"] == i["id"] for i in chosen)],
        }
        data["categories"] = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
        path = folder / "annotations" / f"instances_{part}.json"
        path.write_text(json.dumps(mutated(rng, data) if rng.random() < 0.7 else data), "utf-8")
        if rng.random() < 0.3:
            with_damage(rng, path)
    return folder


def read_coco(folder: Path) -> Any:
    from analognets.datasets.coco import load_coco_vww

    return load_coco_vww(folder, cache=False, on_corrupt="skip")


READERS: list[Reader] = [
    *(Reader(f"{kind} file", one_file("x.wav", lambda rng, kind=kind: sound_bytes(rng, kind)), read_sound)
      for kind in ("WAV", "FLAC", "OGG")),
    *(Reader(f"{kind} file", one_file("x.png", lambda rng, kind=kind: picture_bytes(rng, kind)), read_picture)
      for kind in ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")),
    Reader("npz file", one_file("x.npz", npz_bytes), read_npz),
    *(Reader(f"{kind or 'tar'} archive", one_file("x.zip", lambda rng, kind=kind: archive_bytes(rng, kind)),
             read_archive) for kind in ("zip", "gz", "xz", "")),
    Reader("clip cache", cache_input, read_cache),
    Reader("audio folder", folder_of(".wav", lambda rng: sound_bytes(rng, "WAV")), read_audio_folder),
    Reader("image folder", folder_of(".png", lambda rng: picture_bytes(rng, "PNG")), read_image_folder),
    Reader("mnist.npz", pictures_npz, read_pictures),
    Reader("Speech Commands folder", lists_input, read_speech),
    Reader("COCO folder", coco_input, read_coco),
]  # fmt: skip
"""All readers of this room."""
