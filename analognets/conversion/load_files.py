"""Opening `.keras` and `.h5` files and SavedModels: what each is, its config and version, how many numbers it holds."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from analognets.conversion.load_saved_model import GRAPH, keras_config, saved_bytes
from analognets.conversion.sizes import declared_bytes
from analognets.core.files import json_of
from analognets.errors import AnalogNetsError, ConversionError, DataError, reason

__all__ = ["ModelFile", "check_size", "opened"]

CONFIG = "config.json"
METADATA = "metadata.json"
MIB = 2**20
MOST_CONFIG = 32 * MIB
"""Bytes of a config; the largest published networks have some hundred kB."""
MOST_RATIO = 20
"""How much smaller weights may be packed; float weights hardly shrink, pruned ones about tenfold."""
FREE = 64 * MIB
"""Bytes that are small at any ratio."""
SPARE = 16 * MIB
"""Bytes that a model may have more than its file: states that are not saved."""
WAY_ROUND = (
    "Build the network in Python with keras.layers and assign the weights layer by layer: their values are in "
    "tf.train.load_checkpoint('{path}/variables/variables').get_tensor(name), their names in "
    ".get_variable_to_shape_map()."
)


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A Keras model file that is opened for its config.

    Args:
        path: the file, or the folder of a SavedModel.
        zipped: whether it is a `.keras` file, else an `.h5` one or a folder.
        config: the entry of the model.
        version: of the Keras that wrote it, as far as it says.
        held: bytes of weights in it.
    """

    path: Path
    zipped: bool
    config: dict[str, Any]
    version: str
    held: int

    @property
    def old(self) -> bool:
        """Whether Keras 1 or 2 wrote it."""
        if self.version:
            return self.version.partition(".")[0] in ("0", "1", "2")
        return '"batch_input_shape"' in json.dumps(self.config)

    def rewritten(self, target: Path, config: Mapping[str, Any]) -> None:
        """Copy a `.keras` file with another config."""
        with zipfile.ZipFile(self.path) as archive, zipfile.ZipFile(target, "w") as copy:
            for item in archive.infolist():
                if item.filename == CONFIG:
                    copy.writestr(CONFIG, json.dumps(config))
                else:
                    with archive.open(item) as stream, copy.open(item.filename, "w", force_zip64=True) as out:
                        shutil.copyfileobj(stream, out)


def opened(path: Path) -> ModelFile:
    """Return a model file by what it is, rather than by its name.

    Raises:
        DataError: it is missing, broken, or no Keras model.
    """
    if path.suffix in (".pb", ".tflite"):
        raise DataError(
            f"'{path}' is a graph, and holds no Keras layers that could be converted. Take the `.keras` or `.h5` file "
            "that it was made from, or build the network in Python and assign its weights."
        )
    folder = os.path.isdir(path)
    if folder and not os.path.exists(path / GRAPH):
        raise DataError(f"'{path}' is a folder and no Keras model. Give a `.keras` or `.h5` file.")
    if not folder and not os.path.isfile(path):
        raise DataError(f"There is no model file '{path}'. Check the path, which counts from the current folder.")
    try:
        if folder:
            return opened_folder(path)
        if zipfile.is_zipfile(path):
            return opened_zip(path)
        if h5py.is_hdf5(path):
            return opened_h5(path)
    except AnalogNetsError:
        raise
    except Exception as error:  # zipfile, zlib and h5py raise many kinds for a broken file
        raise DataError(f"'{path}' is no whole model file and can't be read. Received: {reason(error)}.") from error
    raise DataError(
        f"'{path}' is neither a `.keras` file nor a legacy `.h5` file, or it is cut short. Save or copy it again: "
        "model.save('model.keras') or, in Keras 2, model.save('model.h5')."
    )


def opened_folder(path: Path) -> ModelFile:
    """Return the SavedModel of a Keras 2 network.

    Raises:
        DataError: it is a graph alone.
    """
    found = keras_config(path)
    if found is None:
        raise DataError(
            f"'{path}' is a TensorFlow SavedModel, and holds no Keras layers that could be converted. "
            + WAY_ROUND.format(path=path)
        )
    return ModelFile(path, False, found[0], found[1], saved_bytes(path))


def opened_zip(path: Path) -> ModelFile:
    """Return a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if CONFIG not in names:
            raise DataError(f"'{path}' is a zip file but no whole `.keras` file. Received: no '{CONFIG}' in it.")
        check_ratio(path, sum(item.file_size for item in archive.infolist()), path.stat().st_size)
        metadata = as_json(path, read_part(path, archive, METADATA)) if METADATA in names else {}
        config = as_config(path, read_part(path, archive, CONFIG))
        held = sum(item.file_size for item in archive.infolist() if item.filename not in (CONFIG, METADATA))
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return ModelFile(path, True, config, version if isinstance(version, str) else "", held)


def read_part(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a small part of an archive.

    Raises:
        DataError: it is not small.
    """
    size = archive.getinfo(name).file_size
    if size > MOST_CONFIG:
        raise DataError(f"'{name}' in '{path}' may unpack to {MOST_CONFIG / MIB:.0f} MiB. Received: {size / MIB:.0f}.")
    return archive.read(name)


def check_ratio(path: Path, unpacked: int, packed: int) -> None:
    """Raise a DataError if a file unpacks to far more than weights do."""
    if unpacked > FREE + MOST_RATIO * packed:
        raise DataError(
            f"'{path}' unpacks to {unpacked / MIB:.0f} MiB from {packed / MIB:.1f} MiB, far more than packed weights "
            f"do, at most {MOST_RATIO} times. If it is sound, unpack it and store it without compression."
        )


def opened_h5(path: Path) -> ModelFile:
    """Return an `.h5` file."""
    with h5py.File(path, "r") as file:
        said = file.attrs.get("model_config")
        if said is None:
            raise DataError(
                f"'{path}' holds weights but no model. Build the model in Python, then "
                f"model.load_weights('{path.name}')."
            )
        if not isinstance(said, (bytes, str)) or len(said) > MOST_CONFIG:
            raise DataError(
                f"The config of the model in '{path}' must be a text of at most {MOST_CONFIG / MIB:.0f} MiB."
            )
        version, backend = (file.attrs.get(name, "") for name in ("keras_version", "backend"))
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        if backend in ("theano", b"theano") and re.search(r'"class_name": *"[A-Za-z]*Conv', text):
            raise ConversionError(
                f"The model in '{path}' was written by Keras on Theano, which turns the kernels of convolutions by 180 "
                "degrees. Load it there with TensorFlow as the backend, and save it again."
            )
        sizes: list[int] = []
        file.visititems(lambda name, item: sizes.append(item.nbytes if isinstance(item, h5py.Dataset) else 0))
    check_ratio(path, sum(sizes), path.stat().st_size)
    version = version.decode("ascii", "replace") if isinstance(version, bytes) else version
    return ModelFile(path, False, as_config(path, said), version if isinstance(version, str) else "", sum(sizes))


def as_json(path: Path, text: bytes | str) -> Any:
    """Return what a text says in JSON.

    Raises:
        DataError: it is none, or too deep.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return json_of(content, path, "whole Keras model", error=DataError)


def as_config(path: Path, text: bytes | str) -> dict[str, Any]:
    """Return a config parsed from JSON."""
    config = as_json(path, text)
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise DataError(f"The config in '{path}' is not that of a Keras model.")
    return config


def check_size(file: ModelFile, config: Mapping[str, Any], custom: Mapping[str, Any]) -> None:
    """Raise a DataError if a model takes far more memory than its file has weights, before it is built."""
    declared = declared_bytes(lambda: keras.saving.deserialize_keras_object(dict(config), custom_objects=dict(custom)))
    if declared > SPARE + 4 * file.held:
        raise DataError(
            f"The model in '{file.path}' has weights of {declared / MIB:.0f} MiB by its config, but the file holds "
            f"{file.held / MIB:.1f} MiB of them: it is cut short or its config was changed. Save it again."
        )
