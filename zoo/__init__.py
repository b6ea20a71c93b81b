"""Networks, presets and recipes: what can be trained, and what has been. Everything loads on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
