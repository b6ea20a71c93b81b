"""What makes a converted model ready for chips and training: frozen, calibrated, and compiled as the model given."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from analognets.layers import calibrate, freeze_weight_range

__all__ = ["made_ready"]

SIGMA = 2.0


def made_ready(analog: keras.Model, model: keras.Model, inputs: Any) -> keras.Model:
    """Freeze W_max of an analog model, calibrate and compile it, and add what was done to its report.

    Args:
        analog: the converted model.
        model: the model it was made from.
        inputs: as `calibrate` takes them.

    Raises:
        InvalidArgumentError: `inputs` hold no batch or lead to NaN or infinity.
    """
    freeze_weight_range(analog, sigma=SIGMA)
    samples = calibrate(analog, inputs)
    analog.conversion_report = dataclasses.replace(
        analog.conversion_report,
        steps=(
            f"W_max frozen at {SIGMA:g} sigma of each kernel, weights clipped to it.",
            f"Converter ranges calibrated on {samples} samples.",
            compiled_like(analog, model),
        ),
    )
    return analog


def compiled_like(analog: keras.Model, model: keras.Model) -> str:
    """Compile a model with fresh copies of another one's optimizer, loss and metrics; returns what was done."""
    if not model.compiled:
        return "Not compiled, as the model given is not."
    if type(model).compile is not keras.Model.compile:
        return f"Not compiled, since {type(model).__name__} has a `compile` of its own: compile it as that one."
    config = model.get_compile_config()
    settings: dict[str, Any] = {}
    for name, value in config.items():
        try:
            settings[name] = keras.saving.deserialize_keras_object(value)
        except (TypeError, ValueError):  # a function that is in no module
            if name == "loss":
                settings[name] = model.loss
    if "optimizer" not in settings:
        return f"Not compiled, since its optimizer {described(config['optimizer'])} can't be made from its config."
    analog.compile(**{**settings, "jit_compile": False})
    parts = {name: described(config[name]) for name in ("optimizer", "loss", "metrics") if name in settings}
    done = f"Compiled with {', '.join(f'{name} {text}' for name, text in parts.items() if text)}; jit_compile off."
    lost = [name for name in config if name not in settings]
    return f"{done} Left out, as they can't be made from their config: {', '.join(lost)}." if lost else done


def described(config: Any) -> str:
    """Return the names of the objects in a part of a compile config."""
    if isinstance(config, dict) and "class_name" in config:
        inside = config["config"]
        return inside if isinstance(inside, str) else str(config["class_name"])
    if isinstance(config, (dict, list, tuple)):
        items = config.values() if isinstance(config, dict) else config
        return ", ".join(text for text in map(described, items) if text)
    return "" if config is None else str(config)
