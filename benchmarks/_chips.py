"""What the studies on the standard crossbar share: mapping without training, chips, and A* of what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_analog
from analognets.errors import RecipeError
from analognets.layers import calibrate, freeze_weight_range
from analognets.metrics import normalized_accuracy
from analognets.training import Recipe

Samples = tuple[np.ndarray, np.ndarray]
Measure = Callable[..., list[dict[str, Any]]]


def measure_chips(
    analog: keras.Model, samples: Samples, *, chips: int, times: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Return chip, time and accuracy of every reading."""
    from analognets.deploy import program

    table = program(analog, chips, seed=seed).evaluate(samples, at=times)
    return json.loads(table[["chip", "at", "accuracy"]].to_json(orient="records"))  # type: ignore[no-any-return]


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

    Args:
        found: accuracies `float` and `trained_without_devices`, readings `direct` and `trained`.
        chance_error: share of wrong answers of a network that knows nothing.
    """
    table: dict[str, Any] = {name: found[name] for name in ("float", "trained_without_devices") if name in found}
    for name in ("direct", "trained"):
        for at in dict.fromkeys(row["at"] for row in found.get(name, [])):
            values = np.array([row["accuracy"] for row in found[name] if row["at"] == at])
            table.setdefault(name, {})[at] = {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else None,
                "normalized": float(normalized_accuracy(1 - values.mean(), 1 - found["float"], chance_error)),
            }
    return table
