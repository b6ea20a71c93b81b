"""Make a Keras model analog, or digital again, and say what was changed, what was left, and why."""

from analognets.conversion.convert import ANALOG_CLASS, ConversionReport, LayerConversion, to_analog, to_digital

__all__ = ["ANALOG_CLASS", "ConversionReport", "LayerConversion", "to_analog", "to_digital"]
