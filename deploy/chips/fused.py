"""A model's inference twin in integer units: the equation of `analognets.crossbar.Tile` and what follows it, fused.

ADC, batch-norm, ReLU and the next DAC run as one pass.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from analognets.crossbar import steps
from analognets.deploy.chips.compiled import compiled
from analognets.layers import (
    AnalogConv1D,
    AnalogConv2D,
    AnalogConv3D,
    AnalogDense,
    AnalogDepthwiseConv1D,
    AnalogDepthwiseConv2D,
    AnalogEinsumDense,
    AnalogLayer,
    analog_layers,
)

__all__ = ["FusedTwin", "Graph", "fused_twin"]

FUSABLE = (AnalogConv1D, AnalogConv2D, AnalogConv3D, AnalogDense, AnalogDepthwiseConv1D, AnalogDepthwiseConv2D)
"""Layers that compute as `AnalogLayer.call` says; a class of the user's may do something else."""


@tf.function(jit_compile=True)
def _to_steps(inputs: Any, scale: Any, steps: Any) -> Any:
    """The DAC: inputs in converter steps."""
    return tf.clip_by_value(tf.round(inputs * scale), -steps, steps)


@tf.function(jit_compile=True)
def _to_values(products: Any, steps: Any, scale: Any, shift: Any, low: Any) -> Any:
    """ADC, digital scale and shift, lower bound (0 is a ReLU)."""
    return tf.maximum(tf.clip_by_value(tf.round(products), -steps, steps) * scale + shift, low)


@tf.function(jit_compile=True)
def _to_next_steps(products: Any, steps: Any, scale: Any, shift: Any, low: Any, high: Any) -> Any:
    """ADC, digital scale and shift, and the DAC of the next layer."""
    converted = tf.clip_by_value(tf.round(products), -steps, steps)
    return tf.clip_by_value(tf.round(converted * scale + shift), low, high)


def _steps(bits: int | None) -> float:
    """Steps of a converter that `_can_fuse` has found to be finite."""
    return float(steps(bits or 2))


@dataclasses.dataclass
class Chain:
    """An analog layer with the digital layers after it that one fused pass can do."""

    analog: AnalogLayer
    norm: keras.layers.BatchNormalization | None = None
    relu: keras.layers.Layer | None = None
    reads_steps: bool = False
    next_analog: AnalogLayer | None = None


class FusedStage(keras.layers.Layer):
    """[DAC] -> product in ADC steps -> ADC, scale, shift, [ReLU], [next DAC]; set by `FusedTwin.load`."""

    def __init__(self, chain: Chain, precision: str) -> None:
        super().__init__(name=f"{chain.analog.name}_stage", trainable=False, dtype="float32")
        self.source = (chain,)
        self.precision = precision
        self.whole_passes = True
        """Whether each pass over the outputs is compiled as one; False for a single small batch."""
        analog = chain.analog
        outputs = analog.crossbar_shape()[-1]
        numbers = {"trainable": False, "initializer": "zeros", "dtype": "float32"}
        self.weights_in_steps = self.add_weight(
            name="kernel", shape=analog.crossbar_shape(), **{**numbers, "dtype": precision}
        )
        self.scale = self.add_weight(name="scale", shape=(outputs,), **numbers)
        self.shift = self.add_weight(name="shift", shape=(outputs,), **numbers)
        self.dac_scale = self.add_weight(name="dac_scale", shape=(), **numbers)
        self.built = True

    def products(self, inputs: Any, precision: str) -> Any:
        """Return the products in steps of the ADC, before it rounds them, computed in a precision."""
        chain = self.source[0]
        if not chain.reads_steps:
            bits = chain.analog.crossbar.dac_bits
            inputs = self._pass(_to_steps)(inputs, tf.convert_to_tensor(self.dac_scale), _steps(bits))
        weights = tf.cast(tf.convert_to_tensor(self.weights_in_steps), precision)
        return tf.cast(chain.analog.programmed_product(tf.cast(inputs, precision), weights), tf.float32)

    def adc_steps(self, inputs: Any, precision: str) -> Any:
        """Return what the ADC makes of the products, in its steps."""
        most = _steps(self.source[0].analog.crossbar.adc_bits)
        return tf.clip_by_value(tf.round(self.products(inputs, precision)), -most, most)

    def call(self, inputs: Any) -> Any:
        chain = self.source[0]
        hardware = chain.analog.crossbar
        products = self.products(inputs, self.precision)
        adc_steps = _steps(hardware.adc_bits)
        scale, shift = tf.convert_to_tensor(self.scale), tf.convert_to_tensor(self.shift)
        if chain.next_analog is None:
            low = 0.0 if chain.relu is not None else -np.inf
            return self._pass(_to_values)(products, adc_steps, scale, shift, low)
        high = _steps(chain.next_analog.crossbar.dac_bits)
        low = 0.0 if chain.relu is not None else -high
        return self._pass(_to_next_steps)(products, adc_steps, scale, shift, low, high)

    def _pass(self, function: Any) -> Any:
        return function if self.whole_passes else function.python_function

    def compute_output_spec(self, inputs: Any) -> Any:
        shape = self.source[0].analog.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def refresh(self, adc_range: float) -> None:
        """Take the model's present digital numbers: bias, batch-norm statistics and converter ranges.

        Args:
            adc_range: r_ADC.
        """
        chain = self.source[0]
        hardware = chain.analog.crossbar
        self.dac_step = float(chain.analog.input_range.numpy()) / _steps(hardware.dac_bits)
        gain, shift = np.ones(()), np.zeros(())
        if chain.analog.use_bias:
            shift = chain.analog.bias.numpy().astype(np.float64)
        if chain.norm is not None:
            slope, offset = norm_affine(chain.norm)
            gain, shift = slope, slope * shift + offset
        unit = 1.0
        if chain.next_analog is not None:
            unit = _steps(chain.next_analog.crossbar.dac_bits) / float(chain.next_analog.input_range.numpy())
        self.weight_factor = np.float32(self.dac_step * _steps(hardware.adc_bits) / adc_range)
        self.scale_factor = np.broadcast_to(gain * unit / _steps(hardware.adc_bits), self.scale.shape)
        self.shift_values = np.broadcast_to(shift * unit, self.shift.shape)
        self.shift.assign(self.shift_values)
        self.dac_scale.assign(1.0 / self.dac_step)


class Absorbed(keras.layers.Layer):
    """Stands where a batch-norm or ReLU was that a stage does already."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return inputs


class Borrowed(keras.layers.Layer):
    """A layer of the model computed as it is; called directly it would show two outputs to the model's owner."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer(*args, **kwargs)


def norm_affine(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and offset of an inference batch-norm."""
    mean, variance = norm.moving_mean.numpy().astype(np.float64), norm.moving_variance.numpy().astype(np.float64)
    slope = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        slope = slope * norm.gamma.numpy()
    offset = -mean * slope
    return slope, offset + norm.beta.numpy() if norm.center else offset


@dataclasses.dataclass
class FusedTwin:
    """A clone of a functional model in which chains of layers are `FusedStage`s.

    Args:
        model: the functional twin.
        stages: one stage for each analog layer, in the order of `analog_layers`.
        adc_ranges: r_ADC of each stage as last loaded.
    """

    model: keras.Model
    stages: list[FusedStage]
    adc_ranges: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self._assign = compiled(self._set_all)

    def load(self, kernels: list[Any], adc_ranges: list[np.ndarray], input_scales: list[Any]) -> None:
        """Set the weights and fold the drift compensation into the digital scales.

        A factor on a stage's inputs goes into its DAC, or into the scale and shift of the stage that is its DAC.

        Args:
            kernels: the weights of each stage as read.
            adc_ranges: alpha * r_ADC of each stage, a number or one for each output.
            input_scales: the factor on the inputs of each stage, or None.
        """
        factors = {
            id(stage.source[0].analog): 1.0 if scale is None else float(scale[0])
            for stage, scale in zip(self.stages, input_scales, strict=True)
        }
        following = [factors.get(id(stage.source[0].next_analog), 1.0) for stage in self.stages]
        scales = [
            (stage.scale_factor * ranges * factor).astype(np.float32)
            for stage, ranges, factor in zip(self.stages, adc_ranges, following, strict=True)
        ]
        if any(scale is not None for scale in input_scales):
            for stage, factor in zip(self.stages, following, strict=True):
                stage.dac_scale.assign(factors[id(stage.source[0].analog)] / stage.dac_step)
                stage.shift.assign(stage.shift_values * factor)
        self._assign(kernels, [stage.weight_factor for stage in self.stages], scales)

    def _set_all(self, kernels: list[Any], factors: list[Any], scales: list[Any]) -> None:
        for stage, kernel, factor, scale in zip(self.stages, kernels, factors, scales, strict=True):
            stage.weights_in_steps.assign(tf.cast(kernel * factor, stage.precision))
            stage.scale.assign(scale)


class Graph:
    """Who reads whose output in a functional model, how often each layer is called, and with what beside its inputs."""

    def __init__(self, model: keras.Model) -> None:
        self.readers: dict[int, list[keras.layers.Layer | None]] = {}
        self.calls: dict[int, int] = {}
        self.with_settings: set[int] = set()
        pending = list(keras.tree.flatten(model.outputs))
        for tensor in pending:
            self.readers.setdefault(id(tensor._keras_history.operation), []).append(None)
        seen: set[tuple[int, int]] = set()
        while pending:
            history = pending.pop()._keras_history
            key = (id(history.operation), history.node_index)
            if key in seen:
                continue
            seen.add(key)
            self.calls[key[0]] = self.calls.get(key[0], 0) + 1
            node = history.operation._inbound_nodes[history.node_index]
            given = node.arguments
            if len(given.args) > 1 or any(value is not None for value in given.kwargs.values()):
                self.with_settings.add(key[0])
            for tensor in node.input_tensors:
                self.readers.setdefault(id(tensor._keras_history.operation), []).append(history.operation)
                pending.append(tensor)

    def only_reader(self, layer: keras.layers.Layer) -> keras.layers.Layer | None:
        """Return the one layer that reads this layer's output, if both are called once and nothing else reads it."""
        readers = self.readers.get(id(layer), [])
        if len(readers) != 1 or readers[0] is None or self.calls[id(layer)] != 1:
            return None
        return readers[0] if self.calls[id(readers[0])] == 1 and id(readers[0]) not in self.with_settings else None


def _is_relu(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.Layer) or layer.compute_dtype != "float32":
        return False
    if type(layer) is keras.layers.ReLU:
        return layer.max_value is None and layer.negative_slope == 0 and layer.threshold == 0
    return type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu


def _is_norm(layer: Any) -> bool:
    """Whether a layer is a batch-norm over the columns."""
    exact = type(layer) is keras.layers.BatchNormalization and layer.compute_dtype == "float32"
    return exact and layer.axis in (-1, layer.input_spec.ndim - 1)


def makes_masks(layer: Any) -> bool:
    """Whether a layer may mark steps of a sequence as not there; then the layers behind it are called with masks."""
    if isinstance(layer, keras.layers.Embedding):
        return layer.mask_zero
    kind = type(layer)
    own = kind.compute_mask is not keras.layers.Layer.compute_mask
    foreign = kind.__module__.split(".")[0] not in ("keras", "analognets")
    return isinstance(layer, keras.layers.Masking) or own and foreign and not isinstance(layer, keras.Model)


def _lies_flat(layer: AnalogLayer) -> bool:
    """Whether the call of a layer is its product on the last axis with a bias for each column."""
    if type(layer) in FUSABLE:
        return True
    if type(layer) is not AnalogEinsumDense:
        return False
    plan, bias = layer.plan, layer.bias
    in_order = [plan.inputs, plan.kernel, plan.outputs] == [
        tuple(range(len(axes))) for axes in (plan.inputs, plan.kernel, plan.outputs)
    ]
    return in_order and plan.summed == 1 and len(plan.kernel) == 2 and (bias is None or len(bias.shape) == 1)


def _why_not(layer: AnalogLayer, model: keras.Model, graph: Graph) -> str:
    """Return why an analog layer can't be a stage, or ""."""
    hardware = layer.crossbar
    reasons = {
        "is inside of another layer": layer not in model.layers,
        "is called more than once": graph.calls.get(id(layer), 1) != 1,
        "is no output's source": id(layer) not in graph.calls,
        "is called with more than its inputs": id(layer) in graph.with_settings,
        "is not calibrated": not layer.calibrated,
        "has a digital adapter": bool(layer.adapters()),
        f"is on hardware '{hardware.name}' with more than converters": not hardware.plain,
        "has an ideal converter": hardware.dac_bits is None or hardware.adc_bits is None,
        "is cut into several row blocks": layer.tiling.shape[0] != 1,
        "has its channels first": layer.channel_axis != -1,
        f"computes in {layer.compute_dtype}": layer.compute_dtype != "float32",
        "has an activation other than ReLU": layer.activation
        not in (None, keras.activations.linear, keras.activations.relu),
        "lays out its inputs, outputs or bias in its own way": not _lies_flat(layer),
    }
    return next((f"layer '{layer.name}' {reason}" for reason, holds in reasons.items() if holds), "")


def _why_no_graph(model: keras.Model) -> str:
    """Return why a model's layers can't be exchanged in its graph, or ""."""
    if not (isinstance(model, keras.Sequential) or hasattr(type(model), "operations")):
        return "the model is not functional or Sequential"
    if not getattr(model, "inputs", None):
        return "the model has no known input shape"
    if not type(model).call.__module__.startswith("keras."):
        return f"class {type(model).__name__} has a call of its own"
    masking = next((layer for layer in model._flatten_layers() if makes_masks(layer)), None)
    return "" if masking is None else f"layer '{masking.name}' makes masks"


def _find_chains(model: keras.Model, layers: list[AnalogLayer], graph: Graph) -> list[Chain]:
    """Group the layers of a functional model into chains."""
    chains = []
    for layer in layers:
        chain, last = Chain(layer), cast(Any, layer)
        following = graph.only_reader(last)
        if layer.activation is keras.activations.relu:
            chain.relu = layer
        elif _is_norm(following):
            chain.norm = last = following
            following = graph.only_reader(last)
        if following is not None and _is_relu(following):
            chain.relu = last = following
            following = graph.only_reader(last)
        if isinstance(following, AnalogLayer):
            chain.next_analog = following
        chains.append(chain)
    for chain in chains:
        chain.reads_steps = any(other.next_analog is chain.analog for other in chains)
    return chains


def fused_twin(model: keras.Model, precision: str = "float32") -> tuple[FusedTwin | None, str]:
    """Build the fused inference twin of a functional or Sequential model; returns None and why if it can't be fused."""
    why = _why_no_graph(model)
    if why:
        return None, why
    graph, layers = Graph(model), analog_layers(model)
    why = next((why for why in (_why_not(layer, model, graph) for layer in layers) if why), "")
    if why:
        return None, why
    chains = _find_chains(model, layers, graph)
    stages = [FusedStage(chain, precision) for chain in chains]
    by_layer = {id(chain.analog): stage for chain, stage in zip(chains, stages, strict=True)}
    absorbed = {id(layer) for chain in chains for layer in (chain.norm, chain.relu) if layer is not None}

    def replace(layer: Any) -> Any:
        if id(layer) in by_layer:
            return by_layer[id(layer)]
        if id(layer) in absorbed:
            return Absorbed(name=layer.name, dtype="float32")
        return Borrowed(layer) if isinstance(layer, keras.layers.Layer) else layer

    return FusedTwin(keras.models.clone_model(model, clone_function=replace), stages), ""
