"""Arrays that learned on their devices, taken over as a chip."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import analognets as an
from analognets import devices
from analognets.crossbar import Crossbar, get_nonideality
from analognets.deploy.chips.trained_arrays import from_devices
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import calibrate
from analognets.training.in_memory import MixedPrecision

SILENT = devices.PulsedPCM(read_noise_share=0.0, read_noise_floor=0.0)
PERFECT = Crossbar(rows=40, cols=16, dac_bits=None, adc_bits=None)
L = keras.layers
NOISY = devices.PulsedPCM()
NETWORKS = {
    "dense": lambda: [L.Flatten(), L.Dense(10, "relu", name="inner"), L.Dense(3, name="outer")],
    "conv": lambda: [
        L.Conv2D(6, 3), L.BatchNormalization(), L.ReLU(), L.DepthwiseConv2D(2), L.Conv2D(4, 2, groups=2), L.Flatten(),
        L.Dense(3),
    ],
    "lstm": lambda: [L.Reshape((6, 12)), L.LSTM(5), L.Dense(3)],
    "gru": lambda: [L.Reshape((6, 12)), L.GRU(5, reset_after=True), L.Dense(3)],
}  # fmt: skip


def samples() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    inputs = rng.normal(0, 0.3, (90, 6, 6, 2))
    inputs[np.arange(90), labels * 2] += 1.0
    return inputs.astype("float32"), labels


def learned(kind: str = "dense", **settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 2)), *NETWORKS[kind]()])
    settings = {"device": SILENT, "refresh_every": 7, "read_every": 5, "seconds_per_step": 10.0, **settings}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(MixedPrecision(keras.optimizers.Adam(0.02), **settings), loss, jit_compile=False)
    model.fit(*samples(), epochs=2, batch_size=10, verbose=0)
    return model


def digital(model: keras.Model, time, inputs: np.ndarray, **options) -> np.ndarray:
    """Return the outputs of the model with the weights that the optimizer reads at a time."""
    kept = {array.path: array.variable.numpy() for array in model.optimizer.synapses}
    by_path = {array.path: array.variable for array in model.optimizer.synapses}
    for path, values in model.optimizer.read(time, **options).items():
        by_path[path].assign(values)
    outputs = model.predict(inputs, verbose=0)
    for path, values in kept.items():
        by_path[path].assign(values)
    return outputs


@pytest.mark.parametrize(("kind", "copies"), [("dense", 3), ("conv", 1), ("lstm", 2), ("gru", 1)])
def test_the_chip_computes_with_the_very_devices(kind: str, copies: int) -> None:
    model, (inputs, _) = learned(kind, devices_per_polarity=copies), samples()
    weights = model.get_weights()
    chips = from_devices(model, inputs, hardware=PERFECT)
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    for seconds in (0.0, 1e6):
        wanted = digital(model, model.optimizer.time + seconds, inputs)
        found = chips.predict(inputs, at=seconds, drift_compensation=False)
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max() + 1e-5)


def test_nothing_is_programmed_anew() -> None:
    model, (inputs, _) = learned(device=devices.PulsedPCM()), samples()
    chips = from_devices(model, inputs, hardware=PERFECT)
    array, layer = model.optimizer.synapses[0], chips.chips[0].layers[0]
    np.testing.assert_array_equal(layer.state["conductance"].reshape(-1), array.state["conductance"].numpy())
    np.testing.assert_array_equal(layer.state["pulses"].reshape(-1), array.state["pulses"].numpy())
    assert layer.state["pulsed_at"].max() <= 0
    assert layer.state["pulsed_at"].min() == -model.optimizer.time


def test_compensation_returns_what_drift_takes() -> None:
    model, data = learned(), samples()
    chips = from_devices(model, data[0], hardware=PERFECT.replace(rows=512, cols=512))
    now, month = (chips.predict(data[0], at=0.0), chips.predict(data[0], at="30d"))
    bare = chips.predict(data[0], at="30d", drift_compensation=False)
    assert np.abs(month - now).mean() < 0.5 * np.abs(bare - now).mean()
    table = chips.evaluate(data, at=["1h", "1d", "30d"], drift_compensation="both")
    assert len(table) == 6 and table["chip"].unique().tolist() == [0]


def test_it_is_kept_in_files(tmp_path: Path) -> None:
    model, (inputs, _) = learned(devices_per_polarity=2, device=devices.PulsedPCM()), samples()
    model.save(tmp_path / "learned.keras")
    again = keras.models.load_model(tmp_path / "learned.keras")
    one, other = (from_devices(each, inputs, seed=4) for each in (model, again))
    np.testing.assert_array_equal(one.predict(inputs, at="1d"), other.predict(inputs, at="1d"))
    one.save(tmp_path / "chip")
    loaded = an.deploy.Chips.load(tmp_path / "chip", one.model)
    np.testing.assert_array_equal(one.predict(inputs, at="1y"), loaded.predict(inputs, at="1y"))


def test_networks_that_learned_behind_converters_are_taken_over_too() -> None:
    keras.utils.set_random_seed(0)
    inputs, labels = samples()
    analog = an.to_analog(keras.Sequential([keras.Input((6, 6, 2)), *NETWORKS["dense"]()]), "aon_cim_8bit")
    calibrate(analog, inputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    analog.compile(MixedPrecision(keras.optimizers.Adam(0.02), device=SILENT), loss, jit_compile=False)
    analog.fit(inputs, labels, epochs=4, batch_size=10, verbose=0)
    assert len(analog.optimizer.synapses) == 2
    assert sum(found["set_pulses"] for found in analog.optimizer.statistics().values()) > 0
    assert analog.evaluate(inputs, labels, verbose=0) < np.log(3)
    found = from_devices(analog, inputs, hardware="aon_cim_8bit").predict(inputs, at=0.0, drift_compensation=False)
    assert np.mean(found.argmax(-1) == labels) > 0.8


def test_layers_left_digital_stay_so() -> None:
    model, (inputs, _) = learned(variables=["*/inner/kernel"]), samples()
    assert [array.path for array in model.optimizer.synapses] == [model.get_layer("inner").kernel.path]
    with pytest.raises(ConversionError, match="Leave it digital with exempt=.'outer'"):
        from_devices(model, inputs)
    chips = from_devices(model, inputs, exempt="outer")
    assert [layer.name for layer in chips.layers] == ["inner"]


def test_what_is_wrong_is_said() -> None:
    plain = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    plain.compile("sgd", "mse")
    with pytest.raises(ConversionError, match="Train it with MixedPrecision"):
        from_devices(plain, np.ones((4, 3)))
    model, (inputs, _) = learned(), samples()
    stuck = PERFECT.with_nonideality(get_nonideality("stuck_at_zero", share=0.1))
    with pytest.raises(InvalidArgumentError, match="can't get stuck devices afterwards"):
        from_devices(model, inputs, hardware=stuck)


@pytest.mark.parametrize("device", [SILENT, NOISY], ids=["silent", "noisy"])
def test_weights_that_were_set_after_training_are_refused_until_they_are_written(device) -> None:
    model, (inputs, _) = learned(device=device, read_every=None, seconds_per_step=1e5), samples()
    assert len(from_devices(model, inputs)) == 1
    kept = model.get_weights()
    for change in (lambda w: 0 * w, lambda w: w[::-1], lambda w: w + 0.1):
        model.set_weights([change(w) if w.ndim > 1 else w for w in kept])
        with pytest.raises(ConversionError, match="set after training.*model.optimizer.program"):
            from_devices(model, inputs)
    model.optimizer.program()
    assert len(from_devices(model, inputs)) == 1
