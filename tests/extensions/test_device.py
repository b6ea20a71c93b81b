"""A device from outside the package: in a crossbar, in training noise, in chips and their files, in a recipe."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from analognets import crossbar as crossbars
from analognets import devices
from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.deploy import Chips, program
from analognets.deploy.studies.sensitivity import sweep_nonideality
from analognets.devices import Device, State, derive_seed, is_off, register_device
from analognets.errors import InvalidArgumentError, UnknownNameError
from analognets.layers import analog_layers, calibrate, freeze_weight_range
from analognets.training.recipe import Recipe
from analognets.units import parse_duration


@dataclasses.dataclass(frozen=True)
class Ferroelectric(Device):
    """G_prog = max(0, G + s * 0.5 uS * N), G(t) = G_prog * (1 + t / 1 s)^(-0.01 d)."""

    programming_noise_scale: float = 1.0
    drift_scale: float = 1.0

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        return {"programming": keras.random.normal(shape, seed=derive_seed(seed, "programming"))}

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        noise = 0.0 if is_off(self.programming_noise_scale) else self.programming_noise_scale * draws["programming"]
        return {"conductance": ops.maximum(ops.convert_to_tensor(g_target) + 0.5 * noise, 0.0)}

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        return {}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        time = time if ops.is_tensor(time) else parse_duration(time)
        gone = ops.log(1.0 + ops.convert_to_tensor(time, "float32"))
        return ops.convert_to_tensor(state["conductance"], "float32") * ops.exp(-0.01 * self.drift_scale * gone)

    def first_deviation(self, g: Any) -> Any:
        return ops.ones_like(g) * (0.5 * self.programming_noise_scale / self.g_max)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(devices, "_DEVICES", dict(devices._DEVICES))
    assert register_device("ferroelectric", package="test_extensions")(Ferroelectric) is Ferroelectric
    yield


@pytest.fixture
def network() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12,)), keras.layers.Dense(16, "relu", name="first"), keras.layers.Dense(4, name="last")]
    net = keras.Sequential(layers, name="net")
    inputs = np.random.default_rng(0).normal(size=(120, 12)).astype("float32")
    hardware = crossbars.get("aimc_standard").replace(device="ferroelectric")
    model = to_analog(net, hardware, weight_noise=1.0, noise_model="device")
    freeze_weight_range(model)
    calibrate(model, inputs)
    return model, inputs, net.predict(inputs, verbose=0).argmax(-1)


def test_by_name_and_as_data() -> None:
    assert "ferroelectric" in devices.list_devices()
    device = devices.get("ferroelectric", drift_scale=2.0)
    assert device == Ferroelectric(drift_scale=2.0)
    hardware = Crossbar(device=device)
    assert crossbars.get(json.loads(json.dumps(hardware.get_config()))) == hardware
    assert hardware.strengths() == {"dac_bits": 8, "adc_bits": 8, "programming_noise": 1.0, "drift": 2.0}
    assert hardware.without("device_noise").device == Ferroelectric(programming_noise_scale=0.0, drift_scale=0.0)
    assert "read_noise" not in crossbars.possible_effects(hardware)
    with pytest.raises(UnknownNameError, match="setting of device 'ferroelectric'. Did you mean 'drift_scale'"):
        devices.get("ferroelectric", drift_scales=2.0)


def test_training_noise(network: Any) -> None:
    model, inputs, _ = network
    layer = analog_layers(model)[0]
    noisy = [ops.convert_to_numpy(layer(inputs, training=True)) for _ in range(2)]
    assert np.abs(noisy[0] - noisy[1]).max() > 0
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(model.fit(inputs, np.zeros(len(inputs)), epochs=1, verbose=0).history["loss"][0])


def test_chips_and_their_files(network: Any, tmp_path: Path) -> None:
    model, inputs, labels = network
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    assert analog_layers(again)[0].crossbar.device == Ferroelectric()
    chips = program(again, chips=2, seed=3)
    chips.save(tmp_path / "chips")
    stored = Chips.load(tmp_path / "chips", again)
    for at in ("0s", "1y"):
        np.testing.assert_array_equal(stored.predict(inputs, chip=1, at=at), chips.predict(inputs, chip=1, at=at))
    table = chips.evaluate((inputs, labels), at=["0s", "1y"])
    assert table["accuracy"].between(0.5, 1.0).all()


def test_its_noise_is_swept(network: Any, tmp_path: Path) -> None:
    model, inputs, labels = network
    settings = {"data": (inputs, labels), "chips": 2, "at": "1d"}
    table = sweep_nonideality(model, "programming_noise", [0.0, 1.0, 50.0], tmp_path, **settings)
    means = table.groupby("value")["accuracy"].mean()
    assert set(table["status"]) == {"ok"} and means[0.0] > means[50.0]


def test_a_recipe_names_it() -> None:
    recipe = Recipe.from_yaml(
        "{name: mine, model: mnist_mlp, dataset: mnist, hardware_aware: {hardware: {device: ferroelectric}}}"
    )
    assert recipe.hardware_aware is not None
    assert recipe.hardware_aware.hardware.crossbar().device == Ferroelectric()
    config = devices.serialize(Ferroelectric(drift_scale=0.5))
    changed = recipe.replace({"hardware_aware.hardware.device": config}).hardware_aware
    assert changed is not None and changed.hardware.crossbar().device == Ferroelectric(drift_scale=0.5)
    for name in ("nvm", "os.path"):
        unknown = recipe.replace({"hardware_aware.hardware.device": name}).hardware_aware
        assert unknown is not None
        with pytest.raises(UnknownNameError, match="Unknown device"):
            unknown.hardware.crossbar()
    foreign = {**config, "registered_name": "elsewhere>Device", "module": "antigravity", "class_name": "Device"}
    refused = recipe.replace({"hardware_aware.hardware.device": foreign}).hardware_aware
    assert refused is not None
    with pytest.raises(InvalidArgumentError, match="is not a serialized device"):
        refused.hardware.crossbar()


def test_what_can_not_be_registered() -> None:
    with pytest.raises(InvalidArgumentError, match="derived from Device. Received: <class 'int'>"):
        register_device("number")(int)
    with pytest.raises(InvalidArgumentError, match="The device 'pcm' is PCM of analognets.devices.pcm"):
        register_device("pcm")(Ferroelectric)
