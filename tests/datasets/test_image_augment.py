"""Random changes to pictures: each does what it says, to each picture apart, and the seed decides every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analognets.datasets.image_augment import ImageAugmentation
from analognets.errors import InvalidArgumentError

ALL: dict[str, Any] = {
    "flip": True, "shift": 0.1, "zoom": 0.2, "stretch": 0.1, "rotation": 15, "brightness": 0.2, "contrast": 0.3,
    "saturation": 0.4, "hue": 0.1, "grey_probability": 0.1, "cutouts": 2,
}  # fmt: skip
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (64, 12, 16, 3), dtype=np.uint8)


def changed(pictures: np.ndarray, seed: tuple[int, int] = (1, 2), **settings: Any) -> np.ndarray:
    augmentation = ImageAugmentation(**settings)
    return np.asarray(augmentation.pictures(pictures, augmentation.draw(len(pictures), seed)))


def test_nothing_changes_by_default() -> None:
    np.testing.assert_array_equal(changed(PICTURES), PICTURES)


def test_the_seed_decides_every_bit_and_each_picture_has_its_own() -> None:
    first = changed(PICTURES, **ALL)
    np.testing.assert_array_equal(first, changed(PICTURES, **ALL))
    assert (first != changed(PICTURES, (1, 3), **ALL)).mean() > 0.9
    same = np.repeat(PICTURES[:1], 64, axis=0)
    assert len(np.unique(changed(same, **ALL).reshape(64, -1), axis=0)) == 64
    assert first.dtype == np.float32 and first.shape == PICTURES.shape
    assert first.min() >= 0 and first.max() <= 255


def test_a_flip_mirrors_half_of_the_pictures() -> None:
    found = changed(PICTURES, flip=True)
    mirrored = [np.allclose(new, old[:, ::-1], atol=1e-3) for new, old in zip(found, PICTURES, strict=True)]
    same = [np.allclose(new, old, atol=1e-3) for new, old in zip(found, PICTURES, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48  # 4 standard deviations of 64 throws


def test_a_shift_moves_by_whole_pixels_and_reflects_at_the_border() -> None:
    found = changed(PICTURES, shift=0.25)
    padded = np.pad(PICTURES, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="symmetric")
    offsets = set()
    for new, old in zip(found, padded, strict=True):
        hits = [(y, x) for y in range(9) for x in range(9) if np.allclose(new, old[y : y + 12, x : x + 16], atol=1e-2)]
        assert len(hits) == 1
        offsets.add(hits[0])
    ys, xs = zip(*offsets, strict=True)
    assert (min(ys), max(ys), min(xs), max(xs)) == (1, 7, 0, 8)  # a quarter of 12 and of 16


def test_a_turn_by_a_half_circle_turns_upside_down() -> None:
    """Of many angles up to 180 degrees, some bring the gradient to lie the other way round; none changes its range."""
    ramp = np.broadcast_to(np.linspace(60, 180, 16)[:, None, None], (64, 16, 16, 3)).astype(np.float32)
    found = changed(ramp, rotation=180)
    slope = (found[:, 10:, 6:10].mean(axis=(1, 2, 3)) - found[:, :6, 6:10].mean(axis=(1, 2, 3))) / 80
    assert slope.min() < -0.5 and slope.max() > 0.5
    centre = found[:, 7:9, 7:9].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(centre, 120, atol=1)
    assert found.min() > 59 and found.max() < 181


def test_a_zoom_changes_the_size_about_the_middle() -> None:
    dot = np.zeros((64, 33, 33, 3), np.float32)
    dot[:, 12:21, 12:21] = 200
    found = changed(dot, zoom=0.4)
    share = found.mean(axis=(1, 2, 3)) / dot.mean()
    assert 0.3 < share.min() < 0.6 and 1.6 < share.max() < 2.1  # 0.6^2 = 0.36, 1.4^2 = 1.96
    np.testing.assert_allclose(found, found[:, ::-1], atol=1e-2)


def test_brightness_moves_and_contrast_stretches_about_the_mean() -> None:
    grey = np.clip(PICTURES, 100, 150)
    brighter = changed(grey, brightness=0.2) - grey
    assert np.ptp(brighter, axis=(1, 2, 3)).max() < 1e-3
    offset = brighter[:, 0, 0, 0]
    assert -51 <= offset.min() < -30 and 30 < offset.max() <= 51
    found = changed(grey, contrast=0.5)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), grey.mean(axis=(1, 2, 3)), atol=1e-2)
    factor = found.std(axis=(1, 2, 3)) / grey.std(axis=(1, 2, 3))
    assert 0.5 <= factor.min() < 0.7 and 1.3 < factor.max() <= 1.5


def test_colour_changes_keep_the_luma() -> None:
    soft = np.clip(PICTURES, 100, 150)
    luma = soft @ np.array([0.299, 0.587, 0.114])
    for settings in ({"saturation": 0.8}, {"hue": 0.5}, {"grey_probability": 1.0}):
        found = changed(soft, **settings)
        np.testing.assert_allclose(found @ np.array([0.299, 0.587, 0.114]), luma, atol=0.05)
        assert np.abs(found - soft).mean() > 1
    grey = changed(soft, grey_probability=1.0)
    assert np.ptp(grey, axis=3).max() < 0.01
    half = np.ptp(changed(soft, grey_probability=0.5), axis=3).max(axis=(1, 2)) < 0.01
    assert 16 < half.sum() < 48


def test_squares_are_cut_out_and_filled_with_the_mean() -> None:
    found = changed(PICTURES, cutouts=1, cutout_size=0.5)
    hidden = (found != PICTURES).any(axis=3)
    mean = PICTURES.mean(axis=(1, 2))
    for picture, mask, colour in zip(found, hidden, mean, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns)
        assert len(rows) <= 7 and len(columns) <= 7
        np.testing.assert_allclose(picture[mask], np.broadcast_to(colour, (mask.sum(), 3)), atol=0.01)
    assert hidden.any(axis=(1, 2)).mean() > 0.7
    assert not (changed(PICTURES, cutouts=2, cutout_probability=0.0) != PICTURES).any()


def test_switching_one_on_leaves_the_draws_of_the_others() -> None:
    alone = changed(PICTURES, cutouts=1) != PICTURES
    both = changed(changed(PICTURES, brightness=0.0), cutouts=1) != PICTURES
    np.testing.assert_array_equal(alone, both)
    flips = changed(PICTURES, flip=True)
    np.testing.assert_allclose(changed(flips, cutouts=1), changed(PICTURES, flip=True, cutouts=1), atol=1e-2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"flip": 1}, "`flip` of ImageAugmentation must be True or False"),
        ({"shift": 0.6}, "`shift` of ImageAugmentation must be a number from 0 to 0.5"),
        ({"rotation": 190}, "`rotation` of ImageAugmentation must be a number from 0 to 180"),
        ({"zoom": -0.1}, "`zoom`"),
        ({"hue": 0.6}, "`hue`"),
        ({"cutouts": 5}, "`cutouts` of ImageAugmentation must be a whole number from 0 to 4"),
        ({"contrast": "much"}, "`contrast`"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ImageAugmentation(**wrong)


def test_config_makes_the_same_again() -> None:
    augmentation = ImageAugmentation(**ALL)
    assert ImageAugmentation(**augmentation.get_config()) == augmentation
    assert hash(augmentation) == hash(ImageAugmentation(**ALL))
