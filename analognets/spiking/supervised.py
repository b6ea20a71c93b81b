"""Training a layer of spiking neurons to fire at wanted times, on float weights or on devices."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from analognets.devices import derive_seed
from analognets.errors import InvalidArgumentError, check_number
from analognets.spiking.filters import DoubleExponential
from analognets.spiking.learning_rule import LearningRule
from analognets.spiking.neuron import LIF
from analognets.spiking.normad import NormAD
from analognets.spiking.scoring import SpikeScore, score_spikes
from analognets.spiking.trains import SpikeTrains
from analognets.synapses.weights import WeightSynapses

__all__ = ["TOLERANCES", "Presentation", "SpikeTimeTrainer"]

TOLERANCES = (5.0, 10.0, 25.0)
"""In ms; 25 ms is the published experiment's."""


@dataclasses.dataclass(frozen=True)
class Presentation:
    """One pattern of a task.

    Args:
        name: of the pattern.
        inputs: spikes that come in.
        target: spikes that are wanted, in a window of the same length.

    Examples:
        >>> trains = analognets.spiking.SpikeTrains.from_lists([[5.0], [20.0]], 50.0)
        >>> Presentation("A", inputs=trains, target=trains).target.n_channels
        2
    """

    name: str
    inputs: SpikeTrains
    target: SpikeTrains

    def __post_init__(self) -> None:
        self.inputs.require_spikes(f"The input of '{self.name}'")
        self.target.require_spikes(f"The target of '{self.name}'")
        if self.inputs.duration != self.target.duration:
            raise InvalidArgumentError(
                f"Input and target of '{self.name}' must have one duration. Received: {self.inputs.duration:g} and "
                f"{self.target.duration:g} ms."
            )


class SpikeTimeTrainer:
    """Presents patterns in turn to one layer of LIF neurons and applies a learning rule after each.

        I(t) = c(t) w(read now),  spikes = LIF(I),  w <- w + dw by the synapses' own means

    A reading of the synapses serves one presentation. Time passes with every presentation, for drift.

    Args:
        patterns: all with the same channels and duration.
        synapses: `FloatSynapses`, `PulsedSynapses` or `MemristorSynapses` of (inputs, outputs).
        neurons: the `LIF` layer.
        rule: the learning rule, with the neurons' step; None: `NormAD` for the neurons.
        rate: r of the rule in pA, > 0; None: as the rule has it.
        rate_decay: r is multiplied with this after each epoch, above 0 and up to 1.
        seconds_per_presentation: > 0.
        seed: of read noise and pulses.

    Raises:
        InvalidArgumentError: the patterns don't fit each other, the synapses or the rule.

    Examples:
        >>> from analognets.spiking import FloatSynapses, SpikeTrains
        >>> inputs = SpikeTrains.from_lists([[5.0], [15.0], [25.0]], 50.0)
        >>> target = SpikeTrains.from_lists([[30.0]], 50.0)
        >>> trainer = SpikeTimeTrainer([Presentation("A", inputs, target)], FloatSynapses((3, 1)), rate=2000.0)
        >>> found = [trainer.epoch(number) for number in range(10)]
        >>> found[-1]
        {'tolerance_5': 1.0, 'tolerance_10': 1.0, 'tolerance_25': 1.0, 'false_share': 0.0, 'pulses_per_synapse': 0.0}
    """

    def __init__(
        self,
        patterns: Sequence[Presentation],
        synapses: WeightSynapses,
        *,
        neurons: LIF | None = None,
        rule: LearningRule | None = None,
        rate: float | None = None,
        rate_decay: float = 1.0,
        seconds_per_presentation: float = 1.25,
        seed: int = 0,
    ) -> None:
        self.patterns, self.synapses, self.seed = tuple(patterns), synapses, seed
        self.neurons = neurons or LIF()
        shapes = {(p.inputs.n_channels, p.target.n_channels, p.inputs.duration) for p in self.patterns}
        if len(shapes) != 1:
            raise InvalidArgumentError(
                "All patterns must have the same inputs, outputs and duration. Received: "
                f"{sorted(shapes) or 'no pattern'}."
            )
        if next(iter(shapes))[:2] != tuple(synapses.shape):
            raise InvalidArgumentError(
                f"The synapses must have the shape {next(iter(shapes))[:2]} (inputs, outputs). Received: "
                f"{tuple(synapses.shape)}."
            )
        dt, duration = self.neurons.dt, next(iter(shapes))[2]
        # Its rate decays here, which is not to be seen where it is used again.
        self.rule = copy.copy(rule) if rule else NormAD(dt=dt, tau=self.neurons.membrane / 10)
        if self.rule.dt != dt:
            raise InvalidArgumentError(
                f"The learning rule must have the neurons' time step of {dt:g} ms. Received: a rule with "
                f"dt={self.rule.dt:g} ms."
            )
        rate = self.rule.rate if rate is None else rate
        self.rate = check_number("SpikeTimeTrainer", "rate", rate, 1e-9, 1e9, unit="pA")
        self.rate_decay = check_number("SpikeTimeTrainer", "rate_decay", rate_decay, 1e-3, 1.0)
        self.seconds = check_number(
            "SpikeTimeTrainer", "seconds_per_presentation", seconds_per_presentation, 1e-6, 1e9, unit="s"
        )
        if abs(round(duration / dt) * dt - duration) > 1e-6 * duration:
            raise InvalidArgumentError(
                f"The patterns' {duration:g} ms must hold a whole number of steps. Received: neurons with dt={dt:g} "
                "ms. Take one such as 0.1, 0.25, 0.5 or 1."
            )
        current = DoubleExponential(dt=dt, membrane=self.neurons.membrane)
        self._traces = [current.traces(pattern.inputs).astype("float32") for pattern in self.patterns]
        self._directions = [self.rule.directions(pattern.inputs) for pattern in self.patterns]
        entry = keras.Input((self._traces[0].shape[0], synapses.shape[1]))
        self._model = keras.Model(entry, self.neurons(entry))
        self._model.compile(jit_compile=True)

    def time(self, epochs: int) -> float:
        """Return the seconds from the start until so many epochs are over."""
        return self.seconds * epochs * len(self.patterns)

    def run(self, number: int, weights: np.ndarray) -> np.ndarray:
        """Return the dense spikes (steps, outputs) of a pattern with given weights in pA."""
        currents = self._traces[number] @ np.asarray(weights, dtype="float32")
        return np.asarray(self._model.predict_on_batch(currents[None])[0])

    def epoch(self, number: int) -> dict[str, Any]:
        """Present every pattern once and learn from it.

        Args:
            number: of the epoch, from 0; it decides the time, the rate and all random draws, so that a training that
                goes on from stored synapses is the same as one that was never interrupted.

        Returns:
            `tolerance_5`, `tolerance_10`, `tolerance_25`: share of wanted spikes met before the updates; `false_share`:
            false spikes a wanted one, at 25 ms; `pulses_per_synapse`.
        """
        self.rule.rate = self.rate * self.rate_decay**number
        found, pulses = [], 0
        for index, pattern in enumerate(self.patterns):
            time = self.time(number) + index * self.seconds
            spikes = self.run(index, self.synapses.read(time, seed=derive_seed(self.seed, "read", number, index)))
            found.append(self._scores(pattern, spikes))
            change = self.rule.update(self._directions[index], pattern.target, spikes)
            pulses += self.synapses.update(change, time, seed=derive_seed(self.seed, "pulse", number, index))
        return {**_shares(found), "pulses_per_synapse": pulses / float(np.prod(self.synapses.shape))}

    def observe(self, time: float, *, scaled: bool = False, seed: int = 0) -> list[SpikeTrains]:
        """Return the spikes of every pattern at a time, with one fresh reading of the synapses each, without learning.

        Args:
            time: in seconds on the clock of the training.
            scaled: with array-level scaling.
            seed: of the read noise.
        """
        return [
            SpikeTrains.from_dense(
                self.run(i, self.synapses.read(time, seed=derive_seed(seed, "observe", i), scaled=scaled)),
                self.neurons.dt,
            )
            for i in range(len(self.patterns))
        ]

    def network(self, time: float, *, seed: int = 0) -> keras.Model:
        """Return the network as a Keras model: traces of the spikes, weights as they are read at a time, neurons.

        Args:
            time: in seconds on the clock of the training.
            seed: of the read noise.
        """
        channels, outputs = self.synapses.shape
        entry = keras.Input((self._traces[0].shape[0], channels))
        dense = keras.layers.Dense(outputs, use_bias=False, name="synapses")
        traces = DoubleExponential(dt=self.neurons.dt, membrane=self.neurons.membrane, name="traces")
        neurons = LIF.from_config({**self.neurons.get_config(), "name": "neurons"})
        model = keras.Model(entry, neurons(dense(traces(entry))))
        dense.set_weights([self.synapses.read(time, seed=derive_seed(seed, "network"))])
        return model

    def evaluate(self, time: float, *, scaled: bool = False, seed: int = 0) -> dict[str, float]:
        """Return the shares that `epoch` returns, at a time, without learning."""
        observed = self.observe(time, scaled=scaled, seed=seed)
        return _shares(
            [
                [score_spikes(pattern.target, spikes, tolerance) for tolerance in TOLERANCES]
                for pattern, spikes in zip(self.patterns, observed, strict=True)
            ]
        )

    def _scores(self, pattern: Presentation, spikes: np.ndarray) -> list[SpikeScore]:
        observed = SpikeTrains.from_dense(spikes, self.neurons.dt)
        return [score_spikes(pattern.target, observed, tolerance) for tolerance in TOLERANCES]


def _shares(scores: list[list[SpikeScore]]) -> dict[str, float]:
    sums = []
    for column in zip(*scores, strict=True):
        total = column[0]
        for score in column[1:]:
            total = total + score
        sums.append(total)
    shares = {f"tolerance_{tolerance:g}": total.share for tolerance, total in zip(TOLERANCES, sums, strict=True)}
    return {**shares, "false_share": sums[-1].false_share}
