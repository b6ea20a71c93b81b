"""Builders of the networks of the zoo; each returns a plain Keras model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    (
        "baselines",
        "bert",
        "bert_weights",
        "digits",
        "gan",
        "imagenet",
        "kws",
        "kws_models",
        "resnet",
        "sequences",
        "vww",
    ),
)
