"""Golden inputs and outputs: made by this package, so that no recording or photograph of a data set is passed on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.datasets.frontend import MFCC
from analognets.datasets.frontends import frontend_kind
from analognets.datasets.image_frontend import Image
from analognets.errors import PresetError
from analognets.zoo.presets.architecture import in_double_precision
from analognets.zoo.presets.preset import predict

__all__ = ["make_golden"]

KEPT = 4
DRAWN = 12
ROBUST = 1e-6
FREE_AXIS = 16


def make_golden(model: keras.Model, frontend: Any, examples: Any = None, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs, their features and the network's outputs, to check a preset with on other machines.

    Of all inputs those are kept whose outputs in float32 and float64 agree: a converter that rounds a value near the
    middle of two steps would give other outputs on another processor. Among them those with different outputs come
    first: a network of few bits gives the same saturated outputs to many inputs, and these would not tell its weights.

    Args:
        model: the network as loaded from the preset.
        frontend: the layer before it, or None.
        examples: inputs to use instead of made ones: raw data if there is a front end, else features; an array, or a
            list of arrays for several inputs.
        seed: of the made inputs.

    Raises:
        PresetError: no input can be made for this front end or network.
    """
    rng = np.random.default_rng(seed)
    golden = {}
    if frontend is not None:
        raw = _raw(frontend, model, rng) if examples is None else np.asarray(examples)
        golden["raw/0"] = raw
        inputs = predict(frontend, [raw])
    elif examples is None:
        inputs = [_noise(tensor, rng) for tensor in model.inputs]
    else:
        inputs = [np.asarray(item) for item in (examples if isinstance(examples, (list, tuple)) else [examples])]
    try:
        outputs = predict(model, inputs)
    except Exception as error:  # Keras and TensorFlow raise many kinds for inputs that don't fit
        reason = str(error).strip().splitlines()[0]
        raise PresetError(
            f"Model '{model.name}' can't be run on {'the' if examples is not None else 'made'} inputs: {reason} Pass "
            "some that it takes as examples=."
        ) from error
    exact, keep = _exact(model, inputs, outputs)
    golden |= {f"inputs/{number}": item for number, item in enumerate(inputs)}
    golden |= {f"outputs/{number}": item for number, item in enumerate(exact)}
    return {name: np.ascontiguousarray(item[keep]) for name, item in golden.items()}


def _exact(
    model: keras.Model, inputs: list[np.ndarray], outputs: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return outputs computed in float64 where the network allows it, and the positions of the robust samples."""
    try:
        exact = [item.astype(np.float32) for item in predict(in_double_precision(model), inputs)]
    except Exception:  # a layer of the user's that knows float32 only
        return outputs, np.arange(min(KEPT, len(inputs[0])))
    gaps = np.zeros(len(inputs[0]))
    for one, other in zip(outputs, exact, strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        gaps = np.maximum(gaps, np.abs(one - other).reshape(len(one), -1).max(1) / scale)
    rows = np.concatenate([one.reshape(len(one), -1) for one in exact], axis=1).round(4)
    repeated = np.ones(len(rows), bool)
    repeated[np.unique(rows, axis=0, return_index=True)[1]] = False
    order = np.lexsort((np.arange(len(rows)), repeated, gaps > ROBUST))[:KEPT]
    if gaps[order].max() > ROBUST:
        order = np.argsort(gaps, kind="stable")[:KEPT]
        exact = outputs
    return exact, np.sort(order)


def _raw(frontend: Any, model: keras.Model, rng: np.random.Generator) -> np.ndarray:
    """Return made sound (int16) or made pictures (uint8) for a front end."""
    if isinstance(frontend, MFCC):
        frames = model.inputs[0].shape[1] or FREE_AXIS
        return _sounds(frontend.window_length + (frames - 1) * frontend.hop_length, frontend.sample_rate, rng)
    if isinstance(frontend, Image) and frontend_kind(frontend) == "image":
        height, width = frontend.size
        return _pictures(height * 5 // 4, width * 3 // 2, rng)
    raise PresetError(
        f"No inputs can be made for the front end {type(frontend).__name__}. Pass some raw ones as examples=."
    )


def _sounds(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Gliding tones with overtones that swell and fade, on a bed of noise."""
    time = np.arange(samples) / rate
    clips = []
    for _ in range(DRAWN):
        pitch = rng.uniform(100, 400) * (1 + rng.uniform(-0.3, 0.3) * time)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        voice = sum(rng.uniform(0, 1) / k * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, 12))
        swell = np.exp(-(((time / time[-1] - rng.uniform(0.3, 0.7)) / 0.2) ** 2))
        clips.append(rng.uniform(0.05, 0.3) * swell * voice + rng.uniform(1e-3, 2e-2) * rng.normal(size=samples))
    return np.clip(np.round(np.array(clips) * 32767), -32768, 32767).astype(np.int16)


def _pictures(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Soft waves of colour and patches with sharp edges, in turn, with some grain."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    pictures = np.full((DRAWN, height, width, 3), 127.0)
    for picture in pictures[::2]:
        for channel in range(3):
            for _ in range(4):
                fy, fx, phase = rng.uniform(-6, 6, 3)
                picture[..., channel] += rng.uniform(5, 40) * np.sin(2 * np.pi * (fy * y + fx * x) + phase)
    for picture in pictures[1::2]:
        for _ in range(rng.integers(4, 25)):
            top, left = rng.integers(height), rng.integers(width)
            patch = picture[top : top + rng.integers(4, height), left : left + rng.integers(4, width)]
            patch[:] = rng.uniform(0, 255, 3)
    return np.clip(np.round(pictures + rng.normal(0, 6, pictures.shape)), 0, 255).astype(np.uint8)


def _noise(tensor: Any, rng: np.random.Generator) -> np.ndarray:
    shape = [DRAWN, *(axis or FREE_AXIS for axis in tensor.shape[1:])]
    kind = keras.backend.standardize_dtype(tensor.dtype)
    return (
        rng.integers(0, 2, shape).astype(kind)
        if "int" in kind or kind == "bool"
        else rng.normal(size=shape).astype(kind)
    )
