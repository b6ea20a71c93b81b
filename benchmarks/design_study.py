"""Whether bits by layer beat uniform 6 bit: AnalogNet-KWS designed for less energy, with as little loss as can be.

python -m benchmarks.design_study --data DIR [--preset analognet_kws.hwa_6bit] [--share 0.86] [--limit 400] [--chips 3]
    [--trials 32] [--confirm-chips 100] [--finetune 0] [--folder design_study] [--out results/design.json]

The budget is a share of the energy that uniform 6 bit takes; arrays and ADCs stay as they are, so that energy depends
on the bits of the layers alone. Candidates are tried on validation clips, all on the same chips, and the best are
confirmed on all validation clips and chips of another seed, by which one is chosen. It, the best uniform hardware that
keeps the budget, and uniform 6 bit are then measured once on the test clips and chips of a third seed; the difference
to uniform 6 bit is paired. An interrupted study goes on where it was; FOLDER keeps what was measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from analognets.core.files import write_json
from analognets.deploy.accelerator import cost
from analognets.deploy.studies.design.bench import SIMULATED, bench_of, measure
from analognets.deploy.studies.design.design import RETRAINED, Design, design, pd_without, records
from analognets.deploy.studies.design.space import described
from analognets.deploy.studies.design.winners import difference
from analognets.zoo.trained import open_trained
from benchmarks._measure import facts

RESULTS = Path(__file__).parents[1] / "results"
BITS = (8, 7, 6, 5, 4)
UNIFORM = 6
MARGIN = 0.25
"""Points: losses that surely differ by less than this count as equal."""
SHOWN = ("label", "kind", "epochs", "energy_uj", "energy_low_uj", "energy_high_uj", "area_mm2", "mean_bits", "loss",
         "loss_low", "loss_high", "searched_loss", "accuracy", "chips", "samples")  # fmt: skip
TOLD = (*SHOWN, "confirmed_loss", "feasible")
TRIED = ("label", "kind", "energy_uj", "mean_bits", "loss", "feasible", "pareto")


def uniform_reported(options: argparse.Namespace, epochs: int) -> tuple[dict[str, Any], Any]:
    """Return uniform 6 bit on the chips and clips of the report, and the bench that measured it.

    Args:
        options: of the command.
        epochs: of the fine-tuning that the chosen candidate had.
    """
    retrained = str((options.folder / RETRAINED).resolve())
    settings: dict[str, Any] = {"source": open_trained(options.preset).handle, "arrays": None, "data": options.data}
    settings |= {"data_options": {}, "limit": None, "split": "test", "ranges": "kept", "retrained": retrained}
    settings |= {"seconds": 86400.0, "seed": options.seed + 2, "chips": options.confirm_chips}
    bench = bench_of(settings)
    wanted = {
        name: None if one is None else one.replace(dac_bits=UNIFORM, adc_bits=UNIFORM)
        for name, one in bench.layers.items()
    }
    point = {"layers": described(bench.layers, wanted), "epochs": epochs, "inner": SIMULATED}
    return measure(settings, point), bench


def beside(found: Design, uniform: dict[str, Any], bench: Any, energy: float) -> list[dict[str, Any]]:
    """Return what the chosen candidate, and after it the reference, takes and loses beside uniform 6 bit.

    Args:
        found: the design.
        uniform: of `uniform_reported`.
        bench: likewise.
        energy: of uniform 6 bit, in uJ.
    """
    rows = []
    for row in reported(found):
        more = difference(row, uniform, bench.samples.groups, len(bench.samples))
        rows.append(
            {
                "label": row["label"],
                "energy_share": row["energy_uj"] / energy,
                "mean_bits": row["mean_bits"],
                "loss_more": more.mean,
                "loss_more_low": more.low,
                "loss_more_high": more.high,
            }
        )
    return rows


def reported(found: Design) -> list[dict[str, Any]]:
    """Return the rows that the test clips were asked about: the chosen one, and the reference if it is another."""
    reference = found.reference
    return [found.chosen, *([] if reference is None or reference["row"] == found.chosen["row"] else [reference])]


def finding(rows: list[dict[str, Any]]) -> str:
    """Return what the chosen candidate says of uniform hardware, whichever way it comes out; it alone counts.

    Args:
        rows: of `beside`.
    """
    chosen = rows[0]
    if chosen["energy_share"] >= 1.0 or chosen["mean_bits"] > UNIFORM:
        return "another kind"
    if chosen["loss_more_high"] <= MARGIN:
        return "dominates"
    return "does not dominate" if chosen["loss_more_low"] > 0.0 else "not decided"


def main() -> None:
    """Run the study and store what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of Speech Commands, or synthetic")
    parser.add_argument("--preset", default="analognet_kws.hwa_6bit")
    parser.add_argument("--share", type=float, default=0.86, help="of the energy of uniform 6 bit")
    parser.add_argument("--limit", type=int, default=400, help="validation clips, spread evenly")
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--winners", type=int, default=3)
    parser.add_argument("--confirm-chips", type=int, default=100)
    parser.add_argument("--finetune", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("design_study"))
    parser.add_argument("--out", type=Path, default=RESULTS / "design.json")
    options = parser.parse_args()
    energy = cost(open_trained(options.preset).analog_model(), "aon_cim", bits=UNIFORM).energy_uj
    found = design(
        options.preset,
        options.folder,
        energy=options.share * energy,
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
    uniform, bench = uniform_reported(options, found.chosen["epochs"])
    rows = beside(found, uniform, bench, energy)
    write_json(options.out, {**result_of(found, options, rows, energy, uniform), "machine": facts()})
    print(found.sentence, json.dumps(rows, indent=2), sep="\n")


def result_of(
    found: Design, options: argparse.Namespace, rows: list[dict[str, Any]], energy: float, uniform: dict[str, Any]
) -> dict[str, Any]:
    """Return the results file.

    Args:
        found: the design.
        options: of the command.
        rows: of `beside`.
        energy: of uniform 6 bit, in uJ.
        uniform: of `uniform_reported`.
    """
    told = pd_without(reported(found))
    return {
        "preset": options.preset,
        "at": found.at,
        "uniform": {
            "bits": UNIFORM,
            "energy_uj": energy,
            **{name: uniform[name] for name in ("loss", "loss_low", "loss_high")},
        },
        "budget_uj": found.budgets["energy"],
        "bits": list(BITS),
        "grid": found.grid,
        "evaluations": found.evaluations,
        "margin_points": MARGIN,
        "finding": finding(rows),
        "beside": rows,
        "hardware": found.hardware,
        "samples": found.samples,
        "search": {"clips": options.limit, "chips": options.chips, "trials": options.trials, "seed": options.seed},
        "chosen": {name: found.chosen[name] for name in ("label", "epochs")},
        "confirmed": [{name: row[name] for name in SHOWN} for row in records(found.confirmed)],
        "reported": [{name: row[name] for name in TOLD} for row in records(told)],
        "sentence": found.sentence,
        "tried": [{name: row[name] for name in TRIED} for row in records(found.table)],
    }


if __name__ == "__main__":
    main()
