"""Simulated chips: programmed, stored, read at any time, run and evaluated."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    (
        "batch_norm",
        "chips",
        "compiled",
        "figures",
        "files",
        "fused",
        "programming",
        "report",
        "runtime",
        "trained_arrays",
    ),
)
