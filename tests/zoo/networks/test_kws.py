"""AnalogNet-KWS as reconstructed: its weights, its place on the array, its outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.layers import analog_layers, calibrate
from analognets.zoo.networks.kws import analognet_kws


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return analognet_kws()


def test_300720_weights_fill_57_percent_of_the_array(model) -> None:
    report = to_analog(model, "aon_cim_8bit").conversion_report
    hardware = Crossbar.from_preset("aon_cim_8bit")
    cells = [layer.rows * layer.cols for layer in report.converted]
    assert sum(cells) == 300_720
    assert round(100 * sum(cells) / (hardware.rows * hardware.cols), 1) == 57.4
    assert [(layer.rows, layer.cols) for layer in report.converted] == [
        (40, 84), (756, 112), (1008, 84), (756, 84), (756, 84), (84, 12),
    ]  # fmt: skip
    assert max(layer.rows for layer in report.converted) <= 1008
    assert max(layer.cols for layer in report.converted) <= 128
    assert all(layer.tiles == 1 for layer in report.converted)


def test_batch_norm_stays_digital_and_no_layer_is_depthwise(model) -> None:
    report = to_analog(model).conversion_report
    assert {layer.kind for layer in report.converted} == {"Conv2D", "Dense"}
    assert {layer.kind for layer in report.left} == {"BatchNormalization"}
    assert len(report.left) == 5


def test_logits_of_a_batch(model) -> None:
    inputs = np.random.default_rng(0).normal(size=(3, 49, 10, 1)).astype(np.float32)
    outputs = model.predict(inputs, verbose=0)
    assert outputs.shape == (3, 12)
    assert np.isfinite(outputs).all()
    assert not np.allclose(outputs.sum(1), 1), "logits, no softmax"
    assert [layer.strides for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [
        (1, 1), (2, 2), (1, 1), (1, 1), (1, 1),
    ]  # fmt: skip


def test_analog_at_8_bit_keeps_the_labels_of_most_inputs(model) -> None:
    inputs = np.random.default_rng(0).normal(size=(60, 49, 10, 1)).astype(np.float32)
    analog = to_analog(model)
    calibrate(analog, inputs)
    assert len(analog_layers(analog)) == 6
    agree = np.mean(analog.predict(inputs, verbose=0).argmax(1) == model.predict(inputs, verbose=0).argmax(1))
    assert agree > 0.6


def test_other_sizes() -> None:
    small = analognet_kws((20, 8, 1), classes=5, widths=(8, 12, 8), dropout=0.2, name="small")
    assert small.name == "small"
    assert small.output_shape == (None, 5)
    assert any(isinstance(layer, keras.layers.Dropout) for layer in small.layers)
    assert len([layer for layer in small.layers if isinstance(layer, keras.layers.Conv2D)]) == 3
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in analognet_kws(widths=(4,)).layers)


def test_it_goes_through_a_file(model, tmp_path) -> None:
    model.save(tmp_path / "kws.keras")
    inputs = np.ones((1, 49, 10, 1), np.float32)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "kws.keras")(inputs), model(inputs))
