from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.errors import RecipeError
from analognets.training import Recipe, load_recipe

MINIMAL = {"name": "kws", "model": "analognet_kws", "dataset": "synthetic_speech"}

scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=12)
finite = st.recursive(
    scalars.filter(lambda value: not (isinstance(value, float) and math.isinf(value))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
stages = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(0, 500),
        "optimizer": st.sampled_from(["adam", "adamw", "sgd"]),
        "learning_rate": st.floats(1e-9, 10),
        "warmup_epochs": st.floats(0, 50) | st.integers(0, 50),
        "weight_decay": st.floats(0, 1),
        "clip_norm": st.none() | st.floats(1e-3, 1e3),
        "select": st.sampled_from(["last", "best"]),
    },
)
bits = st.none() | st.integers(2, 16) | st.just("ideal")
recipes = st.builds(
    lambda **parts: {**MINIMAL, **parts},
    description=st.text(max_size=20),
    seed=st.integers(0, 2**31 - 1),
    augmentation=st.dictionaries(st.text(max_size=6), finite, max_size=3),
    model=st.fixed_dictionaries({"name": st.text(min_size=1), "options": st.dictionaries(st.text(), finite)}),
    float=stages,
    hardware_aware=st.none()
    | st.builds(
        lambda stage, adc, dac, eta: {**stage, "hardware": {"adc_bits": adc, "dac_bits": dac}, "weight_noise": eta},
        stages, bits, bits, st.floats(0, 1),
    ),
)  # fmt: skip


def minimal(**parts: Any) -> Recipe:
    return Recipe.from_dict({**MINIMAL, **parts})


@given(recipes)
def test_recipe_survives_yaml(data: dict[str, Any]) -> None:
    recipe = Recipe.from_dict(data)
    again = Recipe.from_yaml(recipe.to_yaml())
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()


@given(recipes, st.integers(0, 2**31 - 1))
def test_fingerprint_sees_every_change(data: dict[str, Any], seed: int) -> None:
    recipe = Recipe.from_dict(data)
    assert (recipe.replace({"seed": seed}).fingerprint() == recipe.fingerprint()) == (seed == recipe.seed)


def test_fingerprint_ignores_order_and_written_out_defaults() -> None:
    recipe = minimal()
    shuffled = Recipe.from_dict(dict(reversed(recipe.to_dict().items())))
    assert shuffled.fingerprint() == recipe.fingerprint()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"line 2, column 1: the key 'a' stands there twice"),
        ("a: [1", r"can't be read as YAML in line"),
        ("!!python/object/apply:os.system [ls]", r"can't be read as YAML"),
    ],
)
def test_bad_yaml_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_yaml(text)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("hardware_aware.epochs=2", "hardware_aware.epochs", 2),
        ("hardware_aware.hardware.adc_gain=per_layer", "hardware_aware.hardware.adc_gain", "per_layer"),
        ("hardware_aware.hardware=aon_cim_6bit", "hardware_aware.hardware.preset", "aon_cim_6bit"),
        ("float.learning_rate = 1e-3", "float.learning_rate", 1e-3),
        ("model.options.classes=[yes, no, on]", "model.options.classes", ["yes", "no", "on"]),
        ("dataset=speech_commands", "dataset.name", "speech_commands"),
        ("frontend=mlperf_tiny", "frontend.preset", "mlperf_tiny"),
        ("augmentation.speed.low=0.9", "augmentation.speed.low", 0.9),
        ("float.weight_clip_sigma=null", "float.weight_clip_sigma", None),
        ("float.clip_norm=1", "float.clip_norm", 1.0),
    ],
)
def test_overrides_reach_dotted_keys(override: str, path: str, value: Any) -> None:
    data: Any = minimal().replace([override]).to_dict()
    for name in path.split("."):
        data = data[name]
    assert data == value


def test_overrides_apply_in_order_and_leave_the_original() -> None:
    recipe = minimal(model={"name": "m", "options": {"width": 3}})
    changed = recipe.replace(["seed=1", "seed=2", "model.options.width=4"])
    assert (changed.seed, changed.model.options) == (2, {"width": 4})
    assert (recipe.seed, recipe.model.options) == (0, {"width": 3})


def test_an_override_brings_back_a_stage_that_was_null() -> None:
    recipe = minimal(hardware_aware=None)
    assert recipe.hardware_aware is None
    assert recipe.replace(["hardware_aware.epochs=1"]).hardware_aware.epochs == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hardware_aware.epoch=2", r"Unknown key 'hardware_aware.epoch'. Did you mean 'hardware_aware.epochs'\?"),
        ("weight_noise=0.1", r"Unknown key 'weight_noise'. Did you mean 'hardware_aware.weight_noise'\?"),
        ("float.batch_size=3", r"Unknown key 'float.batch_size'. Did you mean 'batch_size'\? Known keys of `float`: "),
        ("floot.epochs=3", r"Unknown key 'floot'. Did you mean 'float'\? Known keys of a recipe: name, "),
        ("hardware_aware.hardware.adc_bit=6", r"Did you mean 'hardware_aware.hardware.adc_bits'\?"),
        (
            "hardware_aware.hardware.adc_bits=1",
            r"`hardware_aware.hardware.adc_bits` must be a whole number of bits from 2 to 16, 'ideal', or null for the "
            r"preset's own. Received: 1\.$",
        ),
        ("hardware_aware.hardware.dac_bits=17", r"from 2 to 16.*Received: 17"),
        ("hardware_aware.hardware.adc_bits=7.5", r"from 2 to 16.*Received: 7.5"),
        ("hardware_aware.hardware.adc_gain=shard", r"must be one of 'shared', 'per_layer' or null. Received: 'shard'"),
        ("hardware_aware.weight_noise=11", r"must be a number from 0 to 10. Received: 11"),
        ("float.epochs=-1", r"`float.epochs` must be a whole number from 0 to 100000. Received: -1"),
        ("float.epochs=2.5", r"must be a whole number from 0 to 100000. Received: 2.5"),
        ("float.epochs='2'", r"must be a whole number from 0 to 100000. Received: '2'"),
        ("batch_size=true", r"must be a whole number from 1 to 100000. Received: True"),
        ("float.learning_rate=0", r"`float.learning_rate` must be a number above 0 and up to 100. Received: 0"),
        ("float.learning_rate=.nan", r"must be a number above 0 and up to 100. Received: nan"),
        ("float.weight_clip_sigma=0", r"must be a number from 0.1 to 100 or null. Received: 0"),
        ("float.optimizer=adan", r"must be one of 'adam', 'adamw', 'sgd'. Received: 'adan'"),
        (
            "evaluation.times=[25s, 1w]",
            r"`evaluation.times` must be a list of up to 1000 dur.*Received: \['25s', '1w'\]",
        ),
        ("evaluation.times=[]", r"must be a list of up to 1000 durations"),
        ("evaluation.drift_compensation=2", r"must be true or false or 'both'. Received: 2"),
        ("name=a b", r"`name` must be letters, digits, '.', '_' and '-' only. Received: 'a b'"),
        ("augmentation.shift=.inf", r"holds a number that is not finite|must be a mapping"),
        ("float=3", r"`float` must be a mapping with the keys epochs, .*Received: 3"),
        ("float.epochs.x=1", r"`float.epochs` is one value and holds no keys of its own"),
        ("epochs", r"An override is a dotted key, '=' and a value.*Received: 'epochs'"),
        ("=3", r"An override is a dotted key"),
        ("seed=[1", r"The value of the override 'seed=\[1' can't be read as YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        minimal().replace([override])
    assert len(str(caught.value).splitlines()) == 1


def test_each_wrong_key_gets_its_sentence() -> None:
    with pytest.raises(RecipeError) as caught:
        minimal(seed=-1, batch_size="x")
    first, second = str(caught.value).splitlines()
    assert "`seed`" in first
    assert "`batch_size`" in second


@pytest.mark.parametrize("data", [None, 3, [], "text"])
def test_a_recipe_is_a_mapping(data: Any) -> None:
    with pytest.raises(RecipeError, match=r"must be a mapping of keys such as name, description"):
        Recipe.from_dict(data)


def test_missing_keys_are_named() -> None:
    with pytest.raises(RecipeError, match=r"`model` is missing; it must be a mapping with the keys name, options"):
        Recipe.from_dict({"name": "kws", "dataset": "d"})


def test_options_that_contain_themselves_are_refused() -> None:
    with pytest.raises(RecipeError):
        Recipe.from_yaml("name: a\nmodel: m\ndataset: d\naugmentation: &x\n  again: *x\n")


def test_load_recipe_from_path_resource_and_open_file(tmp_path: Path) -> None:
    path = tmp_path / "kws.yaml"
    path.write_text(minimal(seed=4).to_yaml(), "utf-8")
    assert load_recipe(path) == load_recipe(str(path)) == load_recipe(io.StringIO(path.read_text("utf-8")))
    assert load_recipe(path, ["seed=5"]).seed == 5
    assert load_recipe(path, {"float.epochs": 1}).float_stage.epochs == 1


def test_load_recipe_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere.yaml' can't be read: No such file"):
        load_recipe(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"binary.yaml' can't be read"):
        load_recipe(tmp_path / "binary.yaml")
    (tmp_path / "wrong.yaml").write_text("seeds: 1")
    with pytest.raises(RecipeError, match=r"wrong.yaml' is not valid: .*"):
        load_recipe(tmp_path / "wrong.yaml")


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        minimal().seed = 3


def test_hardware_changes_are_what_differs_from_the_preset() -> None:
    recipe = minimal(hardware_aware={"hardware": {"adc_bits": "ideal", "dac_bits": 9, "adc_gain": "per_layer"}})
    assert recipe.hardware_aware.hardware.changes() == {"adc_bits": None, "dac_bits": 9, "adc_gain": "per_layer"}


def test_hardware_takes_a_drift_compensation_by_name() -> None:
    from analognets.devices import ColumnDriftCompensation

    for name, rule in (("column", ColumnDriftCompensation()), ("none", None)):
        recipe = minimal().replace([f"hardware_aware.hardware.drift_compensation={name}"])
        assert recipe.hardware_aware.hardware.crossbar().drift_compensation == rule
    with pytest.raises(ValueError, match="Unknown drift compensation. Did you mean 'column'"):
        minimal().replace(["hardware_aware.hardware.drift_compensation=colum"]).hardware_aware.hardware.crossbar()


def test_recipes_and_runs_load_without_keras() -> None:
    code = "import sys, analognets.training as t; t.Recipe, t.Run; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recipes_without_the_later_keys_keep_their_fingerprints() -> None:
    from analognets.zoo.presets.registry import load_preset

    preset = load_preset("ds_cnn.hwa_8bit")
    assert preset.recipe.hardware_aware is not None
    assert preset.recipe.fingerprint() == preset.record.origin["recipe_fingerprint"]
    assert not {"noise_model", "drop_connect"} & set(preset.recipe.to_dict()["hardware_aware"])
    changed = preset.recipe.replace({"hardware_aware.noise_model": "device"})
    assert changed.to_dict()["hardware_aware"]["noise_model"] == "device"
    assert changed.fingerprint() != preset.recipe.fingerprint()
