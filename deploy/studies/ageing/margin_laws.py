"""The mean network at some times, and how the margins of simulated chips follow from what their devices hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from analognets.deploy.chips.chips import Chips
from analognets.deploy.chips.runtime import Runner
from analognets.deploy.evaluation import decisions, samples_in
from analognets.deploy.studies.ageing.gaussian import Chosen
from analognets.deploy.studies.ageing.linear import Anchor, Linear
from analognets.deploy.studies.ageing.margins import Scores, margins_of, scores_of
from analognets.deploy.studies.ageing.mean_network import LayerLaw, mean_reads
from analognets.deploy.studies.ageing.regression import Regression, regress
from analognets.errors import InvalidArgumentError

__all__ = ["MeanNetworks", "between", "mean_networks", "regressions", "simulated_times"]

OPEN = 6.0
"""Standard deviations up to which a mean margin of the simulated chips counts as open."""
BATCH = 50
"""Samples of each call of a network: one size for all calls, as each size takes a compilation."""
Step = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class MeanNetworks:
    """The mean network at the times at which chips are simulated, by their numbers.

    Args:
        truth: class of each sample.
        kind: how scores follow from outputs.
        scores: of all samples, (samples, classes): with drift compensation at the first and the last time.
        reads: what the chips read at each time.
        means: of each time, what the layers of the mean network multiply by.
    """

    truth: np.ndarray
    kind: Scores
    scores: Mapping[int, np.ndarray]
    reads: Mapping[int, Any]
    means: Mapping[int, Any]

    def scores_at(self, place: tuple[int, int, float]) -> np.ndarray:
        """Return the scores between two times, see `between`."""
        before, after, share = place
        return (1.0 - share) * self.scores[before] + share * self.scores[after]

    def rivals(self, count: int) -> np.ndarray:
        """Return the classes that are next to each sample's true one at the first time, the nearest first."""
        others = self.scores[min(self.scores)].copy()
        others[np.arange(len(others)), self.truth] = -np.inf
        return np.argsort(-others, axis=1, kind="stable")[:, : min(count, others.shape[1] - 1)]


def simulated_times(count: int, on: bool) -> list[int]:
    """Return the numbers of the times at which chips are simulated.

    With drift compensation first, middle and last one of many; without it margins move far, so all of them.
    """
    return sorted({0, count // 2, count - 1}) if on else list(range(count))


def between(laws: Sequence[LayerLaw], seconds: Sequence[float], times: Sequence[int]) -> list[tuple[int, int, float]]:
    """Return for each time the two simulated ones that it lies between, and the share of the way.

    The way is the variance of the devices, mean over layers of sum Var w / sum (E w)^2: to second order the mean margin
    is off by 1/2 tr(H D), in proportion to the covariance D of the devices. Where that does not grow it is log(1 + t).
    """
    variances = []
    for time in range(len(seconds)):
        parts = [(float((law.factors(time)[0] ** 2).sum()), float((law.mean(time) ** 2).sum())) for law in laws]
        variances.append(np.mean([above / below for above, below in parts if below > 0] or [0.0]))
    found = []
    for time in range(len(seconds)):
        before = max(one for one in times if one <= time)
        after = min(one for one in times if one >= time)
        way = next(one for one in (variances, np.log1p(seconds)) if before == after or one[after] > one[before])
        share = 0.0 if before == after else float((way[time] - way[before]) / (way[after] - way[before]))
        found.append((before, after, min(max(share, 0.0), 1.0)))
    return found


def mean_networks(
    chips: Chips,
    laws: Sequence[LayerLaw],
    inputs: Any,
    labels: Any,
    seconds: Sequence[float],
    times: Sequence[int],
    on: bool,
    step: Step,
) -> MeanNetworks:
    """Read the chips at some of the times, and run the mean network on all samples.

    With drift compensation it hardly changes with time, so the first and the last time are enough.
    """
    runner, kind, truth = chips.runner(batch_size=BATCH), Scores(False, False), np.zeros(0, int)
    scores: dict[int, Any] = {}
    reads: dict[int, Any] = {}
    means: dict[int, Any] = {}
    for number in times:
        reads[number] = [chip.read(chips.layers, seconds[number]) for chip in chips]
        means[number] = mean_reads(laws, number, reads[number])
        step()
        if on and number not in (times[0], times[-1]):
            continue
        runner.load(means[number], drift_compensation=on)
        outputs = outputs_of(runner, inputs)
        truth, _, _ = decisions(labels, outputs)
        if len(truth) != samples_in(inputs):
            raise InvalidArgumentError(
                "Ageing is predicted for networks that take one decision a sample. Received: "
                f"{len(truth):,} decisions for {samples_in(inputs):,} samples. Simulate chips: program(model)."
            )
        outputs = np.asarray(outputs).reshape(len(truth), -1)
        kind = kind if scores else scores_of(outputs)
        scores[number] = np.asarray(kind.of(outputs))
    return MeanNetworks(truth, kind, scores, reads, means)


def regressions(
    chips: Chips,
    laws: Sequence[LayerLaw],
    inputs: Any,
    found: MeanNetworks,
    rivals: np.ndarray,
    chosen: Chosen,
    on: bool,
    step: Step,
) -> dict[int, Regression]:
    """Return how margins follow from the devices at each time at which chips are simulated.

    Derivatives are taken around the mean network of the middle one of these times, without drift compensation around
    each, of margins that some chips bring near zero; others count as what these chips show of them.
    """
    index = chosen.index
    truth, near = found.truth[index], rivals[index]
    some = keras.tree.map_structure(lambda leaf: np.asarray(leaf)[index], inputs)
    margins = {}
    for time, reads in found.reads.items():
        margins[time] = simulated_margins(chips, reads, some, found.kind, truth, near, on)
        step()
    times, result = sorted(margins), {}
    linear = Linear(chips.model, laws, found.kind, Anchor(times[0], found.means[times[0]]), drift_compensation=on)
    for group in [times] if on else [[one] for one in times]:
        anchors = [Anchor(one, found.means[one]) for one in group]
        linear.anchor = anchors[len(group) // 2]
        moved_by = [linear.deviation(one, read) for one in anchors for read in found.reads[one.time]]
        wanted = np.any([is_open(margins[one]) for one in group], axis=0)
        vectors, moved = linear.features(some, truth, near, wanted, anchors, np.stack(moved_by))
        for time, vector, part in zip(group, vectors, np.split(moved, len(group)), strict=True):
            flat = vector.reshape(-1, vector.shape[-1])
            result[time] = regress(margins[time], part.astype(np.float64), (flat @ flat.T).astype(np.float64))
        step()
    return result


def is_open(margins: np.ndarray) -> np.ndarray:
    """Return which margins of chips, (chips, samples, rivals), are near zero."""
    spread = margins.std(axis=0, ddof=1)
    return np.asarray((np.abs(margins.mean(axis=0)) < OPEN * spread) & (spread > 0))


def simulated_margins(
    chips: Chips, reads: Sequence[Any], inputs: Any, kind: Scores, truth: np.ndarray, rivals: np.ndarray, on: bool
) -> np.ndarray:
    """Return the margins of each chip, (chips, samples, rivals)."""
    runner, margins = chips.runner(batch_size=BATCH), []
    for read in reads:
        runner.load(read, drift_compensation=on)
        outputs = outputs_of(runner, inputs).reshape(len(truth), -1)
        margins.append(margins_of(np.asarray(kind.of(outputs)), truth, rivals))
    return np.stack(margins).astype(np.float64)


def outputs_of(runner: Runner, inputs: Any) -> np.ndarray:
    """Return the outputs for all samples, in calls of one size."""
    return np.concatenate(list(runner.batches_of([inputs])))
