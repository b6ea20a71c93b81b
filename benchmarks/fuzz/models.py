"""Malformed `.keras`, `.h5` and `.tflite` files, and arrays in safetensors files."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.damage import Reader, Rng, damage, mutated, special
from benchmarks.fuzz.files import network

__all__ = ["READERS"]


@functools.cache
def plain_network() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((6, 5, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Reshape((12, 4), name="rows"),
            keras.layers.LSTM(3, name="lstm"),
            keras.layers.Dense(3, name="logits"),
        ],
        name="plain",
    )


@functools.cache
def stored(kind: str) -> bytes:
    """Return the content of a good file: "plain", "analog" (`.keras`), "h5" or "tflite"."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("model.h5" if kind == "h5" else "model.keras")
        if kind == "tflite":
            from analognets.deploy.export.litert import to_litert

            path = path.with_suffix(".tflite")
            to_litert(plain_network(), path, quantize="none")
        else:
            (network() if kind == "analog" else plain_network()).save(path)
        return path.read_bytes()


def set_some(rng: Rng, group: Any) -> None:
    """Set a number in one of the arrays of an open h5 file to what no weight is, or replace the array."""
    import h5py

    found: list[str] = []
    group.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.size else None)
    name = str(rng.choice(found))
    values = np.array(group[name])
    if rng.random() < 0.6 and values.dtype.kind == "f":
        values.reshape(-1)[int(rng.integers(values.size))] = rng.choice([np.nan, np.inf, -np.inf])
        group[name][...] = values
    else:
        del group[name]
        if rng.random() < 0.7:
            group[name] = np.zeros(
                rng.integers(0, 4, int(rng.integers(0, 4))), str(rng.choice(["f4", "f8", "i4", "?"]))
            )


def changed_zip(rng: Rng, content: bytes) -> bytes:
    """Change what stands in a `.keras` file, with checksums that fit."""
    import h5py

    parts = {item.filename: b"" for item in zipfile.ZipFile(io.BytesIO(content)).infolist()}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in parts}
    kind = int(rng.integers(5))
    if kind < 3:
        name = "metadata.json" if rng.random() < 0.1 else "config.json"
        parts[name] = json.dumps(mutated(rng, json.loads(parts[name]))).encode()
    elif kind == 3:
        file = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            set_some(rng, weights)
        parts["model.weights.h5"] = file.getvalue()
    else:
        name = str(rng.choice(sorted(parts)))
        parts[name] = damage(rng, parts[name]) if rng.random() < 0.7 else b" " * 10**7
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            if rng.random() < 0.98:
                archive.writestr(name, part)
    return out.getvalue()


def changed_h5(rng: Rng, content: bytes) -> bytes:
    """Change what stands in an `.h5` file."""
    import h5py

    file = io.BytesIO(content)
    with h5py.File(file, "r+") as model:
        if rng.random() < 0.6:
            model.attrs["model_config"] = json.dumps(mutated(rng, json.loads(model.attrs["model_config"])))
        elif rng.random() < 0.7:
            set_some(rng, model["model_weights"])
        else:
            name = str(rng.choice(sorted(model.attrs)))
            del model.attrs[name]
            model.attrs[name] = rng.choice([1.5, 7])
    return file.getvalue()


def model_input(kind: str) -> Any:
    """Return a maker of damaged model files."""

    def make_input(rng: Rng, folder: Path) -> Path:
        path, content = (
            folder / ("x.h5" if kind == "h5" else f"x.{kind}" if kind == "tflite" else "x.keras"),
            stored(kind),
        )
        if kind == "tflite" or rng.random() < 0.3:
            if not special(rng, path):
                path.write_bytes(damage(rng, content, head=2000))
        else:
            path.write_bytes(changed_h5(rng, content) if kind == "h5" else changed_zip(rng, content))
        return path

    return make_input


def read_model(path: Path) -> None:
    from analognets.conversion import load_model

    model = load_model(path)
    if not all(np.isfinite(np.asarray(weight)).all() for weight in model.weights if "float" in weight.dtype):
        raise AssertionError("weights that are no numbers were taken")
    if sum(weight.shape.num_elements() for weight in map(lambda one: one.value, model.weights)) > 10**7:
        raise AssertionError("a network far larger than its file was built")


def read_tflite(path: Path) -> None:
    from analognets.deploy.export.litert_file import read_litert

    str(read_litert(path))


def tensors_input(rng: Rng, folder: Path) -> Path:
    """Write a damaged safetensors file."""
    from safetensors.numpy import save

    path = folder / "x.safetensors"
    arrays = {"a": np.ones((3, 4), np.float32), "b": np.arange(5), "c": np.zeros((0, 2), np.float16)}
    content = save(arrays)
    if rng.random() < 0.5:
        length = int.from_bytes(content[:8], "little")
        header = json.dumps(mutated(rng, json.loads(content[8 : 8 + length]))).encode()
        content = len(header).to_bytes(8, "little") + header + content[8 + length :]
    elif rng.random() < 0.3:
        content = save({**arrays, "a": np.full((3, 4), np.nan, np.float32)})
    path.write_bytes(content if rng.random() < 0.5 else damage(rng, content))
    return path


def read_tensors(path: Path) -> None:
    from analognets.core.tensors import tensors_of
    from analognets.errors import PresetError

    for array in tensors_of(path.read_bytes(), path, PresetError).values():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise AssertionError("numbers that are none were taken")


READERS = [
    Reader("keras file", model_input("plain"), read_model),
    Reader("analog keras file", model_input("analog"), read_model),
    Reader("h5 file", model_input("h5"), read_model),
    Reader("tflite file", model_input("tflite"), read_tflite),
    Reader("safetensors file", tensors_input, read_tensors),
]
"""Files of networks."""
