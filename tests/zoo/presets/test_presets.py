"""Presets: what is saved comes back the same, the bundled ones keep their promise, and nothing is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import analognets as an
from analognets.errors import InvalidArgumentError, PresetError, UnknownNameError
from analognets.layers import analog_layers
from analognets.training.run import Run
from analognets.units import parse_duration
from analognets.zoo.presets import saving
from analognets.zoo.presets.files import read_tensors
from analognets.zoo.presets.golden import make_golden
from analognets.zoo.presets.handles import bundled
from analognets.zoo.presets.saving import save_to_preset
from analognets.zoo.tasks import find_recipe
from analognets.zoo.trained import open_trained

INPUTS = np.random.default_rng(3).normal(size=(8, 6, 5, 1)).astype("float32")
FILES = ["README.md", "golden.safetensors", "preset.json", "results.csv", "weights.safetensors"]


@pytest.mark.parametrize("name", sorted(bundled()))
def test_bundled_presets_reproduce_their_golden_values(name: str) -> None:
    preset = an.zoo.load_preset(name)
    model = preset.model()
    check = preset.check_golden(model)
    assert check.passed, check
    assert check.features is not None
    assert len(preset.golden["raw/0"]) >= 4
    # the golden test can fail: another weight gives other outputs
    kernel = next(variable for variable in model.trainable_variables if len(variable.shape) > 1)
    kernel.assign(keras.ops.convert_to_numpy(kernel.value)[..., ::-1])
    assert not preset.check_golden(model).passed


@pytest.mark.parametrize("name", sorted(bundled()))
def test_bundled_presets_say_what_they_are(name: str) -> None:
    preset = an.zoo.load_preset(name)
    assert preset.name == name
    assert preset.recipe is not None
    assert preset.recipe.float_stage.epochs > 0, "the recipe must hold the training of the float network, too"
    assert preset.record.origin["recipe_fingerprint"] == preset.recipe.fingerprint()
    assert preset.record.accuracy.digital is not None and preset.record.accuracy.samples
    assert preset.data["statement"] in preset.card
    assert not {"folder", "float_from"} & set(preset.data)
    if preset.data["name"] == "speech_commands":
        assert "7,010-clip part" in preset.card and "45 % of the official test speakers" in preset.card
    for mean in preset.results["mean"]:
        assert f"{100 * mean:.2f}" in preset.card
    if preset.is_analog:
        assert preset.record.calibrated
        assert {"1h", "1d", "1y"} <= set(preset.results.query("condition == 'hardware-aware'")["at"])


def test_the_promised_kws_presets_are_bundled_and_keep_the_limits_of_the_issue() -> None:
    table = an.zoo.list_models()
    family = table[table["family"] == "analognet_kws"]
    assert {f"analognet_kws.{kind}" for kind in ("float", "hwa_8bit", "hwa_6bit", "hwa_4bit")} <= set(family.index)
    assert list(family.loc[[f"analognet_kws.hwa_{b}bit" for b in (8, 6, 4)], "bits"]) == [8, 6, 4]
    assert family.loc["analognet_kws.float", "accuracy"] >= 0.92
    for bits, most in ((8, 0.3), (6, 0.5), (4, 1.0)):
        assert family.loc[f"analognet_kws.hwa_{bits}bit", "loss_1d"] <= most
    aged = an.zoo.load_preset("analognet_kws.hwa_4bit").results.set_index("at")
    assert 100 * (family.loc["analognet_kws.float", "accuracy"] - aged.loc["1y", "mean"].max()) <= 1.5
    assert pd.isna(family.loc["analognet_kws.float", "loss_1d"])
    assert sum(path.stat().st_size for folder in bundled().values() for path in folder.iterdir()) < 16e6


def test_the_vww_stand_in_says_so_and_keeps_the_limits_of_the_issue() -> None:
    table = an.zoo.list_models()
    for kind, most in (("hwa_8bit", 0.6), ("hwa_4bit", 2.0)):
        assert table.loc[f"analognet_vww.{kind}", "loss_1d"] <= most
    for name in table.index[table["family"] == "analognet_vww"]:
        preset = an.zoo.load_preset(name)
        assert "stand-in" in preset.card
        assert not [layer for layer in preset.model().layers if isinstance(layer, keras.layers.Add)]


@pytest.mark.parametrize("other", [{"split": "validation"}, {"batch_norm": True}, {"adabs": 50}])
def test_a_card_takes_no_figures_but_those_of_the_test_split(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "results" / "summary.csv"
    path.parent.mkdir()
    row = {"at": "1d", "mean": 0.9, "split": "test", "batch_norm": False}
    pd.DataFrame([row]).to_csv(path, index=False)
    assert list(saving._summary(path).columns) == ["at", "mean"]
    pd.DataFrame([{**row, **other}]).to_csv(path, index=False)
    with pytest.raises(PresetError, match="was not measured on the test split with the network as trained"):
        saving._summary(path)


def test_depthwise_layers_suffer_on_a_crossbar_and_regular_ones_do_not() -> None:
    table = an.zoo.list_models()
    assert table.loc["ds_cnn.hwa_8bit", "loss_1d"] > 10 > 1 > table.loc["analognet_kws.hwa_8bit", "loss_1d"]


def test_listing_and_cards_need_no_tensorflow(saved: Path) -> None:
    code = (
        "import sys, analognets as an; print(len(an.zoo.list_models())); p = an.zoo.load_preset(sys.argv[1]); "
        "p.card; p.results; p.classes; print([n for n in ('tensorflow', 'keras') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_analog_network_comes_back_the_same(analog: Any, saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == FILES
    preset = an.zoo.load_preset(saved)
    model = preset.model()
    ours, theirs = analog_layers(model), analog_layers(analog)
    assert [layer.calibrated for layer in ours] == [True] * 3
    assert [layer.weight_noise for layer in ours] == [0.05] * 3
    assert len({id(layer.adc_gain) for layer in ours}) == 1
    assert [layer.crossbar for layer in ours] == [layer.crossbar for layer in theirs]
    assert len(model.weights) == len(analog.weights)
    for one, other in zip(model.weights, analog.weights, strict=True):
        one, other = keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other)
        exact = other.astype(np.float16).astype(np.float32) if other.ndim > 1 else other
        np.testing.assert_allclose(one, exact, rtol=1e-3 if other.ndim > 1 else 0)
    assert preset.check_golden(model).outputs <= 1e-5
    chips = an.deploy.program(model, chips=2, seed=0)
    assert np.isfinite(chips.predict(INPUTS, at="1d")).all()


def test_two_loads_do_not_share_weights_or_gains(saved: Path) -> None:
    one, other = an.zoo.from_preset(saved), an.zoo.from_preset(saved)
    before = other.predict(INPUTS, verbose=0)
    analog_layers(one)[0].adc_gain.gain.assign(0.001)
    np.testing.assert_array_equal(other.predict(INPUTS, verbose=0), before)
    assert np.abs(one.predict(INPUTS, verbose=0) - before).max() > 1e-3


def test_kernels_stay_inside_of_the_weight_range(saved: Path) -> None:
    for layer in analog_layers(an.zoo.from_preset(saved)):
        kernel, limit = (keras.ops.convert_to_numpy(v.value) for v in (layer.kernel_variable, layer.w_max))
        assert limit > 0 and np.abs(kernel).max() <= limit


def test_kernels_are_float16_and_the_rest_float32(saved: Path) -> None:
    arrays = read_tensors(saved / "weights.safetensors")
    assert {str(array.dtype) for array in arrays.values() if array.ndim > 1} == {"float16"}
    assert {str(array.dtype) for array in arrays.values() if array.ndim < 2} == {"float32"}


def test_float32_keeps_every_bit_and_what_float16_can_not_hold_stays(tmp_path: Path) -> None:
    layers = [keras.layers.Dense(2, name="large"), keras.layers.Dense(2, name="small")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.layers[0].kernel.assign([[1e6, 1.0], [0.1, 2.0], [3.0, 4.0]])
    save_to_preset(model, tmp_path / "exact", precision="float32")
    for one, other in zip(an.zoo.from_preset(tmp_path / "exact").get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    save_to_preset(model, tmp_path / "half")
    kinds = {str(array.dtype) for array in read_tensors(tmp_path / "half" / "weights.safetensors").values()}
    assert kinds == {"float16", "float32"}
    with pytest.raises(InvalidArgumentError, match="`precision` of save_to_preset must be one of"):
        save_to_preset(model, tmp_path / "int", precision="int8")


def test_networks_with_several_inputs_and_nested_ones(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh")], name="inner")
    one, other = keras.Input((4,)), keras.Input((None,), dtype="int32")
    words = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(5, 3)(other))
    both = keras.ops.add(inner(one), words)
    model = keras.Model([one, other], [keras.layers.Dense(2)(both), both])
    preset = save_to_preset(an.to_analog(model), tmp_path / "both")
    assert preset.record.architecture.input_shape is None
    assert preset.check_golden().passed
    assert sorted(key for key in preset.golden if key.startswith("outputs/")) == ["outputs/0", "outputs/1"]


def test_a_front_end_goes_along_and_is_pinned(tmp_path: Path) -> None:
    frontend = an.datasets.MFCC.from_preset("arm_40ms")
    model = keras.Sequential([keras.Input((9, 10, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    preset = save_to_preset(model, tmp_path / "sound", frontend=frontend)
    assert preset.golden["raw/0"].dtype == np.int16
    assert preset.frontend.get_config() == frontend.get_config()
    record = json.loads((tmp_path / "sound" / "preset.json").read_text("utf-8"))
    record["frontend"]["config"]["log_offset"] = 1e-2
    (tmp_path / "sound" / "preset.json").write_text(json.dumps(record), "utf-8")
    changed = an.zoo.load_preset(tmp_path / "sound").check_golden()
    assert not changed.passed and changed.features is not None and changed.features > 1e-3 > changed.outputs


def test_pictures_have_golden_values_too(tmp_path: Path) -> None:
    from analognets.datasets.frontends import frontend

    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    preset = save_to_preset(model, tmp_path / "pictures", frontend=frontend("rgb_32"))
    assert preset.golden["raw/0"].dtype == np.uint8
    assert preset.check_golden().passed


def test_golden_samples_are_those_that_rounding_does_not_touch(analog: Any) -> None:
    values = analog_layers(analog)[0]
    step = float(keras.ops.convert_to_numpy(values.input_range)) / (2 ** (values.crossbar.dac_bits - 1) - 1)
    fragile = np.zeros((6, 6, 5, 1), "float32")
    fragile[:2] = np.nextafter(np.float32(step / 2), np.float32(1))
    golden = make_golden(analog, None, fragile + np.linspace(0, 0.2, 6, dtype="float32").reshape(-1, 1, 1, 1))
    assert len(golden["inputs/0"]) == len(golden["outputs/0"]) == 4


def test_results_measured_at_saving(analog: Any, tmp_path: Path) -> None:
    labels = np.arange(8) % 3
    table = an.deploy.summarize(an.deploy.program(analog, chips=2, seed=0).evaluate((INPUTS, labels), at=["1d"]), 0.5)
    preset = save_to_preset(
        analog,
        tmp_path / "measured",
        test_data=(INPUTS, labels),
        results={"hardware-aware": table.assign(float_accuracy=0.5)},
        statement="Said first.",
        data={"name": "noise", "statement": "Said last."},
    )
    digital = an.to_digital(preset.model()).predict(INPUTS, verbose=0).argmax(-1)
    assert preset.record.accuracy.digital == pytest.approx(float((digital == labels).mean()))
    assert preset.record.accuracy.reference == 0.5
    assert list(preset.results["condition"]) == ["digital", "hardware-aware"]
    assert preset.results["loss"].iloc[1] == pytest.approx(100 * (0.5 - preset.results["mean"].iloc[1]))
    assert "Said first. Said last." in preset.card


def test_subclassed_models_are_refused(tmp_path: Path) -> None:
    class Mine(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="mine")
            self.layer = keras.layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.layer(inputs)

    model = Mine()
    with pytest.raises(PresetError, match="'mine' is not built yet"):
        save_to_preset(model, tmp_path / "mine")
    model(INPUTS.reshape(8, -1))
    with pytest.raises(PresetError, match=r"'mine' \(Mine\) is a subclassed model.*functional or Sequential"):
        save_to_preset(model, tmp_path / "mine")
    assert not list(tmp_path.iterdir())


def test_own_layers_need_the_caller_s_word(tmp_path: Path) -> None:
    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    model = keras.Sequential([keras.Input((3,)), Twice(), keras.layers.Dense(2)])
    with pytest.raises(PresetError, match=r"names 'Twice' of .* custom_objects=\{name: class\}"):
        save_to_preset(model, tmp_path / "own")
    save_to_preset(model, tmp_path / "own", custom_objects={"Twice": Twice})
    with pytest.raises(PresetError, match="custom_objects"):
        an.zoo.from_preset(tmp_path / "own")
    preset = an.zoo.load_preset(tmp_path / "own", custom_objects={"Twice": Twice})
    assert preset.check_golden().passed


def test_nothing_is_overwritten_unasked(analog: Any, preset_copy: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in preset_copy.iterdir()}
    with pytest.raises(PresetError, match=r"Nothing is overwritten unasked.*overwrite=True"):
        save_to_preset(analog, preset_copy)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(PresetError, match=r"which exists\. Choose a new folder"):
        save_to_preset(analog, tmp_path / "letters", overwrite=True)
    with pytest.raises(InvalidArgumentError, match="`name` of a preset"):
        save_to_preset(analog, tmp_path / "x", name="../x")
    assert {path.name: path.read_bytes() for path in preset_copy.iterdir()} == before
    save_to_preset(analog, preset_copy, name="new", overwrite=True)
    assert an.zoo.load_preset(preset_copy).name == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters", "tiny.analog"]


def test_a_failure_while_saving_leaves_nothing_and_keeps_the_old(
    analog: Any, preset_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import analognets.zoo.presets.saving as saving

    def full(*arguments: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write_card", full)
    with pytest.raises(PresetError, match="can't be written to .*No space left on device"):
        save_to_preset(analog, preset_copy, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.analog"]
    assert an.zoo.load_preset(preset_copy).check_golden().passed


def test_unknown_names_and_places(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'analognet_kws\.hwa_8bit'\?"):
        an.zoo.load_preset("analognet_kws.hwa_8bits")
    with pytest.raises(PresetError, match="There is no preset '.*nothing': no such folder"):
        an.zoo.load_preset(tmp_path / "nothing")
    with pytest.raises(PresetError, match=r"holds no preset\.json"):
        an.zoo.load_preset(tmp_path)
    with pytest.raises(InvalidArgumentError, match="must be a run, its folder, or a Keras model"):
        save_to_preset(3, tmp_path / "x")


def test_float_training_that_went_on_from_another_is_told(tmp_path: Path) -> None:
    soft = {"temperature": 2, "soft_share": 0.8}
    stages = {"first": {"epochs": 9}, "second": {"epochs": 3, "distillation": soft}, "third": {"epochs": 0}}
    before = None
    for name, stage in stages.items():
        recipe = find_recipe("kws", [f"float={json.dumps(stage)}", 'teacher=["a", "b"]'])
        run = Run.create(tmp_path / name, recipe)
        record = json.loads((run.path / "run.json").read_text("utf-8"))
        record["data"] = {**(record.get("data") or {}), "float_from": before}
        (run.path / "run.json").write_text(json.dumps(record), "utf-8")
        before = str(run.path)
    trained = open_trained(Run.open(before), unfinished=True)
    chain = saving._float_runs(trained)
    assert [run.path.name for run in chain] == ["first", "second"]
    assert saving._float_words(chain[0]) == "9 epochs from learning rate 0.001"
    assert saving._float_words(chain[1]) == (
        "3 epochs from learning rate 0.001, distilled from 2 networks (temperature 2, soft share 0.8)"
    )


@pytest.mark.parametrize("name", ["analognet_kws.hwa_8bit", "resnet8_kws.hwa_standard"])
def test_presets_go_on_with_the_noise_they_were_trained_with(name: str) -> None:
    preset = an.zoo.load_preset(name)
    stage = preset.recipe.hardware_aware
    for layer in an.layers.analog_layers(preset.model()):
        for setting, value in stage.noise().items():
            found = getattr(layer, setting)
            assert found == (parse_duration(value) if setting == "drift_until" else value), setting


def test_golden_values_of_many_inputs_keep_their_order(tmp_path: Path) -> None:
    inputs = [keras.Input((2,), name=f"in_{number}") for number in range(12)]
    outputs = keras.layers.Add()([(number + 1.0) * one for number, one in enumerate(inputs)])
    preset = save_to_preset(keras.Model(inputs, keras.layers.Dense(2)(outputs)), tmp_path / "many", classes=["a", "b"])
    assert preset.check_golden().passed


def test_kernels_that_float16_would_round_away_stay_float32(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    for scale in (1e-3, 1e-6, 1e-8):
        layers = [keras.layers.Dense(4, use_bias=False), keras.layers.Rescaling(1 / scale)]
        model = keras.Sequential([keras.Input((6,)), *layers])
        model.layers[0].kernel.assign(scale * np.random.default_rng(1).normal(size=(6, 4)))
        save_to_preset(model, tmp_path / str(scale))
        found, wanted = an.zoo.from_preset(tmp_path / str(scale))(inputs), model(inputs)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "kind", [keras.layers.DepthwiseConv2D, lambda size, **_: keras.layers.Conv2DTranspose(4, size)]
)
def test_small_channels_of_depthwise_and_transposed_kernels_stay(kind: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6, 6, 4)), kind(3, use_bias=False)])
    kernel = model.layers[0].kernel
    scale = np.array([1.0, 1e-6, 1e-8, 1.0])[:, None]  # of outputs, along the axis before the last
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape) * scale)
    save_to_preset(model, tmp_path / "small")
    np.testing.assert_array_equal(an.zoo.from_preset(tmp_path / "small").layers[0].kernel, kernel)
