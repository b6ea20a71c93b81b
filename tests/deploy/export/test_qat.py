"""Quantisation-aware training: the twin's graph, the other process, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from analognets.deploy.export import qat, qat_worker
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.deploy.export.qat import to_litert_qat
from analognets.deploy.export.qat_graph import LAYERS, describe_network
from analognets.errors import AnalogNetsError, ConversionError, DataError, InvalidArgumentError, MissingExtraError

layers = keras.layers
needs_tfmot = pytest.mark.skipif(not qat.has_tfmot(), reason="needs tensorflow-model-optimization (extra 'tfmot')")


def network() -> keras.Model:
    """Return a net with a nested model, a + of tensors and layers whose arguments have other names in Keras 2."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2), name="grid")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(4, 1, activation="relu", name="mixed")(x) + x
    x = keras.Sequential([layers.LeakyReLU(negative_slope=0.1), layers.Dropout(0.1)], name="block")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs far from +-6, tfmot's first guess, and three classes that can be told apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    return (rng.normal(size=(300, 6, 6, 2)) * 10 + 15 * labels[:, None, None, None]).astype(np.float32), labels


@pytest.fixture(scope="module")
def trained(data: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return a network, its int8 file after an epoch of training in another process, and what was reported."""
    if not qat.has_tfmot():
        pytest.skip("needs tensorflow-model-optimization (extra 'tfmot')")
    before = set(sys.modules)  # other tests of the same process may have imported the packages
    model = network()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*data, epochs=6, batch_size=50, verbose=0)
    path = tmp_path_factory.mktemp("qat") / "qat.tflite"
    seen: list[tuple[int, int, dict[str, float]]] = []
    facts = to_litert_qat(
        model, path, data, epochs=1, batch_size=100, learning_rate=1e-4, progress=lambda *step: seen.append(step)
    )
    new = set(sys.modules) - before
    return SimpleNamespace(new=new, model=model, facts=facts, seen=seen, path=path)


def test_the_file_is_int8_and_computes_what_was_learned(trained: SimpleNamespace, data: Any) -> None:
    assert trained.facts.weight_type == "int8"
    assert (trained.facts.inputs[0].dtype, trained.facts.inputs[0].shape) == ("int8", (1, 6, 6, 2))
    assert set(trained.facts.operators) <= {"CONV_2D", "ADD", "LEAKY_RELU", "MEAN", "FULLY_CONNECTED"}
    expected = trained.model.predict(data[0], verbose=0)
    found = Interpreter(trained.path).predict(data[0])
    # Ranges left at +-6 would clip these inputs, and cost far more than the step of 8 bits and a short training.
    assert np.abs(found - expected).mean() < 0.05 * np.ptp(expected)
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.9


def test_progress_comes_batch_by_batch(trained: SimpleNamespace) -> None:
    assert [(done, total) for done, total, _ in trained.seen] == [(1, 3), (2, 3), (3, 3)]
    for _, _, values in trained.seen:
        assert values["epoch"] == 1
        assert 0 < values["loss"] < 20
        assert 0 <= values["accuracy"] <= 1


def test_nothing_of_tf_keras_enters_this_process(trained: SimpleNamespace) -> None:
    assert not [name for name in trained.new if name.split(".")[0] in qat.PACKAGES]
    assert "TF_USE_LEGACY_KERAS" not in os.environ


def test_the_graph_is_taken_apart() -> None:
    model = network()
    record, weights = describe_network(model)
    assert [entry["kind"] for entry in record["layers"]] == [
        *("Conv2D", "BatchNormalization", "ReLU", "Conv2D", "Add", "LeakyReLU", "Dropout"),
        *("GlobalAveragePooling2D", "Dense"),
    ]
    assert record["calls"][4]["inputs"] == [4, 3]
    assert sum(entry["weights"] for entry in record["layers"]) == len(weights)
    leaky = next(entry for entry in record["layers"] if entry["kind"] == "LeakyReLU")
    assert leaky["config"] == {"alpha": pytest.approx(0.1)}
    assert json.loads(json.dumps(record))["output"] == len(record["calls"])


def test_known_layers_exist_with_these_arguments() -> None:
    for kind, arguments in LAYERS.items():
        init = getattr(keras.layers, kind).__init__.__code__
        names = init.co_varnames[: init.co_argcount + init.co_kwonlyargcount]
        assert set(arguments) <= {*names, "max_value", "negative_slope", "threshold"}, kind


def test_all_unknown_layers_are_named_at_once() -> None:
    model = keras.Sequential(
        [keras.Input((8, 3)), layers.Conv1D(3, 2, name="wave"), layers.Activation("elu", name="soft"), layers.LSTM(3)]
    )
    with pytest.raises(ConversionError, match=r"3 layers .*'wave' \(Conv1D\).*'soft'.* elu.*\(LSTM\).*post-training"):
        describe_network(model)
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="twice")
    with pytest.raises(ConversionError, match=r"can't take 'twice', which is called more than once"):
        describe_network(keras.Model(inputs, shared(shared(inputs))))
    with pytest.raises(ConversionError, match=r"one output. Received: 2"):
        describe_network(keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(2)(inputs)]))


def joined() -> keras.Model:
    """Return a net whose layers tfmot joins, splits and wires anew, with names that it uses for its own."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="grid")
    first = layers.SeparableConv2D(6, 3, padding="same", name="conv2d")(inputs)
    second = layers.Conv2D(4, 3, padding="same", name="depthwise_conv2d")(inputs)
    second = layers.ReLU(name="quant_left")(layers.BatchNormalization(name="block>norm")(second))
    third = layers.Conv2D(2, 1, activation="relu", name="quantize_layer")(inputs)
    x = layers.Concatenate(name="concatenate")([second, first, third])
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@needs_tfmot
def test_8_bit_alone_change_little(tmp_path: Path) -> None:
    model = joined()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8, 8, 3)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    facts = to_litert_qat(model, tmp_path / "x.tflite", (x, rng.integers(0, 3, 200)), epochs=1, learning_rate=1e-7)
    found = Interpreter(facts.path).predict(x)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.08
    assert 0 <= facts.error < 0.08


def test_a_network_that_8_bit_make_another_one_is_refused() -> None:
    expected = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    qat_worker.check_start(lambda x, training: expected * 1.1, [expected], expected)
    with pytest.raises(ConversionError, match=r"another network .* it trains: a relative error of 2 on 2 samples"):
        qat_worker.check_start(lambda x, training: -expected, [expected], expected)


def test_separable_layers_are_taken_apart_and_names_are_free() -> None:
    record, weights = describe_network(joined())
    kinds = [entry["kind"] for entry in record["layers"]]
    assert kinds.count("DepthwiseConv2D") == 1
    assert "SeparableConv2D" not in kinds
    names = [entry["name"] for entry in record["layers"]]
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("quant") or ">" in name]
    assert sum(entry["weights"] for entry in record["layers"]) == len(weights)


def test_what_would_be_lost_is_refused() -> None:
    inputs = keras.Input((4,))
    with pytest.raises(ConversionError, match=r"\(Add\): a constant is added"):
        describe_network(keras.Model(inputs, layers.Dense(2)(inputs) + 3.0))
    whole = keras.Input((4,), dtype="int32")
    with pytest.raises(ConversionError, match=r"inputs of type int32 have no 8-bit range"):
        describe_network(keras.Model(whole, layers.Dense(2)(whole)))


def job_of(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a script stand in for the worker."""
    monkeypatch.setattr(qat, "WORKER", (sys.executable, "-c", script))


STEP = 'print(\'{"event": "step", "done": 1, "total": 9, "epoch": 1, "loss": 1, "accuracy": 1}\', flush=True)'


def alive(pid: int) -> bool:
    """Whether a process runs still."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_what_stops_this_process_stops_the_other(
    kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "pid"
    job_of(f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); {STEP}; time.sleep(3600)", monkeypatch)

    def stop(*step: Any) -> None:
        raise kind

    with pytest.raises(kind):
        qat.run_worker(tmp_path, None, stop)
    assert not alive(int(note.read_text()))


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_of("import time; time.sleep(3600)", monkeypatch)
    with pytest.raises(AnalogNetsError, match=r"did not end within 0.5 s. Give it more time or fewer epochs"):
        qat.run_worker(tmp_path, 0.5, None)


def test_a_worker_that_dies_is_reported_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_of("raise MemoryError('out of everything')", monkeypatch)
    with pytest.raises(AnalogNetsError, match=r"ended with code 1. Received: MemoryError: out of everything"):
        qat.run_worker(tmp_path, None, None)
    job_of('print(\'{"event": "error", "message": "In one sentence."}\'); raise SystemExit(1)', monkeypatch)
    with pytest.raises(ConversionError, match=r"^In one sentence.$"):
        qat.run_worker(tmp_path, None, None)


def test_the_worker_ends_when_its_caller_is_gone() -> None:
    script = (
        "import time; from analognets.deploy.export.qat_worker import end_with_caller; "
        "end_with_caller(); time.sleep(3600)"
    )
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 3


@needs_tfmot
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.array([0, 1, 3]),
            r"one label from 0 to 2 a sample. Received: 3 samples, labels of shape \(3,\) from 0 to 3",
        ),
        (np.array([0, 1]), r"Received: 3 samples, labels of shape \(2,\)"),
    ],
)
def test_unfit_labels(labels: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        to_litert_qat(network(), tmp_path / "x.tflite", (np.zeros((3, 6, 6, 2)), labels))


@needs_tfmot
def test_wrong_arguments(tmp_path: Path, data: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`epochs` of to_litert_qat must be a whole number from 1"):
        to_litert_qat(network(), tmp_path / "x.tflite", data, epochs=0)
    (tmp_path / "x.tflite").write_text("kept")
    with pytest.raises(DataError, match=r"exists already"):
        to_litert_qat(network(), tmp_path / "x.tflite", data)
    with pytest.raises(InvalidArgumentError, match=r"at least one pair of \(features, labels\). Received: none"):
        to_litert_qat(network(), tmp_path / "y.tflite", [])


def test_the_extra_is_named_when_it_is_missing(tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qat, "has_tfmot", lambda: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'analognets\[tfmot\]'"):
        to_litert_qat(network(), tmp_path / "x.tflite", data)
