"""Run by test_keras_manners.py in a process of its own: analog models in the scope of a MirroredStrategy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from analognets.conversion import to_analog
from analognets.layers import analog_layers, calibrate, freeze_weight_range

L = keras.layers
S = np.random.default_rng(0).normal(size=(16, 5, 8)).astype("float32")


def many_kinds() -> keras.Model:
    """Return a network of all kinds of layers: to trace its steps once takes half as long as those of one each."""
    inputs = keras.Input((5, 8))
    branches = [
        L.Conv1D(4, 2)(inputs),
        L.GRU(4)(inputs),
        L.Bidirectional(L.LSTM(3))(inputs),
        L.MultiHeadAttention(2, 4)(inputs, inputs),
    ]
    return keras.Model(inputs, L.Dense(4)(L.Concatenate()([L.Flatten()(branch) for branch in branches])))


def dense() -> keras.Model:
    return keras.Sequential([keras.Input((5, 8)), L.Dense(4), L.Flatten(), L.Dense(4)])


def check(model: keras.Model, hardware: str, folder: Path) -> None:
    analog = to_analog(model, hardware, weight_noise=0.02)
    freeze_weight_range(analog)
    calibrate(analog, S)
    analog.compile("adam", "mse", jit_compile=False)
    losses = analog.fit(S, np.ones((16, 4)), batch_size=8, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    for layer in analog_layers(analog):
        limit = np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(layer.w_max))).max()
        kernel = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(layer.kernel_variable))
        assert np.abs(kernel).max() <= limit * (1 + 1e-6)
    analog.save(folder / "a.keras")
    analog.save_weights(folder / "a.weights.h5")
    wanted = analog.predict(S, verbose=0)
    loaded = keras.models.load_model(folder / "a.keras")
    again = to_analog(model, hardware)
    again.load_weights(folder / "a.weights.h5")
    for copy in (loaded, again):
        np.testing.assert_allclose(copy.predict(S, verbose=0), wanted, rtol=1e-4, atol=1e-5)


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope(), tempfile.TemporaryDirectory() as folder:
        check(many_kinds(), "aon_cim_8bit", Path(folder))
        check(dense(), "aimc_standard", Path(folder))
    print("mirrored over two devices")


if __name__ == "__main__":
    main()
