"""DAC, ADC, weight-to-conductance mapping, tiles and hardware presets."""

from analognets.crossbar.converters import convert, levels, steps
from analognets.crossbar.hardware import Crossbar, get, list_presets
from analognets.crossbar.mapping import Tiling, conductances_to_weights, matrix_shape, weights_to_conductances

__all__ = [
    "Crossbar",
    "Tiling",
    "conductances_to_weights",
    "convert",
    "get",
    "levels",
    "list_presets",
    "matrix_shape",
    "steps",
    "weights_to_conductances",
]
