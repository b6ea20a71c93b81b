"""Opening trained networks: from runs, presets, files and memory, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_digital
from analognets.errors import ConversionError, DataError, PresetError, RunError, UnknownNameError
from analognets.layers import analog_layers
from analognets.training import Run, TrainingData, train
from analognets.zoo.presets.handles import bundled
from analognets.zoo.presets.registry import load_preset
from analognets.zoo.presets.saving import save_to_preset
from analognets.zoo.tasks import build_model, evenly, find_recipe, with_data
from analognets.zoo.trained import digital_twin, open_trained, resume_command

SHAPE = (49, 10, 1)
TINY = {"model.options.widths": [4] * 5, "float.epochs": 0, "hardware_aware.epochs": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run whose networks were not trained; not to be changed."""
    made = Run.create(tmp_path_factory.mktemp("runs") / "tiny", find_recipe("kws").replace(TINY))
    calibration = np.random.default_rng(9).normal(size=(16, *SHAPE)).astype("float32")
    info = {"name": "noise", "classes": ["a", "b"], "folder": "/nowhere/at/all"}
    data = TrainingData(lambda epoch: [], 1, None, calibration, info)
    train(made, model=lambda: build_model(made.recipe, classes=2, input_shape=SHAPE), data=data)
    return made.path


def test_a_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    found = open_trained("tiny", wants=("recipe", "analog", "chips"))
    assert (found.kind, found.name, found.handle, found.classes) == ("run", "tiny", str(run.resolve()), ("a", "b"))
    assert found.is_analog and found.analog_model() is found.model
    assert not analog_layers_of(found.float_model()) and not analog_layers_of(found.digital_model())
    assert found.frontend.name and found.results == run / "results" or found.results.resolve() == run / "results"
    again = open_trained(Run.open(run))
    assert (again.handle, again.recipe) == (found.handle, found.recipe)
    assert open_trained(found) is found
    assert open_trained(found.handle).recipe == found.recipe
    with pytest.raises(DataError, match="were in '/nowhere/at/all', which is gone"):
        found.task()


def analog_layers_of(model: keras.Model) -> list[Any]:
    return [layer for layer in model._flatten_layers() if hasattr(layer, "crossbar")]


def test_presets(run: Path, analog: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "analognet_kws.hwa_8bit"
    found = open_trained(name, wants=("analog", "recipe"))
    assert (found.kind, found.name, found.handle) == ("preset", name, name)
    assert found.results == Path("results") / name
    assert open_trained(load_preset(name)).recipe == found.recipe
    save_to_preset(analog, tmp_path / "own", frontend=None)
    own = open_trained("own", wants=("analog",))
    assert own.handle == str((tmp_path / "own").resolve()) and own.recipe is None
    with pytest.raises(ConversionError, match=r"The preset 'own' holds no recipe.* or in Python"):
        open_trained("own", wants=("recipe",))
    with pytest.raises(ConversionError, match=r"The preset 'own' holds no recipe.* Do as you like\.$"):
        open_trained("own", wants=("recipe",), instead="Do as you like.")
    with pytest.raises(ConversionError, match="digital network, with nothing to programme.*not trained for hardware"):
        open_trained("analognet_kws.float", wants=("analog",))
    assert open_trained("analognet_kws.float", wants=("recipe",)).classes == found.classes


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_models(analog: keras.Model, tmp_path: Path, kind: str) -> None:
    analog.save(tmp_path / "mine.keras")
    found = open_trained(tmp_path / "mine.keras" if kind == "file" else analog, wants=("analog",))
    assert (found.kind, found.name, found.recipe) == ("model", analog.name, None)
    assert found.handle == (str((tmp_path / "mine.keras").resolve()) if kind == "file" else None)
    inputs = np.random.default_rng(0).normal(size=(3, 6, 5, 1)).astype("float32")
    np.testing.assert_array_equal(found.model(inputs), analog(inputs))
    np.testing.assert_array_equal(found.float_model()(inputs), to_digital(analog)(inputs))
    plain = to_digital(analog)
    assert digital_twin(plain) is plain and len(analog_layers(analog)) == len(analog_layers(found.model))
    with pytest.raises(ConversionError, match="The model '.*' is a digital network"):
        open_trained(plain, wants=("analog",))
    with pytest.raises(ConversionError, match="holds no recipe"):
        found.task("synthetic")


def test_names_of_networks(tmp_path: Path) -> None:
    found = open_trained("analognet_kws", untrained=True)
    assert found.model.count_params() > 100_000 and not found.is_analog
    with pytest.raises(UnknownNameError, match="Unknown network. Did you mean 'analognet_kws'"):
        open_trained("analognet_ksw", untrained=True)
    with pytest.raises(UnknownNameError, match=r"Unknown preset. Did you mean 'analognet_kws\.hwa_8bit'"):
        open_trained("analognet_kws.hwa_8bot")
    with pytest.raises(UnknownNameError, match="Unknown preset"):
        open_trained("analognet_kws")
    assert all(open_trained(name).name == name for name in list(bundled())[:2])


def test_what_can_not_be_opened(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a run nor a preset: it holds no 'run.json' and no 'preset.json'"):
        open_trained(tmp_path)
    with pytest.raises(RunError, match="There is no run in '.*nothing', which does not exist") as caught:
        open_trained(tmp_path / "nothing")
    assert "`analognets zoo list`" in caught.value.__notes__[0]
    with pytest.raises(DataError, match="There is no model file"):
        open_trained(tmp_path / "none.keras")
    (tmp_path / "text.zip").write_text("no archive", "utf-8")
    with pytest.raises(PresetError):
        open_trained(tmp_path / "text.zip")
    with pytest.raises(ConversionError, match="Received: 42"):
        open_trained(42)


def test_unfinished_runs_say_how_to_go_on(run: Path, tmp_path: Path) -> None:
    begun = Run.create(tmp_path / "a run", Run.open(run).recipe)
    with pytest.raises(RunError, match=r"not finished \(status: unfinished\). Go on with: analognets train --recipe"):
        open_trained(begun.path)
    assert open_trained(begun.path, unfinished=True).recipe == begun.recipe
    words = resume_command(begun.path, data="the data", float_from="there", skip_corrupt=True)
    assert words.endswith("a run' --data 'the data' --float-from there --skip-corrupt")


def test_a_run_of_spikes_has_no_network(tmp_path: Path) -> None:
    from analognets.zoo.experiments.letters import LettersRun
    from analognets.zoo.experiments.spiking_recipe import find_spiking_recipe

    LettersRun.create(tmp_path / "letters", find_spiking_recipe("letters"))
    with pytest.raises(ConversionError, match="is a run of spiking neurons"):
        open_trained(tmp_path / "letters")


def test_data_in_the_place_of_others() -> None:
    own = find_recipe("kws")
    assert with_data(own, None) is own
    made = with_data(own, "synthetic", {"clips_per_class": 7})
    assert (made.dataset.name, made.dataset.options) == ("synthetic_speech", {"clips_per_class": 7})
    assert with_data(made, "some/folder").dataset.name == "speech_commands"
    assert with_data(made, None, {"seed": 1}).dataset.options == {"clips_per_class": 7, "seed": 1}


def test_samples_are_taken_evenly() -> None:
    assert evenly(10, None) is None and evenly(10, 10) is None
    assert evenly(10, 4) == [0, 2, 5, 7]
