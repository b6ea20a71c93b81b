"""The law of the margins of samples over chips at each time: mean network, linearisation, and its check on chips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from analognets.deploy.chips.chips import Chips
from analognets.deploy.evaluation import decisions, samples_in
from analognets.deploy.studies.ageing.check import Check, checked
from analognets.deploy.studies.ageing.gaussian import Chosen, right_draws
from analognets.deploy.studies.ageing.linear import Linear
from analognets.deploy.studies.ageing.margins import Scores, margins_of, scores_of
from analognets.deploy.studies.ageing.mean_network import LayerLaw, mean_reads
from analognets.errors import InvalidArgumentError
from analognets.units import format_duration

__all__ = ["MarginLaw", "MeanNetworks", "margin_laws", "mean_networks"]

Step = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class MeanNetworks:
    """The mean network at each time, on all samples.

    Args:
        seconds: the times.
        truth: class of each sample.
        kind: how scores follow from outputs.
        scores: of each time, (samples, classes).
        reads: what the chips of the check read at the first and the last time; nothing at others.
        means: of each time, what the layers of the mean network multiply by.
    """

    seconds: list[float]
    truth: np.ndarray
    kind: Scores
    scores: list[np.ndarray]
    reads: list[Any]
    means: list[Any]

    def margins(self, time: int, rivals: np.ndarray) -> np.ndarray:
        """Return by how much the score of each sample's true class is above those of its rivals, (samples, rivals)."""
        return margins_of(self.scores[time], self.truth, rivals)

    def rivals(self, count: int) -> np.ndarray:
        """Return the classes that are next to each sample's true one at the first time, the nearest first."""
        others = self.scores[0].copy()
        others[np.arange(len(others)), self.truth] = -np.inf
        return np.argsort(-others, axis=1, kind="stable")[:, : min(count, others.shape[1] - 1)]


@dataclasses.dataclass
class MarginLaw:
    """How chips differ from the mean network on the chosen samples at one time.

    Args:
        covariance: of all margins, flat.
        check: of the linearisation, or None.
    """

    covariance: np.ndarray
    check: Check | None = None


def mean_networks(
    chips: Chips, laws: Sequence[LayerLaw], inputs: Any, labels: Any, seconds: Sequence[float], on: bool, step: Step
) -> MeanNetworks:
    """Run the mean network at each time on all samples."""
    runner, kind, truth = chips.runner(), Scores(False, False), np.zeros(0, int)
    scores, reads, means = [], [], []
    for number, one in enumerate(seconds):
        now = [chip.read(chips.layers, one) for chip in chips]
        reads.append(now if number in (0, len(seconds) - 1) else [])
        means.append(mean_reads(laws, number, now))
        runner.load(means[-1], drift_compensation=on)
        outputs = runner.predict(inputs)
        truth, _, _ = decisions(labels, outputs)
        if len(truth) != samples_in(inputs):
            raise InvalidArgumentError(
                "Ageing is predicted for networks that take one decision a sample. Received: "
                f"{len(truth):,} decisions for {samples_in(inputs):,} samples. Simulate chips: program(model)."
            )
        outputs = np.asarray(outputs).reshape(len(truth), -1)
        kind = scores_of(outputs) if number == 0 else kind
        scores.append(np.asarray(kind.of(outputs)))
        step()
    return MeanNetworks(list(seconds), truth, kind, scores, reads, means)


def margin_laws(
    chips: Chips,
    laws: Sequence[LayerLaw],
    inputs: Any,
    found: MeanNetworks,
    rivals: np.ndarray,
    chosen: Chosen,
    on: bool,
    step: Step,
) -> list[MarginLaw]:
    """Return the law of the margins at each time, linearised around the mean network of the nearest time that has one.

    With drift compensation the mean network hardly changes but for the factors, so the first and the last time have a
    linearisation; without it each time has.
    """
    count, index = len(found.seconds), chosen.index
    anchors = sorted({0, count - 1}) if on else list(range(count))
    some = keras.tree.map_structure(lambda leaf: np.asarray(leaf)[index], inputs)
    place = np.log1p(found.seconds)
    nearest = [anchors[int(np.argmin(np.abs(place[anchors] - place[time])))] for time in range(count)]
    result: dict[int, MarginLaw] = {}
    for anchor in anchors:
        times = {time: found.means[time] for time in range(count) if nearest[time] == anchor}
        linear = Linear(chips.model, laws, found.kind, found.means[anchor], anchor, drift_compensation=on)
        reads = found.reads[anchor]
        deviations = np.stack([linear.deviation(read) for read in reads]) if reads else np.zeros((0, linear.weights))
        vectors, moved = linear.features(some, found.truth[index], rivals[index], times, deviations.astype(np.float32))
        step()
        for number, time in enumerate(times):
            flat = vectors[number].reshape(-1, vectors.shape[-1])
            result[time] = MarginLaw((flat @ flat.T).astype(np.float64))
        if reads:
            right = simulated_right(chips, some, found, anchor, chosen, on)
            margins = found.margins(anchor, rivals)[index]
            spread = float(chosen.mean(right_draws(margins, result[anchor].covariance).astype(np.float32)).std())
            said = (margins + moved > 0).all(axis=2)
            result[anchor].check = checked(format_duration(found.seconds[anchor]), right, said, chosen, spread)
        step()
    return [result[time] for time in range(count)]


def simulated_right(chips: Chips, inputs: Any, found: MeanNetworks, time: int, chosen: Chosen, on: bool) -> np.ndarray:
    """Return whether each chip is right about each of the chosen samples, (chips, samples)."""
    runner, truth, right = chips.runner(), found.truth[chosen.index], []
    for read in found.reads[time]:
        runner.load(read, drift_compensation=on)
        right.append(decisions(truth, runner.predict(inputs))[1] == truth)
    return np.stack(right)
