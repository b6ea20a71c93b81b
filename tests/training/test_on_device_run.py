"""Runs that learn on devices: their files, going on after an interruption, figures, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analognets.errors import DataError, InvalidArgumentError, RecipeError, RunError
from analognets.training import Recipe, Run, device_figure, train

DEVICE = {"float__weight_clip_sigma": None, "hardware_aware": None, "on_device": {"enabled": True, "refresh_every": 3}}


def on_device(toy: ModuleType, **changes: Any) -> Recipe:
    return toy.recipe(**DEVICE, **changes)


pytestmark = pytest.mark.usefixtures("all_op_by_op")  # test_mixed_precision.py trains in graphs


@pytest.fixture(scope="module")
def reference(all_op_by_op: None, toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("on_device")
    train(Run.create(path, on_device(toy)), model=toy.model, data=toy.data())
    return Run.open(path)


def outcome(run: Run) -> list[np.ndarray]:
    model = run.on_device_model()
    return [variable.numpy() for variable in (*model.weights, *model.optimizer.variables)]


def test_a_run_ends_with_its_devices(reference: Run) -> None:
    assert reference.finished
    assert [row["stage"] for row in reference.metrics()] == ["on_device"] * 2
    assert reference.metrics()[-1]["device_pulses_per_weight"] >= 0
    model = reference.on_device_model()
    assert {array.path.split("/")[-2] for array in model.optimizer.synapses} == {"conv", "logits"}
    weights = reference.float_model().get_weights()
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    table = pd.read_csv(reference.path / "devices.csv")
    assert table.groupby("epoch").size().tolist() == [2, 2]
    total = sum(found["set_pulses"] for found in model.optimizer.statistics().values())
    assert table["set_pulses"].sum() == total > 0


def test_an_interrupted_run_ends_the_same(reference: Run, toy: ModuleType, tmp_path: Path) -> None:
    def stop(event: Any) -> None:
        if event.kind == "batch" and (event.epoch, event.batch) == (1, 2):
            raise KeyboardInterrupt

    recipe = on_device(toy)
    with pytest.raises(KeyboardInterrupt):
        train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data(), progress=stop)
    assert Run.open(tmp_path).status == "interrupted"
    train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data())
    for found, wanted in zip(outcome(Run.open(tmp_path)), outcome(reference), strict=True):
        np.testing.assert_array_equal(found, wanted)
    ours, theirs = ((run.path / "devices.csv").read_text("utf-8") for run in (Run.open(tmp_path), reference))
    assert ours == theirs


def test_checkpoints_of_other_devices_do_not_fit(reference: Run, toy: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "other"
    with pytest.raises(RunError, match="holds a finished run"):
        Run.create(reference.path, on_device(toy))
    run = Run.create(path, on_device(toy, on_device__devices_per_polarity=2))
    run.checkpoints.folder.mkdir(exist_ok=True)
    stored = reference.checkpoints.latest()
    assert stored is not None
    (run.checkpoints.folder / stored.now.file).write_bytes(
        (reference.checkpoints.folder / stored.now.file).read_bytes()
    )
    state = (reference.path / "state.json").read_text("utf-8")
    run.checkpoints.state.write_text(state.replace(reference.recipe.fingerprint(), run.recipe.fingerprint()), "utf-8")
    with pytest.raises(RunError, match="was made by another model"):
        train(run, model=toy.model, data=toy.data())


def test_other_recipes_keep_their_fingerprints(toy: ModuleType) -> None:
    data = toy.recipe().to_dict()
    assert "on_device" not in data
    assert not {"momentum", "loss"} & (data["float"].keys() | data["hardware_aware"].keys())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on_device.enabled": True}, "must be null, because devices move by pulses only"),
        ({"on_device": {"epsilon": 0.0}}, "`on_device.epsilon` must be"),
        ({"on_device": {"devices": 4}}, "Unknown key 'on_device.devices'.* Did you mean"),
        ({"float.loss": "hinge"}, "`float.loss` must be"),
    ],
)
def test_what_a_recipe_may_not_say(toy: ModuleType, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        toy.recipe().replace(changes)


def test_devices_that_can_not_hold_the_weights_are_refused_before_anything_is_trained(
    toy: ModuleType, tmp_path: Path
) -> None:
    recipe = on_device(toy, on_device__weight_range=0.001)
    with pytest.raises(InvalidArgumentError, match="The devices can't hold 'conv/kernel'"):
        train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data())


def test_squared_errors_and_momentum_reach_the_optimizer(toy: ModuleType, tmp_path: Path) -> None:
    changes = {"float__loss": "half_squares", "float__optimizer": "sgd", "float__momentum": 0.0, "float__epochs": 1}
    run = Run.create(tmp_path, on_device(toy, **changes))
    train(run, model=toy.model, data=toy.data())
    model = Run.open(tmp_path).on_device_model()
    assert model.optimizer.base.momentum == 0.0
    assert type(model.loss).__name__ == "HalfSquares"
    labels, outputs = np.array([0, 2]), np.array([[1.0, 0.0, 0.0], [0.5, 0.0, 0.0]], "float32")
    np.testing.assert_allclose(model.loss.call(labels, outputs), [0.0, 0.625])


def test_figures_show_every_array(reference: Run, tmp_path: Path) -> None:
    statistics = reference.on_device_model().optimizer.statistics()
    figure = device_figure(statistics, reference.path / "devices.csv", tmp_path / "devices.png")
    assert len(figure.axes) == 2 + 3
    assert figure.axes[0].get_title().startswith("conv: ")
    lines = figure.axes[3].get_lines()
    assert [len(line.get_xdata()) for line in lines] == [2, 2]
    assert (tmp_path / "devices.png").stat().st_size > 10_000
    with pytest.raises(InvalidArgumentError, match="at least one array"):
        device_figure({})
    with pytest.raises(DataError, match="can't be read as the table of a DeviceLog"):
        device_figure(statistics, tmp_path / "none.csv")
