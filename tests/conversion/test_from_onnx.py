"""ONNX networks as Keras models: against the reference evaluator of ONNX, the networks of the zoo there and back."""

from __future__ import annotations

import os
import sys
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analognets as an
from analognets.conversion import load_model, load_onnx
from analognets.conversion.from_onnx import arithmetic, checking
from analognets.errors import AnalogNetsError, ConversionError, DataError, DataWarning
from analognets.zoo.trained import open_trained

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
reference = pytest.importorskip("onnx.reference", reason="needs the extra `onnx`")
RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype("float32")


def node(kind, inputs, outputs="y", **attributes):
    return onnx.helper.make_node(kind, inputs.split(" "), outputs.split(" "), name=f"the_{kind}", **attributes)


def network(nodes, shape, constants=None, opset=17, batch="n", kind=1, outputs=("y",)):
    """Return an ONNX model with one input x."""
    entry = onnx.helper.make_tensor_value_info("x", kind, [batch, *shape])
    stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    ends = [onnx.helper.make_tensor_value_info(name, 1, None) for name in outputs]
    graph = onnx.helper.make_graph(nodes, "g", [entry], ends, stored)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def stored(tmp_path, model, name="net.onnx"):
    onnx.save(model, tmp_path / name)
    return tmp_path / name


def agree(tmp_path, model, shape, *, batch=3, whole=False):
    """Import a model, compare it with the reference evaluator, and return it."""
    x = RNG.integers(0, 5, (batch, *shape)) if whole else RNG.normal(size=(batch, *shape)).astype("float32")
    wanted = reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    made = load_onnx(stored(tmp_path, model))
    turned = made.input.shape[1:] != tuple(shape)
    found = np.asarray(made(np.moveaxis(x, 1, -1) if turned else x))
    wanted = np.moveaxis(wanted, 1, -1) if turned and wanted.ndim > 2 else wanted
    np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=2e-5)
    return made


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


KERNEL = {"w": normal(4, 3, 3, 3), "b": normal(4)}
BN = {"s": normal(4) + 1, "o": normal(4), "m": normal(4), "v": np.abs(normal(4)) + 0.5}
CASES = {
    "same": ([node("Conv", "x w b", pads=[1, 1, 1, 1])], (3, 8, 6), KERNEL),
    "stride": ([node("Conv", "x w b", pads=[1, 1, 1, 1], strides=[2, 2])], (3, 8, 6), KERNEL),
    "odd pads": ([node("Conv", "x w", pads=[0, 2, 1, 0])], (3, 8, 6), KERNEL),
    "lower": ([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], (3, 8, 6), KERNEL),
    "dilated": ([node("Conv", "x w", dilations=[2, 1])], (3, 8, 6), KERNEL),
    "depthwise": ([node("Conv", "x w b", group=3, pads=[1, 1, 1, 1])], (3, 5, 5),
                  {"w": normal(6, 1, 3, 3), "b": normal(6)}),
    "conv1d": ([node("Conv", "x w", pads=[1, 1])], (3, 9), {"w": normal(4, 3, 3)}),
    "transposed": ([node("ConvTranspose", "x w b", strides=[2, 2])], (3, 4, 5),
                   {"w": normal(3, 4, 2, 2), "b": normal(4)}),
    "transposed, cut": (
        [node("ConvTranspose", "x w", strides=[2, 2], pads=[1, 1, 1, 1])], (3, 4, 5), {"w": normal(3, 4, 3, 3)},
    ),
    "fused": (
        [node("Conv", "x w b", "c"), node("Mul", "c s", "d"), node("Add", "d t")], (3, 5, 5),
        {**KERNEL, "s": normal(4, 1, 1), "t": normal(1, 4, 1, 1)},
    ),
    "batch norm": ([node("Conv", "x w", "c"), node("BatchNormalization", "c s o m v")], (3, 5, 5), {**KERNEL, **BN}),
    "max": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], (3, 7, 8), {}),
    "max, up": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], (3, 8, 8), {}),
    "mean": ([node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], (3, 8, 8), {}),
    "mean, counted": (
        [node("AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)], (3, 5, 5), {},
    ),
    "head": (
        [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w b", transB=1, alpha=0.5)],
        (3, 5, 5), {"w": normal(2, 3), "b": normal(2)},
    ),
    "flattened map": (
        [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Flatten", "r", "f"), node("MatMul", "f d")],
        (3, 5, 4), {"w": normal(4, 3, 3, 3), "d": normal(24, 3)},
    ),
    "flattened, added": (
        [node("Conv", "x w", "c"), node("Flatten", "c", "f"), node("Add", "f d", "a"), node("Tanh", "a")],
        (3, 5, 4), {"w": normal(4, 3, 3, 3), "d": normal(24)},
    ),
    "view": (
        [
            node("MaxPool", "x", "p", kernel_shape=[2, 2]), node("Shape", "p", "s"), node("Gather", "s zero", "n"),
            node("Unsqueeze", "n axes", "u"), node("Concat", "u open", "t", axis=0), node("Reshape", "p t", "f"),
            node("MatMul", "f w"),
        ],
        (2, 3, 3), {"zero": np.int64(0), "axes": [0], "open": [-1], "w": normal(8, 3)},
    ),
    "residual": ([node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Add", "c x")], (3, 5, 5),
                 {"w": normal(3, 3, 3, 3)}),
    "joined": (
        [node("MaxPool", "x", "p", kernel_shape=[2, 2]), node("Split", "p", "a b", axis=1),
         node("Concat", "b a", axis=1)],
        (4, 5, 5), {}, 13,
    ),
    "resized": ([node("Resize", "x  s", mode="nearest", coordinate_transformation_mode="asymmetric",
                      nearest_mode="floor")], (2, 3, 3), {"s": np.float32([1, 1, 2, 2])}),
    "depth to space": ([node("DepthToSpace", "x", blocksize=2, mode="CRD")], (8, 3, 2), {}),
    "padded": ([node("Pad", "x p v")], (3, 4, 4),
               {"p": [0, 0, 1, 0, 0, 0, 2, 1], "v": np.float32(0)}),
    "dense on sequences": (
        [node("Reshape", "x flat", "f"), node("MatMul", "f w", "m"),
         node("Reshape", "m back", "r"), node("Add", "r b")],
        (4, 3), {"flat": [-1, 3], "back": [-1, 4, 5], "w": normal(3, 5), "b": normal(5)},
    ),
    "attention": (
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "s"), node("Softmax", "s", "p", axis=-1),
         node("MatMul", "p x")], (4, 3), {},
    ),
    "layer norm": ([node("LayerNormalization", "x s o", axis=-1)], (4, 3), {"s": normal(3), "o": normal(3)}),
    "arithmetic": (
        [node("Mul", "x half", "a"), node("Sub", "one a", "b"), node("Div", "b m", "c"), node("Max", "c zero", "d"),
         node("Pow", "d two", "e"), node("Sqrt", "e", "f"), node("Clip", "f  two", "g"), node("Erf", "g")],
        (4, 3), {"half": np.float32(0.5), "one": normal(4, 1), "m": normal(3) + 2, "zero": np.float32(0),
                 "two": np.float32(2)},
    ),
    "choice": (
        [node("Greater", "x zero", "g"), node("Where", "g x other", "w"), node("ReduceSum", "w axes", keepdims=0)],
        (4, 3), {"zero": np.float32(0), "other": np.float32(-1), "axes": [1]},
    ),
    "slices": (
        [node("Slice", "x a b axes steps", "s"), node("Gather", "s one", "g", axis=1),
         node("LeakyRelu", "g", alpha=0.3)],
        (6, 3), {"a": [1, -1], "b": [6, -9], "axes": [1, 2], "steps": [2, -1], "one": np.int64(1)},
    ),
    "means": ([node("ReduceMean", "x", axes=[2, 3], keepdims=0)], (3, 4, 4), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_equal_those_of_the_reference(tmp_path, case) -> None:
    nodes, shape, constants, *opset = CASES[case]
    agree(tmp_path, network(nodes, shape, constants, *opset), shape)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "gates", "more"), [("LSTM", 4, {}), ("GRU", 3, {"linear_before_reset": 1}), ("RNN", 1, {})]
)
def test_recurrent_layers(tmp_path, kind, gates, more, direction) -> None:
    ways = 2 if direction == "bidirectional" else 1
    constants = {"w": normal(ways, gates * 4, 3), "r": normal(ways, gates * 4, 4), "b": normal(ways, gates * 8)}
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node(kind, "t w r b", "s", hidden_size=4, direction=direction, **more),
        node("Transpose", "s", "u", perm=[2, 0, 1, 3]),
        node("Reshape", "u shape"),
    ]
    model = network(nodes, (6, 3), {**constants, "shape": [0, 0, -1]})
    made = load_onnx(stored(tmp_path, model))
    x = RNG.normal(size=(2, 6, 3)).astype("float32")
    if ways == 1:  # the reference evaluator has one direction only
        wanted = reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
        np.testing.assert_allclose(made(x), wanted, atol=2e-6)
    assert made.output.shape == (None, 6, 4 * ways)
    assert {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}[kind] in kinds(made) or "Bidirectional" in kinds(made)


def test_channels_first_become_layers_with_channels_last_that_can_be_made_analog(tmp_path) -> None:
    nodes, shape, constants = CASES["flattened map"]
    made = open_trained(stored(tmp_path, network(nodes, shape, constants, batch=1), "my net.onnx")).model
    assert kinds(made) == ["InputLayer", "Conv2D", "ReLU", "Flatten", "Dense"] and made.name == "my_net"
    assert made.input.shape == (None, 5, 4, 3), "a fixed batch is opened, channels come last"
    as_it_was = load_onnx(tmp_path / "my net.onnx", channels_last=False)
    x = normal(2, 3, 5, 4)
    np.testing.assert_allclose(as_it_was(x), made(np.moveaxis(x, 1, -1)), atol=1e-6)
    analog = an.to_analog(made, hardware="aon_cim_8bit")
    assert [kind for kind in kinds(analog) if kind.startswith("Analog")] == ["AnalogConv2D", "AnalogDense"]
    with pytest.raises((ConversionError, an.errors.MissingExtraError), match="has no analog layers|optional packages"):
        an.deploy.to_onnx(analog, tmp_path / "out.onnx")


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch) -> None:
    model, x = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="one")]), RNG.normal(size=(2, 4))
    path = an.deploy.to_onnx(model, tmp_path / "net.onnx")
    kept, export = path.read_bytes(), keras.Model.export

    def wrong(self, *args, **kwargs):
        other = keras.models.clone_model(self)
        other(x)
        export(other, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "export", wrong)
    with pytest.raises(ConversionError, match=r"computes something else: a relative difference of .* not written"):
        an.deploy.to_onnx(model, path)
    assert path.read_bytes() == kept
    assert [one.name for one in tmp_path.iterdir()] == ["net.onnx"]


def test_scales_and_offsets_become_part_of_the_kernel_and_a_batch_norm_stays_one(tmp_path) -> None:
    assert kinds(agree(tmp_path, network(*CASES["fused"]), CASES["fused"][1])) == ["InputLayer", "Conv2D"]
    case = CASES["batch norm"]
    assert kinds(agree(tmp_path, network(*case), case[1]))[1:] == ["Conv2D", "BatchNormalization"]


def test_stored_constants_are_weights_that_are_saved(tmp_path) -> None:
    made = agree(tmp_path, network([node("Mul", "x c")], (4, 3), {"c": normal(4, 3)}), (4, 3))
    made.save(tmp_path / "net.keras")
    again = open_trained(tmp_path / "net.keras").model
    np.testing.assert_array_equal(again.get_weights()[0], made.get_weights()[0])
    assert again.layers[1].get_config() == made.layers[1].get_config()


def test_a_network_of_tokens(tmp_path) -> None:
    nodes = [node("Gather", "table x", "e"), node("ReduceMean", "e", axes=[1], keepdims=0)]
    made = agree(tmp_path, network(nodes, (6,), {"table": normal(5, 3)}, kind=7), (6,), whole=True)
    assert "Embedding" in kinds(made)


def small_networks():
    """Return networks of the zoo in small sizes: one of each kind; all in their sizes where they are asked for."""
    from analognets.zoo.tasks import plain_networks

    found = {name: builder for name, builder in plain_networks().items() if name != "mnist_gan"}
    small = {
        "ds_cnn": {}, "gru_kws": {"units": 5},
        "keyword_transformer": {"dimension": 8, "depth": 1},
    }  # fmt: skip
    if os.environ.get("ANALOGNETS_ALL_NETWORKS") == "1":
        return {name: (builder, {}) for name, builder in found.items()}
    return {name: (found[name], options) for name, options in small.items()}


@pytest.mark.parametrize("name", list(small_networks()))
def test_networks_of_the_zoo_there_and_back(tmp_path, name) -> None:
    """All of them with ANALOGNETS_ALL_NETWORKS=1."""
    pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")
    builder, options = small_networks()[name]
    model = builder(**options)
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
        elif any(word in weight.path for word in ("mean", "beta", "bias")):
            weight.assign(RNG.normal(0, 0.1, weight.shape))
    an.deploy.to_onnx(model, tmp_path / "net.onnx")
    made = load_model(tmp_path / "net.onnx")
    shape = (3, *model.input.shape[1:])
    x = RNG.normal(size=shape).astype("float32") if "float" in model.input.dtype else RNG.integers(0, 100, shape)
    wanted = np.asarray(model(x))
    assert np.abs(np.asarray(made(x)) - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())
    assert made.input.shape == model.input.shape
    heavy = {"Conv2D", "DepthwiseConv2D", "Dense", "GRU", "LSTM"}
    assert heavy & set(kinds(made))


def refused(tmp_path, model, error, *words):
    with pytest.raises(error) as caught:
        load_model(stored(tmp_path, model))
    text = str(caught.value)
    for word in words:
        assert word in text, text
    assert "\n" not in text


def test_what_can_not_be_imported_is_named(tmp_path) -> None:
    unknown = [node("Det", "x", "d"), node("Hardmax", "d")]
    refused(
        tmp_path, network(unknown, (3, 3)), ConversionError, "'Det' (node 'the_Det'); 'Hardmax'", "Imported are: Abs"
    )
    own = onnx.helper.make_node("Thing", ["x"], ["y"], name="mine", domain="com.mine")
    refused(tmp_path, network([own], (3,)), ConversionError, "'com.mine:Thing' (node 'mine')")
    relu = [node("Relu", "x")]
    refused(tmp_path, network(relu, ("length", 3)), DataError, "only the batch open", "n, length, 3")
    refused(tmp_path, network(relu, (3,), opset=6), ConversionError, "must be of opset 7", "Received: 6")
    refused(tmp_path, network(relu, (3,), opset=99), ConversionError, "must be of opset 7", "Received: 99")
    fixed = [node("Reshape", "x s")]
    refused(
        tmp_path, network(fixed, (4,), {"s": [2, 8]}), ConversionError, "'the_Reshape'", "fixes the size of the batch"
    )
    turned = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Reshape", "t a", "f"), node("Reshape", "f b", "s")]
    mixed = network([*turned, node("Transpose", "s", perm=[1, 0, 2])], (4, 3), {"a": [4, 3], "b": [4, 1, 3]}, batch=1)
    refused(tmp_path, mixed, ConversionError, "fixes its batch to 1 in a way", "Export it with an open batch")
    product = [node("Conv", "x x")]
    refused(tmp_path, network(product, (3, 4, 4)), ConversionError, "'Conv' (node 'the_Conv')", "must have constants")
    reduced = [node("ReduceMax", "x", axes=[0])]
    refused(tmp_path, network(reduced, (3,)), ConversionError, "reduces the batch")
    bad = {"w": np.full((3, 2), np.nan, "float32")}
    refused(tmp_path, network([node("MatMul", "x w")], (3,), bad), DataError, "NaN or infinite")
    repeated = [node("Expand", "one s", "e"), node("Mul", "x e")]
    bomb = {"one": np.float32([1]), "s": [1 << 40]}
    refused(tmp_path, network(repeated, (3,), bomb), ConversionError, "a constant of more than")
    assert load_model(stored(tmp_path, network([node("MatMul", "x w")], (3,), bad)), allow_nonfinite=True)


def test_attributes_that_would_be_lost_are_refused(tmp_path) -> None:
    weights = {"w": normal(2, 20, 3), "r": normal(2, 20, 5)}
    alike = ["Sigmoid", "Tanh", "Tanh"]
    both = [node("LSTM", "x w r", "y", hidden_size=5, direction="bidirectional", activations=alike + alike[:1] * 3)]
    inner = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("LSTM", "t w r", "y", **attributes_of(both[0]))]
    refused(tmp_path, network(inner, (6, 3), weights), ConversionError, "must have the activations", "Sigmoid")
    cubic = node("Resize", "x  s", mode="cubic", coordinate_transformation_mode="asymmetric")
    refused(tmp_path, network([cubic], (2, 3, 3), {"s": np.float32([1, 1, 2, 2])}), ConversionError, "Received: cubic")
    refused(tmp_path, network([node("Selu", "x", alpha=1.0)], (3,)), ConversionError, "alpha and gamma of SELU")
    remainder = network([node("Mod", "x c", fmod=1)], (3,), {"c": np.float32([2.0])})
    refused(tmp_path, remainder, ConversionError, "(fmod)")


def attributes_of(one):
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in one.attribute}


@pytest.mark.parametrize("by", ["ONNX Runtime", "the reference implementation"])
def test_a_model_that_answers_otherwise_than_its_file_is_refused(tmp_path, monkeypatch, by) -> None:
    if by == "ONNX Runtime":
        pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
        monkeypatch.setattr(reference, "ReferenceEvaluator", None)
    else:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    case = CASES["residual"]
    path = stored(tmp_path, network([*case[0][:1], node("Add", "c x", "a"), node("Abs", "a")], *case[1:]))
    load_onnx(path)
    monkeypatch.setitem(arithmetic.UNARY, "Abs", keras.ops.negative)
    with pytest.raises(ConversionError, match=r"'.*net.onnx' computes something else: .*Please report it"):
        load_onnx(path)


@pytest.mark.parametrize("steps", [["Round"], ["Abs", "Cast 7", "Cast 1"]])
def test_steps_in_a_network_may_turn_rounding_errors_into_differences(tmp_path, monkeypatch, steps) -> None:
    nodes = [node("MatMul", "x w", "0")]
    for number, step in enumerate(steps, 1):
        kind, *to = step.split()
        nodes.append(node(kind, str(number - 1), str(number), **({"to": int(to[0])} if to else {})))
    path = stored(tmp_path, network(nodes, (4,), {"w": 50 * normal(4, 9)}, outputs=(str(len(steps)),)))
    right = getattr(keras.ops, steps[0].lower())
    monkeypatch.setitem(arithmetic.UNARY, steps[0], lambda x: right(x * 1.02))
    load_onnx(path)
    monkeypatch.setitem(arithmetic.UNARY, steps[0], lambda x: right(x * 1.5))
    with pytest.raises(ConversionError, match="computes something else"):
        load_onnx(path)


def test_what_can_not_be_compared_is_said(tmp_path, monkeypatch) -> None:
    def broken(*_):
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(checking, "answered", broken)
    with pytest.warns(DataWarning, match=r"could not be compared with the file.*no such kernel.*Compare its outputs"):
        load_onnx(stored(tmp_path, network([node("Relu", "x")], (3,))))


@settings(max_examples=25, deadline=None, database=None)
@given(data=st.data())
def test_a_broken_file_is_one_of_our_errors(tmp_path_factory, data) -> None:
    good = network([node("MatMul", "x w", "m"), node("Relu", "m")], (3,), {"w": np.ones((3, 2), "float32")})
    content = bytearray(good.SerializeToString())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("broken") / "net.onnx"
    path.write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = load_model(path)
        except AnalogNetsError as error:
            assert "\n" not in str(error)
        else:
            assert isinstance(made, keras.Model)


def test_a_missing_file_and_a_network_without_the_package(tmp_path, monkeypatch) -> None:
    with pytest.raises(DataError, match="There is no model file"):
        load_model(tmp_path / "none.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(an.errors.MissingExtraError, match=r"analognets\[onnx\]"):
        load_model(tmp_path / "none.onnx")


def test_a_network_of_pytorch(tmp_path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("onnxscript", reason="needs onnxscript, by which torch exports")
    block = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(6), torch.nn.ReLU(),
        torch.nn.Conv2d(6, 6, 3, 1, 1, groups=6), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(24, 4),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its exporter
        batch = torch.export.Dim("batch")
        path = str(tmp_path / "net.onnx")
        torch.onnx.export(block, (x,), path, dynamo=True, verbose=False, dynamic_shapes=({0: batch},))
    made = load_model(tmp_path / "net.onnx")
    np.testing.assert_allclose(made(x.numpy().transpose(0, 2, 3, 1)), block(x).detach().numpy(), atol=1e-5)
    assert "DepthwiseConv2D" in kinds(made)
