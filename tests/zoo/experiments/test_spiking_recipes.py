"""The spiking experiments: recipes, run folders that survive, results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from analognets.datasets.base import DatasetInfo, Split, TaskData
from analognets.errors import InvalidArgumentError, RecipeError, RunError, UnknownNameError
from analognets.zoo.experiments.letters import prepare_letters, train_letters
from analognets.zoo.experiments.spiking_recipe import (
    DigitsRecipe,
    DigitsRun,
    LettersRecipe,
    LettersRun,
    find_spiking_recipe,
    list_spiking_recipes,
)
from analognets.zoo.experiments.spoken_letters import letter_picture
from analognets.zoo.experiments.stdp_mnist import prepare_digits, train_digits

QUICK = [
    "cochlea.duration=150", "cochlea.channels=24", "pixels.duration=150", "pixels.most=2", "pixels.shape=[5,4]",
    "neuron.dt=1.0", "epochs=3", "checkpoint_every=1", "times=[0.0, 400000.0]", "readings=2", "letters=[I, B]",
]  # fmt: skip


@pytest.fixture
def sounds(tmp_path: Path) -> list[str]:
    """Return overrides that name two recordings of hums."""
    overrides = []
    for letter, tone in (("I", 300.0), ("B", 1500.0)):
        sound = 0.3 * np.sin(2 * np.pi * tone * np.arange(8000) / 16_000) * np.linspace(0.2, 1, 8000)
        soundfile.write(tmp_path / f"{letter}.wav", sound, 16_000)
        overrides.append(f"wav.{letter}={tmp_path / f'{letter}.wav'}")
    return overrides


def digits(count: int) -> TaskData:
    """Return pictures (8, 8, 1) of ten kinds of bars."""
    labels = np.arange(count, dtype=np.int32) % 10
    pictures = np.zeros((count, 8, 8, 1), np.uint8)
    for number, label in enumerate(labels):
        pictures[number, label % 8, :, 0] = 255 if label < 8 else 90
        pictures[number, :, label % 8, 0] |= np.uint8(200 if label >= 8 else 0)
    part = Split(pictures, labels, tuple(map(str, range(count))))
    info = DatasetInfo("bars", "1", "", "CC0", "nobody", "Bars.", synthetic=True)
    return TaskData("bars", part, part.select(slice(0, 10)), part.select(slice(0, 30)), tuple("0123456789"), info=info)


def test_packaged_recipes_are_whole_and_read_back_equal() -> None:
    assert {"letters", "stdp-mnist"} <= set(list_spiking_recipes())
    for name in list_spiking_recipes():
        recipe = find_spiking_recipe(name)
        assert recipe.name == name and type(recipe).from_yaml(recipe.to_yaml()) == recipe
    letters = find_spiking_recipe("letters", ["epochs=3", "synapses.rules.devices_per_polarity=1"])
    assert isinstance(letters, LettersRecipe) and letters.epochs == 3
    assert isinstance(find_spiking_recipe("stdp-mnist"), DigitsRecipe)


def test_wrong_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Unknown key 'epoch'. Did you mean 'epochs'"):
        find_spiking_recipe("letters", ["epoch=3"])
    with pytest.raises(UnknownNameError, match="Did you mean 'letters'"):
        find_spiking_recipe("leters")
    (tmp_path / "x.yaml").write_text("name: x\ntask: songs\n")
    with pytest.raises(UnknownNameError, match="Unknown task of a spiking recipe"):
        find_spiking_recipe(str(tmp_path / "x.yaml"))
    for override in ("pixels.colour=1", "synapses.rules.copies=3"):
        with pytest.raises(RecipeError, match=r"An option of `(pixels|synapses.rules)` does not exist"):
            prepare_letters(find_spiking_recipe("letters", [override]))  # type: ignore[arg-type]


def test_letters_have_pictures_that_fill_the_frame() -> None:
    for letter in "IBM":
        picture = letter_picture(letter, (14, 12))
        assert picture.shape == (14, 12) and picture.max() == 1 and not picture[0].any() and picture[1].any()
    assert np.abs(letter_picture("I", (14, 12)) - letter_picture("M", (14, 12))).mean() > 0.2


def quick(sounds: list[str], *more: str) -> Any:
    return find_spiking_recipe("letters", [*QUICK, *sounds, *more])


@pytest.mark.parametrize("kind", ["pcm", "float", "memristor"])
def test_letters_leave_results_and_figures(kind: str, sounds: list[str], tmp_path: Path) -> None:
    rules = [] if kind == "pcm" else ["synapses.rules={}"]
    recipe = quick(sounds, f"synapses.kind={kind}", *rules)
    result = train_letters(LettersRun.create(tmp_path / "run", recipe), prepare_letters(recipe))
    run = LettersRun.open(tmp_path / "run")
    assert run.finished and len(run.metrics()) == 3 and len(result["after"]) == 2 * 2 * 2
    names = {path.name for path in run.results.iterdir()}
    assert {"letters.json", "after.csv", "inputs.png", "pictures.png", "outputs.png", "curve.png", "drift.png"} == names
    assert result["devices"] == {"pcm": 8 * 24 * 20, "float": 0, "memristor": 24 * 20}[kind]
    with pytest.raises(RunError, match="holds a finished run"):
        LettersRun.create(tmp_path / "run", recipe)


def test_a_killed_training_of_letters_ends_as_if_it_never_was(sounds: list[str], tmp_path: Path) -> None:
    recipe = quick(sounds)
    whole = train_letters(LettersRun.create(tmp_path / "whole", recipe), prepare_letters(recipe))

    class Killed(Exception):
        pass

    def stop(epoch: int, row: dict[str, Any]) -> None:
        if epoch == 3:
            raise Killed

    run = LettersRun.create(tmp_path / "broken", recipe)
    with pytest.raises(Killed):
        train_letters(run, prepare_letters(recipe), stop)
    assert LettersRun.open(run.path).status == "failed"
    epochs: list[int] = []
    again = train_letters(
        LettersRun.create(run.path, recipe), prepare_letters(recipe), lambda epoch, row: epochs.append(epoch)
    )
    assert epochs == [3], "the first two are not repeated"
    assert (again["curve"], again["after"]) == (whole["curve"], whole["after"])


def test_sounds_that_do_not_fit_are_refused(sounds: list[str], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 16_000)
    silent = [sounds[0], f"wav.B={tmp_path / 'silence.wav'}"]
    with pytest.raises(InvalidArgumentError, match="The sound must not be silent") as caught:
        prepare_letters(quick(silent))
    assert "This is the sound of the letter 'B'." in caught.value.__notes__
    with pytest.raises(InvalidArgumentError, match="at least as long as the window of 900 ms. Received: 500 ms"):
        prepare_letters(quick(sounds, "cochlea.duration=900", "pixels.duration=900"))
    with pytest.raises(RecipeError, match="`wav` names a letter that is not in `letters`"):
        prepare_letters(quick(sounds, "wav.Q=x.wav"))
    with pytest.raises(InvalidArgumentError, match="The time step must not be longer than the refractory time"):
        prepare_letters(quick(sounds, "neuron.dt=5.0"))


TINY = ["neurons=20", "block=50", "label_pictures=60", "rules.threshold=1.0", "rules.duration=40.0"]


@pytest.mark.parametrize("kind", ["memristor", "float"])
def test_a_killed_training_of_digits_ends_as_if_it_never_was(kind: str, tmp_path: Path) -> None:
    recipe, data = find_spiking_recipe("stdp-mnist", [*TINY, f"kind={kind}"]), digits(120)

    def task() -> Any:
        return prepare_digits(recipe, data=data)  # type: ignore[arg-type]

    whole = train_digits(DigitsRun.create(tmp_path / "whole", recipe), task())
    assert [row["pictures"] for row in whole["curve"]] == [50, 100, 120]
    assert {"digits.json", "confusion.csv", "receptive_fields.png", "curve.png"} == {
        path.name for path in (tmp_path / "whole" / "results").iterdir()
    }

    def stop(shown: int, row: dict[str, Any]) -> None:
        if shown == 100:
            raise KeyboardInterrupt

    run = DigitsRun.create(tmp_path / "broken", recipe)
    with pytest.raises(KeyboardInterrupt):
        train_digits(run, task(), stop)
    again = train_digits(DigitsRun.create(run.path, recipe), task())
    for key in ("test_accuracy", "confusion", "neuron_classes"):
        assert again[key] == whole[key]
    curves = [[{**row, "seconds": 0} for row in result["curve"]] for result in (again, whole)]
    assert curves[0] == curves[1] and curves[0][1]["online_accuracy"] is not None
    (run.path / "checkpoints" / "online.json").write_text("[1")  # only a help, so what is odd about it is passed over
    assert DigitsRun.open(run.path).finished


def test_test_pictures_decide_nothing_but_the_score(tmp_path: Path) -> None:
    """Other test labels change the accuracy, and neither the synapses nor what neurons stand for."""
    recipe, data = find_spiking_recipe("stdp-mnist", TINY), digits(120)
    found = []
    for shift in (0, 1):
        test = Split(data.test.inputs, (data.test.labels + shift) % 10, data.test.names)
        other = TaskData("bars", data.train, data.validation, test, data.classes, info=data.info)
        task = prepare_digits(recipe, data=other)  # type: ignore[arg-type]
        result = train_digits(DigitsRun.create(tmp_path / str(shift), recipe), task)
        found.append((task.layer.rows.weights, result["neuron_classes"], result["test_accuracy"]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1] and found[0][2] != found[1][2]


def test_a_run_of_another_kind_is_told_apart(sounds: list[str], tmp_path: Path) -> None:
    LettersRun.create(tmp_path / "run", quick(sounds))
    with pytest.raises(RunError, match="can't be read"):
        DigitsRun.open(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["name"] == "letters"
