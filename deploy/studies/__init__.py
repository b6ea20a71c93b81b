"""Studies over many chips: sweeps, sensitivity, exploration, comparison."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    (
        "ageing",
        "by_chip",
        "certify",
        "compare",
        "design",
        "evaluate",
        "explore",
        "explore_figures",
        "explore_point",
        "other_hardware",
        "sensitivity",
        "sweep",
    ),
)
