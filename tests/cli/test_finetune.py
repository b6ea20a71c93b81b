"""`analognets finetune`, as newcomers use it: right, wrong and interrupted."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from analognets.cli import _training
from analognets.training.run import Run

Call = Callable[..., Any]
SHORT = ("--epochs", 2, "--hwa-epochs", 1, "--set", "sampling.steps=1", "--set", "augmentation={}")
PICKED = ("--classes", "fox,owl", "--unknown", "--silence")
pytestmark = pytest.mark.usefixtures("all_op_by_op")  # tests/zoo/test_finetune.py trains in graphs


@pytest.fixture(scope="session")
def words(recordings: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 24 clips each of four words, named by nobody's rule; not to be changed."""
    folder = tmp_path_factory.mktemp("mine") / "my words"
    for word in ("fox", "owl", "hen", "elk"):
        for take in range(24):
            sound = recordings.tone(word) // (1 + take % 5)
            recordings.write(folder / word / f"{word} {take}.wav", sound[: 12_000 + 200 * take])
    return folder


@pytest.fixture(scope="module")
def first(
    all_op_by_op: None,
    call: Call,
    first_training: tuple[Path, Any],
    words: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Any]:
    """Return the folder and the answer of the fine-tuning that most tests share."""
    folder = tmp_path_factory.mktemp("finetuned") / "run"
    answer = call("finetune", first_training[0], "--data", words, *PICKED, *SHORT, "--out", folder, "--json")
    assert answer.code == 0, answer.err
    return folder, answer


def test_it_leaves_a_run_like_any_other(call: Call, first: tuple[Path, Any], first_training: tuple[Path, Any]) -> None:
    folder, answer = first
    found = json.loads(answer.out)
    assert (found["status"], found["run"]) == ("finished", str(folder))
    run, source = Run.open(folder), Run.open(first_training[0])
    assert run.record["data"]["classes"] == ["fox", "owl", "silence", "unknown"]
    assert run.recipe.model.name == "finetuned"
    assert run.recipe.model.options["preset"] == str(first_training[0].resolve())
    assert run.recipe.frontend == source.recipe.frontend
    assert run.float_model().output_shape == (None, 4)
    assert [row["stage"] for row in run.metrics()] == ["float", "float", "hardware_aware"]
    evaluated = call("evaluate", folder, "--chips", 1, "--at", "1d", "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["clips"] == len_of(run, "test")


def len_of(run: Run, split: str) -> int:
    return int(run.record["data"]["clips"][split])


def test_a_finished_run_is_kept_on_request_and_never_overwritten(
    call: Call, first: tuple[Path, Any], first_training: tuple[Path, Any], words: Path
) -> None:
    folder = first[0]
    before = (folder / "analog.keras").read_bytes()
    command = ("finetune", first_training[0], "--data", words, *PICKED, *SHORT, "--out", folder)
    assert "holds a finished run" in call(*command).error
    kept = call(*command, "--keep")
    assert kept.code == 0 and "is finished; it is kept" in kept.err
    assert (folder / "analog.keras").read_bytes() == before


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let Ctrl-C come after the first epoch; the function that is returned ends that."""
    shown = _training.TrainingBars.__call__

    def stop(self: Any, event: Any) -> None:
        shown(self, event)
        if event.kind == "epoch_end":
            raise KeyboardInterrupt

    monkeypatch.setattr(_training.TrainingBars, "__call__", stop)
    return monkeypatch.undo


def weights(folder: Path) -> list[np.ndarray]:
    return list(Run.open(folder).analog_model().get_weights())


def test_it_resumes_with_the_same_weights_only_and_ends_the_same(
    call: Call, first: tuple[Path, Any], trained: Path, words: Path, tmp_path: Path, stops: Callable[[], None]
) -> None:
    out = tmp_path / "again"
    command = ("finetune", trained, "--data", words, *PICKED, *SHORT, "--out", out)
    stopped = call(*command)
    assert stopped.code == 130
    hint = shlex.split(stopped.err.splitlines()[-1].removeprefix("Interrupted. Resume with: "))[1:]

    original = (trained / "analog.keras").read_bytes()
    network = Run.open(trained).analog_model()
    network.get_layer("norm_3").gamma.assign(network.get_layer("norm_3").gamma * 1.001)
    network.save(trained / "analog.keras")
    assert "begun with other weights of" in call(*command).error
    assert "are not those this recipe was made for" in call(*hint).error
    assert len(Run.open(out).metrics()) == 1
    (trained / "analog.keras").write_bytes(original)

    again = call(*command)
    assert again.code == 130 and "Going on after epoch 1 of 2" in again.err
    stops()
    done = call(*hint)
    assert done.code == 0, done.err
    assert len(Run.open(out).record["sessions"]) == 3
    for one, other in zip(weights(out), weights(first[0]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--classes", "fox,fax"), "holds no class 'fax'.*Classes there: elk, fox, hen, owl"),
        (("--classes", "fox"), "At least two classes are needed.*Received: fox"),
        (("--classes", "fox,owl", "--set", "frontend=mlperf_tiny"), "Network and front end are the preset's"),
        (("--classes", "fox,owl", "--hardware", "aon_cim_7bit"), "Unknown hardware preset"),
        (("--classes", "fox,owl", "--set", "float.epoch=3"), "float.epoch"),
    ],
)
def test_one_line_says_what_is_wrong(
    call: Call, first_training: tuple[Path, Any], words: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    answer = call("finetune", first_training[0], "--data", words, *options, "--out", tmp_path / "run")
    assert answer.code == 1
    assert re.search(message, answer.error), answer.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options", [("--unknown",), ("--bits", "8", "--hardware", "aon_cim_8bit"), ("--bits", "5"), ("--epochs", "-1")]
)
def test_usage_errors_exit_2(
    call: Call, first_training: tuple[Path, Any], words: Path, options: tuple[str, ...]
) -> None:
    assert call("finetune", first_training[0], "--data", words, *options).code == 2


def test_too_few_clips_no_folder_and_no_preset(
    call: Call, first_training: tuple[Path, Any], words: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(words, tmp_path / "data"))
    for take in range(3, 24):
        (data / "owl" / f"owl {take}.wav").unlink()
    answer = call("finetune", first_training[0], "--data", data, "--out", tmp_path / "run")
    assert "at least 8 recordings" in answer.error and "3 of 'owl'" in answer.error
    assert "does not exist" in call("finetune", first_training[0], "--data", tmp_path / "none").error
    assert "Unknown preset" in call("finetune", "analognet_kws.hwa_9bit", "--data", words).error


def pictures(folder: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, name in enumerate(("day", "night")):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(120 * (1 - label), 255 - 120 * label, (20, 24, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_pictures(call: Call, first_training: tuple[Path, Any], tmp_path: Path) -> None:
    import keras

    from analognets.datasets.frontends import frontend
    from analognets.zoo.presets.saving import save_to_preset

    data = pictures(tmp_path / "pictures")
    answer = call("finetune", first_training[0], "--data", data, "--out", tmp_path / "run")
    assert "takes recordings, and the data are pictures" in answer.error
    assert call("finetune", "any", "--data", data, "--silence").code == 2

    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(4, 3, strides=4)(inputs)))
    network = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    preset = save_to_preset(network, tmp_path / "mine.float", classes=[*"abcde"], frontend=frontend("rgb_32"))
    command = ("finetune", preset.path, "--data", data, "--epochs", 2, "--hwa-epochs", 1, "--bits", 6, "--freeze")
    done = call(*command, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    run = Run.open(tmp_path / "run")
    assert run.recipe.hardware_aware is not None
    assert run.recipe.hardware_aware.hardware.preset == "aon_cim_6bit"
    assert run.record["data"]["classes"] == ["day", "night"]
    assert run.analog_model().output_shape == (None, 2)
