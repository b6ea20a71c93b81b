"""Unsupervised learning by spike timing: winner-take-all neurons, simulated from spike to spike."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.signal import lfilter

from analognets.errors import InvalidArgumentError, check_integer, check_number
from analognets.spiking.memristor_synapses import Kept, Rows
from analognets.spiking.trains import check_step

__all__ = ["WinnerTakeAll", "WinnerTakeAllRules", "poisson_raster"]

_NEVER = -1e6  # ms; the last spike of an input that has not fired


@dataclasses.dataclass(frozen=True)
class WinnerTakeAllRules:
    """How a picture is shown to a winner-take-all layer and what its neurons do.

    Args:
        dt: step in ms, at most `hold`.
        duration: of one picture in ms.
        max_rate: of the input of a white pixel in Hz; other rates are proportional to the intensity.
        membrane: time constant of the neurons in ms.
        threshold: above rest, in units of the jump that one spike over a full weight makes, > 0.
        threshold_step: what a neuron's own spike adds to its threshold, >= 0.
        threshold_decay: in how many ms of shown pictures that falls by e, > 0.
        hold: refractory time in ms, for which a spike holds the winner and, by inhibition, all others at rest.
        window: time constant of the learning window in ms.
        offset: share of a full step that a spike takes from every synapse of the winner, 0 to 1. A synapse whose input
            fired dt before gets exp(-dt / window) more.
        read_every: pictures for which one reading of the synapses serves, >= 1.

    Raises:
        InvalidArgumentError: a setting is out of range, or the step is longer than the refractory time.

    Source: winner-take-all with adaptive thresholds after Querlioz et al. 2013 and Diehl and Cook 2015; arXiv
    2001.09299 says only that unsupervised MNIST works. All constants are our choice.
    """

    dt: float = 1.0
    duration: float = 100.0
    max_rate: float = 100.0
    membrane: float = 100.0
    threshold: float = 5.0
    threshold_step: float = 0.2
    threshold_decay: float = 1e5
    hold: float = 5.0
    window: float = 20.0
    offset: float = 0.2
    read_every: int = 10

    def __post_init__(self) -> None:
        ranges = {
            "duration": (1e-3, 1e6, "ms"),
            "max_rate": (1e-3, 1e6, "Hz"),
            "membrane": (1e-3, 1e9, "ms"),
            "threshold": (1e-6, 1e9, ""),
            "threshold_step": (0.0, 1e9, ""),
            "threshold_decay": (1e-3, 1e12, "ms"),
            "hold": (1e-6, 1e6, "ms"),
            "window": (1e-3, 1e6, "ms"),
            "offset": (0.0, 1.0, ""),
        }
        for name, (low, high, unit) in ranges.items():
            check_number("WinnerTakeAllRules", name, getattr(self, name), low, high, unit=unit)
        check_integer("WinnerTakeAllRules", "read_every", self.read_every, 1, 10**9)
        check_step(self.dt, self.hold)
        if self.max_rate * self.dt > 1000:
            raise InvalidArgumentError(
                f"Inputs can fire once a step at most. Received: max_rate={self.max_rate:g} Hz with dt={self.dt:g} ms. "
                f"Use a step of at most {1000 / self.max_rate:g} ms."
            )

    @property
    def steps(self) -> int:
        """Steps of one picture."""
        return max(1, round(self.duration / self.dt))

    @property
    def hold_steps(self) -> int:
        """Steps of the refractory time."""
        return max(1, round(self.hold / self.dt))


def poisson_raster(
    picture: np.ndarray, rules: WinnerTakeAllRules, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs that can fire and their spikes: indices, and 0 or 1 (steps, these inputs), float32.

        P(spike in a step) = intensity * max_rate * dt

    Args:
        picture: flat, 0 to 1.
        rules: step, duration and largest rate.
        rng: source of the draws.

    Raises:
        InvalidArgumentError: the picture is black, so that nothing would ever fire.
    """
    lit = np.flatnonzero(picture)
    if not len(lit):
        raise InvalidArgumentError(
            "A picture must have a pixel above 0, or no input ever fires. Received: a black picture. Leave it out."
        )
    chance = picture[lit].astype("float32") * np.float32(rules.max_rate * rules.dt / 1000)
    return lit, (rng.random((rules.steps, len(lit)), dtype=np.float32) < chance).astype("float32")


class WinnerTakeAll:
    """LIF neurons behind one crossbar of synapses: the first to fire silences the others and learns.

        tau dV_j/dt = -V_j,  V_j <- V_j + w_ij at each spike of input i;   V_j >= threshold + theta_j: a spike of j
        a spike of j:  theta_j <- theta_j + threshold_step,  all V = 0 for `hold`,
                       synapse i of j gets a pulse of the share exp(-(t - t_i) / window) - offset
        theta_j decays exponentially; each picture begins at V = 0

    If several neurons pass their thresholds in one step, the one that is furthest above fires.

    The simulation goes from spike to spike. Between two spikes the membranes follow from one matrix product and one
    linear recursion for the whole picture, of which a reset takes away V(t_reset) exp(-(t - t_reset) / tau); after
    learning, only the winner's column is computed anew. The result is that of a loop over all steps.

    Args:
        rows: synapses (outputs, inputs).
        rules: see `WinnerTakeAllRules`.
        seed: of all spikes and pulses.

    Source: see `WinnerTakeAllRules`; the method of simulation is ours.
    """

    def __init__(self, rows: Rows, rules: WinnerTakeAllRules | None = None, *, seed: int = 0) -> None:
        self.rows, self.rules, self.seed = rows, rules or WinnerTakeAllRules(), seed
        self.neurons, self.inputs = rows.weights.shape
        self.theta = np.zeros(self.neurons, "float32")
        self._kept = Kept("theta", self.theta)
        self._decay = np.float32(np.exp(-self.rules.dt / self.rules.membrane))
        self._powers = (self._decay ** np.arange(1, self.rules.steps + 1)).astype("float32")[:, None]

    @property
    def variables(self) -> list[Any]:
        """Keras variables that hold the state after `store`."""
        return [*self.rows.variables, self._kept.variable]

    def store(self) -> None:
        """Put the state into `variables`."""
        self.rows.store()
        self._kept.store()

    def restore(self) -> None:
        """Take the state from `variables`."""
        self.rows.restore()
        self._kept.restore()

    def thresholds(self) -> np.ndarray:
        """Return the present thresholds above rest, a new array."""
        return self.theta + np.float32(self.rules.threshold)

    def _filtered(self, jumps: np.ndarray) -> np.ndarray:
        """Return V without resets: V(k) = decay V(k - 1) + jumps(k)."""
        return lfilter(np.ones(1, "float32"), np.array([1.0, -self._decay], "float32"), jumps, axis=0)

    def show(
        self, lit: np.ndarray, spikes: np.ndarray, rng: np.random.Generator, *, learn: bool
    ) -> list[tuple[int, int]]:
        """Show one picture and return the spikes of the neurons as (step, neuron).

        Args:
            lit: inputs that can fire.
            spikes: theirs, 0 or 1 (steps, lit).
            rng: of the pulses' draws.
            learn: whether thresholds and synapses change.
        """
        rules, limit = self.rules, self.thresholds()
        free = self._filtered(spikes @ self.rows.weights[:, lit].T)
        since = _steps_since(spikes) if learn else None
        found: list[tuple[int, int]] = []
        start, base = 0, None
        while start < rules.steps:
            v = free[start:] if base is None else free[start:] - self._powers[: rules.steps - start] * base
            over = v - limit
            reached = np.flatnonzero((over >= 0).any(axis=1))
            if not len(reached):
                break
            step = int(reached[0])
            winner, now = int(over[step].argmax()), start + step
            found.append((now, winner))
            if since is not None:
                self._learn(winner, lit, since[now], rng)
                limit[winner] += np.float32(rules.threshold_step)
                free[:, winner] = self._filtered(spikes @ self.rows.weights[winner, lit])
            start = now + 1 + rules.hold_steps
            base = free[min(start, rules.steps) - 1].copy()
        if learn:
            self.theta *= np.float32(np.exp(-rules.duration / rules.threshold_decay))
        return found

    def _learn(self, winner: int, lit: np.ndarray, since: np.ndarray, rng: np.random.Generator) -> None:
        share = np.full(self.inputs, -self.rules.offset, "float32")
        share[lit] += np.exp(since * np.float32(-self.rules.dt / self.rules.window))
        self.rows.learn(winner, share, rng)
        self.theta[winner] += np.float32(self.rules.threshold_step)

    def present(
        self, pictures: np.ndarray, *, first: int = 0, stream: str = "learn", learn: bool = False
    ) -> np.ndarray:
        """Show pictures one after the other and return how often each neuron fired, int32 (pictures, neurons).

        Args:
            pictures: (pictures, inputs), 0 to 1.
            first: number of the first one in its stream; with the same number, stream and seed come the same draws.
            stream: name of the stream, so that training and evaluation differ.
            learn: whether thresholds and synapses change.

        Raises:
            InvalidArgumentError: a picture is black or of another size.
        """
        pictures = np.asarray(pictures)
        if pictures.ndim != 2 or pictures.shape[1] != self.inputs:
            raise InvalidArgumentError(
                f"Pictures must have the shape (pictures, {self.inputs}). Received: {pictures.shape}. Flatten them."
            )
        counts = np.zeros((len(pictures), self.neurons), "int32")
        key = [self.seed, *stream.encode()]
        for number, picture in enumerate(pictures, start=first):
            rng = np.random.default_rng([*key, number])
            if number % self.rules.read_every == 0 or number == first:
                self.rows.read_all(np.random.default_rng([*key, 1, number // self.rules.read_every]))
            lit, spikes = poisson_raster(picture, self.rules, rng)
            for _, winner in self.show(lit, spikes, rng, learn=learn):
                counts[number - first, winner] += 1
        return counts


def _steps_since(spikes: np.ndarray) -> np.ndarray:
    """Return the steps since each input last fired, this step counted as 0; a very large number before."""
    steps = np.arange(len(spikes), dtype="float32")[:, None]
    return steps - np.maximum.accumulate(np.where(spikes > 0, steps, np.float32(_NEVER)), axis=0)
