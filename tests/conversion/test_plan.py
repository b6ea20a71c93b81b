"""A plan says what a conversion will do, converts nothing, and changes nothing."""

from __future__ import annotations

import dataclasses
import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import analognets as an
from analognets.conversion import Plan, plan, to_analog, to_digital
from analognets.conversion.report import LayerConversion
from analognets.crossbar import Crossbar
from analognets.errors import ConversionError, UnknownNameError
from analognets.zoo.tasks import MODELS

sys.path.insert(0, str(Path(__file__).parent))
import test_any_model
import test_to_analog

L = keras.layers
ZOO = sorted(set(MODELS) - {"finetuned"})  # which takes its network from a preset


def rows(table: Any) -> dict[str, dict[str, Any]]:
    """Return the rows of a plan or report by path."""
    names = [field.name for field in dataclasses.fields(LayerConversion)]
    return {row.path: {name: getattr(row, name) for name in names} for row in table.layers}


def zoo(name: str) -> keras.Model:
    return getattr(importlib.import_module(MODELS[name]), name)()


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_becomes_what_was_planned(name: str) -> None:
    model = zoo(name)
    planned = plan(model, "aimc_standard")
    report = to_analog(model, "aimc_standard").conversion_report
    assert rows(planned) == rows(report) and len(planned.layers) == len(report.layers)
    assert planned.summary == report.summary


@pytest.mark.parametrize("make", [*test_any_model.MODELS, *test_to_analog.MODELS])
def test_models_of_all_kinds_become_what_was_planned(make: Callable[[], Any]) -> None:
    made = make()
    model = made[0] if isinstance(made, tuple) else made
    planned, report = plan(model), to_analog(model).conversion_report
    assert [entry["path"] for entry in planned.rows()] == list(rows(planned))
    found = {entry.path: (entry.kind, entry.why, entry.tiles, entry.macs) for entry in planned.layers}
    assert found == {entry.path: (entry.kind, entry.why, entry.tiles, entry.macs) for entry in report.layers}


@pytest.mark.parametrize(("name", "size", "products"), [("ResNet50", 224, 54), ("MobileNetV3Small", 64, 53)])
def test_large_networks_are_planned_from_their_shapes(name: str, size: int, products: int) -> None:
    model = getattr(keras.applications, name)(input_shape=(size, size, 3), weights=None)
    planned = plan(model)
    assert len(planned.converted) == len(planned.products) >= products
    for entry in planned.converted:
        assert entry.macs == entry.positions * entry.size and entry.tiles >= entry.row_blocks >= 1
    if name == "ResNet50":
        assert planned.macs_share == 1.0
        assert sum(entry.macs for entry in planned.converted) == 3_857_973_248  # 3.8 billion, as He et al. say


def state(model: keras.Model) -> Any:
    from keras.src.backend.common import global_state

    counters = dict(global_state.get_global_attribute("object_name_uids", {}))
    attributes = {layer.name: sorted(vars(layer)) for layer in model._flatten_layers()}
    return random.getstate(), counters, attributes, [layer._inbound_nodes for layer in model._flatten_layers()]


@pytest.mark.parametrize("make", [zoo, test_to_analog.subclassed, test_to_analog.wrapped, test_any_model.volumes])
def test_a_plan_changes_nothing(make: Callable[..., Any]) -> None:
    made = make("lstm_kws") if make is zoo else make()
    model = made[0] if isinstance(made, tuple) else made
    before, weights = repr(state(model)), model.get_weights()
    drawn = np.random.get_state()[1].tolist()
    plan(model, "aimc_standard", exempt=model.layers[-1].name)
    assert repr(state(model)) == before and np.random.get_state()[1].tolist() == drawn
    for now, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, old)


def net() -> keras.Model:
    inputs = keras.Input((10, 10, 3))
    x = L.Conv2D(4, 5, strides=2, name="big")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Conv2D(40, 3, groups=2, name="grouped")(x)
    return keras.Model(inputs, L.Dense(600, name="logits")(L.Flatten()(x)), name="net")


def test_what_a_plan_tells() -> None:
    planned = an.plan(net(), Crossbar(rows=20, cols=512, name="flat"), exempt="grouped")
    assert isinstance(planned, Plan)
    big, norm, grouped, logits = planned.layers
    assert (big.converted, big.why) == (False, "one input channel needs more than the 20 rows of a tile")
    assert (big.becomes, big.shape, big.size, big.stride) == ("AnalogConv2D", (5, 5, 3, 4), 300, 2)
    assert (big.positions, big.macs, big.inputs, big.outputs, big.row_blocks) == (9, 2700, 300, 36, 0)
    assert (norm.why, norm.shape, norm.positions) == ("a scale and shift per channel, digital by design", (), None)
    assert (grouped.why, grouped.shape, grouped.size) == ("exempt by request", (3, 3, 4, 40), 720)
    assert (logits.rows, logits.cols, logits.tiles, logits.row_blocks) == (40, 600, 4, 2)
    text = str(planned)
    assert "  digital   big (Conv2D): one input channel" in text
    assert "  analog    logits (Dense): 40 x 600 cells, tiles: 4" in text
    table = planned.to_dataframe()
    assert list(table["positions"].dropna()) == [9, 1, 1] and list(table["becomes"])[1] == ""
    assert planned.to_dict()["layers"][0]["shape"] == (5, 5, 3, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        planned.hardware = "other"


def test_a_plan_without_analog_layers_is_a_plan_and_its_check_says_so() -> None:
    model = keras.Sequential([keras.Input((4, 3, 2)), L.ConvLSTM1D(2, 2)], name="left")
    planned = plan(model)
    assert not planned.converted and len(planned.left) == 1
    with pytest.raises(ConversionError, match="Model 'left' has no layer to convert"):
        planned.check()
    fine = plan(net())
    assert fine.check() is fine


def test_other_things_are_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match="Unknown layer to exempt. Did you mean 'grouped'"):
        plan(net(), exempt="groupd")
    with pytest.raises(UnknownNameError, match="Unknown hardware preset"):
        plan(net(), "aon_cim_8")
    with pytest.raises(ConversionError, match="must be a Keras model"):
        plan("net")
    with pytest.raises(ConversionError, match="is not built yet"):
        plan(keras.Sequential([L.Dense(2)]))


def test_an_analog_model_is_planned_as_it_is() -> None:
    model = net()
    before = {entry.path: (entry.shape, entry.positions) for entry in plan(model).layers}
    analog = to_analog(model, exempt="logits")
    planned = plan(analog)
    assert {entry.path: (entry.shape, entry.positions) for entry in planned.layers} == before
    assert [entry.why for entry in planned.layers] == ["already analog", planned.layers[1].why, "already analog", ""]
    recurrent = keras.Sequential([keras.Input((5, 3)), L.GRU(4, name="gru"), L.Dense(2)])
    counts = [entry.positions for entry in plan(recurrent).layers]
    assert counts == [entry.positions for entry in plan(to_analog(recurrent)).layers] == [5, 5, 1]
    assert plan(to_digital(to_analog(recurrent))).layers == plan(recurrent).layers


@keras.saving.register_keras_serializable(package="tests_plan")
class Late(L.Layer):
    """A block that makes its layers when it is built."""

    def build(self, shape: Any) -> None:
        self.dense, self.norm = L.Dense(shape[-1], name="dense"), L.BatchNormalization(name="norm")
        self.dense.build(shape)
        self.norm.build(shape)

    def call(self, inputs: Any) -> Any:
        return self.norm(self.dense(inputs))


def test_layers_made_when_a_block_is_built_get_its_name_if_they_become_analog() -> None:
    inputs = keras.Input((4,))
    report = to_analog(keras.Model(inputs, Late(name="late")(inputs))).conversion_report
    assert [(entry.layer, entry.path) for entry in report.layers] == [
        ("late_dense", "late/dense"),
        ("norm", "late/norm"),
    ]


def test_a_run_tells_what_shapes_do_not() -> None:
    model, _ = test_to_analog.subclassed()
    expected = model.get_weights()
    block = [entry for entry in plan(model).layers if entry.path.startswith("block_0") and entry.shape]
    assert [entry.positions for entry in block] == [None, None]
    seen = plan(model, inputs=np.zeros((1, 6), np.float32))
    assert [entry.positions for entry in seen.layers if entry.shape] == [1] * 8
    names = {entry.layer for entry in to_analog(model).conversion_report.converted}
    assert {entry.layer for entry in seen.converted} == names, "with the names that layers made by blocks get"
    for now, before in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(now, before)
    open_sizes = test_any_model.any_length()
    assert [entry.positions for entry in plan(open_sizes, inputs=np.zeros((1, 7, 6))).layers] == [7, 1]
    cells = keras.Sequential([keras.Input((None, 3)), L.RNN([L.LSTMCell(2), L.GRUCell(2)]), L.Dense(2)])
    assert [entry.positions for entry in plan(cells, inputs=np.zeros((1, 5, 3))).layers] == [5, 5, 5, 5, 1]
