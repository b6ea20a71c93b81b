"""One ADC gain S for all layers of a model: one variable, in every kind of model and through every kind of file."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.layers import ADCGain, AnalogDense, analog_layers, calibrate

layers = keras.layers


def functional() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = layers.ReLU()(layers.Conv2D(3, 3, name="conv")(inputs))
    x = layers.DepthwiseConv2D(2, name="depth")(x)
    x = layers.Conv1D(3, 2, name="conv_1d")(layers.Reshape((9, 3))(x))
    return keras.Model(inputs, layers.Dense(2, name="out")(layers.Flatten()(x)))


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2)])


def nested() -> keras.Model:
    inner_inputs = keras.Input((6, 6, 2))
    inner = keras.Model(inner_inputs, layers.Conv2D(2, 3, padding="same", name="inner")(inner_inputs) + inner_inputs)
    block = keras.Sequential([layers.Conv2D(2, 3, padding="same", name="same_name"), layers.ReLU()], name="block")
    inputs = keras.Input((6, 6, 2))
    x = block(inner(inner(inputs)))
    return keras.Model(inputs, layers.Dense(2, name="same_name")(layers.Flatten()(x)))


@keras.saving.register_keras_serializable(package="tests_layers")
class Subclassed(keras.Model):
    def __init__(self, width: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self._stem = layers.Conv2D(width, 3, name="stem")
        self.blocks = [layers.Conv2D(width, 3, padding="same", name=f"block_{i}") for i in range(2)]
        self.heads = {"out": layers.Dense(2, name="out")}
        self.flatten = layers.Flatten()

    def call(self, inputs: Any) -> Any:
        x = self._stem(inputs)
        for block in self.blocks:
            x = x + keras.ops.relu(block(x))
        return self.heads["out"](self.flatten(x))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, 6, 6, 2), np.float32))
    return model


MODELS = [functional, sequential, nested, subclassed]
DATA = np.random.default_rng(0).normal(size=(30, 6, 6, 2)).astype(np.float32)


def analog_of(make: Any) -> keras.Model:
    model = to_analog(make(), "aon_cim_6bit", weight_noise=0.05)
    calibrate(model, DATA)
    analog_layers(model)[0].adc_gain.gain.assign(0.123)
    return model


def gains(model: keras.Model) -> list[ADCGain]:
    return list({id(layer.adc_gain): layer.adc_gain for layer in analog_layers(model)}.values())


def assert_one_gain(model: keras.Model, value: float | None = 0.123) -> None:
    (gain,) = gains(model)
    for variables in (model.trainable_variables, model.variables):
        assert sum(variable is gain.gain for variable in variables) == 1
    assert sum("adc_gain" in variable.path for variable in model.trainable_variables) == 1
    if value is not None:
        assert float(gain.gain.numpy()) == np.float32(value)


@pytest.mark.parametrize("make", MODELS)
def test_all_layers_hold_one_variable(make) -> None:
    plain, model = make(), analog_of(make)
    assert_one_gain(model)
    number = len(analog_layers(model))
    assert number == {functional: 4, sequential: 2, nested: 3, subclassed: 4}[make]
    assert len(model.trainable_variables) == len(plain.trainable_variables) + number + 1


@pytest.mark.parametrize("make", [functional, sequential, nested])
def test_keras_file(make, tmp_path: Path) -> None:
    model = analog_of(make)
    model.save(tmp_path / "model.keras")
    one, two = (keras.models.load_model(tmp_path / "model.keras") for _ in range(2))
    for loaded in (one, two):
        assert_one_gain(loaded)
        np.testing.assert_array_equal(loaded(DATA), model(DATA))
        assert all(layer.calibrated and layer.weight_noise == 0.05 for layer in analog_layers(loaded))
        assert analog_layers(loaded)[0].crossbar == Crossbar.from_preset("aon_cim_6bit")
    assert gains(one)[0] is not gains(two)[0] and gains(one)[0] is not gains(model)[0]


@pytest.mark.parametrize("make", MODELS)
def test_weights_file(make, tmp_path: Path) -> None:
    model, other = analog_of(make), analog_of(make)
    for variable in other.variables:
        if "seed" not in variable.path:
            variable.assign(variable.numpy() * 0 + 0.5)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert_one_gain(other)
    np.testing.assert_array_equal(other(DATA), model(DATA))


@pytest.mark.parametrize("make", MODELS)
def test_config_in_the_same_process(make, tmp_path: Path) -> None:
    model = analog_of(make)
    config = model.get_config()
    copies = [
        type(model).from_config(copy.deepcopy(config)),
        type(model).from_config(json.loads(json.dumps(model.get_config()))),
    ]
    if make is not subclassed:
        copies.append(keras.models.clone_model(model))
        copies.append(type(model).from_config(config))
        copies.append(keras.models.model_from_json(model.to_json()))
        for clone in copies:
            assert_one_gain(clone, None)
            clone.set_weights(model.get_weights())
            np.testing.assert_array_equal(clone(DATA), model(DATA))
        model.save_weights(tmp_path / "model.weights.h5")
        copies[0].load_weights(tmp_path / "model.weights.h5")
        assert len({id(gains(each)[0]) for each in [model, *copies]}) == len(copies) + 1


def test_a_layer_alone_keeps_its_config() -> None:
    layer = AnalogDense(3, crossbar="aon_cim_4bit", weight_noise=0.1, seed=4, calibrated=True, activation="relu")
    twin = AnalogDense.from_config(layer.get_config())
    assert twin.adc_gain is not layer.adc_gain
    skip = ("adc_gain",)
    one, two = ({k: v for k, v in each.get_config().items() if k not in skip} for each in (layer, twin))
    assert one == two
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
    assert isinstance(again, AnalogDense) and again.adc_gain.initial == layer.adc_gain.initial


@keras.saving.register_keras_serializable(package="tests_layers")
class HandMade(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        gain = ADCGain()
        self.hidden = AnalogDense(5, adc_gain=gain, calibrated=True)
        self.out = AnalogDense(2, adc_gain=gain, calibrated=True)

    def call(self, inputs: Any) -> Any:
        return self.out(self.hidden(inputs))


def test_a_subclassed_model_that_makes_analog_layers_goes_through_a_file(tmp_path: Path) -> None:
    model, inputs = HandMade(), DATA.reshape(30, -1)
    model(inputs)
    model.hidden.adc_gain.gain.assign(0.123)
    assert_one_gain(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_one_gain(loaded)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_the_gain_goes_into_hand_made_models_too() -> None:
    gain = ADCGain(0.5)
    model = keras.Sequential([keras.Input((4,)), AnalogDense(3, adc_gain=gain), AnalogDense(2, adc_gain=gain)])
    assert_one_gain(model, 0.5)


def test_per_layer_gains(tmp_path: Path) -> None:
    model = to_analog(functional(), Crossbar(adc_gain="per_layer"))
    assert len(gains(model)) == 4
    calibrate(model, DATA)
    values = [float(gain.gain.numpy()) for gain in gains(model)]
    assert len(set(values)) == 4
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [float(gain.gain.numpy()) for gain in gains(loaded)] == values
    assert len(gains(keras.models.clone_model(model))) == 4


@pytest.mark.parametrize("initial", [0, -1, "a", float("inf")])
def test_a_gain_must_be_positive(initial) -> None:
    with pytest.raises(ValueError, match="`initial` of ADCGain must be a number from"):
        ADCGain(initial)


def test_equal_models_have_equal_configs() -> None:
    texts = []
    for _ in range(2):
        keras.utils.clear_session()  # Keras counts the names it gives
        texts.append(json.dumps(analog_of(nested).get_config(), sort_keys=True))
    assert texts[0] == texts[1] and '"shared": 0' in texts[0] and '"shared": 1' not in texts[0]
    assert "shared_object_id" not in json.dumps(analog_layers(analog_of(nested))[0].get_config())


@pytest.mark.parametrize("make", [functional, sequential, nested])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_layer_copied_alone_shares_with_nobody(make, place) -> None:
    model = analog_of(make)
    loose = []
    for index in (place, 0):
        layer = analog_layers(model)[index]
        loose.append(type(layer).from_config(layer.get_config()))
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.get_config() == loose[-1].get_config() == layer.get_config()
        loose.append(again)
    clone = keras.models.clone_model(model)
    assert_one_gain(clone, None)
    found = {id(layer.adc_gain) for layer in loose} | {id(gains(model)[0]), id(gains(clone)[0])}
    assert len(found) == len(loose) + 2
    assert len(clone.get_weights()) == len(model.get_weights())


def ensemble() -> tuple[keras.Model, list[keras.Model]]:
    """Return two copies of one model behind each other and beside a third, with layers of the same names."""
    model = analog_of(sequential)
    members = [keras.models.clone_model(model) for _ in range(3)]
    for number, member in enumerate(members):
        member.name = f"member_{number}"
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, [member(inputs) for member in members]), members


def test_models_in_one_model_keep_their_own_gains(tmp_path: Path) -> None:
    whole, members = ensemble()
    for number, member in enumerate(members):
        gains(member)[0].gain.assign(0.1 + number)
    whole.save(tmp_path / "whole.keras")
    copies = [
        keras.models.load_model(tmp_path / "whole.keras"),
        keras.models.clone_model(whole),
        keras.models.clone_model(whole, recursive=True),
        keras.Model.from_config(json.loads(json.dumps(whole.get_config()))),
    ]
    for copied in copies:
        assert len(gains(copied)) == 3 and len(copied.get_weights()) == len(whole.get_weights())
        copied.set_weights(whole.get_weights())
        np.testing.assert_array_equal(copied(DATA)[1], whole(DATA)[1])
        for number in range(3):
            (gain,) = gains(copied.get_layer(f"member_{number}"))
            assert float(gain.gain.numpy()) == pytest.approx(0.1 + number)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=strategies.data())
def test_copies_share_gains_as_their_originals_do_and_with_no_others(data) -> None:
    """Whatever is copied, from what part of a model, in whatever order, and kept."""
    shared = [ADCGain(0.5) for _ in range(2)]
    whose = data.draw(strategies.lists(strategies.integers(0, 2), min_size=2, max_size=5))
    x = start = keras.Input((4,))
    tensors = []
    for number, owner in enumerate(whose):
        x = AnalogDense(4, adc_gain=shared[owner] if owner < 2 else None, name=f"dense_{number}")(x)
        tensors.append(x)
    model, kept = keras.Model(start, x), []
    for how in data.draw(strategies.lists(strategies.sampled_from(["clone", "config", "json", "part", "loose"]))):
        first = data.draw(strategies.integers(0, len(whose) - 1))
        if how == "loose":
            layer = model.get_layer(f"dense_{first}")
            copied = [type(layer).from_config(layer.get_config())]
        else:
            part = model if how != "part" else keras.Model(tensors[0], tensors[first or -1], name="part")
            made = {
                "config": lambda one: keras.Model.from_config(one.get_config()),
                "json": lambda one: keras.models.model_from_json(one.to_json()),
            }.get(how, keras.models.clone_model)(part)
            copied = analog_layers(made)
            originals = analog_layers(part)
            assert [a.name for a in copied] == [b.name for b in originals]
            for a, b in itertools.product(range(len(copied)), repeat=2):
                alike = originals[a].adc_gain is originals[b].adc_gain
                assert (copied[a].adc_gain is copied[b].adc_gain) == alike
        kept.append({id(layer.adc_gain): layer.adc_gain for layer in copied})
    every = [gain for one in [*kept, {id(gain): gain for gain in gains(model)}] for gain in one]
    assert len(set(every)) == len(every)


def test_nothing_outlives_a_copy() -> None:
    model = analog_of(functional)
    gone = weakref.ref(gains(keras.models.clone_model(model))[0])
    gc.collect()
    assert gone() is None


def test_files_of_earlier_versions_keep_what_was_shared() -> None:
    model = analog_of(functional)
    text = model.to_json().replace('"shared": 0', '"shared_object_id": 123456789, "layer": 4711')
    assert "4711" in text
    assert_one_gain(keras.models.model_from_json(text), None)


def test_layers_made_analog_later_share_the_gain_of_those_before() -> None:
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="a"), keras.layers.Dense(3, name="b")])
    inputs = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    partly = to_analog(net, exempt="b")
    calibrate(partly, inputs)
    partly.get_layer("a").adc_gain.gain.assign(0.5)
    whole = to_analog(partly)
    first, second = analog_layers(whole)
    assert first.adc_gain is second.adc_gain is not partly.get_layer("a").adc_gain
    assert float(first.adc_gain.gain.value) == 0.5
