"""Damaged and hostile model files: one sentence each, before memory is taken, and no wrong weights in silence."""

from __future__ import annotations

import copy
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies as st

from analognets.conversion import load_model
from analognets.errors import AnalogNetsError, DataError

L = keras.layers
SUFFIXES = (".h5", ".keras")


def small(*layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input((6, 5)), *layers])


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def edited(path: Path, change: Callable[[Any], Any], version: str | None = None) -> Path:
    """Change the config of a file, and the version of Keras that it names."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
            if version:
                file.attrs["keras_version"] = version
        return path
    parts = parts_of(path)
    parts["config.json"] = json.dumps(change(json.loads(parts["config.json"]))).encode()
    if version:
        parts["metadata.json"] = json.dumps({"keras_version": version}).encode()
    return packed(path, parts)


def given(layer: int, **arguments: Any) -> Callable[[Any], Any]:
    def change(config: Any) -> Any:
        entry = config["config"]["layers"][layer]
        entry["config"].update(arguments)
        entry.pop("build_config", None)
        return config

    return change


HUGE = {
    "units": (lambda: small(L.Dense(3)), given(1, units=60_000_000)),
    "inputs": (lambda: small(L.Flatten(), L.Dense(1)), given(0, batch_shape=[None, 10**6, 10**4])),
    "recurrent": (lambda: small(L.LSTM(2)), given(1, units=50_000)),
    "table": (lambda: keras.Sequential([keras.Input((4,)), L.Embedding(4, 4)]), given(1, input_dim=10**9)),
    "kernel": (lambda: small(L.Conv1D(2, 2)), given(1, kernel_size=[10**8], padding="same")),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", HUGE)
def test_a_network_far_larger_than_its_file_is_refused_before_it_is_built(
    name: str, suffix: str, tmp_path: Path
) -> None:
    make, change = HUGE[name]
    path = tmp_path / f"net{suffix}"
    make().save(path)
    with pytest.raises(
        DataError, match=r"weights of \d+ MiB by its config, but the file holds 0\.0 MiB|fit|can't be made"
    ):
        load_model(edited(path, change))


def test_looking_at_the_size_leaves_names_and_seeds_as_they_were(tmp_path: Path) -> None:
    small(L.LSTM(2), L.Dropout(0.5)).save(tmp_path / "net.keras")
    states = []
    for load in (keras.models.load_model, load_model):
        keras.backend.clear_session()
        keras.utils.set_random_seed(3)
        load(tmp_path / "net.keras")
        states.append((random.random(), L.LSTMCell(2).name))
    assert states[0] == states[1]


def test_files_that_unpack_to_far_more_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    small(L.Dense(3)).save(path)
    parts = parts_of(path)
    blanks = b" " * (100 * 2**20)
    packed(path, {**parts, "config.json": blanks + parts["config.json"]}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="unpacks to 100 MiB from 0.1 MiB"):
        load_model(path)
    packed(path, {**parts, "config.json": blanks[: 40 * 2**20] + parts["config.json"]}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"'config.json' in .* may unpack to 32 MiB\. Received: 40"):
        load_model(path)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("[" * 100_000 + "]" * 100_000, "is not a whole Keras model: it was cut short or changed"),
        ('{"class_name": "Sequential", "config": ' + '{"a":' * 300 + "1" + "}" * 301, "nested too deeply"),
        (b"\xff\xfe\x00", "is not a whole Keras model: it was cut short or changed"),
        ("null", "is not that of a Keras model"),
        ('{"class_name": ["Sequential"], "config": {}}', "is not that of a Keras model"),
    ],
)
def test_a_config_that_is_none(config: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        load_model(packed(tmp_path / "net.keras", {"config.json": config}))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(value: float, suffix: str, tmp_path: Path) -> None:
    model = small(L.Dense(3, name="sick"), L.BatchNormalization())
    kernel = np.array(model.get_layer("sick").kernel)
    kernel[0, 0] = value
    model.get_layer("sick").kernel.assign(kernel)
    path = tmp_path / f"net{suffix}"
    model.save(path)
    with pytest.raises(DataError, match=r"are NaN or infinite: \S*sick/kernel\. .*allow_nonfinite=True"):
        load_model(path)
    np.testing.assert_array_equal(load_model(path, allow_nonfinite=True).get_layer("sick").kernel, kernel)


def frozen(part: str) -> keras.Model:
    inputs, outer = L.Input((8, 8, 3)), L.Input((8, 8, 3))
    x = L.BatchNormalization()(L.Conv2D(4, 3)(inputs))
    base = keras.Model(inputs, L.BatchNormalization()(L.Conv2D(4, 3)(x)), name="base")
    base.trainable = part != "all"
    for layer in base.layers[:3] if part == "some" else []:
        layer.trainable = False
    return keras.Model(outer, L.Dense(2)(L.UnitNormalization(axis=[1, 2])(base(outer, training=False))))


@pytest.mark.parametrize("part", ["none", "some", "all"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frozen_bases_and_axes_of_keras_3_are_read_as_they_were_written(part: str, suffix: str, tmp_path: Path) -> None:
    """Keras' own reader of `.h5` files loses `axis=[1, 2]` in silence."""
    model, data = frozen(part), np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for variable in model.variables:
        variable.assign(np.random.default_rng(1).uniform(0.3, 1.0, variable.shape))
    model.save(tmp_path / f"net{suffix}")
    np.testing.assert_allclose(load_model(tmp_path / f"net{suffix}")(data), model(data), rtol=1e-6)


def test_weights_of_another_variable_are_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    small(L.BatchNormalization(name="norm")).save(path)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/norm"]
        group.attrs["weight_names"] = np.roll(group.attrs["weight_names"], 1)
    with pytest.raises(
        DataError, match=r"The weights of layer 'norm' .* Received: '\S*moving_variance' for '\S*gamma'"
    ):
        load_model(path)


def test_weights_in_another_file_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    small(L.Dense(2, name="dense")).save(path)
    with h5py.File(path, "r+") as file:
        name = file["model_weights/dense"].attrs["weight_names"][0]
        name = name.decode() if isinstance(name, bytes) else name
        del file["model_weights/dense"][name]
        file["model_weights/dense"][name] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(DataError, match="has no weights at"):
        load_model(path)


ODD: list[Any] = [
    None, True, -1, 0, 2**70, 1e400, "", "\ud800", "a/b", [], {}, [[]], {"class_name": "Dense"}, "x" * 2000, [1, 2, 3],
    {"class_name": ["x"], "config": {}}, {"class_name": "Lambda", "config": {}}, 10**9,
    {"class_name": "__tensor__", "config": {"value": 1, "dtype": "q"}},
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, inner in items for place in places(inner, (*at, key)))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, inputs = tmp_path_factory.mktemp("whole"), L.Input((6, 5))
    inner = keras.Sequential([L.Input((6, 5)), L.Dense(4, activation="relu"), L.LayerNormalization()], name="inner")
    model = keras.Model(inputs, L.Dense(2)(L.Bidirectional(L.LSTM(3))(inner(inputs))))
    for suffix in SUFFIXES:
        model.save(folder / f"net{suffix}")
    return {suffix: (folder / f"net{suffix}").read_bytes() for suffix in SUFFIXES}


@hypothesis.settings(max_examples=40, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1), suffix=st.sampled_from(SUFFIXES), kind=st.sampled_from(["bytes", "cut", "config"])
)
def test_a_damaged_file_is_one_sentence_or_a_model(
    seed: int, suffix: str, kind: str, whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, rng = tmp_path_factory.mktemp("damaged") / f"net{suffix}", random.Random(seed)
    content = bytearray(whole[suffix])
    if kind == "bytes":
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    if kind == "cut":
        content = content[: rng.randrange(len(content))]
    path.write_bytes(content)

    def change(config: Any) -> Any:
        config = copy.deepcopy(config)
        *way, last = rng.choice(places(config)[1:])
        at = config
        for key in way:
            at = at[key]
        at[last] = rng.choice(ODD)
        return config

    if kind == "config":
        edited(path, change, rng.choice([None, "2.9.0"]))
    try:
        load_model(path)
    except AnalogNetsError as error:
        assert "\n" not in str(error) and len(str(error)) < 1500
