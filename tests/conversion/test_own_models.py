"""Functional models with a constructor of their own: their copies keep class, methods, attributes and variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import analognets as an
from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.errors import ConversionError

IDEAL = Crossbar(device="ideal", dac_bits=None, adc_bits=None)
DATA = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


class Own(keras.Model):
    """Two layers in a graph."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(units)(keras.layers.Dense(5)(inputs)), **kwargs)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units}

    def doubled(self, x: Any) -> Any:
        return 2 * self(x)


class Compiling(Own):
    """It compiles itself, as those of KerasHub do."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.compile("adam", "mse")


class Extended(Own):
    """It has layers and variables beside its graph, and computes with them."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.supports_jit = False
        self.scale = self.add_weight(shape=(units,), initializer="random_normal", name="scale")
        self.heads = {"last": [keras.layers.Dense(units)], 7: keras.layers.Dropout(0.1)}
        self.heads["last"][0].build((None, units))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return self.heads["last"][0](super().call(inputs, training=training) * self.scale)


@pytest.mark.parametrize("kind", [Own, Compiling, Extended])
def test_a_copy_computes_the_same_and_holds_nothing_else(kind: Any) -> None:
    model = kind(units=3)
    model.set_weights([np.random.default_rng(1).normal(size=value.shape) for value in model.get_weights()])
    analog = to_analog(model)
    assert type(analog) is kind
    np.testing.assert_allclose(analog(DATA), model(DATA), atol=1e-6)
    np.testing.assert_allclose(analog.doubled(DATA), 2 * model(DATA), atol=1e-6)
    assert len(analog.conversion_report.converted) == len(analog.conversion_report.products)
    assert not analog.compiled and analog.supports_jit == model.supports_jit
    found = {variable.path for layer in analog._flatten_layers() for variable in layer.weights}
    assert sum(path.endswith("/kernel") for path in found) == sum(v.path.endswith("/kernel") for v in model.weights)
    digital = to_digital(analog)
    assert type(digital) is kind
    np.testing.assert_allclose(digital(DATA), model(DATA), atol=1e-6)


@pytest.mark.parametrize("kind", [Own, Compiling, Extended])
def test_chips_read_the_analog_layers_of_a_copy(kind: Any) -> None:
    model = kind(units=3)
    analog = to_analog(model, IDEAL, calibrate_on=DATA)
    assert analog.compiled == model.compiled
    found = an.deploy.program(analog, chips=1).predict(DATA, at="1h")
    np.testing.assert_allclose(found, analog(DATA), atol=1e-5)
    noisy = to_analog(model, calibrate_on=DATA)
    assert np.abs(an.deploy.program(noisy, chips=1).predict(DATA, at="1h") - noisy(DATA)).max() > 1e-4
    noisy.compile("sgd", "mse", jit_compile=False)
    before = [np.array(value) for value in noisy.get_weights()]
    noisy.fit(DATA, np.zeros_like(noisy(DATA)), verbose=0)
    assert all(layer.kernel.trainable for layer in an.layers.analog_layers(noisy))
    assert any((value != old).any() for value, old in zip(noisy.get_weights(), before, strict=True))


@pytest.mark.parametrize(("kind", "kept"), [(Own, False), (Compiling, False), (Extended, True)])
def test_inside_of_another_model(kind: Any, kept: bool, tmp_path: Path) -> None:
    inner = kind(units=3)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inner(inputs)))
    analog = to_analog(model)
    np.testing.assert_allclose(analog(DATA), model(DATA), atol=1e-6)
    assert len(analog.conversion_report.converted) == len(analog.conversion_report.products)
    assert (type(analog.layers[1]) is kind) == kept  # else a file could not be read
    if not kept:
        analog.save(tmp_path / "a.keras")
        np.testing.assert_allclose(keras.models.load_model(tmp_path / "a.keras")(DATA), analog(DATA), atol=1e-6)


class Forgetful(keras.layers.Layer):
    """Its config lacks an argument."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config()}

    def call(self, x: Any) -> Any:
        return self.factor * x


class Noisy(keras.layers.Layer):
    """It draws numbers in inference, too."""

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(keras.ops.shape(x))


class Counting(Forgetful):
    """It changes a state in each call."""

    def build(self, input_shape: Any) -> None:
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return x * self.calls


def test_a_copy_that_computes_something_else_is_refused() -> None:
    def model(layer: Any) -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head"), layer])

    with pytest.raises(ConversionError, match="on, computes something else: .* Convert its parts"):
        to_analog(model(Forgetful(2.0)))
    to_analog(model(Forgetful(1.0)))

    class Tripled(keras.Sequential):
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return 3 * super().call(inputs, training=training)

    with pytest.raises(ConversionError, match=r"model 'three' \(Tripled\), before any hardware is on, computes"):
        to_analog(Tripled([keras.Input((4,)), keras.layers.Dense(3)], name="three"))
    for layer in (Noisy(), Counting()):  # can't be compared
        given = model(layer)
        before = [np.array(value) for value in given.get_weights()]
        to_analog(given)
        assert all((value == old).all() for value, old in zip(given.get_weights(), before, strict=True))


def test_a_config_that_names_what_is_not_there_is_told() -> None:
    class Broken(keras.layers.Layer):
        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Broken(name="odd")])
    with pytest.raises(ConversionError, match=r"'odd' \(Broken\) can't be rebuilt from its config"):
        to_analog(model)


class Derived(keras.layers.Layer):
    """Its config names what its constructor does not take; a block or model that makes it needs no config of it."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.inner = keras.layers.Dense(units)

    def build(self, input_shape: Any) -> None:
        self.inner.build(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "doubled": 2 * self.units}

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Block(keras.layers.Layer):
    """It makes its layers itself."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.parts = [Derived(units), keras.layers.Dense(2)]

    def build(self, input_shape: Any) -> None:
        self.parts[0].build(input_shape)
        self.parts[1].build((None, self.units))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}

    def call(self, x: Any) -> Any:
        return self.parts[1](self.parts[0](x))


class Tower(keras.Model):
    """A model that makes such a layer."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(2)(Derived(units)(inputs)), **kwargs)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units}


@pytest.mark.parametrize("model", [Tower(6), keras.Sequential([keras.Input((4,)), Block(6)])], ids=["model", "block"])
def test_layers_without_a_config_are_those_that_their_owner_makes(model: keras.Model) -> None:
    analog = to_analog(model)
    np.testing.assert_allclose(analog(DATA), model(DATA), atol=1e-6)
    assert len(analog.conversion_report.converted) == 2
    ready = to_analog(model, calibrate_on=DATA)
    assert np.abs(an.deploy.program(ready, chips=1).predict(DATA, at="1h") - ready(DATA)).max() > 1e-4
    assert len(ready.trainable_variables) == len(model.trainable_variables) + 3  # input ranges and the gain
    with pytest.raises(ConversionError, match="can't be rebuilt from its config"):
        to_analog(keras.Sequential([keras.Input((4,)), Derived(3)]))


class Keeper(Own):
    """It holds states beside layers, a method of its own, and what is changed later."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.temperature = 1.0
        self.parts = {"head": keras.layers.Dense(units), "scale": self.add_weight(shape=(), initializer="ones")}
        self.parts["head"].build((None, units))
        self.seen = [keras.layers.Dropout(0.1), keras.metrics.Sum()]
        self.helper = self.tempered

    def tempered(self, x: Any) -> Any:
        return self.parts["head"](x) * self.parts["scale"] / self.temperature

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return self.helper(super().call(inputs, training=training))


def test_states_methods_and_later_changes_are_those_of_the_copy() -> None:
    model = Keeper(units=3)
    model.temperature, model.note = 2.0, "later"
    model.parts["scale"].assign(3.0)
    wanted = np.asarray(model(DATA))
    analog = to_analog(model, calibrate_on=DATA)
    np.testing.assert_allclose(to_analog(model)(DATA), wanted, atol=1e-6)
    assert (analog.temperature, analog.note) == (2.0, "later")
    assert analog.parts["scale"] is not model.parts["scale"] and analog.helper.__self__ is analog
    assert analog.seen[1] is not model.seen[1]
    analog.compile("sgd", "mse", jit_compile=False)
    analog.fit(DATA, 0 * wanted, verbose=0)
    np.testing.assert_allclose(model(DATA), wanted)
    assert float(analog.parts["scale"].value) != 3.0


def test_policy_and_frozen_flag_are_kept() -> None:
    model = Own(units=3, dtype="mixed_bfloat16")
    model.dtype_policy = "mixed_bfloat16"
    model.trainable = False
    analog = to_analog(model)
    assert analog.dtype_policy == model.dtype_policy and not analog.trainable
    assert not analog.trainable_variables and not any(layer.trainable for layer in an.layers.analog_layers(analog))


class Outer(keras.Model):
    """Its call asks a model inside of it for an attribute."""

    def __init__(self, **kwargs: Any) -> None:
        inner, inputs = Own(units=3), keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(2)(inner(inputs)), **kwargs)
        self.inner = inner

    def get_config(self) -> dict[str, Any]:
        return {}

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training) * self.inner.units


class Around(keras.Model):
    """The same without a graph."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = Own(units=3)

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs) * self.inner.units


@pytest.mark.parametrize("kind", [Outer, Around])
def test_models_inside_of_one_of_its_own_class_keep_theirs(kind: Any) -> None:
    model = kind()
    wanted = np.asarray(model(DATA))
    analog = to_analog(model)
    np.testing.assert_allclose(analog(DATA), wanted, atol=1e-6)
    assert type(analog.inner) is Own
    back = to_digital(analog)
    assert type(back.inner) is Own
    np.testing.assert_allclose(back(DATA), wanted, atol=1e-6)


def test_layers_without_a_config_are_found_again() -> None:
    model = Tower(6)
    analog = to_analog(model)
    np.testing.assert_allclose(to_digital(analog)(DATA), model(DATA), atol=1e-6)
    part = to_analog(model, exempt=model.layers[-1].name)
    np.testing.assert_allclose(to_analog(part)(DATA), model(DATA), atol=1e-6)


def test_a_graph_keeps_its_nodes_when_an_attribute_holds_a_block() -> None:
    class Held(keras.Model):
        def __init__(self, **kwargs: Any) -> None:
            block, inputs = Block(5, name="b"), keras.Input((4,))
            super().__init__(inputs, keras.layers.Dense(2)(block(inputs)), **kwargs)
            self.blk = block

        def get_config(self) -> dict[str, Any]:
            return {}

    model = Held()
    analog = to_analog(model)
    np.testing.assert_allclose(analog(DATA), model(DATA), atol=1e-6)
    assert analog.get_layer("b").output.shape == (None, 2)
    assert analog.blk.units == 5
