"""Training on the devices: weights live in pulsed memory cells, small updates wait in digital memory."""

from analognets.synapses.figures import device_figure
from analognets.training.in_memory.log import DeviceLog
from analognets.training.in_memory.mixed_precision import MixedPrecision
from analognets.training.in_memory.rules import MixedPrecisionRules
from analognets.training.in_memory.synapses import Synapses

__all__ = ["DeviceLog", "MixedPrecision", "MixedPrecisionRules", "Synapses", "device_figure"]
