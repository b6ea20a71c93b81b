"""The image front end: scale, size and grey, the same inside and outside of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.datasets.frontend import MFCC
from analognets.datasets.frontends import frontend, frontend_kind, list_frontends
from analognets.datasets.image_frontend import Image, list_presets
from analognets.errors import InvalidArgumentError, UnknownNameError

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)


def test_the_scale_is_minus_1_to_1_and_bytes_are_floats() -> None:
    same = Image(size=(16, 24))
    found = np.asarray(same(PICTURES))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, PICTURES / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(found, np.asarray(same(PICTURES.astype(np.float32))))
    extremes = np.zeros((1, 8, 8, 3), np.uint8)
    extremes[:, 4:] = 255
    ends = np.asarray(Image(size=8)(extremes))
    assert (ends.min(), ends.max()) == (-1, 1)


def test_mean_and_std_per_channel() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = np.asarray(Image(size=(16, 24), mean=mean, std=list(std))(PICTURES))
    np.testing.assert_allclose(found, (PICTURES / 255 - mean) / std, atol=1e-5)


def test_grey_weighs_the_channels() -> None:
    found = np.asarray(Image(size=(16, 24), grey=True)(PICTURES))
    assert found.shape == (3, 16, 24, 1)
    np.testing.assert_allclose(found[..., 0], PICTURES @ [0.2989, 0.587, 0.114] / 127.5 - 1, atol=1e-3)


def test_stripes_are_averaged_when_shrunk() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(np.asarray(Image(size=8)(stripes))).max() < 0.05


def test_fit() -> None:
    wide = np.full((1, 16, 48, 3), 128, np.uint8)
    wide[:, :, :16] = 0
    stretched, cropped = (np.asarray(Image(size=16, fit=fit)(wide)) for fit in ("stretch", "crop"))
    assert stretched.shape == cropped.shape == (1, 16, 16, 3)
    assert stretched[0, :, :4].max() < -0.9
    assert cropped.min() > -0.05


@pytest.mark.parametrize("preset", sorted(list_presets()))
def test_presets_and_shapes(preset: str) -> None:
    layer = Image.from_preset(preset)
    name, _, size = preset.partition("_")
    shape = (None, int(size), int(size), 1 if name == "grey" else 3)
    assert layer.compute_output_shape((None, 50, 60, 3)) == shape
    inputs = keras.Input((20, 30, 3), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == shape
    assert model.count_params() == 0


def test_saved_and_loaded_and_of_any_input_size(tmp_path: Path) -> None:
    layer = Image(size=12, grey=True, fit="crop", mean=0.3, std=0.2)
    model = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), layer])
    model.save(tmp_path / "front.keras")
    again = keras.saving.load_model(tmp_path / "front.keras")
    np.testing.assert_array_equal(again(PICTURES), layer(PICTURES))
    assert Image.from_config(layer.get_config()).get_config() == layer.get_config()


def test_one_function_knows_all_presets() -> None:
    assert {"arm_40ms", "mlperf_tiny", "rgb_96"} <= set(list_frontends())
    mfcc, image = frontend("arm_40ms", coefficients=12), frontend("rgb_96", grey=True)
    assert isinstance(mfcc, MFCC) and mfcc.coefficients == 12
    assert isinstance(image, Image) and image.channels == 1
    assert (frontend_kind(mfcc), frontend_kind(image)) == ("audio", "image")
    with pytest.raises(UnknownNameError, match="Unknown front end. Did you mean 'rgb_96'.*arm_40ms"):
        frontend("rgb96")
    with pytest.raises(UnknownNameError, match="Unknown front end"):
        Image.from_preset("arm_40ms")
    with pytest.raises(ValueError, match="colour"):
        frontend("rgb_96", colour=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 4}, "`size` of Image must be a whole number from 8 to 1024"),
        ({"size": (1, 2, 3)}, "`size` of Image must be one number, or height and width"),
        ({"grey": 1}, "`grey` of Image must be True or False"),
        ({"fit": "pad"}, "`fit` of Image must be one of 'stretch', 'crop'"),
        ({"std": 0}, "`std` of Image must be a number from 0.001 to 10"),
        ({"mean": (0.5, 0.5)}, "one for each of the 3 channels"),
        ({"mean": (0.5, 0.5, 0.5), "grey": True}, "one for each of the 1 channels"),
        ({"dtype": "float16"}, "always computed in float32"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Image(**wrong)


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"\(batch, height, width, 3\). Received: shape \(3, 16, 24, 1\)"):
        Image()(PICTURES[..., :1])
    with pytest.raises(InvalidArgumentError, match="takes pictures"):
        Image()(np.zeros((2, 16000), np.int16))


def test_pictures_of_16_bit_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="uint8 pictures, or floats from 0 to 255. Received: .*uint16"):
        Image(size=(16, 24))(PICTURES.astype(np.uint16) * 257)
