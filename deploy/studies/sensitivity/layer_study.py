"""Which layers bear the noise of analog devices least, and how few need better ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.deploy.studies.sensitivity.equal_error import check_all
from analognets.deploy.studies.sensitivity.study import (
    DEVICE_NOISE,
    Study,
    all_good,
    by_chip,
    point_of,
    standard_error,
)
from analognets.errors import InvalidArgumentError, check_number
from analognets.metrics import ISO_ACCURACY, chance_error, chips_interval, normalized_accuracy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LayerStudy", "layer_study"]

RANKING, EXEMPTION = "layers_ranking.parquet", "layers_exemption.parquet"


@dataclasses.dataclass(frozen=True)
class LayerStudy:
    """What `layer_study` found.

    Args:
        ranking: one row per network and layer, most sensitive first: network, layer, rank (from 1), weights, share (of
            the analog weights), accuracy, standard_error, normalized (A*), with much device noise in this layer alone.
        exemption: one row per network and number of exempt layers, from 0: network, exempt (their number), layer (the
            last one exempted), share (of the analog weights), accuracy, standard_error, normalized, enough (whether A*
            has reached the level), level. None and all layers are always there; if all are not enough, nothing in
            between is. Both tables end with low, high, normalized_low and normalized_high, the ends of 95 % intervals
            over chips, the float accuracy taken as it is.

    Examples:
        >>> sorted(ranked.ranking["layer"]), ranked.ranking["rank"].tolist()
        (['hidden', 'logits'], [1, 2])
    """

    ranking: pd.DataFrame
    exemption: pd.DataFrame


def layer_study(
    networks: Any,
    folder: Any,
    *,
    factor: float = 15.0,
    level: float = ISO_ACCURACY,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
    **settings: Any,
) -> LayerStudy:
    """Rank the layers of networks by how they bear device noise, then exempt the worst until accuracy is back.

    First one layer at a time has device noise (programming and reading) times `factor`, the others have none and don't
    drift. Then, from the most sensitive layer on, layers keep their weights exactly (no programming noise, no read
    noise, no drift; converters and the noise of the products stay), and all others are as the hardware is, until
    A* >= `level`. A* compares with the float network.

    Args:
        networks: as in `sweep_nonideality`.
        folder: for the results; other networks and studies may be added to it.
        factor: of the device noise in the layer that is ranked, > 0.
        level: A* to reach.
        progress: called with (done, total, row) after each measured chip.
        **settings: as in `sweep_nonideality`.

    Raises:
        InvalidArgumentError: a value is out of range, or a device has no noise.
        RunError: the folder holds something else, or is in use.

    Examples:
        >>> study = layer_study(analog, "layers", data=(x, y), chips=2)
        >>> sorted(study.ranking["layer"]), study.exemption["exempt"].tolist()[0]
        (['hidden', 'logits'], 0)

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), layer study (verified).
    """
    import pandas as pd

    factor = check_number("layer_study", "factor", factor, 1e-3, 1e3)
    level = check_number("layer_study", "level", level, 0.01, 2.0)
    study = Study(networks, folder, progress=progress, check=lambda model: check_all(model, [DEVICE_NOISE]), **settings)
    sizes = {source.name: layer_sizes(source.model) for source in study.sources}
    layers = sum(map(len, sizes.values()))
    study.expect(len(study.sources) + study.chips * (2 * layers + len(study.sources)))
    judge = Judge(study.references())
    ranking = ranked(study, sizes, factor, judge)
    study.write(RANKING, ranking)
    order = {name: list(ranking.loc[ranking["network"] == name, "layer"]) for name in sizes}
    rows = exempted(study, sizes, order, level, judge)
    exemption = in_order(pd.DataFrame(rows), sizes, "exempt").assign(at=study.at)
    study.write(EXEMPTION, exemption)
    study.finish()
    return LayerStudy(ranking, exemption)


class Judge:
    """Turns accuracies into A* of each network."""

    def __init__(self, references: dict[str, dict[str, Any]]) -> None:
        self.references = references

    def __call__(self, network: str, accuracies: np.ndarray) -> dict[str, Any]:
        """Return mean accuracy, its standard error and A*.

        Raises:
            InvalidArgumentError: the float network only guesses.
        """
        found = self.references[network]
        chance, error = chance_error(int(found["classes"])), 1.0 - found["float_accuracy"]
        if error >= chance:
            raise InvalidArgumentError(
                f"The float network of {network} is no better than guessing (accuracy {found['float_accuracy']:.3f}, "
                f"{found['classes']} classes), so accuracy can't be measured against it."
            )
        mean = float(accuracies.mean())
        return {
            "accuracy": mean,
            "standard_error": standard_error(accuracies),
            "normalized": normalized_accuracy(1.0 - mean, error, chance),
            **self.ends(accuracies, error, chance),
        }

    @staticmethod
    def ends(accuracies: np.ndarray, error: float, chance: float) -> dict[str, float]:
        """Return the ends of the intervals of accuracy and A*; NaN for one chip."""
        found = chips_interval(accuracies)
        if len(accuracies) < 2:
            return dict.fromkeys(("low", "high", "normalized_low", "normalized_high"), float("nan"))
        low, high = (normalized_accuracy(1.0 - end, error, chance) for end in (found.low, found.high))
        return {"low": found.low, "high": found.high, "normalized_low": low, "normalized_high": high}


def layer_sizes(model: Any) -> dict[str, int]:
    """Return the number of analog weights of each layer: of its kernel, without the zeros beside it on the crossbar."""
    from analognets.layers import analog_layers

    return {layer.name: int(np.prod(layer.kernel_variable.shape)) for layer in analog_layers(model)}


def ranked(study: Study, sizes: dict[str, dict[str, int]], factor: float, judge: Judge) -> pd.DataFrame:
    """Return accuracy with much noise in one layer alone, the most sensitive first."""
    import pandas as pd

    plan = [
        point_of(source, chip, DEVICE_NOISE, factor, layers=[layer], rest=0.0)
        for source in study.sources
        for layer in sizes[source.name]
        for chip in range(study.chips)
    ]
    table = all_good(study.run(plan))
    rows = []
    for key, group in table.groupby(["network", "layers"], sort=False):
        network, layers = map(str, key)
        [layer] = json.loads(layers)
        weights = sizes[network][layer]
        share = weights / sum(sizes[network].values())
        found = judge(network, by_chip(group))
        rows.append({"network": network, "layer": layer, "weights": weights, "share": share, **found})
    ranking = in_order(pd.DataFrame(rows), sizes, "accuracy")
    ranking.insert(2, "rank", ranking.groupby("network").cumcount() + 1)
    return ranking.assign(chips=study.chips, factor=factor, at=study.at)


def in_order(table: pd.DataFrame, networks: Iterable[str], column: str) -> pd.DataFrame:
    """Return a table with its networks in the order given, and each network's rows by a column."""
    place = {name: number for number, name in enumerate(networks)}
    table = table.sort_values(column, kind="stable")
    return table.sort_values("network", key=lambda names: names.map(place), kind="stable", ignore_index=True)


def exempted(
    study: Study, sizes: dict[str, dict[str, int]], order: dict[str, list[str]], level: float, judge: Judge
) -> list[dict[str, Any]]:
    """Return accuracy with more and more layers exempt; of networks that can't be helped, with none and with all."""
    sources = {source.name: source for source in study.sources}

    def rows_of(counts: dict[str, int]) -> list[dict[str, Any]]:
        plan = []
        for name, count in counts.items():
            chosen = order[name][:count]
            points = [point_of(sources[name], chip) for chip in range(study.chips)]
            if chosen:
                chips = range(study.chips)
                points = [point_of(sources[name], chip, DEVICE_NOISE, 0.0, layers=sorted(chosen)) for chip in chips]
            plan += points
        table = all_good(study.run(plan))
        found = []
        for name, count in counts.items():
            chosen = order[name][:count]
            share = sum(sizes[name][layer] for layer in chosen) / sum(sizes[name].values())
            result = judge(name, by_chip(table[table["network"] == name]))
            row = {"network": name, "exempt": count, "layer": chosen[-1] if chosen else None, "share": share}
            found.append({**row, **result, "enough": result["normalized"] >= level, "level": level})
        return found

    none, everything = rows_of(dict.fromkeys(order, 0)), rows_of({name: len(order[name]) for name in order})
    rows = [*none, *everything]
    can = {row["network"] for row in everything if row["enough"]}
    left = {row["network"]: 1 for row in none if not row["enough"] and row["network"] in can}
    while left := {name: count for name, count in left.items() if count < len(order[name])}:
        new = rows_of(left)
        rows += new
        left = {row["network"]: row["exempt"] + 1 for row in new if not row["enough"]}
    return rows
