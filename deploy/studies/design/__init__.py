"""Which hardware a network needs: a search over bits by layer, ADC sharing and arrays under a budget."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ("bench", "budgets", "design", "figures", "files", "knobs", "prices", "search", "space", "winners")
)
