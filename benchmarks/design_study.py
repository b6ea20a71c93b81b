"""Whether bits by layer beat uniform 6 bit: AnalogNet-KWS designed for no more loss, with energy as small as can be.

python -m benchmarks.design_study --data DIR [--preset analognet_kws.hwa_6bit] [--limit 500] [--chips 3] [--trials 40]
    [--confirm-chips 15] [--finetune 0] [--folder /tmp/design_study] [--out results/design.json]

The budget is the loss that uniform 6 bit itself has on the validation clips; arrays and ADCs stay as they are, so that
energy depends on the bits of the layers alone. Candidates are decided on validation clips, all on the same chips, and
the best are confirmed beside uniform 6 bit on the test clips and chips of another seed; their difference is paired. An
interrupted study goes on where it was; FOLDER keeps what was measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from analognets.core.files import write_json
from analognets.deploy.studies.design.bench import SIMULATED, bench_of, measure
from analognets.deploy.studies.design.design import Design, design, records
from analognets.deploy.studies.design.space import described
from analognets.zoo.trained import open_trained
from benchmarks._measure import facts

RESULTS = Path(__file__).parents[1] / "results"
BITS = (8, 7, 6, 5, 4)
UNIFORM = 6
MARGIN = 0.25
"""Points: losses whose difference is surely less than this count as equal."""
SHOWN = ("label", "kind", "epochs", "energy_uj", "energy_low_uj", "energy_high_uj", "area_mm2", "mean_bits", "loss")
SHOWN += ("loss_low", "loss_high", "searched_loss", "accuracy", "chips", "samples")


def loss_of_uniform(preset: str, options: argparse.Namespace) -> float:
    """Return the loss of uniform hardware on the clips and chips that the search uses."""
    settings: dict[str, Any] = {"source": open_trained(preset).handle, "arrays": None, "data": options.data}
    settings |= {"data_options": {}, "limit": options.limit, "split": "validation", "ranges": "kept"}
    settings |= {"seconds": 86400.0, "seed": options.seed, "chips": options.chips, "retrained": ""}
    bench = bench_of(settings)
    wanted = {
        name: None if one is None else one.replace(dac_bits=UNIFORM, adc_bits=UNIFORM)
        for name, one in bench.layers.items()
    }
    point = {"layers": described(bench.layers, wanted), "epochs": 0, "inner": SIMULATED}
    return float(measure(settings, point)["loss"])


def finding(found: Design) -> str:
    """Return what the confirmed candidate says of uniform hardware, whichever way it comes out."""
    against = found.against
    if not against:
        return "none dominates"
    high, low = against["loss_more_high"], against["loss_more_low"]
    cheaper = against["energy_ratio"] < 1.0 and against["area_ratio"] <= 1.0
    if cheaper and high is not None and high <= MARGIN:
        return "dominates"
    return "none dominates" if not cheaper or (low is not None and low > 0.0) else "not decided"


def main() -> None:
    """Run the study and store what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of Speech Commands, or synthetic")
    parser.add_argument("--preset", default="analognet_kws.hwa_6bit")
    parser.add_argument("--limit", type=int, default=500, help="validation clips, spread evenly")
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--winners", type=int, default=3)
    parser.add_argument("--confirm-chips", type=int, default=15)
    parser.add_argument("--finetune", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/design_study"))
    parser.add_argument("--out", type=Path, default=RESULTS / "design.json")
    options = parser.parse_args()
    budget = round(max(loss_of_uniform(options.preset, options), 0.0), 6)
    print(f"uniform {UNIFORM} bit loses {budget:.2f} points of the search's clips", flush=True)
    found = design(
        options.preset,
        options.folder,
        loss=budget + 1e-6,
        bits=BITS,
        adcs=(128,),
        data=options.data,
        limit=options.limit,
        inner="chips",
        chips=options.chips,
        trials=options.trials,
        winners=options.winners,
        confirm_chips=options.confirm_chips,
        finetune=options.finetune,
        seed=options.seed,
        progress=lambda what, done, total: print(what, done, total, flush=True),
    )
    write_json(options.out, {**result_of(found, options), "machine": facts()})
    print(found.sentence)


def result_of(found: Design, options: argparse.Namespace) -> dict[str, Any]:
    """Return the results file."""
    confirmed = records(found.confirmed)
    tried = records(found.table)
    return {
        "preset": options.preset,
        "at": found.at,
        "budget_points": found.budgets["loss"],
        "bits": list(BITS),
        "grid": found.grid,
        "evaluations": found.evaluations,
        "margin_points": MARGIN,
        "finding": finding(found),
        "sentence": found.sentence,
        "against": found.against,
        "hardware": found.hardware,
        "samples": found.samples,
        "search": {"clips": options.limit, "chips": options.chips, "trials": options.trials, "seed": options.seed},
        "chosen": next(row for row in confirmed if row["trial"] == found.chosen["trial"]
                       and row["epochs"] == found.chosen["epochs"])["label"],
        "confirmed": [{name: row[name] for name in SHOWN} for row in confirmed],
        "tried": [
            {name: row[name] for name in ("label", "kind", "energy_uj", "mean_bits", "loss", "feasible", "pareto")}
            for row in tried
        ],
    }  # fmt: skip


if __name__ == "__main__":
    main()
