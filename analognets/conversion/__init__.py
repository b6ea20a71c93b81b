"""Make a Keras model analog, or digital again, and say what was changed, what was left, and why."""

from analognets.conversion.convert import same_model, to_analog, to_digital
from analognets.conversion.from_onnx import load_onnx
from analognets.conversion.load import load_model
from analognets.conversion.plan import plan
from analognets.conversion.report import ConversionReport, LayerConversion, Plan, PlannedLayer
from analognets.conversion.support import ANALOG_CLASS, COMPOSITE_CLASS, convertible_kernels

__all__ = [
    "ANALOG_CLASS",
    "COMPOSITE_CLASS",
    "ConversionReport",
    "LayerConversion",
    "Plan",
    "PlannedLayer",
    "convertible_kernels",
    "load_model",
    "load_onnx",
    "plan",
    "same_model",
    "to_analog",
    "to_digital",
]
