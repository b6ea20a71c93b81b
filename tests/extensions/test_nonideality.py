"""A non-ideality from outside the package: registered, or a plain object; switched off, swept, named in tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from analognets import crossbar as crossbars
from analognets.conversion import to_analog
from analognets.crossbar import (
    Crossbar,
    NonIdeality,
    forward,
    get_nonideality,
    list_effects,
    list_nonidealities,
    possible_effects,
    register_nonideality,
    registry,
)
from analognets.crossbar.effects import describe
from analognets.deploy.studies.sensitivity import (
    curve_figure,
    find_strength,
    heat_map,
    summarize_sweep,
    sweep_nonideality,
    threshold_study,
)
from analognets.deploy.studies.sensitivity.adjustable import Machine
from analognets.errors import InvalidArgumentError
from analognets.layers import analog_layers, calibrate

STANDARD = crossbars.get("aimc_standard")
QUICK = {"size": 64, "vectors": 60, "chips": 1}


class Crosstalk(NonIdeality):
    """Every column also sees a share of its left neighbour: z_i' = z_i + share * z_(i-1)."""

    share: float
    wrap: bool = True
    name: ClassVar[str] = "crosstalk"
    strength_field: ClassVar[str] = "share"
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"share": (0.0, 0.5)}
    title: ClassVar[str] = "crosstalk of neighbours"
    unit: ClassVar[str] = "share of a column"
    scan: ClassVar[tuple[float, ...]] = (0.01, 0.05, 0.2, 0.4, 0.9)

    def response(self, outputs: Any, chip: Any, column: Any) -> Any:
        return outputs + self.share * ops.roll(outputs, 1, axis=column.axis)


@dataclasses.dataclass(frozen=True)
class Leak(NonIdeality):
    """A loss that nobody registered."""

    deviation: float = 0.25
    name: ClassVar[str] = "leak"

    def response(self, outputs: Any, chip: Any, column: Any) -> Any:
        return outputs * (1.0 - self.deviation)


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    """Register it for this module only; elsewhere it is a decorator of the class."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_KINDS", dict(registry._KINDS))
        assert register_nonideality("test_extensions")(Crosstalk) is Crosstalk
        yield


@pytest.fixture
def network() -> tuple[keras.Model, tuple[np.ndarray, np.ndarray]]:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12,)), keras.layers.Dense(16, "relu", name="first"), keras.layers.Dense(4, name="last")]
    net = keras.Sequential(layers, name="net")
    inputs = np.random.default_rng(0).normal(size=(120, 12)).astype("float32")
    labels = net.predict(inputs, verbose=0).argmax(-1)
    model = to_analog(net, STANDARD)
    calibrate(model, inputs)
    return model, (inputs, labels)


def test_it_is_in_every_list_and_acts_last() -> None:
    for names in (list_nonidealities(), list_effects(), possible_effects(STANDARD)):
        assert names[-1] == "crosstalk" and names.count("crosstalk") == 1
    changed = STANDARD.with_strength("crosstalk", 0.1)
    assert changed.nonidealities[-1] == Crosstalk(0.1)
    assert changed.strengths() == {**STANDARD.strengths(), "crosstalk": 0.1}
    assert changed.without("crosstalk") == STANDARD == STANDARD.scaled("crosstalk", 3)
    assert changed.scaled("crosstalk", 2).nonideality("crosstalk") == Crosstalk(0.2)
    assert changed.with_strength("crosstalk.wrap", False).nonideality("crosstalk") == Crosstalk(0.1, False)
    with pytest.raises(InvalidArgumentError, match="`share` of Crosstalk must be a number from 0 to 0.5"):
        changed.scaled("crosstalk", 9)
    effect = changed.effect("crosstalk")
    assert effect.label == describe("crosstalk").label == "crosstalk of neighbours, share of a column"
    assert STANDARD.effect("crosstalk").default_scan(STANDARD) == [0.01, 0.05, 0.2, 0.4]
    assert effect.default_scan(changed)[0] == 0.125 and not effect.fewer_is_worse


def test_it_is_stored_and_computed() -> None:
    changed = STANDARD.with_nonideality("crosstalk", strength=0.1)
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(changed)))
    assert crossbars.get(data) == changed
    assert get_nonideality("crosstalk", share=0.1) == Crosstalk(0.1)
    bare = Crossbar(device="ideal", dac_bits=None, adc_bits=None, nonidealities=(Crosstalk(0.5),))
    outputs = forward(bare, np.ones((1, 1), "float32"), np.array([[1.0, 0.0, 0.5]], "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), [[1.25, 0.5, 0.5]])


def test_it_is_swept_without_retracing(network: Any) -> None:
    model, (inputs, _) = network
    names = [layer.name for layer in analog_layers(model)]
    hardware = [dict.fromkeys(names, STANDARD.with_strength("crosstalk", share)) for share in (0.0, 0.1, 0.4)]
    machine = Machine(model, hardware[0])
    assert all(machine.fits(one) for one in hardware)
    settings = {"chip_seed": 1, "seconds": 20.0}
    off, weak, strong = (machine.predict(inputs, one, **settings) for one in hardware)
    assert machine.runner.traces == 1
    assert 0 < np.abs(weak - off).mean() < np.abs(strong - off).mean()


def test_it_is_named_in_studies(network: Any, tmp_path: Path) -> None:
    model, data = network
    table = sweep_nonideality(model, "crosstalk", None, tmp_path / "sweep", data=data, chips=1)
    assert list(table["value"]) == [0.0, 0.01, 0.05, 0.2, 0.4] and set(table["status"]) == {"ok"}
    assert "crosstalk of neighbours" in curve_figure(summarize_sweep(table)).axes[0].get_xlabel()
    thresholds = threshold_study(model, tmp_path / "study", nonidealities=["crosstalk"], data=data, chips=1)
    assert list(thresholds["nonideality"]) == ["crosstalk"]
    assert heat_map(thresholds).axes[0].get_yticklabels()[0].get_text() == "crosstalk"
    found = find_strength(STANDARD, "crosstalk", 0.25, **QUICK)
    assert found["standard"] == 0.0 < found["strength"] < 0.5


def test_it_is_named_on_the_command_line(network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from analognets.cli import app

    model, (inputs, labels) = network
    model.save(tmp_path / "net.keras")
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=labels)
    words = ["sweep", tmp_path / "net.keras", "--nonideality", "crosstalk", "--values", "0,0.4", "--chips", 1]
    with pytest.raises(SystemExit) as stop:
        app.main([*map(str, words), "--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out")])
    assert not stop.value.code
    assert "crosstalk" in capsys.readouterr().out
    assert set(pd.read_parquet(tmp_path / "out" / "sweep.parquet")["nonideality"]) == {"crosstalk"}


def test_a_plain_object_needs_no_registration(network: Any, tmp_path: Path) -> None:
    model, (inputs, _) = network
    leaky = STANDARD.replace(nonidealities=(*STANDARD.nonidealities, Leak()))
    assert possible_effects(leaky)[-1] == "leak" and "leak" not in possible_effects(STANDARD)
    assert leaky.strengths()["leak"] == 0.25 and leaky.without("leak") == STANDARD
    assert leaky.scaled("leak", 2) == leaky.with_strength("leak", 0.5) == STANDARD.with_nonideality(Leak(0.5))
    names = [layer.name for layer in analog_layers(model)]
    machine = Machine(model, dict.fromkeys(names, leaky))
    outputs = [
        machine.predict(inputs, dict.fromkeys(names, leaky.with_strength("leak", x)), chip_seed=1, seconds=20.0)
        for x in (0.0, 0.5)
    ]
    assert machine.runner.traces == 1 and np.abs(outputs[0]).mean() > 1.5 * np.abs(outputs[1]).mean()
    with pytest.raises(ValueError, match="Unknown non-ideality"):
        STANDARD.with_strength("leak", 0.5)


def test_what_can_not_be_registered() -> None:
    with pytest.raises(InvalidArgumentError, match="derived from NonIdeality. Received: <class 'int'>"):
        register_nonideality()(int)

    class Other(NonIdeality):
        name = "ir_drop"

    with pytest.raises(InvalidArgumentError, match="ir_drop is IRDrop of analognets.crossbar.nonidealities"):
        register_nonideality()(Other)
