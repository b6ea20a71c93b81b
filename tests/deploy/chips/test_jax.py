"""All that the JAX backend is to do, in one process of its own: chips made here, training, refusals."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

from analognets import crossbar, deploy
from analognets.conversion import to_analog

HERE = Path(__file__).parent
L = keras.layers


def networks() -> dict[str, tuple[keras.Model, object]]:
    """Return networks and their hardware: all converters, and with IR drop but without noise of the products."""
    inputs = keras.Input((6, 4, 1))
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3)(inputs)))
    pictures = keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))
    sequences = keras.Sequential([keras.Input((5, 6)), L.GRU(4), L.Dense(3)])
    silent = crossbar.get("aimc_standard").without("short_term_noise", "output_noise")
    return {"aon": (pictures, "aon_cim_8bit"), "standard": (sequences, silent)}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: pip install 'analognets[jax]'")
def test_jax_trains_programs_and_evaluates_as_tensorflow(on_backend, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    data: dict[str, np.ndarray] = {}
    for name, (model, hardware) in networks().items():
        labels = np.arange(48, dtype=np.int32) % 3
        x = rng.normal(size=(48, *model.input_shape[1:])).astype(np.float32)
        x += labels.reshape(-1, *[1] * (x.ndim - 1)) - 1
        analog = to_analog(model, hardware, calibrate_on=x)
        analog.save(tmp_path / f"{name}.keras")
        chips = deploy.program(analog, 2, seed=4)
        chips.save(tmp_path / name)
        found = {at: chips.predict(x, chip=1, at=at, mode="plain") for at in ("25s", "1d")}
        found["accuracy"] = chips.evaluate((x, labels), at="1d", drift_compensation="both", mode="plain")["accuracy"]
        if name == "aon":
            chips.calibrate(x[:16], at="1h")
            found["adabs"] = chips.predict(x, chip=1, at="1d", mode="plain")
        np.savez(tmp_path / f"{name}.npz", **found)
        data |= {f"{name}_inputs": x, f"{name}_labels": labels}
    np.savez(tmp_path / "data.npz", **data)  # type: ignore[arg-type]
    assert "chips agree on jax" in on_backend("jax", HERE / "run_on_jax.py", tmp_path)
