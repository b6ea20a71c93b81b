"""What a certificate says: the question, the answer with its bounds, what it rests on and what it leaves open."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from analognets.core.figures import COLOURS, new_figure
from analognets.errors import InvalidArgumentError, check_integer, check_number
from analognets.units import format_duration, parse_durations

if TYPE_CHECKING:
    import pandas as pd

    from analognets.deploy.studies.certify.statistics import Audit

__all__ = ["EXIT_CODES", "MANY", "Certificate", "Question", "certificate_figure", "question"]

EXIT_CODES = {"pass": 0, "fail": 1, "undecided": 3}
"""Exit code of `analognets certify` for each verdict. 2 is a wrong usage of any command."""
MANY = 4
"""Most chips by default, in the fewest with which a promise is possible."""


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of the chips of a network.

    Args:
        min_accuracy: accuracy that a good chip has, 0 to 1.
        min_yield: share of good chips, 0.01 to 0.999.
        confidence: of the answer, 0.5 to 0.999999.
        times: since programming, in seconds; a good chip has the accuracy at all of them.
        data_uncertainty: whether the accuracy is meant for samples like those measured on, or for just these.
    """

    min_accuracy: float
    min_yield: float
    confidence: float
    times: tuple[float, ...]
    data_uncertainty: bool = True

    @property
    def error(self) -> float:
        """Probability of a wrong answer that is left to the chips: half of all, if samples count as drawn too."""
        return (1.0 - self.confidence) / (2.0 if self.data_uncertainty else 1.0)

    def bounds(self, rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
        """Return the bounds of the lowest accuracy of a chip over the times.

        Args:
            rows: of `Bench.measure`, one a time.
        """
        from analognets.deploy.studies.certify.statistics import accuracy_bounds

        if not self.data_uncertainty:
            lowest = min(row["accuracy"] for row in rows)
            return lowest, lowest
        lows, highs = [], []
        for row in rows:
            found = {"groups": row["groups"], "samples": row["samples"]}
            lows.append(accuracy_bounds(row["accuracy"], row["variance"], **found, error=self.error)[0])
            # One of several times is enough to call a chip bad, so that their errors add up.
            error = self.error / len(rows)
            highs.append(accuracy_bounds(row["accuracy"], row["variance"], **found, error=error)[1])
        return float(min(lows)), float(min(highs))

    def check_samples(self, samples: int, groups: int) -> None:
        """Raise if no accuracy measured on so many samples could show the one that is asked for.

        Args:
            samples: how many there are.
            groups: of them.

        Raises:
            InvalidArgumentError: there are too few.
        """
        from analognets.deploy.studies.certify.statistics import accuracy_bounds

        if not self.data_uncertainty:
            return
        way = "Give more of them, or count these alone (data_uncertainty=False, --no-data-uncertainty)."
        if groups < 2:
            raise InvalidArgumentError(
                f"Samples of one group don't tell how much groups differ. Received: {samples:,} samples of {groups} "
                f"group. {way}"
            )
        best, _ = accuracy_bounds(1.0, 0.0, groups=groups, samples=samples, error=self.error)
        if best < self.min_accuracy:
            raise InvalidArgumentError(
                f"{samples:,} samples show an accuracy of {percent(round(float(best), 4))} % at most, even if a chip "
                f"gets all of them right. Received: min_accuracy={self.min_accuracy:g}. {way}"
            )

    def when(self) -> str:
        """Return the times as words: "1h and 1y after programming"."""
        words = [format_duration(one) for one in self.times]
        return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words) + " after programming"

    def statement(self) -> str:
        """Return what is to be shown: "at least 95 % of chips keep an accuracy of 90 % 1y after programming"."""
        shares = percent(self.min_yield), percent(self.min_accuracy)
        return f"at least {shares[0]} % of chips keep an accuracy of {shares[1]} % {self.when()}"


def question(*, min_accuracy: Any, min_yield: Any, confidence: Any, at: Any, data_uncertainty: Any) -> Question:
    """Return a question, checked; see `Question`.

    Raises:
        InvalidArgumentError: a value is out of range.
    """
    if isinstance(at, (str, int, float)):
        at = [at]
    return Question(
        check_number("certify", "min_accuracy", min_accuracy, 0.0, 1.0),
        check_number("certify", "min_yield", min_yield, 0.01, 0.999),
        check_number("certify", "confidence", confidence, 0.5, 0.999999),
        tuple(dict.fromkeys(parse_durations(list(at)))),
        bool(data_uncertainty),
    )


def most_chips(chips: Any, asked: Question, fewest: int) -> int:
    """Return how many chips may be measured.

    Args:
        chips: the wish; None: `MANY` times the fewest.
        asked: the question.
        fewest: chips with which a promise is possible.

    Raises:
        InvalidArgumentError: they are too few for any promise.
    """
    if chips is None:
        return MANY * fewest
    most = check_integer("certify", "chips", chips, 1, 1_000_000)
    if most < fewest:
        raise InvalidArgumentError(
            f"Even if all chips are good, {fewest} of them are needed to show a yield of {percent(asked.min_yield)} % "
            f"with {percent(asked.confidence)} % confidence. Received: chips={most}. Allow more chips, or ask for less."
        )
    return most


def outward(bound: float, direction: Callable[[float], int]) -> float:
    """Return a bound with four digits, on its safe side: rounding must not promise more than was shown.

    Args:
        bound: a share.
        direction: `math.floor` for a lower bound, `math.ceil` for an upper one.
    """
    return direction(round(1e4 * bound, 4)) / 1e4


def percent(share: float) -> str:
    """Return a share in percent, as short as it can be said."""
    return f"{100.0 * share:.6g}"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is known of the chips of a network after an audit, of `certify`.

    Args:
        verdict: "pass": the promise holds; "fail": it does not; "undecided": neither is shown.
        sentence: the answer in words.
        asked: the question.
        most: so many chips were allowed.
        chips: that were counted.
        good: of them that have the accuracy for certain.
        bad: of them that have not for certain.
        yield_low: lower bound of the share of good chips, exact for the sequential test.
        yield_high: upper bound, likewise; each of the two has the confidence of the answer.
        rests_on: sentences on what the answer rests on.
        leaves_out: sentences on what it does not cover.
        table: a row for each chip: chip, accuracy (lowest over the times), low, high.

    Examples:
        >>> found = analognets.deploy.certify(
        ...     analog, min_accuracy=0.8, min_yield=0.5, confidence=0.9, data=(x, y), at="1d", data_uncertainty=False
        ... )
        >>> found.verdict, found.exit_code, found.bad
        ('pass', 0, 0)
    """

    verdict: str
    sentence: str
    asked: Question
    most: int
    chips: int
    good: int
    bad: int
    yield_low: float
    yield_high: float
    rests_on: tuple[str, ...]
    leaves_out: tuple[str, ...]
    table: pd.DataFrame = dataclasses.field(repr=False, compare=False)

    def __bool__(self) -> bool:
        """Whether the promise holds."""
        return self.verdict == "pass"

    def __str__(self) -> str:
        return self.sentence

    @property
    def exit_code(self) -> int:
        """What a process of a pipeline ends with, see `EXIT_CODES`."""
        return EXIT_CODES[self.verdict]

    def evidence(self) -> str:
        """Return in a sentence what was counted."""
        from analognets.metrics import chips_interval, format_interval

        unclear = self.chips - self.good - self.bad
        mean = chips_interval(self.table["accuracy"])
        shown = format_interval(round(mean.mean, 4), mean.low, mean.high, form="{:.6g}", scale=100)
        doubt = f", and the samples leave {unclear} in doubt" if self.asked.data_uncertainty else ""
        return (
            f"Of {self.chips} chips {self.good} keep it, {self.bad} do not{doubt}: the yield is at least "
            f"{percent(outward(self.yield_low, math.floor))} % and at most "
            f"{percent(outward(self.yield_high, math.ceil))} %. Accuracy of "
            f"these chips: mean {shown} % (half of the 95 % interval over chips), lowest "
            f"{percent(round(float(self.table['accuracy'].min()), 4))} %."
        )

    def next_step(self) -> str:
        """Return what can be done about an answer that is no promise; nothing for one that is."""
        if self.verdict == "pass":
            return ""
        if self.verdict == "fail":
            return "Ask for less accuracy, a shorter time or a lower yield, or train for this hardware."
        if self.chips - self.good - self.bad > self.bad:
            return "The samples leave most in doubt: measure on more of them, or ask for less accuracy."
        return "Go on with more chips (the chips counted stay), or ask for a lower yield or less accuracy."

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data, for JSON; shares from 0 to 1, times in seconds."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        asked = dataclasses.asdict(plain.pop("asked"))
        plain["accuracies"] = [float(one) for one in plain.pop("table")["accuracy"]]
        for name in ("rests_on", "leaves_out"):
            plain[name] = list(plain[name])
        asked["times"] = list(asked["times"])
        return {**plain, "exit_code": self.exit_code, "evidence": self.evidence(), "asked": asked}


def answer(audit: Audit, asked: Question) -> str:
    """Return the answer of an audit as a sentence."""
    sure = f"With {percent(asked.confidence)} % confidence "
    if audit.verdict == "pass":
        return f"{sure}{asked.statement()}."
    if audit.verdict == "fail":
        return f"{sure}{asked.statement().replace('at least', 'fewer than', 1)}."
    return f"After {audit.chips} chips it is undecided with {percent(asked.confidence)} % confidence whether " + (
        f"{asked.statement()}."
    )


def certificate_figure(found: Certificate) -> Any:
    """Draw the accuracy of each chip with its bounds, sorted, and the accuracy that a good one keeps.

    Args:
        found: of `certify`.

    Examples:
        >>> settings = {"min_yield": 0.5, "confidence": 0.9, "data_uncertainty": False}
        >>> found = analognets.deploy.certify(analog, min_accuracy=0.8, data=(x, y), at="1d", **settings)
        >>> certificate_figure(found).axes[0].get_ylabel()
        'lowest accuracy in %'
    """
    figure = new_figure(6.8, 3.6)
    axes = figure.add_subplot()
    table = found.table.sort_values("accuracy", ignore_index=True)
    accuracy = 100 * table["accuracy"]
    ends = [(accuracy - 100 * table["low"]).clip(lower=0), (100 * table["high"] - accuracy).clip(lower=0)]
    axes.errorbar(table.index + 1, accuracy, yerr=ends, fmt=".", color=COLOURS[0], elinewidth=0.8, label="chips")
    wanted = 100 * found.asked.min_accuracy
    axes.axhline(wanted, color=COLOURS[1], ls="--", lw=1.2, label=f"{wanted:g} % asked")
    axes.set(xlabel="chips, the least accurate first", ylabel="lowest accuracy in %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
