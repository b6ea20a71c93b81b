"""Read pictures of any size and format as uint8 RGB of one size, many at a time."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from analognets.core.files import open_plain
from analognets.datasets.clip_cache import ClipCache
from analognets.datasets.file_reader import Progress, Remark, read_files
from analognets.datasets.memory import DECODING, READING
from analognets.datasets.notes import Notes
from analognets.errors import DataError, InvalidArgumentError, check_choice, check_integer, reason

__all__ = [
    "DEFAULT_SIZE",
    "FITS",
    "Pictures",
    "check_size",
    "common_size",
    "fit_picture",
    "read_picture",
    "read_pictures",
]

DEFAULT_SIZE = (96, 96)
"""Height and width that pictures of several sizes are brought to unless told otherwise: those of MLPerf Tiny."""

FITS = ("stretch", "crop")
"""How a picture is brought to another shape: all of it, stretched; or the largest middle part of the right shape."""

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
"""What Pillow may take a file for, whatever its name is: nothing that starts a program, as EPS does."""

_SETTINGS = "pictures 2"
_MOST_PIXELS = 1 << 26
_MOST_BYTES = 1 << 28
_PIXEL_BYTES = 12  # of memory while a picture is decoded, turned and converted
_BAND = 1 << 20
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Modes of 16 bit, or of 32 that hold 16: 65535 is white, whatever a picture's largest number is."""
_WHITE = 65535
_DIM = 4096
"""Largest number of a 16-bit picture that uses a sixteenth of its range, as those of 12 bit do."""
_HINT = "Replace it or leave it out."
_OPENING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Pictures:
    """What `read_pictures` returns.

    Args:
        inputs: uint8 (pictures, height, width, 3); possibly a read-only memory map.
        kept: position of each picture in the list of files that was asked for.
        notes: one sentence for each thing that was changed or left out.
    """

    inputs: np.ndarray
    kept: np.ndarray
    notes: tuple[str, ...]


def read_picture(path: Path | str) -> np.ndarray:
    """Return a picture as uint8 RGB (height, width, 3), turned upright by its EXIF tag.

    Grey pictures get three equal channels; what is transparent stands on black. Of 16 bit, 65535 becomes 255.

    Args:
        path: a file of one of the `FORMATS`, of at most 67 million pixels.

    Raises:
        DataError: the file is missing, special, too large, cut short, no picture, or one of floating-point numbers or
            of numbers beyond 16 bit.
    """
    return _read(path)[0]


def _read(path: Path | str) -> tuple[np.ndarray, Remark]:
    """Return what `read_picture` does, and what is odd about it."""
    with open_plain(path, "picture", limit=_MOST_BYTES, error=DataError, hint=_HINT) as file:
        with READING.hold(os.fstat(file.fileno()).st_size), _decoding(path), _opened(file) as picture:
            _check_pixels(path, picture)
            with DECODING.hold(_PIXEL_BYTES * picture.width * picture.height):
                found, largest = _rgb(picture)
    return found, {"dim": float(largest)} if largest is not None and largest < _DIM else {}


@contextlib.contextmanager
def _opened(file: BinaryIO) -> Iterator[Image.Image]:
    """Open a picture without decoding it; what Pillow thinks of its size is left to `_check_pixels`."""
    with _OPENING, warnings.catch_warnings():  # which is of no use to threads at the same time
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(file, formats=FORMATS)
    with picture:
        yield picture


@contextlib.contextmanager
def _decoding(path: Path | str) -> Iterator[None]:
    """Turn what decoders raise on bytes that were no picture into one sentence."""
    try:
        yield
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{_too_large(path)} Received: more than twice as many.") from error
    except Exception as error:
        why = reason(error)
        why = f"it is no picture that Pillow knows as {', '.join(FORMATS)}" if "cannot identify" in why else why
        raise DataError(f"Can't read the picture {path}: {why}. {_HINT}") from error


def _check_pixels(path: Path | str, picture: Image.Image) -> None:
    if picture.width * picture.height > _MOST_PIXELS:
        raise DataError(f"{_too_large(path)} Received: {picture.width:,} x {picture.height:,}.")


def _too_large(path: Path | str) -> str:
    return f"The picture {path} may have at most {_MOST_PIXELS:,} pixels. Make it smaller or leave it out."


def fit_picture(picture: np.ndarray, size: tuple[int, int], fit: str = "stretch") -> np.ndarray:
    """Return a uint8 RGB picture at another size by bilinear interpolation with antialiasing (Pillow's `resize`).

    Args:
        picture: uint8 (height, width, 3).
        size: height and width wanted.
        fit: one of `FITS`.
    """
    if picture.shape[:2] == size:
        return picture
    image = Image.fromarray(picture)
    wanted = (size[1], size[0])
    if fit == "crop":
        return np.asarray(ImageOps.fit(image, wanted, Image.Resampling.BILINEAR))
    return np.asarray(image.resize(wanted, Image.Resampling.BILINEAR))


def check_size(owner: str, size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Return height and width from one number, two numbers or None.

    Raises:
        InvalidArgumentError: it is something else, or a side is not from 8 to 1024 pixels.
    """
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2:
        raise InvalidArgumentError(
            f"`size` of {owner} must be one number, or height and width, in pixels. Received: size={size!r}."
        )
    height, width = (check_integer(owner, "size", side, 8, 1024) for side in sides)
    return height, width


def read_pictures(
    files: Sequence[Path],
    *,
    root: Path,
    size: tuple[int, int],
    fit: str = "stretch",
    on_corrupt: str = "error",
    cache: ClipCache | None = None,
    progress: Progress | None = None,
    notes: Notes | None = None,
) -> Pictures:
    """Return the pictures at one size (see `read_picture`, `fit_picture`).

    Args:
        files: what to read.
        root: folder the names in notes are relative to.
        size: height and width.
        fit: one of `FITS`.
        on_corrupt: "error" stops at a file that can't be read; "skip" leaves it out and notes its name.
        cache: keeps what was read, for the same files of the same sizes and times.
        progress: called with (done, total).
        notes: where to collect what is noticed; None for sentences in the result.

    Raises:
        DataError: a file can't be read and `on_corrupt` is "error"; the message names it.
    """
    check_choice("read_pictures", "on_corrupt", on_corrupt, ("error", "skip"))
    check_choice("read_pictures", "fit", fit, FITS)

    def read(path: Path) -> tuple[np.ndarray, Remark]:
        picture, odd = _read(path)
        return fit_picture(picture, size, fit), odd

    found = read_files(
        files,
        read,
        np.zeros((*size, 3), np.uint8),
        root=root,
        on_corrupt=on_corrupt,
        cache=cache,
        settings=f"{_SETTINGS} {size[0]}x{size[1]} {fit}",
        progress=progress,
    )
    told = Notes("pictures") if notes is None else notes
    told.extend("skipped", found.faults)
    for name, remark in found.remarks.items():
        for kind in remark:
            told.add(kind, name)
    return Pictures(found.inputs, found.kept, (*(told.sentences() if notes is None else ()), *found.notes))


def common_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Return height and width if all pictures that can be opened have the same, else None; reads headers only."""
    found = None
    for path in files:
        try:
            with open_plain(path, "picture", limit=_MOST_BYTES, error=DataError) as file:
                with _decoding(path), _opened(file) as picture:
                    _check_pixels(path, picture)
                    sides = (picture.height, picture.width)
                    if picture.getexif().get(_ORIENTATION, 1) > 4:
                        sides = sides[::-1]
        except DataError:
            continue
        if found is not None and sides != found:
            return None
        found = sides
    return found


_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 turn the picture by a quarter


def _rgb(picture: Image.Image) -> tuple[np.ndarray, float | None]:
    """Decode a picture and convert it band by band, so that no second copy of all of it is needed.

    Returns:
        The picture, and of one of 16 bit its largest number, else None.
    """
    if picture.mode == "F":
        raise ValueError("it holds floating-point numbers, of which white is not known; store it in 8 or 16 bit")
    ImageOps.exif_transpose(picture, in_place=True)
    found = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, _BAND // max(picture.width, 1))
    bands = [(top, min(top + rows, picture.height)) for top in range(0, picture.height, rows)]
    largest = 0.0 if picture.mode in _WIDE else None
    for top, bottom in bands:
        band = picture.crop((0, top, picture.width, bottom))
        if largest is not None:
            largest = _largest(np.asarray(band), largest)
        found[top:bottom] = np.asarray(_converted(band))
    return found, largest


def _largest(band: np.ndarray, so_far: float) -> float:
    """Return the largest number of a 16-bit picture; one of 32 bit may hold others, of which white is not known."""
    least, most = float(band.min(initial=0)), float(band.max(initial=0))
    if least < 0 or most > _WHITE:
        outside = least if least < 0 else most
        raise ValueError(f"it holds {outside:.0f}, outside of 0 to {_WHITE}; store it in 8 or 16 bit")
    return max(most, so_far)


def _converted(band: Image.Image) -> Image.Image:
    if band.mode in _WIDE:
        wide = np.asarray(band, np.float64)
        grey = np.clip(wide * (255 / _WHITE), 0, 255).astype(np.uint8)
        clear = band.info.get("transparency")
        return Image.fromarray(grey if clear is None else np.where(wide == clear, 0, grey)).convert("RGB")
    if band.mode == "P" or "transparency" in band.info or band.mode in ("LA", "PA", "RGBA"):
        clear = band.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear).convert("RGB")
    return band.convert("RGB")
