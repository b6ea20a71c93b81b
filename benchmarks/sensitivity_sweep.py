"""A sweep of one non-ideality over strengths and chips against as many passes of the plain and of the analog network.

python -m benchmarks.sensitivity_sweep [--chips 3] [--values 10] [--clips 1272] [--batch 100] [--effect output_noise]

The sweep is `sweep_nonideality` with all it does: opening, compiling, programming, reading, storing. The plain passes
are Keras `predict` on a dataset of batches; the analog passes are those of one chip that stays programmed. All three
take turns: a chip at all strengths, as many plain and as many analog passes. `ratio` and `ratio_analog` are of total
times; with fewer than 15 chips `extrapolated_to_15_chips` has what they would be if the further chips took as long as
the median of those after the first, which alone has the opening and compiling.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.conversion import to_analog
from analognets.deploy.chips.chips import program
from analognets.deploy.chips.runtime import PRECISIONS
from analognets.deploy.studies.sensitivity import sweep_nonideality
from analognets.layers import calibrate, freeze_weight_range
from analognets.zoo.networks.kws_models import resnet8_kws
from benchmarks._measure import interleave, ratios, report, untuned

CHIPS = 15
Times = list[tuple[float, float]]


def networks(clips: int) -> tuple[keras.Model, keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).normal(size=(clips, 49, 10, 1)).astype("float32")
    plain = resnet8_kws()
    plain(inputs[:100], training=True)
    analog = to_analog(plain, "aimc_standard")
    freeze_weight_range(analog)
    calibrate(analog, inputs[:300])
    return plain, analog, inputs


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def total_ratio(own: Times, other: Times, part: int) -> float:
    return sum(one[part] for one in own) / sum(one[part] for one in other)


def extrapolated(times: Times, chips: int, part: int) -> float:
    """Return the time of 15 chips: that of the first, and the median of the others for each further one."""
    first, *others = [one[part] for one in times]
    return first + (CHIPS - 1) * statistics.median(others) if chips > 1 else first * CHIPS


def profile(analog: keras.Model, inputs: np.ndarray, batch: int) -> dict[str, float]:
    """Return median wall seconds of the parts of one point, on the model's own hardware."""
    chips = program(analog, chips=1)
    runner, chip = chips.runner(batch_size=batch), chips.chips[0]
    runner.load(chip.read(chips.layers, "1h"))
    parts = {
        "programming": lambda: program(analog, chips=1),
        "reading": lambda: chip.read(chips.layers, "1h"),
        "products": lambda: runner.predict(inputs),
    }
    return {name: row["wall_seconds"] for name, row in ratios(interleave(parts, 5), "products").items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=3)
    parser.add_argument("--values", type=int, default=10)
    parser.add_argument("--clips", type=int, default=1272)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--effect", default="output_noise")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    options = parser.parse_args()
    plain, analog, inputs = networks(options.clips)
    labels = np.zeros(len(inputs), "int64")
    dataset = untuned(tf.data.Dataset.from_tensor_slices(inputs).batch(options.batch))
    chips = program(analog, chips=1)
    runner = chips.runner(batch_size=options.batch)
    runner.load(chips.chips[0].read(chips.layers, "1h"))
    values = [round(0.04 * (1 + step), 6) for step in range(options.values)]
    plain.predict(dataset, verbose=0)
    runner.predict(inputs)
    times: dict[str, Times] = {"sweep": [], "plain_keras": [], "analog_passes": []}
    with tempfile.TemporaryDirectory() as folder:
        for chip in range(1, options.chips + 1):
            place = Path(folder) / "sweep"
            times["sweep"].append(
                timed(
                    lambda n=chip, to=place: sweep_nonideality(
                        analog, options.effect, values, to, data=(inputs, labels), chips=n, precision=options.precision
                    )
                )
            )
            times["plain_keras"].append(timed(lambda: [plain.predict(dataset, verbose=0) for _ in values]))
            times["analog_passes"].append(timed(lambda: [runner.predict(inputs) for _ in values]))
    result: dict[str, Any] = {
        "benchmark": "sensitivity_sweep",
        "network": "resnet8_kws",
        "hardware": "aimc_standard",
        "nonideality": options.effect,
        "precision": options.precision,
        "values": values,
        "chips": options.chips,
        "clips": options.clips,
        "batch": options.batch,
    }
    for part, suffix in ((0, ""), (1, "_cpu")):
        for name, other in (("ratio", "plain_keras"), ("ratio_analog", "analog_passes")):
            result[name + suffix] = total_ratio(times["sweep"], times[other], part)
    if options.chips != CHIPS:
        long = {name: [extrapolated(own, options.chips, part) for part in (0, 1)] for name, own in times.items()}
        result["extrapolated_to_15_chips"] = {
            name + suffix: long["sweep"][part] / long[other][part]
            for part, suffix in ((0, ""), (1, "_cpu"))
            for name, other in (("ratio", "plain_keras"), ("ratio_analog", "analog_passes"))
        }
    result["seconds_by_chip"] = {name: [{"wall": wall, "cpu": cpu} for wall, cpu in own] for name, own in times.items()}
    result["profile"] = profile(analog, inputs, options.batch)
    report(result)


if __name__ == "__main__":
    main()
