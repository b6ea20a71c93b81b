"""MNIST learned without labels on simulated memristors, and on float synapses beside it.

python -m benchmarks.stdp_mnist --work RUNS [--data FOLDER] [--layers memristor-100 ...] [--seeds 0]

Each training is a run folder RUNS/<kind>-<neurons>-<seed> of the recipe stdp-mnist: a finished one is not repeated, an
interrupted one goes on from its last block. At the end, and with --collect at any time, their records become
results/stdp_mnist.json, and the receptive fields of the first seed's layers pictures beside it.

Labels are used after learning only, and only those of training pictures. Test pictures are seen once, at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from analognets.core.files import write_json
from analognets.zoo.experiments.spiking_recipe import DigitsRun, find_spiking_recipe
from analognets.zoo.experiments.stdp_mnist import prepare_digits, train_digits

RESULT = Path(__file__).parents[1] / "results" / "stdp_mnist.json"
LAYERS = ("memristor-100", "memristor-400", "float-100", "float-400")


def train(name: str, seed: int, work: Path, data: Path | None) -> None:
    """Train one layer to the end unless it is finished."""
    kind, neurons = name.split("-")
    recipe = find_spiking_recipe("stdp-mnist", [f"kind={kind}", f"neurons={neurons}", f"seed={seed}"])
    folder = work / f"{name}-{seed}"
    if (folder / "run.json").is_file() and DigitsRun.open(folder).finished:
        return
    run = DigitsRun.create(folder, recipe)
    task = prepare_digits(recipe, data_dir=data)  # type: ignore[arg-type]
    result = train_digits(run, task, lambda shown, row: print(name, seed, row, flush=True))
    print(name, seed, result["test_accuracy"], result["test_accuracy_weighted"], flush=True)


def collect(work: Path) -> dict[str, Any]:
    """Return the table of all finished runs in a folder."""
    table: dict[str, Any] = {}
    for name in LAYERS:
        records = [json.loads(path.read_text("utf-8")) for path in sorted(work.glob(f"{name}-*/results/digits.json"))]
        if not records:
            continue
        scores = [record["test_accuracy"] for record in records]
        table[name] = {
            "test_accuracy_mean": statistics.mean(scores),
            "test_accuracy_spread": statistics.stdev(scores) if len(scores) > 1 else None,
            "weighted_vote_mean": statistics.mean(record["test_accuracy_weighted"] for record in records),
            "seeds": {str(record["recipe"]["seed"]): record["test_accuracy"] for record in records},
            "training_minutes": max(record["training_seconds"] for record in records) / 60,
            "records": records,
        }
    return {"benchmark": "stdp_mnist", "about": __doc__, "layers": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--data", type=Path, help="folder of mnist.npz")
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--collect", action="store_true", help="train nothing, write the table of what is finished")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    if not options.collect:
        for seed in options.seeds:
            for name in options.layers:
                train(name, seed, options.work, options.data)
    write_json(options.result, collect(options.work))
    for name in LAYERS:
        picture = options.work / f"{name}-{options.seeds[0]}" / "results" / "receptive_fields.png"
        if picture.is_file() and name.startswith("memristor"):
            shutil.copyfile(picture, options.result.with_name(f"stdp_mnist_{name.split('-')[1]}.png"))
    print(f"wrote {options.result}")


if __name__ == "__main__":
    main()
