"""Recovery: devices fitted to simulated cells of 20 hidden devices, whose constants and accuracies are known.

python -m benchmarks.device_fit [--devices 20] [--cells 2000] [--chips 20] > results/device_fit.json

Hidden devices have constants of their own, drawn by seed: g_max, programming noise and its mean error, drift, read
noise, stuck cells and reading times. Their cells are simulated here in NumPy, from the equations, by no code of the
package.
Counted is how many of the hidden constants lie in the 95 % intervals of the fit, and how far the accuracy of a small
network after a day on chips of the fitted device is from that on chips of the hidden one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets import crossbar, deploy, devices
from analognets.conversion import to_analog
from analognets.devices import FittedDevice
from benchmarks._measure import facts

TOLD = {
    "programming_fit": 3,
    "programming_bias_fit": 1,
    "drift_mean_fit": 3,
    "drift_spread_fit": 3,
    "read_noise_fit": 2,
    "stuck_shares": 2,
}
"""How many constants of each field of the hidden devices are counted; the rest lies beyond all targets."""
T_READ = 250e-9


def hidden(seed: int) -> FittedDevice:
    """Return a device with constants drawn by a seed."""
    random = np.random.default_rng([18, seed])
    g_max = float(random.choice([10.0, 25.0, 40.0, 100.0]))
    c = random.uniform
    unit = g_max / 25.0
    low, spread = c(0.02, 0.06), c(0.005, 0.015)
    slope, spread_slope = -c(0.01, 0.03), -c(0.005, 0.02)
    bend, spread_bend = np.log(c(0.2, 0.5)), np.log(c(0.2, 0.5))
    return FittedDevice(
        g_max=g_max,
        t_0=float(random.choice([1.0, 10.0, 25.0, 60.0])),
        programming_fit=(c(0.2, 0.5) * unit, c(1.0, 2.5) * unit, -c(0.6, 1.2) * unit),
        programming_fit_g_max=g_max,
        programming_bias_fit=(c(-0.4, 0.4) * unit,),
        drift_mean_fit=(slope, low - slope * bend, low, 0.3),
        drift_spread_fit=(spread_slope, spread - spread_slope * spread_bend, spread, 0.2),
        read_noise_fit=(c(0.004, 0.012), c(0.4, 0.8), 0.5),
        stuck_shares=(c(0.0, 0.005), c(0.0, 0.003)),
        stuck_conductances=(c(0.0, 0.01) * g_max, c(0.9, 1.0) * g_max),
    )


def cells_of(device: FittedDevice, count: int, seed: int) -> pd.DataFrame:
    """Return a wide table of simulated cells in microsiemens, from the equations."""
    random = np.random.default_rng([19, seed])
    g = random.uniform(0.0, 1.0, count)
    times = device.t_0 * np.array([1.0, 10.0, 100.0, 1000.0, 5000.0])
    log_g = np.log(np.maximum(g, 1e-7))

    def line(fit: Any) -> np.ndarray:
        return np.clip(fit[0] * log_g + fit[1], fit[2], fit[3])

    deviation = np.polynomial.polynomial.polyval(g, device.programming_fit)
    programmed = g * device.g_max + device.programming_bias_fit[0] + deviation * random.normal(size=count)
    exponent = np.abs(line(device.drift_mean_fit) + line(device.drift_spread_fit) * random.normal(size=count))
    factor, power, high = device.read_noise_fit
    amplitude = np.minimum(factor * np.exp(-power * log_g), high)
    place = random.random(count)
    stuck_low, stuck_high = place < device.stuck_shares[0], place > 1.0 - device.stuck_shares[1]
    table: dict[str, Any] = {"cell": np.arange(count), "target_uS": g * device.g_max}
    for when in times:
        spread = amplitude * np.sqrt(np.log((when + T_READ) / (2 * T_READ)))
        drifted = np.maximum(programmed, 0.0) * (when / device.t_0) ** -exponent
        read = np.maximum(drifted * (1.0 + spread * random.normal(size=count)), 0.0)
        read = np.where(
            stuck_low, device.stuck_conductances[0], np.where(stuck_high, device.stuck_conductances[1], read)
        )
        table[f"conductance_uS@{when:g}s"] = read
    return pd.DataFrame(table)


def recovered(device: FittedDevice, fit: Any) -> list[dict[str, Any]]:
    """Return each hidden constant that is counted, with its interval."""
    table, rows = fit.constants, []
    for field, count in TOLD.items():
        for place in range(count):
            name = f"{field}[{place}]"
            truth, row = float(getattr(device, field)[place]), table.loc[name]
            rows.append({
                "constant": name, "hidden": truth, "fitted": float(row["value"]), "low": float(row["low"]),
                "high": float(row["high"]), "told": bool(row["told"]),
                "inside": bool(row["low"] <= truth <= row["high"]),
            })  # fmt: skip
    return rows


def network() -> tuple[keras.Model, np.ndarray, np.ndarray, np.ndarray]:
    """Return a small trained network, inputs to calibrate on, test inputs and labels: eight overlapping clusters."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    centres = random.normal(size=(8, 24)) * 0.8
    labels = random.integers(0, 8, 6_000)
    inputs = (centres[labels] + random.normal(size=(6_000, 24))).astype("float32")
    layers = [keras.Input((24,)), keras.layers.Dense(48, "relu"), keras.layers.Dense(8)]
    model = keras.Sequential(layers, name="clusters")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(inputs[:3_000], labels[:3_000], epochs=8, verbose=0)
    return model, inputs[:500], inputs[3_000:], labels[3_000:]


def accuracy(subject: Any, device: Any, chips: int) -> float:
    """Return the mean accuracy in percent after a day."""
    model, calibration, inputs, labels = subject
    hardware = crossbar.get("aon_cim_8bit").replace(device=device)
    analog = to_analog(model, hardware, calibrate_on=calibration)
    table = deploy.program(analog, chips=chips, seed=3).evaluate((inputs, labels), at=["1d"])
    return 100.0 * float(table["accuracy"].mean())


def main() -> None:
    """Run the benchmark and print its results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--chips", type=int, default=20)
    settings = parser.parse_args()
    subject, rows = network(), []
    for seed in range(settings.devices):
        device = hidden(seed)
        started = time.process_time()
        fit = devices.fit(cells_of(device, settings.cells, seed))
        seconds = time.process_time() - started
        constants = recovered(device, fit)
        one, two = (accuracy(subject, each, settings.chips) for each in (device, fit.device))
        inside = sum(row["inside"] for row in constants)
        rows.append({"seed": seed, "inside": inside, "constants": constants, "laws": dict(fit.laws),
                     "cpu_seconds": seconds,
                     "accuracy_1d_hidden": one, "accuracy_1d_fitted": two, "difference": two - one})  # fmt: skip
        print(f"device {seed}: {inside} of {len(constants)} inside, {one:.2f} and {two:.2f} %, {seconds:.0f} s",
              file=sys.stderr, flush=True)  # fmt: skip
    cases = [row for one in rows for row in one["constants"]]
    names = list(dict.fromkeys(row["constant"] for row in cases))
    shares = {name: float(np.mean([row["inside"] for row in cases if row["constant"] == name])) for name in names}
    worst = max(abs(row["difference"]) for row in rows)
    result = {
        "benchmark": "device_fit", "cells": settings.cells, "chips": settings.chips, "devices": settings.devices,
        "share_inside": float(np.mean([row["inside"] for row in cases])), "share_inside_by_constant": shares,
        "largest_accuracy_difference": worst, "rows": rows, "machine": facts(),
    }  # fmt: skip
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
