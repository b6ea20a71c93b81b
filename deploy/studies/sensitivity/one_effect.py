"""One effect at several strengths: how accuracy falls, chip by chip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from analognets.deploy.studies.sensitivity.study import Study, point_of, standard_error
from analognets.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["summarize_sweep", "sweep_nonideality"]

RESULTS, SUMMARY = "sweep.parquet", "summary.parquet"


def sweep_nonideality(
    networks: Any,
    nonideality: str,
    values: Sequence[Any] | None,
    folder: Any,
    *,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure networks on their own hardware with one effect at other strengths, without retraining.

    The chips are the same at all strengths: their devices, their noise and what differs in their read-out come from the
    same draws. Call it again to go on after an interruption, with more values or more chips.

    Args:
        networks: one or several of: folder of a finished run, handle of a preset, path of a .keras file, calibrated
            analog model.
        nonideality: one of `list_effects`, or with a dot another setting, such as "adc_nonlinearity.spread".
        values: strengths in the unit of the effect; bits may be None (ideal). None: the effect as it is and a scan from
            there far beyond any use.
        folder: for the results; made if need be. A folder holds one sweep.
        progress: called with (done, total, row) after each measured chip.
        **settings: data (folder, "synthetic", .npz file, (inputs, labels) or None: as in training), data_options,
            limit (most test samples), chips (15), at ("1h"), seed (0), drift_compensation (True), workers (1), ray,
            overwrite; see `Study`.

    Returns:
        One row per network, strength and chip: network, nonideality, value, chip, accuracy, samples, status, error,
        float_accuracy, classes, standard (the strength as it is), at. Also in sweep.parquet, and summarized
        (`summarize_sweep`) in summary.parquet.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: a value is out of range, or a network's device can't have the effect.
        RunError: the folder holds another sweep, something else, or is in use.

    Examples:
        >>> table = sweep_nonideality(analog, "output_noise", [0.0, 0.1], "noise", data=(x, y), chips=2)
        >>> table.groupby("value")["chip"].count().to_dict()
        {0.0: 2, 0.1: 2}

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), sensitivity analysis (verified).
    """
    study = Study(
        networks,
        folder,
        progress=progress,
        mark={"nonideality": nonideality},
        check=lambda model: check_values(model, nonideality, values),
        **settings,
    )
    points = []
    for source in study.sources:
        for value in values_of(source.model, nonideality, values):
            points += [point_of(source, chip, nonideality, value) for chip in range(study.chips)]
    study.expect(len(points) + len(study.sources))
    references = study.references()
    table = study.run(points)
    for name in ("float_accuracy", "classes"):
        table[name] = [references[network][name] for network in table["network"]]
    own = {source.name: standard_of(source.model, nonideality) for source in study.sources}
    table["standard"] = [own[network] for network in table["network"]]
    table["at"] = study.at
    table = table.drop(columns=["layers", "rest", "fingerprint"])
    study.write(RESULTS, table)
    study.write(SUMMARY, summarize_sweep(table))
    return table


def crossbars_of(model: Any) -> list[Any]:
    """Return the different crossbars of a model's analog layers."""
    from analognets.layers import analog_layers

    found: list[Any] = []
    for layer in analog_layers(model):
        if layer.crossbar not in found:
            found.append(layer.crossbar)
    return found


def check_values(model: Any, nonideality: str, values: Sequence[Any] | None) -> None:
    """Raise unless the hardware of a model can have an effect at all of these strengths, and has one strength now."""
    if values is not None and not len(values):
        raise InvalidArgumentError("`values` of a sweep must hold at least one strength. Received: none.")
    for crossbar in crossbars_of(model):
        crossbar.effect(nonideality).check(crossbar)
        for value in values or ():
            crossbar.with_strength(nonideality, value)
    standard_of(model, nonideality)


def standard_of(model: Any, nonideality: str) -> Any:
    """Return how strong an effect is on the hardware of a model as it stands.

    Raises:
        InvalidArgumentError: layers differ in it, so that no one strength is that of the hardware as it stands.
    """
    found = list(dict.fromkeys(one.effect(nonideality).strength(one) for one in crossbars_of(model)))
    if len(found) > 1:
        raise InvalidArgumentError(
            f"`{nonideality}` is set to one strength in all layers, which must have the same one before. Received: "
            f"model '{model.name}' with {', '.join(map(str, found))}. Name another effect, or give all layers the same."
        )
    return found[0]


def values_of(model: Any, nonideality: str, values: Sequence[Any] | None) -> list[Any]:
    """Return the strengths to measure, each once."""
    if values is None:
        crossbar = crossbars_of(model)[0]
        values = [standard_of(model, nonideality), *crossbar.effect(nonideality).default_scan(crossbar)]
    return list(dict.fromkeys(None if value is None else float(value) for value in values))


def summarize_sweep(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard error over chips, number of chips and normalised accuracy of each network and strength.

    The normalised accuracy A* compares with the float network (`analognets.metrics.normalized_accuracy`). low and high
    are the ends of the 95 % interval of the accuracy over chips, normalized_low and normalized_high those of A*, the
    float accuracy taken as it is. loss is the accuracy lost to the hardware as it is, in points, paired chip by chip,
    where that was measured, with its ends. bound is the accuracy that at least the share bound_share of all chips has
    (`analognets.metrics.chips_bound`). All take the test samples as given.

    Args:
        table: from `sweep_nonideality`.

    Examples:
        >>> summarize_sweep(swept)[["value", "chips"]].values.tolist()
        [[0.0, 2.0], [0.1, 2.0]]
    """
    import pandas as pd

    from analognets.metrics import chance_error, chips_bound, chips_interval, normalized_accuracy

    rows = []
    good = table[table["status"] == "ok"]
    as_it_is = good[(good["value"] == good["standard"]) | (good["value"].isna() & good["standard"].isna())]
    standards = {}
    if "chip" in good:
        standards = {
            str(name): part.set_index("chip")["accuracy"] for name, part in as_it_is.groupby("network", sort=False)
        }
    for (network, effect, value), group in good.groupby(["network", "nonideality", "value"], sort=False, dropna=False):
        values = group["accuracy"].to_numpy(float)
        float_error = 1.0 - float(group["float_accuracy"].iloc[0])
        chance = chance_error(int(group["classes"].iloc[0]))
        possible = chance > float_error
        mean, bound = chips_interval(values), chips_bound(values)
        ends = {"low": mean.low, "high": mean.high}
        for name, end in list(ends.items()):
            star = possible and end == end
            ends[f"normalized_{name}"] = normalized_accuracy(1.0 - end, float_error, chance) if star else math.nan
        lost = lost_points(group, standards.get(str(network)))
        rows.append(
            {
                "network": network,
                "nonideality": effect,
                "value": value,
                "accuracy": float(values.mean()),
                "standard_error": standard_error(values),
                "chips": len(values),
                "normalized": normalized_accuracy(1.0 - values.mean(), float_error, chance) if possible else None,
                "float_accuracy": 1.0 - float_error,
                "standard": group["standard"].iloc[0],
                "at": group["at"].iloc[0],
                **ends,
                **lost,
                "bound": bound.value,
                "bound_share": bound.share,
            }
        )
    names = ["network", "nonideality", "value", "accuracy", "standard_error", "chips", "normalized", "float_accuracy"]
    names += ["standard", "at", "low", "high", "normalized_low", "normalized_high", "loss", "loss_low", "loss_high"]
    return pd.DataFrame(rows, columns=[*names, "bound", "bound_share"])


def lost_points(group: pd.DataFrame, standard: pd.Series | None) -> dict[str, float]:
    """Return the accuracy that chips lose to themselves on the hardware as it is, in points, with its ends.

    Args:
        group: rows of the chips at one strength.
        standard: accuracy of each chip as the hardware is, if measured.
    """
    from analognets.metrics import chips_interval

    pairs = None if standard is None else 100.0 * (standard - group.set_index("chip")["accuracy"]).dropna()
    if pairs is None or pairs.empty:
        return dict.fromkeys(("loss", "loss_low", "loss_high"), math.nan)
    found = chips_interval(pairs)
    return {"loss": found.mean, "loss_low": found.low, "loss_high": found.high}
