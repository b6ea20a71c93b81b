"""Presets: trained networks in folders that are checked before they are read."""

import lazy_loader

SUBMODULES = (
    "architecture", "cards", "files", "golden", "handles", "hub_metadata", "preset", "registry", "safe_config",
    "saving", "uploading",
)  # fmt: skip

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, SUBMODULES)
