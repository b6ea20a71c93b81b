"""Pictures from files: every mode becomes uint8 RGB of one size, and what is broken is named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analognets.datasets.clip_cache import ClipCache
from analognets.datasets.image_io import check_size, common_size, fit_picture, read_picture, read_pictures
from analognets.errors import DataError, InvalidArgumentError

GREY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    values = GREY.astype(np.uint16) * 257 if mode == "I;16" else GREY
    picture = Image.fromarray(values)
    path = save(
        tmp_path / f"x.{'tif' if mode == 'CMYK' else 'png'}", picture if mode == "I;16" else picture.convert(mode)
    )
    found = read_picture(path)
    assert (found.dtype, found.shape) == (np.uint8, (3, 4, 3))
    assert np.ptp(found.astype(int), axis=2).max() == 0
    if mode != "1":
        np.testing.assert_allclose(found[..., 0], GREY, atol=1)


def test_colours_stay_and_transparent_is_black(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_picture(save(tmp_path / "rgb.bmp", Image.fromarray(colours))), colours)
    clear = np.dstack([colours, np.full((6, 5), 255, np.uint8)])
    clear[:3, :, 3] = 0
    found = read_picture(save(tmp_path / "clear.png", Image.fromarray(clear)))
    np.testing.assert_array_equal(found[3:], colours[3:])
    assert not found[:3].any()


def test_a_picture_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    marked = np.zeros((8, 16, 3), np.uint8)
    marked[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    path = save(tmp_path / "phone.jpg", Image.fromarray(marked), exif=exif, quality=95)
    found = read_picture(path)
    assert found.shape == (16, 8, 3)
    assert found[:3].min() > 200 and found[6:].max() < 60
    assert common_size([path]) == (16, 8)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no picture that Pillow knows"), (b"not a picture", "no picture that Pillow knows"), (None, "No such file")],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"x.png: .*{says}.*leave it out"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"x{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"x{suffix}"):
        read_picture(path)


def test_stretching_keeps_all_and_cropping_keeps_the_shape() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 40:] = (200, 0, 0), (0, 0, 200)
    stretched, cropped = fit_picture(wide, (20, 20)), fit_picture(wide, (20, 20), "crop")
    assert stretched[:, :5, 0].min() == 200 and stretched[:, -5:, 2].min() == 200
    assert not cropped.any()
    assert fit_picture(wide, (20, 60)) is wide


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_picture(stripes, (8, 8)).astype(int) - 128).max() <= 16


def test_many_pictures_with_cache_and_a_broken_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    files = [
        save(tmp_path / "p" / f"{i}.png", Image.fromarray(rng.integers(0, 256, (9 + i, 9, 3), dtype=np.uint8)))
        for i in range(4)
    ]
    cache = ClipCache(tmp_path / "cache", 8, (10, 12, 3), "|u1")
    whole = read_pictures(files, root=tmp_path, size=(10, 12), cache=cache)
    assert (whole.inputs.shape, whole.inputs.dtype) == ((4, 10, 12, 3), np.uint8)
    again = read_pictures(files, root=tmp_path, size=(10, 12), cache=cache)
    np.testing.assert_array_equal(again.inputs, whole.inputs)
    assert not again.inputs.flags.writeable
    cropped = read_pictures(files, root=tmp_path, size=(10, 12), fit="crop", cache=cache)
    assert (cropped.inputs != whole.inputs).any()
    files[1].write_bytes(b"?")
    with pytest.raises(DataError, match="1.png"):
        read_pictures(files, root=tmp_path, size=(10, 12), cache=cache)
    skipped = read_pictures(files, root=tmp_path, size=(10, 12), on_corrupt="skip", cache=cache)
    assert skipped.kept.tolist() == [0, 2, 3]
    assert skipped.notes == ("1 pictures can't be read and were skipped: p/1.png.",)
    np.testing.assert_array_equal(skipped.inputs, whole.inputs[[0, 2, 3]])


def test_sizes(tmp_path: Path) -> None:
    assert check_size("x", None) is None
    assert check_size("x", 32) == (32, 32)
    assert check_size("x", [20, 30]) == (20, 30)
    for wrong in (7, 2000, 3.5, "big", [1, 2, 3], [32]):
        with pytest.raises(InvalidArgumentError, match="`size` of x must be"):
            check_size("x", wrong)  # type: ignore[arg-type]
    assert common_size([]) is None


def test_what_would_start_a_program_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(eps)
    with pytest.raises(DataError, match="x.png: it is no picture that Pillow knows as PNG, JPEG"):
        read_picture(tmp_path / "x.png")
    assert common_size([tmp_path / "x.png"]) is None


@pytest.mark.parametrize("sides", [(13_000, 13_000), (10_000, 7_000), (30_000, 30_000)])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, sides: tuple[int, int]) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *sides, 16, 0, 0, 0, 0))
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match="x.png may have at most 67,108,864 pixels. .* Received: "):
        read_picture(tmp_path / "x.png")
    assert common_size([tmp_path / "x.png"]) is None


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16", "L"])
def test_bands_give_the_same_as_the_whole(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).integers(0, 65_536, (37, 23)).astype(np.uint16)
    picture = (
        Image.fromarray(values) if mode == "I;16" else Image.fromarray((values >> 8).astype(np.uint8)).convert(mode)
    )
    path = save(tmp_path / "x.png", picture)
    whole = read_picture(path)
    monkeypatch.setattr("analognets.datasets.image_io._BAND", 50)
    np.testing.assert_array_equal(read_picture(path), whole)


def test_16_bit_has_one_scale_and_dark_pictures_are_named(tmp_path: Path) -> None:
    for name, most in (("a", 65535), ("b", 4095), ("c", 255)):
        save(tmp_path / f"{name}.png", Image.fromarray(np.linspace(0, most, 64).reshape(8, 8).astype(np.uint16)))
    files = [tmp_path / f"{name}.png" for name in "abc"]
    found = read_pictures(files, root=tmp_path, size=(8, 8))
    assert found.inputs.max(axis=(1, 2, 3)).tolist() == [255, 15, 0]
    [note] = found.notes
    assert note.startswith("2 pictures of 16 bit use less than a sixteenth of their range, such as b.png")
    floats = save(tmp_path / "f.tif", Image.fromarray(np.ones((8, 8), np.float32)))
    with pytest.raises(DataError, match="floating-point numbers, of which white is not known"):
        read_picture(floats)


@pytest.mark.parametrize("outside", [-1, 65_536])
def test_grey_pictures_of_32_bit_hold_16_or_are_refused(tmp_path: Path, outside: int) -> None:
    values = np.full((8, 8), 65_535, np.int32)
    Image.fromarray(values).save(tmp_path / "white.tif")
    assert (read_picture(tmp_path / "white.tif") == 255).all()
    values[3, 4] = outside
    Image.fromarray(values).save(tmp_path / "outside.tif")
    with pytest.raises(DataError, match=f"it holds {outside}, outside of 0 to 65535; store it in 8 or 16 bit"):
        read_picture(tmp_path / "outside.tif")


def test_a_transparent_level_of_16_bit_is_black_and_changes_nothing_else(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    save(tmp_path / "plain.png", Image.fromarray(ramp))
    Image.fromarray(ramp).save(tmp_path / "clear.png", transparency=int(ramp[4, 4]))
    wanted = read_picture(tmp_path / "plain.png").copy()
    wanted[4, 4] = 0
    np.testing.assert_array_equal(read_picture(tmp_path / "clear.png"), wanted)
