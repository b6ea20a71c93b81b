"""Keras networks in SavedModels of TensorFlow: in both layouts, those that are refused, and any bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.conversion import load_model, to_analog
from analognets.conversion.load_saved_model import _fields, keras_config
from analognets.errors import DataError

DATA = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)
GRAPH, METADATA = "saved_model.pb", "keras_metadata.pb"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Return a SavedModel as Keras 2 of TensorFlow 2.5 and later writes it, and its outputs."""
    keras_2 = pytest.importorskip("tf_keras", reason="writes SavedModels of Keras 2; comes with the extra tfmot")
    layers = keras_2.layers
    keras_2.utils.set_random_seed(0)
    inputs = keras_2.Input((8, 8, 2))
    x = layers.Conv2D(3, 3, padding="same", name="conv/1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    inner = keras_2.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 1), layers.Flatten()], name="inner")
    model = keras_2.Model(inputs, layers.Dense(4, activation="softmax")(layers.Dropout(0.5)(inner(x))))
    for variable in model.weights:
        variable.assign(np.random.default_rng(1).uniform(0.1, 1.0, variable.shape))
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder, save_format="tf")
    return folder, model.predict(DATA, verbose=0)


@pytest.fixture
def earlier(saved: tuple[Path, np.ndarray], tmp_path: Path) -> Path:
    """Return the same in the layout of TensorFlow up to 2.4: the configs stand in the graph itself."""
    from tensorflow.core.protobuf import saved_model_pb2

    folder = Path(shutil.copytree(saved[0], tmp_path / "earlier"))
    graph = saved_model_pb2.SavedModel()
    graph.ParseFromString((folder / GRAPH).read_bytes())
    for _, node in _fields((folder / METADATA).read_bytes()):
        parts = dict(_fields(node))
        target = graph.meta_graphs[0].object_graph_def.nodes[parts.get(2, 0)]
        target.user_object.metadata = parts[5].decode()
    (folder / GRAPH).write_bytes(graph.SerializeToString())
    (folder / METADATA).unlink()
    return folder


def test_a_saved_model_of_keras_2_is_loaded_and_converted(saved: tuple[Path, np.ndarray]) -> None:
    folder, outputs = saved
    model = load_model(folder)
    np.testing.assert_allclose(model.predict(DATA, verbose=0), outputs, atol=1e-5)
    assert len(to_analog(model).conversion_report.converted) == 4


def test_the_earlier_layout_gives_the_same(saved: tuple[Path, np.ndarray], earlier: Path) -> None:
    np.testing.assert_allclose(load_model(earlier).predict(DATA, verbose=0), saved[1], atol=1e-5)


def without_variables(folder: Path) -> None:
    shutil.rmtree(folder / "variables")


def cut_short(folder: Path) -> None:
    (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes()[:-4000])


def subclassed(folder: Path) -> None:
    content = (folder / METADATA).read_bytes()
    (folder / METADATA).write_bytes(content.replace(b'"layers"', b'"spread"'))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without_variables, "the file holds|can't be made"),
        (cut_short, "is no whole model file and can't be read"),
        (subclassed, "is a TensorFlow SavedModel, and holds no Keras layers that could be converted. Build"),
    ],
)
def test_a_broken_one_is_one_sentence(
    saved: tuple[Path, np.ndarray], tmp_path: Path, change: Callable[[Path], None], sentence: str
) -> None:
    folder = Path(shutil.copytree(saved[0], tmp_path / "broken"))
    change(folder)
    with pytest.raises(DataError, match=sentence):
        load_model(folder)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_error(content: bytes) -> None:
    try:
        fields = list(_fields(content))
    except ValueError:
        return
    assert all(isinstance(value, (int, bytes)) for _, value in fields)


def test_the_published_keyword_spotter_of_mlperf_tiny(data_root: Path) -> None:
    folder = data_root / "mlperf_tiny_models" / "kws_ref_model"
    features = data_root / "mlperf_tiny_kws01" / "features.npz"
    if not (folder.is_dir() and features.is_file()):
        pytest.skip(f"needs MLPerf Tiny's published model and features below {data_root}")
    assert keras_config(folder) is not None
    model = load_model(folder)
    with np.load(features) as stored:
        inputs, labels = (stored["mfcc"].astype(np.float32)[..., None] - 83) * 0.5847029, stored["label"]
    found = model.predict(inputs, verbose=0).argmax(-1)
    assert (found == labels).mean() == pytest.approx(0.913, abs=0.002)
