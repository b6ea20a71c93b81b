"""The comparison with aihwkit: what needs no aihwkit, and its pulses where it is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import on_device_peer as benchmark


@pytest.fixture(scope="module")
def blobs():
    """Return pictures whose class is told by which rows are bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    pictures = rng.uniform(0, 0.2, (400, 28, 28, 1)).astype("float32")
    for picture, label in zip(pictures, labels, strict=True):
        picture[2 * label : 2 * label + 3] += 0.8
    return pictures[:300], labels[:300], pictures[300:], labels[300:]


def options(*more):
    small = ["--rounds", "1", "--steps", "4", "--warm", "20", "--epochs", "2", "--pictures", "300", *more]
    return benchmark.arguments().parse_args(small)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["--rounds", "0"], "--rounds must be 1 or more. Received: 0."),
        (["--batch", "10", "-5"], "--batch must be 1 or more. Received: -5."),
        (["--epochs", "-1"], "--epochs must be 0 or more. Received: -1."),
        (["--learning-rates", "0.5", "0"], "must be more than 0. Received: 0."),
        (["--batch", "100"], "must not be larger than --pictures and --warm. Received: 100 with 300 and 20."),
    ],
)
def test_bad_numbers_are_told(given, wanted, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        benchmark.check(benchmark.arguments(), options("--batch", "10", *given))
    assert end.value.code == 2
    assert wanted in capsys.readouterr().err


def test_a_missing_peer_is_told(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "aihwkit", None)
    with pytest.raises(SystemExit) as end:
        benchmark.find_peer(benchmark.arguments(), benchmark.OTHERWISE)
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "needs aihwkit and torch" in message
    assert "benchmarks.on_device_step" in message


def test_batches_are_whole_and_in_order() -> None:
    pictures, labels = benchmark.cut(np.arange(23.0).reshape(23, 1), np.arange(23), 5)
    assert pictures.shape == (4, 5, 1)
    np.testing.assert_array_equal(labels.ravel(), np.arange(20))


def test_our_side_is_measured_and_learns(blobs) -> None:
    chosen, names = options("--batch", "10"), ["keras", "analognets_pulsed_step_pcm"]
    found = benchmark.speed(chosen, 10, blobs, names)
    assert found["steps"] == 4
    assert found["direct"] == {}
    assert found["variants"]["keras"]["to_plain"] == 1.0
    assert found["variants"]["analognets_pulsed_step_pcm"]["ms_wall"] > 0
    table = benchmark.learning(chosen, 0.5, blobs, names)
    for name in names:
        assert len(table[name]["by_epoch"]) == 2
        assert table[name]["by_epoch"][-1] > 0.3  # chance: 0.1


@pytest.mark.parity
def test_a_pulse_of_the_peer_is_one_epsilon() -> None:
    """The mean weight after a number of thresholds is that after as many mean pulses of the preset."""
    torch = pytest.importorskip("torch", reason="needs aihwkit and torch")
    linear = pytest.importorskip("aihwkit.nn", reason="needs aihwkit", exc_type=ImportError).AnalogLinear
    torch.manual_seed(0)
    layer = linear(200, 200, bias=False, rpu_config=benchmark._compound(0.096, 100))
    layer.set_weights(torch.zeros(200, 200))
    tile = next(layer.analog_tiles())
    tile.set_learning_rate(1.0)
    for _ in range(7):  # two thresholds; a transfer comes a step late
        tile.update(torch.ones(1, 200), -torch.full((1, 200), 0.0321))
    assert float(layer.get_weights()[0].mean()) == pytest.approx(0.42, abs=0.03)


@pytest.mark.parity
def test_the_peers_plain_network_is_ours(blobs) -> None:
    pytest.importorskip("torch", reason="needs torch")
    found = benchmark.learners(["keras", "torch"], 0.5, 0)
    for learner in found.values():
        learner.trainer(benchmark.cut(*blobs[:2], 10))()
    kernel = next(iter(found["torch"].model.parameters())).detach().numpy().T
    np.testing.assert_allclose(found["keras"].model.get_weights()[0], kernel, atol=1e-4)
