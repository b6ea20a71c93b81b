"""Keras layers whose product runs on a simulated crossbar."""

from analognets.layers.adc_gain import ADCGain
from analognets.layers.base import AnalogLayer
from analognets.layers.calibration import analog_layers, calibrate, freeze_weight_range, refresh_compiled, set_hardware
from analognets.layers.constraints import WeightClip
from analognets.layers.convolution import (
    AnalogConv1D,
    AnalogConv2D,
    AnalogConv3D,
    AnalogDepthwiseConv1D,
    AnalogDepthwiseConv2D,
)
from analognets.layers.dense import AnalogDense
from analognets.layers.time_distributed import AnalogTimeDistributed

__all__ = [
    "ADCGain",
    "AnalogConv1D",
    "AnalogConv2D",
    "AnalogConv3D",
    "AnalogDense",
    "AnalogDepthwiseConv1D",
    "AnalogDepthwiseConv2D",
    "AnalogLayer",
    "AnalogTimeDistributed",
    "WeightClip",
    "analog_layers",
    "calibrate",
    "freeze_weight_range",
    "refresh_compiled",
    "set_hardware",
]
