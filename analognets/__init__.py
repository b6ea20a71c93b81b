"""Train Keras networks for analog in-memory computing and simulate them on PCM chips.

Everything below loads on first use, so that `import analognets` stays free of TensorFlow:

    import analognets as an

    analog = an.to_analog(model, hardware="aon_cim_8bit")
    chips = an.deploy.program(analog, chips=25, seed=0)
    table = chips.evaluate(test_data, at=["25s", "1d", "1y"])
"""

import importlib

import lazy_loader

_ROOMS = (
    "conversion",
    "crossbar",
    "datasets",
    "deploy",
    "devices",
    "errors",
    "layers",
    "metrics",
    "spiking",
    "synapses",
    "training",
    "units",
    "zoo",
)
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, _ROOMS, {"_version": ["__version__"], "conversion": ["plan", "to_analog", "to_digital"]}
)

# A folder named `datasets` with an __init__.py would hide Hugging Face's package in the repository's root, so this one
# has none, and what it shows beside its modules stands here.
vars(importlib.import_module("analognets.datasets")).update(
    zip(
        ("__getattr__", "__dir__", "__all__"),
        lazy_loader.attach(
            "analognets.datasets",
            submod_attrs={
                "augment": ["Augmentation"],
                "frontend": ["MFCC"],
                "image_augment": ["ImageAugmentation"],
                "image_frontend": ["Image"],
                "pipeline": ["eval_batches", "train_batches"],
                "registry": ["list_datasets", "load_dataset", "register_dataset"],
            },
        ),
        strict=True,
    )
)
