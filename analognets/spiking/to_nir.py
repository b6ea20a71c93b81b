"""Writing spiking networks as NIR graphs, which other simulators and neuromorphic chips read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.files import write_atomically
from analognets.errors import AnalogNetsError, ConversionError, DataError, DataWarning
from analognets.spiking.filters import DoubleExponential
from analognets.spiking.from_nir import from_nir
from analognets.spiking.neuron import LIF
from analognets.spiking.nir_format import PER_SECOND, nir_package

__all__ = ["to_nir"]

COMPARED, STEPS, DIFFERENT = 2, 40, 0.01
"""Random inputs, and their steps where the network leaves them open, that a graph is compared on; and the largest share
of outputs that may differ, as a rounding may decide whether a neuron spikes now or a step later."""
DRIVES = (1.0, 100.0)
"""What the spikes of these inputs are multiplied by: with large ones neurons spike whatever their weights."""


def to_nir(model: keras.Model, path: Path | str | None = None) -> Any:
    """Return a spiking network as a NIR graph, and write it to a file.

    `Dense` becomes Linear or Affine, `LIF` becomes LIF with tau = C / g_L in seconds, r = 1 / g_L and both resting and
    reset potential at E_L; voltages stay in mV, currents in pA. `DoubleExponential` becomes the difference of two LI
    nodes with r = tau / dt, so that a spike, which is 1 for a step, adds 1. A sum of two layers becomes two edges into
    the next node. NIR has no time step, no refractory time and no lower bound of V: they stand in the metadata of the
    nodes, which only `from_nir` reads. The graph is read back so, and must answer random spikes as the network does.

    Args:
        model: functional or Sequential, of (steps, channels), with one input and one output.
        path: of the file to write, usually `.nir`; None: none is written.

    Returns:
        A `nir.NIRGraph`.

    Warns:
        DataWarning: neurons have a refractory time or a lower bound, which other simulators leave out.

    Raises:
        ConversionError: a layer has no counterpart in NIR, or the graph computes something else.
        DataError: the file can't be written.
        MissingExtraError: the package nir is not installed.

    Source: the primitives of NIR 1.0, Pedersen et al., Nature Communications 15, 8122 (2024).
    """
    graph = GraphWriter(nir_package(), model).graph()
    refuse_other(model, graph)
    if path is not None:
        package = nir_package()
        write_atomically(Path(path).expanduser(), lambda draft: package.write(str(draft), graph), error=DataError)
    return graph


def refuse_other(model: keras.Model, graph: Any) -> None:
    """Raise a ConversionError if a graph does not answer random spikes as its network does."""
    what, hint = f"The NIR graph of '{model.name}'", "It was not written."
    timed = any(isinstance(layer, (LIF, DoubleExponential)) for layer in model._flatten_layers())
    steps = model.inputs[0].shape[1]
    try:
        copy = from_nir(graph, dt=None if timed else 1.0, steps=steps)
    except AnalogNetsError as error:
        raise ConversionError(f"{what} can't be read back: {error} {hint}") from error
    spikes = np.random.default_rng(0).random((COMPARED, steps or STEPS, model.inputs[0].shape[-1])) < 0.5
    inputs = np.concatenate([drive * spikes for drive in DRIVES]).astype("float32")
    mine, right = (keras.ops.convert_to_numpy(one(inputs, training=False)) for one in (copy, model))
    off = np.abs(mine - right) > 1e-4 * max(float(np.abs(right).max()), 1e-6) if mine.shape == right.shape else True
    if not np.mean(off) <= DIFFERENT:
        raise ConversionError(
            f"{what} computes something else: {100 * np.mean(off):.2g} % of its outputs to random spikes differ, where "
            f"{100 * DIFFERENT:g} % may. {hint}"
        )


class GraphWriter:
    """One pass over a model.

    Args:
        package: nir.
        model: to write.
    """

    def __init__(self, package: Any, model: keras.Model) -> None:
        inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 3 or inputs[0].shape[-1] is None:
            raise ConversionError(
                "A network for NIR must be a functional or Sequential model with one input of (steps, channels) and "
                f"one output. Received: '{model.name}' with {len(inputs)} inputs and {len(outputs)} outputs."
            )
        self.package, self.input, self.output = package, inputs[0], outputs[0]
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.made: dict[int, list[str]] = {}
        self.left_out: list[str] = []

    def graph(self) -> Any:
        """Return the graph."""
        self.node("input", self.package.Input(input_type={"input": np.array([self.input.shape[-1]])}), [])
        self.made[id(self.input)] = ["input"]
        last = self.sources(self.output)
        self.node("output", self.package.Output(output_type={"output": np.array([self.output.shape[-1]])}), last)
        if self.left_out:
            warnings.warn(
                f"NIR has no refractory time and no lower bound of V: other simulators read the neurons of "
                f"{', '.join(self.left_out)} without them. Take LIF(refractory=0, clamp=False) if they must agree.",
                DataWarning,
                stacklevel=3,
            )
        return self.package.NIRGraph(self.nodes, self.edges)

    def node(self, name: str, node: Any, sources: list[str]) -> list[str]:
        """Put a node into the graph, with edges to it; return its name as a source of others."""
        found, number = name, 1
        while found in self.nodes:
            found, number = f"{name}_{number}", number + 1
        self.nodes[found] = node
        self.edges += [(source, found) for source in sources]
        return [found]

    def sources(self, tensor: Any) -> list[str]:
        """Return the names of the nodes whose sum a tensor is."""
        if id(tensor) in self.made:
            return self.made[id(tensor)]
        history = tensor._keras_history
        node, layer = history.operation._inbound_nodes[history.node_index], history.operation
        before = [source for one in node.input_tensors for source in self.sources(one)]
        for kind, write in WRITERS.items():
            if type(layer) is kind:
                self.made[id(tensor)] = write(self, layer, before, int(tensor.shape[-1]))
                return self.made[id(tensor)]
        raise ConversionError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has no counterpart in NIR. Written are: "
            f"{', '.join(sorted(kind.__name__ for kind in WRITERS))}; make analog layers digital first."
        )


def dense(writer: GraphWriter, layer: Any, before: list[str], width: int) -> list[str]:
    """Write a linear layer."""
    if layer.activation is not keras.activations.linear:
        raise ConversionError(
            f"Layer '{layer.name}' (Dense) has an activation, which NIR has not. Received: "
            f"{getattr(layer.activation, '__name__', layer.activation)}."
        )
    weights = [np.asarray(one, dtype="float32") for one in layer.get_weights()]
    if len(weights) == 1:
        return writer.node(layer.name, writer.package.Linear(weight=weights[0].T.copy()), before)
    return writer.node(layer.name, writer.package.Affine(weight=weights[0].T.copy(), bias=weights[1]), before)


def neurons(writer: GraphWriter, layer: Any, before: list[str], width: int) -> list[str]:
    """Write leaky integrate-and-fire neurons."""
    if layer.lateral_inhibition or layer.return_membrane:
        raise ConversionError(
            f"Layer '{layer.name}' (LIF) has lateral inhibition or gives its membrane, which NIR can't say. Take "
            "lateral_inhibition=0 and return_membrane=False."
        )
    if layer.refractory or layer.clamp:
        writer.left_out.append(f"'{layer.name}'")

    def all_of(value: float) -> np.ndarray:
        return np.full(width, value, dtype="float64")

    node = writer.package.LIF(
        tau=all_of(layer.membrane * PER_SECOND),
        r=all_of(1.0 / layer.leak),
        v_leak=all_of(layer.rest),
        v_threshold=all_of(layer.threshold),
        v_reset=all_of(layer.rest),
        metadata={
            "layer": "LIF", "dt": layer.dt, "refractory": layer.refractory, "clamp": float(layer.clamp),
            "capacitance": layer.capacitance, "leak": layer.leak,
        },
    )  # fmt: skip
    return writer.node(layer.name, node, before)


def traces(writer: GraphWriter, layer: Any, before: list[str], width: int) -> list[str]:
    """Write the difference of two exponential traces."""
    known = {"layer": "DoubleExponential", "of": layer.name, "dt": layer.dt, "tau_fall": layer.tau_fall}
    known |= {"tau_rise": layer.tau_rise, "membrane": 0.0 if layer.membrane is None else layer.membrane}
    zeros = np.zeros(width)

    def leaky(part: str, tau: float) -> list[str]:
        rate = np.full(width, tau * PER_SECOND)
        node = writer.package.LI(
            tau=rate, r=np.full(width, tau / layer.dt), v_leak=zeros.copy(), metadata={**known, "part": part}
        )
        return writer.node(f"{layer.name}_{part}", node, before)

    fall, rise = leaky("fall", layer.tau_fall), leaky("rise", layer.tau_rise)
    minus = writer.package.Scale(scale=-np.ones(width), metadata={**known, "part": "minus"})
    return [*fall, *writer.node(f"{layer.name}_minus", minus, rise)]


def nothing(writer: GraphWriter, layer: Any, before: list[str], width: int) -> list[str]:
    """Pass on what does nothing after training, or sums."""
    return before


WRITERS: dict[type, Callable[[GraphWriter, Any, list[str], int], list[str]]] = {
    keras.layers.Dense: dense,
    LIF: neurons,
    DoubleExponential: traces,
    keras.layers.Add: nothing,
    keras.layers.Dropout: nothing,
}
