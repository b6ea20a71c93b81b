"""Ageing predicted from mean network, gradients and a few chips, against 200 simulated chips: mean, spread and time.

python -m benchmarks.analytic_ageing --data DIR [--clips 128] [--speed-clips 2000] [--split validation] [--only NAME]
    [--skip prediction] [--out results/analytic_ageing.json]

For AnalogNet-KWS, ResNet-8 and a GRU at 8 and 6 bit, on few clips, so that 200 chips are simulated in minutes; these
come in blocks that are stored, and the command goes on where it was. Intervals are over the chips alone, on the same
clips: of the mean by Student's t, of the spread by chi-square. Times are compared on more clips (`--speed-clips`) in
one run: the prediction in all, and without what a first small prediction takes, which is mostly compiling; 200 chips in
proportion to a few, without their compiling.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.stats import chi2
from scipy.stats import t as student

from analognets.core.files import write_json
from analognets.core.provenance import sha256_of
from analognets.deploy.chips.chips import program
from analognets.deploy.studies.ageing.predict import predict_ageing
from analognets.deploy.studies.other_hardware import on_hardware
from analognets.errors import AgeingWarning
from analognets.layers import analog_layers
from analognets.units import DRIFT_TIMES
from analognets.zoo.trained import TrainedNetwork, open_trained
from benchmarks._measure import facts

NETWORKS = {
    "ResNet-8, 8 bit": ("resnet8_kws.hwa_standard", None),
    "GRU, 8 bit": ("gru_kws.hwa_standard", None),
    "ResNet-8, 6 bit, not trained for them": ("resnet8_kws.hwa_standard", 6),
    "GRU, 6 bit, not trained for them": ("gru_kws.hwa_standard", 6),
    "AnalogNet-KWS, 8 bit": ("analognet_kws.hwa_8bit", None),
    "AnalogNet-KWS, 6 bit": ("analognet_kws.hwa_6bit", None),
}
WANTED, BLOCK = 200, 20
CHECK_CHIPS = 60
"""Simulated for the prediction on few clips; with many, as many as come without asking."""
PREDICTED = {"times": DRIFT_TIMES, "check_chips": CHECK_CHIPS, "as_sure_as": WANTED, "seed": 1000}
TIMED_CHIPS = 3
CONFIDENCE = 0.95


def network_of(trained: TrainedNetwork, bits: int | None) -> keras.Model:
    """Return the analog model, on the hardware of its training or with converters of other bits."""
    model = trained.analog_model()
    if bits is None:
        return model
    crossbar = analog_layers(model)[0].crossbar.replace(dac_bits=bits, adc_bits=bits)
    return on_hardware(model, crossbar, ranges="kept")[0]


def intervals(accuracies: np.ndarray) -> dict[str, float]:
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


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what a call returns, and the seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def simulate(model: keras.Model, samples: tuple[Any, ...], blocks: list[Any], store: Callable[[], None]) -> None:
    """Simulate blocks of chips until there are enough; what is stored already stays."""
    while len(blocks) * BLOCK < WANTED:
        seed = len(blocks)
        table, seconds = timed(lambda s=seed: program(model, chips=BLOCK, seed=s).evaluate(samples[:2], at=DRIFT_TIMES))
        accuracies = {str(at): part["accuracy"].tolist() for at, part in table.groupby("at", sort=False)}
        blocks.append({"seed": seed, "seconds": seconds, "accuracy": accuracies})
        store()


def predict(model: keras.Model, data: tuple[Any, ...], **settings: Any) -> pd.DataFrame:
    """Return the table of a prediction, whether or not it is flagged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AgeingWarning)
        return predict_ageing(model, data, **settings)


def compared(table: pd.DataFrame, blocks: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each time what is predicted and what chips do.

    `inside`: in the interval of the chips; `agrees`: the difference is within the 95 % interval of both errors.
    """
    rows = []
    for row in table.to_dict("records"):
        found = intervals(np.concatenate([block["accuracy"][row["at"]] for block in blocks]))
        said = {"at": row["at"], "flag": row["flag"], "mean": row["linear_mean"], "std": row["linear_std"]}
        said |= {"mean_error": row["mean_error"], "std_error": row["std_error"]}
        for name in ("mean", "std"):
            low, high, off = found[f"{name}_low"], found[f"{name}_high"], said[name] - found[name]
            both = ((high - low) ** 2 / 4 + (1.96 * said[f"{name}_error"]) ** 2) ** 0.5
            said |= {f"{name}_inside": bool(low <= said[name] <= high), f"{name}_agrees": bool(abs(off) <= both)}
        rows.append({**said, "chips": found})
    return rows


def speed(model: keras.Model, samples: tuple[Any, ...], small: tuple[Any, ...]) -> dict[str, Any]:
    """Return the seconds of a prediction and of 200 chips on the same clips, in one run."""
    first, compiling = timed(lambda: predict(model, small, times=DRIFT_TIMES, samples=20, check_chips=3, seed=2))
    table, predicted = timed(lambda: predict(model, samples, times=DRIFT_TIMES, seed=1))
    chips = program(model, chips=1, seed=0)
    chips.evaluate(small, at=DRIFT_TIMES[0])
    _, reading = timed(lambda: chips.evaluate(samples[:2], at=DRIFT_TIMES))
    _, programming = timed(lambda: program(model, chips=TIMED_CHIPS, seed=1))
    many = {kind: WANTED * (reading[kind] + programming[kind] / TIMED_CHIPS) for kind in reading}
    return {
        "clips": len(samples[1]),
        "flag": table["flag"][0],
        "seconds": {"predicted": predicted, "of_which_compiling": compiling, f"of_{WANTED}_chips": many},
        "ratio": {kind: many[kind] / predicted[kind] for kind in many},
        "ratio_without_compiling": {kind: many[kind] / (predicted[kind] - compiling[kind]) for kind in many},
    }


def samples_of(task: Any, split: str, clips: int) -> tuple[Any, ...]:
    """Return inputs, labels and groups of clips that are spread evenly."""
    return tuple(task.features(split, clips))


def main() -> None:
    """Compare each network, and store what was found after each block of chips."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of Speech Commands, or synthetic")
    parser.add_argument("--split", default="test", choices=("test", "validation"))
    parser.add_argument("--clips", type=int, default=128, help="for 200 chips, spread evenly")
    parser.add_argument("--speed-clips", type=int, default=2000, help="for the times")
    parser.add_argument("--only", action="append", help="part of a network's name; repeatable")
    parser.add_argument("--skip", action="append", default=[], choices=("prediction", "speed"), help="for later")
    parser.add_argument("--out", type=Path, default=Path("results/analytic_ageing.json"))
    options = parser.parse_args()
    for name, (handle, bits) in NETWORKS.items():
        if options.only and not any(one in name for one in options.only):
            continue
        measure(name, handle, bits, options)


def measure(name: str, handle: str, bits: int | None, options: argparse.Namespace) -> None:
    """Do what is not stored yet of one network."""
    trained = open_trained(handle, wants=("chips", "recipe"))
    task = trained.task(options.data, calibrate=False)
    weights = sha256_of(*trained.analog_model().get_weights())
    told = {"preset": handle, "weights_sha256": weights, "data": task.data.info.name, "split": options.split}
    stored = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {"networks": {}}
    known = stored["networks"].get(name, {})
    asked = {**told, "clips": options.clips, "chips": WANTED, "check_chips": CHECK_CHIPS}
    record = known if all(known.get(key) == value for key, value in asked.items()) else {**asked, "blocks": []}

    def store() -> None:
        record["machine"] = facts()
        whole = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {"networks": {}}
        whole["networks"][name] = record
        write_json(options.out, whole)

    model, samples = network_of(trained, bits), samples_of(task, options.split, options.clips)
    if "prediction" not in options.skip and "rows" not in record:
        table, seconds = timed(lambda: predict(model, samples, **PREDICTED))
        rows = json.loads(table.to_json(orient="records", double_precision=15))  # what is flagged has no numbers: null
        record |= {"table": rows, "predicted_seconds": seconds}
    simulate(model, samples, record["blocks"], store)
    if "table" in record:
        record["rows"] = compared(pd.DataFrame(record["table"]), record["blocks"])
        store()
    if "speed" not in {*options.skip, *record}:
        many = samples_of(task, options.split, options.speed_clips)
        record["speed"] = speed(model, many, tuple(part[:40] for part in samples[:2]))
        store()
    print(name, [(row["mean_inside"], row["std_inside"]) for row in record.get("rows", [])], flush=True)


if __name__ == "__main__":
    main()
