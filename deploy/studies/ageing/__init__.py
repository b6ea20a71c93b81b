"""Accuracy over time without simulating many chips: mean network, linearised margins, a check on a few chips."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    (
        "check",
        "gaussian",
        "law",
        "linear",
        "margin_laws",
        "margins",
        "mean_network",
        "moments",
        "predict",
        "regression",
    ),
)
