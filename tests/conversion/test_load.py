"""Model files of others: legacy `.h5` files with the quirks of Keras 2, `.keras` files, and those that are refused."""

from __future__ import annotations

import base64
import json
import marshal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from analognets.conversion import load_model, to_analog
from analognets.errors import ConversionError, DataError

L = keras.layers
DATA = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


@keras.saving.register_keras_serializable(package="tests_files")
class Odd(L.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs + 1.0


def small(middle: Callable[[], L.Layer] = L.ReLU) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = L.DepthwiseConv2D(3, name="depth")(inputs)
    x = middle()(L.BatchNormalization(name="norm")(x))
    x = L.Bidirectional(L.LSTM(2, name="lstm"), name="both")(L.Reshape((6, 18))(x))
    return keras.Model(inputs, L.Dense(2, name="logits")(x), name="small")


def keras_2(path: Path, change: Callable[[dict[str, Any]], None] = lambda config: None) -> None:
    """Give an `.h5` file the config that Keras 2.4 would have written."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            inside = layer["config"]
            if layer["class_name"] == "InputLayer":
                inside["batch_input_shape"] = inside.pop("batch_shape")
                inside.update(sparse=False, ragged=False)
                inside.pop("optional", None)
            if layer["class_name"] == "DepthwiseConv2D":
                inside["groups"] = 1
            if layer["class_name"] == "BatchNormalization":
                inside["axis"] = [3]
                inside.pop("renorm", None)
            if layer["class_name"] == "Bidirectional":
                inside["layer"]["config"].update(time_major=False)
            if isinstance(inside.get("dtype"), dict):
                inside["dtype"] = inside["dtype"]["config"]["name"]
        change(config)
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.4.0"


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    path = tmp_path / "old.h5"
    small().save(path)
    keras_2(path)
    return path


def test_a_file_of_keras_2_that_keras_3_refuses_is_loaded_converted_and_left_as_it_was(legacy: Path) -> None:
    with pytest.raises((TypeError, ValueError), match="groups|time_major"):
        keras.models.load_model(legacy, compile=False)
    before = legacy.read_bytes()
    model = load_model(legacy)
    outputs = model(DATA)
    assert outputs.shape == (3, 2), "one output is an array, not a list of one"
    np.testing.assert_array_equal(outputs, small()(DATA))
    analog = to_analog(model)
    products = [f"{way}_lstm_{product}" for way in ("forward", "backward") for product in ("input", "recurrent")]
    assert {layer.layer for layer in analog.conversion_report.converted} == {"depth", *products, "logits"}
    np.testing.assert_allclose(analog(DATA), model(DATA), rtol=1e-5, atol=1e-6)
    assert legacy.read_bytes() == before
    assert not model.compiled


def test_arguments_that_say_something_are_kept(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        next(entry for entry in config["config"]["layers"] if "groups" in entry["config"])["config"]["groups"] = 3

    legacy = tmp_path / "old.h5"
    small().save(legacy)
    keras_2(legacy, change)
    with pytest.raises(
        ConversionError, match=r"Layer 'depth' \(DepthwiseConv2D\) of the model in .*only groups=1 can be"
    ):
        load_model(legacy)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.hdf5"])
def test_files_of_keras_3(tmp_path: Path, name: str) -> None:
    model = small()
    model.compile("adam", "mse")
    model.save(tmp_path / name)
    loaded = load_model(tmp_path / name)
    np.testing.assert_array_equal(loaded(DATA), model(DATA))
    assert not loaded.compiled


def test_the_kind_of_a_file_does_not_hang_on_its_name(tmp_path: Path) -> None:
    for name in ("model.keras", "model.h5"):
        small().save(tmp_path / name)
        renamed = (tmp_path / name).rename(tmp_path / f"{name}.bin")
        np.testing.assert_array_equal(load_model(renamed)(DATA), small()(DATA))


def test_a_keras_file_with_an_old_config_is_loaded(tmp_path: Path) -> None:
    path, old = tmp_path / "model.keras", tmp_path / "old.keras"
    small().save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                content = content.replace(b'"depth_multiplier": 1', b'"depth_multiplier": 1, "groups": 1')
            target.writestr(name, content)
    np.testing.assert_array_equal(load_model(old)(DATA), small()(DATA))


def bomb(target: Path) -> list[Any]:
    """Return the marshalled code of a Lambda that writes a file when it is called, as Keras 2 stored it."""
    code = marshal.dumps((lambda x, _path=str(target): (open(_path, "w").close(), x)[1]).__code__)
    return [base64.b64encode(code).decode(), [str(target)], None]


def with_lambda(config: dict[str, Any], function: Any, kind: str = "lambda") -> None:
    layer = next(entry for entry in config["config"]["layers"] if entry["class_name"] == "ReLU")
    layer["class_name"] = "Lambda"
    layer["config"] = {"name": layer["config"]["name"], "function": function, "function_type": kind, "arguments": {}}


def test_code_in_an_h5_file_is_never_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "lambda.h5", tmp_path / "trace"
    small().save(path)
    keras_2(path, lambda config: with_lambda(config, bomb(trace)))
    with pytest.raises(ConversionError, match=r"Layer 're_lu\w*' of the model in .* is a Lambda: Python code"):
        load_model(path)
    assert not trace.exists()


@pytest.mark.parametrize("function", ["system", {"class_name": "function", "config": "system", "module": "os"}])
def test_a_lambda_that_names_a_function_is_refused(tmp_path: Path, function: Any) -> None:
    path = tmp_path / "lambda.h5"
    small().save(path)
    keras_2(path, lambda config: with_lambda(config, function, "function"))
    with pytest.raises(ConversionError, match="is a Lambda"):
        load_model(path)


def test_code_in_a_keras_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    small(lambda: L.Lambda(lambda x: x + 1, name="shift")).save(path)
    with pytest.raises(ConversionError, match="Layer 'shift' of the model in"):
        load_model(path)


def test_unknown_layers_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    small(lambda: Odd(name="strange")).save(path)
    assert load_model(path).get_layer("strange").name == "strange", "registered classes are known"
    keras_2(path, lambda config: _rename(config, "tests_files>Odd", "Elsewhere"))
    with pytest.raises(
        ConversionError, match=r"classes that Keras does not know: Elsewhere \(strange\)\. Give them as custom_objects"
    ):
        load_model(path)
    np.testing.assert_array_equal(load_model(path, custom_objects={"Elsewhere": Odd})(DATA), small(Odd)(DATA))


def _rename(config: dict[str, Any], old: str, new: str) -> None:
    for layer in config["config"]["layers"]:
        if layer["class_name"] == old:
            layer["class_name"] = new
        layer.pop("registered_name", None)


def test_what_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    (tmp_path / "text.h5").write_text("no model")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("readme", "no model")
    small().save_weights(tmp_path / "only.weights.h5")
    small().save(tmp_path / "whole.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "whole.h5").read_bytes()[:3000])
    sentences = {
        "saved": "is a TensorFlow SavedModel, and holds no Keras layers that could be converted. Build",
        "net.tflite": "is a graph, and holds no Keras layers",
        "missing.h5": "There is no model file",
        "text.h5": "is neither a `.keras` file nor a legacy `.h5` file, or it is cut short",
        "zip.keras": "is a zip file but no whole `.keras` file",
        "only.weights.h5": "holds weights but no model. Build the model in Python",
        "cut.h5": "can't be read|cut short",
    }
    for name, sentence in sentences.items():
        with pytest.raises(DataError, match=sentence):
            load_model(tmp_path / name)
