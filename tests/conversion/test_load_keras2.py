"""Files of Keras 2 compute here what they computed there: every layer, with random weights, in both formats."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from analognets.conversion import load_model
from analognets.errors import ConversionError, DataError
from analognets.layers import hard_sigmoid_v2

k2 = pytest.importorskip("tf_keras", reason="files of Keras 2 are written by tf-keras, which the extra 'tfmot' brings")
L = k2.layers
Net = Callable[[], Any]


def stack(shape: tuple[int | None, ...], *layers: Any) -> Net:
    """Return how to make a Sequential of layers given as functions, so that nothing is made on import."""
    return lambda: k2.Sequential([L.Input(shape), *(layer() for layer in layers)])


def one(shape: tuple[int | None, ...], name: str, /, **settings: Any) -> Net:
    return stack(shape, lambda: getattr(L, name)(**settings))


PICTURE, STEPS, ROW, CUBE = (8, 8, 4), (7, 6), (6,), (5, 5, 5, 2)
ACTIVATIONS = (
    "elu exponential gelu hard_sigmoid linear mish relu selu sigmoid softmax softplus softsign swish tanh leaky_relu"
).split()

NETS: dict[str, Net] = {
    **{f"activation {name}": one(ROW, "Dense", units=5, activation=name) for name in ACTIVATIONS},
    **{f"layer of activation {name}": one(ROW, "Activation", activation=name) for name in ("hard_sigmoid", "gelu")},
    "hard_sigmoid in a convolution": one(PICTURE, "Conv2D", filters=3, kernel_size=3, activation="hard_sigmoid"),
    "hard_sigmoid separable": one(PICTURE, "SeparableConv2D", filters=3, kernel_size=3, activation="hard_sigmoid"),
    "hard_sigmoid over time": stack(STEPS, lambda: L.TimeDistributed(L.Dense(3, activation="hard_sigmoid"))),
    "hard_sigmoid of a GRU both ways": stack(
        STEPS, lambda: L.Bidirectional(L.GRU(3, recurrent_activation="hard_sigmoid", activation="hard_sigmoid"))
    ),
    "hard_sigmoid of a cell": stack(STEPS, lambda: L.RNN(L.LSTMCell(3, recurrent_activation="hard_sigmoid"))),
    "hard_sigmoid of stacked cells": stack(
        STEPS, lambda: L.RNN([L.GRUCell(3, recurrent_activation="hard_sigmoid"), L.SimpleRNNCell(2)])
    ),
    "hard_sigmoid of an einsum": one(STEPS, "EinsumDense", equation="abc,cd->abd", output_shape=(None, 3),
                                     activation="hard_sigmoid"),
    "LeakyReLU": one(ROW, "LeakyReLU"),
    "LeakyReLU 0.1": one(ROW, "LeakyReLU", alpha=0.1),
    "LeakyReLU as activation": stack(ROW, lambda: L.Dense(4, activation=L.LeakyReLU(0.2))),
    "ELU": one(ROW, "ELU", alpha=0.7),
    "PReLU": one(PICTURE, "PReLU", shared_axes=[1, 2]),
    "ReLU": one(ROW, "ReLU", max_value=1.0, negative_slope=0.1, threshold=0.2),
    "ThresholdedReLU": one(ROW, "ThresholdedReLU", theta=0.4),
    "Softmax": one(PICTURE, "Softmax", axis=[1, 2]),
    "Softmax last": one(PICTURE, "Softmax", axis=1),
    "Dense": one(PICTURE, "Dense", units=3, use_bias=False),
    "Embedding": stack(STEPS[:1], lambda: L.Embedding(30, 4, input_length=7), lambda: L.Flatten()),
    "Embedding masked": stack(STEPS[:1], lambda: L.Embedding(30, 4, mask_zero=True), lambda: L.LSTM(3)),
    "Masking": stack(STEPS, lambda: L.Masking(0.0), lambda: L.GRU(3, return_sequences=True)),
    "Conv1D causal": one(STEPS, "Conv1D", filters=3, kernel_size=3, padding="causal", dilation_rate=2),
    "Conv2D": one(PICTURE, "Conv2D", filters=4, kernel_size=(2, 3), strides=2, padding="same", groups=2),
    "Conv3D": one(CUBE, "Conv3D", filters=2, kernel_size=2, dilation_rate=2),
    "DepthwiseConv1D": one(STEPS, "DepthwiseConv1D", kernel_size=3, depth_multiplier=2),
    "DepthwiseConv2D": one(PICTURE, "DepthwiseConv2D", kernel_size=3, strides=2, padding="same"),
    "SeparableConv1D": one(STEPS, "SeparableConv1D", filters=3, kernel_size=3, strides=2),
    "SeparableConv2D": one(PICTURE, "SeparableConv2D", filters=3, kernel_size=3, depth_multiplier=2, dilation_rate=2),
    "Conv1DTranspose": one(STEPS, "Conv1DTranspose", filters=3, kernel_size=3, strides=2, output_padding=1),
    "Conv2DTranspose": one(PICTURE, "Conv2DTranspose", filters=3, kernel_size=3, strides=2, padding="same"),
    "Conv2DTranspose padded": one(PICTURE, "Conv2DTranspose", filters=3, kernel_size=3, strides=3, output_padding=1),
    "Conv2DTranspose dilated": one(PICTURE, "Conv2DTranspose", filters=3, kernel_size=3, dilation_rate=2),
    "Conv3DTranspose": one(CUBE, "Conv3DTranspose", filters=2, kernel_size=2, strides=2),
    **{f"{way} {name}": one(shape, f"{way}Pooling{name}", **settings)
       for way in ("Average", "Max")
       for name, shape, settings in (("1D", STEPS, {"padding": "same"}), ("2D", PICTURE, {"strides": 3, "padding": "same"}),  # noqa: E501
                                     ("3D", CUBE, {}))},
    **{f"global {way} {name}": one(shape, f"Global{way}Pooling{name}", keepdims=True)
       for way in ("Average", "Max") for name, shape in (("1D", STEPS), ("2D", PICTURE), ("3D", CUBE))},
    "global average masked": stack(STEPS, lambda: L.Masking(), lambda: L.GlobalAveragePooling1D()),
    "BatchNormalization": one(PICTURE, "BatchNormalization", epsilon=0.01, scale=False),
    "BatchNormalization axis 1": one(PICTURE, "BatchNormalization", axis=1),
    "LayerNormalization": one(PICTURE, "LayerNormalization", axis=[1, 2]),
    "LayerNormalization last": one(PICTURE, "LayerNormalization", center=False),
    "GroupNormalization": one(PICTURE, "GroupNormalization", groups=2),
    "UnitNormalization": one(PICTURE, "UnitNormalization", axis=[1, 2]),
    "Rescaling": one(PICTURE, "Rescaling", scale=0.3, offset=1.0),
    "Normalization set": one(ROW, "Normalization", mean=[1.0] * 6, variance=[4.0] * 6),
    "CenterCrop": one(PICTURE, "CenterCrop", height=5, width=3),
    "CenterCrop larger": one(PICTURE, "CenterCrop", height=12, width=9),
    **{f"Resizing {how}": one(PICTURE, "Resizing", height=5, width=11, interpolation=how)
       for how in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")},
    "Resizing cropped": one(PICTURE, "Resizing", height=5, width=11, crop_to_aspect_ratio=True),
    **{f"UpSampling2D {how}": one(PICTURE, "UpSampling2D", size=(2, 3), interpolation=how)
       for how in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area")},
    "UpSampling1D": one(STEPS, "UpSampling1D", size=3),
    "UpSampling3D": one(CUBE, "UpSampling3D"),
    "Cropping, padding": stack(PICTURE, lambda: L.Cropping2D(((1, 0), (2, 1))), lambda: L.ZeroPadding2D((1, 2))),
    "Cropping, padding 1D": stack(STEPS, lambda: L.ZeroPadding1D((1, 2)), lambda: L.Cropping1D(1)),
    "Cropping, padding 3D": stack(CUBE, lambda: L.ZeroPadding3D(), lambda: L.Cropping3D((2, 1, 1))),
    "Flatten channels first": one(PICTURE, "Flatten", data_format="channels_first"),
    "Permute, Reshape, Repeat": stack(STEPS, lambda: L.Permute((2, 1)), lambda: L.Reshape((-1,)),
                                      lambda: L.RepeatVector(3)),
    **{f"{name} {tuple(settings)}": one(STEPS, name, units=3, **settings)
       for name in ("LSTM", "GRU", "SimpleRNN")
       for settings in ({}, {"return_sequences": True, "go_backwards": True}, {"implementation": 1, "unroll": True},
                        {"use_bias": False, "recurrent_dropout": 0.2})},
    "LSTM of old": one(STEPS, "LSTM", units=3, recurrent_activation="hard_sigmoid", unit_forget_bias=False),
    "GRU reset before": one(STEPS, "GRU", units=3, reset_after=False, recurrent_activation="hard_sigmoid"),
    **{f"Bidirectional {mode}": stack(STEPS, lambda mode=mode: L.Bidirectional(L.LSTM(3, return_sequences=True),
                                                                             merge_mode=mode))
       for mode in ("concat", "sum", "mul", "ave")},
    "Bidirectional of two": stack(STEPS, lambda: L.Bidirectional(
        L.LSTM(3), backward_layer=L.GRU(3, go_backwards=True, recurrent_activation="hard_sigmoid"))),
    **{f"ConvLSTM{n}D": one(shape, f"ConvLSTM{n}D", filters=2, kernel_size=2, padding="same")
       for n, shape in ((1, (3, 5, 2)), (2, (3, 5, 5, 2)), (3, (2, 3, 3, 3, 2)))},
    "TimeDistributed": stack((3, *PICTURE), lambda: L.TimeDistributed(L.Conv2D(2, 3)),
                             lambda: L.TimeDistributed(L.BatchNormalization())),
    **{f"{name} {settings}": one(shape, name, **settings) for name, shape, settings in (
        ("Dropout", ROW, {"rate": 0.5}), ("SpatialDropout1D", STEPS, {"rate": 0.1}),
        ("SpatialDropout2D", PICTURE, {"rate": 0.1}), ("SpatialDropout3D", CUBE, {"rate": 0.1}),
        ("AlphaDropout", ROW, {"rate": 0.2}), ("GaussianDropout", ROW, {"rate": 0.2}),
        ("GaussianNoise", ROW, {"stddev": 0.2}), ("ActivityRegularization", ROW, {"l2": 0.1}),
        ("RandomFlip", PICTURE, {}), ("RandomFlip", PICTURE, {"mode": "horizontal", "seed": 3}),
        ("RandomRotation", PICTURE, {"factor": 0.1}),
        ("RandomZoom", PICTURE, {"height_factor": 0.1}), ("RandomContrast", PICTURE, {"factor": 0.1}),
        ("RandomTranslation", PICTURE, {"height_factor": 0.1, "width_factor": 0.2}),
        ("RandomBrightness", PICTURE, {"factor": 0.1}))},
    "regularised": stack(ROW, lambda: L.Dense(3, kernel_regularizer="l2", bias_constraint=k2.constraints.MaxNorm(2.0),
                                              activity_regularizer=k2.regularizers.L1L2(0.1, 0.2),
                                              kernel_initializer=k2.initializers.VarianceScaling(2.0))),
    "mixed_float16": stack(PICTURE, lambda: L.Conv2D(3, 3, dtype="mixed_float16"),
                           lambda: L.BatchNormalization(dtype=k2.mixed_precision.Policy("mixed_float16")),
                           lambda: L.Flatten(), lambda: L.Dense(2, dtype="float32")),
    "slash": stack(ROW, lambda: L.Dense(4, name="block/dense"), lambda: L.Dense(4, name="block_dense2/x")),
}  # fmt: skip


def frozen_base() -> Any:
    """Return a frozen base inside of a Sequential inside of a Sequential, as Teachable Machine writes them."""
    inputs = L.Input((8, 8, 3))
    x = L.BatchNormalization(name="one/norm")(L.Conv2D(4, 3, name="one/conv")(inputs))
    x = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(L.ReLU(6.0)(x)))
    y = L.BatchNormalization()(L.Conv2D(4, 1)(x))
    base = k2.Model(inputs, L.Add()([x, y]), name="base")
    base.trainable = False
    body = k2.Sequential([base, L.GlobalAveragePooling2D()], name="body")
    head = k2.Sequential([L.Dense(5, activation="relu", input_shape=(4,)), L.Dense(3, use_bias=False)], name="head")
    return k2.Sequential([body, head])


def partly_frozen() -> Any:
    inputs = L.Input((8, 8, 3))
    x = L.BatchNormalization()(L.Conv2D(3, 3)(inputs))
    x = L.BatchNormalization()(L.Conv2D(3, 3)(x))
    base = k2.Model(inputs, x, name="base")
    for layer in base.layers[:3]:
        layer.trainable = False
    outer = L.Input((8, 8, 3))
    y = L.Dense(2)(L.Flatten()(base(outer, training=False)))
    return k2.Model(outer, y)


def twice() -> Any:
    inner = k2.Sequential([L.Input((6,)), L.Dense(6, activation="tanh")], name="inner")
    inputs = L.Input((6,))
    return k2.Model(inputs, L.Subtract()([inner(inner(inputs)), inner(inputs)]))


def deferred_inside() -> Any:
    inner = k2.Sequential([L.Dense(6, activation="tanh"), L.Dense(4)], name="inner")
    inputs = L.Input((6,))
    return k2.Model(inputs, L.Dense(2)(inner(inputs)))


def several_ends() -> Any:
    a, b = L.Input((6,), name="a"), L.Input((6,), name="b")
    inner = k2.Model([a, b], [L.Add()([a, b]), L.Multiply()([a, b])], name="two")
    c, d = L.Input((6,), name="c"), L.Input((6,), name="d")
    s, p = inner([c, d])
    s2, p2 = inner([d, L.Dense(6)(p)])
    ends = [
        L.Dot(axes=1, normalize=True)([s, p]),
        L.Concatenate()([s2, p2]),
        L.Average()([s, p2]),
        L.Maximum()([s, p2]),
    ]
    return k2.Model([c, d], [*ends, L.Minimum()([c, s2]), inner([s, s])[0]])


def attention() -> Any:
    a, b = L.Input((5, 6)), L.Input((7, 6))
    x = L.MultiHeadAttention(2, 3, attention_axes=1)(a, b)
    x = L.MultiHeadAttention(2, 3, value_dim=2, output_shape=6)(query=x, value=b, key=b)
    y = L.Attention(use_scale=True, score_mode="concat")([x, b])
    return k2.Model([a, b], [L.AdditiveAttention()([y, b]), L.Attention(dropout=0.1)([y, b]), x])


def encoder_decoder() -> Any:
    a, b = L.Input((5, 6)), L.Input((7, 6))
    _, h, c = L.LSTM(4, return_state=True, recurrent_activation="hard_sigmoid")(a)
    x = L.LSTM(4, return_sequences=True)(b, initial_state=[h, c])
    forward = L.Bidirectional(L.GRU(4, return_sequences=True))(b, initial_state=[h, c])
    return k2.Model([a, b], [x, forward])


def squeeze_excite() -> Any:
    inputs = L.Input(PICTURE)
    x = L.GlobalAveragePooling2D(keepdims=True)(inputs)
    x = L.Conv2D(4, 1, activation="hard_sigmoid")(L.Conv2D(2, 1, activation="swish")(x))
    return k2.Model(inputs, L.Multiply()([inputs, x]))


NETS |= {f.__name__: f for f in (
    frozen_base, partly_frozen, twice, deferred_inside, several_ends, attention, encoder_decoder, squeeze_excite,
)}  # fmt: skip
ONLY_H5 = {"encoder_decoder"}  # Keras 2 itself can't read its own `.keras` file of it


def drawn(net: Any) -> list[np.ndarray]:
    """Give a network random weights; returns inputs for it."""
    rng = np.random.default_rng(7)
    net.set_weights([rng.uniform(0.1, 1.0, w.shape) if w.dtype != np.int64 else w for w in net.get_weights()])
    for layer in net._flatten_layers():
        for variable in layer._trainable_weights:
            variable.assign(rng.normal(0, 0.7, variable.shape))
    whole = any(isinstance(layer, L.Embedding) for layer in net.layers)
    return [
        rng.integers(0, 30, (3, *x.shape[1:])) if whole else rng.normal(0, 2, (3, *x.shape[1:])).astype("float32")
        for x in net.inputs
    ]


def written(net: Any, path: Path) -> Path:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            net.save(path)
        finally:
            logging.disable(logging.NOTSET)
    return path


def leaves(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(one) for one in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def compared(net: Any, path: Path) -> None:
    data = drawn(net)
    loaded = load_model(written(net, path))
    data = data[0] if len(data) == 1 else data
    for wanted, found in zip(leaves(net(data, training=False)), leaves(loaded(data, training=False)), strict=True):
        exact = wanted.dtype != np.float16
        np.testing.assert_allclose(found, wanted, rtol=1e-5 if exact else 1e-2, atol=2e-5 if exact else 1e-2)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_every_layer_computes_what_it_did(name: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".keras" and name in ONLY_H5:
        pytest.skip("Keras 2 has no whole `.keras` file of it")
    compared(NETS[name](), tmp_path / f"net{suffix}")


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the config of an `.h5` file."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config).encode()
    return path


def layer_of(config: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(entry["config"] for entry in config["config"]["layers"] if entry["class_name"] == kind)


def test_the_old_hard_sigmoid_goes_on_with_the_model(tmp_path: Path) -> None:
    from analognets.conversion import to_analog, to_digital

    net = NETS["hard_sigmoid of a GRU both ways"]()
    (data,) = drawn(net)
    wanted = net(data)
    loaded = load_model(written(net, tmp_path / "net.h5"))
    for model in (loaded, to_analog(loaded), to_digital(to_analog(loaded)), keras.models.clone_model(loaded)):
        model.save(tmp_path / "again.keras")
        again = keras.models.load_model(tmp_path / "again.keras")
        assert again.layers[0].forward_layer.cell.activation is hard_sigmoid_v2
    np.testing.assert_allclose(to_analog(loaded)(data), wanted, rtol=1e-4, atol=1e-5)


def test_a_function_of_ones_own_is_taken_before_that_of_keras(tmp_path: Path) -> None:
    net = NETS["activation hard_sigmoid"]()
    (data,) = drawn(net)
    loaded = load_model(written(net, tmp_path / "net.h5"), custom_objects={"hard_sigmoid": keras.ops.relu})
    kernel, bias = net.get_weights()
    np.testing.assert_allclose(loaded(data), np.maximum(data @ kernel + bias, 0), rtol=1e-5, atol=1e-5)


def test_what_an_old_file_leaves_out_means_what_it_meant(tmp_path: Path) -> None:
    """Files of Keras before 2.2 have no `reset_after`, no InputLayer in a Sequential, and models that are lists."""

    def change(config: dict[str, Any]) -> None:
        layers = [entry for entry in config["config"]["layers"] if entry["class_name"] != "InputLayer"]
        layers[0]["config"]["batch_input_shape"] = [None, 7, 6]
        layers[0]["config"].pop("reset_after")
        config["config"] = layers

    net = stack(STEPS, lambda: L.GRU(3, reset_after=False, use_bias=False), lambda: L.Dense(2))()
    (data,) = drawn(net)
    loaded = load_model(changed(written(net, tmp_path / "net.h5"), change))
    np.testing.assert_allclose(loaded(data), net(data), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (one(STEPS, "SeparableConv1D", filters=3, kernel_size=3, padding="causal"),
         r"Layer 'separable_conv1d\w*' \(SeparableConv1D\) .*padding may be valid, same. Received: padding='causal'"),
        (one(PICTURE, "Resizing", height=5, width=4, interpolation="gaussian"), r"\(Resizing\) .*interpolation='gauss"),
        (one(PICTURE, "RandomCrop", height=5, width=4), r"\(RandomCrop\) .*Keras 2 cuts pictures to size"),
        (one(PICTURE, "LocallyConnected2D", filters=2, kernel_size=3), r"LocallyConnected2D \(locally_connected2d\w*\)"),  # noqa: E501
        (one(PICTURE, "Softmax", robust_masking=True), r"only robust_masking=False can be left out.*robust_masking=True"),  # noqa: E501
        (one(ROW, "Dense", units=3, activation=lambda x: x, name="odd"), r"`activation` of layer 'odd' \(Dense\) .*is Python code"),  # noqa: E501
        (stack(ROW, lambda: L.Lambda(lambda x: x)), "is a Lambda"),
        (lambda: k2.Model(x := L.Input((6,)), L.Dense(2)(x * 2.0)), r"TFOpLambda \(tf.math.multiply\w*: math.multiply\)"),  # noqa: E501
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_keras_3_can_not_say_is_refused_by_layer_and_argument(
    net: Net, sentence: str, suffix: str, tmp_path: Path
) -> None:
    with pytest.raises((ConversionError, DataError), match=sentence):
        load_model(written(net(), tmp_path / f"net{suffix}"))


def positions() -> Any:
    a, b = L.Input((5,)), L.Input((5,))
    return k2.Model([a, b], L.LSTM(4)(L.Add()([L.Embedding(30, 6, mask_zero=True)(a), L.Embedding(30, 6)(b)])))


def two_masks() -> Any:
    a, b = L.Input((5,)), L.Input((5,))
    made = [L.Embedding(30, 6, mask_zero=True)(one) for one in (a, b)]
    return k2.Model([a, b], L.GlobalAveragePooling1D()(L.Maximum()(made)))


def scaled() -> Any:
    return k2.Sequential([L.Input((5, 3)), L.Masking(), L.Rescaling(0.5), L.LSTM(4)])


def by_time() -> Any:
    words = L.TimeDistributed(L.Embedding(30, 6, mask_zero=True))(L.Input((3, 5)))
    return k2.Model(words.node.keras_inputs[0], L.TimeDistributed(L.LSTM(4))(words))


def nested_sum() -> Any:
    a, b = L.Input((5, 6)), L.Input((5, 6))
    inner = k2.Model([a, b], L.LSTM(3)(L.Add()([a, b])))
    words, places = L.Input((5,)), L.Input((5,))
    return k2.Model([words, places], inner([L.Embedding(30, 6, mask_zero=True)(words), L.Embedding(30, 6)(places)]))


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("net", [positions, two_masks, scaled, by_time, nested_sum])
def test_networks_with_other_masks_are_refused(net: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="computes something else than in Keras 2: Keras 3 .* padded positions"):
        load_model(written(net(), tmp_path / "net.h5"))


def unused() -> Any:
    a, b = L.Input((5,)), L.Input((5,))
    return k2.Model([a, b], L.Flatten()(L.Add()([L.Embedding(30, 6, mask_zero=True)(a), L.Embedding(30, 6)(b)])))


def same_words() -> Any:
    words = L.Input((5,))
    made = [L.Embedding(30, 6, mask_zero=True)(words) for _ in range(2)]
    return k2.Model(words, L.LSTM(4)(L.Add()(made)))


def nested_residual() -> Any:
    inner_input = L.Input((5, 6))
    inner = k2.Model(inner_input, L.Add()([inner_input, L.Dense(6)(inner_input)]))
    words = L.Input((5,))
    return k2.Model(words, L.Dense(2)(inner(L.Embedding(30, 6, mask_zero=True)(words))))


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("net", [unused, same_words, nested_residual])
def test_masks_that_are_the_same_or_without_use_are_taken(net: Callable[[], Any], tmp_path: Path) -> None:
    compared(net(), tmp_path / "net.h5")


def test_a_residual_of_one_mask_is_what_it_was(tmp_path: Path) -> None:
    words = L.Input((5,))
    x = L.Embedding(30, 6, mask_zero=True)(words)
    compared(
        k2.Model(words, L.LSTM(4)(L.Add()([x, L.Dropout(0.1)(L.LSTM(6, return_sequences=True)(x))]))),
        tmp_path / "net.h5",
    )


def test_kernels_that_theano_turned_are_refused(tmp_path: Path) -> None:
    dense, conv = (k2.Sequential([L.Input(PICTURE), *rest]) for rest in ([L.Dense(2)], [L.Conv2D(2, 3)]))
    for net, turned in ((dense, False), (conv, True)):
        path = written(net, tmp_path / "net.h5")
        with h5py.File(path, "r+") as file:
            file.attrs["backend"] = b"theano"
        with pytest.raises(ConversionError, match="on Theano, which turns") if turned else contextlib.nullcontext():
            load_model(path)
