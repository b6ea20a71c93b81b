"""Experiments that are no two-stage training: learning with spikes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ("letters", "spiking_recipe", "spoken_letters", "stdp_mnist")
)
