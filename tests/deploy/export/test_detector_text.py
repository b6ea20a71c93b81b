"""The detector in C++: what a compiler makes of it gives the detections of the Python one, bit for bit."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from analognets.datasets.audio_io import fit_length, read_wav
from analognets.datasets.base import KWS_CLASSES
from analognets.deploy.export import tflm as tflm_module
from analognets.deploy.export.detector_text import DetectorExport
from analognets.deploy.export.litert import to_litert
from analognets.deploy.export.litert_file import LiteRTFile
from analognets.deploy.export.tflm import to_tflm
from analognets.deploy.stream import Detector, DetectorSettings, network_for, stream_frontend
from analognets.errors import InvalidArgumentError
from analognets.zoo.trained import open_trained

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
CLASSES = KWS_CLASSES

MAIN = r"""
#include <cstdio>
#include <cstring>
#include "net_detector.h"
int main(int count, char** words) {
  NetDetector detector;
  float row[kNetDetectorClasses];
  const bool again = count > 1 && !std::strcmp(words[1], "again");
  for (int turn = 0; turn < (again ? 2 : 1); ++turn) {
    std::rewind(stdin);
    detector.Reset();
    for (long place = 0; std::fread(row, sizeof(float), kNetDetectorClasses, stdin) == kNetDetectorClasses; ++place) {
      const int label = detector.Update(row);
      if (label >= 0) std::printf("%ld %d %.9g\n", place, label, static_cast<double>(detector.score()));
    }
  }
  return 0;
}
"""

OUTPUTS = r"""
#include <cstdint>
#include <cstdio>
#include "net_detector.h"
int main() {
  std::int8_t row[kNetDetectorClasses];
  float found[kNetDetectorClasses];
  while (std::fread(row, 1, sizeof row, stdin) == sizeof row) {
    NetDetectorPosteriors(row, found);
    for (float one : found) std::printf("%.9g ", static_cast<double>(one));
    std::printf("\n");
  }
  return 0;
}
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> LiteRTFile:
    """Return an int8 file with twelve outputs."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(12)])
    data = np.random.default_rng(2).normal(size=(50, 6)).astype(np.float32)
    return to_litert(model, tmp_path_factory.mktemp("net") / "in.tflite", data)


@pytest.fixture(autouse=True)
def _no_tflm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the arena out, which has its own tests and takes a while."""
    monkeypatch.setattr(tflm_module, "has_tflm", lambda: False)


def compiled(folder: Path, main: str) -> Path:
    """Return the program that a compiler makes of a detector and a main function, without one warning."""
    (folder / "main.cc").write_text(main, "utf-8")
    command = ["g++", "-std=c++11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-o", str(folder / "main")]
    files = [str(folder / "main.cc"), str(folder / "net_detector.cc")]
    subprocess.run([*command, *files], check=True, capture_output=True, text=True)
    return folder / "main"


def detections(program: Path, posteriors: np.ndarray, *words: str) -> list[tuple[int, int, float]]:
    rows = np.ascontiguousarray(posteriors, np.float32)
    with (program.parent / "rows").open("w+b") as file:
        file.write(rows.tobytes())
        file.seek(0)
        done = subprocess.run([program, *words], stdin=file, check=True, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(int(place), int(label), float(np.float32(score))) for place, label, score in lines]


def random_posteriors(seed: int, count: int, classes: int, sharpness: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(count, classes))
    logits[rng.random(count) < 0.1] = 0  # ties
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@needs_compiler
@pytest.mark.parametrize(
    "settings",
    [
        DetectorSettings(0.5, smoothing=0.3, suppression=1.0),
        DetectorSettings({"yes": 0.2, "no": 0.9}, smoothing=0.0, suppression=0.0),
        DetectorSettings(0.25, smoothing=0.7, suppression=0.25),
    ],
)
def test_random_posteriors(facts: LiteRTFile, tmp_path: Path, settings: DetectorSettings) -> None:
    detector = Detector(CLASSES, 0.1, settings)
    to_tflm(facts, tmp_path / "out", name="net", classes=CLASSES, detector=DetectorExport(detector))
    program = compiled(tmp_path / "out", MAIN)
    found = 0
    for seed, sharpness in ((0, 3.0), (1, 1.0), (2, 6.0)):
        posteriors = random_posteriors(seed, 2000, 12, sharpness)
        detector.reset()
        wanted = [(round(one.time), one.label, one.score) for one in detector.push(posteriors, np.arange(2000))]
        assert detections(program, posteriors) == wanted
        assert detections(program, posteriors, "again") == wanted * 2
        found += len(wanted)
    assert found > 100


def noise() -> np.ndarray:
    """Return noise that comes and goes."""
    rng = np.random.default_rng(0)
    loudness = np.repeat(10.0 ** rng.uniform(-3, -0.5, 80), 4000)
    return np.clip(loudness * rng.normal(size=len(loudness)), -1, 1).astype(np.float32)


def speech(folder: Path) -> np.ndarray:
    """Return recorded words, one a second."""
    paths = [sorted((folder / "speech_commands_test_set_v0.02" / word).iterdir())[:6] for word in ("yes", "stop", "no")]
    return np.concatenate([fit_length(read_wav(path)[0]) for three in zip(*paths, strict=True) for path in three])


@needs_compiler
@pytest.mark.parametrize(("kind", "threshold", "least"), [("noise", 0.0, 20), ("speech", 0.5, 5)])
def test_posteriors_of_a_preset_in_a_stream(
    request: pytest.FixtureRequest, facts: LiteRTFile, tmp_path: Path, kind: str, threshold: float, least: int
) -> None:
    trained = open_trained("analognet_kws.hwa_8bit")
    sound = noise() if kind == "noise" else speech(request.getfixturevalue("speech_commands_dir")) / np.float32(32768)
    windows = stream_frontend(trained).push(sound).features
    posteriors = network_for(trained, "digital").posteriors(windows)
    detector = Detector(trained.classes, 0.1, DetectorSettings(threshold, 0.3, 0.5))
    found = detector.push(posteriors, np.arange(len(posteriors)))
    wanted = [(round(one.time), one.label, one.score) for one in found]
    to_tflm(facts, tmp_path / "out", name="net", classes=trained.classes, detector=DetectorExport(detector))
    assert len(wanted) > least
    assert detections(compiled(tmp_path / "out", MAIN), posteriors) == wanted


@needs_compiler
@pytest.mark.parametrize("logits", [True, False])
def test_outputs_become_posteriors(facts: LiteRTFile, tmp_path: Path, logits: bool) -> None:
    export = DetectorExport(Detector(CLASSES, 0.1), logits=logits)
    to_tflm(facts, tmp_path / "out", name="net", classes=CLASSES, detector=export)
    rows = np.random.default_rng(1).integers(-128, 128, (200, 12)).astype(np.int8)
    program = compiled(tmp_path / "out", OUTPUTS)
    done = subprocess.run([program], input=rows.tobytes(), check=True, capture_output=True)
    found = np.array([line.split() for line in done.stdout.decode().splitlines()], np.float32)
    (output,) = facts.outputs
    real = output.scale * (rows.astype(np.float32) - output.zero_point)
    wanted = np.asarray(keras.ops.softmax(real)) if logits else np.clip(real, 0, 1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_files_and_records(facts: LiteRTFile, tmp_path: Path) -> None:
    export = DetectorExport(Detector(CLASSES, 0.1, DetectorSettings(0.5)))
    made = to_tflm(facts, tmp_path / "out", name="net", classes=CLASSES, detector=export)
    assert {path.name for path in made.folder.iterdir()} == set(made.files)
    assert {"net_detector.h", "net_detector.cc"} <= set(made.files)
    record = json.loads((made.folder / "net.json").read_text())
    assert record["detector"]["thresholds"] == [0.5] * 10 + [2.0, 2.0]
    assert (record["detector"]["window"], record["detector"]["hold"]) == (5, 10)
    bare = to_tflm(facts, tmp_path / "bare", name="net", classes=CLASSES)
    assert "net_detector.h" not in bare.files and "detector" not in json.loads((bare.folder / "net.json").read_text())


def test_what_does_not_fit(facts: LiteRTFile, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"must have the model's 12 classes. Received: 2 classes"):
        to_tflm(facts, tmp_path / "x", detector=DetectorExport(Detector(("a", "b"), 0.1)))
    long = Detector(CLASSES, 0.001, DetectorSettings(0.5, smoothing=20))
    with pytest.raises(InvalidArgumentError, match=r"averages at most 10,000 posteriors. Received: 20,000"):
        to_tflm(facts, tmp_path / "x", classes=CLASSES, detector=DetectorExport(long))
    assert not (tmp_path / "x").exists()
