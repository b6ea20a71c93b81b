"""Front ends by the name of their preset: what stands before the network, for sound and for pictures."""

from __future__ import annotations

from typing import Any

import keras

from analognets.datasets import frontend as audio_frontend
from analognets.datasets import image_frontend
from analognets.datasets.frontend import MFCC
from analognets.datasets.image_frontend import Image
from analognets.errors import UnknownNameError

__all__ = ["frontend", "frontend_kind", "list_frontends"]


def list_frontends() -> dict[str, str]:
    """Return the name of each preset, for sound and for pictures, and where its settings come from."""
    return {**audio_frontend.list_presets(), **image_frontend.list_presets()}


def frontend(preset: str, **options: Any) -> MFCC | Image:
    """Return the front end of that name, with single settings changed by keyword.

    Args:
        preset: one of `list_frontends()`: "arm_40ms" and "mlperf_tiny" are `MFCC`, "rgb_96" and the like `Image`.
        **options: settings of that layer that differ from the preset.

    Raises:
        UnknownNameError: there is no such preset.
        InvalidArgumentError: a setting is not allowed.
        ValueError: the layer has no such setting.
    """
    if preset in audio_frontend.list_presets():
        return MFCC.from_preset(preset, **options)
    if preset in image_frontend.list_presets():
        return Image.from_preset(preset, **options)
    raise UnknownNameError("front end", preset, list_frontends())


def frontend_kind(layer: keras.layers.Layer) -> str:
    """Return what a front end takes: "image", or "audio"."""
    return "image" if isinstance(layer, Image) else "audio"
