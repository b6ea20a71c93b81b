"""What a model asks of an accelerator: every product, counted as often as it is called."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.deploy.accelerator import cost, workload
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError

layers = keras.layers


def by_name(model: keras.Model, **settings: object) -> dict:
    return {layer.name: layer for layer in workload(model, **settings).layers}


def test_positions_are_those_of_the_outputs() -> None:
    inputs = keras.Input((9, 7, 2))
    x = layers.Conv2D(4, 3, padding="same", strides=2, name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2D(6, (2, 1), groups=2, name="grouped")(x)
    x = layers.Dense(5, name="per_position")(x)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(x)))
    found = by_name(model)
    assert {name: (layer.rows, layer.cols, layer.weights, layer.positions) for name, layer in found.items()} == {
        "conv": (18, 4, 72, 5 * 4),
        "depthwise": (36, 4, 36, 3 * 2),
        "grouped": (8, 6, 24, 2 * 2),
        "per_position": (6, 5, 30, 2 * 2),
        "logits": (20, 3, 60, 1),
    }
    assert found["conv"].operations == 2 * 20 * 72
    assert found["conv"].fresh == 12  # two of three columns of the window are new with stride 2
    assert (found["conv"].inputs, found["conv"].outputs) == (9 * 7 * 2, 5 * 4 * 4)


def test_shared_layers_and_time_steps_count_once_in_cells_and_each_time_in_positions() -> None:
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((5, 4))
    stepped = layers.TimeDistributed(layers.Dense(4, name="step"))(inputs)
    first, second = shared(layers.Flatten()(stepped)[:, :4]), shared(layers.GlobalAveragePooling1D()(inputs))
    model = keras.Model(inputs, first + second + shared(first))
    found = by_name(model)
    assert {name: (layer.weights, layer.positions) for name, layer in found.items()} == {
        "step": (16, 5),
        "shared": (16, 3),
    }


def test_a_subclassed_model_is_counted_by_running_it(nets: object) -> None:
    found = by_name(nets.subclassed())
    assert {name: layer.positions for name, layer in found.items()} == {"stem": 35, "inner": 35, "head": 1}


def test_an_analog_model_keeps_its_digital_layers_and_is_left_as_it_was(nets: object) -> None:
    net = nets.small_net()
    plain = by_name(net)
    analog = to_analog(net, exempt=["conv_2"])
    found = by_name(analog)
    assert {name: layer.positions for name, layer in found.items()} == {
        name: layer.positions for name, layer in plain.items()
    }
    assert {name for name, layer in found.items() if not layer.analog} == {"conv_2"}
    fully = to_analog(net)
    sample = np.ones((1, 7, 5, 2), np.float32)
    before = fully(sample)
    assert by_name(fully) == plain
    np.testing.assert_array_equal(fully(sample), before)


def test_depthwise_and_named_layers_can_be_left_digital() -> None:
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.DepthwiseConv2D(3, name="dw"),
            layers.Conv2D(2, 1, name="a"),
            layers.Dense(2, name="b"),
        ]
    )
    found = by_name(model, depthwise="digital", digital="b")
    assert {name: layer.why_digital for name, layer in found.items()} == {
        "dw": "depthwise layers are left digital",
        "a": "",
        "b": "by request",
    }
    with pytest.raises(UnknownNameError, match="Did you mean 'dw'"):
        workload(model, digital=["dww"])
    with pytest.raises(InvalidArgumentError, match="`depthwise` of workload must be one of 'analog', 'digital'"):
        workload(model, depthwise="off")


def test_layers_no_accelerator_has_are_named() -> None:
    rows = [keras.Input((4, 3)), layers.Conv1DTranspose(2, 2, name="up"), layers.Dense(2, name="out")]
    work = workload(keras.Sequential(rows))
    assert [layer.name for layer in work.layers] == ["out"]
    assert len(work.unmodelled) == 1 and "transposed" in work.unmodelled[0][2]


def test_a_recurrent_layer_is_two_products_a_step() -> None:
    model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(2, name="memory"), layers.Dense(2, name="out")])
    found = {name: (layer.kernel, layer.positions) for name, layer in by_name(model).items()}
    assert found == {"memory_input": ((3, 8), 4), "memory_recurrent": ((2, 8), 4), "out": ((2, 2), 1)}
    assert by_name(to_analog(model)) == by_name(model)


def test_open_sizes_need_an_input_shape() -> None:
    model = keras.Sequential([keras.Input((None, 3)), layers.Conv1D(2, 2, name="conv")])
    with pytest.raises(InvalidArgumentError, match="Give input_shape"):
        workload(model)
    assert workload(model, input_shape=(11, 3)).layers[0].positions == 10
    with pytest.raises(InvalidArgumentError, match="must fit the inputs"):
        workload(model, input_shape=(11, 4))


def test_several_inputs() -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((6, 2), name="right")
    joined = layers.Concatenate()([layers.Dense(3, name="a")(left), layers.Flatten()(layers.Dense(2, name="b")(right))])
    model = keras.Model({"left": left, "right": right}, layers.Dense(1, name="c")(joined))
    assert {name: layer.positions for name, layer in by_name(model).items()} == {"a": 1, "b": 6, "c": 1}


def test_what_can_not_be_costed_is_refused() -> None:
    with pytest.raises(ConversionError, match="must be a Keras model"):
        workload("analognet_kws")
    with pytest.raises(ConversionError, match="no layer to convert"):
        workload(keras.Sequential([keras.Input((4,)), layers.ReLU()]))


def test_products_of_activations_are_named_as_not_counted() -> None:
    inputs = keras.Input((6, 8))
    mixed = layers.MultiHeadAttention(2, 4, name="mha")(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(mixed)))
    assert workload(model).attention == ("mha",)
    assert "Products of activations with each other, in mha, are not counted." in cost(model).statement
    assert "not counted" not in cost(keras.Sequential([keras.Input((4,)), layers.Dense(2)])).statement


def test_layers_of_one_name_keep_their_own_converters() -> None:
    blocks = [keras.Sequential([keras.Input((8,)), layers.Dense(8, name="d")], name=name) for name in "ab"]
    analog = to_analog(
        keras.Sequential([keras.Input((8,)), *blocks]), {"default": "aon_cim_8bit", "a/d": "aon_cim_4bit"}
    )
    assert {layer.path: layer.bits for layer in workload(analog).layers} == {"a/d": 4, "b/d": 8}


@pytest.mark.parametrize(("stride", "dilation", "taps"), [(1, 1, 1), (2, 1, 2), (5, 1, 3), (1, 2, 3)])
def test_a_dilated_window_meets_inputs_again_only_at_its_taps(stride: int, dilation: int, taps: int) -> None:
    conv = layers.Conv1D(4, 3, strides=stride, dilation_rate=dilation, name="conv")
    assert by_name(keras.Sequential([keras.Input((30, 5)), conv]))["conv"].fresh == 5 * taps
