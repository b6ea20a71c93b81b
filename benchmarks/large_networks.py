"""Time and peak memory of large networks: conversion, calibration, one chip, its evaluation, cost, files.

python -m benchmarks.large_networks [NETWORK ...] [--results results] [--peer PYTHON]

Each network runs in a process of its own, whose memory is measured step by step. Data come from a
`keras.utils.PyDataset` that makes its batches when they are asked for. --peer names a Python with aihwkit, torch and
torchvision, which then converts, programmes and evaluates the same ResNet-50 beside ours. Networks that are not named
keep what the results file says of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.conversion import load_model, to_analog
from analognets.core.files import write_json
from analognets.deploy import Chips, cost, program
from analognets.layers import analog_layers, calibrate
from analognets.zoo.networks.bert import bert_base
from analognets.zoo.networks.imagenet import resnet50
from benchmarks._measure import facts
from benchmarks._memory import Steps

ROOT = Path(__file__).resolve().parents[1]
NAME = "large_networks"
HARDWARE = "aon_cim_8bit"
WIDTHS = (4096, 4096, 4096)
PEER = ROOT / "benchmarks" / "large_networks_peer.py"
SAMPLES, BATCH = 8, 4


class Drawn(keras.utils.PyDataset):
    """Samples with labels that are drawn batch by batch, the same ones each time.

    Args:
        shape: of a sample.
        classes: of the labels.
        vocabulary: of samples that are tokens, else 0.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, vocabulary: int = 0) -> None:
        super().__init__()
        self.of_sample, self.classes, self.vocabulary = shape, classes, vocabulary

    def __len__(self) -> int:
        return SAMPLES // BATCH

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng, shape = np.random.default_rng(index), (BATCH, *self.of_sample)
        labels = rng.integers(0, self.classes, BATCH)
        if self.vocabulary:
            return rng.integers(0, self.vocabulary, shape).astype("int32"), labels
        return rng.normal(size=shape).astype("float32"), labels


def dense_50m() -> keras.Model:
    """Return a dense network of 50 million weights."""
    hidden = [keras.layers.Dense(width, activation="relu") for width in WIDTHS]
    return keras.Sequential([keras.Input((3072,)), *hidden, keras.layers.Dense(1000)], name="dense_50m")


NETWORKS: dict[str, tuple[str, Callable[[], keras.Model], Drawn]] = {
    "dense_50m": ("Dense network", dense_50m, Drawn((3072,), 1000)),
    "resnet50": ("ResNet-50, 224 x 224", resnet50, Drawn((224, 224, 3), 1000)),
    "bert_base": ("BERT-base, 128 tokens", lambda: bert_base((128,)), Drawn((128,), 2, 28_996)),
}


def measured(name: str) -> dict[str, Any]:
    """Return what a network takes at each step, in this process."""
    title, build, data = NETWORKS[name]
    steps = Steps()
    with steps("build"):
        plain = build()
    steps.weights = 4 * plain.count_params()
    with steps("to_analog"):
        analog = to_analog(plain, HARDWARE)
    del plain
    with steps("calibrate"):
        samples = calibrate(analog, data, batches=2)
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "chips"
        with steps("program"):
            chips = program(analog, 1, folder=stored)
        with steps("evaluate"):
            chips.evaluate(data, at="1d", batch_size=BATCH)
        del chips
        with steps("load_chips"):
            Chips.load(stored, analog)
        size = sum(path.stat().st_size for path in stored.iterdir())
        with steps("save_model"):
            analog.save(Path(folder) / "model.keras")
        layers = analog_layers(analog)
        mapped = sum(int(np.prod(layer.crossbar_shape())) for layer in layers)
        with steps("cost"):
            cost(analog)
        del analog, layers
        with steps("load_model"):
            load_model(Path(folder) / "model.keras")
    about = {"title": title, "hardware": HARDWARE, "weights": steps.weights // 4, "on_crossbars": mapped}
    return {**about, "calibrated_on": samples, "evaluated_on": SAMPLES, "bytes_of_chip": size, "steps": steps.found}


def in_process(command: list[str]) -> dict[str, Any]:
    """Return the JSON that a process prints as its last line."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; none: all")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--peer", help="a Python with aihwkit, torch and torchvision")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.networks:
        if name not in NETWORKS:
            parser.error(f"A network must be one of {', '.join(NETWORKS)}. Received: {name}.")
    if options.child:
        print(json.dumps(measured(options.networks[0])))
        return
    path = options.results / f"{NAME}.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {"networks": {}}
    for name in options.networks or ([] if options.peer else list(NETWORKS)):
        result["networks"][name] = in_process([sys.executable, "-m", "benchmarks.large_networks", name, "--child"])
        result["machine"] = facts()
        write_json(path, result)
    if options.peer:
        result["peer"] = in_process([options.peer, str(PEER), str(SAMPLES), str(BATCH)])
        write_json(path, result)


if __name__ == "__main__":
    main()
