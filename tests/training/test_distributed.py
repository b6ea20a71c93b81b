"""Training on several devices and in several processes: the weights of one device without noise, else noise apart."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.errors import InvalidArgumentError, RecipeError, RunError
from analognets.training import Run, train
from analognets.training.placement import TrainingPlacement, placement_of

HERE = Path(__file__).parent
QUIET = {"hardware_aware__weight_noise": 0.0, "hardware_aware__clip_norm": 0.5}


def process(kind: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    root = str(HERE.parents[1])
    paths = os.pathsep.join([root, str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, str(HERE / "distributed.py"), kind, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which a process left what it trained on two logical CPU devices."""
    folder = tmp_path_factory.mktemp("mirrored")
    made = process("mirrored", folder)
    output, _ = made.communicate(timeout=600)
    assert made.returncode == 0, output[-4000:]
    return folder


def quiet_model(toy: ModuleType) -> Callable[[], keras.Model]:
    """Return what builds the toy without dropout, whose training draws nothing."""

    def build() -> keras.Model:
        net = toy.model()
        net.get_layer("dropout").rate = 0.0
        return net

    return build


@pytest.fixture(scope="module")
def alone(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the run of the same training without noise on one device."""
    run = Run.create(tmp_path_factory.mktemp("alone") / "quiet", toy.recipe(**QUIET))
    train(run, model=quiet_model(toy), data=toy.data())
    return run


def check_same(run: Run, other: Run) -> None:
    for kind in ("float_model", "analog_model"):
        nets = [getattr(Run.open(one.path), kind)() for one in (run, other)]
        for expected, got in zip(nets[0].weights, nets[1].weights, strict=True):
            np.testing.assert_allclose(np.array(got), np.array(expected), rtol=2e-3, atol=3e-4, err_msg=expected.path)
    for row, found in zip(run.metrics(), other.metrics(), strict=True):
        for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert found[key] == pytest.approx(row[key], rel=2e-3, abs=1e-4)


def test_two_devices_give_the_weights_of_one(mirrored: Path, alone: Run) -> None:
    check_same(alone, Run.open(mirrored / "quiet"))


def test_each_device_has_noise_of_its_own(mirrored: Path) -> None:
    """In a plain call too, without a callback: the same spread on both devices, and nothing shared."""
    with np.load(mirrored / "noise.npz") as arrays:
        kernels, times, clean = (arrays[name] for name in ("kernels", "times", "clean"))
    drawn = (kernels - clean).reshape(4, -1)
    assert np.std(drawn, axis=1) == pytest.approx([0.5 * np.abs(clean).max()] * 4, rel=0.05)
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.07  # 4,096 draws: 4 sigma is 0.0625
    assert len(np.unique(times)) == 4


def test_a_run_goes_on_under_a_strategy_to_the_bit(mirrored: Path) -> None:
    answer = json.loads((mirrored / "answer.json").read_text("utf-8"))
    assert answer["whole"] == answer["broken"]
    assert answer["parts"] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8], [8]]]
    whole, broken = (Run.open(mirrored / name).metrics() for name in ("whole", "broken"))
    assert [row["loss"] for row in whole] == [row["loss"] for row in broken]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def two_workers(kind: str, folder: Path) -> list[tuple[int, str]]:
    """Run two processes by TF_CONFIG; return how each ended and what it printed."""
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    configs = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}} for index in range(2)]
    processes = [process(kind, folder, TF_CONFIG=json.dumps(config)) for config in configs]
    try:
        outputs = [one.communicate(timeout=600)[0] for one in processes]
        return [(one.returncode, text) for one, text in zip(processes, outputs, strict=True)]
    finally:
        for one in processes:
            one.kill()


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one_though_a_worker_dies(alone: Run, tmp_path: Path) -> None:
    (chief, text), (helper, _) = two_workers("dying", tmp_path)
    assert (chief, helper) == (3, -9), text[-4000:]
    assert "Another worker of the training died" in (tmp_path / "error.txt").read_text("utf-8")
    run = Run.open(tmp_path / "quiet")
    latest = run.checkpoints.latest()
    assert run.status == "failed" and latest is not None and (latest.stage, latest.epoch) == ("hardware_aware", 1)
    ended = two_workers("worker", tmp_path)
    assert [code for code, _ in ended] == [0, 0], ended[0][1][-4000:]
    check_same(alone, Run.open(tmp_path / "quiet"))
    assert len(Run.open(tmp_path / "quiet").record["sessions"]) == 2  # the chief's alone


@pytest.mark.parametrize("name", ["mirored", "mirrored:0", "mirrored:", 3, "", "mirrored:x"])
def test_a_strategy_that_does_not_exist(toy: ModuleType, name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="There is no such strategy.*'mirrored'.*Received"):
        placement_of(name)
    with pytest.raises(RecipeError, match="strategy.*'mirrored'"):
        toy.recipe(strategy=name)


def test_what_a_strategy_needs(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tf.zeros(())  # TensorFlow has begun
    with pytest.raises(InvalidArgumentError, match="needs 64 devices. Received: 1 "):
        placement_of("mirrored:64")
    for text in ("", "{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "[]"):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(InvalidArgumentError, match="needs the environment variable TF_CONFIG"):
            placement_of("multi_worker")
        with pytest.raises(InvalidArgumentError, match="needs the environment variable TF_CONFIG"):
            Run.create(tmp_path / "run", toy.recipe(strategy="multi_worker"))
    assert toy.recipe(strategy="mirrored:2").to_dict()["strategy"] == "mirrored:2"
    assert "strategy" not in toy.recipe().to_dict()
    devices = toy.recipe(
        strategy="mirrored", hardware_aware=None, on_device__enabled=True, float__weight_clip_sigma=None
    )
    with pytest.raises(InvalidArgumentError, match="on one device.*Received: a strategy"):
        train(Run.create(tmp_path / "devices", devices), model=toy.model, data=toy.data())


def test_a_batch_has_a_sample_for_each_replica() -> None:
    placement = TrainingPlacement(tf.distribute.get_strategy())
    placement.replicas = 2
    with pytest.raises(InvalidArgumentError, match="a sample for each of the 2 replicas.*Received: batches of 1"):
        placement.batches(tf.data.Dataset.range(4).batch(1, drop_remainder=True))


def test_a_worker_that_is_gone_is_one_sentence() -> None:
    placement = TrainingPlacement()
    placement.workers = 2
    with pytest.raises(RunError, match=r"Another worker of the training died.*same\s+command on all workers"):
        with placement.watching():
            raise tf.errors.UnavailableError(None, None, "Socket closed")
    with pytest.raises(ZeroDivisionError), placement.watching():
        raise ZeroDivisionError


def test_steps_compiled_by_xla_give_the_same_weights(toy: ModuleType, alone: Run, tmp_path: Path) -> None:
    compiled = toy.recipe(**QUIET, hardware_aware__jit_compile=True)
    assert "jit_compile" not in compiled.to_dict()["float"]
    run = Run.create(tmp_path / "xla", compiled)
    train(run, model=quiet_model(toy), data=toy.data())
    check_same(alone, run)
