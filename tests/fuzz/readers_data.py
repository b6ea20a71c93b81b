"""Malformed recordings, pictures, arrays, archives and folders for the readers of `analognets.datasets`.

`READERS` lists (name, make_input, read): `make_input(rng, folder)` writes one malformed input into an empty folder and
returns its path; `read(path)` reads it. It may return or raise an `AnalogNetsError`; anything else is a fault, as is
more than 20 s or 2 GB.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["READERS", "Reader", "damage"]


class Reader(NamedTuple):
    """A reader and what to give it; see above."""

    name: str
    make_input: Callable[[np.random.Generator, Path], Path]
    read: Callable[[Path], Any]


def damage(rng: np.random.Generator, whole: bytes, *, head: int = 100) -> bytes:
    """Return bytes with something wrong: changed in the head or anywhere, cut, doubled, extended, or other ones."""
    data = bytearray(whole)
    kind = rng.integers(8)
    if kind in (0, 1, 2):
        reach = min(len(data), head) if kind else len(data)
        for place in rng.integers(0, max(reach, 1), rng.integers(1, 6)):
            data[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
    elif kind == 3 and len(data) > 8:
        place = int(rng.integers(0, min(len(data) - 4, head)))
        value = int(rng.choice([0, 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
        struct.pack_into(str(rng.choice(["<I", ">I"])), data, place, value)
    elif kind == 4:
        del data[int(rng.integers(len(data) + 1)) :]
    elif kind == 5:
        place = int(rng.integers(len(data) + 1))
        data[place:place] = rng.bytes(int(rng.integers(1, 200)))
    elif kind == 6:
        place = int(rng.integers(len(data) + 1))
        data = data[:place] + data
    else:
        data = bytearray(rng.choice([b"", b"\0" * 5000, rng.bytes(3000), b"RIFF", b"%!PS-Adobe-3.0 EPSF-3.0\n"]))
    return bytes(data)


def special(rng: np.random.Generator, path: Path) -> bool:
    """Now and then, make the path no plain file at all."""
    kind = rng.integers(40)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to(str(rng.choice(["/dev/zero", "/dev/full", "/dev/null", "/nowhere", path.name])))
    elif kind == 2:
        path.mkdir()
    return bool(kind < 3)


def sound_bytes(rng: np.random.Generator, kind: str) -> bytes:
    """Return a good recording: WAV of some encoding, FLAC, OGG."""
    import soundfile

    file = io.BytesIO()
    subtype = str(rng.choice(["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])) if kind == "WAV" else None
    samples = rng.normal(0, 0.1, (int(rng.integers(1, 30_000)), int(rng.integers(1, 3))))
    soundfile.write(file, samples, int(rng.choice([8000, 16_000, 44_100])), format=kind, subtype=subtype)
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
]  # fmt: skip
"""All readers of this room."""
