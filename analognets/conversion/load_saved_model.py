"""Keras networks in TensorFlow SavedModels: the layers' configs and weights are read, the graph is left alone."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analognets.conversion.load_weights import Stored
from analognets.core.files import json_of, read_plain
from analognets.errors import DataError, RunError

__all__ = ["GRAPH", "keras_config", "saved_bytes", "saved_weights"]

GRAPH, METADATA, VARIABLES = "saved_model.pb", "keras_metadata.pb", "variables"
MOST = 1 << 28
"""Bytes of a graph; weights lie beside it."""
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
NODE_FIELD, NODE_NUMBER, NODE_METADATA = 1, 2, 5
"""Numbers of the fields of SavedMetadata, in keras/protobuf/saved_metadata.proto of Keras 2."""
WHOLE, BYTES = 0, 2
"""Wire types of whole numbers and of texts or messages."""


def keras_config(folder: Path) -> tuple[dict[str, Any], str] | None:
    """Return the config of a SavedModel's Keras network and the version that wrote it; None if it has none.

    Keras 2 wrote both into the graph's objects up to TensorFlow 2.4, and into keras_metadata.pb from then on.

    Args:
        folder: of the SavedModel.

    Raises:
        DataError: a file is broken.
    """
    root = _metadata(folder, _objects(folder)).get(0)
    if not isinstance(root, dict) or not isinstance(root.get("config"), dict) or "class_name" not in root:
        return None
    if not isinstance(root["config"].get("layers"), list):
        return None  # a subclassed model, whose layers no config tells
    return {"class_name": root["class_name"], "config": root["config"]}, str(root.get("keras_version") or "2")


def saved_bytes(folder: Path) -> int:
    """Return how many bytes of weights lie beside the graph."""
    place = folder / VARIABLES
    return sum(entry.stat().st_size for entry in os.scandir(place)) if place.is_dir() else 0


def saved_weights(folder: Path) -> dict[str, list[Stored]]:
    """Return the arrays of a SavedModel by the name of their layer, in the order of Keras 2.

    Args:
        folder: of the SavedModel.

    Raises:
        DataError: the graph names weights that do not lie beside it.
    """
    import tensorflow as tf

    nodes = _objects(folder)
    told = _metadata(folder, nodes)
    reader = tf.train.load_checkpoint(str(folder / VARIABLES / VARIABLES))
    keys = _paths(nodes)
    found: dict[str, list[Stored]] = {}
    for child in nodes[0].children:
        layer = told.get(child.node_id)
        if not child.local_name.startswith("layer-") or not isinstance(layer, dict):
            continue
        arrays = [_stored(nodes, number, keys, reader, folder) for number in _variables(nodes, child.node_id)]
        if arrays:
            found[str(layer.get("name"))] = arrays
    return found


def _stored(nodes: Any, number: int, keys: dict[int, str], reader: Any, folder: Path) -> Stored:
    key = f"{keys.get(number)}{VALUE}"
    if not reader.has_tensor(key):
        raise DataError(f"'{folder / VARIABLES}' holds no weights of '{nodes[number].variable.name}'. Copy it again.")
    return Stored(str(nodes[number].variable.name), reader.get_tensor(key))


def _objects(folder: Path) -> Any:
    """Return the objects of the first graph of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString(_read(folder / GRAPH))
    return model.meta_graphs[0].object_graph_def.nodes if model.meta_graphs else []


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, "graph", limit=MOST)
    except (RunError, OSError) as error:
        raise DataError(f"'{path}' can't be read: {error}") from error


def _metadata(folder: Path, nodes: Any) -> dict[int, Any]:
    """Return what Keras 2 wrote of its objects, by the number of each."""
    texts = {number: node.user_object.metadata for number, node in enumerate(nodes) if node.HasField("user_object")}
    if os.path.isfile(folder / METADATA):
        texts |= dict(_separate(_read(folder / METADATA)))
    made = {number: text.encode() for number, text in texts.items() if text}
    return {number: json_of(text, folder, "SavedModel", error=DataError) for number, text in made.items()}


def _separate(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield number and metadata of each object of a keras_metadata.pb."""
    for field, node in _fields(content):
        if field == NODE_FIELD and isinstance(node, bytes):
            parts = dict(_fields(node))
            text = parts.get(NODE_METADATA, b"")
            yield int(parts.get(NODE_NUMBER, 0)), text.decode("utf-8") if isinstance(text, bytes) else ""


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message in protobuf's wire format: numbers, and bytes of texts and messages.

    Source: protobuf.dev/programming-guides/encoding.
    """
    at = 0
    while at < len(content):
        tag, at = _number(content, at)
        value, at = _number(content, at)
        if tag & 7 == BYTES:
            if at + value > len(content):
                raise ValueError("a field reaches beyond the end")
            yield tag >> 3, content[at : at + value]
            at += value
        elif tag & 7 == WHOLE:
            yield tag >> 3, value
        else:
            raise ValueError(f"wire type {tag & 7} is none of SavedMetadata's")


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length number at a place, and the place behind it."""
    value = shift = 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError("a number has no end")
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _paths(nodes: Any) -> dict[int, str]:
    """Return the shortest path to each object, by which a checkpoint calls it.

    Source: breadth first, as in tensorflow/python/checkpoint/graph_view.py and save_util_v1.py of TensorFlow 2.
    """
    found, waiting = {0: ""}, deque([0])
    while waiting:
        number = waiting.popleft()
        for child in nodes[number].children:
            if child.node_id not in found:
                name = child.local_name.replace(".", "..").replace("/", ".S")
                found[child.node_id] = f"{found[number]}/{name}" if found[number] else name
                waiting.append(child.node_id)
    return found


def _variables(nodes: Any, layer: int) -> list[int]:
    """Return the numbers of a layer's variables in the order of Keras 2: trainable ones first."""
    lists = [child.node_id for child in nodes[layer].children if child.local_name == "variables"]
    held = {child.local_name: child.node_id for one in lists for child in nodes[one].children}
    return [held[name] for name in sorted(held, key=int) if nodes[held[name]].HasField("variable")]
