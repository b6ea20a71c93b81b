"""Exchange with a laboratory: target conductances out, measured conductances in."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ("arrays", "files", "format", "measured", "orientation", "plain", "recording", "targets")
)
