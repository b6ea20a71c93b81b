"""Image front end: size, colour and scale of pictures as one Keras layer for training, evaluation and export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.errors import InvalidArgumentError, UnknownNameError, check_choice, check_integer, check_number

__all__ = ["Image", "list_presets"]

_OURS = "Size of the network's input; scaled to [-1, 1]. "
_PRESETS: dict[str, dict[str, Any]] = {
    "rgb_32": {"source": _OURS + "Our choice, for small pictures such as CIFAR's.", "settings": {"size": 32}},
    "rgb_48": {"source": _OURS + "Our choice.", "settings": {"size": 48}},
    "rgb_64": {"source": _OURS + "Our choice, for quick trainings.", "settings": {"size": 64}},
    "rgb_96": {
        "source": _OURS + "96 x 96 colour, as in MLPerf Tiny's Visual Wake Words (Banbury et al., arXiv:2106.07597).",
        "settings": {"size": 96},
    },
    "rgb_100": {
        "source": _OURS + "100 x 100 colour, the input of AnalogNet-VWW (arXiv:2111.06503, from memory).",
        "settings": {"size": 100},
    },
    "rgb_128": {"source": _OURS + "Our choice.", "settings": {"size": 128}},
    "rgb_224": {"source": _OURS + "224 x 224, usual for networks trained on ImageNet.", "settings": {"size": 224}},
    "grey_28": {
        "source": "28 x 28 grey, scaled to [0, 1], as usual for MNIST. Our choice.",
        "settings": {"size": 28, "grey": True, "mean": 0.0, "std": 1.0},
    },
    "grey_96": {
        "source": _OURS + "96 x 96 grey, as in the person detection example of TensorFlow Lite for Microcontrollers.",
        "settings": {"size": 96, "grey": True},
    },
}


def list_presets() -> dict[str, str]:
    """Return the name of each preset of `Image` and where its settings come from."""
    return {name: preset["source"] for name, preset in _PRESETS.items()}


@keras.saving.register_keras_serializable(package="analognets")
class Image(keras.layers.Layer):
    """Bring pictures to the size, colour and scale of a network's input.

    y = (x / 255 - mean) / std,  which is [-1, 1] with the default mean and std of 0.5,

    after resizing (bilinear, antialiased, only if the size differs) and, if wanted, the change to grey
    (0.2989 R + 0.5870 G + 0.1140 B).

    Input: (batch, height, width, 3), or of one channel if the output is grey; uint8 or floats from 0 to 255.
    Output: float32 (batch, size[0], size[1], 3, or 1 if grey).

    Args:
        size: height and width of the output in pixels, 8 to 1024 each; one number for a square.
        grey: one channel instead of three.
        fit: "stretch" keeps all of the picture and changes its shape, so that what it shows stays in it; "crop" takes
            the largest middle part of the right shape.
        mean: what is subtracted after the division by 255: one number or one for each output channel, -10 to 10.
        std: what that is divided by, 1e-3 to 10: one number or one for each output channel.
        name: name of the layer.
        **kwargs: further arguments of `keras.layers.Layer`.

    Raises:
        InvalidArgumentError: a setting is not allowed.

    Examples:
        >>> pictures = np.full((1, 32, 48, 3), 255, "uint8")
        >>> outputs = Image(size=16)(pictures)
        >>> print(outputs.shape, np.max(outputs).round(3))
        (1, 16, 16, 3) 1.0

    Source: grey: ITU-R BT.601 as in `keras.ops.image.rgb_to_grayscale`; presets: see `list_presets`.
    """

    def __init__(
        self,
        *,
        size: int | Sequence[int] = 96,
        grey: bool = False,
        fit: str = "stretch",
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        dtype = kwargs.pop("dtype", None)
        if dtype is not None and keras.dtype_policies.get(dtype).compute_dtype != "float32":
            raise InvalidArgumentError(
                "Image is always computed in float32; leave `dtype` away and cast its output. "
                f"Received: dtype={dtype!r}."
            )
        super().__init__(name=name, dtype="float32", **kwargs)
        self.size = _sides(size)
        if not isinstance(grey, bool):
            raise InvalidArgumentError(f"`grey` of Image must be True or False. Received: grey={grey!r}.")
        self.grey = grey
        self.fit = check_choice("Image", "fit", fit, ("stretch", "crop"))
        self.mean = self._per_channel("mean", mean, -10)
        self.std = self._per_channel("std", std, 1e-3)

    @classmethod
    def from_preset(cls, name: str = "rgb_96", **overrides: Any) -> Image:
        """Return the front end of that name, with single settings changed by keyword.

        Raises:
            UnknownNameError: there is no such preset; `list_presets()` returns what there is.
        """
        if name not in _PRESETS:
            raise UnknownNameError("front end", name, _PRESETS)
        return cls(**{**_PRESETS[name]["settings"], **overrides})

    @property
    def channels(self) -> int:
        """Channels of the output: 1 or 3."""
        return 1 if self.grey else 3

    def call(self, inputs: Any) -> Any:
        pictures = ops.convert_to_tensor(inputs)
        if keras.backend.standardize_dtype(pictures.dtype) in ("int16", "uint16", "uint32", "uint64"):
            raise InvalidArgumentError(
                f"Image takes uint8 pictures, or floats from 0 to 255. Received: {pictures.dtype}. Divide 16-bit "
                "pictures by 257."
            )
        pictures = ops.cast(pictures, "float32")
        self._check_shape(pictures.shape)
        if self.grey and pictures.shape[-1] == 3:
            pictures = ops.image.rgb_to_grayscale(pictures, data_format="channels_last")
        if tuple(pictures.shape[1:3]) != self.size:
            pictures = ops.image.resize(
                pictures,
                self.size,
                interpolation="bilinear",
                antialias=True,
                crop_to_aspect_ratio=self.fit == "crop",
                data_format="channels_last",
            )
        scale = 1 / (255 * np.asarray(self.std, np.float64))
        offset = np.asarray(self.mean, np.float64) / np.asarray(self.std, np.float64)
        return pictures * scale.astype("float32") - offset.astype("float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], *self.size, self.channels)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._check_shape(input_shape)
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in ("size", "grey", "fit", "mean", "std")}
        return {**super().get_config(), **settings}

    def _check_shape(self, shape: Any) -> None:
        if len(shape) != 4 or shape[-1] not in ((1, 3) if self.grey else (3,)):
            channels = "1 or 3" if self.grey else "3"
            raise InvalidArgumentError(
                f"Image takes pictures of shape (batch, height, width, {channels}). Received: shape {tuple(shape)}."
            )

    def _per_channel(self, name: str, values: Any, low: float) -> float | tuple[float, ...]:
        if not isinstance(values, (list, tuple)):
            return check_number("Image", name, values, low, 10)
        if len(values) != self.channels:
            raise InvalidArgumentError(
                f"`{name}` of Image must be one number, or one for each of the {self.channels} channels. "
                f"Received: {name}={values!r}."
            )
        return tuple(check_number("Image", name, value, low, 10) for value in values)


def _sides(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2:
        raise InvalidArgumentError(f"`size` of Image must be one number, or height and width. Received: size={size!r}.")
    height, width = (check_integer("Image", "size", side, 8, 1024) for side in sides)
    return height, width
