"""The conversion says what was converted, what was left and why; what can't be converted is one sentence."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import ConversionReport, to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError
from analognets.layers import AnalogDense, analog_layers

L = keras.layers


@keras.saving.register_keras_serializable(package="tests_conversion")
class OwnDense(L.Dense):
    pass


@keras.saving.register_keras_serializable(package="tests_conversion")
class OwnAnalog(AnalogDense):
    pass


def mixed() -> keras.Model:
    inputs = keras.Input((10, 10, 3))
    x = L.Conv2D(4, 5, name="big")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    x = L.PReLU(name="prelu")(x)
    x = L.Conv2DTranspose(4, 3, name="transposed")(x)
    x = L.DepthwiseConv2D(3, name="depth")(x)
    x = L.Reshape((36, 4))(x)
    x = L.GRU(4, name="gru")(x)
    x = OwnDense(4, name="own")(x)
    return keras.Model(inputs, L.Dense(600, name="logits")(x), name="mixed")


def test_report() -> None:
    report = to_analog(mixed(), Crossbar(rows=24, name="flat"), exempt=["depth"]).conversion_report
    assert isinstance(report, ConversionReport)
    assert {layer.layer: layer.why for layer in report.left} == {
        "big": "one input channel needs more than the 24 rows of a tile",
        "norm": "a scale and shift per channel, digital by design",
        "prelu": "an activation, digital by design",
        "transposed": "a transposed convolution, which has no analog version",
        "depth": "exempt by request",
        "own": "a subclass of Dense whose call may differ",
    }
    *gru, dense = report.converted
    assert [(part.layer, part.kind, part.rows, part.cols, part.weights) for part in gru] == [
        ("gru_input", "GRU", 4, 12, 48 + 24),
        ("gru_recurrent", "GRU", 4, 12, 48),
    ]
    assert (dense.layer, dense.kind, dense.rows, dense.cols, dense.tiles, dense.weights) == (
        "logits",
        "Dense",
        4,
        600,
        2,
        3000,
    )
    text = str(report)
    weights = sum(layer.weights for layer in report.layers)
    macs = {
        "big": 36 * 300, "transposed": 36 * 144, "depth": 36 * 36, "gru_input": 36 * 48, "gru_recurrent": 36 * 48,
        "own": 16, "logits": 2400,
    }  # fmt: skip
    assert {layer.layer: layer.macs for layer in report.products} == macs
    assert report.weights_share == 2496 / weights and report.macs_share == (2400 + 36 * 96) / sum(macs.values())
    shares = f"{100 * 2496 / weights:.1f} % of weights, {100 * report.macs_share:.1f} % of multiplications"
    assert text.startswith(f"3 of 7 products analog ({shares}) on flat")
    assert "converted logits (Dense): 4 x 600 cells, tiles: 2" in text
    assert "left      depth (DepthwiseConv2D): exempt by request" in text


def test_report_counts_the_cells_of_depthwise_and_grouped_kernels() -> None:
    model = keras.Sequential(
        [keras.Input((9, 9, 4)), L.DepthwiseConv2D(3, depth_multiplier=2, name="d"), L.Conv2D(6, 2, groups=2, name="g")]
    )
    depth, grouped = to_analog(model).conversion_report.converted
    assert (depth.rows, depth.cols, depth.weights) == (36, 8, 80)
    assert (grouped.rows, grouped.cols, grouped.weights) == (32, 6, 102)


def test_attention_is_reported_by_projection_and_what_stays_digital_is_said() -> None:
    inputs = keras.Input((5, 6))
    outputs = L.Dense(2)(L.MultiHeadAttention(2, 3, name="attention")(inputs, inputs))
    report = to_analog(keras.Model(inputs, outputs)).conversion_report
    assert {layer.path: (layer.rows, layer.cols, layer.macs) for layer in report.converted[:4]} == {
        "attention/attention_query": (6, 6, 5 * 36),
        "attention/attention_key": (6, 6, 5 * 36),
        "attention/attention_value": (6, 6, 5 * 36),
        "attention/attention_attention_output": (6, 6, 5 * 36),
    }
    (scores,) = report.left
    assert (scores.layer, scores.weights, scores.product) == ("attention", 0, False)
    assert scores.why == "scores and weighted sum multiply activations with each other, digital by design"
    assert report.macs_share == 1.0 and len(report.products) == 5


def test_report_of_the_way_back() -> None:
    report = to_digital(to_analog(mixed())).conversion_report
    assert report.hardware == "digital"
    assert [layer.layer for layer in report.converted] == ["big", "depth", "gru_input", "gru_recurrent", "logits"]


def blocks() -> keras.Model:
    block = keras.Sequential([keras.Input((4,)), L.Dense(4, name="inside"), L.Dense(4, name="also")], name="block")
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.Dense(2, name="out")(block(inputs)))


@pytest.mark.parametrize(
    ("exempt", "converted"),
    [
        ((), ["inside", "also", "out"]),
        ("out", ["inside", "also"]),
        (["inside"], ["also", "out"]),
        ({"block"}, ["out"]),
        (iter(["also", "out"]), ["inside"]),
    ],
)
def test_exempt(exempt: Any, converted: list[str]) -> None:
    model = to_analog(blocks(), exempt=exempt)
    assert sorted(layer.name for layer in analog_layers(model)) == sorted(converted)


def test_an_unknown_exempt_layer_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Unknown layer to exempt. Did you mean 'inside'"):
        to_analog(blocks(), exempt=["insides"])


def test_nothing_to_convert_is_one_sentence() -> None:
    model = keras.Sequential([keras.Input((4, 3, 2)), L.ConvLSTM1D(2, 2), L.BatchNormalization()], name="recurrent")
    sentence = (
        "Model 'recurrent' has no layer to convert; analog versions exist for Dense, EinsumDense, Conv1D, "
        "Conv2D, Conv3D, DepthwiseConv1D, DepthwiseConv2D, SimpleRNN, LSTM, GRU, SimpleRNNCell, LSTMCell, GRUCell, "
        r"MultiHeadAttention, GroupedQueryAttention, SeparableConv1D, SeparableConv2D\. "
        r"Received layers with weights: BatchNormalization, ConvLSTMCell\."
    )
    with pytest.raises(ConversionError, match=sentence):
        to_analog(model)
    with pytest.raises(ConversionError, match="Model 'recurrent' has no analog layer, so it is digital already"):
        to_digital(model)
    with pytest.raises(ConversionError, match="Received layers with weights: none"):
        to_analog(keras.Sequential([keras.Input((4,)), L.ReLU()]))
    with pytest.raises(ConversionError, match=r"Received layers with weights: AnalogDense\."):
        to_analog(to_analog(blocks()))


class Bare(keras.Model):
    def __init__(self, size: int) -> None:
        super().__init__(name="bare")
        self.dense = L.Dense(size)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def get_config(self) -> dict[str, Any]:
        return {}


def test_unbuilt_models_are_one_sentence() -> None:
    for model in (keras.Sequential([L.Dense(3)], name="bare"), Bare(3)):
        with pytest.raises(
            ConversionError, match="Model 'bare' is not built yet, so its weights have no shape. Call it"
        ):
            to_analog(model)


def test_a_model_without_a_config_is_one_sentence() -> None:
    model = Bare(3)
    model(np.zeros((1, 4), np.float32))
    with pytest.raises(
        ConversionError, match=r"'bare' \(Bare\) can't be rebuilt from its config. Give the class a get_config"
    ):
        to_analog(model)


def test_other_things_are_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match="Unknown hardware preset. Did you mean 'aon_cim_8bit'"):
        to_analog(blocks(), "aon_cim_8")
    with pytest.raises(InvalidArgumentError, match="`weight_noise` of to_analog must be a number from 0"):
        to_analog(blocks(), weight_noise=-1)
    with pytest.raises(InvalidArgumentError, match=r"`noise_model` of to_analog must be one of .* Received: .*'foo'\."):
        to_analog(blocks(), noise_model="foo")
    for call in (to_analog, to_digital):
        with pytest.raises(ConversionError, match=r"must be a Keras model\. Received: 'model.keras'"):
            call("model.keras")


def test_a_subclass_of_an_analog_layer_goes_back() -> None:
    model = keras.Sequential([keras.Input((4,)), OwnAnalog(3)])
    assert type(to_digital(model).layers[0]) is L.Dense
