"""Keras layers whose product runs on a simulated crossbar."""

from analognets.layers.adc_gain import ADCGain
from analognets.layers.attention import AnalogGroupQueryAttention, AnalogMultiHeadAttention
from analognets.layers.base import AnalogLayer
from analognets.layers.bidirectional import AnalogBidirectional
from analognets.layers.block import AnalogBlock
from analognets.layers.calibration import analog_layers, calibrate, freeze_weight_range, refresh_compiled, set_hardware
from analognets.layers.composite import AnalogComposite
from analognets.layers.constraints import WeightClip
from analognets.layers.convolution import (
    AnalogConv1D,
    AnalogConv2D,
    AnalogConv3D,
    AnalogDepthwiseConv1D,
    AnalogDepthwiseConv2D,
)
from analognets.layers.dense import AnalogDense
from analognets.layers.einsum import AnalogEinsumDense
from analognets.layers.keras2 import hard_sigmoid_v2
from analognets.layers.recurrent import AnalogGRU, AnalogLSTM, AnalogRNN, AnalogSimpleRNN
from analognets.layers.recurrent_cells import AnalogGRUCell, AnalogLSTMCell, AnalogSimpleRNNCell
from analognets.layers.separable import AnalogSeparableConv1D, AnalogSeparableConv2D
from analognets.layers.time_distributed import AnalogTimeDistributed
from analognets.layers.with_constant import WithConstant

__all__ = [
    "AnalogGroupQueryAttention",
    "AnalogMultiHeadAttention",
    "AnalogBidirectional",
    "AnalogBlock",
    "AnalogComposite",
    "AnalogEinsumDense",
    "AnalogGRU",
    "AnalogGRUCell",
    "AnalogLSTM",
    "AnalogLSTMCell",
    "AnalogRNN",
    "AnalogSimpleRNN",
    "AnalogSimpleRNNCell",
    "AnalogSeparableConv1D",
    "AnalogSeparableConv2D",
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
    "WithConstant",
    "analog_layers",
    "calibrate",
    "freeze_weight_range",
    "hard_sigmoid_v2",
    "refresh_compiled",
    "set_hardware",
]
