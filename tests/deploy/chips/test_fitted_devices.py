"""Devices from measurements in a network: calibration, chips and their files, evaluation over time, sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets import crossbar as crossbars
from analognets import devices
from analognets.conversion import to_analog
from analognets.deploy import Chips, program
from analognets.deploy.studies.sensitivity import sweep_nonideality
from analognets.devices import FittedDevice, TabulatedDevice

LEVELS, TIMES, SHARES = (0.0, 12.5, 25.0), (25.0, 86_400.0), (0.05, 0.5, 0.95)
FITTED = FittedDevice(
    programming_bias_fit=(0.2, -0.1), stuck_shares=(0.01, 0.02), stuck_conductances=(0.0, 25.0), activation_energy=0.1,
    temperature=320.0, source="lot 7",
)  # fmt: skip
TABLE = TabulatedDevice(
    levels=LEVELS,
    times=TIMES,
    shares=SHARES,
    quantiles=[
        [[0.0, 0.1, 0.4], [10.0, 12.0, 14.0], [22.0, 24.5, 27.0]],
        [[0.0, 0.1, 0.3], [7.0, 9.0, 11.0], [17.0, 19.0, 22.0]],
    ],
    memory=0.8,
)


@pytest.mark.parametrize("device", [FITTED, TABLE], ids=["fitted", "tabulated"])
def test_in_a_network(device: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12,)), keras.layers.Dense(16, "relu", name="first"), keras.layers.Dense(4, name="last")]
    net = keras.Sequential(layers, name="net")
    inputs = np.random.default_rng(0).normal(size=(200, 12)).astype("float32")
    labels = net.predict(inputs, verbose=0).argmax(-1)
    devices.save(device, tmp_path / "my_device.yaml")
    hardware = crossbars.get("aon_cim_8bit").replace(device=str(tmp_path / "my_device.yaml"))
    model = to_analog(net, hardware, calibrate_on=inputs)
    chips = program(model, chips=3, seed=1)
    chips.save(tmp_path / "chips")
    table = chips.evaluate((inputs, labels), at=["25s", "1d"])
    assert table["accuracy"].between(0.5, 1.0).all()
    stored = Chips.load(tmp_path / "chips", model)
    np.testing.assert_array_equal(stored.predict(inputs, chip=1, at="1d"), chips.predict(inputs, chip=1, at="1d"))
    if device is FITTED:
        return  # its noises have the names of those of PCM
    settings: dict[str, Any] = {"data": (inputs, labels), "chips": 2, "at": "1d"}
    swept = sweep_nonideality(model, "programming_noise", [0.0, 20.0], tmp_path / "sweep", **settings)
    means = swept.groupby("value")["accuracy"].mean()
    assert set(swept["status"]) == {"ok"} and means[0.0] > means[20.0]


def test_stuck_cells_of_a_small_share_are_among_those_of_a_larger_one() -> None:
    targets = np.linspace(2.0, 20.0, 4_000, dtype="float32")
    few, many = (
        np.asarray(FittedDevice(stuck_shares=shares, stuck_conductances=(0.0, 25.0)).program(targets, 5)["conductance"])
        for shares in ((0.02, 0.01), (0.1, 0.05))
    )
    for value, share in ((0.0, 0.1), (25.0, 0.05)):
        assert set(np.flatnonzero(few == value)) < set(np.flatnonzero(many == value))
        assert (many == value).mean() == pytest.approx(share, rel=0.3)
    plain = np.asarray(FittedDevice().program(targets, 5)["conductance"])
    np.testing.assert_array_equal(plain, np.asarray(devices.PCM().program(targets, 5)["conductance"]))
