"""Blocks of the user's own: any attribute names, any order of layers, built early, called by keyword, used as cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog, to_digital
from analognets.layers import analog_layers

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 8)).astype("float32")


class Base(L.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._self_attention_layer = L.Dense(8, name="dense")  # as in KerasHub's encoders
        self.inner = [L.LayerNormalization(name="norm"), L.Dense(8, name="last")]

    def build(self, input_shape: Any) -> None:
        for layer in (self._self_attention_layer, *self.inner):
            if not layer.built:
                layer.build(input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        outputs = self._self_attention_layer(inputs)
        for layer in self.inner:
            outputs = layer(outputs)
        return outputs


@keras.saving.register_keras_serializable(package="blocks")
class Plain(Base):
    pass


@keras.saving.register_keras_serializable(package="blocks")
class BuiltEarly(Base):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.build((None, 8))


@keras.saving.register_keras_serializable(package="blocks")
class ByKeyword(Base):
    def call(self, query: Any, scale: Any = None, negate: bool = False) -> Any:
        outputs = super().call(query) * (1.0 if scale is None else scale)
        return -outputs if negate else outputs


def network(block: Any, **settings: Any) -> keras.Model:
    inputs = keras.Input((8,))
    arguments = {"query": inputs, "scale": inputs, "negate": True} if isinstance(block, ByKeyword) else {}
    outputs = block(**arguments) if arguments else block(inputs)
    return keras.Model(inputs, L.Dense(3)(outputs), **settings)


@pytest.mark.usefixtures("op_by_op")
@pytest.mark.parametrize("kind", [Plain, BuiltEarly, ByKeyword])
def test_a_trained_block_is_read_back_with_its_optimizer(kind: type[Base], tmp_path: Path) -> None:
    model = network(kind())
    analog = to_analog(model, calibrate_on=X)
    assert len(analog_layers(analog)) == 3
    analog.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    analog.fit(X, np.ones((16, 3)), epochs=2, verbose=0)
    analog.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    clone = keras.models.clone_model(analog)
    clone.set_weights(analog.get_weights())
    wanted = analog.predict(X, verbose=0)
    for copy in (loaded, clone):
        assert [one.path.split("/")[-2:] for one in copy.weights] == [
            one.path.split("/")[-2:] for one in analog.weights
        ]
        np.testing.assert_array_equal(copy.predict(X, verbose=0), wanted)
    for one, other in zip(loaded.optimizer.variables, analog.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    before = [one.numpy() for one in analog.trainable_variables]
    for each in (analog, loaded):
        each.fit(X, np.ones((16, 3)), verbose=0, shuffle=False)
    for old, one, other in zip(before, analog.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
        assert one.numpy().size < 9 or np.abs(one.numpy() - old).max() > 0
    np.testing.assert_allclose(to_digital(to_analog(model)).predict(X, verbose=0), model.predict(X, verbose=0))


@keras.saving.register_keras_serializable(package="blocks")
class Cell(L.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm, self.dense, self.state_size = L.LayerNormalization(), L.Dense(3), 3

    def build(self, input_shape: Any) -> None:
        self.dense.build(input_shape)
        self.norm.build((input_shape[0], 3))
        self.built = True

    def call(self, inputs: Any, states: Any) -> Any:
        outputs = self.norm(self.dense(inputs) + states[0])
        return outputs, [outputs]


def test_a_cell_of_ones_own_is_converted_and_read_back(tmp_path: Path) -> None:
    steps = RNG.normal(size=(4, 5, 8)).astype("float32")
    model = keras.Sequential([keras.Input((5, 8)), L.RNN(Cell()), L.Dense(2)])
    analog = to_analog(model)
    assert len(analog_layers(analog)) == 2
    np.testing.assert_allclose(analog.predict(steps, verbose=0), model.predict(steps, verbose=0), atol=1e-6)
    analog.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(loaded.predict(steps, verbose=0), analog.predict(steps, verbose=0))
    assert len(analog_layers(loaded)) == 2
