"""Make a Keras model analog, or digital again, and say what was changed, what was left, and why."""

from analognets.conversion.convert import to_analog, to_digital
from analognets.conversion.load import load_model
from analognets.conversion.report import ConversionReport, LayerConversion
from analognets.conversion.support import ANALOG_CLASS, COMPOSITE_CLASS, convertible_kernels

__all__ = [
    "ANALOG_CLASS",
    "COMPOSITE_CLASS",
    "convertible_kernels",
    "ConversionReport",
    "LayerConversion",
    "load_model",
    "to_analog",
    "to_digital",
]
