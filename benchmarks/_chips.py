"""What the studies on the standard crossbar share: mapping without training, chips, and A* of what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets.conversion import to_analog
from analognets.deploy.chips.decisions import Decisions
from analognets.deploy.evaluation import decisions
from analognets.errors import RecipeError
from analognets.layers import calibrate, freeze_weight_range
from analognets.metrics import normalized_accuracy
from analognets.training import Recipe
from analognets.units import parse_duration

Samples = tuple[np.ndarray, np.ndarray]
Measure = Callable[..., list[dict[str, Any]]]


AT_ONCE = 3
"""Chips that are measured together; what is known of them is kept before the next ones."""


def measure_chips(
    analog: keras.Model, samples: Samples, *, chips: int, times: Sequence[str], seed: int, first: int = 0
) -> list[dict[str, Any]]:
    """Return chip, time and accuracy of every reading, and the numbers of the samples that it gets wrong."""
    from analognets.deploy import program

    return readings_of(program(analog, chips, seed=seed, first=first).decide(samples, at=times))


def readings_of(found: Decisions) -> list[dict[str, Any]]:
    """Return the rows of `measure_chips` for what chips decided."""
    rows = json.loads(found.accuracies()[["chip", "at", "accuracy"]].to_json(orient="records"))
    return [
        {**row, "wrong": np.flatnonzero(chosen != found.truth).tolist()}
        for row, chosen in zip(rows, found.chosen, strict=True)
    ]


def table_of(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], *, seed: int = 0) -> pd.DataFrame:
    """Return the table of `Decisions.summary` for stored rows of `measure_chips`.

    Args:
        rows: with the numbers of the samples that each reading gets wrong.
        found: the references: `float_wrong`, `digital_wrong` where it is known, and the number of `samples`.
        seed: of the chips.
    """
    count = found["samples"]

    def wrong(of: Sequence[Sequence[int]]) -> np.ndarray:
        table = np.zeros((len(of), count), np.int64)
        for one, numbers in zip(table, of, strict=True):
            one[list(numbers)] = 1
        return table

    readings = pd.DataFrame([{"chip": row["chip"], "seed": seed, "at": row["at"]} for row in rows])
    readings = readings.assign(seconds=readings["at"].map(parse_duration), drift_compensation=True)
    # What matters is who is right: two classes, and the truth is 0.
    decided = Decisions(readings, np.zeros(count, np.int64), wrong([row["wrong"] for row in rows]), 2, count)
    known = [name for name in ("float", "digital") if f"{name}_wrong" in found]
    return decided.summary({name: wrong([found[f"{name}_wrong"]])[0] == 0 for name in known})


def of_float(labels: Any, outputs: Any) -> dict[str, Any]:
    """Return what `summary` takes of the float network: accuracy, which samples it gets wrong, and how many there are.

    Args:
        labels: of the samples.
        outputs: of the network, as `analognets.deploy.accuracy` takes them.
    """
    truth, chosen, _ = decisions(labels, outputs)
    wrong = np.flatnonzero(chosen != truth).tolist()
    return {"float": 1 - len(wrong) / len(truth), "float_wrong": wrong, "samples": len(truth)}


def directly_mapped(net: keras.Model, recipe: Recipe, calibration: np.ndarray) -> keras.Model:
    """Return a float network on the recipe's crossbar without training.

    Direct mapping is the paper's: scales from the largest weights of columns, input ranges from the largest inputs.

    Args:
        net: after float training.
        recipe: with the stage `hardware_aware`, which names the hardware and the layers that stay digital.
        calibration: training features.
    """
    stage = recipe.hardware_aware
    if stage is None:
        raise RecipeError(
            f"Recipe '{recipe.name}' must have the stage `hardware_aware`, which names the hardware. Received: null."
        )
    analog = to_analog(net, stage.hardware.by_layer(), exempt=stage.exempt)
    freeze_weight_range(analog, sigma=None)
    calibrate(analog, calibration, rule="abs_max")
    return analog


def measure_missing(
    found: dict[str, Any],
    networks: Mapping[str, Callable[[], keras.Model]],
    samples: Samples,
    keep: Callable[[dict[str, Any]], None],
    *,
    chips: int,
    times: Sequence[str],
    seed: int = 0,
    measure: Measure = measure_chips,
) -> None:
    """Add the readings of those networks that lack them to what was found, and keep it after every few chips.

    Args:
        found: readings by the network's name.
        networks: analog networks by name, made where they are needed.
        samples: features and labels.
        keep: stores what was found.
        chips: at least 1; where fewer were found, the others are measured.
        times: since programming.
        seed: of the chips.
        measure: programs chips and reads them.
    """
    for name, network in networks.items():
        known = len({row["chip"] for row in found.get(name, [])})
        if known >= chips:
            continue
        analog = network()
        for first in range(known, chips, AT_ONCE):
            count = min(AT_ONCE, chips - first)
            rows = measure(analog, samples, chips=count, times=times, seed=seed, first=first)
            found[name] = [*found.get(name, []), *rows]
            keep(found)


def summary(found: Mapping[str, Any], chance_error: float) -> dict[str, Any]:
    """Return accuracy without devices, and mean accuracy, its spread over chips and A* at each time, as far as found.

    Where readings say which samples they get wrong, 95 % intervals count chips and samples as drawn at random; loss and
    A* are paired with the float network by sample.

    Args:
        found: what `of_float` returns, accuracy `trained_without_devices`, readings `direct` and `trained`.
        chance_error: share of wrong answers of a network that knows nothing.
    """
    table: dict[str, Any] = {name: found[name] for name in ("float", "trained_without_devices") if name in found}
    for name in ("direct", "trained"):
        for at in dict.fromkeys(row["at"] for row in found.get(name, [])):
            rows = [row for row in found[name] if row["at"] == at]
            values = np.array([row["accuracy"] for row in rows])
            table.setdefault(name, {})[at] = {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else None,
                "normalized": float(normalized_accuracy(1 - values.mean(), 1 - found["float"], chance_error)),
                **(intervals(rows, found, chance_error) if "float_wrong" in found and "wrong" in rows[0] else {}),
            }
    return table


def intervals(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], chance_error: float) -> dict[str, float]:
    """Return the ends of the 95 % intervals of accuracy, loss in points, and A* at one time.

    Args:
        rows: readings.
        found: what `of_float` returns.
        chance_error: share of wrong answers of a network that knows nothing.
    """
    row = table_of(rows, found).iloc[0]
    room = 100 * (chance_error - (1 - found["float"]))
    return {
        **{name: float(row[name]) for name in ("low", "high", "loss", "loss_low", "loss_high")},
        "normalized_low": 1 - float(row["loss_high"]) / room,
        "normalized_high": 1 - float(row["loss_low"]) / room,
    }
