"""The Keras way from a trained network to an analog in-memory chip.

Everything below loads on first use, so that `import analognets` stays free of TensorFlow:

    import analognets as an

    analog = an.to_analog(model, hardware="aon_cim_8bit")
    chips = an.deploy.program(analog, chips=25, seed=0)
    table = chips.evaluate(test_data, at=["25s", "1d", "1y"])
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from analognets._version import __version__

__all__ = [
    "__version__",
    "conversion",
    "crossbar",
    "datasets",
    "deploy",
    "devices",
    "errors",
    "layers",
    "metrics",
    "spiking",
    "to_analog",
    "to_digital",
    "training",
    "units",
    "zoo",
]

_FUNCTIONS = {"to_analog": "analognets.conversion", "to_digital": "analognets.conversion"}
_ROOMS = ("conversion", "crossbar", "devices", "errors", "layers", "metrics", "spiking", "training", "units")

# zoo, datasets and deploy hold no __init__.py (see pyproject.toml): what they show beside their modules is listed here.
_DOORS: dict[str, dict[str, str]] = {
    "zoo": {
        "list_models": "registry",
        "load_preset": "registry",
        "from_preset": "registry",
        "save_to_preset": "saving",
        "finetune_recipe": "finetune",
        "analognet_kws": "kws",
        "analognet_vww": "vww",
        "ds_cnn": "baselines",
        "micronet_kws_m": "baselines",
        "micronet_kws_s": "baselines",
        "mobilenet_v1_025": "baselines",
    },
    "datasets": {
        "load_dataset": "registry",
        "list_datasets": "registry",
        "MFCC": "frontend",
        "Augmentation": "augment",
        "Image": "image_frontend",
        "ImageAugmentation": "image_augment",
        "train_batches": "pipeline",
        "eval_batches": "pipeline",
    },
    "deploy": {
        "program": "chips",
        "Chips": "chips",
        "from_devices": "trained_arrays",
        "summarize": "chips",
        "drift_figure": "figures",
        "to_litert": "litert",
        "to_litert_qat": "qat",
        "to_tflm": "tflm",
        "Interpreter": "litert_runtime",
        "place": "accelerator",
        "cost": "accelerator",
        "explore": "exploration",
        "pareto_figure": "exploration_figures",
        "sweep": "sweeps",
        "sweep_nonideality": "sensitivity",
        "equal_error_study": "sensitivity",
        "threshold_study": "sensitivity",
        "layer_study": "sensitivity",
    },
}


def _open_door(room: str) -> ModuleType:
    """Import a folder without __init__.py and let it find the names of `_DOORS` and its own modules on first use."""
    package = importlib.import_module(f"analognets.{room}")
    names = _DOORS[room]

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
        module = f"{package.__name__}.{names.get(name, name)}"
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}") from None
        return getattr(found, name) if name in names else found

    vars(package).update(
        __getattr__=__getattr__, __dir__=lambda: sorted({*vars(package), *names}), __all__=sorted(names)
    )
    return package


for _room in _DOORS:
    _open_door(_room)
del _room


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"analognets.{name}")
    raise AttributeError(f"module 'analognets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
