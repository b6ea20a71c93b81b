"""Recurrent layers on crossbars: equal to Keras' when ideal, one noise over a sequence, saved, programmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets import crossbar as crossbars
from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.deploy.accelerator import cost
from analognets.deploy.chips.chips import program
from analognets.devices import IdealDevice
from analognets.layers import (
    AnalogBidirectional,
    AnalogGRU,
    AnalogGRUCell,
    AnalogLSTM,
    AnalogRNN,
    AnalogSimpleRNN,
    analog_layers,
    calibrate,
    freeze_weight_range,
)

L = keras.layers
IDEAL = Crossbar(dac_bits=None, adc_bits=None)
STEPS, FEATURES, UNITS = 6, 5, 4
TWINS = {AnalogSimpleRNN: L.SimpleRNN, AnalogLSTM: L.LSTM, AnalogGRU: L.GRU}
CASES: list[tuple[type, dict[str, Any]]] = [
    (AnalogSimpleRNN, {}),
    (AnalogSimpleRNN, {"return_sequences": True, "go_backwards": True, "use_bias": False}),
    (AnalogLSTM, {"return_state": True}),
    (AnalogLSTM, {"unroll": True, "return_sequences": True, "use_bias": False, "unit_forget_bias": False}),
    (AnalogGRU, {"return_sequences": True, "return_state": True}),
    (AnalogGRU, {"reset_after": False, "go_backwards": True}),
    (AnalogGRU, {"reset_after": False, "use_bias": False, "activation": "relu"}),
]
NAMES = [f"{kind.__name__}-{'-'.join(f'{k}={v}' for k, v in settings.items())}" for kind, settings in CASES]


def sequences(samples: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(samples, STEPS, FEATURES)).astype(np.float32)


def twins(kind: type, settings: dict[str, Any], **analog: Any) -> tuple[Any, Any]:
    """Return an analog layer and its Keras layer with the same random weights, biases included."""
    plain, made = TWINS[kind](UNITS, **settings), kind(UNITS, **settings, **{"crossbar": IDEAL, **analog})
    plain.build((None, STEPS, FEATURES))
    made.build((None, STEPS, FEATURES))
    rng = np.random.default_rng(1)
    for variable in plain.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    made.load_from(plain)
    return made, plain


def assert_close(one: Any, two: Any, tolerance: float = 1e-5) -> None:
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("kind", "settings"), CASES, ids=NAMES)
def test_equal_to_the_keras_layer_with_its_gradients_masks_and_states(kind, settings) -> None:
    made, plain = twins(kind, settings, calibrated=True)
    inputs = sequences()
    mask = np.arange(STEPS) < np.array([[6], [2], [4]])
    states = [np.random.default_rng(2).normal(size=(3, UNITS)).astype(np.float32) for _ in plain.get_initial_state(3)]
    for call in ({}, {"mask": mask}, {"initial_state": states}, {"training": True}):
        assert_close(made(inputs, **call), plain(inputs, **call))
    found = []
    for layer in (made, plain):
        source = tf.convert_to_tensor(inputs)
        kernels = [layer.cell.input_product.kernel] if layer is made else [layer.cell.kernel]
        with tf.GradientTape() as tape:
            tape.watch(source)
            outputs = keras.tree.flatten(layer(source, training=True))
            loss = tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs])
        found.append(tape.gradient(loss, [source, *[kernel.value for kernel in kernels]]))
    assert_close(*found)
    other = TWINS[kind](UNITS, **settings)
    other.build(inputs.shape)
    made.store_to(other)
    assert_close(other(inputs), plain(inputs), 0)
    shape = (None, STEPS, FEATURES)
    assert str(made.compute_output_shape(shape)) == str(plain.compute_output_shape(shape))


def test_stateful_goes_on_where_it_was() -> None:
    made, plain = [
        layer(UNITS, stateful=True, **settings) for layer, settings in ((AnalogLSTM, {"crossbar": IDEAL}), (L.LSTM, {}))
    ]
    inputs = sequences()
    made(inputs), plain(inputs)
    made.load_from(plain)
    for layer in (made, plain):
        layer.reset_state()
    for _ in range(2):
        assert_close(made(inputs), plain(inputs))
    made.reset_state()
    plain.reset_state()
    assert_close(made(inputs), plain(inputs))


def test_config_and_defaults_are_those_of_keras() -> None:
    layer = AnalogLSTM(UNITS, "relu", dropout=0.1, recurrent_dropout=0.2, weight_noise=0.03, seed=5, return_state=True)
    again = AnalogLSTM.from_config(layer.get_config())
    assert again.get_config() | {"products": 0} == layer.get_config() | {"products": 0}
    assert (again.dropout, again.recurrent_dropout, again.cell.recurrent_product.weight_noise) == (0.1, 0.2, 0.03)
    assert again.cell.input_product.seed == layer.cell.input_product.seed != layer.cell.recurrent_product.seed
    assert again.cell.input_product.adc_gain is again.cell.recurrent_product.adc_gain
    assert set(L.LSTM(UNITS).get_config()) == set(layer.get_config()) - {"products"}
    layer.build((None, None, FEATURES))
    np.testing.assert_array_equal(layer.cell.bias, np.repeat([0, 1, 0, 0], UNITS), "the forget gate begins open")
    with pytest.raises((TypeError, ValueError), match="flavour"):
        AnalogGRU(UNITS, flavour=3)


def test_a_product_can_stay_digital() -> None:
    layer = AnalogGRU(UNITS, products={"input": None}, name="gru")
    layer.build((None, STEPS, FEATURES))
    assert type(layer.products["input"]) is L.Dense
    assert [one.name for one in analog_layers(layer)] == ["gru_recurrent"]
    again = AnalogGRU.from_config(layer.get_config())
    assert type(again.products["input"]) is L.Dense


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("unroll", [False, True])
def test_all_steps_of_a_sequence_see_one_noise_and_the_next_batch_another(kind, unroll) -> None:
    """With the same input at each step and a state that returns to the same value, the products are the same."""
    settings = {"return_sequences": True, "unroll": unroll, "activation": "linear", "recurrent_initializer": "zeros"}
    layer = kind(UNITS, weight_noise=0.2, seed=3, crossbar=IDEAL, **settings)
    same = np.repeat(sequences()[:, :1], STEPS, axis=1)
    layer.build(same.shape)
    cell = layer.cell
    seen: list[np.ndarray] = []

    def advance(projected: Any, states: list[Any], training: bool) -> list[Any]:
        product = cell.recurrent_product(ops_ones, training=training)
        return [projected[:, :UNITS] + product[:, :UNITS], *states[1:]]

    ops_ones = np.ones((3, UNITS), np.float32)
    cell.advance = advance  # looks at the products alone
    for _ in range(2):
        outputs = np.asarray(layer(same, training=True))
        np.testing.assert_allclose(outputs, np.repeat(outputs[:, :1], STEPS, axis=1), rtol=1e-5)
        seen.append(outputs)
    assert not np.allclose(*seen)
    quiet = np.asarray(layer(same, training=False))
    assert np.abs(seen[0] - quiet).max() > 0.01
    np.testing.assert_array_equal(quiet, layer(same, training=False))


def test_the_noise_of_products_differs_from_step_to_step() -> None:
    """Weights are held, but what is anew at each product is so at each step, also in a compiled function."""
    quiet = crossbars.get("aimc_standard")
    layer = AnalogGRU(UNITS, crossbar=quiet, calibrated=True, seed=3, return_sequences=True)
    same = np.repeat(sequences()[:, :1], STEPS, axis=1)
    layer.build(same.shape)
    cell = layer.cell
    ones = np.ones((3, UNITS), np.float32)
    cell.advance = lambda projected, states, training: [cell.recurrent_product(ones, training=training)[:, :UNITS]]
    run = tf.function(lambda: layer(same, training=True))
    one, two = run().numpy(), run().numpy()
    flat = np.concatenate([one, two], axis=1).reshape(3, 2 * STEPS, -1)
    for i in range(2 * STEPS):
        for j in range(i):
            assert not np.allclose(flat[:, i], flat[:, j], atol=1e-6), (i, j)


def test_dropout_has_one_mask_over_time_and_keeps_the_mean() -> None:
    layer = AnalogLSTM(UNITS, dropout=0.5, recurrent_dropout=0.5, crossbar=IDEAL, seed=1)
    inputs = sequences(200)
    assert not np.allclose(layer(inputs, training=True), layer(inputs, training=True))
    np.testing.assert_array_equal(layer(inputs), layer(inputs))
    ones = tf.ones((400, STEPS, FEATURES))
    only = AnalogSimpleRNN(FEATURES, "linear", dropout=0.5, use_bias=False, crossbar=IDEAL, return_sequences=True)
    only.build(ones.shape)
    only.cell.input_product.kernel.assign(np.eye(FEATURES))
    only.cell.recurrent_product.kernel.assign(np.zeros((FEATURES, FEATURES)))
    dropped = np.asarray(only(ones, training=True))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, np.repeat(dropped[:, :1], STEPS, axis=1))
    n = 400 * FEATURES
    assert abs(dropped[:, 0].mean() - 1) < 4 / np.sqrt(n)


def stack() -> keras.Model:
    inputs = keras.Input((STEPS, FEATURES))
    x = L.Masking()(inputs)
    x = L.Bidirectional(L.GRU(UNITS, return_sequences=True, name="gru"), name="both")(x)
    x = L.RNN([L.LSTMCell(3, name="low"), L.GRUCell(UNITS, name="high")], return_sequences=True, name="cells")(x)
    return keras.Model(inputs, L.Dense(2, name="out")(L.LSTM(3, name="lstm")(x)))


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, keras.Model, np.ndarray]:
    """Return a stack of recurrent layers, and its analog version after an epoch with everything on."""
    keras.utils.set_random_seed(0)
    plain, data = stack(), sequences(12)
    analog = to_analog(plain, crossbars.get("aimc_standard"), weight_noise=1.0, noise_model="device")
    np.testing.assert_allclose(analog(data), plain(data), rtol=1e-4, atol=1e-5)
    calibrate(analog, data)
    freeze_weight_range(analog, sigma=None)
    analog.compile(keras.optimizers.Adam(0.01), "mse")
    before = [np.array(variable) for variable in analog.trainable_variables]
    history = analog.fit(data, np.zeros((12, 2)), epochs=4, batch_size=6, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert all(
        np.any(np.array(v) != old)
        for v, old in zip(analog.trainable_variables, before, strict=True)
        if "kernel" in v.path
    )
    return plain, analog, data


def test_a_stack_converts_trains_and_comes_back(trained, tmp_path: Path) -> None:
    plain, analog, data = trained
    assert isinstance(analog.get_layer("both"), AnalogBidirectional) and isinstance(
        analog.get_layer("cells"), AnalogRNN
    )
    names = [layer.name for layer in analog_layers(analog)]
    assert sorted(names) == sorted({
        "forward_gru_input", "forward_gru_recurrent", "backward_gru_input", "backward_gru_recurrent", "low_input",
        "low_recurrent", "high_input", "high_recurrent", "lstm_input", "lstm_recurrent", "out",
    })  # fmt: skip
    path = tmp_path / "stack.keras"
    analog.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(loaded(data), analog(data), rtol=1e-5, atol=1e-6)
    assert [layer.name for layer in analog_layers(loaded)] == names
    copy = keras.models.clone_model(analog)
    copy.set_weights(analog.get_weights())
    np.testing.assert_allclose(copy(data), analog(data), rtol=1e-5, atol=1e-6)
    digital = to_digital(analog)
    assert [type(layer) for layer in digital.layers] == [type(layer) for layer in plain.layers]
    again = to_analog(digital)
    np.testing.assert_allclose(again(data), digital(data), rtol=1e-4, atol=1e-5)


def test_a_stack_on_chips(trained) -> None:
    _, analog, data = trained
    chips = program(analog, chips=2)
    first = chips.predict(data)
    assert first.shape == (12, 2) and np.isfinite(first).all()
    table = chips.evaluate((data, np.zeros(12, int)), at=["25s", "1y"])
    assert len(table) == 4 and table["accuracy"].between(0, 100).all()


def test_ideal_chips_compute_what_the_model_does_also_in_tiles() -> None:
    keras.utils.set_random_seed(0)
    plain, data = stack(), sequences(12)
    outputs = {}
    for rows in (1024, 3):
        hardware = Crossbar(rows=rows, cols=rows, device=IdealDevice(), dac_bits=14, adc_bits=14)
        analog = to_analog(plain, hardware)
        calibrate(analog, data)
        outputs[rows] = program(analog, chips=1).predict(data)
        np.testing.assert_allclose(outputs[rows], plain(data), atol=2e-3)
    assert not np.array_equal(outputs[3], outputs[1024])


def test_the_cost_counts_a_recurrent_product_at_each_step() -> None:
    table = cost(to_analog(stack()), "aon_cim").table()
    positions = dict(zip(table["layer"], table["positions"], strict=True))
    assert positions["forward_gru_input"] == positions["forward_gru_recurrent"] == STEPS
    assert positions["out"] == 1


def test_a_cell_is_a_cell_anywhere() -> None:
    cell = AnalogGRUCell(UNITS, crossbar=IDEAL)
    plain = L.RNN(L.GRUCell(UNITS))
    made = L.RNN(cell)
    inputs = sequences()
    made(inputs), plain(inputs)
    cell.load_from(plain.cell)
    assert_close(made(inputs), plain(inputs))
