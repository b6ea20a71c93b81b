"""Writes what the lab page is told of the presets, and what its tests compare with: `make page`.

python web/describe.py

The int8 scales and the sounds are of synthetic speech, which is the same on the same machine with the same packages;
all else is the same everywhere, and a test compares it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from analognets import deploy
from analognets.core.drafts import temporary_folder
from analognets.core.seeds import generator
from analognets.datasets.drawn_scenes import draw_scene
from analognets.datasets.synthetic_speech import load_synthetic_speech
from analognets.deploy.export.litert import to_litert
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.deploy.page.description import describe, describe_frontend
from analognets.deploy.page.int8_scales import int8_scales
from analognets.deploy.page.packing import pack
from analognets.deploy.studies.other_hardware import on_hardware
from analognets.layers import analog_layers
from analognets.zoo.trained import TrainedNetwork, open_trained

ROOT = Path(__file__).resolve().parents[1]
PRESETS = {
    "analognet_kws.hwa_8bit": ("words", "Spoken words, trained for 8 bit"),
    "analognet_kws.hwa_6bit": ("words", "Spoken words, trained for 6 bit"),
    "analognet_kws.hwa_4bit": ("words", "Spoken words, trained for 4 bit"),
    "analognet_kws.float": ("words", "Spoken words, float network"),
    "analognet_vww.hwa_8bit": ("persons", "Person in a picture, trained for 8 bit"),
    "analognet_vww.float": ("persons", "Person in a picture, float network"),
}
REFERENCES = {"words": "analognet_kws.float", "persons": "analognet_vww.float"}
PAGE = ROOT / "deploy/page/built/page.json"
VECTORS = ROOT / "tests/deploy/page/vectors.json"
SHOWN = ("yes", "no", "up", "stop", "go", "left", "silence", "unknown")
"""Classes with a clip: the page is to stay small."""
DRAWN, DRAWS, GROUP = "analognet_kws.hwa_8bit", 200, 25
CASES = (("1y", "input", 0.0), ("30d", "none", 0.02))
"""Time, drift compensation and share of stuck devices of the chips that the tests draw again in the browser."""


def main() -> None:
    """Write both files."""
    opened = {name: open_trained(name) for name in PRESETS}
    presets = {
        name: describe(opened[name], name=name, family=family, title=title, reference=REFERENCES[family])
        for name, (family, title) in PRESETS.items()
    }
    speech, pictures = spoken(opened), drawn(opened)
    raw = {"words": speech["calibration"], "persons": pictures["calibration"]}
    tried = {"words": speech["inputs"], "persons": pictures["inputs"]}
    vectors: dict[str, Any] = {}
    for family, name in REFERENCES.items():
        facts, outputs = quantised(opened[name], raw[family], tried[family])
        presets[name]["int8"] = {**facts, "calibrated_on": "synthetic speech" if family == "words" else "drawn scenes"}
        vectors[name] = {"int8": outputs}
    page = {
        "version": "",
        "start": next(iter(PRESETS)),
        "chips": 25,
        "presets": presets,
        "frontends": {family: describe_frontend(opened[name].frontend) for family, name in REFERENCES.items()},
        "samples": [*speech["samples"], *pictures["samples"]],
    }
    PAGE.write_text(json.dumps(page, separators=(",", ":")) + "\n", "utf-8")
    vectors["chips"] = moments(opened[DRAWN], speech["inputs"][:3])
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(vectors, indent=1) + "\n", "utf-8")


def spoken(opened: dict[str, TrainedNetwork]) -> dict[str, Any]:
    """Return clips to calibrate with, and for some classes the one that all networks for words hear most clearly."""
    data = load_synthetic_speech(clips_per_class=24, voices=60, cache=False)
    clips, labels = data.train.inputs, data.train.labels
    places = clearest(opened, "words", clips, labels)
    best = [places[data.classes.index(word)] for word in SHOWN]
    samples = [
        {"name": name_of(data.train.names[i], data.classes[labels[i]]), "family": "words", "shape": [len(clips[i])],
         "data": pack(clips[i].astype("<i2").tobytes())}
        for i in best
    ]  # fmt: skip
    return {"calibration": clips[::3], "inputs": clips[best], "samples": samples}


def name_of(name: str, label: str) -> str:
    """Return what to call a clip: the word, and of one of the class `unknown` which word it is."""
    word = name.partition("/")[0]
    return f"{word} (another word)" if label == "unknown" else label


def drawn(opened: dict[str, TrainedNetwork]) -> dict[str, Any]:
    """Return drawn scenes to calibrate with, and for each class the one that all networks for pictures see best."""
    rng = generator(0, "lab page")
    labels = np.arange(80) % 2
    scenes = np.stack([draw_scene(bool(label), 96, rng) for label in labels])
    best = clearest(opened, "persons", scenes, labels)
    names = ("a drawn scene without a person", "a drawn scene with a person")
    samples = [
        {"name": name, "family": "persons", "shape": [96, 96, 3], "data": pack(scenes[i].tobytes())}
        for name, i in zip(names, best, strict=True)
    ]
    return {"calibration": scenes, "inputs": scenes[[*best, 4, 5]], "samples": samples[::-1]}


def clearest(opened: dict[str, TrainedNetwork], family: str, raw: np.ndarray, labels: np.ndarray) -> list[int]:
    """Return for each class the place of the input in which the least sure network of a family is surest of it."""
    sure = np.ones(len(raw))
    for name, (own, _) in PRESETS.items():
        if own == family:
            outputs = opened[name].model.predict(np.asarray(opened[name].frontend(raw)), verbose=0)
            sure = np.minimum(sure, softmax(outputs)[range(len(raw)), labels])
    return [int(np.flatnonzero(labels == c)[np.argmax(sure[labels == c])]) for c in range(labels.max() + 1)]


def quantised(trained: TrainedNetwork, calibration: np.ndarray, tried: np.ndarray) -> tuple[dict[str, Any], list[Any]]:
    """Return the scales of a network in int8, and what LiteRT's reference kernels compute with them."""
    with temporary_folder() as folder:
        path = folder / "network.tflite"
        to_litert(trained.model, path, np.asarray(trained.frontend(calibration)))
        outputs = Interpreter(path, kernels="reference").predict(np.asarray(trained.frontend(tried)))
        return int8_scales(path), np.asarray(outputs, float).round(5).tolist()


def moments(trained: TrainedNetwork, raw: np.ndarray) -> list[dict[str, Any]]:
    """Return the cases with mean and standard deviation of the outputs of many chips."""
    inputs = np.asarray(trained.frontend(raw))
    found = []
    for at, compensation, stuck in CASES:
        model = trained.analog_model()
        if stuck:
            hardware = analog_layers(model)[0].crossbar.with_nonideality("stuck_at_zero", share=stuck)
            model, _ = on_hardware(model, hardware)
        outputs = []
        for group in range(DRAWS // GROUP):
            chips = deploy.program(model, chips=GROUP, seed=group)
            settings = {"at": at, "drift_compensation": compensation != "none"}
            outputs += [np.asarray(chips.predict(inputs, chip=chip, **settings)) for chip in range(GROUP)]
        mean, std = np.mean(outputs, axis=0), np.std(outputs, axis=0, ddof=1)
        case = {"at": at, "compensation": compensation, "stuck": stuck, "draws": DRAWS}
        found.append({**case, "mean": mean.round(4).tolist(), "std": std.round(4).tolist()})
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


if __name__ == "__main__":
    main()
