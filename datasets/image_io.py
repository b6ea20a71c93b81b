"""Read pictures of any size and format as uint8 RGB of one size, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from analognets.datasets.clip_cache import ClipCache
from analognets.datasets.file_reader import Progress, fault_notes, read_files
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

_SETTINGS = "pictures 1"


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

    Grey pictures get three equal channels; what is transparent stands on black.

    Args:
        path: .png, .jpg, .bmp or another file that Pillow reads.

    Raises:
        DataError: the file is missing, cut short or no picture.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(_upright(picture))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _refusal(path, error) from error


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

    Raises:
        DataError: a file can't be read and `on_corrupt` is "error"; the message names it.
    """
    check_choice("read_pictures", "on_corrupt", on_corrupt, ("error", "skip"))
    check_choice("read_pictures", "fit", fit, FITS)

    def read(path: Path) -> tuple[np.ndarray, int]:
        return fit_picture(read_picture(path), size, fit), 0

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
    return Pictures(found.inputs, found.kept, (*fault_notes(found.faults, "pictures"), *found.notes))


def common_size(files: Sequence[Path]) -> tuple[int, int] | None:
    """Return height and width if all pictures that can be opened have the same, else None; reads headers only."""
    found = None
    for path in files:
        try:
            with Image.open(path) as picture:
                sides = (picture.height, picture.width)
                if picture.getexif().get(_ORIENTATION, 1) > 4:
                    sides = sides[::-1]
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
        if found is not None and sides != found:
            return None
        found = sides
    return found


_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 turn the picture by a quarter


def _upright(picture: Image.Image) -> Image.Image:
    turned = ImageOps.exif_transpose(picture)
    if turned.mode == "P" or "transparency" in turned.info or turned.mode in ("LA", "PA", "RGBA"):
        clear = turned.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear).convert("RGB")
    if turned.mode.startswith("I;16") or turned.mode in ("I", "F"):
        grey = np.asarray(turned, np.float64)
        scale = 255 / 65535 if grey.max(initial=0) > 255 else 1.0
        return Image.fromarray(np.clip(grey * scale, 0, 255).astype(np.uint8)).convert("RGB")
    return turned.convert("RGB")


def _refusal(path: Path | str, error: Exception) -> DataError:
    why = reason(error)
    why = "it is no picture that Pillow knows" if "cannot identify" in why else why
    return DataError(f"Can't read the picture {path}: {why}. Replace it or leave it out.")
