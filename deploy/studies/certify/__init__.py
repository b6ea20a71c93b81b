"""What can be promised of the chips of a network: a share of them keeps an accuracy, with a confidence."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ("bench", "certificate", "certify", "constants", "statistics")
)
