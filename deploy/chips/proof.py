"""Proof that the fused twin of a model computes what its layers do: both run one random batch, with fine converters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from analognets.crossbar import tile_responses
from analognets.crossbar.converters import MAX_BITS
from analognets.deploy.chips.fused import FusedTwin, Graph, fused_twin
from analognets.deploy.chips.loading import compensated, load_twin
from analognets.deploy.chips.programming import drift_correction
from analognets.layers import AnalogLayer, analog_layers
from analognets.layers.kept_state import kept_state
from analognets.layers.noise_realization import NoiseRealization

__all__ = ["proven_twin", "random_inputs"]

LEVELS = (1.0, 1.0, 0.5, 0.1, 3.0, 30.0, 300.0, 0.01)
"""Size of the samples of the batch, in the range of the converters behind the input."""
UNKNOWN_SIZES = (24, 96)
"""What is tried for axes whose size the model leaves open."""
TOLERANCE = 0.002
"""Of the size of a sample's outputs: far more than fine converters round, far less than a wrong layer."""


def proven_twin(model: keras.Model, precision: str = "float32") -> tuple[FusedTwin | None, str]:
    """Return the fused twin of a model if it computes what the layers do, or None and why.

    Both run a small random batch in the range of the model's inputs, with the model's present weights, one draw of
    noise and drift on them and the compensation of it. Meanwhile the converters have 16 bits, so that a value which
    falls on the other side of a step makes no difference. The products of the twin are float32 for it, whatever its
    precision is. The model is left as it was.

    Args:
        model: with calibrated analog layers.
        precision: of the products of the twin that is returned.
    """
    twin, why = fused_twin(model)
    if twin is None:
        return None, why
    layers = analog_layers(model)
    for stage in twin.stages:
        stage.whole_passes = False
    with kept_state(model):
        why = _difference(model, layers, twin)
    if why:
        return None, why
    if precision != "float32":
        return fused_twin(model, precision)
    for stage in twin.stages:
        stage.whole_passes = True
    twin.adc_ranges = []
    return twin, ""


def _difference(model: keras.Model, layers: Sequence[AnalogLayer], twin: FusedTwin) -> str:
    """Return in which way the outputs of a twin differ from those of the model, or ""."""
    why = "a random batch could not be drawn"
    for unknown in UNKNOWN_SIZES:
        rng = np.random.default_rng(0)
        try:
            inputs = random_inputs(model, rng, unknown)
            with fine_converters(layers):
                reads = [drifted(layer, rng) for layer in layers]
                plain, fused = _both(model, layers, twin, reads, inputs)
        except Exception as error:  # noqa: BLE001, whatever the layers of a user's model raise: it is run plain then
            why = f"a random batch could not be run ({type(error).__name__})"
            continue
        return _unlike(plain, fused)
    return why


def _both(model: Any, layers: Any, twin: Any, reads: Any, inputs: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    with contextlib.ExitStack() as stack, kept_state(model):
        for layer, read in zip(layers, reads, strict=True):
            stack.enter_context(layer.fixed_noise(compensated(layer, read, True)))
        plain = model(inputs, training=False)
    load_twin(twin, layers, reads, True)
    fused = twin.model(inputs, training=False)
    return _arrays(plain), _arrays(fused)


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(leaf), np.float64) for leaf in keras.tree.flatten(outputs)]


def _unlike(plain: list[np.ndarray], fused: list[np.ndarray]) -> str:
    if [one.shape for one in plain] != [one.shape for one in fused]:
        return "the outputs of the fused model have another shape"
    for one, two in zip(plain, fused, strict=True):
        known = np.isfinite(one)
        if not known.any() or (known != np.isfinite(two)).any():
            return "a random batch gives NaN or infinity"
        away = np.where(known, np.abs(one - two), 0.0).reshape(len(one), -1).max(axis=1, initial=0.0)
        worst = float((away / _sizes(np.where(known, one, 0.0))).max())
        if worst > TOLERANCE:
            return f"the outputs of the fused model differ by {worst:.2g} of their range on a random batch"
    return ""


def _sizes(outputs: np.ndarray) -> np.ndarray:
    """Return how large the outputs of each sample are; those of small ones count as a tenth of the middle one's.

    Samples are judged one by one: beside one of level 300 all others would be small.
    """
    sizes = np.abs(outputs).reshape(len(outputs), -1).max(axis=1, initial=0.0)
    return np.maximum(np.maximum(sizes, 0.1 * np.median(sizes)), 1e-12)


@contextlib.contextmanager
def fine_converters(layers: Sequence[AnalogLayer]) -> Iterator[None]:
    """While active, the converters of the layers have the most bits there are."""
    before = [layer.crossbar for layer in layers]
    try:
        for layer in layers:
            layer.crossbar = layer.crossbar.replace(dac_bits=MAX_BITS, adc_bits=MAX_BITS)
        yield
    finally:
        for layer, crossbar in zip(layers, before, strict=True):
            layer.crossbar = crossbar


def drifted(layer: AnalogLayer, rng: np.random.Generator) -> NoiseRealization:
    """Return the weights of a layer as a chip could hold them, and the compensation of their drift."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.crossbar_kernel()), np.float32)
    largest = max(float(np.abs(kernel).max()), 1e-6)
    written = kernel + rng.normal(0, 0.02 * largest, kernel.shape).astype(np.float32)
    read = written * np.asarray(rng.uniform(0.6, 1.0, kernel.shape[-1]), np.float32)
    responses = [np.asarray(tile_responses(layer.crossbar, layer.tiling, one / largest)) for one in (written, read)]
    scales, input_scales = drift_correction(layer.crossbar, *responses)
    tensor = keras.ops.convert_to_tensor(read)
    return NoiseRealization(tensor, scales=scales, input_scales=input_scales, periphery=[], seed=0)


def random_inputs(model: keras.Model, rng: np.random.Generator, unknown: int) -> Any:
    """Return a random batch in the structure and range of a model's inputs.

    Numbers are normal, half of the samples not negative, in the range of the DACs that read them and at other levels,
    and partly 0; whole numbers are from the vocabulary of the embeddings that read them, else 0 and 1.

    Args:
        model: functional or Sequential.
        rng: source of the draws.
        unknown: size of axes that the model leaves open.
    """
    graph = Graph(model)
    drawn = [_drawn(tensor, graph, model, rng, unknown) for tensor in model.inputs]
    functional = model._functional if isinstance(model, keras.Sequential) else model
    return keras.tree.pack_sequence_as(functional._inputs_struct, drawn)


def _drawn(tensor: Any, graph: Graph, model: keras.Model, rng: np.random.Generator, unknown: int) -> Any:
    count = tensor.shape[0] or len(LEVELS)
    shape = (count, *(unknown if size is None else size for size in tensor.shape[1:]))
    kind = keras.backend.standardize_dtype(tensor.dtype)
    readers = [one for one in graph.readers.get(id(tensor._keras_history.operation), []) if one is not None]
    tokens = [size for reader in readers if (size := _vocabulary(reader))]
    if kind == "bool":
        return rng.random(shape) < 0.5
    if tokens or kind.startswith(("int", "uint")):
        return rng.integers(0, min(tokens, default=_vocabulary(model) or 2), shape).astype(kind)
    ranges = [float(np.max(one.input_range.numpy())) for one in readers if isinstance(one, AnalogLayer)]
    levels = np.resize(LEVELS, count) * max(ranges, default=1.0)
    values = rng.normal(size=shape) * levels.reshape(-1, *[1] * (len(shape) - 1))
    values[1::2] = np.abs(values[1::2])
    values[rng.random(shape) < 0.1] = 0
    return values.astype(kind)


def _vocabulary(layer: Any) -> int | None:
    """Return the size of the smallest vocabulary of the embeddings in a layer."""
    inner = layer._flatten_layers() if isinstance(layer, keras.layers.Layer) else []
    return min((one.input_dim for one in inner if isinstance(one, keras.layers.Embedding)), default=None)
