"""Precise spike times learned on the Cu/SiO2/W memristor, with NormAD, and on float synapses beside it.

python -m benchmarks.memristor_spike_times [--seeds 0 1 2] [--epochs 150]

200 Poisson inputs of 20 Hz, 10 neurons, 500 ms, 5 wanted spikes each at random times at least 20 ms apart: our
own task, the published one is not known. One memristor a synapse. Writes
results/memristor_spike_times.json, its curve, and the learning window of the device.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analognets.core.files import write_json
from analognets.core.provenance import git_commit
from analognets.devices import CuSiO2Memristor
from analognets.spiking import (
    FloatSynapses,
    MemristorSynapses,
    Presentation,
    SpikeTimeTrainer,
    SpikeTrains,
    chance_share,
    figures,
)

RESULT = Path(__file__).parents[1] / "results" / "memristor_spike_times.json"
INPUTS, OUTPUTS, DURATION, RATE, SPIKES, GAP = 200, 10, 500.0, 20.0, 5, 20.0
SETTINGS: dict[str, Any] = {"rate": 800.0, "rate_decay": 0.98}


def task(seed: int) -> Presentation:
    """Return random inputs and wanted spikes."""
    rng = np.random.default_rng([seed, 5])
    counts = rng.poisson(RATE * DURATION / 1000, INPUTS)
    inputs = SpikeTrains.from_lists([np.sort(rng.uniform(0, DURATION, count)) for count in counts], DURATION)
    free = DURATION - 50.0 - GAP * (SPIKES - 1)
    wanted = [50.0 + np.sort(rng.uniform(0, free, SPIKES)) + GAP * np.arange(SPIKES) for _ in range(OUTPUTS)]
    return Presentation("random", inputs, SpikeTrains.from_lists(wanted, DURATION))


def train(kind: str, seed: int, epochs: int) -> dict[str, Any]:
    make = MemristorSynapses if kind == "memristor" else FloatSynapses
    pattern = task(seed)
    trainer = SpikeTimeTrainer([pattern], make((INPUTS, OUTPUTS), seed=seed), seed=seed, **SETTINGS)
    curve = [{"epoch": epoch + 1, **trainer.epoch(epoch)} for epoch in range(epochs)]
    after = [trainer.evaluate(0.0, seed=reading) for reading in range(5)]
    observed = trainer.observe(0.0, seed=0)[0]
    return {
        "seed": seed,
        "curve": curve,
        "after": {key: statistics.mean(row[key] for row in after) for key in after[0]},
        "chance_5": chance_share(pattern.target, observed, 5.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    table: dict[str, Any] = {}
    for kind in ("memristor", "float"):
        records = [train(kind, seed, options.epochs) for seed in options.seeds]
        keys = records[0]["after"]
        table[kind] = {
            "after": {key: statistics.mean(record["after"][key] for record in records) for key in keys},
            "chance_5": statistics.mean(record["chance_5"] for record in records),
            "records": records,
        }
        print(kind, table[kind]["after"], flush=True)
    result = {"benchmark": "memristor_spike_times", "about": __doc__, "git_commit": git_commit(), "settings": SETTINGS}
    write_json(options.result, {**result, "epochs": options.epochs, "synapses": table})
    curve = pd.DataFrame(table["memristor"]["records"][0]["curve"])
    figures.curve_figure(curve, options.result.with_name("memristor_spike_times.png"))
    figures.window_figure(CuSiO2Memristor(), options.result.with_name("memristor_window.png"))
    print(f"wrote {options.result}")


if __name__ == "__main__":
    main()
