"""How strong each effect may get until a network loses one percent of its normalised accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.crossbar import possible_effects
from analognets.crossbar.effects import describe
from analognets.deploy.studies.sensitivity.equal_error import check_all
from analognets.deploy.studies.sensitivity.one_effect import crossbars_of
from analognets.deploy.studies.sensitivity.study import Study, all_good, by_chip, point_of, relative_accuracy
from analognets.errors import InvalidArgumentError, check_number
from analognets.metrics import ISO_ACCURACY, chips_interval, spread_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["relative_sensitivity", "threshold_study"]

RESULTS, SCAN = "threshold.parquet", "threshold_scan.parquet"
RESAMPLES = 200

Accuracies = dict[tuple[str, str | None, Any], np.ndarray]


def threshold_study(
    networks: Any,
    folder: Any,
    *,
    nonidealities: Sequence[str] | None = None,
    values: Mapping[str, Sequence[Any]] | None = None,
    level: float = ISO_ACCURACY,
    full: bool = False,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Find the strength x* of each effect at which accuracy falls to a level, without retraining.

        A(x) = 1 - (eps(x) - eps_standard) / (eps_chance - eps_standard),   A(x*) = 0.99

    x* lies between two strengths of a scan, by linear interpolation. The scan is searched by halving, which finds the
    same two if accuracy falls all the way; `full` measures all of it.

    Args:
        networks: as in `sweep_nonideality`.
        folder: for the results; other networks, effects and studies may be added to it.
        nonidealities: of `list_effects`; None: all that the hardware can have.
        values: the scan of some effects, from weak to strong; None: `Effect.default_scan`.
        level: 0 to 1.
        full: measure all strengths of the scans.
        progress: called with (done, total, row) after each measured chip.
        **settings: as in `sweep_nonideality`.

    Returns:
        One row per network and effect: network, nonideality, standard (the strength as it is), threshold (x*),
        standard_error (of x*, by resampling chips), multiple (x* / standard), beyond (accuracy never falls so far, and
        threshold is the end of the scan), low and high (ends of the 95 % interval of x*, from its standard error),
        sensitivity (`relative_sensitivity`), chips, level, at. Also in threshold.parquet; what was measured is in
        threshold_scan.parquet, with the ends of the accuracies' intervals.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: a value is out of range, or a device can't have an effect.
        RunError: the folder holds something else, or is in use.

    Examples:
        >>> table = threshold_study(analog, "thresholds", nonidealities=["output_noise"], data=(x, y), chips=2)
        >>> table[["nonideality", "level"]]
            nonideality  level
        0  output_noise   0.99

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), second sensitivity analysis (verified); the search by halving
    and the error of x* are ours.
    """
    import pandas as pd

    level = check_number("threshold_study", "level", level, 0.01, 0.9999)
    scans = {name: list(scan) for name, scan in (values or {}).items()}
    study = Study(
        networks,
        folder,
        progress=progress,
        check=lambda model: check_scans(model, nonidealities, scans),
        **settings,
    )
    search = Search(study, nonidealities, scans, level)
    search.run(full)
    rows = [search.result(source, effect) for source in study.sources for effect in search.wanted[source.name]]
    table = pd.DataFrame(rows)
    table["sensitivity"] = relative_sensitivity(table)
    table["level"], table["at"] = level, study.at
    study.write(SCAN, search.table())
    study.write(RESULTS, table)
    study.finish()
    return table


def check_scans(model: Any, nonidealities: Sequence[str] | None, scans: Mapping[str, Sequence[Any]]) -> None:
    """Raise unless all effects and values are possible, and the values of each scan go from weak to strong."""
    check_all(model, nonidealities)
    check_all(model, list(scans) or None)
    for name, scan in scans.items():
        for crossbar in crossbars_of(model):
            for value in scan:
                crossbar.with_strength(name, value)
        order = [describe(name).severity(value) for value in scan]
        if not order or order != sorted(set(order)):
            raise InvalidArgumentError(
                f"The scan of {name} must go from weak to strong, each strength once. Received: {list(scan)!r}."
            )


class Search:
    """The scans of all networks and effects, searched at once, so that all of a round's points run in parallel."""

    def __init__(
        self, study: Study, nonidealities: Sequence[str] | None, scans: Mapping[str, list[Any]], level: float
    ) -> None:
        self.study = study
        self.level = level
        crossbars = {source.name: crossbars_of(source.model)[0] for source in study.sources}
        self.wanted = {name: list(nonidealities or possible_effects(one)) for name, one in crossbars.items()}
        self.standard: dict[tuple[str, str], Any] = {}
        self.scans: dict[tuple[str, str], list[float]] = {}
        for name, one in crossbars.items():
            for effect in self.wanted[name]:
                known = one.effect(effect)
                self.standard[name, effect] = known.strength(one)
                self.scans[name, effect] = [float(x) for x in scans.get(effect) or known.default_scan(one)]
        self.accuracies: Accuracies = {}
        self.classes: dict[str, int] = {}

    def run(self, full: bool) -> None:
        """Measure until the two strengths around each threshold are known."""
        study, count = self.study, self.study.chips
        steps = [len(scan) if full else len(scan).bit_length() for scan in self.scans.values()]
        study.expect(len(study.sources) * (count + 1) + count * sum(steps))
        self.classes = {name: row["classes"] for name, row in study.references().items()}
        self._measure([(source.name, None, None) for source in study.sources])
        if full:
            self._measure([(*key, value) for key, scan in self.scans.items() for value in scan])
        open_ends = {key: (-1, len(scan)) for key, scan in self.scans.items()}
        while wanted := {key: (low + high) // 2 for key, (low, high) in open_ends.items() if high - low > 1}:
            self._measure([(*key, self.scans[key][middle]) for key, middle in wanted.items()])
            for key, middle in wanted.items():
                low, high = open_ends[key]
                holds = self.mean(*key, self.scans[key][middle]) >= self.level
                open_ends[key] = (middle, high) if holds else (low, middle)
        self.ends = open_ends

    def _measure(self, keys: Sequence[tuple[str, str | None, Any]]) -> None:
        sources = {source.name: source for source in self.study.sources}
        new = [key for key in keys if key not in self.accuracies]
        if not new:
            return
        points = [point_of(sources[name], chip, *rest) for name, *rest in new for chip in range(self.study.chips)]
        table = all_good(self.study.run(points))
        for number, key in enumerate(new):
            self.accuracies[key] = by_chip(table.iloc[number * self.study.chips : (number + 1) * self.study.chips])

    def relative(self, name: str, effect: str | None, value: Any) -> np.ndarray:
        """Return A of each chip, 1 being the mean of the standard."""
        standard = self.accuracies[name, None, None].mean()
        return relative_accuracy(self.accuracies[name, effect, value], standard, self.classes[name], name)

    def mean(self, name: str, effect: str | None, value: Any) -> float:
        """Return the mean A."""
        return float(np.mean(self.relative(name, effect, value)))

    def result(self, source: Any, effect: str) -> dict[str, Any]:
        """Return the row of a network and an effect."""
        key = source.name, effect
        scan, (low, high) = self.scans[key], self.ends[key]
        standard = self.standard[key]
        row = {"network": source.name, "nonideality": effect, "standard": standard, "beyond": high == len(scan)}
        if row["beyond"]:
            threshold, error = scan[-1], float("nan")
        else:
            start = scan[high] if low < 0 and standard is None else standard if low < 0 else scan[low]
            before = (*key, scan[low]) if low >= 0 else (source.name, None, None)
            threshold, error = self.crossing(source.name, before, float(start), (*key, scan[high]), scan[high])
        multiple = threshold / standard if standard else None
        chips = self.study.chips
        ends = spread_interval(threshold, error * chips**0.5, chips)
        found = {"threshold": threshold, "standard_error": error, "multiple": multiple, "chips": chips}
        return {**row, **found, "low": ends.low, "high": ends.high}

    def crossing(self, name: str, before: Any, start: float, after: Any, end: float) -> tuple[float, float]:
        """Return x* between two strengths, and its standard error from resampled chips."""
        standard = self.accuracies[name, None, None]
        pair = self.accuracies[before], self.accuracies[after]

        def at(chips: Any) -> float:
            mean = standard[chips].mean()
            high, low = (relative_accuracy(one[chips].mean(), mean, self.classes[name], name) for one in pair)
            share = (high - self.level) / (high - low) if high > low else 1.0
            return start + float(np.clip(share, 0.0, 1.0)) * (end - start)

        count = len(standard)
        rng = np.random.default_rng(self.study.settings["seed"])
        if count == 1:
            return at([0]), float("nan")
        samples = [at(rng.integers(0, count, count)) for _ in range(RESAMPLES)]
        # Resampled means of n chips spread by (n - 1) / n too little in variance.
        return at(np.arange(count)), float(np.std(samples, ddof=1) * (count / (count - 1)) ** 0.5)

    def table(self) -> pd.DataFrame:
        """Return mean accuracies of all that was measured."""
        import pandas as pd

        rows = []
        for (name, effect, value), chips in self.accuracies.items():
            relative = float(np.mean(self.relative(name, effect, value)))
            row = {"network": name, "nonideality": effect, "value": value, "accuracy": float(chips.mean())}
            ends = chips_interval(chips)
            rows.append({**row, "relative": relative, "chips": len(chips), "low": ends.low, "high": ends.high})
        return pd.DataFrame(rows)


def relative_sensitivity(table: pd.DataFrame) -> list[float]:
    """Return how sensitive each network is to an effect, compared with the others: 1 the most, 0 the least.

        r_s = (max x* - x*) / (max x* - min x*)   over the networks, with minus the bits as x* of converters

    NaN for a single network, or if all bear the same.

    Args:
        table: with the columns network, nonideality and threshold.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"network": ["a", "b"], "nonideality": "ir_drop", "threshold": [2.0, 6.0]})
        >>> relative_sensitivity(table)
        [1.0, 0.0]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), second sensitivity analysis (verified); which sign bits have is
    our reading.
    """
    found = []
    for _, row in table.iterrows():
        same = table.loc[table["nonideality"] == row["nonideality"], "threshold"]
        effect = describe(row["nonideality"])
        x = [effect.severity(value) for value in same]
        width = max(x) - min(x)
        own = effect.severity(row["threshold"])
        found.append((max(x) - own) / width if width else float("nan"))
    return found
