"""The int8 baseline on a real test split: a run's float network against int8 LiteRT, with and without training.

python -m benchmarks.int8_baseline RUN [--data DIR] [--qat-epochs 3] [--tflm 200] [--out FILE]

Accuracies are of LiteRT's reference kernels. TFLM (if tflite-micro is installed) is compared with them bit for bit on
the first test clips; for that, dense layers are written as 1x1 convolutions.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import write_atomically
from analognets.core.provenance import installed_version
from analognets.deploy.evaluation import accuracy
from analognets.deploy.export.litert import to_litert
from analognets.deploy.export.litert_file import read_litert
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.deploy.export.pointwise import pointwise
from analognets.deploy.export.qat import to_litert_qat
from analognets.deploy.export.tflm_runtime import arena_size, has_tflm, run_tflm
from analognets.zoo.trained import TrainedNetwork, open_trained
from benchmarks._measure import report

PACKAGES = ("ai-edge-litert", "tensorflow-model-optimization", "tf-keras", "tflite-micro")


def versions() -> dict[str, str]:
    """Return the versions of the packages that convert and run."""
    return {name: version for name in PACKAGES if (version := installed_version(name))}


def measured(path: Path, inputs: Any, labels: Any, expected: Any, tflm: int) -> dict[str, Any]:
    """Return what one .tflite file is worth: accuracy, agreement with the float network, size, and TFLM's answer."""
    runner = Interpreter(path, kernels="reference")
    steps = runner.quantize(inputs)
    raw = runner.run(steps)
    facts = read_litert(path)
    found: dict[str, Any] = {
        "accuracy": accuracy(labels, raw[0].astype(np.float32)),
        "agreement_with_float": float(np.mean(raw[0].argmax(-1) == expected.argmax(-1))),
        "bytes": facts.size,
        "operators": facts.operators,
        "weights": facts.weights,
        "macs": facts.macs,
    }
    if has_tflm() and tflm:
        same = run_tflm(path, [steps[0][:tflm]]) == raw[0][:tflm]
        found["tflm"] = {
            "clips": int(len(same)),
            "clips_bit_exact": int(same.all(axis=-1).sum()),
            "arena_bytes": arena_size(path),
        }
    return found


def int8_baseline(trained: TrainedNetwork, data: str | None, qat_epochs: int, tflm: int) -> dict[str, Any]:
    """Return the figures of a run's float network and of its int8 versions."""
    job, recipe = trained.task(data), trained.known_recipe()
    network = trained.float_model()
    inputs, labels = job.features("test")
    expected = network.predict(inputs, batch_size=250, verbose=0)
    result: dict[str, Any] = {
        "benchmark": "int8_baseline",
        "recipe": recipe.name,
        "seed": recipe.seed,
        "fingerprint": recipe.fingerprint(),
        "trained_at_commit": trained.origin.get("git_commit"),
        "data": {"name": job.data.info.name, "statement": job.data.info.statement, "test_clips": len(labels)},
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        facts = to_litert(network, folder / "float.tflite", quantize="none")
        result["float"] = {"accuracy": accuracy(labels, expected), "bytes": facts.size}
        pointwise_network = pointwise(network)
        to_litert(pointwise_network, folder / "ptq.tflite", job.training.calibration)
        result["int8_ptq"] = measured(folder / "ptq.tflite", inputs, labels, expected, tflm)
        if qat_epochs:
            epochs = [job.training.train_batches(epoch) for epoch in range(qat_epochs)]
            sets = [tuple(np.concatenate(part) for part in zip(*batches, strict=True)) for batches in epochs]
            settings: dict[str, Any] = {"epochs": qat_epochs, "batch_size": recipe.batch_size}
            to_litert_qat(pointwise_network, folder / "qat.tflite", sets, **settings)
            found = measured(folder / "qat.tflite", inputs, labels, expected, tflm)
            result["int8_qat"] = {"epochs": qat_epochs, **found}
    for name in ("int8_ptq", "int8_qat"):
        if name in result:
            result[name]["loss_points"] = 100 * (result["float"]["accuracy"] - result[name]["accuracy"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--qat-epochs", type=int, default=3)
    parser.add_argument("--tflm", type=int, default=200, help="test clips to compare bit for bit")
    parser.add_argument("--out", type=Path, help="file to write; standard output by default")
    options = parser.parse_args()
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report(int8_baseline(open_trained(options.run), options.data, options.qat_epochs, options.tflm))
    if options.out is None:
        print(text.getvalue(), end="")
    else:
        write_atomically(options.out, text.getvalue())
        print(json.dumps({key: json.loads(text.getvalue()).get(key) for key in ("float", "int8_ptq", "int8_qat")}))


if __name__ == "__main__":
    main()
