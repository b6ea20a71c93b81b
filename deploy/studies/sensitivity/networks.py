"""The networks of a sensitivity study: opened from runs, presets, files or memory, with data to measure them on."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import file_sha256, write_atomically
from analognets.core.provenance import sha256_of
from analognets.datasets.arrays import read_labelled
from analognets.deploy.studies.explore_point import load_data
from analognets.deploy.studies.samples import array_file, check_classes, check_pair, check_place
from analognets.errors import ConversionError, InvalidArgumentError, NotCalibratedError
from analognets.zoo.tasks import evenly
from analognets.zoo.trained import TrainedNetwork, open_trained

__all__ = ["StudiedNetwork", "fingerprint", "gather", "open_calibrated", "test_data"]

MODELS, DATA = "models", "data.npz"


@dataclasses.dataclass(frozen=True)
class StudiedNetwork:
    """A network of a study.

    Args:
        name: to show.
        place: what finds it again: folder of a run, handle of a preset, or path of a model file.
        fingerprint: of its weights and hardware, by which results are stored.
        model: the calibrated analog model.
    """

    name: str
    place: str
    fingerprint: str
    model: Any


def open_calibrated(source: Any) -> TrainedNetwork:
    """Open a trained network whose analog model can be studied.

    Args:
        source: as of `open_trained`.

    Raises:
        ConversionError: it has no analog network, or two of its analog layers share a name.
        NotCalibratedError: its converter ranges have not been set.
    """
    from analognets.layers import analog_layers

    trained = open_trained(source, wants=("analog",))
    model, names = trained.model, set()
    for layer in analog_layers(model):
        if not layer.calibrated:
            raise NotCalibratedError(
                f"Layer '{layer.name}' of model '{model.name}' has no converter ranges yet. Call "
                "analognets.layers.calibrate(model, data) first."
            )
        if layer.name in names:
            raise ConversionError(
                f"Analog layers must have names of their own, for hardware differs by layer. Received: two layers "
                f"'{layer.name}' in model '{model.name}'."
            )
        names.add(layer.name)
    return trained


def fingerprint(model: Any) -> str:
    """Return a short hash of all weights and of the hardware of all analog layers."""
    import keras

    from analognets.layers import analog_layers

    parts: list[Any] = [
        json.dumps([layer.name, layer.crossbar.get_config()], sort_keys=True) for layer in analog_layers(model)
    ]
    for weight in model.weights:
        values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32")))
        parts += [f"{values.shape}", values]
    return sha256_of(*parts)[:20]


def gather(
    networks: Any, folder: Path, data: Any, check: Callable[[Any], None]
) -> tuple[list[StudiedNetwork], str | None, str | None]:
    """Open networks; models and arrays that live in memory are stored in the folder, for other processes.

    Args:
        networks: one or several of what `open_trained` opens.
        folder: of the study.
        data: folder of real data, "synthetic", the path of a .npz file, (inputs, labels) arrays, or None.
        check: called with each model; what it raises comes before anything is written.

    Returns:
        The networks, what the settings say about data, and the path of the arrays if there are any.

    Raises:
        InvalidArgumentError: there is no network, one is given twice, or one without a recipe comes without arrays.
    """
    several = list(networks) if isinstance(networks, (list, tuple)) else [networks]
    if not several:
        raise InvalidArgumentError("A sensitivity study needs at least one network. Received: none.")
    check_place(data)
    arrays = array_file(data)
    pair = data if isinstance(data, tuple) else arrays and read_labelled(arrays)
    if pair:
        check_pair(pair)
    opened = []
    for one in several:
        found = open_calibrated(one)
        if found.recipe is None and not isinstance(data, tuple) and arrays is None:
            raise InvalidArgumentError(
                "A model without a recipe needs data: data=(inputs, labels), or a .npz file that holds these two "
                f"arrays. Received: data={data!r}."
            )
        if pair:
            check_classes(pair, found.model, "`data`" if arrays is None else f"'{arrays}'")
        check(found.model)
        opened.append(found)
    marks = [fingerprint(found.model) for found in opened]
    if len(set(marks)) < len(marks):
        raise InvalidArgumentError(f"Each network counts once. Received the same one twice: {several!r}.")
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(data, tuple):
        arrays = folder / DATA
        store_arrays(arrays, *data)
    places = [
        found.handle or stored_model(found.model, mark, folder) for found, mark in zip(opened, marks, strict=True)
    ]
    names = distinct([found.name for found in opened], places)
    studied = [
        StudiedNetwork(name, place, mark, found.model)
        for name, place, mark, found in zip(names, places, marks, opened, strict=True)
    ]
    if arrays is not None:
        return studied, f"sha256:{file_sha256(arrays)}", str(arrays.resolve())
    return studied, data if data in (None, "synthetic") else str(Path(data).resolve()), None


def stored_model(model: Any, mark: str, folder: Path) -> str:
    """Store a model that lives in memory, and return where it can be opened again."""
    (folder / MODELS).mkdir(exist_ok=True)
    path = folder / MODELS / f"{mark}.keras"
    if not os.path.exists(path):
        write_atomically(path, model.save)
    return str(path.resolve())


def distinct(names: Sequence[str], places: Sequence[str]) -> list[str]:
    """Return names that differ: those of runs with the same name get the name of the folder above."""
    found = list(names)
    for name in {one for one in names if names.count(one) > 1}:
        same = [index for index, one in enumerate(names) if one == name]
        for number, index in enumerate(same):
            path = Path(places[index])
            found[index] = f"{path.parent.name}/{name}" if path.is_dir() else f"{name} {number + 1}"
    return [f"{name} ({number})" if found.count(name) > 1 else name for number, name in enumerate(found, start=1)]


def store_arrays(path: Path, inputs: Any, labels: Any) -> None:
    """Write inputs and labels for other processes, unless the same ones are there."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, inputs=np.asarray(inputs), labels=np.asarray(labels))

    if not os.path.exists(path):
        write_atomically(path, write)
        return
    kept_inputs, kept_labels = read_labelled(path)
    if not (np.array_equal(kept_inputs, inputs) and np.array_equal(kept_labels, labels)):
        raise InvalidArgumentError(
            f"The study in '{path.parent}' was begun with other data. Received: arrays that differ from those in "
            f"'{path.name}'. Choose another folder."
        )


def test_data(trained: TrainedNetwork, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return features and labels to measure a network on, at most `limit` of them, spread evenly."""
    if settings["arrays"] is None:
        inputs, labels = load_data(trained, settings)[1]
        return np.asarray(inputs), np.asarray(labels)
    inputs, labels = _arrays(settings["arrays"], settings["data"])
    chosen = evenly(len(labels), settings["limit"])
    return (inputs, labels) if chosen is None else (inputs[chosen], labels[chosen])


@functools.lru_cache(maxsize=1)
def _arrays(path: str, mark: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays of a file; its hash tells them from what lay there before."""
    del mark
    return read_labelled(path)
