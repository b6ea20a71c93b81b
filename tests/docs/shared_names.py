"""What examples in docstrings use without making it: small and seeded, each made when the first example asks for it.

`docs/_sphinx/api_pages.py` tells readers of the reference what these names are.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

import analognets as an

TINY = ("batch_size=10", "sampling.steps=2", "model.options.widths=[4,4,4,4,4]")
TINY += ("float.epochs=1", "hardware_aware.epochs=1")


class SharedNames:
    """The shared names as attributes.

    Args:
        folder: where files are kept that several examples read.
    """

    names = (
        "x",
        "y",
        "model",
        "analog",
        "chips",
        "speech",
        "run",
        "cells",
        "pulses",
        "tflite",
        "listened",
        "swept",
        "ranked",
        "bundle_folder",
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def used_in(self, words: Iterable[str]) -> dict[str, Any]:
        """Return those of the names that are among some words."""
        return {name: getattr(self, name) for name in set(words) & set(self.names)}

    @cached_property
    def y(self) -> np.ndarray:
        """Labels of 40 samples of 4 classes."""
        return np.arange(40) % 4

    @cached_property
    def x(self) -> np.ndarray:
        """Inputs of the samples, eight numbers each."""
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(4, 8))
        return (centres[self.y] + 0.4 * rng.normal(size=(40, 8))).astype("float32")

    @cached_property
    def model(self) -> keras.Model:
        """Two dense layers that know the classes: the first is random, the second fitted by least squares."""
        keras.utils.set_random_seed(0)
        layers = keras.layers
        model = keras.Sequential(
            [keras.Input((8,)), layers.Dense(16, activation="relu", name="hidden"), layers.Dense(4, name="logits")],
            name="net",
        )
        inside = np.maximum(self.x @ model.get_layer("hidden").kernel.numpy(), 0)
        wanted = np.eye(4)[self.y]
        best = np.linalg.lstsq(inside.T @ inside + 0.1 * np.eye(16), inside.T @ wanted, rcond=None)[0]
        model.get_layer("logits").kernel.assign(best)
        return model

    @cached_property
    def analog(self) -> keras.Model:
        """The network on crossbars, calibrated."""
        return an.to_analog(self.model, calibrate_on=self.x)

    @cached_property
    def chips(self) -> Any:
        """Three chips of it."""
        return an.deploy.program(self.analog, chips=3, seed=0)

    @cached_property
    def speech(self) -> Path:
        """A folder in the layout of Speech Commands, of tones instead of words."""
        path = Path(__file__).parents[1] / "datasets" / "conftest.py"
        spec = importlib.util.spec_from_file_location("tiny_speech_commands", path)
        assert spec is not None and spec.loader is not None
        recordings = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(recordings)
        return recordings.build_tree(self.folder / "speech")

    @cached_property
    def run(self) -> Path:
        """The folder of a finished training, of two steps a stage."""
        import tensorflow as tf

        from analognets.training.stages import train
        from analognets.zoo.tasks import find_recipe, prepare

        tf.config.run_functions_eagerly(True)
        try:
            recipe = find_recipe("kws", TINY)
            task = prepare(recipe, data_dir=self.speech)
            run = an.training.Run.create(self.folder / "run", recipe)
            train(run, model=task.model, data=task.training)
        finally:
            tf.config.run_functions_eagerly(False)
        return run.path

    @cached_property
    def cells(self) -> Path:
        """A table of readings of 120 PCM cells at four times, as a probe station writes it."""
        target = np.repeat(np.linspace(2.0, 24.0, 12), 10)
        device = an.devices.PCM()
        state = device.program(target, seed=0)
        path = self.folder / "cells.csv"
        lines = ["cell,target_uS,time_s,conductance_uS"]
        for number, time in enumerate((25, 300, 4000, 50_000)):
            found = np.asarray(device.read(state, time, seed=number + 1))
            lines += [f"{cell},{target[cell]},{time},{value:.5f}" for cell, value in enumerate(found)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    @cached_property
    def pulses(self) -> dict[str, np.ndarray]:
        """The conductances of one cell after 0 to 20 SET pulses, as columns of a table."""
        noise = np.random.default_rng(0).normal(size=21)
        return {"pulse": np.arange(21), "LTP_uS": 1.0 + 10.0 * (1.0 - 0.9 ** np.arange(21)) + 0.05 * noise}

    @cached_property
    def tflite(self) -> Path:
        """A float .tflite file of the network, made by Keras itself."""
        path = self.folder / "net.tflite"
        self.model.export(str(path), format="litert", verbose=False)
        return path

    @cached_property
    def listened(self) -> Any:
        """What a preset hears in 18 s of running audio, digital and on one chip."""
        from analognets.deploy.stream import stream_evaluation
        from analognets.zoo.trained import open_trained

        data = an.datasets.load_dataset("speech_commands", self.speech)
        trained = open_trained("analognet_kws.hwa_8bit")
        return stream_evaluation(trained, data, hours=0.005, at=["25s"], chips=1, target=1e4)

    @cached_property
    def swept(self) -> Any:
        """The accuracy of two chips at two strengths of the noise of outputs, from `sweep_nonideality`."""
        data, folder = (self.x, self.y), self.folder / "swept"
        return an.deploy.sweep_nonideality(self.analog, "output_noise", [0.0, 0.1], folder, data=data, chips=2)

    @cached_property
    def ranked(self) -> Any:
        """The layers of the network by how they bear device noise, from `layer_study`."""
        return an.deploy.layer_study(self.analog, self.folder / "ranked", data=(self.x, self.y), chips=2)

    @cached_property
    def bundle_folder(self) -> Path:
        """A small conformance bundle."""
        from analognets.deploy.conformance import write_bundle

        return write_bundle(self.folder / "bundle", chips=2, times=(25.0,))
