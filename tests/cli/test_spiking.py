"""`analognets train letters` and `analognets train stdp-mnist` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from analognets.zoo.experiments.spiking_recipe import is_spiking

Call = Callable[..., Any]
QUICK = (
    "cochlea.duration=150", "cochlea.channels=24", "pixels.duration=150", "pixels.most=2", "pixels.shape=[5,4]",
    "neuron.dt=1.0", "epochs=2", "times=[0.0]", "readings=1", "letters=[I]",
)  # fmt: skip
TINY = ("neurons=20", "block=50", "label_pictures=100", "rules.threshold=1.0", "rules.duration=40.0")


def sets(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.fixture
def hum(tmp_path: Path) -> str:
    sound = 0.3 * np.sin(2 * np.pi * 500 * np.arange(8000) / 16_000)
    soundfile.write(tmp_path / "hum.wav", sound, 16_000)
    return f"wav.I={tmp_path / 'hum.wav'}"


def test_recipes_of_spikes_are_told_from_others(tmp_path: Path) -> None:
    assert is_spiking("letters") and is_spiking("stdp-mnist") and is_spiking("stdp_mnist") and not is_spiking("kws")
    assert not is_spiking(str(tmp_path / "missing.yaml"))


def test_letters_are_trained_kept_and_not_overwritten(call: Call, hum: str, tmp_path: Path) -> None:
    command = ("train", "letters", "--out", tmp_path / "run", *sets(*QUICK, hum))
    answer = call(*command, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["status"], found["devices"], found["last_epoch"]["epoch"]) == ("finished", 8 * 24 * 20, 2)
    assert "holds a finished run" in call(*command).error
    page = (tmp_path / "run" / "results" / "letters.html").read_text("utf-8")
    assert "Do the synapses learn to spike" in page and page.count('<svg role="img"') == 2
    kept = call(*command, "--keep")
    assert kept.code == 0 and "within 25 ms" in kept.out and "it is kept as it is" in kept.err
    again = call("train", "--recipe", tmp_path / "run" / "recipe.yaml", "--out", tmp_path / "run", "--keep")
    assert again.code == 0 and again.out == kept.out
    refused = call("evaluate", tmp_path / "run")
    assert "is a run of spiking neurons, with no network for the accelerator" in refused.error


def test_an_unknown_recipe_is_answered_with_all_names(call: Call) -> None:
    answer = call("train", "lettres")
    assert answer.code == 1 and "Did you mean 'letters'" in answer.error and "stdp-mnist" in answer.error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("letters=[I,I]", "must be a list of different letters"),
        ("pixels.shape=[2,2]", "need 3 rows and columns"),
    ],
)
def test_letters_that_can_not_be_drawn_are_refused(call: Call, hum: str, tmp_path: Path, change, message) -> None:
    answer = call("train", "letters", "--out", tmp_path / "run", *sets(*QUICK, hum, change))
    assert answer.code == 1 and message in answer.error and not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("option", [("--on-device",), ("--float-from", "run"), ("--skip-corrupt",)])
def test_options_of_networks_are_refused(call: Call, option: tuple[str, ...], tmp_path: Path) -> None:
    answer = call("train", "letters", "--out", tmp_path / "run", *option)
    assert answer.code == 2 and f"{option[0]} does not go with 'letters'" in " ".join(answer.err.split())
    assert not (tmp_path / "run").exists()


def test_a_silent_recording_is_one_sentence_and_leaves_no_run(call: Call, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 16_000)
    answer = call("train", "letters", "--out", tmp_path / "run", *sets(*QUICK, f"wav.I={tmp_path / 'silence.wav'}"))
    assert answer.code == 1 and answer.error.startswith("The sound must not be silent.")
    assert "This is the sound of the letter 'I'." in answer.err and not (tmp_path / "run" / "run.json").exists()


def test_letters_take_no_folder_of_data(call: Call, tmp_path: Path) -> None:
    assert "Name recordings with --set wav.I=PATH" in call("train", "letters", "--data", tmp_path).error


def test_digits_are_learned_from_a_folder(call: Call, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(5400, dtype=np.uint8) % 10
    pictures = np.zeros((5400, 28, 28), np.uint8)
    pictures[np.arange(5400), 2 * labels + 3] = rng.integers(150, 255, (5400, 28))
    arrays = {"x_train": pictures, "y_train": labels, "x_test": pictures[:20], "y_test": labels[:20]}
    np.savez(tmp_path / "mnist.npz", **arrays)
    command = ("train", "stdp-mnist", "--data", tmp_path, "--out", tmp_path / "run")
    answer = call(*command, *sets(*TINY, "train_pictures=150"))
    assert answer.code == 0, answer.err
    assert "% of 20 test pictures" in answer.out and "pictures/s in training" in answer.out
    record = json.loads((tmp_path / "run" / "results" / "digits.json").read_text("utf-8"))
    assert record["data"]["clips"] == {"train": 150, "label": 100, "test": 20}
