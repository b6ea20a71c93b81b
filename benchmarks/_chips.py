"""What the studies on the standard crossbar share: mapping without training, chips, and A* of what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_analog
from analognets.deploy.chips.decisions import Decisions
from analognets.deploy.evaluation import decisions
from analognets.errors import RecipeError
from analognets.layers import calibrate, freeze_weight_range
from analognets.metrics import mean_interval, normalized_accuracy
from analognets.training import Recipe

Samples = tuple[np.ndarray, np.ndarray]
Measure = Callable[..., list[dict[str, Any]]]


def measure_chips(
    analog: keras.Model, samples: Samples, *, chips: int, times: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Return chip, time and accuracy of every reading, and the numbers of the samples that it gets wrong."""
    from analognets.deploy import program

    return readings_of(program(analog, chips, seed=seed).decide(samples, at=times))


def readings_of(found: Decisions) -> list[dict[str, Any]]:
    """Return the rows of `measure_chips` for what chips decided."""
    rows = json.loads(found.accuracies()[["chip", "at", "accuracy"]].to_json(orient="records"))
    return [
        {**row, "wrong": np.flatnonzero(chosen != found.truth).tolist()}
        for row, chosen in zip(rows, found.chosen, strict=True)
    ]


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
    """Add the readings of those networks that lack them to what was found, and keep it after each.

    Args:
        found: readings by the network's name.
        networks: analog networks by name, made where they are needed.
        samples: features and labels.
        keep: stores what was found.
        chips: at least 1; fewer found ones are measured anew.
        times: since programming.
        seed: of the chips.
        measure: programs chips and reads them.
    """
    for name, network in networks.items():
        if len({row["chip"] for row in found.get(name, [])}) < chips:
            found[name] = measure(network(), samples, chips=chips, times=times, seed=seed)
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
    right = np.ones((len(rows) + 1, found["samples"]))
    for one, wrong in zip(right, [found["float_wrong"], *(row["wrong"] for row in rows)], strict=True):
        one[wrong] = 0.0
    accuracy, loss = mean_interval(right[1:]), mean_interval(right[0] - right[1:])
    room = chance_error - (1 - found["float"])
    return {
        "low": accuracy.low,
        "high": accuracy.high,
        "loss": 100 * loss.mean,
        "loss_low": 100 * loss.low,
        "loss_high": 100 * loss.high,
        "normalized_low": 1 - loss.high / room,
        "normalized_high": 1 - loss.low / room,
    }
