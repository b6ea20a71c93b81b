"""One chip at one time against one plain Keras `predict` over the same data; programming and reading included.

python -m benchmarks.drift_evaluation [--samples 1000] [--batch 100] [--rounds 7] [--memory]

The baseline is `model.predict` on a dataset of batches of the plain network; `ratio_same_batch` compares with `predict`
at the batch that the chips are evaluated with. `profile` splits the time of one chip at one time.

--memory also evaluates 1 and 25 chips in processes of their own and compares their peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from analognets.conversion import to_analog
from analognets.deploy.chips.chips import Chips, program
from analognets.layers import calibrate, freeze_weight_range
from analognets.units import DRIFT_TIMES
from analognets.zoo.networks.kws import analognet_kws
from benchmarks._measure import interleave, ratios, report, untuned


def models(samples: int) -> tuple[keras.Model, keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).normal(size=(samples, 49, 10, 1)).astype("float32")
    plain = analognet_kws()
    plain(inputs[:100], training=True)
    analog = to_analog(plain, "aon_cim_8bit")
    freeze_weight_range(analog)
    calibrate(analog, inputs)
    return plain, analog, inputs


def chip_evaluation(analog: keras.Model, inputs: np.ndarray, batch: int, **settings: str) -> Callable[[], None]:
    """Return a call that programmes one chip and evaluates it at five times."""
    labels = np.zeros(len(inputs), int)
    chips = program(analog, chips=1)
    runner = chips.runner(batch_size=batch, **settings)

    def call() -> None:
        fresh = program(analog, chips=1, seed=1)
        chips.chips = fresh.chips
        chips.evaluate((inputs, labels), at=DRIFT_TIMES, batch_size=batch, **settings)
        if runner.traces != 1:
            raise SystemExit(f"retraced: {runner.traces} traces")

    return call


def profile(analog: keras.Model, inputs: np.ndarray, batch: int, rounds: int) -> dict[str, float]:
    """Return median wall seconds of the parts of one chip at one time; a fifth of the programming, for five times."""
    chips = program(analog, chips=1)
    runner, chip = chips.runner(batch_size=batch), chips.chips[0]
    reads = chip.read(chips.layers, "1d")
    runner.load(reads)
    parts = {
        "programming_fifth": lambda: program(analog, chips=1),
        "reading": lambda: chip.read(chips.layers, "1d"),
        "loading": lambda: runner.load(reads, refresh=False),
        "products": lambda: runner.predict(inputs),
    }
    table = ratios(interleave(parts, rounds), "products")
    seconds = {name: row["wall_seconds"] for name, row in table.items()}
    return {**seconds, "programming_fifth": seconds["programming_fifth"] / len(DRIFT_TIMES)}


def peak_memory(chips: int, samples: int) -> float:
    """Return the peak memory in MB of a process that evaluates so many chips."""
    command = [sys.executable, "-m", "benchmarks.drift_evaluation", "--child", str(chips), "--samples", str(samples)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def child(chips: int, samples: int) -> None:
    _, analog, inputs = models(samples)
    made: Chips = program(analog, chips=chips)
    made.evaluate((inputs, np.zeros(len(inputs), int)), at=DRIFT_TIMES[:2])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100, help="of the baseline")
    parser.add_argument("--chip-batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.samples)
        return
    plain, analog, inputs = models(options.samples)
    samples, size = tf.data.Dataset.from_tensor_slices(inputs), options.chip_batch
    dataset, large = untuned(samples.batch(options.batch)), untuned(samples.batch(size))
    times = interleave(
        {
            "plain_keras_5_predicts": lambda: [plain.predict(dataset, verbose=0) for _ in DRIFT_TIMES],
            "chip_5_times": chip_evaluation(analog, inputs, size),
            "plain_keras_same_batch": lambda: [plain.predict(large, verbose=0) for _ in DRIFT_TIMES],
            "chip_5_times_unfused": chip_evaluation(analog, inputs, size, mode="plain"),
            "chip_5_times_bfloat16": chip_evaluation(analog, inputs, size, precision="bfloat16"),
            "chip_5_times_auto": chip_evaluation(analog, inputs, size, precision="auto"),
        },
        options.rounds,
    )
    table = ratios(times, "plain_keras_5_predicts")
    same = ratios(times, "plain_keras_same_batch")
    result = {
        "benchmark": "drift_evaluation",
        "network": "analognet_kws",
        "samples": options.samples,
        "batch": options.batch,
        "chip_batch": options.chip_batch,
        "rounds": options.rounds,
        "ratio": table["chip_5_times"]["wall_ratio"],
        "ratio_cpu": table["chip_5_times"]["cpu_ratio"],
        "ratio_same_batch": same["chip_5_times"]["wall_ratio"],
        "ratio_same_batch_cpu": same["chip_5_times"]["cpu_ratio"],
        "ratio_bfloat16": table["chip_5_times_bfloat16"]["wall_ratio"],
        "ratio_auto": table["chip_5_times_auto"]["wall_ratio"],
        "ratio_auto_cpu": table["chip_5_times_auto"]["cpu_ratio"],
        "variants": table,
    }
    result["profile"] = profile(analog, inputs, size, options.rounds)
    if options.memory:
        one, many = peak_memory(1, options.samples), peak_memory(25, options.samples)
        result["peak_memory_mb"] = {"1_chip": one, "25_chips": many, "ratio": many / one}
    report(result)


if __name__ == "__main__":
    main()
