"""`analognets ageing`: a table for people, JSON for pipelines, one sentence for a wrong wish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analognets.crossbar import Crossbar
from analognets.devices import PCM


def test_forecast_and_flag(call: Callable[..., Any], tmp_path: Path) -> None:
    import keras

    from analognets.conversion import to_analog

    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)], name="net")
    net.set_weights([np.eye(4)])
    to_analog(net, calibrate_on=np.eye(4)).save(tmp_path / "net.keras")
    noisy = Crossbar(device=PCM(programming_noise_scale=30.0))
    keras.utils.set_random_seed(0)
    bent = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(4)])
    to_analog(bent, noisy, calibrate_on=np.eye(4)).save(tmp_path / "noisy.keras")
    labels = np.tile(np.arange(4), 6)
    np.savez(tmp_path / "data.npz", inputs=np.eye(4)[labels], labels=labels)
    words = ("--data", tmp_path / "data.npz", "--at", "1d", "--chips", 3, "--samples", 20)
    told = call("ageing", tmp_path / "net.keras", *words)
    assert told.code == 0, told.err
    assert "100.00 to 100.00" in told.out and "from a few simulated ones" in told.out
    flagged = call("ageing", tmp_path / "noisy.keras", *words, "--json")
    (row,) = json.loads(flagged.out)["rows"]
    assert row["mean"] is None and row["flag"].startswith("On 3 simulated chips at 1d the")
    assert "The prediction is not confirmed. On 3" in flagged.err
    assert "A model without a recipe needs data" in call("ageing", tmp_path / "net.keras").error
