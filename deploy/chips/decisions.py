"""Which class every chip chose for every sample at every time: accuracies, their intervals, confusions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analognets.deploy.evaluation import decisions
from analognets.errors import InvalidArgumentError
from analognets.metrics import chips_bound, mean_interval

__all__ = ["FLOAT", "MODE", "READING", "Decisions", "in_order"]

FLOAT = "float"
"""Name of the reference whose losses are called just `loss`."""
READING = ["chip", "seed", "at", "seconds", "drift_compensation"]
"""Columns that tell one reading from the others."""
MODE = ["drift_compensation", "seconds", "at"]
"""Columns that the chips of one time and mode share."""


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with drift compensation first, then by time."""
    return table.sort_values(MODE[:2], ascending=[False, True], kind="stable", ignore_index=True)


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What `Chips.decide` returns.

    Args:
        readings: a row for each reading: chip, seed, at, seconds, drift_compensation.
        truth: true class of each decision, (decisions,). There is one decision a sample, or one a position of it.
        chosen: the class that each reading chose, (readings, decisions).
        classes: how many there are.
        samples: how many samples the decisions belong to, in their order.
    """

    readings: pd.DataFrame
    truth: np.ndarray
    chosen: np.ndarray
    classes: int
    samples: int

    def right(self, outputs: Any, labels: Any) -> np.ndarray:
        """Return which decisions another network gets right on the same samples, for `summary`.

        Args:
            outputs: of that network, as `analognets.deploy.accuracy` takes them.
            labels: those of the evaluation.

        Raises:
            InvalidArgumentError: there are other labels, or labels and outputs don't fit.
        """
        truth, chosen, _ = decisions(labels, outputs)
        if not np.array_equal(truth, self.truth):
            raise InvalidArgumentError("Networks are compared on the same samples. Received: other labels.")
        return chosen == truth

    def accuracies(self) -> pd.DataFrame:
        """Return the table of `Chips.evaluate`: a row for each reading, with its accuracy."""
        return self.readings.assign(accuracy=(self.chosen == self.truth).mean(axis=1))

    def confusion(self) -> pd.DataFrame:
        """Return how many decisions of each class (label) each reading took for each class (output).

        Returns:
            A row for each reading and pair of classes: chip, seed, at, seconds, drift_compensation, label, output,
            count.
        """
        pairs = self.truth * self.classes + self.chosen
        counts = np.stack([np.bincount(row, minlength=self.classes**2) for row in pairs])
        table = self.readings.loc[self.readings.index.repeat(self.classes**2)].reset_index(drop=True)
        label, output = np.divmod(np.tile(np.arange(self.classes**2), len(counts)), self.classes)
        return table.assign(label=label, output=output, count=counts.reshape(-1))

    def by_sample(self) -> pd.DataFrame:
        """Return the share of chips that are right about each sample.

        Returns:
            A row for each sample, and a column for each time and mode, such as "1d" and "1d, no compensation".
        """
        right = (self.chosen == self.truth).reshape(len(self.chosen), self.samples, -1).mean(axis=2)
        means = {key: right[part.index].mean(axis=0) for key, part in self.readings.groupby(MODE, sort=False)}
        return pd.DataFrame({at if on else f"{at}, no compensation": mean for (on, _, at), mean in means.items()})

    def owners(self, groups: Sequence[str] | None) -> list[str]:
        """Return the group of each decision: those of one sample belong together in any case.

        Args:
            groups: one a sample, "" for a group of its own; None: every sample is one.

        Raises:
            InvalidArgumentError: there is another number of them.
        """
        names = [""] * self.samples if groups is None else list(groups)
        if len(names) != self.samples:
            raise InvalidArgumentError(f"There must be one group a sample. Received: {len(names)} for {self.samples}.")
        owners = [name or f" {number}" for number, name in enumerate(names)]
        return np.repeat(owners, len(self.truth) // self.samples).tolist()

    def summary(
        self,
        references: Mapping[str, np.ndarray] | None = None,
        *,
        groups: Sequence[str] | None = None,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return the accuracy at each time and mode, and the loss against other networks, with confidence intervals.

        The intervals count chips and test samples as drawn at random; see `analognets.metrics.mean_interval`. Losses
        are paired: sample by sample, so what is hard for both networks cancels.

        Args:
            references: which decisions other networks get right, of `right`: "float" is the network before training
                for hardware, "digital" the same weights without converters and chips; other names are free.
            groups: what makes samples dependent, one a sample: the speaker, say. "" is a group of its own.
            confidence: of the intervals, between 0 and 1.

        Returns:
            A row for each time and mode: drift_compensation, seconds, at, mean and std of the accuracy over chips,
            chips, low and high end of the interval; bound, the accuracy that at least the share bound_share of all
            chips has with this confidence, on these samples (`analognets.metrics.chips_bound`); for each reference NAME
            its accuracy NAME_accuracy and, in points of percent, NAME_loss, NAME_loss_low and NAME_loss_high, which for
            "float" are called loss, loss_low and loss_high. Ends that are not known are NaN; those of accuracies near 0
            and 1 may lie beyond them.
        """
        each = self.owners(groups)
        right = (self.chosen == self.truth).astype(np.float32)
        rows = []
        for key, part in self.readings.groupby(MODE, sort=True):
            table = right[part.index]
            chips = table.mean(axis=1, dtype=np.float64)
            found = mean_interval(table, each, confidence=confidence)
            row: dict[str, Any] = dict(zip(MODE, key, strict=True))
            row |= {"mean": found.mean, "std": chips.std(ddof=1) if len(chips) > 1 else np.nan, "chips": len(chips)}
            bound = chips_bound(chips, confidence=confidence)
            row |= {"low": found.low, "high": found.high, "bound": bound.value, "bound_share": bound.share}
            for name, other in (references or {}).items():
                loss = mean_interval(100.0 * (other.astype(np.float64) - table), each, confidence=confidence)
                of = "" if name == FLOAT else f"{name}_"
                row |= {f"{name}_accuracy": float(other.mean()), f"{of}loss": loss.mean}
                row |= {f"{of}loss_low": loss.low, f"{of}loss_high": loss.high}
            rows.append(row)
        return in_order(pd.DataFrame(rows))
