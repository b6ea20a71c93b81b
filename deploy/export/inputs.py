"""The inputs of a network that is exported: their shapes and types, samples of them, and what it answers to them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from analognets.deploy.export.litert_runtime import as_list
from analognets.errors import ConversionError, InvalidArgumentError, reason
from analognets.layers.kept_state import kept_state

__all__ = [
    "NetworkInput",
    "answers",
    "flat_inputs",
    "flat_outputs",
    "fresh_states",
    "input_name",
    "network_inputs",
    "open_inputs",
    "packed",
    "probe",
    "representative_inputs",
]

PROBE = 16
"""Samples on which a float network is compared with its copy if none are given."""
KEPT_TYPES = ("bool", "int8", "uint8", "int16", "int32")


@dataclasses.dataclass(frozen=True)
class NetworkInput:
    """An input of a network.

    Args:
        name: as the model calls it.
        shape: without the batch axis.
        dtype: of the file's input before quantisation: whole numbers stay whole, every float is "float32".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


def network_inputs(network: keras.Model) -> list[NetworkInput]:
    """Return the model's inputs in its order.

    Raises:
        ConversionError: the model is not built, or one of its inputs has no fixed size or is text.
    """
    if not network.built:
        raise ConversionError(f"Model '{network.name}' is not built yet. Call it once on data, or give it an Input.")
    try:
        tensors = [(tensor.name, tuple(tensor.shape[1:]), tensor.dtype) for tensor in flat_inputs(network)]
    except (AttributeError, ValueError):
        tensors = []
    if not tensors:
        raise ConversionError(
            f"Model '{network.name}' is subclassed and does not say what inputs it takes. Wrap it: "
            "keras.Model(inputs, model(inputs)) with inputs = keras.Input(shape)."
        )
    for name, shape, dtype in tensors:
        if None in shape:
            raise ConversionError(
                f"A microcontroller needs inputs of fixed size. Received: an input of shape {shape} in model "
                f"'{network.name}'. Rebuild it with a fixed keras.Input."
            )
        if dtype == "string":
            raise ConversionError(
                f"A microcontroller takes numbers. Received: the text input '{name}' in model '{network.name}'. Look "
                "words up before the network, and let it start with whole numbers."
            )
    return [NetworkInput(name, shape, file_type(dtype)) for name, shape, dtype in tensors]


def open_inputs(network: keras.Model, size: int) -> list[NetworkInput]:
    """Return a model's inputs in its order, with axes of no fixed size as long as this, and types as they are."""
    shapes = [(one.name, tuple(own or size for own in one.shape[1:]), one.dtype) for one in flat_inputs(network)]
    return [NetworkInput(*one) for one in shapes]


def flat_inputs(network: keras.Model) -> list[Any]:
    """Return the symbolic inputs of a model in order."""
    return list(keras.tree.flatten(network.inputs))


def file_type(dtype: str) -> str:
    """Return the type that stands for a Keras one in the file."""
    if dtype in KEPT_TYPES:
        return dtype
    return "int32" if dtype.startswith(("int", "uint")) else "float32"


def input_name(name: str, number: int | None) -> str:
    """Return a name TensorFlow allows; numbers keep several inputs in order, since the file sorts them by name."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if number is None else f"in{number:03d}_{plain}"


def representative_inputs(network: keras.Model, inputs: Sequence[NetworkInput], data: Any) -> list[np.ndarray]:
    """Return the representative data as one array an input, in the model's order and of the file's types.

    Raises:
        InvalidArgumentError: there are none, or they don't fit the model.
    """
    if data is None:
        raise InvalidArgumentError(
            "int8 needs `representative`: 100 to 1000 samples of the network's inputs, from which the ranges of its "
            "activations are taken. Received: representative=None."
        )
    given = as_list(data, [entry.name for entry in inputs])
    found = [array.shape[1:] for array in given]
    if found != [entry.shape for entry in inputs]:
        raise InvalidArgumentError(
            f"`representative` must hold samples of shape {', '.join(str(entry.shape) for entry in inputs)}. Received: "
            f"samples of shape {', '.join(map(str, found))}."
        )
    return [typed(array, entry) for array, entry in zip(given, inputs, strict=True)]


def typed(array: np.ndarray, entry: NetworkInput) -> np.ndarray:
    """Return an array in the type of an input.

    Raises:
        InvalidArgumentError: numbers would change by that.
    """
    try:
        values = np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"`representative` must hold numbers. Received: {reason(error)}.") from error
    if not np.isfinite(values).all():
        raise InvalidArgumentError("`representative` must hold finite numbers only. Received: NaN or infinity.")
    made = array.astype(entry.dtype) if entry.dtype == "float32" else values.astype(entry.dtype)
    if entry.dtype != "float32" and not np.array_equal(made, values):
        raise InvalidArgumentError(
            f"Input '{entry.name}' takes whole numbers of type {entry.dtype}. Received: numbers from {values.min():g} "
            f"to {values.max():g}, of type {array.dtype}."
        )
    return made


def probe(network: keras.Model, inputs: Sequence[NetworkInput], seed: int = 0) -> list[np.ndarray]:
    """Return random samples that a network answers with finite numbers, to compare it with its copy.

    Raises:
        ConversionError: none was found.
    """
    said = "it gave NaN or infinity"
    for arrays in candidates(inputs, seed):
        try:
            found = answers(network, arrays)
        except Exception as error:  # foreign layers raise anything for inputs they don't like
            said = reason(error)
            continue
        if all(np.isfinite(np.asarray(array, np.float64)).all() for array in found.values()):
            return arrays
    raise ConversionError(
        f"Model '{network.name}' could not be tried on random inputs, with which its copy is compared: {said}. Give "
        "samples of its inputs as `representative`."
    )


def candidates(inputs: Sequence[NetworkInput], seed: int) -> Iterator[list[np.ndarray]]:
    """Yield random samples: wide ones, then positive ones, then those that are valid as the number of anything."""
    rng = np.random.default_rng(seed)
    shapes = [(PROBE, *entry.shape) for entry in inputs]
    for draw in (
        lambda shape: rng.normal(size=shape),
        lambda shape: rng.uniform(0, 1, size=shape),
        lambda shape: rng.integers(0, 2, size=shape),
        lambda shape: np.zeros(shape),
    ):
        yield [
            np.asarray(draw(shape) if entry.dtype == "float32" else rng.integers(0, 2, size=shape)).astype(entry.dtype)
            for entry, shape in zip(inputs, shapes, strict=True)
        ]


def packed(network: keras.Model, inputs: Sequence[Any]) -> Any:
    """Return inputs, in the order of `network.inputs`, in the structure (one, list, dict) the model is called with."""
    graph = network._functional if isinstance(network, keras.Sequential) else network
    structure = getattr(graph, "_inputs_struct", None)
    if structure is None:
        return list(inputs) if len(inputs) > 1 else inputs[0]
    return keras.tree.pack_sequence_as(structure, list(inputs))


def flat_outputs(outputs: Any) -> Any:
    """Return a network's outputs as one tensor, a list or a dict of tensors: what a signature can hold."""
    kinds = outputs.values() if isinstance(outputs, Mapping) else outputs
    plain = not isinstance(outputs, (Mapping, list, tuple)) or not any(
        isinstance(item, (Mapping, list, tuple)) for item in kinds
    )
    return outputs if plain else list(keras.tree.flatten(outputs))


def answers(network: keras.Model, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return a network's outputs (samples, ...) by the names they have in the file."""
    with fresh_states(network):
        return run(network, arrays)


@contextlib.contextmanager
def fresh_states(network: keras.Model) -> Iterator[None]:
    """While active, recurrent layers that keep their states begin anew; then the model has its own state again."""
    keeping = [layer for layer in network._flatten_layers() if getattr(layer, "stateful", False)]
    states = [state for layer in keeping for state in keras.tree.flatten(getattr(layer, "states", None) or [])]
    with kept_state(network):
        for state in states:
            state.assign(keras.ops.zeros_like(state))
        yield


def run(network: keras.Model, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return a network's outputs by the names they have in the file, whatever state it is in."""
    found: list[dict[str, np.ndarray]] = []
    fixed = any(tensor.shape[0] is not None for tensor in flat_inputs(network))
    size = 1 if fixed else len(arrays[0])
    for start in range(0, len(arrays[0]), size):
        given = [keras.ops.convert_to_tensor(array[start : start + size]) for array in arrays]
        made = flat_outputs(network(packed(network, given), training=False))
        named = made if isinstance(made, Mapping) else dict(enumerate(keras.tree.flatten(made)))
        found.append(
            {
                key if isinstance(key, str) else f"output_{key}": np.asarray(keras.ops.convert_to_numpy(value))
                for key, value in named.items()
            }
        )
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
