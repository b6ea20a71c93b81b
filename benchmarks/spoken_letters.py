"""Spoken letters to spike pictures: float synapses, the PCM model, and what devices and updates change.

python -m benchmarks.spoken_letters --work RUNS [--variants pcm float ...]

Each training is a run folder RUNS/<variant>-<seed> of the recipe letters: a finished one is not repeated, a broken
one goes on from its last checkpoint. At the end, and with --collect at any time, the records become
results/spoken_letters.json, and the figures of the first seed's PCM run pictures beside it.

The letters are spoken by espeak-ng and stretched to the window. The variants `pcm` and `float` have steps of 0.1 ms.
The others have steps of 0.5 ms and fewer readings, to save time, and are to be compared with `half_ms`, which is `pcm`
in that form. A seed decides the phases of the input spikes, the wanted times, the devices and
all noise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from analognets.core.files import write_json
from analognets.zoo.experiments.letters import prepare_letters, train_letters
from analognets.zoo.experiments.spiking_recipe import LettersRun, find_spiking_recipe

RESULT = Path(__file__).parents[1] / "results" / "spoken_letters.json"
RULES = "synapses.rules."
FLOAT = ["synapses.kind=float", "synapses.rules={}", "learning_rate_decay=0.97"]
COARSE = ["neuron.dt=0.5", "readings=3", "times=[0.0, 10000.0, 400000.0]"]
VARIANTS: dict[str, list[str]] = {
    "pcm": [],
    "float": FLOAT,
    "half_ms": [],
    "normal_steps": ["synapses.device.monotonic=false"],
    "devices_1": [RULES + "devices_per_polarity=1"],
    "devices_2": [RULES + "devices_per_polarity=2"],
    "devices_8": [RULES + "devices_per_polarity=8"],
    "amplitude_from_0.5": [RULES + "granularity=0.5"],
    "amplitude_from_1": [RULES + "granularity=1.0"],
    "pulses_stochastic": [RULES + "programming=pulses", RULES + "granularity=1.0"],
    "pulses_nearest": [RULES + "programming=pulses", RULES + "granularity=1.0", RULES + "rounding=nearest"],
    "no_refresh": [RULES + "refresh_every=0"],
    "one_minute_a_presentation": ["seconds_per_presentation=60"],
    "drift_spread_0.01": [RULES + "drift_spread=0.01"],
}
FINE = ("pcm", "float")
FIGURES = ("inputs", "pictures", "curve", "drift")


def train(name: str, seed: int, work: Path) -> None:
    """Train one variant to the end unless it is finished."""
    recipe = find_spiking_recipe("letters", [*([] if name in FINE else COARSE), *VARIANTS[name], f"seed={seed}"])
    folder = work / f"{name}-{seed}"
    if (folder / "run.json").is_file() and LettersRun.open(folder).finished:
        return
    run = LettersRun.create(folder, recipe)
    task = prepare_letters(recipe)  # type: ignore[arg-type]
    result = train_letters(run, task)
    print(name, seed, result["last_epoch"], flush=True)


def mean(rows: list[dict[str, Any]], seconds: float, scaled: bool) -> float:
    return statistics.mean(row["tolerance_25"] for row in rows if row["seconds"] == seconds and row["scaled"] == scaled)


def collect(work: Path) -> dict[str, Any]:
    """Return the table of all finished runs in a folder."""
    table: dict[str, Any] = {}
    for name in VARIANTS:
        records = [json.loads(path.read_text("utf-8")) for path in sorted(work.glob(f"{name}-?/results/letters.json"))]
        if not records:
            continue
        shares = {
            f"within_{ms}_ms": statistics.mean(record["last_epoch"][f"tolerance_{ms}"] for record in records)
            for ms in (5, 10, 25)
        }
        times = sorted({row["seconds"] for row in records[0]["after"]})
        table[name] = {
            "last_epoch": shares,
            "within_25_ms_by_seed": {str(r["recipe"]["seed"]): r["last_epoch"]["tolerance_25"] for r in records},
            "false_spikes_a_wanted_one": statistics.mean(record["last_epoch"]["false_share"] for record in records),
            "chance_25": statistics.mean(record["chance_25"] for record in records),
            "pulses_per_synapse": statistics.mean(
                sum(row["pulses_per_synapse"] for row in record["curve"]) for record in records
            ),
            "devices": records[0]["devices"],
            "after": {
                f"{seconds:g}": {
                    kind: statistics.mean(mean(record["after"], seconds, kind == "scaled") for record in records)
                    for kind in ("as_read", "scaled")
                }
                for seconds in times
            },
            "records": records,
        }
    return {"benchmark": "spoken_letters", "about": __doc__, "variants": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--collect", action="store_true", help="train nothing, write the table of what is finished")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    if not options.collect:
        for name in options.variants:
            for seed in options.seeds:
                train(name, seed, options.work)
    write_json(options.result, collect(options.work))
    for figure in FIGURES:
        picture = options.work / f"pcm-{options.seeds[0]}" / "results" / f"{figure}.png"
        if picture.is_file():
            shutil.copyfile(picture, options.result.with_name(f"spoken_letters_{figure}.png"))
    print(f"wrote {options.result}")


if __name__ == "__main__":
    main()
