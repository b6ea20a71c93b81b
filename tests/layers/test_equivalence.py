"""Analog layers against their Keras layers: equal with everything off, and on converted inputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from analognets.crossbar import Crossbar, convert
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError
from analognets.layers import AnalogConv1D, AnalogConv2D, AnalogDense, AnalogDepthwiseConv2D, AnalogLayer
from analognets.layers.noise_realization import NoiseRealization

IDEAL = Crossbar(dac_bits=None, adc_bits=None)
L = keras.layers
DENSE, CONV1, CONV2, DEPTH = ((5, 7), (3, 4, 6)), ((3, 14, 6),), ((3, 9, 8, 6),), ((3, 9, 8, 4),)

CASES: list[tuple[type, type, dict[str, Any], tuple[int, ...]]] = [
    *((AnalogDense, L.Dense, {"units": 4, **settings}, shape) for shape in DENSE for settings in (
        {}, {"use_bias": False}, {"activation": "relu"}, {"activation": "softmax"})),
    *((AnalogConv1D, L.Conv1D, {"filters": 4, "kernel_size": 3, **settings}, shape) for shape in CONV1 for settings in (
        {}, {"padding": "causal"}, {"padding": "causal", "dilation_rate": 2}, {"padding": "same", "strides": 2},
        {"groups": 2, "use_bias": False}, {"dilation_rate": 3, "activation": "tanh"})),
    *((AnalogConv2D, L.Conv2D, {"filters": 4, "kernel_size": (3, 2), **settings}, shape)
      for shape in CONV2 for settings in (
        {}, {"padding": "same", "strides": (2, 1)}, {"padding": "same", "strides": 2, "use_bias": False},
        {"dilation_rate": 2, "activation": "relu"}, {"groups": 2}, {"groups": 2, "padding": "same", "strides": 2})),
    *((AnalogDepthwiseConv2D, L.DepthwiseConv2D, {"kernel_size": 3, **settings}, shape)
      for shape in DEPTH for settings in (
        {}, {"depth_multiplier": 3}, {"padding": "same", "strides": 2}, {"use_bias": False, "activation": "relu"},
        {"dilation_rate": 2, "depth_multiplier": 2})),
]  # fmt: skip
NAMES = [f"{plain.__name__}-{'-'.join(f'{k}={v}' for k, v in settings.items())}" for _, plain, settings, _ in CASES]


def twins(case: tuple, **analog_settings: Any) -> tuple[AnalogLayer, keras.layers.Layer, np.ndarray]:
    """Return an analog layer and its Keras layer with the same weights, and inputs."""
    analog_class, plain_class, settings, shape = case
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=shape).astype(np.float32)
    analog, plain = analog_class(**settings, **analog_settings), plain_class(**settings)
    analog.build(shape)
    plain.build(shape)
    kernel = rng.normal(size=plain.kernel.shape)
    plain.kernel.assign(kernel)
    analog.kernel_variable.assign(kernel)
    if plain.use_bias:
        bias = rng.normal(size=plain.bias.shape)
        plain.bias.assign(bias)
        analog.bias.assign(bias)
    return analog, plain, inputs


def assert_close(one: Any, two: Any, tolerance: float = 1e-5) -> None:
    one, two = ops.convert_to_numpy(one), ops.convert_to_numpy(two)
    np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max())


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_equal_to_the_keras_layer_with_everything_off(case) -> None:
    for calibrated in (False, True):
        analog, plain, inputs = twins(case, crossbar=IDEAL, calibrated=calibrated)
        for training in (False, True):
            assert_close(analog(inputs, training=training), plain(inputs), 1e-6)
    assert analog.compute_output_shape(inputs.shape) == plain.compute_output_shape(inputs.shape)
    assert analog.count_params() == plain.count_params() + 4, "input range, W_max, noise scale, ADC gain"


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_converters_are_off_before_calibration(case) -> None:
    analog, plain, inputs = twins(case, crossbar=Crossbar(dac_bits=2, adc_bits=2))
    assert not analog.calibrated
    assert_close(analog(inputs), plain(inputs), 1e-6)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_with_converters_equal_to_the_keras_layer_on_converted_values(case) -> None:
    analog, plain, inputs = twins(case, crossbar=Crossbar(dac_bits=5, adc_bits=6), calibrated=True)
    analog.input_range.assign(1.5)
    analog.adc_gain.gain.assign(2.0)
    adc_range = 2.0 * 1.5 * float(np.abs(plain.kernel.numpy()).max())
    bias, activation = plain.bias if plain.use_bias else 0.0, plain.activation
    if plain.use_bias:
        plain.bias = ops.zeros_like(plain.bias)
    plain.activation = None
    products = plain(convert(ops.convert_to_tensor(inputs), 1.5, 5))
    expected = convert(products, adc_range, 6) + bias
    expected = expected if activation is None else activation(expected)
    assert_close(analog(inputs), expected)
    assert np.abs(analog(inputs).numpy() - twins(case)[1](inputs).numpy()).max() > 1e-3


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_tiled_equals_untiled_with_ideal_converters(case) -> None:
    positions = int(np.prod(twins(case)[0].crossbar_shape()[:-2]))
    for tile in ({"rows": 3 * positions, "cols": 3}, {"rows": positions, "cols": 1}):
        analog, plain, inputs = twins(case, crossbar=IDEAL.replace(**tile), calibrated=True)
        assert analog.tiling.shape[0] > 1
        assert_close(analog(inputs), plain(inputs))
        with analog.fixed_noise(NoiseRealization(analog.crossbar_kernel())):
            assert_close(analog(inputs), plain(inputs))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_kernel_on_the_crossbar_computes_the_same(case) -> None:
    analog, plain, inputs = twins(case, crossbar=IDEAL)
    kernel = ops.convert_to_numpy(analog.crossbar_kernel())
    assert kernel.shape == analog.crossbar_shape()
    assert np.count_nonzero(kernel) == plain.kernel.numpy().size, "other cells of grouped kernels are zero"
    with analog.fixed_noise(NoiseRealization(kernel)):
        assert_close(analog(inputs), plain(inputs))


def test_row_blocks_are_converted_one_by_one() -> None:
    analog = AnalogDense(3, use_bias=False, crossbar=Crossbar(rows=4, dac_bits=None, adc_bits=4), calibrated=True)
    analog.build((None, 8))
    inputs = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    analog.adc_gain.gain.assign(3.0)
    kernel, adc_range = analog.kernel.numpy(), 3.0 * np.abs(analog.kernel.numpy()).max()
    parts = [convert(ops.convert_to_tensor(inputs[:, s] @ kernel[s]), adc_range, 4) for s in (slice(0, 4), slice(4, 8))]
    assert_close(analog(inputs), parts[0] + parts[1])
    whole = convert(ops.convert_to_tensor(inputs @ kernel), adc_range, 4)
    assert np.abs(analog(inputs).numpy() - whole.numpy()).max() > 0.1 * adc_range


def test_columns_of_other_tiles_have_their_own_adc_range() -> None:
    analog = AnalogConv2D(4, 2, use_bias=False, crossbar=Crossbar(cols=2, dac_bits=None, adc_bits=4), calibrated=True)
    analog.build((None, 5, 5, 2))
    inputs = np.random.default_rng(1).normal(size=(6, 5, 5, 2)).astype(np.float32)
    ranges = np.array([0.5, 0.5, 2.0, 2.0], np.float32)
    with analog.fixed_noise(NoiseRealization(analog.kernel.numpy(), adc_ranges=[ranges])):
        outputs = analog(inputs).numpy()
    products = ops.convert_to_tensor(ops.conv(inputs, analog.kernel.numpy(), padding="valid"))
    for first, value_range in ((0, 0.5), (2, 2.0)):
        assert_close(outputs[..., first : first + 2], convert(products[..., first : first + 2], value_range, 4))


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"crossbar": "aon_cim_9bit"}, UnknownNameError, "Unknown hardware preset. Did you mean 'aon_cim_"),
        ({"crossbar": 8}, InvalidArgumentError, "Hardware must be a Crossbar"),
        ({"weight_noise": -0.1}, InvalidArgumentError, "`weight_noise` of AnalogDense must be a number from 0 to 10"),
        ({"weight_noise": float("nan")}, InvalidArgumentError, "`weight_noise` of AnalogDense"),
        ({"adc_gain": 0.5}, InvalidArgumentError, "`adc_gain` of AnalogDense must be an ADCGain"),
    ],
)
def test_wrong_arguments_are_one_sentence(settings, error, sentence) -> None:
    with pytest.raises(error, match=sentence):
        AnalogDense(3, **settings)


def test_a_kernel_taller_than_a_tile_is_one_sentence() -> None:
    layer = AnalogConv2D(3, 5, crossbar=Crossbar(rows=24))
    with pytest.raises(ConversionError, match="needs 25 rows for one input channel, a tile has 24. Leave this layer"):
        layer.build((None, 9, 9, 1))
