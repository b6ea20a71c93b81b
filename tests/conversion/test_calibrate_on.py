"""`to_analog(..., calibrate_on=inputs)` does what the single steps do, and says so."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.errors import InvalidArgumentError
from analognets.layers import analog_layers, calibrate, freeze_weight_range

L = keras.layers
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(120, 8, 8, 2)).astype("float32")
LABELS = RNG.integers(0, 3, 120)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net() -> keras.Model:
    inputs = keras.Input((8, 8, 2))
    x = L.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    return keras.Model(inputs, L.Dense(3, name="logits")(L.GlobalAveragePooling2D()(x)))


def compiled() -> keras.Model:
    keras.utils.set_random_seed(3)
    model = net()
    model.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), LOSS, metrics=["accuracy"])
    model.fit(INPUTS, LABELS, verbose=0)
    return model


def states(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in model.variables]


def trained(model: keras.Model) -> list[np.ndarray]:
    keras.utils.set_random_seed(5)
    for layer in analog_layers(model):
        layer.seed_generator.state.assign([7, 0])
    model.fit(INPUTS, LABELS, epochs=2, batch_size=20, verbose=0, shuffle=False)
    return [np.asarray(variable) for variable in model.weights]


@pytest.mark.parametrize("hardware", ["aon_cim_8bit", "aimc_standard"])
def test_one_call_equals_the_four_lines(hardware: str) -> None:
    model = compiled()
    keras.utils.set_random_seed(4)
    one = to_analog(model, hardware, weight_noise=0.05, calibrate_on=INPUTS)
    keras.utils.set_random_seed(4)
    steps = to_analog(model, hardware, weight_noise=0.05)
    freeze_weight_range(steps)
    calibrate(steps, INPUTS)
    steps.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), LOSS, metrics=["accuracy"], jit_compile=False)
    for left, right in zip(one.weights, steps.weights, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.predict(INPUTS, verbose=0), steps.predict(INPUTS, verbose=0))
    for left, right in zip(trained(one), trained(steps), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_report_says_what_was_done() -> None:
    report = to_analog(compiled(), calibrate_on=[INPUTS[:50], INPUTS[50:80]]).conversion_report
    assert report.steps == (
        "W_max frozen at 2 sigma of each kernel, weights clipped to it.",
        "Converter ranges calibrated on 80 samples.",
        "Compiled with optimizer Adam, loss SparseCategoricalCrossentropy, metrics accuracy; jit_compile off.",
    )
    assert str(report).endswith("\n".join(report.steps)) and report.to_dict()["steps"] == list(report.steps)
    plain = to_analog(net()).conversion_report
    assert plain.steps == () and "steps" not in plain.to_dict()


def test_a_model_that_is_not_compiled_stays_so() -> None:
    analog = to_analog(net(), calibrate_on=INPUTS)
    assert not analog.compiled and all(layer.calibrated for layer in analog_layers(analog))
    assert analog.conversion_report.steps[-1] == "Not compiled, as the model given is not."


def test_optimizer_and_metrics_are_fresh_and_the_model_given_is_left_alone() -> None:
    model = compiled()
    before, optimizer = states(model), states(model.optimizer)
    analog = to_analog(model, calibrate_on=INPUTS)
    assert analog.optimizer is not model.optimizer and int(analog.optimizer.iterations) == 0
    assert (float(analog.optimizer.learning_rate), analog.optimizer.clipnorm) == (pytest.approx(3e-3), 1.0)
    assert analog.jit_compile is False
    analog.fit(INPUTS, LABELS, verbose=0)
    assert set(analog.evaluate(INPUTS, LABELS, verbose=0, return_dict=True)) == {"loss", "accuracy"}
    for now, old in zip(states(model) + states(model.optimizer), before + optimizer, strict=True):
        np.testing.assert_array_equal(now, old)


def test_functions_of_no_module_are_carried_over_or_named() -> None:
    def own_loss(labels: Any, outputs: Any) -> Any:
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True))

    def own_metric(labels: Any, outputs: Any) -> Any:
        return keras.ops.mean(outputs)

    model = net()
    model.compile("sgd", own_loss, metrics=[own_metric])
    analog = to_analog(model, calibrate_on=INPUTS)
    assert analog.conversion_report.steps[-1] == (
        "Compiled with optimizer SGD, loss own_loss, metrics own_metric; jit_compile off."
    )
    analog.fit(INPUTS, LABELS, verbose=0)


class OwnCompile(keras.Model):
    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile("sgd", "mse")


def test_a_compile_of_ones_own_is_left_to_its_owner() -> None:
    inputs = keras.Input((8,))
    model = OwnCompile(inputs, L.Dense(3)(inputs))
    model.compile()
    analog = to_analog(model, calibrate_on=np.ones((4, 8), "float32"))
    assert "OwnCompile has a `compile` of its own" in analog.conversion_report.steps[-1]


def test_bad_inputs_are_one_sentence() -> None:
    with pytest.raises(InvalidArgumentError, match="Calibration data must reach every analog layer"):
        to_analog(net(), calibrate_on=[])


def test_what_is_frozen_or_does_not_decay_stays_so() -> None:
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="a"), keras.layers.Dense(2, name="b")])
    net.get_layer("a").kernel.trainable = False
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.exclude_from_weight_decay(var_list=[net.get_layer("b").kernel], var_names=["bias"])
    net.compile(optimizer, "mse")
    analog = to_analog(net, calibrate_on=np.eye(4, dtype="float32"))
    assert not analog.get_layer("a").kernel.trainable and analog.get_layer("a").bias.trainable
    decaying = [one.path for one in analog.trainable_variables if analog.optimizer._use_weight_decay(one)]
    assert not decaying, "kernel b is excluded by itself, biases by name, ranges and gains always"
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="a")])
    bare.compile(keras.optimizers.AdamW(1e-3), "mse")
    analog = to_analog(bare, calibrate_on=np.eye(4, dtype="float32"))
    decaying = [one.name for one in analog.trainable_variables if analog.optimizer._use_weight_decay(one)]
    assert decaying == ["kernel", "bias"]


def test_single_frozen_weights_inside_of_recurrent_and_attention_layers_stay_frozen() -> None:
    inputs = keras.Input((5, 4))
    states = keras.layers.GRU(3, return_sequences=True, name="gru")(inputs)
    net = keras.Model(inputs, keras.layers.MultiHeadAttention(1, 2, name="mha")(states, states))
    net.get_layer("gru").cell.recurrent_kernel.trainable = False
    net.get_layer("mha")._key_dense.trainable = False
    analog = to_analog(net, ideal())
    gru, mha = (analog.get_layer(name).products for name in ("gru", "mha"))
    assert [gru["recurrent"].kernel.trainable, mha["key"].kernel.trainable, mha["key"].bias.trainable] == [False] * 3
    assert gru["input"].kernel.trainable and mha["query"].kernel.trainable
    back = to_digital(analog)
    frozen = [v.path for v in back.weights if not v.trainable and "seed" not in v.name]
    assert frozen == [v.path for v in net.weights if not v.trainable and "seed" not in v.name] and len(frozen) == 3


def test_the_digital_twin_has_the_weights_that_the_crossbar_multiplies_by() -> None:
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="a")])
    inputs = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    analog = to_analog(net, ideal(), calibrate_on=inputs)
    analog.get_layer("a").kernel.assign(3 * analog.get_layer("a").kernel)
    wanted, found = analog.predict(inputs, verbose=0), to_digital(analog).predict(inputs, verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def ideal() -> Crossbar:
    """Return a crossbar without converters."""
    return Crossbar(dac_bits=None, adc_bits=None)


def test_the_digital_twin_of_a_recurrent_layer_is_clipped_too() -> None:
    net = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(3, name="a")])
    inputs = np.random.default_rng(0).normal(size=(30, 5, 4)).astype("float32")
    analog = to_analog(net, ideal(), calibrate_on=inputs)
    for product in analog_layers(analog):
        product.kernel_variable.assign(3 * product.kernel_variable)
    wanted, found = analog.predict(inputs, verbose=0), to_digital(analog).predict(inputs, verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_exclusions_are_found_inside_of_a_scaled_optimizer() -> None:
    net = keras.Sequential([keras.Input((4,), dtype="float32"), keras.layers.Dense(5, dtype="mixed_float16", name="a")])
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    net.compile(keras.optimizers.LossScaleOptimizer(optimizer), "mse")
    analog = to_analog(net, calibrate_on=np.eye(4, dtype="float32"))
    new = analog.optimizer.inner_optimizer
    assert [one.name for one in analog.trainable_variables if new._use_weight_decay(one)] == ["kernel"]
