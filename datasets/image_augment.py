"""Random changes to training pictures, drawn from stateless seeds: the same seed gives the same batch, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.errors import InvalidArgumentError, check_integer, check_number

__all__ = ["ImageAugmentation"]

_CUTOUTS = 4
_FLIP, _SHIFT_X, _SHIFT_Y, _ZOOM, _ANGLE, _STRETCH, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE, _GREY = range(11)
_CUTOUT = _GREY + 1  # for each: use, middle x, middle y, size
_DRAWS = _CUTOUT + 4 * _CUTOUTS
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class ImageAugmentation:
    """What is changed at random in training pictures; with the defaults nothing is.

    Geometry is one projection of the whole picture, bilinear, with reflected borders: flip, then turn by an angle,
    zoom, stretch and shift. Then colours: x -> grey + s (x - grey) in saturation, a turn of the hue in the YIQ plane,
    x -> m + c (x - m) in contrast (m: the picture's mean), x + b in brightness, clipped to 0 to 255. Then squares are
    cut out. Everything is drawn anew for each picture.

    Args:
        flip: mirror left and right with probability 1/2.
        shift: largest shift to either side, as a share of the side, 0 to 0.5.
        zoom: largest relative change of size, 0 to 0.9: a factor from 1 - zoom to 1 + zoom.
        stretch: largest relative change of the ratio of height to width, 0 to 0.9.
        rotation: largest angle to either side, in degrees, 0 to 180.
        brightness: largest change to either side, as a share of full scale, 0 to 1.
        contrast: largest relative change, 0 to 1.
        saturation: largest relative change, 0 to 1.
        hue: largest turn of the colour circle to either side, as a share of the circle, 0 to 0.5.
        grey_probability: share of pictures that lose all colour, 0 to 1.
        cutouts: squares to cut out, 0 to 4; they are filled with the picture's mean colour.
        cutout_size: largest side of a square, as a share of the picture's shorter side, 0 to 1.
        cutout_probability: chance of each square, 0 to 1.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Examples:
        >>> augmentation = ImageAugmentation(flip=True, shift=0.1, brightness=0.2)
        >>> {name: value for name, value in augmentation.get_config().items() if value}
        {'flip': True, 'shift': 0.1, 'brightness': 0.2, 'cutout_size': 0.5, 'cutout_probability': 1.0}

    Source: cutout: DeVries and Taylor, arXiv:1708.04552 (ours varies the side and fills with the mean); the rest is
    usual practice.
    """

    flip: bool = False
    shift: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey_probability: float = 0.0
    cutouts: int = 0
    cutout_size: float = 0.5
    cutout_probability: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise InvalidArgumentError(
                f"`flip` of ImageAugmentation must be True or False. Received: flip={self.flip!r}."
            )
        limits = {"shift": 0.5, "zoom": 0.9, "stretch": 0.9, "rotation": 180.0, "hue": 0.5}
        for item in fields(self):
            if item.name not in ("flip", "cutouts"):
                value = check_number(
                    "ImageAugmentation", item.name, getattr(self, item.name), 0, limits.get(item.name, 1)
                )
                object.__setattr__(self, item.name, value)
        check_integer("ImageAugmentation", "cutouts", self.cutouts, 0, _CUTOUTS)

    @property
    def needs_noise(self) -> bool:
        """Whether recordings are mixed in: never."""
        return False

    @property
    def silence_recut(self) -> bool:
        """Whether clips of silence are made from nothing: never."""
        return False

    def get_config(self) -> dict[str, Any]:
        """Return all settings by name; `ImageAugmentation(**config)` is the same again."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def draw(self, pictures: Any, seed: Any) -> Any:
        """Return the random numbers of so many pictures, uniform in [0, 1): (pictures, draws). `seed` is two integers.

        Each setting uses columns of its own: switching one on leaves the draws of the others as they are.
        """
        return tf.random.stateless_uniform([pictures, _DRAWS], tf.convert_to_tensor(seed))

    def pictures(self, pictures: Any, draws: Any) -> Any:
        """Return changed pictures, float32 from 0 to 255, of the same shape.

        Args:
            pictures: (batch, height, width, 3), uint8 or floats from 0 to 255; height and width are known.
            draws: from `draw`.
        """
        result = tf.cast(pictures, tf.float32)
        result = self._moved(result, draws)
        result = self._coloured(result, draws)
        return self._cut(result, draws)

    def features(self, frontend: Any, pictures: Any, draws: Any, **_: Any) -> Any:
        """Return what the front end makes of changed pictures."""
        return frontend(self.pictures(pictures, draws))

    def _moved(self, pictures: Any, draws: Any) -> Any:
        if not (self.flip or self.shift or self.zoom or self.stretch or self.rotation):
            return pictures
        height, width = (float(side) for side in pictures.shape[1:3])
        angle = _around(draws, _ANGLE, self.rotation * np.pi / 180)
        zoom = 1 / (1 + _around(draws, _ZOOM, self.zoom))
        stretch = tf.sqrt(1 + _around(draws, _STRETCH, self.stretch))
        mirror = tf.where(draws[:, _FLIP] < 0.5, -1.0, 1.0) if self.flip else tf.ones_like(angle)
        # Output pixel p shows input pixel A (p - middle) + middle + shift.
        a, b = mirror * zoom * stretch * tf.cos(angle), -mirror * zoom / stretch * tf.sin(angle)
        c, d = zoom * stretch * tf.sin(angle), zoom / stretch * tf.cos(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        right = x - a * x - b * y + tf.round(_around(draws, _SHIFT_X, self.shift * width))
        down = y - c * x - d * y + tf.round(_around(draws, _SHIFT_Y, self.shift * height))
        zero = tf.zeros_like(angle)
        transform = tf.stack([a, b, right, c, d, down, zero, zero], axis=1)
        return keras.ops.image.affine_transform(
            pictures, transform, interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
        )

    def _coloured(self, pictures: Any, draws: Any) -> Any:
        """Saturation and hue are one 3 x 3 matrix a picture; contrast and brightness one factor and one offset."""
        result = pictures
        if self.saturation or self.hue or self.grey_probability:
            matrix = self._colour_matrix(draws)
            flat = tf.reshape(result, [-1, result.shape[1] * result.shape[2], 3])
            result = tf.reshape(tf.matmul(flat, matrix), tf.shape(result))
            result = tf.ensure_shape(result, pictures.shape)
        if self.contrast or self.brightness:
            factor = 1 + _around(draws, _CONTRAST, self.contrast)[:, None, None, None]
            offset = 255 * _around(draws, _BRIGHTNESS, self.brightness)[:, None, None, None]
            mean = tf.reduce_mean(result, axis=[1, 2, 3], keepdims=True)
            result = result * factor + (mean * (1 - factor) + offset)
        return result if result is pictures else tf.clip_by_value(result, 0.0, 255.0)

    def _colour_matrix(self, draws: Any) -> Any:
        """Return the matrix that acts on rows of RGB: grey is kept, colour is scaled and turned in the YIQ plane."""
        to_yiq = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], np.float64).T
        turn = _around(draws, _HUE, 2 * np.pi * self.hue)
        strength = 1 + _around(draws, _SATURATION, self.saturation)
        strength = tf.where(draws[:, _GREY] < self.grey_probability, 0.0, strength)
        one, zero = tf.ones_like(turn), tf.zeros_like(turn)
        cos, sin = strength * tf.cos(turn), strength * tf.sin(turn)
        rows = [tf.stack(row, axis=-1) for row in ((one, zero, zero), (zero, cos, sin), (zero, -sin, cos))]
        to_rgb = np.linalg.inv(to_yiq).astype(np.float32)
        return tf.matmul(tf.matmul(to_yiq.astype(np.float32)[None], tf.stack(rows, axis=1)), to_rgb[None])

    def _cut(self, pictures: Any, draws: Any) -> Any:
        if not (self.cutouts and self.cutout_size and self.cutout_probability):
            return pictures
        height, width = pictures.shape[1:3]
        hidden = []
        for number in range(self.cutouts):
            use, x, y, size = (draws[:, _CUTOUT + 4 * number + i, None] for i in range(4))
            half = size * self.cutout_size * min(height, width) / 2
            half = tf.where(use < self.cutout_probability, half, -1.0)
            rows = tf.abs(np.arange(height, dtype=np.float32) + 0.5 - y * height) <= half
            columns = tf.abs(np.arange(width, dtype=np.float32) + 0.5 - x * width) <= half
            hidden.append(rows[:, :, None] & columns[:, None, :])
        mean = tf.reduce_mean(pictures, axis=[1, 2], keepdims=True)
        return tf.where(tf.reduce_any(tf.stack(hidden), axis=0)[..., None], mean, pictures)


def _around(draws: Any, column: int, most: float) -> Any:
    """Return numbers from -most to +most."""
    return most * (2 * draws[:, column] - 1)
