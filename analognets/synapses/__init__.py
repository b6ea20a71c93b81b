"""Synapses: weights that live in pulsed devices, in memristors or in float numbers, for every kind of learning."""

from analognets.synapses.figures import device_figure
from analognets.synapses.policies import UpdateRule
from analognets.synapses.pulsed_array import PulsedArray
from analognets.synapses.rows import FloatRows, MemristorRows, Rows
from analognets.synapses.settings import SynapseRules
from analognets.synapses.weights import FloatSynapses, MemristorSynapses, PulsedSynapses, WeightSynapses

__all__ = [
    "FloatRows",
    "FloatSynapses",
    "MemristorRows",
    "MemristorSynapses",
    "PulsedArray",
    "PulsedSynapses",
    "Rows",
    "SynapseRules",
    "UpdateRule",
    "WeightSynapses",
    "device_figure",
]
