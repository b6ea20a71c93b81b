"""Synapses: weights that live in pulsed devices, in memristors or in float numbers, for every kind of learning."""

from analognets.synapses.figures import device_figure
from analognets.synapses.memristor import MemristorSynapses
from analognets.synapses.policies import (
    Amplitude,
    Nearest,
    OwnTurn,
    PairRefresh,
    Refresh,
    SharedTurn,
    Stochastic,
    SynapseRefresh,
    Truncated,
    Turn,
    UpdateRule,
)
from analognets.synapses.pulsed_array import PulsedArray
from analognets.synapses.rows import FloatRows, MemristorRows, Rows
from analognets.synapses.settings import ArrayRules, Settings, SynapseRules
from analognets.synapses.weights import FloatSynapses, PulsedSynapses, WeightSynapses

__all__ = [
    "Amplitude",
    "ArrayRules",
    "FloatRows",
    "FloatSynapses",
    "MemristorRows",
    "MemristorSynapses",
    "Nearest",
    "OwnTurn",
    "PairRefresh",
    "PulsedArray",
    "PulsedSynapses",
    "Refresh",
    "Rows",
    "Settings",
    "SharedTurn",
    "Stochastic",
    "SynapseRefresh",
    "SynapseRules",
    "Truncated",
    "Turn",
    "UpdateRule",
    "WeightSynapses",
    "device_figure",
]
