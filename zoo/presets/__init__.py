"""Presets: trained networks in folders that are checked before they are read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ("architecture", "cards", "files", "golden", "handles", "preset", "registry", "safe_config", "saving")
)
