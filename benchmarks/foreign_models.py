"""Keras models that other projects published: loaded, converted, programmed into chips and evaluated, as they are.

python -m benchmarks.foreign_models [--checkout DIR] [--data DIR] [--chips 5] [--only NAME]

The files come from a checkout of their repository, or are downloaded at the commit named here; each is checked by its
sha256 and none is part of this project. Nothing is trained: the weights are programmed as published, W_max = max |W|.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pooch
import tensorflow as tf

from analognets.conversion import load_model, to_analog
from analognets.deploy.chips.chips import program
from analognets.deploy.evaluation import accuracy
from analognets.errors import AnalogNetsError
from analognets.layers import calibrate, freeze_weight_range
from benchmarks._measure import report

REPOSITORY = "mlcommons/tiny"
COMMIT = "1afd2c9820f795965a6134facd0b4dfae41ef23f"
LICENCE = "Apache-2.0"
TIMES = ("25s", "1d")
CALIBRATION = 100
MISSING = "there are no data at hand to feed it"
Data = tuple[np.ndarray, np.ndarray | None, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A published model file, and what to feed it.

    Args:
        path: in its repository.
        sha256: of the file; None for a folder.
        feed: function of (data folder, checkout) that returns test inputs, their labels or None, and inputs to
            calibrate on; None if there is nothing fit to feed it.
        statement: what the figures are, in words.
    """

    path: str
    sha256: str | None
    feed: Callable[[Path, Path | None], Data | None] | None
    statement: str


def pictures(folder: Path, size: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of non_person (0) and person (1), resized."""
    images, labels = [], []
    for label, name in enumerate(("non_person", "person")):
        for path in sorted((folder / name).glob("*.png")):
            image = tf.io.decode_png(tf.io.read_file(str(path)), channels=3)
            images.append(tf.image.resize(image, (size, size), "bicubic"))
            labels.append(label)
    return np.clip(np.stack(images), 0, 255).astype("float32") * scale, np.array(labels)


def people(size: int, scale: float, labelled: bool) -> Callable[[Path, Path | None], Data | None]:
    """Return a feed of the stand-in pictures of people and other things."""

    def feed(data: Path, checkout: Path | None) -> Data | None:
        folder = data / "people_vs_rest"
        if not folder.is_dir():
            return None
        inputs, labels = pictures(folder / "test", size, scale)
        seen, _ = pictures(folder / "train", size, scale)
        chosen = np.random.default_rng(0).choice(len(seen), CALIBRATION, replace=False)
        return inputs, labels if labelled else None, seen[chosen]

    return feed


def features_of_the_project(data: Path, checkout: Path | None) -> Data | None:
    """Return the features that the project itself calibrates its quantisation on, in two halves."""
    path = None if checkout is None else checkout / "benchmark/training/streaming_wakeword/calibration_samples.npz"
    if path is None or not path.is_file():
        return None
    with np.load(path) as file:
        specs, labels = np.asarray(file["specs"], np.float32), np.asarray(file["labels"]).astype(int)
    order = np.random.default_rng(0).permutation(len(specs))
    test, seen = order[: len(order) // 2], order[len(order) // 2 :]
    return specs[test], labels[test], specs[seen]


TRAINED = "benchmark/training"
MODELS = {
    "vww_96": Foreign(
        f"{TRAINED}/visual_wake_words/trained_models/vww_96.h5",
        "af9111d50e6e85b2f2123345e0316ef1c384865ebf6b06340ddac7e66017450f",
        people(96, 1 / 255, labelled=True),
        "Accuracy of a person detector made for COCO photographs of 96 x 96, on CIFAR-100 photographs of 32 x 32 "
        "(people or not) that were enlarged to 96 x 96. Not its task: only the differences between the figures count.",
    ),
    "pretrainedResnet": Foreign(
        f"{TRAINED}/image_classification/trained_models/pretrainedResnet.h5",
        "5f938a8eea605438cc7360aa13c987bc6d7bd0c8d931b2917361ae7ae4eeda2f",
        people(32, 1.0, labelled=False),
        "Share of CIFAR-100 photographs that the chip puts into the same CIFAR-10 class as the published float model.",
    ),
    "str_ww_ref_model": Foreign(
        f"{TRAINED}/streaming_wakeword/trained_models/str_ww_ref_model.h5",
        "b0f267a8ba0bcb911c1098229c32fac21996e4191c9c60d1fda80adaa70a8add",
        features_of_the_project,
        "Accuracy on half of the features that the project published to calibrate its own quantisation, from its"
        " training data; the converters are calibrated on the other half.",
    ),
    "ad01": Foreign(
        f"{TRAINED}/anomaly_detection/trained_models/ad01.h5",
        "651a62de1b7facd68d1269373992a2d09ffd28e6a816935d4834fcc558bde512",
        None,
        "An autoencoder of machine sounds; converted only, since there are no such sounds at hand.",
    ),
    "kws_ref_model": Foreign(
        f"{TRAINED}/keyword_spotting/trained_models/kws_ref_model",
        None,
        None,
        "A SavedModel, which `analognets benchmark mlperf-tiny` measures.",
    ),
}


def located(model: Foreign, checkout: Path | None, folder: Path) -> Path:
    """Return where a model lies, downloaded if there is no checkout."""
    if checkout is not None:
        path = checkout / model.path
    elif model.sha256 is None:
        path = folder / Path(model.path).name
        path.mkdir(exist_ok=True)
        (path / "saved_model.pb").touch()
    else:
        url = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/{model.path}"
        path = Path(pooch.retrieve(url, known_hash=f"sha256:{model.sha256}", path=folder))
    if model.sha256 is not None and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != model.sha256:
        raise SystemExit(f"{path} is another file than the one meant here: sha256 {found}, not {model.sha256}.")
    return path


def keras_alone(path: Path) -> str:
    """Return what Keras makes of a file by itself."""
    try:
        keras.models.load_model(path, compile=False)
    except (TypeError, ValueError, OSError) as error:
        return str(error).strip().splitlines()[-1].replace(str(path), path.name)
    return "loads it"


def written_by(path: Path) -> str:
    if path.is_dir():
        return "2"
    with h5py.File(path) as file:
        version = file.attrs["keras_version"]
    return version.decode() if isinstance(version, bytes) else str(version)


def evaluated(plain: keras.Model, analog: keras.Model, data: Data, chips: int) -> dict[str, Any]:
    """Return figures of the float model, of converters alone and of chips over time."""
    inputs, labels, calibration = data
    outputs = plain.predict(inputs, verbose=0)
    wanted = outputs.argmax(-1) if labels is None else labels
    freeze_weight_range(analog, sigma=None)
    calibrate(analog, calibration)
    table = program(analog, chips=chips, seed=0).evaluate((inputs, wanted), at=TIMES)
    groups = table.groupby("at", sort=False)["accuracy"]
    return {
        "samples": len(inputs),
        "calibration_samples": len(calibration),
        "float": accuracy(wanted, outputs),
        "converters": accuracy(wanted, analog.predict(inputs, verbose=0)),
        "chips": {at: {"mean": values.mean(), "std": values.std(), "chips": len(values)} for at, values in groups},
    }


def examined(model: Foreign, path: Path, data: Data | None, chips: int) -> dict[str, Any]:
    """Return what becomes of one model, wholly analog and with its depthwise convolutions left digital."""
    try:
        plain = load_model(path)
    except AnalogNetsError as error:
        return {"refused": str(error).replace(str(path), path.name)}
    depthwise = [layer.name for layer in plain.layers if "Depthwise" in type(layer).__name__]
    results: dict[str, Any] = {"written_by_keras": written_by(path), "keras_alone": keras_alone(path)}
    for name, exempt in (("all_analog", []), ("depthwise_digital", depthwise)):
        if exempt or name == "all_analog":
            analog = to_analog(plain, "aon_cim_8bit", exempt=exempt)
            summary = analog.conversion_report.to_dict()
            layers = summary.pop("layers")
            summary["left"] = sorted({f"{entry['kind']}: {entry['why']}" for entry in layers if not entry["converted"]})
            figures = evaluated(plain, analog, data, chips) if data is not None else {"not_evaluated": MISSING}
            results[name] = {**summary, **figures}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help=f"folder of {REPOSITORY}; downloads its files if not given")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of people_vs_rest")
    parser.add_argument("--chips", type=int, default=5)
    parser.add_argument("--only", choices=MODELS, action="append")
    arguments = parser.parse_args()
    models = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or MODELS:
            model = MODELS[name]
            path = located(model, arguments.checkout, Path(folder))
            data = model.feed(arguments.data, arguments.checkout) if model.feed else None
            source = {"repository": REPOSITORY, "commit": COMMIT, "path": model.path, "sha256": model.sha256}
            found = examined(model, path, data, arguments.chips)
            models[name] = {"source": {**source, "licence": LICENCE}, "statement": model.statement, **found}
    report({"hardware": "aon_cim_8bit", "training": "none: weights as published", "models": models})


if __name__ == "__main__":
    main()
