"""What a layer multiplies by: fixed, given back, with digital scales, and in loops over time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from analognets import crossbar as crossbars
from analognets.crossbar import Crossbar, PlainTile, Tile, tiled_product
from analognets.layers import AnalogConv2D, AnalogDense, calibrate, freeze_weight_range
from analognets.layers.noise_realization import NoiseRealization, StepSeeds

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(16, 20)).astype("float32")
PLAIN = Crossbar(rows=10, cols=2)
STANDARD = crossbars.get("aimc_standard").replace(rows=10, cols=2)
QUIET = STANDARD.without("short_term_noise", "output_noise")


def ready(crossbar: Crossbar, **settings: Any) -> AnalogDense:
    layer = AnalogDense(4, crossbar=crossbar, use_bias=False, seed=1, **settings)
    model = keras.Sequential([keras.Input((20,)), layer])
    freeze_weight_range(model, sigma=None)
    calibrate(model, INPUTS)
    return layer


def outputs(layer: AnalogDense, inputs: Any = INPUTS, **settings: Any) -> np.ndarray:
    with layer.fixed_noise(NoiseRealization(layer.crossbar_kernel(), **settings)):
        return keras.ops.convert_to_numpy(layer(inputs))


def test_the_fast_form_is_the_equation_but_for_roundings() -> None:
    weights, gamma, alpha, gain = RNG.normal(size=(20, 4)).astype("float32"), 2.0, 1.5, 3.0
    hardware = Crossbar(dac_bits=5, adc_bits=None)
    settings: dict[str, Any] = {"input_range": alpha, "input_scale": 0.5, "output_scale": np.float32([1, 2, 3, 4])}
    slow = Tile(hardware, weights, "float32", weight_scale=gamma, adc_bound=gain, **settings)
    fast = PlainTile(hardware, weights, "float32", adc_range=gain * alpha * gamma, **settings)
    np.testing.assert_allclose(fast(INPUTS), slow(INPUTS), rtol=1e-5, atol=1e-5)
    rounded = hardware.replace(adc_bits=6)
    step = gain * alpha * gamma / 31 * settings["output_scale"]
    slow = Tile(rounded, weights, "float32", weight_scale=gamma, adc_bound=gain, **settings)
    fast = PlainTile(rounded, weights, "float32", adc_range=gain * alpha * gamma, **settings)
    assert (np.abs(np.asarray(fast(INPUTS)) - np.asarray(slow(INPUTS))) < 1.01 * step).all()


def test_tiles_of_row_blocks_are_summed_and_share_a_dac_where_they_can() -> None:
    weights = RNG.normal(size=(20, 4)).astype("float32")
    blocks = ((0, 12), (12, 20))
    for kind, settings in ((PlainTile, {}), (PlainTile, {"input_scale": 0.5}), (Tile, {"adc_bound": 30.0})):
        tiles = [kind(Crossbar(), weights[a:b], "float32", input_range=1.5, **settings) for a, b in blocks]
        assert tiles[0].shares_dac == (kind is PlainTile and not settings)
        wanted = sum(np.asarray(tile(INPUTS[:, a:b])) for tile, (a, b) in zip(tiles, blocks, strict=True))
        np.testing.assert_array_equal(tiled_product(tiles, blocks, INPUTS), wanted)


@pytest.mark.parametrize("crossbar", [PLAIN, QUIET], ids=["plain", "standard"])
def test_digital_scales_of_inputs_and_outputs(crossbar: Crossbar) -> None:
    layer = ready(crossbar)
    usual = outputs(layer, seed=3)
    twice = np.full((2, 2), 2.0, "float32")
    np.testing.assert_allclose(outputs(layer, scales=twice, seed=3), 2 * usual, rtol=1e-6)
    columns = np.tile(np.float32([1, 2, 3, 4]), (2, 1))
    np.testing.assert_allclose(outputs(layer, scales=columns, seed=3), columns[0] * usual, rtol=1e-6)
    scaled = outputs(layer, 4 * INPUTS, input_scales=[0.25, 0.25], seed=3)
    np.testing.assert_allclose(scaled, usual, rtol=1e-6, atol=1e-6)


def test_fixed_noise_ends_with_what_was_before() -> None:
    layer = ready(PLAIN, weight_noise=0.2)
    before = np.asarray(layer(INPUTS))
    half = NoiseRealization(0.5 * layer.crossbar_kernel())
    with layer.fixed_noise(half):
        outer = np.asarray(layer(INPUTS))
        with pytest.raises(RuntimeError), layer.fixed_noise(NoiseRealization(0.0 * layer.crossbar_kernel())):
            assert not np.asarray(layer(INPUTS)).any()
            raise RuntimeError
        np.testing.assert_array_equal(layer(INPUTS), outer)
        with layer.fixed_noise(None):
            np.testing.assert_array_equal(layer(INPUTS, training=True), outer)
    np.testing.assert_array_equal(layer(INPUTS), before)
    assert np.abs(outer - before).max() > 0.01


def test_a_loop_inside_of_another_keeps_the_weights_of_the_outer_one() -> None:
    layer = ready(STANDARD, weight_noise=0.2)
    with layer.fixed_noise(layer.realization_of_loop(True)) as outer:
        with layer.fixed_noise(layer.realization_of_loop(True, tells_step=True)) as inner:
            assert inner.kernel is outer.kernel
            assert isinstance(inner.seed, StepSeeds)
            inner.seed.at(3)
            one = np.asarray(layer(INPUTS, training=True))
            inner.seed.at(3)
            np.testing.assert_array_equal(layer(INPUTS, training=True), one)
            inner.seed.at(4)
            assert np.abs(np.asarray(layer(INPUTS, training=True)) - one).max() > 1e-3
        assert layer.realization(True) is outer
    assert layer.realization(True).kernel is not outer.kernel


@pytest.mark.parametrize(
    ("settings", "calibrated", "whole"),
    [
        ({}, True, True),
        ({"groups": 2, "rows": 36}, True, True),
        ({"rows": 36}, True, False),
        ({"rows": 36}, False, True),
    ],
)
def test_plain_hardware_multiplies_as_a_whole_where_it_may(settings: Any, calibrated: bool, whole: bool) -> None:
    layer = AnalogConv2D(
        6, 3, groups=settings.get("groups", 1), crossbar=Crossbar(rows=settings.get("rows", 72)), calibrated=calibrated
    )
    layer.build((None, 6, 6, 8))
    now = layer.realization(False)
    assert (now.whole, now.kind) == (whole, "inference")
    assert len(layer.tiles(now)) == (1 if whole else 2)
    assert layer.realization(True).kind == "training"
