"""The way of a model that was not made for us: converted, calibrated, trained a step, saved, programmed, evaluated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import program
from analognets.devices import IdealDevice
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import (
    AnalogConv3D,
    AnalogDepthwiseConv1D,
    AnalogTimeDistributed,
    analog_layers,
    calibrate,
    freeze_weight_range,
)

L = keras.layers
SAMPLES = 6


@keras.saving.register_keras_serializable(package="tests_any_model")
class Gate(L.Layer):
    """A layer of one's own: a product, and a layer inside of it."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")
        self.inner = L.Dense(shape[-1], activation="sigmoid", name="inner")
        self.inner.build(shape)

    def call(self, inputs: Any) -> Any:
        return keras.ops.matmul(inputs, self.kernel) * self.inner(inputs)


def convolutions() -> keras.Model:
    inputs = keras.Input((10, 10, 4))
    x = L.Conv2D(4, 3, groups=2, name="grouped")(inputs)
    x = L.Conv2D(4, 3, dilation_rate=2, name="dilated")(x)
    x = L.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = L.Conv2DTranspose(2, 3, name="transposed")(x)
    return keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))


def volumes() -> keras.Model:
    inputs = keras.Input((5, 4, 4, 2))
    x = L.Conv3D(3, 2, strides=(2, 1, 1), activation="relu", name="volume")(inputs)
    x = L.DepthwiseConv1D(2, depth_multiplier=2, strides=2, name="depth")(L.Reshape((18, 3))(x))
    return keras.Model(inputs, L.Dense(2)(L.Flatten()(x)))


def over_time() -> keras.Model:
    inputs = keras.Input((4, 6, 6, 2))
    x = L.TimeDistributed(L.Conv2D(3, 3, name="seen"), name="frames")(inputs)
    x = L.TimeDistributed(L.Flatten())(x)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True, name="lstm"), name="both")(x)
    return keras.Model(inputs, L.TimeDistributed(L.Dense(2, name="said"), name="steps")(x))


def any_length() -> keras.Model:
    inputs = keras.Input((None, 6))
    x = L.TimeDistributed(L.Dense(4, activation="relu"), name="frames")(inputs)
    return keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling1D()(x)))


def shared_at_two_sizes() -> keras.Model:
    first, second = keras.Input((6, 6, 2), name="first"), keras.Input((9, 9, 2), name="second")
    shared, pool = L.Conv2D(4, 3, name="shared"), L.GlobalAveragePooling2D()
    return keras.Model([first, second], L.Dense(2)(L.Concatenate()([pool(shared(first)), pool(shared(second))])))


def named_inputs_and_outputs() -> keras.Model:
    a, b = keras.Input((6,), name="a"), keras.Input((4,), name="b")
    inner = keras.Sequential([keras.Input((6,)), L.Dense(5, activation="relu"), L.Dense(4)], name="inner")
    x = L.Add()([inner(a), L.Dense(4)(b)])
    return keras.Model({"a": a, "b": b}, {"y": L.Dense(2, name="y")(x), "z": L.Dense(3, name="z")(x)})


def half_precision() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(4, 3, dtype="mixed_float16")(inputs)
    return keras.Model(inputs, L.Dense(2, dtype="float32")(L.Flatten()(x)))


def scaled() -> keras.Model:
    norm = L.Normalization(name="norm")
    norm.adapt(np.random.default_rng(3).normal(3, 5, (50, 6)))
    inputs = keras.Input((6,))
    return keras.Model(inputs, L.Dense(2)(L.Rescaling(0.5)(norm(inputs))))


def adapted() -> keras.Model:
    inputs = keras.Input((6,))
    dense = L.Dense(6, name="tuned")
    model = keras.Model(inputs, L.Dense(2)(Gate(name="gate")(dense(inputs))))
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
    return model


MODELS = [
    convolutions, volumes, over_time, any_length, shared_at_two_sizes, named_inputs_and_outputs, half_precision, scaled,
    adapted,
]  # fmt: skip


def inputs_of(model: keras.Model) -> Any:
    rng = np.random.default_rng(1)
    return keras.tree.map_structure(
        lambda spec: rng.normal(size=(SAMPLES, *(size or 3 for size in spec.shape[1:]))).astype("float32"),
        model._inputs_struct,
    )


def leaves(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in keras.tree.flatten(outputs)]


def squared(labels: Any, outputs: Any) -> float:
    return -float(sum(np.mean((a - b) ** 2) for a, b in zip(leaves(labels), leaves(outputs), strict=True)))


@pytest.mark.parametrize("make", MODELS)
def test_the_whole_way(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    plain = make()
    data = inputs_of(plain)
    expected = plain(data)
    analog = to_analog(plain, Crossbar(adc_bits=12, dac_bits=12, device=IdealDevice()), weight_noise=0.02)
    for output, wanted in zip(leaves(analog(data)), leaves(expected), strict=True):
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-6)
    for output, wanted in zip(leaves(to_digital(analog)(data)), leaves(expected), strict=True):
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-6)
    calibrate(analog, [data])
    freeze_weight_range(analog, sigma=None)
    chips = program(analog, chips=1)
    scale = max(np.abs(wanted).max() for wanted in leaves(expected))
    on_chip = chips.predict(data, batch_size=4)
    keras.tree.assert_same_structure(on_chip, expected)
    for output, wanted in zip(leaves(on_chip), leaves(expected), strict=True):
        np.testing.assert_allclose(output, wanted, atol=0.03 * scale)
    targets = keras.tree.map_structure(lambda leaf: np.zeros(leaf.shape, "float32"), expected)
    table = chips.evaluate((data, targets), at="1d", metric=squared)
    assert table["accuracy"].item() == pytest.approx(squared(targets, expected), rel=0.1)
    analog.compile("sgd", keras.tree.map_structure(lambda leaf: "mse", expected))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analog.fit(data, targets, batch_size=3, verbose=0)
    analog.save(tmp_path / "analog.keras")
    again = keras.models.load_model(tmp_path / "analog.keras")
    assert len(analog_layers(again)) == len(analog_layers(analog))
    for output, wanted in zip(leaves(again(data)), leaves(analog(data)), strict=True):
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-6)


def test_what_stayed_digital_is_named_with_its_place() -> None:
    reasons = {}
    for make in (convolutions, over_time, scaled, adapted):
        reasons |= {entry.path: entry.why for entry in to_analog(make()).conversion_report.left}
    assert reasons == {
        "transposed": "a transposed convolution, which has no analog version",
        "norm": "a scale and shift per feature, digital by design",
        "tuned": "its kernel is changed by LoRA: merge the two first",
        "gate": "no analog version of this layer",
    }


def test_layers_over_time_are_one_block_and_see_one_noise() -> None:
    keras.utils.set_random_seed(0)
    model = to_analog(any_length(), weight_noise=0.1)
    assert isinstance(model.get_layer("frames"), AnalogTimeDistributed)
    same = np.repeat(np.random.default_rng(0).normal(size=(2, 1, 6)), 5, axis=1).astype("float32")
    steps = np.asarray(model.get_layer("frames")(same, training=True))
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 5, axis=1), rtol=1e-5)
    assert not np.allclose(steps, model.get_layer("frames")(same, training=True)), "the next batch has another noise"


def test_kinds_of_layers() -> None:
    model = to_analog(volumes())
    assert [type(layer) for layer in analog_layers(model)[:2]] == [AnalogConv3D, AnalogDepthwiseConv1D]
    assert [layer.crossbar_shape() for layer in analog_layers(model)] == [(2, 2, 2, 2, 3), (2, 3, 6), (54, 2)]
    same = to_analog(to_digital(model))
    assert [type(layer) for layer in analog_layers(same)] == [type(layer) for layer in analog_layers(model)]


def test_a_shared_layer_is_programmed_once() -> None:
    model = to_analog(shared_at_two_sizes())
    report = model.conversion_report
    assert len(report.converted) == 2
    data = inputs_of(model)
    calibrate(model, [data])
    chips = program(model, 1)
    assert len(chips.chips[0].layers) == 2
    np.testing.assert_allclose(chips.predict(tuple(data)), chips.predict(list(data)))


def test_a_text_model_keeps_its_words() -> None:
    words = L.TextVectorization(output_sequence_length=3, name="words")
    words.adapt(["to be or not to be"])
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, L.Dense(2)(L.Flatten()(L.Embedding(9, 4)(words(inputs)))))
    analog, data = to_analog(model), keras.ops.convert_to_tensor([["to be"], ["not that"]])
    np.testing.assert_allclose(analog(data), model(data), rtol=1e-5)


def test_a_lambda_made_here_is_kept() -> None:
    factor = 3.0
    inputs = keras.Input((4,))
    model = keras.Model(inputs, L.Dense(2)(L.Lambda(lambda x: factor * x)(inputs)))
    data = np.ones((2, 4), "float32")
    np.testing.assert_allclose(to_analog(model)(data), model(data), rtol=1e-5)


def test_a_quantised_layer_is_named() -> None:
    model = keras.Sequential([keras.Input((8,)), L.Dense(8, name="int"), L.ReLU(), L.Dense(2, name="float")])
    model.get_layer("int").quantize("int8")
    analog, data = to_analog(model), np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    assert {entry.layer: entry.why for entry in analog.conversion_report.left} == {
        "int": "its kernel is quantised (int8)"
    }
    np.testing.assert_allclose(analog(data), model(data), rtol=1e-4)


def test_several_outputs_need_a_metric() -> None:
    model = to_analog(named_inputs_and_outputs())
    data = inputs_of(model)
    calibrate(model, [data])
    chips = program(model, 1)
    labels = {"y": np.zeros(SAMPLES, int), "z": np.zeros(SAMPLES, int)}
    with pytest.raises(
        InvalidArgumentError, match=r"several labels has no single accuracy: give metric=function.*y, z"
    ):
        chips.evaluate((data, labels), at="1d")
    with pytest.raises(InvalidArgumentError, match="several outputs has no single accuracy"):
        chips.evaluate((data, labels["y"]), at="1d")
    by_y = {"at": "1d", "metric": lambda labels, outputs: float(np.mean(outputs["y"].argmax(-1) == labels["y"]))}
    one = chips.evaluate((data, labels), **by_y)
    batches = [
        ({k: v[i : i + 2] for k, v in data.items()}, {k: v[i : i + 2] for k, v in labels.items()}) for i in (0, 2, 4)
    ]
    assert one["accuracy"].item() == chips.evaluate(batches, **by_y)["accuracy"].item()
    with pytest.raises(
        InvalidArgumentError, match=r"as many samples as each other\. Received: shapes \(6, 6\), \(2, 4\)"
    ):
        chips.predict({"a": data["a"], "b": data["b"][:2]})


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("MobileNetV2", {"alpha": 0.35}, 53),
        ("EfficientNetB0", {}, 82),
        pytest.param("ResNet50", {}, 54, marks=pytest.mark.slow),
    ],
)
def test_keras_applications_equal_their_originals(name: str, settings: dict[str, Any], count: int) -> None:
    """With converters and noise off, deep published architectures compute what they did."""
    shape = (32, 32, 3)
    model = getattr(keras.applications, name)(input_shape=shape, weights=None, classes=5, **settings)
    data = np.random.default_rng(0).uniform(0, 1, (2, *shape)).astype("float32")
    analog = to_analog(model)
    report = analog.conversion_report
    assert len(report.converted) == len(report.products) == count
    assert report.macs_share == 1.0 and report.weights_share > 0.9
    assert report.summary.startswith(f"{count} of {count} products analog (")
    np.testing.assert_allclose(analog(data), model(data), rtol=1e-4)


@pytest.mark.parametrize(("make", "macs"), [
    (convolutions, {"grouped": 8 * 8 * 72, "dilated": 4 * 4 * 144, "transposed": 16 * 72,
                    "separable/separable_depthwise": 16 * 36, "separable/separable_pointwise": 16 * 16}),
    (volumes, {"volume": 2 * 3 * 3 * 48, "depth": 9 * 12}),
    (over_time, {"frames/seen": 4 * 16 * 54, "steps/said": 48, "both/forward_lstm/forward_lstm_input": 4 * 48 * 12,
                 "both/backward_lstm/backward_lstm_recurrent": 4 * 3 * 12}),
    (shared_at_two_sizes, {"shared": (16 + 49) * 72}),
    (any_length, {"frames/dense": None}),
])  # fmt: skip
def test_multiplications_are_counted(make: Callable[[], keras.Model], macs: dict[str, int | None]) -> None:
    counted = {entry.path: entry.macs for entry in to_analog(make()).conversion_report.layers}
    for path, wanted in macs.items():
        (found,) = [value for name, value in counted.items() if name.startswith(path)]
        assert found == wanted, path


def test_the_report_as_data() -> None:
    report = to_analog(over_time()).conversion_report
    table = report.to_dataframe()
    assert table["path"].is_unique and len(table) == 6
    assert table["converted"].sum() == 6 and table["macs"].sum() == sum(entry.macs for entry in report.layers)
    data = report.to_dict()
    assert data["layers"][0]["path"] == table["path"][0]
    assert data["converted"] == 6 and data["products"] == 6
    assert data["weights_share"] == pytest.approx(table["kernel"].sum() / table["weights"].sum())
    assert f"6 of 6 products analog ({100 * data['weights_share']:.1f} % of weights, " in str(report)


def test_a_path_names_one_of_several_layers_of_a_name() -> None:
    blocks = [keras.Sequential([keras.Input((4,)), L.Dense(4, name="same")], name=name) for name in ("one", "two")]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, blocks[1](blocks[0](inputs)))
    left = to_analog(model, exempt="two/same").conversion_report.left
    assert [(entry.path, entry.why) for entry in left] == [("two/same", "exempt by request")]


def test_fit_before_calibrate_says_nothing_and_leaves_the_ranges() -> None:
    keras.utils.set_random_seed(0)
    model = to_analog(named_inputs_and_outputs(), weight_noise=0.02)
    data = inputs_of(model)
    targets = {"y": np.zeros((SAMPLES, 2)), "z": np.zeros((SAMPLES, 3))}
    model.compile("adam", {"y": "mse", "z": "mse"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(data, targets, verbose=0)
    assert [float(layer.input_range) for layer in analog_layers(model)] == [1.0] * len(analog_layers(model))
    calibrate(model, [data])
    model.fit(data, targets, verbose=0)


def test_a_saved_model_inside_is_one_sentence(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    model.export(tmp_path / "saved", verbose=False)
    inputs = keras.Input((4,))
    served = L.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve", name="served")
    with pytest.raises(
        ConversionError, match=r"Layer 'served' \(TFSMLayer\) is a TensorFlow SavedModel, a graph without"
    ):
        to_analog(keras.Model(inputs, L.Dense(2)(served(inputs))))
