"""Graphs of many kinds on a chip: subclassed, sequential, residual, depthwise, grouped, shared."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import program
from analognets.devices import IdealDevice
from analognets.layers import calibrate

layers = keras.layers


def test_a_subclassed_model_runs_on_a_chip(make, nets, samples) -> None:
    model = make(IdealDevice(), net=nets.subclassed, dac_bits=None, adc_bits=12)
    outputs = program(model, 1).predict(samples)
    np.testing.assert_allclose(outputs, nets.subclassed().predict(samples, verbose=0), atol=0.02)
    noisy = program(make("pcm", net=nets.subclassed), 1).predict(samples, at="1d")
    assert 0.7 < np.corrcoef(noisy.ravel(), outputs.ravel())[0, 1] < 0.99999


def sequential() -> keras.Model:
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [keras.Input((7, 5, 2)), layers.Flatten(), layers.Dense(9), layers.ReLU(), layers.Dense(3, name="logits")]
    )
    return model


def skip_connections() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((7, 5, 2))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    y = layers.BatchNormalization()(x)
    y = layers.ReLU()(layers.Conv2D(4, 3, padding="same", name="b")(y))
    y = layers.Concatenate()([x + y, layers.MaxPooling2D(1)(x)])
    y = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.3))(y)
    y = layers.Conv2D(4, 3, activation="relu", name="c")(y)
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(y)))


def depthwise() -> keras.Model:
    keras.utils.set_random_seed(4)
    inputs = keras.Input((7, 5, 2))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(inputs)
    x = layers.Conv2D(6, 3, groups=2, dilation_rate=1, padding="same")(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("net", [sequential, skip_connections, depthwise])
def test_other_graphs_run_fused_as_they_run_plain(make, nets, samples, net) -> None:
    chips = program(make("pcm", net=net), 1)
    plain, fused = (chips.predict(samples, at="1h", mode=mode) for mode in ("plain", "fused"))
    difference = np.abs(plain - fused).max(axis=1)
    assert np.mean(difference < 1e-4) > 0.7
    assert difference.max() < 4 * nets.adc_step(chips.model)


def test_running_leaves_the_graph_of_the_model_as_it_was(make, samples) -> None:
    model = make("pcm")
    nodes = {layer.name: len(layer._inbound_nodes) for layer in model.layers}
    program(model, 1).predict(samples[:10], mode="fused")
    assert {layer.name: len(layer._inbound_nodes) for layer in model.layers} == nodes
    assert model.get_layer("pool").output is not None


def test_a_second_model_with_other_policy_does_not_disturb(make, samples) -> None:
    model = make("pcm")
    chips = program(model, 1)
    expected = chips.predict(samples, mode="fused")
    try:
        keras.config.set_dtype_policy("mixed_float16")
        again = program(model, 1).predict(samples, mode="fused")
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(again, expected)


def test_grouped_kernels_with_split_rows_run(make, samples) -> None:
    model = make(IdealDevice(), net=depthwise, rows=30, cols=4, dac_bits=None, adc_bits=14)
    assert max(layer.tiling.shape[0] for layer in program(model, 1).layers) > 1
    outputs = program(model, 1).predict(samples)
    np.testing.assert_allclose(outputs, depthwise().predict(samples, verbose=0), atol=0.01)


def test_a_layer_used_twice_is_one_set_of_devices(samples) -> None:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((7, 5, 2))
    shared = layers.Conv2D(2, 3, padding="same", activation="relu")
    outputs = layers.Dense(3)(layers.Flatten()(shared(shared(inputs))))
    model = to_analog(keras.Model(inputs, outputs), Crossbar(device="pcm"))
    calibrate(model, samples)
    chips = program(model, 1)
    assert len(chips.layers) == 2
    assert chips.runner().mode == "plain"
    assert chips.predict(samples[:5]).shape == (5, 3)


def test_several_inputs_and_outputs_run_fused_as_they_run_plain(samples) -> None:
    keras.utils.set_random_seed(6)
    left, right = keras.Input((7, 5, 2), name="left"), keras.Input((4,), name="right")
    x = layers.Flatten()(layers.Conv2D(3, 3, activation="relu")(left))
    x = layers.Concatenate()([x, layers.Dense(5, activation="relu")(right)])
    outputs = {"first": layers.Dense(3, name="first")(x), "second": layers.Dense(2, name="second")(x)}
    model = to_analog(keras.Model({"left": left, "right": right}, outputs), Crossbar(device="pcm"))
    data = {"left": samples, "right": np.random.default_rng(0).normal(size=(len(samples), 4)).astype("float32")}
    calibrate(model, [data])
    chips = program(model, 1)
    plain, fused = (chips.predict(data, at="1h", mode=mode, batch_size=64) for mode in ("plain", "fused"))
    for name in ("first", "second"):
        difference = np.abs(plain[name] - fused[name]).max(axis=1)
        assert len(difference) == len(samples) and np.mean(difference < 1e-4) > 0.7
