"""Two-stage hardware-aware training: recipes, run folders that survive a kill, callbacks.

`Recipe`, `load_recipe` and `Run` load without Keras; the rest brings it in on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from analognets.training.recipe import Recipe, load_recipe
from analognets.training.run import Run

if TYPE_CHECKING:
    from analognets.training.callbacks import EpochSeeds, NoiseRamp, WeightRangeRefresh
    from analognets.training.distillation import Distiller
    from analognets.training.in_memory import DeviceLog, MixedPrecision, device_figure
    from analognets.training.progress import Progress, TrainingData
    from analognets.training.report import training_report
    from analognets.training.stages import TrainingResult, train

__all__ = [
    "DeviceLog",
    "Distiller",
    "EpochSeeds",
    "MixedPrecision",
    "NoiseRamp",
    "Progress",
    "Recipe",
    "Run",
    "TrainingData",
    "TrainingResult",
    "WeightRangeRefresh",
    "device_figure",
    "load_recipe",
    "train",
    "training_report",
]

_LAZY = {
    "Distiller": "distillation",
    "DeviceLog": "in_memory",
    "MixedPrecision": "in_memory",
    "device_figure": "in_memory",
    "EpochSeeds": "callbacks",
    "NoiseRamp": "callbacks",
    "WeightRangeRefresh": "callbacks",
    "Progress": "progress",
    "TrainingData": "progress",
    "TrainingResult": "stages",
    "train": "stages",
    "training_report": "report",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"analognets.training.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'analognets.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
