"""The commands that write, each tiny, with what has to be there before and what must still open after a kill."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["COMMANDS", "Command", "make_inputs"]

LETTERS = (
    "cochlea.duration=150", "cochlea.channels=24", "pixels.duration=150", "pixels.most=2", "pixels.shape=[5,4]",
    "neuron.dt=1.0", "epochs=2", "checkpoint_every=1", "times=[0.0]", "readings=1", "letters=[I]",
)  # fmt: skip
DIGITS = ("neurons=20", "block=50", "label_pictures=100", "rules.threshold=1.0", "rules.duration=40.0")
NETWORK = ("dataset.options={validation: 40}", "model.options.hidden=20", "float.epochs=2", "batch_size=20")
CHIP = ("on_device.enabled=false", "hardware_aware={epochs: 1}", "on_device=null")
SHORT = ("sampling.steps=1", "augmentation={}", "batch_size=10")


def sets(*changes: str) -> tuple[str, ...]:
    """Return the words that change a recipe."""
    return tuple(word for change in changes for word in ("--set", change))


@dataclasses.dataclass(frozen=True)
class Command:
    """A command to kill.

    Args:
        words: of its line; "{inputs}" stands for the folder of the inputs. It writes into "out" in its own folder.
        after: the name of a command whose "out" is there before, as "before".
        twice: it runs once before, so that the one that is killed replaces or goes on with something.
        again: words to add when it is run once more, because it begins anew otherwise or not at all.
        refused: what it says instead when it had been finished already.
        opens: raises if what was there before, or what was written, is lost.
    """

    words: tuple[str, ...]
    after: str | None = None
    twice: bool = False
    again: tuple[str, ...] = ()
    refused: str = ""
    opens: Callable[[Path], Any] | None = None


def open_preset(folder: Path) -> None:
    from analognets.zoo.presets.registry import load_preset

    load_preset(folder / "out").model()


def open_run(folder: Path) -> None:
    from analognets.training.run import Run

    assert Run.open(folder / "out").finished  # noqa: S101


def files_are_there(*needed: str) -> Callable[[Path], None]:
    """Return a check for files of an earlier command."""

    def check(folder: Path) -> None:
        lost = [name for name in needed if not (folder / name).is_file()]
        if lost:
            raise FileNotFoundError(f"lost: {lost}")

    return check


MNIST = ("train", "mnist-mlp", "--data", "{inputs}", "--out", "out")
SWEPT = ("{inputs}/net.keras", "--data", "{inputs}/data.npz", "--chips", "2", "--out", "out")
STUDY = ("--data", "{inputs}", "--out", "out", "--chips", "2", "--limit", "20")

COMMANDS: dict[str, Command] = {
    "train": Command((*MNIST, *sets(*NETWORK, *CHIP)), again=("--keep",)),
    "train --overwrite": Command((*MNIST, *sets(*NETWORK, *CHIP), "--overwrite"), twice=True),
    "train --on-device": Command((*MNIST, "--on-device", *sets(*NETWORK)), again=("--keep",)),
    "train letters": Command(
        ("train", "letters", "--out", "out", *sets(*LETTERS, "wav.I={inputs}/hum.wav")), again=("--keep",)
    ),
    "train stdp-mnist": Command(
        ("train", "stdp-mnist", "--data", "{inputs}/digits", "--out", "out", *sets(*DIGITS, "train_pictures=150")),
        again=("--keep",),
    ),
    "finetune": Command(
        ("finetune", "analognet_kws.hwa_8bit", "--data", "{inputs}/words", "--epochs", "1", "--hwa-epochs", "1",
         "--freeze", "--out", "out", *sets(*SHORT)), again=("--keep",),
    ),  # fmt: skip
    "evaluate": Command(
        ("evaluate", "before", "--chips", "2", "--at", "25s,1d", "--save-chips", "chips", "--out", "out"), "train"
    ),
    "evaluate again": Command(
        ("evaluate", "before", "--chips", "2", "--at", "25s", "--by-class", "--out", "out"),
        "train",
        twice=True,
        opens=files_are_there("out/drift.csv", "out/summary.csv", "out/drift.png", "out/report.html"),
    ),
    "sweep": Command(("sweep", *SWEPT, "--nonideality", "output_noise", "--values", "0,0.5")),
    "sweep --workers 2": Command(
        ("sweep", *SWEPT, "--nonideality", "output_noise", "--values", "0,0.5", "--workers", "2")
    ),
    "sensitivity": Command(("sensitivity", *SWEPT, "--nonidealities", "output_noise")),
    "certify": Command(
        ("certify", "{inputs}/net.keras", "--data", "{inputs}/data.npz", "--min-accuracy", "2", "--yield", "50",
         "--confidence", "60", "--out", "out"),
    ),
    "explore": Command(("explore", "before", *STUDY, "--bits", "8,4", "--arrays", "1024x512", "--adcs", "64"), "train"),
    "compare": Command(
        ("compare", "before", "--chips", "2", "--at", "25s", "--bits", "8", "--out", "out"), "train", twice=True,
        opens=files_are_there("out/compare.csv", "out/compare.json"),
    ),
    "export": Command(("export", "before", "--out", "out"), "train", again=("--overwrite",)),
    "export --overwrite": Command(
        ("export", "before", "--to", "tflm", "--out", "out", "--overwrite"), "train", twice=True,
        opens=files_are_there("out/mnist_mlp.tflite", "out/mnist_mlp.json", "out/mnist_mlp_model.cc"),
    ),
    "zoo save": Command(("zoo", "save", "before", "out"), "train", again=("--overwrite",)),
    "zoo save --overwrite": Command(
        ("zoo", "save", "before", "out", "--overwrite"), "train", twice=True, opens=open_preset
    ),
    "zoo save .zip": Command(
        ("zoo", "save", "before", "out.zip", "--overwrite"), "train", twice=True, opens=files_are_there("out.zip")
    ),
    "zoo download": Command(("zoo", "download", "{address}", "--to", "out"), refused="--to names a new folder"),
    "data prepare": Command(
        ("data", "prepare", "synthetic_persons", *sets("pictures_per_class=20", "size=48")),
    ),
    "data info": Command(("data", "info", "audio_folder", "--data", "{inputs}/words")),
    "listen": Command(("listen", "before", "--wav", "{inputs}/hum.wav"), "finetune"),
    "stream-eval": Command(
        ("stream-eval", "before", "--hours", "0.005", "--chips", "1", "--at", "25s", "--out", "out"), "finetune",
        twice=True, opens=files_are_there("out/stream.csv", "out/det.csv", "out/words.csv", "out/stream.json"),
    ),
    "benchmark": Command(
        ("benchmark", "mlperf-tiny", "--models", "{inputs}/models", "--only", "ad", "--bits", "8", "--quick", "--out",
         "out"),
    ),
    "cost": Command(("cost", "before", "--figure", "out"), "train", twice=True),
    "lab": Command(("lab", "--out", "out"), twice=True, opens=files_are_there("out/index.html")),
    "conformance write": Command(("conformance", "write", "out", "--overwrite"), twice=True),
    "device fit": Command(
        ("device", "fit", "{inputs}/cells.csv", "--out", "out/device.yaml", "--figures", "out", "--replicates", "20",
         "--overwrite"),
        twice=True, opens=files_are_there("out/device.yaml", "out/laws.png", "out/quantiles.png"),
    ),
}  # fmt: skip
"""All commands that write, by a name."""


def make_inputs(folder: Path, chosen: Iterable[str] = tuple(COMMANDS)) -> None:
    """Write small data sets and, if one of the commands chosen reads them, networks and their data."""
    import soundfile

    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 240), ("test", 40)):
        labels = np.arange(count) % 10
        pictures = rng.integers(0, 60, (count, 28, 28))
        for number, label in enumerate(labels):
            pictures[number, 2 * label + 3 : 2 * label + 6] = 220
        arrays |= {f"x_{part}": pictures.astype(np.uint8), f"y_{part}": labels.astype(np.uint8)}
    np.savez(folder / "mnist.npz", **arrays)
    labels = np.arange(5400, dtype=np.uint8) % 10
    pictures = np.zeros((5400, 28, 28), np.uint8)
    pictures[np.arange(5400), 2 * labels + 3] = rng.integers(150, 255, (5400, 28))
    (folder / "digits").mkdir()
    some = {"x_train": pictures, "y_train": labels, "x_test": pictures[:20], "y_test": labels[:20]}
    np.savez(folder / "digits" / "mnist.npz", **some)
    time = np.arange(16_000) / 16_000
    soundfile.write(folder / "hum.wav", 0.3 * np.sin(2 * np.pi * 500 * time), 16_000)
    first = np.repeat([5.0, 20.0], 30) + rng.normal(size=60)
    cells = zip(np.repeat([5.0, 20.0], 30), first, 0.8 * first, strict=True)
    rows = [f"{number},{target},{soon:.4f},{later:.4f}" for number, (target, soon, later) in enumerate(cells)]
    (folder / "cells.csv").write_text("\n".join(["cell,target_uS,g_uS@25s,g_uS@1h", *rows]) + "\n", "utf-8")
    for number, word in enumerate(("fox", "owl")):
        (folder / "words" / word).mkdir(parents=True)
        for take in range(12):
            tone = 0.1 * np.sin(2 * np.pi * (300 + 500 * number) * time) + rng.normal(0, 0.01, 16_000)
            soundfile.write(folder / "words" / word / f"{take}.wav", tone / (1 + take), 16_000)
    if any(word.startswith(("{inputs}/net", "{inputs}/models")) for name in chosen for word in COMMANDS[name].words):
        write_networks(folder)


def write_networks(folder: Path) -> None:
    """Write an analog network and data that it was calibrated on, and one under the name of a published network."""
    import keras

    from analognets.conversion import to_analog
    from analognets.layers import calibrate

    keras.utils.set_random_seed(0)
    layers = [keras.Input((12,)), keras.layers.Dense(16, "relu", name="first"), keras.layers.Dense(4, name="last")]
    net = keras.Sequential(layers, name="net")
    inputs = np.random.default_rng(0).normal(size=(120, 12)).astype("float32")
    np.savez(folder / "data.npz", inputs=inputs, labels=net.predict(inputs, verbose=0).argmax(-1))
    analog = to_analog(net, "aimc_standard")
    calibrate(analog, inputs)
    analog.save(folder / "net.keras")
    (folder / "models").mkdir()
    published = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="middle")])
    published.save(folder / "models" / "ad01.h5")  # named as MLPerf Tiny's autoencoder
