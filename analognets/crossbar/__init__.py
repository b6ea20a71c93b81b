"""DAC, ADC, weight-to-conductance mapping, tiles, hardware presets and the analog product with its non-idealities."""

from analognets.crossbar.by_layer import HardwareByLayer, changed_as_in_recipes, changes_as_in_recipes
from analognets.crossbar.cells import (
    program,
    program_with,
    programming_draws,
    read,
    read_conductances_with,
    read_draws,
    read_with,
    tile_responses,
)
from analognets.crossbar.converters import convert, levels, steps
from analognets.crossbar.effects import Effect, list_effects, possible_effects
from analognets.crossbar.forward import PlainTile, Tile, draw_periphery, forward, tiled_product
from analognets.crossbar.hardware import Crossbar, get, list_presets
from analognets.crossbar.mapping import (
    Tiling,
    column_scales,
    conductances_to_weights,
    matrix_shape,
    weights_to_conductances,
)
from analognets.crossbar.nonidealities import (
    ADCGainSpread,
    ADCNonlinearity,
    ADCOffsetSpread,
    InputNoise,
    IRDrop,
    OutputNoise,
    PolarityAsymmetry,
    ShortTermNoise,
    StuckDevices,
)
from analognets.crossbar.nonideality import NonIdeality
from analognets.crossbar.product_error import ProductError, product_error
from analognets.crossbar.registry import get_nonideality, list_nonidealities, register_nonideality

__all__ = [
    "ADCGainSpread",
    "ADCNonlinearity",
    "ADCOffsetSpread",
    "Crossbar",
    "Effect",
    "HardwareByLayer",
    "IRDrop",
    "InputNoise",
    "NonIdeality",
    "OutputNoise",
    "PlainTile",
    "PolarityAsymmetry",
    "ProductError",
    "ShortTermNoise",
    "StuckDevices",
    "Tile",
    "Tiling",
    "changed_as_in_recipes",
    "changes_as_in_recipes",
    "column_scales",
    "conductances_to_weights",
    "convert",
    "draw_periphery",
    "forward",
    "get",
    "get_nonideality",
    "levels",
    "list_effects",
    "list_nonidealities",
    "list_presets",
    "possible_effects",
    "matrix_shape",
    "product_error",
    "program",
    "program_with",
    "programming_draws",
    "read",
    "read_conductances_with",
    "read_draws",
    "read_with",
    "register_nonideality",
    "steps",
    "tile_responses",
    "tiled_product",
    "weights_to_conductances",
]
