"""Any Keras model becomes analog and digital again: same weights, same outputs, the model given untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.layers import AnalogLayer, WeightClip, analog_layers

L = keras.layers
RNG = np.random.default_rng(0)


def functional() -> tuple[keras.Model, int]:
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", use_bias=False, kernel_constraint=WeightClip(2.0))(inputs)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = L.Conv2D(4, 2, groups=2, strides=2)(x)
    x = L.Conv1D(5, 2, padding="causal")(L.Reshape((9, 4))(x))
    return keras.Model(inputs, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x))), 5


def sequential() -> tuple[keras.Model, int]:
    return keras.Sequential([keras.Input((6,)), L.Dense(5, activation="relu"), L.Dropout(0.5), L.Dense(2)]), 2


def lazy_sequential() -> tuple[keras.Model, int]:
    model = keras.Sequential([L.Dense(5, activation="relu"), L.Dense(2)])
    model(np.zeros((1, 6), np.float32))
    return model, 2


def residual() -> tuple[keras.Model, int]:
    inputs = keras.Input((6,))
    x = L.Dense(6)(inputs) + inputs
    x = L.Concatenate()([x, 2.0 * ops.relu(x), L.Add()([x, inputs])])
    return keras.Model(
        inputs, [L.Dense(3, name="first")(x[:, 2:]), L.Dense(2, name="second")(ops.mean(x, -1, True))]
    ), 3


def nested() -> tuple[keras.Model, int]:
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6), L.ReLU()], name="inner")
    middle_inputs = keras.Input((6,))
    middle = keras.Model(middle_inputs, inner(middle_inputs) + middle_inputs, name="middle")
    inputs = keras.Input((6,))
    return keras.Model(inputs, L.Dense(2)(middle(middle(inputs)))), 2


def shared() -> tuple[keras.Model, int]:
    inputs = keras.Input((6,))
    layer = L.Dense(6, activation="tanh")
    return keras.Model(inputs, L.Dense(2)(layer(layer(inputs)))), 2


def two_inputs() -> tuple[keras.Model, int]:
    a, b = keras.Input((6,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], L.Dense(2)(L.Concatenate()([L.Dense(3)(a), L.Dense(3)(b)]))), 3


def wrapped() -> tuple[keras.Model, int]:
    inputs = keras.Input((7, 6))
    x = L.TimeDistributed(L.Dense(4))(inputs)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    x = L.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(inputs, L.Dense(2)(L.GRU(3)(L.LayerNormalization()(x)))), 12


@keras.saving.register_keras_serializable(package="tests_conversion")
class Block(L.Layer):
    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self._first = L.Dense(units)
        self.norm = L.BatchNormalization()

    def build(self, shape: Any) -> None:
        self.late = L.Dense(shape[-1])
        self._first.build(shape)
        self.norm.build((*shape[:-1], self.units))
        self.late.build((*shape[:-1], self.units))
        self.shift = self.add_weight(shape=(shape[-1],), initializer="ones", name="shift")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return inputs + self.shift + self.late(self.norm(ops.relu(self._first(inputs)), training=training))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests_conversion")
class Subclassed(keras.Model):
    def __init__(self, units: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self._stem = L.Dense(units, name="stem")
        self.blocks = [Block(units, name=f"block_{i}") for i in range(2)]
        self.pairs = ((L.Dense(units, name="pair_0"), "text"), {"deep": [L.Dense(units, name="pair_1")]})
        self.heads = {"out": L.Dense(2, name="out")}
        self.tied = self._stem

    def call(self, inputs: Any) -> Any:
        x = ops.relu(self._stem(inputs))
        for block in self.blocks:
            x = block(x)
        x = self.pairs[0][0](x) * self.pairs[1]["deep"][0](x)
        return self.heads["out"](x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def subclassed() -> tuple[keras.Model, int]:
    model = Subclassed()
    model(np.zeros((1, 6), np.float32))
    return model, 8


MODELS = [
    functional, sequential, lazy_sequential, residual, nested, shared, two_inputs, wrapped, subclassed,
]  # fmt: skip


def scramble(model: keras.Model) -> None:
    for variable in model.variables:
        if "seed" not in variable.path and not variable.path.endswith("moving_variance"):
            variable.assign(RNG.normal(0, 0.5, variable.shape))


def inputs_of(model: keras.Model) -> Any:
    if getattr(model, "inputs", None) is None:
        return RNG.normal(size=(9, 6)).astype(np.float32)
    arrays = [RNG.normal(size=(9, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    return arrays if len(arrays) > 1 else arrays[0]


def outputs_of(model: keras.Model, data: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(output) for output in keras.tree.flatten(model(data))]


@pytest.mark.parametrize("make", MODELS)
def test_there_and_back_with_the_same_outputs(make: Callable[[], tuple[keras.Model, int]]) -> None:
    model, number = make()
    scramble(model)
    data = inputs_of(model)
    expected, weights = outputs_of(model, data), model.get_weights()
    kinds = [type(layer) for layer in model._flatten_layers()]
    analog = to_analog(model, "aon_cim_8bit")
    digital = to_digital(analog)
    for copy in (analog, digital):
        for output, wanted in zip(outputs_of(copy, data), expected, strict=True):
            np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-5)
    assert len(analog_layers(analog)) == number
    assert len({id(layer.adc_gain) for layer in analog_layers(analog)}) == 1
    assert sorted(str(kind) for kind in kinds) == sorted(str(type(layer)) for layer in digital._flatten_layers())
    assert len(digital.variables) == len(model.variables)
    for now, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)
    assert not any(isinstance(layer, AnalogLayer) for layer in model._flatten_layers())


@pytest.mark.parametrize("make", MODELS)
def test_the_copy_is_on_its_own(make: Callable[[], tuple[keras.Model, int]]) -> None:
    model, _ = make()
    data = inputs_of(model)
    expected = outputs_of(model, data)
    analog = to_analog(model)
    originals = {id(variable) for variable in model.variables}
    assert not any(id(variable) in originals for variable in analog.variables)
    for variable in analog.trainable_variables:
        variable.assign(variable * 0 + 0.3)
    for output, wanted in zip(outputs_of(model, data), expected, strict=True):
        np.testing.assert_array_equal(output, wanted)


def test_settings_of_the_layers_are_kept() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(
                3, 2, strides=2, name="mine", kernel_regularizer="l2", kernel_constraint="non_neg", dtype="float32"
            ),
            L.Flatten(),
            L.Dense(2, trainable=False, kernel_constraint=WeightClip(2.0), name="frozen"),
        ]
    )
    analog = to_analog(model, Crossbar(rows=64, cols=32), weight_noise=0.07)
    conv, dense = analog.get_layer("mine"), analog.get_layer("frozen")
    assert conv.strides == (2, 2) and conv.kernel_regularizer is not None
    assert isinstance(conv.kernel_constraint, keras.constraints.NonNeg)
    assert dense.kernel_constraint is None, "the clipping of stage 1 ends; the frozen range takes its place"
    assert not dense.trainable
    assert (conv.weight_noise, conv.crossbar.rows) == (0.07, 64)
    assert not conv.calibrated
    assert len(analog.losses) == 1


def test_compiled_models_give_copies_that_are_not() -> None:
    for make in (sequential, nested):
        model, _ = make()
        model.compile("adam", "mse")
        assert not to_analog(model).compiled
        assert model.compiled
        model.evaluate(inputs_of(model), np.zeros((9, 2)), verbose=0)


def test_mixed_precision_is_kept() -> None:
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, dtype="mixed_float16")])
    assert to_analog(model).layers[0].dtype_policy.name == "mixed_float16"


def test_a_calibrated_model_goes_back_to_plain_products() -> None:
    from analognets.layers import calibrate

    model, _ = sequential()
    analog, data = to_analog(model, Crossbar(adc_bits=3, dac_bits=3)), inputs_of(model)
    calibrate(analog, data)
    assert np.abs(outputs_of(analog, data)[0] - outputs_of(model, data)[0]).max() > 1e-3
    np.testing.assert_allclose(
        outputs_of(to_digital(analog), data)[0], outputs_of(model, data)[0], rtol=1e-5, atol=1e-6
    )


def test_per_layer_gain() -> None:
    analog = to_analog(sequential()[0], Crossbar(adc_gain="per_layer"))
    assert len({id(layer.adc_gain) for layer in analog_layers(analog)}) == 2
