"""Reading NIR graphs as spiking Keras networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.errors import AnalogNetsError, ConversionError, DataError, InvalidArgumentError, check_integer, reason
from analognets.layers.with_constant import WithConstant
from analognets.spiking.filters import DoubleExponential
from analognets.spiking.neuron import LIF
from analognets.spiking.nir_format import PARTS, PER_SECOND, nir_package
from analognets.spiking.trains import check_step

__all__ = ["from_nir"]

NO_RISE = 1e-6
"""A rise time in ms that is none: traces are plain exponentials."""
READ = ("Affine", "CubaLIF", "Input", "LIF", "Linear", "Output", "Scale")


def from_nir(source: Any, *, dt: float | None = None, steps: int | None = None) -> keras.Model:
    """Return a NIR graph as a Keras model of spikes (batch, steps, channels).

    Linear and Affine become `Dense`, LIF becomes `LIF` (C in pF and g_L in nS so that tau and r are met), CubaLIF a
    `DoubleExponential` without a rise before it, Scale becomes `WithConstant`; several edges into a node are summed. A
    graph of `to_nir` gives the network it came from, its refractory times and traces included; other graphs give
    neurons without a refractory time.

    Args:
        source: path of a file, or a `nir.NIRGraph`.
        dt: time step in ms, > 0; None: that of a graph of `to_nir`. NIR itself has none.
        steps: length of the input; None: any.

    Returns:
        The model.

    Raises:
        DataError: the file is missing or broken, or an edge leads nowhere.
        ConversionError: the graph has a cycle, or a node that can't be read.
        InvalidArgumentError: no time step is known.
        MissingExtraError: the package nir is not installed.

    Source: the primitives of NIR 1.0, Pedersen et al., Nature Communications 15, 8122 (2024).
    """
    package = nir_package()
    if steps is not None:
        steps = check_integer("from_nir", "steps", steps, 1, 1 << 31)
    graph, said = (source, "The NIR graph") if isinstance(source, package.NIRGraph) else opened(package, source)
    return GraphReader(graph, said, dt).model(steps)


def opened(package: Any, source: Any) -> tuple[Any, str]:
    """Return the graph in a file, and what to call it."""
    path = Path(source).expanduser()
    if not os.path.isfile(path):
        raise DataError(f"There is no NIR file '{path}'.")
    try:
        graph = package.read(str(path))
    except Exception as error:  # h5py and nir raise many kinds
        raise DataError(
            f"'{path}' is no NIR graph that can be read: it is broken, or has nodes that the installed version of nir "
            f"does not know. Received: {reason(error)}."
        ) from error
    if not isinstance(graph, package.NIRGraph):
        raise DataError(f"'{path}' holds a single node and no NIR graph. Received: {type(graph).__name__}.")
    return graph, f"The NIR graph in '{path}'"


def kind_of(node: Any) -> str:
    """Return what a node is."""
    return type(node).__name__


class GraphReader:
    """One pass over a graph.

    Args:
        graph: to read.
        said: what to call it.
        dt: time step in ms, or None.
    """

    def __init__(self, graph: Any, said: str, dt: float | None) -> None:
        self.nodes, self.said = dict(graph.nodes), said
        self.edges = list(dict.fromkeys((str(one), str(other)) for one, other in graph.edges))
        for edge in self.edges:
            missing = next((name for name in edge if name not in self.nodes), None)
            if missing is not None:
                raise DataError(f"{said} has an edge to a node '{missing}' that it does not hold.")
        self.traces = {name: known(node) for name, node in self.nodes.items() if is_trace(node)}
        self.check_kinds()
        self.order = self.sorted()
        self.dt = self.step(dt)

    def before(self, name: str) -> list[str]:
        """Return the nodes with an edge to one."""
        return [one for one, other in self.edges if other == name]

    def check_kinds(self) -> None:
        """Raise a ConversionError that names all nodes that can't be read."""
        foreign = [
            f"'{name}' ({kind_of(node)})"
            for name, node in self.nodes.items()
            if kind_of(node) not in READ and name not in self.traces
        ]
        if foreign:
            raise ConversionError(
                f"{self.said} has nodes that can't be read: {', '.join(foreign[:6])}. Read are: {', '.join(READ)}, and "
                "the traces that to_nir writes."
            )
        for kind in ("Input", "Output"):
            names = [name for name, node in self.nodes.items() if kind_of(node) == kind]
            if len(names) != 1:
                raise ConversionError(f"{self.said} must have one {kind} node. Received: {len(names)}.")

    def sorted(self) -> list[str]:
        """Return the nodes, each after those before it.

        Raises:
            ConversionError: there is a cycle.
        """
        order: list[str] = []
        left = dict.fromkeys(self.nodes)
        while left:
            ready = [name for name in left if all(one in order for one in self.before(name))]
            if not ready:
                inside = [name for name in left if self.reaches(name, name)]
                raise ConversionError(
                    f"{self.said} has a cycle through {', '.join(repr(name) for name in inside[:6])}. Recurrent "
                    "connections can't be read: take the edges back out."
                )
            order += ready
            for name in ready:
                del left[name]
        return order

    def reaches(self, start: str, goal: str) -> bool:
        """Whether a path leads from one node to another."""
        ahead, seen = [start], set()
        while ahead:
            now = ahead.pop()
            for one, other in self.edges:
                if one == now and other == goal:
                    return True
                if one == now and other not in seen:
                    seen.add(other)
                    ahead.append(other)
        return False

    def step(self, given: float | None) -> float:
        """Return the time step in ms."""
        if given is not None:
            return check_step(given)
        found = {float(known(node)["dt"]) for node in self.nodes.values() if "dt" in known(node)}
        if len(found) != 1:
            raise InvalidArgumentError(
                f"{self.said} says no time step. Give `dt` of from_nir in ms, such as dt=0.1. Received: dt=None."
            )
        return check_step(found.pop())

    def model(self, steps: int | None) -> keras.Model:
        """Return the model."""
        tensors: dict[str, Any] = {}
        start = None
        for name in self.order:
            node = self.nodes[name]
            if kind_of(node) == "Input":
                start = tensors[name] = keras.Input((steps, self.width(name, node)), name=layer_name(name))
                continue
            given = [tensors[one] for one in self.before(name) if tensors[one] is not None]
            if not self.before(name):
                raise ConversionError(f"{self.said} has a node '{name}' ({kind_of(node)}) that nothing leads to.")
            try:
                x = keras.layers.Add()(given) if len(given) > 1 else next(iter(given), None)
                tensors[name] = self.layer(name, node, x)
            except AnalogNetsError:
                raise
            except Exception as error:  # Keras raises ValueError and others for shapes that don't fit
                raise ConversionError(
                    f"Node '{name}' ({kind_of(node)}): {self.said} can't be built there. Received: {reason(error)}."
                ) from error
        final = next(tensors[name] for name in self.order if kind_of(self.nodes[name]) == "Output")
        return keras.Model(start, final, name="nir")

    def layer(self, name: str, node: Any, x: Any) -> Any:
        """Return what a node makes of its input; None for the parts of a trace that its first part stands for."""
        kind = kind_of(node)
        if name in self.traces:
            return self.trace(name, x)
        if kind == "Output":
            return x
        if kind == "LIF":
            return self.neurons(name, node)(x)
        if kind == "CubaLIF":
            return self.current_based(name, node, x)
        if kind == "Scale":
            scale = np.asarray(node.scale, dtype="float32")
            layer: Any = WithConstant("multiply", (1, 1, scale.size), name=layer_name(name))
            found = layer(x)
            layer.set_weights([scale.reshape(1, 1, -1)])
            return found
        weight = np.asarray(node.weight, dtype="float32")
        if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
            raise ConversionError(
                f"Node '{name}' ({kind}) must have weights of (outputs, {x.shape[-1]}). Received: {weight.shape}."
            )
        layer = keras.layers.Dense(weight.shape[0], use_bias=kind == "Affine", name=layer_name(name))
        found = layer(x)
        layer.set_weights([weight.T] if kind == "Linear" else [weight.T, np.asarray(node.bias, dtype="float32")])
        return found

    def neurons(self, name: str, node: Any) -> LIF:
        """Return the neurons of a node, which must all be alike."""
        names = {"tau": "tau_mem"} if kind_of(node) == "CubaLIF" else {}
        wanted = ("tau", "r", "v_leak", "v_threshold", "v_reset")
        values = {what: self.one(name, node, names.get(what, what)) for what in wanted}
        if values["v_reset"] != values["v_leak"] or values["r"] <= 0 or values["tau"] <= 0:
            raise ConversionError(
                f"Node '{name}' ({kind_of(node)}) must be reset to v_leak, with tau and r above 0. Received: "
                f"{', '.join(f'{what}={value:g}' for what, value in values.items())}."
            )
        more, leak = known(node), 1.0 / values["r"]
        capacitance = values["tau"] / PER_SECOND * leak
        if more and np.allclose([more["capacitance"], more["leak"]], [capacitance, leak], rtol=1e-9):
            capacitance, leak = float(more["capacitance"]), float(more["leak"])  # as they were, to the last bit
        return LIF(
            dt=self.dt, capacitance=capacitance, leak=leak, rest=values["v_leak"], threshold=values["v_threshold"],
            refractory=float(more.get("refractory", 0.0)), clamp=bool(more.get("clamp", 0.0)), name=layer_name(name),
        )  # fmt: skip

    def one(self, name: str, node: Any, what: str) -> float:
        """Return a constant that must be the same for all neurons of a node."""
        array = np.ravel(np.asarray(getattr(node, what), dtype="float64"))
        if not array.size or not np.all(np.isfinite(array)) or np.ptp(array) > 1e-9 * np.abs(array).max():
            said = f"{array.min():g} to {array.max():g}" if array.size else "none"
            raise ConversionError(
                f"Node '{name}' ({kind_of(node)}) must have one finite `{what}` for all its neurons. Received: {said}."
            )
        return float(array[0])

    def current_based(self, name: str, node: Any, x: Any) -> Any:
        """Return the spikes of neurons behind exponential currents; a spike, 1 for a step, adds w_in dt / tau."""
        neurons, tau = self.neurons(name, node), self.one(name, node, "tau_syn") / PER_SECOND
        if tau <= 0:
            raise ConversionError(f"Node '{name}' (CubaLIF) must have tau_syn above 0. Received: {tau * PER_SECOND:g}.")
        current = DoubleExponential(
            dt=self.dt, tau_fall=tau, tau_rise=NO_RISE, membrane=neurons.membrane, name=f"{layer_name(name)}_current"
        )
        factor = self.one(name, node, "w_in") * self.dt / tau
        return neurons(keras.ops.multiply(current(x), factor))

    def trace(self, name: str, x: Any) -> Any:
        """Return the traces of a `DoubleExponential` for its first part, None for the others."""
        said = self.traces[name]
        parts = {one["part"] for one in self.traces.values() if one["of"] == said["of"]}
        if parts != set(PARTS):
            raise ConversionError(
                f"Node '{name}' ({kind_of(self.nodes[name])}) is a part of the traces '{said['of']}', of which "
                f"others are missing. Received: {', '.join(sorted(parts))}."
            )
        if said["part"] != "fall":
            return None
        membrane = float(said["membrane"])
        self.check_trace(said["of"])
        layer = DoubleExponential(
            dt=self.dt, tau_fall=float(said["tau_fall"]), tau_rise=float(said["tau_rise"]),
            membrane=membrane or None, name=layer_name(said["of"]),
        )  # fmt: skip
        return layer(x)

    def check_trace(self, of: str) -> None:
        """Raise unless the nodes of the trace of that name compute what is said beside them."""
        parts = {one["part"]: name for name, one in self.traces.items() if one["of"] == of}
        said = self.traces[parts["fall"]]
        wanted = {
            (part, what): value
            for part in ("fall", "rise")
            for what, value in (
                ("tau", float(said[f"tau_{part}"]) * PER_SECOND),
                ("r", float(said[f"tau_{part}"]) / float(said["dt"])),
                ("v_leak", 0.0),
            )
        } | {("minus", "scale"): -1.0}
        wrong = [
            f"`{what}` of '{parts[part]}'"
            for (part, what), value in wanted.items()
            if not np.isclose(self.one(parts[part], self.nodes[parts[part]], what), value, rtol=1e-5, atol=1e-12)
        ]
        after = {part: {other for one, other in self.edges if one == name} for part, name in parts.items()}
        before = {part: set(self.before(name)) for part, name in parts.items()}
        if after["minus"] != after["fall"] or after["rise"] != {parts["minus"]} or before["fall"] != before["rise"]:
            wrong.append(f"the edges of {', '.join(repr(name) for name in parts.values())}")
        if before["minus"] != {parts["rise"]}:
            wrong.append(f"the edges to '{parts['minus']}'")
        if wrong:
            raise ConversionError(
                f"The traces '{of}' are not what is said beside their nodes, so one of both was changed. Received: "
                f"{', '.join(dict.fromkeys(wrong))}. Take the metadata of the nodes out, or write them anew."
            )

    def width(self, name: str, node: Any) -> int:
        """Return how many channels an input has."""
        shape = [int(one) for one in np.ravel(next(iter(node.input_type.values())))]
        if len(shape) != 1 or shape[0] < 1:
            raise ConversionError(f"Node '{name}' (Input) must have one axis of channels. Received: {shape}.")
        return shape[0]


def known(node: Any) -> Mapping[str, Any]:
    """Return what to_nir wrote beside a node: nothing for nodes of others."""
    found = getattr(node, "metadata", None)
    if not isinstance(found, Mapping) or "layer" not in found:
        return {}
    said = {key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()}
    wanted: dict[str, tuple[str, ...]] = {
        "LIF": ("dt", "refractory", "clamp", "capacitance", "leak"),
        "DoubleExponential": ("dt", "of", "part", "tau_fall", "tau_rise", "membrane"),
    }
    return said if all(key in said for key in wanted.get(str(said["layer"]), ("",))) else {}


def is_trace(node: Any) -> bool:
    """Whether a node is a part of a trace that to_nir wrote."""
    return known(node).get("layer") == "DoubleExponential" and kind_of(node) in ("LI", "Scale")


def layer_name(name: str) -> str:
    """Return the name of a node as Keras takes it."""
    return name.replace("/", "_") or "node"
