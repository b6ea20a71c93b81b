"""Ageing predicted from mean network and gradients, against simulated chips: mean, spread and time, in one run.

python -m benchmarks.analytic_ageing --data DIR [--clips N] [--split validation] [--chips 200] [--only NAME]
    [--out results/analytic_ageing.json]

For AnalogNet-KWS, ResNet-8 and a GRU at 8 and 6 bit. Intervals are over the chips alone, on the same clips: of the
mean by Student's t, of the spread by chi-square. The time of 200 chips is that of those simulated, in proportion. What
is stored already is kept, so that the command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from analognets.core.files import write_json
from analognets.deploy.chips.chips import program
from analognets.deploy.studies.ageing.predict import predict_ageing
from analognets.deploy.studies.other_hardware import on_hardware
from analognets.errors import AgeingWarning
from analognets.layers import analog_layers
from analognets.units import DRIFT_TIMES
from analognets.zoo.trained import TrainedNetwork, open_trained
from benchmarks._measure import facts

NETWORKS = {
    "AnalogNet-KWS, 8 bit": ("analognet_kws.hwa_8bit", None),
    "AnalogNet-KWS, 6 bit": ("analognet_kws.hwa_6bit", None),
    "AnalogNet-KWS, 4 bit": ("analognet_kws.hwa_4bit", None),
    "ResNet-8, 8 bit": ("resnet8_kws.hwa_standard", None),
    "ResNet-8, 6 bit, not trained for them": ("resnet8_kws.hwa_standard", 6),
    "GRU, 8 bit": ("gru_kws.hwa_standard", None),
    "GRU, 6 bit, not trained for them": ("gru_kws.hwa_standard", 6),
}
WANTED = 200
CONFIDENCE = 0.95


def network_of(trained: TrainedNetwork, bits: int | None) -> keras.Model:
    """Return the analog model, on the hardware of its training or with converters of other bits."""
    model = trained.analog_model()
    if bits is None:
        return model
    crossbar = analog_layers(model)[0].crossbar.replace(dac_bits=bits, adc_bits=bits)
    return on_hardware(model, crossbar, ranges="kept")[0]


def intervals(accuracies: np.ndarray) -> dict[str, Any]:
    """Return mean and spread over chips with their 95 % intervals."""
    chips, mean, std = len(accuracies), float(accuracies.mean()), float(accuracies.std(ddof=1))
    half = float(student.ppf(0.5 + CONFIDENCE / 2, chips - 1)) * std / chips**0.5
    ends = [(chips - 1) / chi2.ppf(0.5 + side * CONFIDENCE / 2, chips - 1) for side in (1, -1)]
    low, high = (float(std * end**0.5) for end in ends)
    return {
        "mean": mean,
        "mean_low": mean - half,
        "mean_high": mean + half,
        "std": std,
        "std_low": low,
        "std_high": high,
    }


def compare(model: keras.Model, samples: tuple[Any, ...], chips: int) -> dict[str, Any]:
    """Return what is predicted and what chips do, with the seconds that both took."""
    start, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AgeingWarning)
        table = predict_ageing(model, samples, DRIFT_TIMES, seed=1)
    predicted = (time.perf_counter() - start, time.process_time() - cpu)
    start, cpu = time.perf_counter(), time.process_time()
    measured = program(model, chips=chips, seed=0).evaluate(samples[:2], at=DRIFT_TIMES)
    simulated = (time.perf_counter() - start, time.process_time() - cpu)
    rows = []
    for row, (_, part) in zip(table.to_dict("records"), measured.groupby("seconds"), strict=True):
        found = intervals(part["accuracy"].to_numpy())
        said = {"at": row["at"], "flag": row["flag"], "mean": row["linear_mean"], "std": row["linear_std"]}
        inside = {
            f"{name}_inside": bool(found[f"{name}_low"] <= said[name] <= found[f"{name}_high"])
            for name in ("mean", "std")
        }
        rows.append({**said, "chips": found, **inside})
    kinds = {"wall": 0, "cpu": 1}
    times = {
        kind: {
            "predicted_seconds": predicted[place],
            f"seconds_of_{WANTED}_chips": simulated[place] * WANTED / chips,
            "ratio": simulated[place] * WANTED / chips / predicted[place],
        }
        for kind, place in kinds.items()
    }
    return {"chips": chips, "times": times, "rows": rows}


def main() -> None:
    """Compare each network, and store what was found after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of Speech Commands, or synthetic")
    parser.add_argument("--split", default="test", choices=("test", "validation"))
    parser.add_argument("--clips", type=int, help="at most so many, spread evenly")
    parser.add_argument("--chips", type=int, default=WANTED)
    parser.add_argument("--only", action="append", help="part of a network's name; repeatable")
    parser.add_argument("--out", type=Path, default=Path("results/analytic_ageing.json"))
    options = parser.parse_args()
    stored = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    networks = stored.setdefault("networks", {})
    for name, (handle, bits) in NETWORKS.items():
        if name in networks or options.only and not any(one in name for one in options.only):
            continue
        trained = open_trained(handle, wants=("chips", "recipe"))
        task = trained.task(options.data, calibrate=False)
        samples = task.features(options.split, options.clips)
        found = compare(network_of(trained, bits), samples, options.chips)
        told = {"preset": handle, "data": task.data.info.name, "split": options.split, "clips": len(samples[1])}
        networks[name] = {**told, **found, "machine": facts()}
        write_json(options.out, stored)
        print(name, found["times"]["wall"], flush=True)


if __name__ == "__main__":
    main()
