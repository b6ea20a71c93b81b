"""Keras models as .tflite files: what stands in them, what they compute, and what is refused."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.conversion import to_digital
from analognets.deploy.accelerator import workload
from analognets.deploy.export.litert import digital_model, to_litert
from analognets.deploy.export.litert_file import TensorFacts, read_litert
from analognets.deploy.export.litert_runtime import Interpreter, as_list, dequantized, quantized
from analognets.errors import ConversionError, DataError, InvalidArgumentError, MissingExtraError

layers = keras.layers


def network() -> keras.Model:
    """Return a small net with batch-norms that matter, a depthwise layer, and a sum of two branches."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 6, 3), name="picture")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    model = keras.Model(inputs, layers.Dense(4, name="logits")(x), name="rival")
    rng = np.random.default_rng(0)
    for variable in model.get_layer("norm").variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return one network, its data, and its files."""
    folder = tmp_path_factory.mktemp("litert")
    model = network()
    data = np.random.default_rng(1).normal(0.3, 1.0, (120, 8, 6, 3)).astype(np.float32)
    names = {"int8": {}, "ends": {"io": "float32"}, "float": {"quantize": "none"}}
    files = {name: to_litert(model, folder / f"{name}.tflite", data, **how) for name, how in names.items()}
    return SimpleNamespace(folder=folder, model=model, data=data, files=files, expected=model.predict(data, verbose=0))


def test_the_file_is_for_one_sample_with_batch_norm_folded_and_integer_ends(made: SimpleNamespace) -> None:
    facts = made.files["int8"]
    assert facts.operators == {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "ADD": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    (before,), (after,) = facts.inputs, facts.outputs
    assert (before.name, before.shape, before.dtype) == ("picture", (1, 8, 6, 3), "int8")
    assert (after.shape, after.dtype) == ((1, 4), "int8")
    low, high = made.data.min(), made.data.max()
    assert before.scale == pytest.approx((high - low) / 255, rel=1e-3)
    assert before.scale * (-128 - before.zero_point) == pytest.approx(low, abs=before.scale)
    assert facts.weight_type == "int8"
    assert facts.size == facts.path.stat().st_size < made.files["float"].size
    assert (
        facts == read_litert(facts.path) == dataclasses.replace(read_litert(facts.path.read_bytes()), path=facts.path)
    )
    assert "1 CONV_2D" in str(facts)


def test_weights_and_products_are_counted_as_the_accelerator_counts_them(made: SimpleNamespace) -> None:
    work = workload(made.model).layers
    for facts in made.files.values():
        assert facts.weights == sum(layer.weights for layer in work)
        assert facts.macs == sum(layer.weights * layer.positions for layer in work)


def test_float_file_computes_what_the_network_does(made: SimpleNamespace) -> None:
    found = Interpreter(made.folder / "float.tflite", kernels="optimized").predict(made.data)
    np.testing.assert_allclose(found, made.expected, atol=1e-5)


@pytest.mark.parametrize("name", ["int8", "ends"])
@pytest.mark.parametrize("kernels", ["reference", "builtin", "optimized"])
def test_int8_stays_close_to_float(made: SimpleNamespace, name: str, kernels: str) -> None:
    found = Interpreter(made.folder / f"{name}.tflite", kernels=kernels).predict(made.data)
    assert found.dtype == np.float32
    span = np.ptp(made.expected)
    assert np.abs(found - made.expected).max() < 0.06 * span
    assert 0 < np.abs(found - made.expected).max()
    sure = np.sort(made.expected, axis=-1)
    sure = sure[:, -1] - sure[:, -2] > 0.08 * span
    assert (found.argmax(-1) == made.expected.argmax(-1))[sure].all()


def test_accuracy_and_progress(made: SimpleNamespace) -> None:
    calls: list[tuple[int, int]] = []
    runner = Interpreter((made.folder / "int8.tflite").read_bytes())
    labels = runner.predict(made.data[:10]).argmax(-1)
    labels[0] = (labels[0] + 1) % 4
    assert runner.accuracy(made.data[:10], labels, progress=lambda *step: calls.append(step)) == pytest.approx(0.9)
    assert calls == [(number + 1, 10) for number in range(10)]


def test_nothing_is_printed_and_nothing_else_is_written(
    made: SimpleNamespace, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    to_litert(made.model, tmp_path / "again.tflite", made.data)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["again.tflite"]
    assert (tmp_path / "again.tflite").read_bytes() == (made.folder / "int8.tflite").read_bytes()


def test_an_analog_model_is_written_as_its_digital_twin(
    make: Callable[..., keras.Model], samples: np.ndarray, tmp_path: Path
) -> None:
    analog = make()
    found = to_litert(analog, tmp_path / "analog.tflite", samples)
    to_litert(to_digital(analog), tmp_path / "digital.tflite", samples)
    outputs = [Interpreter(tmp_path / f"{name}.tflite").predict(samples[:20]) for name in ("analog", "digital")]
    np.testing.assert_array_equal(*outputs)
    assert found.operators["CONV_2D"] == 2
    run = SimpleNamespace(float_model=lambda: to_digital(analog))
    preset = SimpleNamespace(model=lambda: analog)
    names = [layer.name for layer in to_digital(analog).layers]
    assert [[layer.name for layer in digital_model(source).layers] for source in (run, preset)] == [names, names]


def test_several_inputs_keep_their_order(tmp_path: Path) -> None:
    first, second = keras.Input((5,), name="zeta"), keras.Input((3,), name="alpha")
    joined = layers.Concatenate()([layers.Dense(4)(first), second])
    model = keras.Model({"zeta": first, "alpha": second}, [layers.Dense(2)(joined), layers.Dense(3)(second)])
    rng = np.random.default_rng(0)
    data = {"zeta": rng.normal(size=(60, 5)).astype("f4"), "alpha": rng.normal(size=(60, 3)).astype("f4")}
    facts = to_litert(model, tmp_path / "two.tflite", data)
    assert {tensor.name: tensor.shape for tensor in facts.inputs} == {"zeta": (1, 5), "alpha": (1, 3)}
    assert [tensor.shape for tensor in facts.outputs] == [(1, 2), (1, 3)]
    expected = model.predict(data, verbose=0)
    found = Interpreter(tmp_path / "two.tflite").predict(data)
    by_order = Interpreter(tmp_path / "two.tflite").predict([data[tensor.name] for tensor in facts.inputs])
    for mine, ordered, right in zip(found, by_order, expected, strict=True):
        assert np.abs(mine - right).max() < 0.05 * np.ptp(right)
        np.testing.assert_array_equal(mine, ordered)


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8),
    st.floats(2**-10, 2**3, width=32),
    st.integers(-128, 127),
)
def test_quantising_rounds_to_the_nearest_step_within_the_range(values: list[float], scale: float, zero: int) -> None:
    facts = TensorFacts("x", 0, (1, len(values)), "int8", scale, zero)
    real = np.array([values], np.float32)
    steps = quantized(real, facts)
    back = dequantized(steps, facts)
    inside = np.clip(real, scale * (-128 - zero), scale * (127 - zero))
    assert np.abs(back - inside).max() <= 0.5001 * scale + 1e-4
    np.testing.assert_array_equal(quantized(steps, facts), steps)


class Odd(layers.Layer):
    """A layer that no built-in operator computes."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.erfinv(keras.ops.tanh(inputs))


def test_what_a_microcontroller_has_no_operator_for_is_named(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Odd()], name="strange")
    with pytest.raises(ConversionError, match=r"'strange' can't be written with LiteRT's built-in operators.*Erfinv"):
        to_litert(model, tmp_path / "odd.tflite", quantize="none")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_replaced_unasked(made: SimpleNamespace, tmp_path: Path) -> None:
    there = tmp_path / "kept.tflite"
    there.write_bytes(b"before")
    with pytest.raises(DataError, match=r"exists already. Choose another name, or pass overwrite=True"):
        to_litert(made.model, there, quantize="none")
    assert there.read_bytes() == b"before"
    assert to_litert(made.model, there, quantize="none", overwrite=True).size > 6
    with pytest.raises(DataError, match=r"The folder '.*nowhere' .* does not exist"):
        to_litert(made.model, tmp_path / "nowhere" / "x.tflite", quantize="none")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"int8 needs `representative`: 100 to 1000 samples"),
        (np.zeros((5, 8, 6)), r"must hold samples of shape \(8, 6, 3\). Received: samples of shape \(8, 6\)"),
        (np.full((5, 8, 6, 3), np.nan), r"finite numbers only. Received: NaN"),
        (np.zeros((0, 8, 6, 3)), r"at least one. Received: arrays of shape \(0, 8, 6, 3\)"),
        ({"image": np.zeros((5, 8, 6, 3))}, r"Features by name need the inputs picture. Received: \['image'\]"),
    ],
)
def test_unfit_representative_data(made: SimpleNamespace, tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        to_litert(made.model, tmp_path / "x.tflite", data)


def test_models_that_can_not_be_written(nets: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"does not say what inputs it takes. Wrap it"):
        to_litert(nets.subclassed(), tmp_path / "x.tflite", quantize="none")
    with pytest.raises(ConversionError, match=r"inputs of fixed size. Received: an input of shape \(None, 3\)"):
        to_litert(keras.Sequential([keras.Input((None, 3)), layers.Dense(2)]), tmp_path / "x.tflite", quantize="none")
    with pytest.raises(ConversionError, match=r"is not built yet"):
        to_litert(keras.Sequential([layers.Dense(2)]), tmp_path / "x.tflite", quantize="none")
    with pytest.raises(ConversionError, match=r"must be a Keras model, a run or a preset. Received: 'kws'"):
        to_litert("kws", tmp_path / "x.tflite")
    with pytest.raises(InvalidArgumentError, match=r"`quantize` of to_litert must be one of 'int8', 'none'"):
        to_litert(network(), tmp_path / "x.tflite", quantize="int4")


def test_files_that_are_none(made: SimpleNamespace, tmp_path: Path) -> None:
    whole = (made.folder / "int8.tflite").read_bytes()
    with pytest.raises(DataError, match=r"is no .tflite file: bytes 4 to 7 must be b'TFL3'"):
        read_litert(b"no model at all")
    with pytest.raises(DataError, match=r"can't be read: No such file"):
        Interpreter(tmp_path / "missing.tflite")
    with pytest.raises(DataError, match=r"can't be (read as a .tflite file|run by LiteRT)"):
        Interpreter(whole[:200])
    with pytest.raises(InvalidArgumentError, match=r"`kernels` of Interpreter must be one of"):
        Interpreter(whole, kernels="fast")
    with pytest.raises(InvalidArgumentError, match=r"Input 'picture' takes samples of shape \(8, 6, 3\)"):
        Interpreter(whole).predict(made.data[..., :2])
    with pytest.raises(InvalidArgumentError, match=r"one array for each of the inputs a, b"):
        as_list([np.zeros((2, 3))], ["a", "b"])


def test_the_extra_is_named_when_it_is_missing(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'analognets\[litert\]'"):
        Interpreter(made.folder / "int8.tflite")
    assert read_litert(made.folder / "int8.tflite").macs == made.files["int8"].macs
