"""Spiking neurons, encoders, and learning rules on the synapses of memory devices."""

from analognets.spiking.encoders import Cochlea, PixelCode
from analognets.spiking.filters import DoubleExponential
from analognets.spiking.from_nir import from_nir
from analognets.spiking.labels import NeuronLabels
from analognets.spiking.learning_rule import LearningRule, SpikeTiming
from analognets.spiking.neuron import LIF
from analognets.spiking.normad import NormAD
from analognets.spiking.scoring import SpikeScore, chance_share, score_spikes
from analognets.spiking.supervised import Presentation, SpikeTimeTrainer
from analognets.spiking.to_nir import to_nir
from analognets.spiking.trains import SpikeTrains
from analognets.spiking.winner_take_all import WinnerTakeAll, WinnerTakeAllRules
from analognets.synapses import (
    FloatRows,
    FloatSynapses,
    MemristorRows,
    MemristorSynapses,
    PulsedSynapses,
    SynapseRules,
)

__all__ = [
    "LIF",
    "Cochlea",
    "DoubleExponential",
    "FloatRows",
    "FloatSynapses",
    "LearningRule",
    "MemristorRows",
    "MemristorSynapses",
    "NeuronLabels",
    "NormAD",
    "PixelCode",
    "Presentation",
    "PulsedSynapses",
    "SpikeScore",
    "SpikeTimeTrainer",
    "SpikeTiming",
    "SpikeTrains",
    "SynapseRules",
    "WinnerTakeAll",
    "WinnerTakeAllRules",
    "chance_share",
    "from_nir",
    "score_spikes",
    "to_nir",
]
