"""Presets that mean harm, or were damaged on their way, are refused before anything of them is used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from analognets.core.tensors import MAX_HEADER
from analognets.errors import AnalogNetsError, ChecksumError, PresetError
from analognets.training.recipe import Recipe
from analognets.zoo.presets import files as preset_files
from analognets.zoo.presets.files import pack, unpack
from analognets.zoo.presets.handles import bundled
from analognets.zoo.presets.registry import load_preset
from analognets.zoo.presets.safe_config import check_config, from_config, to_config
from analognets.zoo.presets.saving import save_to_preset


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change preset.json."""
    record = json.loads((folder / "preset.json").read_text("utf-8"))
    change(record)
    (folder / "preset.json").write_text(json.dumps(record), "utf-8")


def swap(folder: Path, name: str, content: bytes) -> None:
    """Put another file in, with the sha256 that goes with it: whoever writes a preset also writes its checksums."""
    (folder / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(folder, lambda record: record["files"].update({name: entry}))


def layers_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    return record["architecture"]["config"]["config"]["layers"]


def lambda_layer(record: dict[str, Any]) -> None:
    layer = next(layer for layer in layers_of(record) if layer["class_name"] == "ReLU")
    code = {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
    layer.update(class_name="Lambda", config={"name": "relu", "function": code})


def foreign(module: str, name: str, config: Any = None, registered: str | None = None) -> Callable[..., None]:
    def change(record: dict[str, Any]) -> None:
        layer = next(layer for layer in layers_of(record) if layer["class_name"] == "ReLU")
        layer.update(module=module, class_name=name, registered_name=registered, config=config or {"name": "relu"})

    return change


def initializer(name: str, module: str) -> Callable[..., None]:
    def change(record: dict[str, Any]) -> None:
        layer = next(layer for layer in layers_of(record) if layer["class_name"] == "AnalogDense")
        layer["config"]["kernel_initializer"] = {"module": module, "class_name": name, "config": {}}

    return change


def deep(record: dict[str, Any]) -> None:
    nested: Any = 0
    for _ in range(150):
        nested = [nested]
    record["architecture"]["config"]["extra"] = nested


CONFIGS = {
    "Lambda layer": (lambda_layer, r"holds code \('Lambda'\), which would run on loading"),
    "os.system": (foreign("os", "system", "touch x"), r"names 'system' of 'os', which is no layer"),
    "function": (foreign("builtins", "function", "eval"), "names 'function' of 'builtins'"),
    "get_file": (foreign("keras.utils", "get_file", {"origin": "http://127.0.0.1/x"}), "names 'get_file'"),
    "file reader": (foreign("keras.models", "load_model", {"filepath": "x"}), "names 'load_model' of 'keras.models'"),
    "graph": (foreign("keras.layers", "TFSMLayer", {"filepath": "x"}), "names another file|TensorFlow graph"),
    "torch": (foreign("keras.layers", "TorchModuleWrapper"), "holds a pickled PyTorch module"),
    "vocabulary": (foreign("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}), "names another file"),
    "disguise": (foreign("keras.layers", "ReLU", registered="analognets>Nothing"), "names 'analognets>Nothing'"),
    "disguise of ours": (foreign("os", "ReLU", registered="analognets>system"), "names 'analognets>system'"),
    "hidden": (initializer("Popen", "subprocess"), "names 'Popen' of 'subprocess'"),
    "typespec": (initializer("__typespec__", "tensorflow"), "TensorFlow's own types"),
    "deep": (deep, "nested more than 100 deep"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_configs_that_could_run_something_are_refused(kind: str, preset_copy: Path) -> None:
    change, message = CONFIGS[kind]
    edit(preset_copy, change)
    preset = load_preset(preset_copy)
    with pytest.raises(PresetError, match=message):
        preset.model()


def test_a_front_end_is_held_to_the_same_rules(preset_copy: Path) -> None:
    evil = {"module": "os", "class_name": "system", "config": {"command": "touch x"}, "registered_name": None}
    edit(preset_copy, lambda record: record.update(frontend=evil))
    with pytest.raises(PresetError, match=r"front end of preset 'tiny\.analog' names 'system' of 'os'"):
        _ = load_preset(preset_copy).frontend
    dense = to_config(keras.initializers.Zeros())
    edit(preset_copy, lambda record: record.update(frontend=dense))
    with pytest.raises(PresetError, match="must be a Keras layer. Received: Zeros"):
        _ = load_preset(preset_copy).frontend


def test_a_lambda_layer_never_runs_and_is_not_saved_either(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(2)])
    with pytest.raises(PresetError, match="holds code"):
        save_to_preset(model, tmp_path / "x")
    with pytest.raises(PresetError, match="holds code"):
        from_config(
            json.loads(json.dumps(to_config(model))), where="It", custom_objects={"Lambda": keras.layers.Lambda}
        )


def test_a_recipe_can_not_send_for_other_files(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundled()["analognet_kws.float"], tmp_path / "p"))
    text = (folder / "recipe.yaml").read_text("utf-8")
    recipe = Recipe.from_yaml(text).to_dict()
    recipe["model"] = {"name": "finetuned", "options": {"preset": "https://host.invalid/p.zip", "weights_sha256": None}}
    swap(folder, "recipe.yaml", json.dumps(recipe).encode())
    with pytest.raises(PresetError, match="missing or names another network"):
        load_preset(folder).model()
    edit(folder, lambda record: record["architecture"].update(name="finetuned"))
    with pytest.raises(PresetError, match="other files would be opened for"):
        load_preset(folder).model()


def test_usual_layers_pass() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="non_neg", activation="swish")(x)
    x = keras.ops.mean(keras.layers.Activation(keras.activations.gelu)(x), axis=(1, 2))
    x = keras.layers.MultiHeadAttention(2, 3)(x[:, None, :], x[:, None, :])
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="mixed_float16")(keras.layers.Dropout(0.5, seed=1)(x)))
    model.compile("adam", "mse")
    config = json.loads(json.dumps(to_config(model)))
    check_config(config, where="It")
    assert from_config(config, where="It").count_params() == model.count_params()


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\b", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(name: str, preset_copy: Path) -> None:
    edit(preset_copy, lambda record: record["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))
    with pytest.raises(PresetError, match="plain file names only"):
        load_preset(preset_copy)


@pytest.mark.parametrize("name", ["preset.json", "weights.safetensors", "README.md"])
def test_links_out_of_the_folder_are_refused(name: str, preset_copy: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((preset_copy / name).read_bytes())
    (preset_copy / name).unlink()
    (preset_copy / name).symlink_to(secret)
    with pytest.raises(PresetError, match="is a link that leads out of the preset"):
        load_preset(preset_copy)


def test_a_link_in_a_circle_and_a_pipe_do_not_hang(preset_copy: Path) -> None:
    (preset_copy / "README.md").unlink()
    (preset_copy / "README.md").symlink_to("README.md")
    with pytest.raises(PresetError, match=r"holds no README\.md"):
        load_preset(preset_copy)
    (preset_copy / "README.md").unlink()
    os.mkfifo(preset_copy / "README.md")
    with pytest.raises(PresetError, match="must be a plain file"):
        load_preset(preset_copy)


@pytest.mark.parametrize("name", ["weights.safetensors", "golden.safetensors", "results.csv", "README.md"])
def test_files_cut_short_or_changed_or_gone(name: str, preset_copy: Path) -> None:
    whole = (preset_copy / name).read_bytes()
    (preset_copy / name).write_bytes(whole[:-1])
    with pytest.raises(PresetError, match=f"{name}' is not the file that was saved"):
        load_preset(preset_copy)
    (preset_copy / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(PresetError, match=f"{name}' is not the file that was saved"):
        load_preset(preset_copy)
    (preset_copy / name).unlink()
    with pytest.raises(PresetError, match=f"holds no {name}"):
        load_preset(preset_copy)
    edit(preset_copy, lambda record: record["files"].pop(name))
    with pytest.raises(PresetError, match=f"names no {name}"):
        load_preset(preset_copy)


HEADERS = {
    "oversized": struct.pack("<Q", 2**62) + b"{}",
    "over the limit": struct.pack("<Q", MAX_HEADER + 1) + b" " * (MAX_HEADER + 1),
    "longer than the file": struct.pack("<Q", 1000) + b"{}",
    "empty": b"",
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch x'\ntR.",
    "no JSON": struct.pack("<Q", 8) + b"nonsense",
    "not a mapping": struct.pack("<Q", 2) + b"[]",
    "nested": struct.pack("<Q", 20000) + b"[" * 20000,
    "more numbers than bytes": struct.pack("<Q", 62)
    + b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'[:62],
}


@pytest.mark.parametrize("kind", HEADERS)
def test_weights_with_a_bad_header(kind: str, preset_copy: Path) -> None:
    swap(preset_copy, "weights.safetensors", HEADERS[kind])
    preset = load_preset(preset_copy)
    with pytest.raises(PresetError, match=r"weights\.safetensors' (is no safetensors file|can't be read|must hold)"):
        preset.model()


def test_a_shape_that_is_not_in_the_file(preset_copy: Path) -> None:
    entry = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}
    header = json.dumps(entry).encode()
    swap(preset_copy, "weights.safetensors", struct.pack("<Q", len(header)) + header + b"1234")
    with pytest.raises(PresetError, match="must hold 4,398,046,511,104 bytes of numbers. Received: 4"):
        load_preset(preset_copy).model()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key, value: {key: np.full_like(value, np.nan)}, "holds NaN or infinity in"),
        (lambda key, value: {key: np.full_like(value, np.inf)}, "holds NaN or infinity in"),
        (lambda key, value: {key: value[..., :-1]}, r"does not fit its network.*first \('kernel', \(3, 3, 1, 3\)\)"),
        (lambda key, value: {f"{key}_x": value}, "does not fit its network"),
        (lambda key, value: {}, r"does not fit its network: it holds \d+ variables, the network has \d+"),
    ],
    ids=["NaN", "infinity", "shape", "name", "missing"],
)
def test_weights_that_do_not_fit(change: Callable[..., dict[str, Any]], message: str, preset_copy: Path) -> None:
    path = preset_copy / "weights.safetensors"
    arrays = load_file(path)
    key = next(key for key in sorted(arrays) if key.endswith("conv/kernel"))
    value = arrays.pop(key)
    save_file({name: np.ascontiguousarray(array) for name, array in {**arrays, **change(key, value)}.items()}, path)
    swap(preset_copy, path.name, path.read_bytes())
    with pytest.raises(PresetError, match=message):
        load_preset(preset_copy).model()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a preset's description: it was cut short or changed"),
        ("[" * 100_000, "it is nested too deeply"),
        ("[]", "is not the description of a preset"),
        ('{"format": 7}', "has preset format 7, this version reads 1"),
        ('{"format": 1, "parameters": NaN}', "NaN is no JSON"),
        ('{"format": 1, "surprise": 1}', "is not the description of a preset"),
        (" " * (preset_files.MAX_INDEX + 1), "may have at most"),
    ],
    ids=["cut short", "nested", "a list", "newer", "NaN", "unknown key", "huge"],
)
def test_a_bad_preset_json(text: str, message: str, preset_copy: Path) -> None:
    (preset_copy / "preset.json").write_text(text, "utf-8")
    with pytest.raises(PresetError, match=message):
        load_preset(preset_copy)


def member(name: str, content: bytes = b"x", mode: int = 0o100644) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry, content


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil.txt")],
        [member("/evil.txt")],
        [member("a/../../evil.txt")],
        [member("one/preset.json"), member("two/preset.json")],
        [member("preset.json", b"/etc/passwd", stat.S_IFLNK | 0o777)],
        [member("preset.json", b" " * (preset_files.MAX_INDEX + 1))],
        [member(f"{i}.txt") for i in range(65)],
        [member("preset.json"), member("preset.json")],
        [],
    ],
    ids=["above", "absolute", "through", "folders", "link", "bomb", "many", "twice", "empty"],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_with_bad_members(members: list[tuple[zipfile.ZipInfo, bytes]], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in members:
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    with pytest.raises(PresetError):
        unpack(tmp_path / "bad.zip", tmp_path / "new" / "preset")
    assert not list((tmp_path / "new").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "new"]


def test_an_archive_whose_list_lies_about_sizes(preset_copy: Path, tmp_path: Path) -> None:
    content = b"0" * 5_000_000
    with zipfile.ZipFile(tmp_path / "lie.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("preset.json", content)
    raw = (tmp_path / "lie.zip").read_bytes()
    (tmp_path / "lie.zip").write_bytes(raw.replace(struct.pack("<I", len(content)), struct.pack("<I", 10)))
    with pytest.raises(PresetError, match="lie.zip"):
        unpack(tmp_path / "lie.zip", tmp_path / "new" / "preset")
    assert not list((tmp_path / "new").iterdir())


def test_archives_open_as_folders_do(saved: Path, tmp_path: Path, analog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "cache"))
    pack(saved, tmp_path / "p.zip")
    digest = hashlib.sha256((tmp_path / "p.zip").read_bytes()).hexdigest()
    preset = load_preset(tmp_path / "p.zip", sha256=digest)
    assert preset.name == "tiny.analog" and preset.path.is_relative_to(tmp_path / "cache")
    (preset.path / "README.md").write_text("spoilt")
    assert load_preset(str(tmp_path / "p.zip")).card.startswith("---")
    pack(saved, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "p.zip").read_bytes()
    with pytest.raises(ChecksumError, match=r"p\.zip' must have the sha256 0{64}"):
        load_preset(tmp_path / "p.zip", sha256="0" * 64)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "p.zip").read_bytes()[:-100])
    with pytest.raises(PresetError, match="can't be unpacked"):
        load_preset(tmp_path / "cut.zip")
    index = hashlib.sha256((saved / "preset.json").read_bytes()).hexdigest()
    assert load_preset(saved, sha256=index).name == "tiny.analog"
    with pytest.raises(ChecksumError, match=r"preset\.json in .* must have the sha256"):
        load_preset(saved, sha256="f" * 64)
    with pytest.raises(AnalogNetsError, match="64 hexadecimal digits"):
        load_preset(saved, sha256="abc")


def test_no_preset_room_reads_pickles() -> None:
    root = Path(preset_files.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text("utf-8")
        assert "pickle" not in text.replace("pickled", "") and "allow_pickle" not in text, path
        assert "safe_mode=False" not in text
