"""Run by test_backends.py in a process of its own: the analog layers on the backend that KERAS_BACKEND names."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import convert
from analognets.layers import analog_layers, calibrate, freeze_weight_range

BACKEND = keras.backend.backend()


def network() -> keras.Model:
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(6, 3, padding="same", name="conv")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, name="depth")(x)
    x = keras.layers.Conv1D(4, 3, padding="causal", name="conv_1d")(keras.layers.Reshape((36, 6))(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="out")(keras.layers.GlobalAveragePooling1D()(x)))


def check_converter() -> None:
    values = np.linspace(-1.5, 1.5, 400, dtype=np.float32)
    outputs = keras.ops.convert_to_numpy(convert(keras.ops.convert_to_tensor(values), 1.0, 4))
    steps = np.clip(values, -1, 1) * 7
    clear = np.abs(np.abs(steps - np.floor(steps)) - 0.5) > 1e-3
    np.testing.assert_allclose(outputs[clear], np.round(steps[clear]) / 7, atol=1e-6)


def main() -> None:
    assert "tensorflow" not in sys.modules
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    data, labels = rng.normal(size=(96, 8, 8, 2)).astype("float32"), rng.integers(0, 3, 96)
    check_converter()
    plain = network()
    model = to_analog(plain, weight_noise=0.03)
    np.testing.assert_allclose(model.predict(data, verbose=0), plain.predict(data, verbose=0), rtol=1e-4, atol=1e-5)
    calibrate(model, data)
    freeze_weight_range(model)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    history = model.fit(data, labels, epochs=6, batch_size=32, verbose=0).history["loss"]
    assert np.all(np.isfinite(history)) and history[-1] < history[0], history
    after = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert np.mean(changed) > 0.8, [v.path for v, c in zip(model.trainable_variables, changed, strict=True) if not c]
    for layer in analog_layers(model):
        limit = float(keras.ops.convert_to_numpy(layer.w_max.value))
        assert np.abs(keras.ops.convert_to_numpy(layer.kernel_variable.value)).max() <= limit
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
    assert len({id(layer.adc_gain) for layer in analog_layers(loaded)}) == 1
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), model.predict(data, verbose=0))
    assert len(to_digital(model).trainable_variables) == len(plain.trainable_variables)
    print(f"layers agree on {BACKEND}")


if __name__ == "__main__":
    main()
