"""Runs, chips, presets, networks and lab exports of an earlier version still open, and compute the same.

`files/` was written at commit 4af3aaf, with what that commit computed from it (expected.npz, expected.json). Arrays of
chips have the axes chip, time (25 s, 1 d), drift compensation (with, without), sample, output.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

import analognets as an
import analognets.layers  # registers its classes
import analognets.training.in_memory  # and the optimizer

HERE = Path(__file__).parent
FILES = HERE / "files"
AT = ("25s", "1d")
NETWORKS = ("aon", "small_standard", "standard", "tiled")


@pytest.fixture(scope="module")
def arrays() -> Any:
    with np.load(FILES / "expected.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def texts() -> Any:
    return json.loads((FILES / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def toy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_of_training", HERE.parent / "training" / "toy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network(name: str) -> keras.Model:
    return keras.models.load_model(FILES / "networks" / f"{name}.keras")


def outputs(model: keras.Model, inputs: Any) -> np.ndarray:
    return np.asarray(model(inputs, training=False))


def answers(chips: Any, inputs: Any) -> np.ndarray:
    return np.array(
        [
            [
                [
                    chips.predict(inputs, chip=number, at=at, drift_compensation=compensated)
                    for compensated in (True, False)
                ]
                for at in AT
            ]
            for number in range(len(chips))
        ]
    )


def assert_same(found: Any, expected: np.ndarray) -> None:
    """Another processor may round a sum to the next step of a converter, but only here and there."""
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert np.mean(np.isclose(found, expected, rtol=1e-4, atol=1e-5)) > 0.95
    np.testing.assert_allclose(found, expected, rtol=0.2, atol=0.2 * max(1e-6, float(np.abs(expected).max())))


def assert_same_but_for_noise(found: Any, expected: np.ndarray) -> None:
    """Noise of single products is drawn sample by sample now, whatever the batch; all else is the same."""
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.85
    assert abs(found.std() / expected.std() - 1) < 0.2


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_open_and_their_chips_are_the_same(name: str, arrays: Any) -> None:
    model, inputs = network(name), arrays[f"networks/{name}/inputs"]
    assert_same(outputs(model, inputs), arrays[f"networks/{name}/outputs"])
    check = assert_same_but_for_noise if "standard" in name else assert_same
    check(answers(an.deploy.program(model, chips=2, seed=0), inputs), arrays[f"networks/{name}/programmed"])


@pytest.mark.parametrize("name", ["preset_pictures", "preset_keras"])
def test_presets_open_and_their_chips_are_the_same(name: str, arrays: Any) -> None:
    model, inputs = an.zoo.from_preset(FILES / name), arrays[f"{name}/inputs"]
    assert_same(outputs(model, inputs), arrays[f"{name}/model"])
    check = assert_same_but_for_noise if name == "preset_keras" else assert_same
    check(answers(an.deploy.program(model, chips=2, seed=0), inputs), arrays[f"{name}/programmed"])


def test_a_run_opens_with_its_chips(arrays: Any, texts: Any) -> None:
    run, inputs = an.training.Run.open(FILES / "run_pictures"), arrays["run_pictures/inputs"]
    assert run.finished and run.recipe.fingerprint() == texts["run_pictures/fingerprint"]
    assert [{key: row[key] for key in row if key != "seconds"} for row in run.metrics()] == texts[
        "run_pictures/metrics"
    ]
    assert_same(outputs(run.float_model(), inputs), arrays["run_pictures/float"])
    assert_same(outputs(run.analog_model(), inputs), arrays["run_pictures/analog"])
    chips = an.deploy.Chips.load(FILES / "chips_pictures", run.analog_model())
    assert_same(answers(chips, arrays["chips_pictures/inputs"]), arrays["chips_pictures"])


def test_chips_of_the_realistic_crossbar_open(arrays: Any) -> None:
    chips = an.deploy.Chips.load(FILES / "chips_standard", network("small_standard"))
    assert_same_but_for_noise(answers(chips, arrays["chips_standard/inputs"]), arrays["chips_standard"])


def test_exported_targets_and_measurements_open(arrays: Any) -> None:
    chips = an.deploy.Chips.import_measured(FILES / "targets", network("tiled"))
    assert [chip.number for chip in chips] == [0, 5]
    assert_same(answers(chips, arrays["targets/inputs"]), arrays["targets/measured"])


def weights(model: keras.Model) -> np.ndarray:
    return np.concatenate([weight.numpy().astype("float64").ravel() for weight in model.weights])


@pytest.mark.parametrize(
    ("name", "files"), [("run_stopped", ("float", "analog")), ("run_on_device_stopped", ("on_device",))]
)
def test_an_interrupted_run_goes_on(
    name: str, files: tuple[str, ...], tmp_path: Path, arrays: Any, toy: ModuleType
) -> None:
    run = an.training.Run.open(shutil.copytree(FILES / name, tmp_path / name))
    assert run.status == "interrupted"
    an.training.train(run, model=toy.model, data=toy.data())
    run = an.training.Run.open(tmp_path / name)
    assert run.finished
    for file in files:
        found, expected = weights(getattr(run, f"{file}_model")()), arrays[f"{name}/{file}"]
        assert found.shape == expected.shape and np.mean(np.isclose(found, expected, rtol=1e-3, atol=1e-4)) > 0.9


def test_a_network_that_learned_on_devices_learns_on(arrays: Any, texts: Any) -> None:
    model, inputs = network("on_device"), arrays["networks/on_device/inputs"]
    assert_same(outputs(model, inputs), arrays["networks/on_device/outputs"])
    reads = np.concatenate([one.ravel() for one in model.optimizer.read(1e4, seed=1, compensate=True).values()])
    assert_same(reads, arrays["networks/on_device/as_saved/read"])
    pulses = {place: found["set_pulses"] for place, found in model.optimizer.statistics().items()}
    assert pulses == texts["networks/on_device/as_saved/pulses"]
    model.fit(inputs, np.arange(64) % 3, batch_size=8, epochs=1, shuffle=False, verbose=0)
    assert_same(
        np.concatenate([weight.numpy().ravel() for weight in model.weights]), arrays["networks/on_device/learned_on"]
    )


@pytest.mark.parametrize(
    ("name", "kind", "result"), [("run_letters", "LettersRun", "letters"), ("run_digits", "DigitsRun", "digits")]
)
def test_runs_of_spikes_open(name: str, kind: str, result: str, texts: Any) -> None:
    from analognets.zoo.experiments import spiking_recipe

    run = getattr(spiking_recipe, kind).open(FILES / name)
    assert run.finished
    stored = json.loads((run.path / "results" / f"{result}.json").read_text("utf-8"))
    assert {key: stored[key] for key in texts[name]} == texts[name]
