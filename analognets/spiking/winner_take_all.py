"""Unsupervised learning by spike timing: winner-take-all neurons, simulated from spike to spike."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from analognets.errors import InvalidArgumentError
from analognets.spiking.learning_rule import SpikeTiming
from analognets.spiking.trains import check_step
from analognets.synapses.rows import Kept, Rows
from analognets.synapses.settings import Settings, real, whole

__all__ = ["WinnerTakeAll", "WinnerTakeAllRules", "poisson_spikes"]

_STRETCH = {200: 48, 10**9: 24}
"""Input spikes that are looked at together for the next spike of a neuron, by the largest number of neurons."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WinnerTakeAllRules(Settings):
    """How a picture is shown to a winner-take-all layer and what its neurons do.

    Args:
        dt: step in ms, at most `hold`. The simulation takes no longer with a smaller one.
        duration: of one picture in ms.
        max_rate: of the input of a white pixel in Hz; other rates are proportional to the intensity.
        membrane: time constant of the neurons in ms.
        threshold: above rest, in units of the jump that one spike over a full weight makes, > 0.
        threshold_step: what a neuron's own spike adds to its threshold, >= 0.
        threshold_decay: in how many ms of shown pictures that falls by e, > 0.
        hold: refractory time in ms, for which a spike holds the winner and, by inhibition, all others at rest.
        offset: share of a full step that a spike takes from every synapse of the winner, 0 to 1. A synapse whose input
            fired dt before gets exp(-dt / tau_p) more, with the potentiating window tau_p of the synapses. There is no
            separate depression by inputs that come after the spike.
        read_every: pictures for which one reading of the synapses serves, >= 1.

    Raises:
        InvalidArgumentError: a setting is out of range, or the step is longer than the refractory time.

    Examples:
        >>> rules = WinnerTakeAllRules(dt=0.5, duration=50.0)
        >>> rules.steps, rules.hold_steps
        (100, 10)

    Source: winner-take-all with adaptive thresholds after Querlioz et al. 2013 and Diehl and Cook 2015; arXiv
    2001.09299 says only that unsupervised MNIST works. All constants are our choice.
    """

    dt: float = 0.1
    duration: float = real(100.0, 1e-3, 1e6, "ms")
    max_rate: float = real(100.0, 1e-3, 1e6, "Hz")
    membrane: float = real(100.0, 1e-3, 1e9, "ms")
    threshold: float = real(5.0, 1e-6, 1e9)
    threshold_step: float = real(0.2, 0.0, 1e9)
    threshold_decay: float = real(1e5, 1e-3, 1e12, "ms")
    hold: float = real(5.0, 1e-6, 1e6, "ms")
    offset: float = real(0.2, 0.0, 1.0)
    read_every: int = whole(20, 1, 10**9)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_step(self.dt, self.hold)

    @property
    def steps(self) -> int:
        """Steps of one picture."""
        return max(1, round(self.duration / self.dt))

    @property
    def hold_steps(self) -> int:
        """Steps of the refractory time."""
        return max(1, round(self.hold / self.dt))


def poisson_spikes(
    picture: np.ndarray, rules: WinnerTakeAllRules, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the input spikes of a picture as (steps, inputs), sorted by step: Poisson processes, drawn spike by spike.

        number of spikes of an input ~ Poisson(intensity * max_rate * duration), each at an even random time

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
    counts = rng.poisson(picture[lit] * (rules.max_rate * rules.duration / 1000))
    inputs = np.repeat(lit, counts)
    steps = (rules.steps * rng.random(len(inputs))).astype("int64")
    # NumPy sorts 16-bit numbers several times faster.
    order = np.argsort(steps.astype("uint16") if rules.steps < 2**16 else steps, kind="stable")
    return steps[order], inputs[order]


class WinnerTakeAll:
    """LIF neurons behind one crossbar of synapses: the first to fire silences the others and learns.

        tau dV_j/dt = -V_j,  V_j <- V_j + w_ij at each spike of input i;   V_j >= threshold + theta_j: a spike of j
        a spike of j:  theta_j <- theta_j + threshold_step,  all V = 0 for `hold`,
                       synapse i of j gets a pulse of the share exp(-(t - t_i) / tau_p) - offset
        theta_j decays exponentially; each picture begins at V = 0

    If several neurons pass their thresholds in one step, the one that is furthest above fires.

    The simulation goes from spike to spike, and its cost does not depend on the step. Membranes rise at input spikes
    only, so it is enough to look there: after a reset, exp(t / tau) V(t) is the sum of exp(t_k / tau) w over the input
    spikes k until t, one small matrix product for a few dozen of them until a neuron fires. The result is that of a
    loop over all steps.

    Args:
        rows: synapses (outputs, inputs).
        rules: see `WinnerTakeAllRules`.
        rule: what a spike asks of the winner's synapses, as shares of a full pulse; None: `SpikeTiming` with the window
            of the synapses and the offset of the rules.
        seed: of all spikes and pulses.

    Examples:
        >>> layer = WinnerTakeAll(analognets.spiking.FloatRows((4, 9), seed=0), seed=0)
        >>> pictures = np.tile(np.eye(3).reshape(1, 9), (5, 1))
        >>> counts = layer.present(pictures, learn=True)
        >>> counts.shape, int((counts.sum(axis=0) > 0).sum())
        ((5, 4), 4)

    Source: see `WinnerTakeAllRules`; the method of simulation is ours.
    """

    def __init__(
        self,
        rows: Rows,
        rules: WinnerTakeAllRules | None = None,
        *,
        rule: SpikeTiming | None = None,
        seed: int = 0,
    ) -> None:
        self.rows, self.rules, self.seed = rows, rules or WinnerTakeAllRules(), seed
        self.rule = rule or SpikeTiming(window=rows.window, offset=self.rules.offset, dt=self.rules.dt)
        self.neurons, self.inputs = rows.weights.shape
        self.theta = np.zeros(self.neurons, rows.weights.dtype)
        self._kept = Kept("theta", self.theta)
        self._stretch = next(stretch for most, stretch in _STRETCH.items() if self.neurons <= most)
        self._earlier = np.tri(self._stretch, dtype=self.theta.dtype)
        self._reach = 60 * self.rules.membrane  # ms in which a float32 does not overflow

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
        return self.theta + self.theta.dtype.type(self.rules.threshold)

    def show(
        self, steps: np.ndarray, inputs: np.ndarray, rng: np.random.Generator, *, learn: bool
    ) -> list[tuple[int, int]]:
        """Show one picture and return the spikes of the neurons as (step, neuron).

        Args:
            steps: of the input spikes, sorted.
            inputs: that fire.
            rng: of the pulses' draws.
            learn: whether thresholds and synapses change.
        """
        rules, limit, start = self.rules, self.thresholds(), 0
        ages = (steps * rules.dt).astype(self.theta.dtype)  # in ms
        whole = np.append(steps[1:] != steps[:-1], True)  # a step is judged after the last of its spikes
        found: list[tuple[int, int]] = []
        while True:
            hit = self._next(ages, inputs, whole, start, limit)
            if hit is None:
                break
            last, winner = hit
            now = int(steps[last])
            found.append((now, winner))
            if learn:
                self._learn(winner, ages[: last + 1] - ages[last], inputs[: last + 1], rng)
                limit[winner] += rules.threshold_step
            start = int(steps.searchsorted(now + 1 + rules.hold_steps))
        if learn:
            self.theta *= self.theta.dtype.type(np.exp(-rules.duration / rules.threshold_decay))
        return found

    def _next(
        self, ages: np.ndarray, inputs: np.ndarray, whole: np.ndarray, start: int, limit: np.ndarray
    ) -> tuple[int, int] | None:
        """Return the input spike after which a neuron fires next, and the neuron; all V are 0 before `start`."""
        columns, rate, begin, v = self.rows.weights.T, 1 / self.rules.membrane, start, limit[:0]
        while begin < len(ages):
            end = min(begin + self._stretch, len(ages))
            if self._reach < self.rules.duration:
                end = min(end, int(ages.searchsorted(ages[begin] + self._reach, "right")))
            grown = np.exp((ages[begin:end] - ages[begin]) * rate)
            rising = (self._earlier[: end - begin, : end - begin] * grown) @ columns.take(inputs[begin:end], axis=0)
            if begin > start:
                rising += v * math.exp((ages[begin - 1] - ages[begin]) * rate)
            fires = rising >= grown[:, None] * limit
            first = int(fires.argmax()) // self.neurons
            if not whole[begin + first]:
                fires &= whole[begin:end, None]
                first = int(fires.argmax()) // self.neurons
            if fires[first].any():
                return begin + first, int((rising[first] / grown[first] - limit).argmax())
            begin, v = end, rising[-1] / grown[-1]
        return None

    def _learn(self, winner: int, ages: np.ndarray, inputs: np.ndarray, rng: np.random.Generator) -> None:
        """Give every synapse of the winner its pulse; `ages` are times of the input spikes before now in ms, <= 0."""
        self.rows.learn(winner, self.rule.at_spike(ages, inputs, self.inputs, self.theta.dtype), rng)
        self.theta[winner] += self.rules.threshold_step

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
            InvalidArgumentError: a picture is black, of another size, or beyond 0 and 1.
        """
        pictures = np.asarray(pictures)
        if pictures.ndim != 2 or pictures.shape[1] != self.inputs:
            raise InvalidArgumentError(
                f"Pictures must have the shape (pictures, {self.inputs}). Received: {pictures.shape}. Flatten them."
            )
        if pictures.size and not (pictures.min() >= 0 and pictures.max() <= 1):
            raise InvalidArgumentError(
                f"Pixels must be from 0 to 1. Received: {pictures.min():g} to {pictures.max():g}. Divide bytes by 255."
            )
        counts = np.zeros((len(pictures), self.neurons), "int32")
        key = [self.seed, *stream.encode()]
        for number, picture in enumerate(pictures, start=first):
            rng = np.random.default_rng([*key, number])
            if number % self.rules.read_every == 0 or number == first:
                self.rows.read_all(np.random.default_rng([*key, 1, number // self.rules.read_every]))
            steps, inputs = poisson_spikes(picture, self.rules, rng)
            for _, winner in self.show(steps, inputs, rng, learn=learn):
                counts[number - first, winner] += 1
        return counts
