"""Spiking networks as NIR graphs: there and back, and against snnTorch where it is installed."""

from __future__ import annotations

import sys
import warnings

import keras
import numpy as np
import pytest

from analognets.errors import ConversionError, DataError, DataWarning, InvalidArgumentError, MissingExtraError
from analognets.spiking import (
    LIF,
    DoubleExponential,
    FloatSynapses,
    Presentation,
    SpikeTimeTrainer,
    SpikeTrains,
    from_nir,
    to_nir,
)

nir = pytest.importorskip("nir", reason="needs the extra `nir`")
RNG = np.random.default_rng(0)
PLAIN = {"refractory": 0.0, "clamp": False}


def layered(steps=100, **neurons):
    """Return a network of two layers of neurons with the constants of ours."""
    entry = keras.Input((steps, 6))
    x = DoubleExponential(dt=0.5, name="traces")(entry)
    x = LIF(dt=0.5, name="hidden", **neurons)(keras.layers.Dense(5, use_bias=False, name="first")(x))
    x = keras.layers.Dense(3, name="second")(x)
    model = keras.Model(entry, LIF(dt=0.5, capacitance=10.0, leak=0.7, name="last", **neurons)(x))
    model.get_layer("first").set_weights([RNG.uniform(1500, 4000, (6, 5))])
    model.get_layer("second").set_weights([RNG.uniform(100, 900, (5, 3)), np.array([10.0, 20.0, 70.0])])
    return model


def spikes(steps=100, channels=6, batch=2):
    return (RNG.uniform(size=(batch, steps, channels)) < 0.05).astype("float32")


@pytest.fixture
def model():
    return layered()


def test_spikes_are_equal_there_and_back(model, tmp_path) -> None:
    with pytest.warns(DataWarning, match="no refractory time and no lower bound of V: .* 'hidden', 'last'"):
        graph = to_nir(model, tmp_path / "net.nir")
    found = from_nir(tmp_path / "net.nir", steps=100)
    x = spikes()
    wanted = np.asarray(model(x))
    assert wanted.sum() > 5
    np.testing.assert_array_equal(found(x), wanted)
    names = [layer.name for layer in model.layers[1:]]
    assert [layer.name for layer in found.layers[1:]] == names
    for name in names:
        if name in ("traces", "hidden", "last"):
            assert found.get_layer(name).get_config() == model.get_layer(name).get_config()
    again = from_nir(graph)  # any number of steps, and a graph in memory
    np.testing.assert_array_equal(again(x), wanted)


def test_what_was_trained_goes_there_and_back() -> None:
    dense = (np.random.default_rng(5).uniform(size=(1, 150, 12)) < 0.1).astype("float32")
    inputs = SpikeTrains.from_dense(dense[0], 0.5)
    pattern = Presentation("one", inputs, SpikeTrains.from_lists([[20.0, 60.0], [50.0], []], inputs.duration))
    trainer = SpikeTimeTrainer([pattern], FloatSynapses((12, 3)), neurons=LIF(dt=0.5), rate=200.0)
    trainer.synapses.variables[0].assign(np.random.default_rng(6).uniform(0, 1200, (12, 3)))
    trainer.epoch(0)
    network = trainer.network(0.0)
    wanted = trainer.run(0, trainer.synapses.read(0.0))
    found = np.asarray(network(dense))[0]
    assert wanted.sum() > 0 and found.sum() == pytest.approx(wanted.sum(), abs=1)
    with pytest.warns(DataWarning):
        graph = to_nir(network)
    np.testing.assert_array_equal(from_nir(graph)(dense)[0], found)


def test_nodes_and_units_are_those_of_nir(model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = to_nir(layered(**PLAIN))
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    assert kinds == {
        "input": "Input", "traces_fall": "LI", "traces_rise": "LI", "traces_minus": "Scale", "first": "Linear",
        "hidden": "LIF", "second": "Affine", "last": "LIF", "output": "Output",
    }  # fmt: skip
    hidden = graph.nodes["hidden"]
    assert hidden.tau[0] == pytest.approx(0.01) and hidden.r[0] == pytest.approx(1 / 30), "10 ms, 30 nS"
    assert (hidden.v_leak[0], hidden.v_reset[0], hidden.v_threshold[0]) == (-70, -70, 20)
    assert graph.nodes["first"].weight.shape == (5, 6)
    assert graph.nodes["traces_fall"].r[0] == pytest.approx(5.0 / 0.5), "a spike of one step adds 1"
    assert ("traces_fall", "first") in graph.edges and ("traces_minus", "first") in graph.edges


def foreign(tau=0.02, r=1.0, threshold=1.0, leak=0.0, reset=0.0, width=3, **nodes):
    """Return a graph as other tools write it."""
    lif = nir.LIF(*(np.full(width, value) for value in (tau, r, leak, threshold, reset)))
    start, end = nir.Input({"input": np.array([4])}), nir.Output({"output": np.array([width])})
    weight = RNG.normal(0.6, 1.0, (width, 4)).astype("float32")
    parts = {"input": start, "0": nir.Affine(weight, np.full(width, 0.1)), "1": lif, "output": end, **nodes}
    return nir.NIRGraph(parts, [("input", "0"), ("0", "1"), ("1", "output")], type_check=False)


def test_neurons_of_others_follow_their_equation() -> None:
    graph = foreign()
    model = from_nir(graph, dt=1.0, steps=200)
    x = spikes(200, 4) * 30
    found = np.asarray(model(x))
    keep, v = np.exp(-1.0 / 20.0), np.zeros((2, 3))
    currents = x @ graph.nodes["0"].weight.T + graph.nodes["0"].bias
    wanted = np.zeros_like(found)
    for step in range(200):
        v = keep * v + (1 - keep) * currents[:, step]
        wanted[:, step] = v > 1.0
        v[v > 1.0] = 0.0
    assert 0 < wanted.sum() < wanted.size and np.mean(found != wanted) < 0.005  # ties in float32
    assert model.layers[-1].get_config()["refractory"] == 0.0


def test_neurons_behind_exponential_currents_follow_their_equation() -> None:
    values = {"tau_syn": 0.005, "tau_mem": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    node = nir.CubaLIF(**{name: np.full(3, value) for name, value in values.items()}, w_in=np.full(3, 5.0))
    graph = foreign(**{"1": node})
    x = spikes(200, 4) * 8
    found = np.asarray(from_nir(graph, dt=0.1, steps=200)(x))
    current, v = np.zeros((2, 3)), np.zeros((2, 3))
    wanted = np.zeros_like(found)
    fine = 50  # Euler in small steps; the input lands at the start of each step
    given = x @ graph.nodes["0"].weight.T + graph.nodes["0"].bias
    for step in range(200):
        current = current + given[:, step] * 5.0 * 0.1 / 5.0
        for _ in range(fine):
            v = v + 0.1 / fine / 20.0 * (current - v)
            current = current * (1 - 0.1 / fine / 5.0)
        wanted[:, step] = v > 1.0
        v[v > 1.0] = 0.0
    assert 0 < wanted.sum() < wanted.size and abs(found.sum() - wanted.sum()) <= 2


@pytest.mark.parity
def test_snntorch_fires_as_often(tmp_path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch and snntorch")
    snntorch = pytest.importorskip("snntorch.import_nir", reason="needs snntorch")
    dt, steps, tau = 0.1, 2000, 0.02  # its step is fixed at 0.1 ms
    entry = keras.Input((steps, 4))
    x = keras.layers.Dense(3, name="dense")(entry)
    ours = keras.Model(
        entry, LIF(dt=dt, capacitance=20.0, leak=1.0, rest=0.0, threshold=1.0, name="neurons", **PLAIN)(x)
    )
    ours.get_layer("dense").set_weights([RNG.uniform(0.3, 1.2, (4, 3)), np.array([0.2, 0.1, 0.0])])
    to_nir(ours, tmp_path / "net.nir")
    theirs = snntorch.import_from_nir(nir.read(tmp_path / "net.nir"))
    drive = RNG.uniform(0, 2, (1, steps, 4)).astype("float32")
    wanted, state = [], None
    with torch.no_grad():
        for step in range(steps):
            out, state = theirs(torch.from_numpy(drive[:, step]), state)
            wanted.append(out.numpy())
    counts = np.asarray(ours(drive)).sum((0, 1))
    assert counts.min() > 5 and tau == 0.02
    np.testing.assert_allclose(counts, np.stack(wanted, 1).sum((0, 1)), atol=2)


def refused(error, words, call):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_graphs_that_can_not_be_read_are_named(tmp_path) -> None:
    refused(InvalidArgumentError, "says no time step. Give `dt`", lambda: from_nir(foreign()))
    graph = foreign()
    graph.edges.append(("1", "0"))
    refused(ConversionError, "a cycle through '0', '1'", lambda: from_nir(graph, dt=1.0))
    graph = foreign(**{"1": nir.IF(np.ones(3), np.ones(3))})
    refused(ConversionError, r"can't be read: '1' \(IF\). Read are: Affine", lambda: from_nir(graph, dt=1.0))
    graph = foreign()
    graph.edges.append(("1", "nowhere"))
    refused(DataError, "an edge to a node 'nowhere'", lambda: from_nir(graph, dt=1.0))
    refused(ConversionError, "reset to v_leak, .*v_reset=0.5", lambda: from_nir(foreign(reset=0.5), dt=1.0))
    mixed = foreign()
    mixed.nodes["1"].tau[0] = 0.5
    refused(ConversionError, r"'1' \(LIF\) must have one finite `tau`", lambda: from_nir(mixed, dt=1.0))
    wrong = foreign(**{"0": nir.Linear(np.ones((3, 7)))})
    refused(ConversionError, r"'0' \(Linear\) must have weights of \(outputs, 4\)", lambda: from_nir(wrong, dt=1.0))
    (tmp_path / "broken.nir").write_bytes(b"no graph")
    refused(DataError, "is no NIR graph that can be read", lambda: from_nir(tmp_path / "broken.nir"))
    refused(DataError, "There is no NIR file", lambda: from_nir(tmp_path / "none.nir"))


def test_layers_that_nir_does_not_have_are_named(monkeypatch) -> None:
    entry = keras.Input((10, 4))

    def written(layer):
        return lambda: to_nir(keras.Model(entry, layer(entry)))

    refused(ConversionError, r"'gru' \(GRU\) has no counterpart", written(keras.layers.GRU(3, name="gru")))
    refused(ConversionError, "has an activation", written(keras.layers.Dense(3, activation="relu")))
    refused(ConversionError, "lateral inhibition", written(LIF(lateral_inhibition=1.0)))
    refused(ConversionError, "one input of", lambda: to_nir(keras.Sequential([keras.Input((4,))])))
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    refused(MissingExtraError, r"analognets\[nir\]", written(LIF()))


def test_neurons_without_a_refractory_time_fire_in_every_step() -> None:
    currents = np.full((1, 5, 1), 1e6, "float32")
    np.testing.assert_array_equal(LIF(dt=1.0, refractory=0.0)(currents)[0, :, 0], np.ones(5))
    assert np.asarray(LIF(dt=1.0, refractory=1.0)(currents)).sum() == 3


def test_a_graph_that_computes_something_else_is_not_written(model, tmp_path, monkeypatch) -> None:
    first = model.get_layer("first")
    first.enable_lora(2)  # matrices beside the kernel, which a Linear node does not have
    with pytest.warns(DataWarning), pytest.raises(ConversionError, match="can't be read back: .* It was not written"):
        to_nir(model, tmp_path / "net.nir")
    monkeypatch.setattr(sys.modules["analognets.spiking.to_nir"], "from_nir", lambda *args, **more: layered())
    with pytest.warns(DataWarning), pytest.raises(ConversionError, match="computes something else: .* % of its outp"):
        to_nir(layered(), tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_a_network_without_neurons_is_compared_at_any_step(tmp_path) -> None:
    net = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)])
    to_nir(net, tmp_path / "net.nir")
    x = spikes(channels=3)
    np.testing.assert_allclose(from_nir(tmp_path / "net.nir", dt=0.5)(x), net(x), rtol=1e-6)


@pytest.mark.parametrize("change", [
    lambda graph: setattr(graph.nodes["traces_fall"], "tau", 4 * graph.nodes["traces_fall"].tau),
    lambda graph: setattr(graph.nodes["traces_rise"], "r", 2 * graph.nodes["traces_rise"].r),
    lambda graph: setattr(graph.nodes["traces_minus"], "scale", 0 * graph.nodes["traces_minus"].scale),
    lambda graph: graph.edges.remove(("traces_minus", "first")),
    lambda graph: graph.edges.append(("traces_rise", "first")),
])  # fmt: skip
def test_traces_that_were_changed_are_refused(model, change) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        graph = to_nir(model)
    from_nir(graph)
    change(graph)
    with pytest.raises(ConversionError, match="The traces 'traces' are not what is said beside their nodes"):
        from_nir(graph)
