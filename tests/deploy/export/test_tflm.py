"""C++ for microcontrollers: its bytes, what a compiler makes of it, the arena, and TFLM's own answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from analognets.deploy.export import tflm as tflm_module
from analognets.deploy.export import tflm_runtime, together
from analognets.deploy.export.litert import to_litert
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.deploy.export.pointwise import pointwise
from analognets.deploy.export.tflm import OPERATORS, resolver_method, to_tflm
from analognets.errors import ConversionError, DataError, InvalidArgumentError, MissingExtraError

needs_tflm = pytest.mark.skipif(not tflm_runtime.has_tflm(), reason="needs tflite-micro (extra 'tflm')")
LABELS = ("yes", 'a "quoted" word', "größer", "no")


@pytest.fixture(scope="module")
def made(nets: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return an int8 file and what was generated from it."""
    folder = tmp_path_factory.mktemp("tflm")
    model = nets.small_net()
    model = keras.Model(model.inputs, keras.layers.Dense(4)(model.outputs[0]))
    data = np.random.default_rng(2).normal(size=(50, 7, 5, 2)).astype(np.float32)
    facts = to_litert(model, folder / "in.tflite", data)
    settings = {"preset": "x", "mean": (1.0, 0.1), "normalize": None}
    made = to_tflm(facts.path, folder / "out", name="small_net", classes=LABELS, frontend=settings)
    return SimpleNamespace(folder=folder, facts=facts, data=data, made=made, out=made.folder)


def test_the_array_holds_the_files_bytes(made: SimpleNamespace) -> None:
    source = (made.out / "small_net_model.cc").read_text("utf-8")
    found = bytes(int(word, 16) for word in re.findall(r"0x([0-9a-f]{2}),", source))
    assert found == made.facts.path.read_bytes() == (made.out / "small_net.tflite").read_bytes()
    assert "alignas(16) const unsigned char g_small_net_model[] = {" in source
    assert sorted(path.name for path in made.out.iterdir()) == sorted(made.made.files)


def test_the_resolver_has_exactly_the_operators_needed(made: SimpleNamespace) -> None:
    text = (made.out / "small_net_ops.h").read_text("utf-8")
    adds = re.findall(r"resolver\.(\w+)\(\)", text)
    assert adds == sorted(resolver_method(name) for name in made.facts.operators)
    assert f"MicroMutableOpResolver<{len(adds)}>" in text


def test_methods_are_named_as_in_tflm() -> None:
    names = {"CONV_2D": "AddConv2D", "FULLY_CONNECTED": "AddFullyConnected", "MAX_POOL_2D": "AddMaxPool2D"}
    names |= {"PADV2": "AddPadV2", "SPACE_TO_BATCH_ND": "AddSpaceToBatchNd", "RELU6": "AddRelu6", "ADD": "AddAdd"}
    names |= {"UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM", "BATCH_MATMUL": "AddBatchMatMul"}
    assert {name: resolver_method(name) for name in names} == names
    assert all(re.fullmatch(r"Add[A-Z][A-Za-z0-9]+", resolver_method(name)) for name in OPERATORS)
    with pytest.raises(ConversionError, match=r"TFLM has no kernel for the operator CUSTOM:Mine"):
        resolver_method("CUSTOM:Mine")


MAIN = r"""
#include <cstdio>
#include "small_net_model.h"
int main() {
  unsigned long sum = 0;
  for (std::size_t i = 0; i < kSmallNetModelSize; ++i) sum = sum * 31 + g_small_net_model[i];
  std::printf("%lu\n%zu\n%.9g %d\n", sum & 0xffffffff, reinterpret_cast<std::size_t>(g_small_net_model) % 16,
              static_cast<double>(kSmallNetInputScale), kSmallNetInputZeroPoint);
  for (int i = 0; i < kSmallNetLabelCount; ++i) std::printf("%s\n", kSmallNetLabels[i]);
  std::printf("%.9g\n", static_cast<double>(kSmallNetFeatureMean[1]));
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiler_takes_it_and_a_program_finds_everything(made: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "main.cc").write_text(MAIN, "utf-8")
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", f"-I{made.out}", "-o", str(tmp_path / "main")]
    command += [str(tmp_path / "main.cc"), str(made.out / "small_net_model.cc")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    lines = subprocess.run([tmp_path / "main"], check=True, capture_output=True).stdout.decode("utf-8").splitlines()
    expected = 0
    for byte in made.facts.path.read_bytes():
        expected = (expected * 31 + byte) % 2**64
    (tensor,) = made.facts.inputs
    assert lines[:2] == [str(expected & 0xFFFFFFFF), "0"]
    scale, zero = lines[2].split()
    assert (np.float32(scale), int(zero)) == (np.float32(tensor.scale), tensor.zero_point)
    assert tuple(lines[3:7]) == LABELS
    assert np.float32(lines[7]) == np.float32(0.1)


@needs_tflm
def test_tflm_equals_litert_bit_for_bit_in_convolutions(nets: SimpleNamespace, tmp_path: Path) -> None:
    whole = nets.small_net()
    model = keras.Model(whole.inputs, whole.get_layer("pool").output)
    data = np.random.default_rng(3).normal(size=(50, 7, 5, 2)).astype(np.float32)
    facts = to_litert(model, tmp_path / "convolutions.tflite", data)
    runner = Interpreter(facts.path, kernels="reference")
    steps = np.random.default_rng(5).integers(-128, 128, (200, 7, 5, 2)).astype(np.int8)
    expected = runner.run([steps])[0]
    assert len(np.unique(expected, axis=0)) > 100
    np.testing.assert_array_equal(tflm_runtime.run_tflm(facts.path, [steps]), expected)
    found = tflm_runtime.predict_tflm(facts.path, data[:5])
    np.testing.assert_array_equal(found, runner.predict(data[:5]))


@needs_tflm
def test_tflm_equals_litert_bit_for_bit_with_dense_layers_as_convolutions(
    nets: SimpleNamespace, tmp_path: Path
) -> None:
    inputs = keras.Input((7, 5, 2))
    x = keras.layers.Conv2D(24, 3, activation="relu")(inputs)
    x = keras.layers.Dense(40, activation="relu")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(12)(x))
    data = np.random.default_rng(3).normal(size=(300, 7, 5, 2)).astype(np.float32)
    same = pointwise(model)
    np.testing.assert_allclose(same(data), model(data), atol=1e-6)
    facts = to_litert(same, tmp_path / "pointwise.tflite", data)
    assert "FULLY_CONNECTED" not in facts.operators
    runner = Interpreter(facts.path, kernels="reference")
    steps = runner.quantize(data)
    expected = runner.run(steps)[0]
    assert len(np.unique(expected, axis=0)) > 100
    np.testing.assert_array_equal(tflm_runtime.run_tflm(facts.path, steps), expected)


def test_dense_layers_on_more_than_a_vector_and_sequential_models_are_told_apart() -> None:
    model = keras.Sequential(
        [keras.Input((3, 4)), keras.layers.Dense(5), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    same = pointwise(model)
    kinds = [type(layer).__name__ for layer in same.layers]
    assert kinds == ["InputLayer", "Dense", "Flatten", "Reshape", "Conv2D", "Reshape"]
    data = np.random.default_rng(0).normal(size=(4, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(same(data), model(data), atol=1e-6)


def adapted(kind: str) -> tuple[keras.Model, np.ndarray]:
    """Return a network that starts with a preprocessing layer which has seen data, and inputs of it."""
    rng = np.random.default_rng(0)
    data = rng.normal(3, 2, size=(100, 8)).astype(np.float32)
    if kind == "Normalization":
        layer = keras.layers.Normalization()
    elif kind == "Discretization":
        layer = keras.layers.Discretization(num_bins=4)
    else:
        layer = keras.layers.IntegerLookup(output_mode="multi_hot")
        data = rng.integers(50, 60, size=(100, 8))
    layer.adapt(data)
    return keras.Sequential([keras.Input((8,), dtype=data.dtype.name), layer, keras.layers.Dense(3)]), data


@pytest.mark.parametrize("kind", ["Normalization", "Discretization", "IntegerLookup"])
@pytest.mark.parametrize("nested", [False, True])
def test_what_preprocessing_layers_derive_from_data_is_copied(kind: str, nested: bool) -> None:
    model, data = adapted(kind)
    if nested:
        model = keras.Sequential([keras.Input((8,), dtype=data.dtype.name), model, keras.layers.Dense(2)])
    np.testing.assert_allclose(pointwise(model)(data), model(data), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="tests_export")
class Hidden(keras.layers.Layer):
    """A layer whose config leaves out what it computes with."""

    factor = 1.0

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


def test_a_copy_that_computes_something_else_is_refused() -> None:
    layer = Hidden()
    layer.factor = 2.0
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(3)], name="secretive")
    with pytest.raises(ConversionError, match=r"copy of model 'secretive' for TFLM computes something else"):
        pointwise(model)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (("a", "b", "c", "\0"), {}, r"text without NUL"),
        (("a", "b", "c", "\ud800"), {}, r"half surrogate pairs. Received: '.ud800'"),
        (LABELS, {"mean": [float("nan")]}, r"plain data by text names, their numbers finite"),
        (LABELS, {"mean": [1e300]}, r"Front-end setting 'mean' must be a finite 32-bit float"),
        (LABELS, {("a",): 1}, r"plain data by text names"),
    ],
)
def test_what_can_not_stand_in_cpp_leaves_no_half_export(
    made: SimpleNamespace, tmp_path: Path, labels: Any, settings: Any, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        to_tflm(made.facts.path, tmp_path / "out", classes=labels, frontend=settings)
    assert list(tmp_path.iterdir()) == []


def renamed(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return a .tflite file whose names are others of the same length, as a foreign file may have them."""
    assert len(old) == len(new)
    assert old in content
    return content.replace(old, new)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_foreign_names_and_settings_do_not_become_code(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflm_module, "has_tflm", lambda: False)
    content = made.facts.path.read_bytes()
    name = made.facts.inputs[0].name.encode()
    evil = b"x\n#error y".ljust(len(name), b"\\")[: len(name)]
    assert len(evil) == len(name) >= 10
    (tmp_path / "evil.tflite").write_bytes(renamed(content, name, evil))
    settings = {"a\n#error b": 1, "c": "d\n#error e", "tri??/": 2, "mean_x": [1.0], "meanX": [2.0], "MeanX": [3.0]}
    labels = ("tri??/", 'x";\n#error z', "\x1b[31m", "\udce4")
    out = to_tflm(tmp_path / "evil.tflite", tmp_path / "out", name="m", classes=labels, frontend=settings).folder
    (tmp_path / "main.cc").write_text('#include "m_model.h"\nint main() { return kMLabels[0] == kMLabels[1]; }\n')
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-c", f"-I{out}", "-o", str(tmp_path / "main.o")]
    subprocess.run([*command, str(tmp_path / "main.cc")], check=True, capture_output=True, text=True)
    header = (out / "m_model.h").read_text("utf-8")
    assert not re.search(r"^#error", header, re.MULTILINE)
    assert json.loads((out / "m.json").read_text("ascii"))["classes"] == list(labels)


@pytest.mark.parametrize("failing", range(1, 4))
def test_files_come_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    (tmp_path / "a").write_text("old")
    contents = {"a": b"new", "b": b"new"}
    moves: list[Any] = []
    move = os.replace

    def stumbling(source: Any, target: Any) -> None:
        if Path(target).parent == tmp_path:
            moves.append(source)
            if len(moves) == failing:
                raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(together.os, "replace", stumbling)
    if failing < 3:
        with pytest.raises(DataError, match=r"can't be written to '.*': No space left on device"):
            together.write_together(tmp_path, contents, overwrite=True)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}
    else:
        together.write_together(tmp_path, contents, overwrite=True)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


def test_files_are_old_or_new_wherever_their_writer_is_killed(tmp_path: Path, each_kill: Any) -> None:
    old, new = {"a": b"old", "b": b"old"}, {"a": b"new", "b": b"new", "c": b"new"}
    together.write_together(tmp_path / "out", old, overwrite=True)
    for _ in each_kill(lambda: together.write_together(tmp_path / "out", new, overwrite=True)):
        found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
        assert set(found) >= set(old) and all(found[name] in (b"old", b"new") for name in found)
        together.write_together(tmp_path / "out", new, overwrite=True)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == new
        (tmp_path / "out" / "c").unlink()
        together.write_together(tmp_path / "out", old, overwrite=True)


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match=r"'.*a' is a folder"):
        together.write_together(tmp_path, {"a": b"new"}, overwrite=True)


@needs_tflm
def test_a_kernel_of_tflm_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6,)), keras.layers.ReLU(6)])
    data = np.random.default_rng(3).normal(scale=3, size=(200, 6)).astype(np.float32)
    facts = to_litert(model, tmp_path / "x.tflite", data)
    if facts.operators != {"RELU6": 1}:
        pytest.skip("this LiteRT writes a ReLU(6) otherwise")
    with pytest.raises(ConversionError, match=r"TFLM computes something else than LiteRT .* a relative error of"):
        to_tflm(facts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_error_against_the_network_is_told(made: SimpleNamespace, tmp_path: Path) -> None:
    assert 0 < made.facts.error < 0.1
    found = to_tflm(made.facts, tmp_path / "out", name="m")
    assert found.model.error == made.facts.error
    assert json.loads((tmp_path / "out" / "m.json").read_text())["error"] == made.facts.error
    assert "relative error of the outputs" in str(made.facts)


@needs_tflm
def test_a_dense_layer_or_softmax_differs_by_a_step_at_most_and_seldom(tmp_path: Path) -> None:
    for layer in (keras.layers.Dense(5), keras.layers.Softmax()):
        model = keras.Sequential([keras.Input((6,)), layer])
        data = np.random.default_rng(3).normal(scale=3, size=(200, 6)).astype(np.float32)
        facts = to_litert(model, tmp_path / f"{layer.name}.tflite", data)
        runner = Interpreter(facts.path, kernels="reference")
        steps = runner.quantize(data)
        apart = tflm_runtime.run_tflm(facts.path, steps).astype(int) - runner.run(steps)[0]
        assert np.abs(apart).max() <= 1
        assert (apart != 0).mean() < 0.05


@needs_tflm
def test_the_arena_is_the_smallest_that_works(made: SimpleNamespace) -> None:
    arena = made.made.arena
    assert f"kSmallNetArenaSize = {arena};" in (made.out / "small_net_model.h").read_text("utf-8")
    content = made.facts.path.read_bytes()
    assert "error" not in tflm_runtime.ask(content, arena=arena)
    assert "error" in tflm_runtime.ask(content, arena=arena - 16, checked=False)
    # So small an arena ends TFLM's process without a word; this process must only hear of it.
    with pytest.raises(DataError, match=r"TFLM can't run the model: "):
        tflm_runtime.ask(content, arena=64)


def test_without_the_wheel_the_header_says_so(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflm_module, "has_tflm", lambda: False)
    monkeypatch.setattr(tflm_runtime, "has_tflm", lambda: False)
    found = to_tflm(made.facts.path, tmp_path / "new" / "deep", name="m")
    assert found.arena is None
    header = (found.folder / "m_model.h").read_text("utf-8")
    assert "arena was not measured" in header
    assert "ArenaSize" not in header
    with pytest.raises(MissingExtraError, match=r"analognets\[tflm\]"):
        tflm_runtime.arena_size(made.facts.path)


def test_nothing_is_replaced_unasked(made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflm_module, "has_tflm", lambda: False)
    (tmp_path / "m_ops.h").write_text("mine")
    with pytest.raises(DataError, match=r"holds m_ops.h already"):
        to_tflm(made.facts.path, tmp_path, name="m")
    assert [path.name for path in tmp_path.iterdir()] == ["m_ops.h"]
    to_tflm(made.facts.path, tmp_path, name="m", overwrite=True)
    assert "AddConv2D" in (tmp_path / "m_ops.h").read_text()


def test_wrong_names_and_labels(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`name` must be a C\+\+ name: a letter.*Received: name='1st net'"):
        to_tflm(made.facts.path, tmp_path, name="1st net")
    with pytest.raises(InvalidArgumentError, match=r"The model has 4 outputs. Received: 2 labels"):
        to_tflm(made.facts.path, tmp_path, classes=["a", "b"])
    with pytest.raises(DataError, match=r"is no .tflite file"):
        (tmp_path / "x.tflite").write_text("something else")
        to_tflm(tmp_path / "x.tflite", tmp_path)
