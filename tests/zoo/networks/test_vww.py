"""AnalogNet-VWW as reconstructed: its weights, its place on the array, what it avoids."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.zoo.networks.vww import VWW_BLOCKS, analognet_vww


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return analognet_vww()


@pytest.fixture(scope="module")
def report(model):
    return to_analog(model, "aon_cim_8bit").conversion_report


def test_the_weights_fill_67_5_percent_of_the_array(report) -> None:
    hardware = Crossbar.from_preset("aon_cim_8bit")
    cells = sum(layer.rows * layer.cols for layer in report.converted)
    assert 353_600 <= cells <= 354_200
    assert round(100 * cells / (hardware.rows * hardware.cols), 1) == 67.5
    assert all(layer.rows <= 1024 and layer.tiles == 1 for layer in report.converted)


def test_it_has_no_depthwise_layer_and_no_narrow_bottleneck(report) -> None:
    assert {layer.kind for layer in report.converted} == {"Conv2D", "Dense"}
    for expansion, projection, _ in VWW_BLOCKS:
        assert projection >= 32 and projection / expansion >= 0.47


def test_an_inference_of_100_x_100_pixels_takes_about_7236_passes(model) -> None:
    passes = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            positions = math.prod(layer.output.shape[1:-1])
            passes += positions * math.ceil(layer.output.shape[-1] / 128)
    assert abs(passes / 7236 - 1) < 0.05


@pytest.mark.parametrize("size", [32, 64, 97])
def test_the_input_size_is_an_argument_and_changes_no_weight(model, size) -> None:
    other = analognet_vww((size, size, 3), classes=5)
    assert other(np.zeros((2, size, size, 3), np.float32)).shape == (2, 5)
    assert other.count_params() == model.count_params() + 3 * (128 + 1)


def test_the_main_network_is_a_plain_chain(model) -> None:
    assert not any(isinstance(layer, keras.layers.Add) for layer in model.layers)
    assert all(isinstance(layer.input, keras.KerasTensor) for layer in model.layers[1:])
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)


def test_blocks_of_the_variant_that_keep_their_shape_carry_a_sum(model) -> None:
    variant = analognet_vww(residual=True)
    sums = [layer.name for layer in variant.layers if isinstance(layer, keras.layers.Add)]
    assert sums == ["block_2_add", "block_3_add", "block_5_add", "block_7_add"]
    assert variant.count_params() == model.count_params()
