"""The chips of a certificate: made one by one, and measured on samples in groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.chips import program
from analognets.deploy.chips.programming import arithmetic
from analognets.deploy.studies.certify.constants import program_drawn, replicates
from analognets.deploy.studies.samples import Samples
from analognets.devices import derive_seed
from analognets.metrics import cluster_variance

__all__ = ["TASK", "Bench"]

TASK = "analognets.deploy.studies.certify.bench:measure"


class Bench:
    """Makes and measures chips by their numbers.

    Args:
        network: calibrated analog model.
        samples: to measure on.
        seed: of the chips; chip k of a seed is that of `analognets.deploy.program`.
        drift_compensation: whether to scale the outputs of the tiles back.
        drawn: whether each chip has constants of its own, see `program_drawn`; it is then another chip than that of
            `program`.
    """

    def __init__(self, network: Any, samples: Samples, *, seed: int, drift_compensation: bool, drawn: bool) -> None:
        self.samples, self.seed, self.drift_compensation = samples, seed, drift_compensation
        self._chips = program(network, chips=1, seed=seed)
        self.layers = self._chips.layers
        self.replicates = replicates(self.layers) if drawn else 0
        if self.replicates:
            self._chips.chips = []

    def chip(self, number: int) -> Chip:
        """Return a chip; the last one is kept, for its other times."""
        if not len(self._chips) or self._chips.chips[0].number != number:
            self._chips.chips = [self._programmed(number)]
        return self._chips.chips[0]

    def _programmed(self, number: int) -> Chip:
        if self.replicates:
            return program_drawn(self.layers, number, self.seed)
        chip_seed = derive_seed(self.seed, "chip", number)
        return Chip(number, chip_seed, arithmetic(self.layers).program(self.layers, chip_seed))

    def measure(self, number: int, seconds: float) -> dict[str, Any]:
        """Return the accuracy of a chip at a time, its variance over groups of samples, and their numbers.

        Args:
            number: of the chip.
            seconds: since programming.
        """
        self.chip(number)
        samples = self.samples
        decided = self._chips.decide(
            (samples.inputs, samples.labels), at=seconds, drift_compensation=self.drift_compensation
        )
        right = (decided.chosen[0] == decided.truth).astype(np.float64)
        owners = [one or f" {place}" for place, one in enumerate(samples.groups)]
        each = np.repeat(owners, len(right) // len(samples)).tolist()
        variance, groups = cluster_variance(right - right.mean(), each)
        return {
            "accuracy": float(right.mean()),
            "variance": None if groups < 2 else variance,
            "groups": groups,
            "samples": len(right),
        }


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return what `Bench.measure` says of one chip at one time; a task of `sweep`."""
    found: dict[str, Any] = settings["bench"].measure(point["chip"], point["at"])
    return found
