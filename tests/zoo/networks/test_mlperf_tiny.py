"""MLPerf Tiny's networks: weights as published, the offset that changes nothing, and files that are others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import load_model, to_analog
from analognets.errors import DataError, InvalidArgumentError, RecipeError, UnknownNameError
from analognets.zoo.networks.mlperf_tiny import mlperf_ds_cnn, mlperf_mobilenet, mlperf_resnet8
from analognets.zoo.published import PUBLISHED, is_official, published_file
from analognets.zoo.tasks import build_model, find_recipe

# Weights of products, and all numbers, as in the published files.
NETWORKS: dict[str, tuple[Callable[..., Any], str, float, int, int]] = {
    "mlperf_resnet8": (mlperf_resnet8, "pretrainedResnet.h5", 255.0, 77_360, 78_666),
    "mlperf_ds_cnn": (mlperf_ds_cnn, "kws_ref_model", 20.0, 22_016, 24_908),
    "mlperf_mobilenet": (mlperf_mobilenet, "vww_96.h5", 1.0, 208_112, 221_794),
}


def scattered(model: keras.Model) -> keras.Model:
    """Give every variable a value of its own, as after training."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.02, 0.1, variable.shape))
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_are_as_many_as_published(name: str) -> None:
    build, _, _, weights, numbers = NETWORKS[name]
    model = build()
    products = [layer for layer in model.layers if hasattr(layer, "kernel")]
    assert sum(int(np.prod(layer.kernel.shape)) for layer in products) == weights
    assert model.count_params() == numbers
    assert model.layers[-1].activation is keras.activations.linear, "logits, as recipes train them"


@pytest.mark.parametrize("build", [mlperf_resnet8, mlperf_mobilenet])
def test_an_offset_taken_off_the_input_changes_nothing(build: Callable[..., Any], tmp_path: Path) -> None:
    plain = scattered(build())
    plain.save(tmp_path / "model.keras")
    full = 255.0 if build is mlperf_resnet8 else 1.0
    moved = build(weights=str(tmp_path / "model.keras"), input_offset=0.45 * full)
    inputs = np.random.default_rng(1).uniform(0, full, (2, *plain.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(moved(inputs), plain(inputs), rtol=2e-4)
    assert len(to_analog(moved).conversion_report.converted) == len(to_analog(plain).conversion_report.converted)
    with pytest.raises(InvalidArgumentError, match="input_offset"):
        build(input_offset=2 * full)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_weights_give_the_published_network(name: str, data_root: Path) -> None:
    build, file, full, *_ = NETWORKS[name]
    path = data_root / "mlperf_tiny_models" / file
    if not path.exists():
        pytest.skip(f"needs MLPerf Tiny's published files: {path} is not there")
    published, model = load_model(path), build(weights=str(path))
    inputs = np.random.default_rng(0).uniform(0, full, (4, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(keras.ops.softmax(model(inputs)), published(inputs), atol=1e-5)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    mlperf_ds_cnn(classes=3).save(tmp_path / "three.keras")
    with pytest.raises(DataError, match=r"is not mlperf_ds_cnn with this input and these classes.*shape \(64, 3\)"):
        mlperf_ds_cnn(weights=str(tmp_path / "three.keras"))
    with pytest.raises(DataError, match="is not mlperf_resnet8.*arrays of weights instead of"):
        mlperf_resnet8(weights=str(tmp_path / "three.keras"))
    with pytest.raises(DataError, match="There is no model file"):
        mlperf_resnet8(weights=str(tmp_path / "none.h5"))


@pytest.mark.parametrize(("name", "shape", "classes"), [
    ("mlperf_ic", (32, 32, 3), 10), ("mlperf_kws", (49, 10, 1), 12), ("mlperf_vww", (96, 96, 3), 2),
])  # fmt: skip
@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_recipe_begins_with_published_weights(name: str, shape: tuple[int, ...], classes: int, bits: int) -> None:
    recipe = find_recipe(name, [f"hardware_aware.hardware.preset=aon_cim_{bits}bit"])
    assert recipe.model.options["weights"] == "mlperf_tiny"
    assert recipe.float_stage.epochs == 0 and recipe.float_stage.weight_clip_sigma is None
    network = build_model(recipe.replace({"model.options.weights": None}), classes=classes, input_shape=shape)
    assert recipe.hardware_aware is not None
    left = {layer.name for layer in network.layers if isinstance(layer, keras.layers.DepthwiseConv2D)}
    assert set(recipe.hardware_aware.exempt) == (left or {"stem", "logits"}), "depthwise layers stay digital"
    with pytest.raises(RecipeError, match="does not fit"):
        build_model(recipe.replace({"model.options": {"depth": 3}}), classes=classes, input_shape=shape)


# Published files


def test_a_published_file_is_found_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ANALOGNETS_OFFLINE", "1")
    monkeypatch.delenv("ANALOGNETS_DATA", raising=False)
    with pytest.raises(DataError, match="ANALOGNETS_OFFLINE forbids to download it"):
        published_file("ad01.h5")
    with pytest.raises(UnknownNameError, match="Unknown model file of MLPerf Tiny"):
        published_file("ad02.h5")
    with pytest.raises(DataError, match="holds no 'ad01.h5', a model file of MLPerf Tiny. Take it from https"):
        published_file("ad01.h5", tmp_path)
    (tmp_path / "ad01.h5").write_bytes(b"another")
    assert published_file("ad01.h5", tmp_path) == tmp_path / "ad01.h5", "what the user names is taken"
    assert not is_official(tmp_path / "ad01.h5")


def test_all_published_files_are_known_by_their_sha256(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_root / "mlperf_tiny_models"
    if not folder.is_dir():
        pytest.skip(f"needs MLPerf Tiny's published files: {folder} is not there")
    assert [name for name in PUBLISHED if not is_official(folder / name)] == []
    monkeypatch.setenv("ANALOGNETS_DATA", str(data_root))
    assert published_file("kws_ref_model") == folder / "kws_ref_model"
    copy = shutil.copytree(folder / "kws_ref_model", tmp_path / "kws_ref_model")
    (Path(copy) / "variables" / "variables.index").unlink()
    assert not is_official(Path(copy))
