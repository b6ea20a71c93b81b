"""Run by test_jax.py in a process of its own, on Keras' JAX backend: chips made on TensorFlow, training, refusals.

The folder that is given holds, from TensorFlow, a network and its chips for each hardware, and what they answered.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets import deploy
from analognets.conversion import to_analog
from analognets.datasets import pipeline
from analognets.deploy.export.litert import to_litert
from analognets.errors import InvalidArgumentError
from analognets.layers import analog_layers
from analognets.training import MixedPrecision, Recipe, Run, TrainingData, train

HARDWARE = ("aon", "standard")
FOLDER = Path(sys.argv[1])
RECIPE = {
    "name": "toy",
    "model": "toy",
    "dataset": "toy",
    "seed": 3,
    "batch_size": 16,
    "float": {"epochs": 2, "learning_rate": 0.02},
    "hardware_aware": {"epochs": 1, "weight_noise": 0.05, "noise_ramp_epochs": 1, "distillation": {}},
}


def alike(found: Any, wanted: Any, *, what: str) -> None:
    """Equal within rounding, but for the few that fell on the other side of a step of a converter."""
    scale = np.abs(wanted).max()
    away = np.abs(found - wanted) / scale
    assert found.shape == wanted.shape and np.mean(away > 1e-5) <= 0.01 and away.max() < 0.05, (what, away.max())


def check_chips(name: str, data: Any) -> None:
    """Chips from TensorFlow answer as there, and programming gives the same chips."""
    model = keras.models.load_model(FOLDER / f"{name}.keras")
    chips, there = deploy.Chips.load(FOLDER / name, model), np.load(FOLDER / f"{name}.npz")
    anew = deploy.program(model, 2, seed=4)
    for one, other in zip(anew, chips, strict=True):
        for mine, theirs in zip(one.layers, other.layers, strict=True):
            for key, values in theirs.state.items():
                np.testing.assert_allclose(mine.state[key], values, rtol=1e-4, atol=1e-4, err_msg=key)
            np.testing.assert_allclose(mine.reference, theirs.reference, rtol=1e-4)
    state = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    for at in ("25s", "1d"):
        alike(chips.predict(data[0], chip=1, at=at), there[at], what=f"{name} at {at}")
    np.testing.assert_array_equal(chips.predict(data[0], chip=1, at="1d"), chips.predict(data[0], chip=1, at="1d"))
    table = chips.evaluate(data, at="1d", drift_compensation="both")
    np.testing.assert_allclose(table["accuracy"], there["accuracy"], atol=0.021)
    assert (chips.runner().mode, chips.runner().traces) == ("plain", 1)
    if name == "aon":
        chips.calibrate(data[0][:16], at="1h")
        alike(chips.predict(data[0], chip=1, at="1d"), there["adabs"], what="after AdaBS")
    for variable, before in zip(model.variables, state, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), before, err_msg=variable.path)


class Batches(keras.utils.PyDataset):
    """Arrays in batches."""

    def __init__(self, data: Any, epoch: int) -> None:
        super().__init__()
        self.data, self.order = data, np.random.default_rng(epoch).permutation(len(data[0]))

    def __len__(self) -> int:
        return len(self.data[0]) // 16

    def __getitem__(self, index: int) -> Any:
        rows = self.order[16 * index : 16 * index + 16]
        return self.data[0][rows], self.data[1][rows]


def network() -> keras.Model:
    inputs = keras.Input((6, 4, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = keras.layers.Flatten()(keras.layers.ReLU()(keras.layers.BatchNormalization()(x)))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.1)(x)), name="toy")


def check_training(data: Any) -> None:
    """Both stages of a recipe on a PyDataset, and chips of what comes out, with the noise of their products."""
    run = Run.create(FOLDER / "run", Recipe.from_dict(RECIPE))
    given = TrainingData(lambda epoch: Batches(data, epoch), validation=Batches(data, 0), calibration=data[0])
    result = train(run, model=network, data=given)
    assert result.run.status == "finished" and result.float_model.jit_compile
    losses = [row["loss"] for row in result.metrics]
    assert len(losses) == 3 and np.isfinite(losses).all() and losses[1] < losses[0]
    result.float_model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    noisy = to_analog(result.float_model, "aimc_standard", calibrate_on=data[0])
    assert "jit_compile auto" in str(noisy.conversion_report) and len(analog_layers(noisy)) == 2
    chips = deploy.program(noisy, 2)
    first, again, other = (chips.predict(data[0], chip=chip, batch_size=7) for chip in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    plain = result.float_model.predict(data[0], verbose=0)
    for outputs in (first, other):
        assert 0.01 < np.std(outputs - plain) / np.std(plain) < 0.5
    assert not np.array_equal(first, other)


def refused(call: Any, words: str) -> None:
    try:
        call()
    except InvalidArgumentError as error:
        assert words in str(error) and "Received:" in str(error), error
    else:
        raise SystemExit(f"not refused: {words}")


def check_refusals() -> None:
    only = "on Keras' backend tensorflow alone. Received: backend 'jax'. Set KERAS_BACKEND=tensorflow"
    model = keras.models.load_model(FOLDER / "aon.keras")
    refused(lambda: to_litert(model, FOLDER / "x.tflite"), f"LiteRT files are written {only}")
    refused(lambda: MixedPrecision("sgd"), f"MixedPrecision learns on devices {only}")
    refused(lambda: pipeline.features(None, None), f"(tf.data) {only}")  # type: ignore[arg-type]
    chips = deploy.Chips.load(FOLDER / "aon", model)
    refused(lambda: chips.runner(mode="fused"), "Keras runs on 'jax'")
    refused(lambda: chips.runner(precision="bfloat16"), "Use mode='plain'")


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    there = np.load(FOLDER / "data.npz")
    for name in HARDWARE:
        check_chips(name, (there[f"{name}_inputs"], there[f"{name}_labels"]))
    check_training((there["aon_inputs"], there["aon_labels"]))
    check_refusals()
    print(f"chips agree on {keras.backend.backend()}")


if __name__ == "__main__":
    main()
