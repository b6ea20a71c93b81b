"""Always on: false alarms per hour and misses of presets on running audio, after seconds, a day and a year.

python -m benchmarks.stream_study --data DIR [--networks analognet_kws.hwa_8bit ...] [--hours 1] [--chips 5]
    [--at 25s 1d 1y] [--target 5] [--out results]

For each network features are made once of the whole audio and serve all chips and times. One threshold for all words is
chosen on audio of the validation split (read after 25 s) and used on audio of the test split at all times. It writes
stream.json, stream.csv (each chip and time), stream_det.csv (each threshold) and stream.svg.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.files import make_folder, write_atomically, write_json
from analognets.deploy.accelerator.costs import cost
from analognets.deploy.stream.power import duty_cycle
from analognets.deploy.stream.report import det_rows, reading_rows, stream_figure, to_dict
from analognets.deploy.stream.study import StreamEvaluation, stream_evaluation
from analognets.zoo.trained import open_trained
from benchmarks._measure import facts

RESULTS = Path(__file__).parents[1] / "results"
NETWORKS = ("analognet_kws.hwa_8bit", "analognet_kws.hwa_6bit", "analognet_kws.hwa_4bit")


def measure(name: str, options: argparse.Namespace) -> tuple[StreamEvaluation, dict[str, Any]]:
    """Return the evaluation of a network, and what is written about it."""
    trained = open_trained(name, wants=("recipe",))
    task = trained.task(options.data, calibrate=False)
    asked = {"hours": options.hours, "validation_hours": options.validation_hours, "chips": options.chips}
    asked |= {"at": options.at, "seed": options.seed, "target": options.target, "progress": report}
    found = stream_evaluation(trained, task.data, **asked)
    power = duty_cycle(cost(trained.model, "aon_cim"), 1 / found.settings["step"])
    data = {key: getattr(task.data.info, key) for key in ("name", "version", "statement", "synthetic")}
    origin = {key: trained.origin.get(key) for key in ("recipe", "recipe_fingerprint", "seed", "git_commit")}
    return found, {**to_dict(found, power), "data": data, "origin": origin}


def report(what: str, done: int, total: int) -> None:
    """Print how far the listening is."""
    if what == "Listening":
        print(f"{what}: {done} of {total}", flush=True)


def table(evaluations: list[StreamEvaluation], rows: Any) -> str:
    """Return the rows of all networks as CSV, the name of the network in front."""
    parts = [pd.DataFrame(rows(one)).assign(preset=one.name) for one in evaluations]
    whole = pd.concat(parts, ignore_index=True)
    return whole[["preset", *whole.columns.drop("preset")]].to_csv(index=False, float_format="%.6g")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of Speech Commands, or 'synthetic'")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="presets or folders of runs")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--validation-hours", type=float)
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--at", nargs="+", default=["25s", "1d", "1y"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=5.0, help="false alarms per hour on validation audio")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    folder = make_folder(options.out)
    evaluations, records = [], []
    for name in options.networks:
        found, record = measure(name, options)
        evaluations.append(found)
        records.append(record)
        for row in record["rows"]:
            print(
                name,
                {key: row[key] for key in ("title", "threshold", "false_alarms_per_hour", "miss_rate")},
                flush=True,
            )
        print(f"{name}: {found.ratio:.4f} of the audio's time on each chip at each time", flush=True)
    write_atomically(folder / "stream.csv", table(evaluations, reading_rows))
    write_atomically(folder / "stream_det.csv", table(evaluations, det_rows))
    stream_figure(evaluations, folder / "stream.svg")
    about = {"benchmark": "stream", "about": __doc__, "networks": records, **facts()}
    write_json(folder / "stream.json", about)
    print(f"wrote {folder / 'stream.json'}")


if __name__ == "__main__":
    main()
