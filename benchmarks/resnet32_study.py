"""ResNet-32 on CIFAR-10 beside the tables of Rasch et al. 2023: mapped directly, and trained hardware-aware.

python -m benchmarks.resnet32_study --data DIR --runs RUNS [--seeds 0 1] [--chips 15] [--only direct]

RUNS/SEED/float and RUNS/SEED/hwa are runs of the recipe `cifar10_resnet32`, the second started from the first
(`--float-from`); while the second is in training, direct mapping alone is measured. What was measured of a network is
kept beside its runs every few chips, with the pictures that each gets wrong, and not measured again, so that `--only`
lets two processes share the work. RUNS/SEED/hwa then has the summary.csv of an evaluation, for the card of
`analognets zoo save`. Direct mapping is the paper's: scales from the largest weights of columns, input ranges from the
largest inputs, no training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import write_atomically, write_json
from analognets.core.provenance import environment
from analognets.deploy.evaluation import accuracy
from analognets.training import Run
from analognets.zoo.tasks import prepare
from analognets.zoo.trained import digital_twin
from benchmarks._chips import (
    Measure,
    Samples,
    directly_mapped,
    measure_chips,
    measure_missing,
    of_float,
    summary,
    table_of,
)
from benchmarks.results_a_star import TIMES

CHANCE = 0.9
"""Error of a network that knows nothing: ten classes alike."""
PAPER = {
    "float": 5.80,
    "direct": {"1s": 12.25, "1h": 13.14, "1d": 13.64, "1y": 18.49},
    "trained": {"1s": 6.73, "1h": 6.99, "1d": 7.33, "1y": 8.55},
}
"""Errors in per cent of tables 2 and 3 of arXiv 2302.08469 (600 epochs each)."""
NETWORKS = ("direct", "trained")
PLACES = ("folder", "float_from")
"""What the record of a run says about the machine that it ran on."""


def measured(
    folder: Path,
    samples: Samples,
    calibration: np.ndarray,
    *,
    chips: int,
    only: Sequence[str] = NETWORKS,
    measure: Measure = measure_chips,
) -> dict[str, Any]:
    """Return what is known of a hardware-aware run on the test samples; what is missing is measured and kept.

    Args:
        folder: of the run.
        samples: features and labels.
        calibration: training features.
        chips: at least 2.
        only: networks to measure, of `NETWORKS`.
        measure: programs chips and reads them.
    """
    run = Run.open(folder)
    found = kept_in(folder, "references")
    networks: dict[str, Callable[[], Any]] = {
        "direct": lambda: directly_mapped(run.float_model(), run.recipe, calibration)
    }
    if "float" not in found:
        found |= of_float(samples[1], outputs_of(run.float_model(), samples))
    if run.finished:
        networks["trained"] = run.analog_model
        if "trained_without_devices" not in found:
            analog = run.analog_model()
            found["trained_without_devices"] = accuracy(samples[1], outputs_of(analog, samples))
            found["digital_wrong"] = of_float(samples[1], outputs_of(digital_twin(analog), samples))["float_wrong"]
    write_json(kept_as(folder, "references"), {**found, "environment": environment()})
    for name, network in networks.items():
        found |= kept_in(folder, name)
        if name in only:

            def keep(so_far: dict[str, Any], name: str = name) -> None:
                write_json(kept_as(folder, name), {name: so_far[name], "environment": environment()})

            measure_missing(found, {name: network}, samples, keep, chips=chips, times=TIMES, measure=measure)
    if "trained" in found:
        table = table_of(found["trained"], found).assign(split="test")
        write_atomically(run.results / "summary.csv", table.to_csv(index=False))
    return found


def kept_as(folder: Path, what: str) -> Path:
    """Return the file that holds the readings of one network, or the references."""
    return folder / f"measured_{what}.json"


def kept_in(folder: Path, what: str) -> dict[str, Any]:
    """Return what was measured of one network, or the references; nothing if it is not there."""
    file = kept_as(folder, what)
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def outputs_of(net: Any, samples: Samples) -> Any:
    """Return the outputs of a network without devices."""
    return net.predict(samples[0], batch_size=500, verbose=0)


def without_pictures(found: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured without the lists of pictures, of which there are hundreds of thousands of numbers."""
    rows = {
        name: [{key: value for key, value in row.items() if key != "wrong"} for row in found[name]] for name in NETWORKS
    }
    return {key: value for key, value in found.items() if not key.endswith("_wrong")} | rows


def without_places(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a run without the folders of the machine that it ran on."""
    return {**record, "data": {key: value for key, value in record["data"].items() if key not in PLACES}}


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", required=True, help="folder with cifar10.npz, all 50,000 training pictures")
    options.add_argument("--runs", type=Path, required=True)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options.add_argument("--chips", type=int, default=15)
    options.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, help="networks to measure now")
    options.add_argument("--results", type=Path, default=Path("results/resnet32_cifar10.json"))
    given = options.parse_args()
    seeds: list[dict[str, Any]] = []
    for seed in given.seeds:
        folder = given.runs / str(seed) / "hwa"
        run = Run.open(folder)
        task = prepare(run.recipe, data_dir=given.data)
        samples, calibration = task.features("test"), task.training.calibration
        found = measured(folder, samples, calibration, chips=given.chips, only=given.only)
        missing = [name for name in NETWORKS if len({row["chip"] for row in found.get(name, ())}) < given.chips]
        if missing:
            print(f"'{folder}' lacks chips of {' and '.join(missing)}: the results have no seed {seed} yet.")
            continue
        stages = {"float": Run.open(given.runs / str(seed) / "float"), "hardware_aware": run}
        made = {
            name: {"recipe": one.recipe.to_dict(), "record": without_places(one.record)} for name, one in stages.items()
        }
        counted = min(len({row["chip"] for row in found[name]}) for name in NETWORKS)
        seeds.append(
            {
                "seed": seed,
                "chips": counted,
                **without_pictures(found),
                "summary": {"chance_error": CHANCE, **summary(found, CHANCE)},
                "made": made,
            }
        )
    if seeds:
        write_json(given.results, {"paper": PAPER, "seeds": seeds, "environment": environment()})


if __name__ == "__main__":
    main()
