"""Simulated chips: programmed, stored, read at any time, run and evaluated. Everything loads on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "by_class": ["by_class"],
        "chip": ["Chip"],
        "chips": ["Chips", "accuracy", "program", "summarize"],
        "figures": ["drift_figure"],
        "trained_arrays": ["from_devices"],
    },
)
