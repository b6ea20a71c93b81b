"""The depthwise-separable baselines: weights as published, and what they cost on a crossbar."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.zoo.networks.baselines import ds_cnn, micronet_kws_m, micronet_kws_s, mobilenet_v1_025

# name: network, weights, weights of depthwise layers, cells once those are unrolled densely
PUBLISHED = {
    "ds_cnn": (ds_cnn, 22_016, 2_304, 167_168),
    "micronet_kws_s": (micronet_kws_s, 59_136, 4_032, 422_016),
    "micronet_kws_m": (micronet_kws_m, 110_432, 6_048, 922_880),
    "mobilenet_v1_025": (mobilenet_v1_025, 208_112, 11_160, 1_766_552),
}


@pytest.fixture(scope="module", params=PUBLISHED)
def baseline(request):
    network, *numbers = PUBLISHED[request.param]
    return network(), numbers


def weights(model, kinds) -> int:
    return sum(int(np.prod(layer.kernel.shape)) for layer in model.layers if isinstance(layer, kinds))


def test_the_weights_are_those_of_the_published_network(baseline) -> None:
    model, (total, depthwise, _) = baseline
    assert weights(model, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)) == total
    assert weights(model, keras.layers.DepthwiseConv2D) == depthwise


def test_a_crossbar_needs_many_more_cells_than_weights(baseline) -> None:
    model, (total, _, cells) = baseline
    report = to_analog(model).conversion_report
    assert sum(layer.rows * layer.cols for layer in report.converted) == cells
    assert total / cells < 0.15


def test_micronets_clip_at_6_and_the_others_do_not() -> None:
    for network, limit in ((micronet_kws_s, 6.0), (micronet_kws_m, 6.0), (ds_cnn, None), (mobilenet_v1_025, None)):
        limits = {layer.max_value for layer in network().layers if isinstance(layer, keras.layers.ReLU)}
        assert limits == {limit}


def test_other_inputs_and_classes_fit() -> None:
    assert ds_cnn((98, 40, 1), classes=35).output_shape == (None, 35)
    assert mobilenet_v1_025((64, 64, 3), classes=4).output_shape == (None, 4)
