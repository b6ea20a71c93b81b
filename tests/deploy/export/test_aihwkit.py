"""Networks written for aihwkit: what stands in the files, and the output there where aihwkit is installed."""

from __future__ import annotations

import importlib.util
import json

import keras
import numpy as np
import pytest

import analognets as an
from analognets.deploy.export.aihwkit import AIHWKIT_FILES, to_aihwkit
from analognets.errors import ConversionError, DataError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A network with every layer that the script knows."""
    layers = keras.layers
    entry = keras.Input((9, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(entry))
    x = layers.ReLU(6.0)(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 1, activation="tanh")(y)
    x = layers.Dropout(0.1)(layers.Add()([x, y]))
    x = layers.AveragePooling2D(2, padding="same")(layers.ZeroPadding2D(((0, 1), (1, 0)))(x))
    x = layers.MaxPooling2D(2, strides=1, padding="same")(x)
    x = layers.Reshape((3, 3, 4))(x)
    flat = layers.Dense(5, activation="sigmoid")(layers.Flatten()(x))
    pooled = layers.Dense(5, use_bias=False)(layers.GlobalAveragePooling2D()(x))
    x = layers.Softmax()(layers.Activation("relu")(layers.Add()([flat, pooled])))
    model = keras.Model(entry, x, name="all_layers")
    for weight in model.weights:
        weight.assign(
            RNG.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path else RNG.normal(0, 0.3, weight.shape)
        )
    return model


def test_files_hold_layers_weights_and_the_script(model, tmp_path) -> None:
    folder = to_aihwkit(model, tmp_path / "there")
    assert sorted(path.name for path in folder.iterdir()) == sorted(AIHWKIT_FILES)
    said = json.loads((folder / "network.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        stored = sum(array.size for array in arrays.values())
    assert said["name"] == "all_layers" and stored == model.count_params()
    compile((folder / "rebuild.py").read_text(), "rebuild.py", "exec")
    with pytest.raises(DataError, match="holds network.json"):
        to_aihwkit(model, folder)
    to_aihwkit(model, folder, overwrite=True)


def test_analog_layers_give_their_weights(tmp_path) -> None:
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    folder = to_aihwkit(an.to_analog(net, hardware="aimc_standard"), tmp_path / "there")
    with np.load(folder / "weights.npz") as arrays:
        np.testing.assert_array_equal(arrays["1.0"], net.get_weights()[0])


def test_layers_without_a_counterpart_are_named(tmp_path) -> None:
    net = keras.Sequential([keras.Input((6, 2)), keras.layers.LSTM(3, name="memory")])
    with pytest.raises(ConversionError, match=r"'memory' \(LSTM\) has no counterpart"):
        to_aihwkit(net, tmp_path)
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="gelu", name="odd")])
    with pytest.raises(ConversionError, match="'odd' has an activation .* Received: gelu"):
        to_aihwkit(net, tmp_path)


@pytest.mark.parity
def test_aihwkit_gives_the_same_output(model, tmp_path) -> None:
    torch = pytest.importorskip("torch", reason="needs aihwkit and torch")
    pytest.importorskip("aihwkit.simulator.rpu_base", reason="needs aihwkit", exc_type=ImportError)
    folder = to_aihwkit(model, tmp_path / "there")
    spec = importlib.util.spec_from_file_location("rebuild", folder / "rebuild.py")
    assert spec is not None and spec.loader is not None
    rebuild = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rebuild)
    x = RNG.normal(size=(5, 9, 8, 3)).astype("float32")
    with torch.no_grad():
        found = rebuild.build()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, model(x), atol=1e-5)


def test_what_the_script_would_compute_otherwise_is_not_written(tmp_path) -> None:
    net = keras.Sequential([keras.Input((6, 4)), keras.layers.BatchNormalization(axis=1), keras.layers.Dense(3)])
    net.layers[0].set_weights([RNG.uniform(0.5, 1.5, 6) for _ in range(4)])
    with pytest.raises(ConversionError, match="would be written of .* can't be read back"):
        to_aihwkit(net, tmp_path / "axis")
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6), keras.layers.Softmax(), keras.layers.Dense(3)])
    net.layers[0].enable_lora(2)
    net.layers[0].lora_kernel_b.assign(RNG.normal(size=net.layers[0].lora_kernel_b.shape))
    with pytest.raises(ConversionError, match="computes something else: a relative difference of"):
        to_aihwkit(net, tmp_path / "adapters")
    square = keras.Sequential([keras.Input((5, 5, 5)), keras.layers.Softmax(axis=1), keras.layers.Flatten()])
    with pytest.raises(ConversionError, match="computes something else"):
        to_aihwkit(square, tmp_path / "softmax")
    assert not list(tmp_path.iterdir())


def test_open_sizes_and_half_precision_are_written(tmp_path) -> None:
    pool = keras.layers.GlobalAveragePooling2D()
    net = keras.Sequential([keras.Input((None, None, 2)), keras.layers.Conv2D(3, 5), pool, keras.layers.Dense(2)])
    to_aihwkit(net, tmp_path / "open")
    half = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, dtype="mixed_bfloat16")])
    to_aihwkit(half, tmp_path / "half")
