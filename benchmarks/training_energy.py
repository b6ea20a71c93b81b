"""Energy of learning on devices against a digital design: the published totals, and what calibrating on them implies.

python -m benchmarks.training_energy [--result FILE]

The activity of an image is measured: pulses and RESETs from results/mnist_on_device.json, the share of chi
that gets a product from the share of pixels that are not black (an error of exactly 0 is not counted on). The two
constants that no source gives are then what the published totals leave; the YAML of the package must hold them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.config import read_yaml
from analognets.core.files import write_json
from analognets.core.provenance import git_commit
from analognets.deploy.accelerator.training_cost import Activity, load_training_system, training_cost
from analognets.zoo.networks.digits import mnist_mlp

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "training_energy.json"
RECORDS = HERE.parent / "results" / "mnist_on_device.json"
PUBLISHED = HERE / "published" / "training_energy.yaml"


def measured(records: Path = RECORDS) -> dict[str, Any]:
    """Return the activity of an image, in the mean over all seeds and epochs of the full device model."""
    table = json.loads(records.read_text("utf-8"))
    runs = table["variants"]["device"]["records"]
    images = [run["settings"]["epochs"] * 60_000 for run in runs]

    def rate(name: str) -> float:
        counts = [sum(found[name] for found in run["statistics"].values()) for run in runs]
        return float(np.mean(np.divide(counts, images)))

    return {
        "touched": {"hidden": table["ink_share"], "output": 1.0},
        "set_pulses": rate("set_pulses"),
        "resets": rate("resets"),
    }


def calibrate(activity: Activity) -> dict[str, float]:
    """Return the two constants in pJ with which the totals are the published ones."""
    system, published = load_training_system(), read_yaml(PUBLISHED)
    found = training_cost(mnist_mlp(), activity, system=system)
    counts = found.counts
    weights = sum(counts[f"digital {phase}"]["weight"] for phase in ("forward", "backward", "update"))
    rest = 1e3 * (published["digital_nj"]["value"] - found.total_digital_nj)
    chi = 1e3 * (published["mixed_nj"]["value"] - found.total_mixed_nj)
    return {
        "mixed.accumulate": system.mixed.accumulate.value + chi / counts["mixed update"]["touched"],
        "digital.weight": system.digital.weight.value + rest / weights,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    found = measured()
    activity = Activity(**found)
    cost = training_cost(mnist_mlp(), activity)
    plain = cost.system.digital.activation.value * 2 + 0.1  # chi in a small bank: a word read and written, a product
    bank = cost.total_mixed_nj + 1e-3 * cost.counts["mixed update"]["touched"] * (
        plain - cost.system.mixed.accumulate.value
    )
    table = {
        "benchmark": "training_energy",
        "network": "784-250-10",
        "git_commit": git_commit(),
        "activity": found,
        "published": read_yaml(PUBLISHED),
        "wanted_constants_pj": calibrate(activity),
        "constants": cost.system.model_dump(mode="json"),
        "nj": cost.table().round(3).to_dict(),
        "mixed_nj": cost.total_mixed_nj,
        "digital_nj": cost.total_digital_nj,
        "ratio": cost.ratio,
        "uncalibrated": {
            "accumulate_pj": plain,
            "mixed_nj": bank,
            "ratio": cost.total_digital_nj / bank,
            "about": "chi in a small bank at the price of aon_cim's SRAM, nothing fitted on the mixed side",
        },
    }
    write_json(options.result, table)
    print(cost)
    print("constants wanted (pJ):", {name: round(value, 4) for name, value in table["wanted_constants_pj"].items()})
    print(f"wrote {options.result}")


if __name__ == "__main__":
    main()
