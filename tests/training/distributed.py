"""Trainings on several devices or in several processes, each in a process of its own: `distributed.py KIND FOLDER`.

TensorFlow's devices are chosen before it computes anything, so these can't run in the process of the tests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import toy

from analognets.errors import RunError
from analognets.layers import AnalogDense
from analognets.training import Run, train
from analognets.training.placement import placement_of

QUIET = {"hardware_aware__weight_noise": 0.0, "hardware_aware__clip_norm": 0.5}


def quiet_model() -> keras.Model:
    """Return the toy without dropout, whose training draws nothing."""
    net = toy.model()
    net.get_layer("dropout").rate = 0.0
    return net


def local(strategy: tf.distribute.Strategy, values: Any) -> list[np.ndarray]:
    return [np.array(one) for one in strategy.experimental_local_results(values)]


def noise(strategy: tf.distribute.Strategy, folder: Path) -> None:
    """Store two draws on each device: of Gaussian noise, of drop-out's generator, of the time of a step."""
    with strategy.scope():
        layer = AnalogDense(64, weight_noise=0.5, seed=3, use_bias=False)
        layer.build((None, 64))
        aged = AnalogDense(8, weight_noise=0.5, noise_model="drift")
        aged.build((None, 8))

    @tf.function
    def drawn() -> Any:
        return strategy.run(
            lambda: (layer.effective_kernel(True), keras.random.uniform((1,), seed=aged.time_generator))
        )

    pairs = [drawn() for _ in range(2)]
    kernels = np.stack([np.stack(local(strategy, kernel)) for kernel, _ in pairs])
    times = np.stack([np.stack(local(strategy, time)) for _, time in pairs])
    np.savez(folder / "noise.npz", kernels=kernels, times=times, clean=np.array(layer.kernel.value))


def gone_on(folder: Path, name: str, stop: tuple[str, int] | None) -> str:
    """Train with noise on two devices, with an interruption or without; return what became of the weights."""

    def stopping(event: Any) -> None:
        if event.kind == "epoch" and (event.stage, event.epoch) == stop:
            raise KeyboardInterrupt

    recipe = toy.recipe(strategy="mirrored:2", float__epochs=0)
    if stop is not None:
        try:
            train(Run.create(folder / name, recipe), model=toy.model, data=toy.data(), progress=stopping)
        except KeyboardInterrupt:
            pass
    result = train(Run.create(folder / name, recipe), model=toy.model, data=toy.data())
    return toy.digest(result.analog_model)


def mirrored(folder: Path) -> None:
    placement = placement_of("mirrored:2")
    noise(placement.strategy, folder)
    recipe = toy.recipe(**QUIET, strategy="mirrored:2")
    train(Run.create(folder / "quiet", recipe), model=quiet_model, data=toy.data())
    uneven = tf.data.Dataset.range(9).batch(4).map(lambda x: (x, {"y": x}))
    parts = [[one.tolist() for one in local(placement.strategy, x)] for x, _ in placement.batches(uneven)]
    answer = {"parts": parts, "whole": gone_on(folder, "whole", None)}
    answer["broken"] = gone_on(folder, "broken", ("hardware_aware", 1))
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")


def worker(folder: Path, dies: tuple[str, int] | None) -> None:
    """Train as one of the processes of TF_CONFIG; one of them dies when it is told to."""
    placement = placement_of("multi_worker")

    def dying(event: Any) -> None:
        if not placement.is_chief and event.kind == "batch" and (event.stage, event.epoch) == dies:
            os.kill(os.getpid(), signal.SIGKILL)

    recipe = toy.recipe(**QUIET, strategy="multi_worker")
    run = Run.create(folder / "quiet", recipe)
    try:
        train(run, model=quiet_model, data=toy.data(), progress=dying, strategy=placement)
    except RunError as error:
        (folder / "error.txt").write_text(str(error), "utf-8")
        os._exit(3)  # TensorFlow's server waits for the others


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(sys.argv[2])
    if kind == "mirrored":
        mirrored(place)
    else:
        worker(place, ("hardware_aware", 1) if kind == "dying" else None)
