"""Layers on the standard crossbar: per-column scales, ranges per tile, fixed ADCs and non-idealities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets import crossbar as crossbars
from analognets import devices, to_analog
from analognets.crossbar import forward
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError
from analognets.layers import (
    AnalogConv2D,
    AnalogDense,
    AnalogDepthwiseConv2D,
    analog_layers,
    calibrate,
    freeze_weight_range,
    set_hardware,
)
from analognets.layers.noise_realization import NoiseRealization

RNG = np.random.default_rng(0)
STANDARD = crossbars.get("aimc_standard")
IDEAL = STANDARD.replace(nonidealities=(), dac_bits=None, adc_bits=None, device=devices.IdealDevice())


def tiles(crossbar: crossbars.Crossbar, rows: int, cols: int = 512) -> crossbars.Crossbar:
    return crossbar.replace(rows=rows, cols=cols)


def ready(layer: Any, inputs: np.ndarray) -> Any:
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    freeze_weight_range(model, sigma=None)
    calibrate(model, inputs)
    return model


DENSE = RNG.normal(size=(16, 20)).astype("float32")
IMAGES = RNG.normal(size=(4, 6, 6, 8)).astype("float32")


@pytest.mark.parametrize("scale", ["layer", "tile", "column"])
@pytest.mark.parametrize(
    ("analog", "plain", "inputs"),
    [
        (lambda c: AnalogDense(7, crossbar=tiles(c, 8, 4)), lambda: keras.layers.Dense(7), DENSE),
        (lambda c: AnalogConv2D(5, 3, crossbar=tiles(c, 36, 2)), lambda: keras.layers.Conv2D(5, 3), IMAGES),
        (
            lambda c: AnalogConv2D(6, 3, groups=2, padding="same", crossbar=tiles(c, 36)),
            lambda: keras.layers.Conv2D(6, 3, groups=2, padding="same"),
            IMAGES,
        ),
        (
            lambda c: AnalogDepthwiseConv2D(3, depth_multiplier=2, crossbar=tiles(c, 36)),
            lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
            IMAGES,
        ),
    ],
    ids=["dense", "conv", "grouped", "depthwise"],
)
def test_with_ideal_parts_a_layer_equals_its_keras_layer(scale: str, analog: Any, plain: Any, inputs: Any) -> None:
    layer, twin = analog(IDEAL.replace(weight_scale=scale)), plain()
    model = ready(layer, inputs)
    twin.build(inputs.shape)
    for target, source in zip(twin.weights, [layer.kernel_variable, layer.bias], strict=True):
        target.assign(source)
    for training in (False, True):
        np.testing.assert_allclose(layer(inputs, training=training), twin(inputs), atol=2e-5)
    with layer.fixed_noise(NoiseRealization(layer.crossbar_kernel(), seed=keras.random.SeedGenerator(1))):
        np.testing.assert_allclose(model(inputs), twin(inputs), atol=2e-5)


def test_each_column_of_each_row_block_has_its_range_and_stays_inside_of_it() -> None:
    layer = AnalogDense(3, crossbar=tiles(STANDARD, 10))
    ready(layer, DENSE)
    kernel = np.abs(layer.kernel.numpy())
    want = np.stack([kernel[:10].max(0), kernel[10:].max(0)])
    np.testing.assert_allclose(layer.weight_range(), want)
    assert layer.input_range.shape == (2,)
    layer.kernel.assign(layer.kernel_variable.constraint(layer.kernel + 10.0))
    np.testing.assert_allclose(layer.kernel.numpy(), np.repeat(want, 10, axis=0))


def test_clipping_by_sigma_never_widens_a_column() -> None:
    layer = AnalogDense(30, crossbar=STANDARD)
    model = keras.Sequential([keras.Input((20,)), layer])
    largest, spread = np.abs(layer.kernel.numpy()).max(0), layer.kernel.numpy().std()
    freeze_weight_range(model, sigma=1.5)
    np.testing.assert_allclose(layer.w_max.numpy()[0], np.minimum(largest, 1.5 * spread), rtol=1e-6)


def test_ranges_of_row_blocks_come_from_their_own_inputs() -> None:
    inputs = DENSE * np.r_[np.full(10, 0.1), np.full(10, 3.0)].astype("float32")
    layer = AnalogDense(3, crossbar=tiles(STANDARD, 10))
    model = keras.Sequential([keras.Input((20,)), layer])
    calibrate(model, inputs, batch_size=8, rule="abs_max")
    batches = np.abs(inputs).reshape(2, 8, 20)
    want = [batches[..., :10].max((1, 2)).mean(), batches[..., 10:].max((1, 2)).mean()]
    np.testing.assert_allclose(layer.input_range.numpy(), want, rtol=1e-6)
    assert not layer.nonnegative
    calibrate(model, np.abs(inputs), percentile=100)
    assert not layer.nonnegative, "320 numbers may have no negative one by chance"
    calibrate(model, np.tile(np.abs(inputs), (4, 1)), percentile=100)
    assert layer.nonnegative
    with pytest.raises(InvalidArgumentError, match="`rule` of calibrate must be one of"):
        calibrate(model, inputs, rule="largest")


def test_a_chip_computes_what_forward_says_block_by_block() -> None:
    crossbar = tiles(STANDARD, 10).with_nonideality("adc_gain_spread", deviation=0.1)
    layer = AnalogDense(4, crossbar=crossbar, use_bias=False)
    ready(layer, DENSE)
    kernel, chips = layer.crossbar_kernel(), layer.draw_periphery([3, 4])
    scales = np.asarray([[1.1], [0.9]], np.float32)
    want = 0.0
    deterministic = crossbar.without("short_term_noise", "output_noise")
    layer.crossbar = deterministic
    for i, rows in enumerate((slice(0, 10), slice(10, 20))):
        want = want + scales[i, 0] * forward(
            deterministic, DENSE[:, rows], kernel[rows], input_range=layer.input_range[i],
            weight_scale=layer.w_max[i], periphery=chips[i],
        )  # fmt: skip
    with layer.fixed_noise(NoiseRealization(kernel, scales=scales, periphery=chips)):
        np.testing.assert_allclose(layer(DENSE), want, rtol=1e-5, atol=1e-6)


def test_inference_without_a_chip_is_deterministic_and_training_is_not() -> None:
    layer = AnalogDense(4, crossbar=STANDARD)
    ready(layer, DENSE)
    np.testing.assert_array_equal(layer(DENSE), layer(DENSE))
    assert np.abs(layer(DENSE, training=True) - layer(DENSE, training=True)).max() > 0.01


def test_gaussian_noise_is_a_share_of_each_columns_range() -> None:
    layer = AnalogDense(4, crossbar=IDEAL, weight_noise=0.1, seed=1)
    layer.build((None, 2000))
    layer.kernel.assign(layer.kernel * np.asarray([1.0, 2.0, 5.0, 0.1], np.float32))
    noise = (layer.effective_kernel(True) - layer.kernel).numpy()
    want = 0.1 * layer.weight_range().numpy()[0]
    np.testing.assert_allclose(noise.std(0), want, rtol=4.5 / np.sqrt(2 * 2000))


def test_device_noise_follows_the_devices_law_and_keeps_signs_and_zeros() -> None:
    device = devices.PCM.like_aihwkit(read_noise_scale=0)
    layer = AnalogDense(4, crossbar=IDEAL.replace(device=device), weight_noise=3.0, noise_model="device", seed=1)
    layer.build((None, 20_000))
    g = np.asarray([0.0, 0.3, -0.6, 1.0], np.float32)
    layer.kernel.assign(np.broadcast_to(0.5 * g, (20_000, 4)))
    layer.freeze_weight_range(0.5)
    noisy = layer.effective_kernel(True).numpy()
    sigma = 3.0 * 0.5 * (0.26348 + 1.9650 * np.abs(g) - 1.1731 * g**2) / 25
    far = [2, 3]  # so far from zero that none is reflected
    np.testing.assert_allclose(noisy.std(0)[far], sigma[far], rtol=4.5 / np.sqrt(2 * 20_000))
    assert not noisy[:, 0].any()
    assert (np.sign(noisy[:, 1:]) == np.sign(g[1:])).all()


def test_read_noise_adds_to_the_first_reading() -> None:
    g = np.asarray([0.1, 0.5, 1.0], np.float32)
    device = devices.PCM.like_aihwkit()
    states = device.program(np.tile(g * 25, (40_000, 1)), seed=1)
    readings = np.asarray(device.read(states, 0.0, seed=2)) / 25
    np.testing.assert_allclose(readings.std(0), device.first_deviation(g), rtol=0.03)
    assert not np.asarray(devices.IdealDevice().first_deviation(g)).any()
    reram = devices.ReRAM()
    got = np.asarray(reram.read(reram.program(np.tile(g * 40, (40_000, 1)), seed=1), 1.0)) / 40
    np.testing.assert_allclose(got.std(0), reram.first_deviation(g), rtol=0.03)


def test_drop_connect_drops_its_share_and_draws_anew() -> None:
    layer = AnalogDense(100, crossbar=IDEAL, drop_connect=0.3, seed=1)
    layer.build((None, 100))
    one, other = (layer.effective_kernel(True).numpy() for _ in range(2))
    assert abs((one == 0).mean() - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / 10_000)
    assert ((one == 0) != (other == 0)).any()
    assert np.all((one == 0) | (one == layer.kernel.numpy()))
    with pytest.raises(InvalidArgumentError, match="`drop_connect` of AnalogDense must"):
        AnalogDense(3, drop_connect=1.0)
    with pytest.raises(InvalidArgumentError, match="`noise_model` of AnalogDense must be one of"):
        AnalogDense(3, noise_model="pink")


@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_training_step_that_is_compiled_computes_what_a_plain_one_does(nonnegative: bool) -> None:
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compiles a step of TensorFlow")
    images = RNG.normal(size=(4, 14, 14, 8)).astype("float32")
    images = abs(images) if nonnegative else images
    crossbar = STANDARD.with_strength("ir_drop", 20.0).with_strength("short_term_noise", 0.1)

    def step(compiled: bool) -> tuple[np.ndarray, list[np.ndarray], set[str]]:
        keras.utils.set_random_seed(0)
        layer = AnalogConv2D(8, 3, crossbar=crossbar, seed=1, weight_noise=1.0, noise_model="device")
        ready(layer, images)
        layer.seed_generator.state.assign(np.asarray([1, 0]))

        def gradients(inputs: Any) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                outputs = layer(inputs, training=True)
                loss = tf.reduce_mean(outputs**2)
            return outputs, tape.gradient(loss, [layer.kernel.value, layer.input_range.value])

        run = tf.function(gradients) if compiled else gradients
        outputs, found = run(tf.constant(images))
        graph = run.get_concrete_function(tf.constant(images)).graph.as_graph_def() if compiled else None
        parts = {key for one in graph.library.function for key in one.attr} if compiled else set()
        return np.asarray(outputs), [np.asarray(one) for one in found], parts

    (plain, by_hand, _), (outputs, found, parts) = step(False), step(True)
    assert "_XlaMustCompile" in parts  # else this compares a thing with itself
    other = np.abs(outputs - plain) > 1e-4 * np.abs(plain).max()
    assert other.mean() < 2e-3  # a rounding may decide between two steps of the ADC
    for one, expected in zip(found, by_hand, strict=True):
        np.testing.assert_allclose(one, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_a_held_layer_draws_once() -> None:
    layer = AnalogDense(4, crossbar=STANDARD.without("short_term_noise", "output_noise"), weight_noise=0.1)
    ready(layer, DENSE)
    with layer.fixed_noise(layer.realization_of_loop(True)):
        one, other = layer(DENSE, training=True), layer(DENSE, training=True)
    np.testing.assert_array_equal(one, other)
    assert np.abs(layer(DENSE, training=True) - one).max() > 1e-3


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            keras.layers.Conv2D(8, 3, name="conv"),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="dense"),
        ]
    )


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    images = RNG.normal(size=(200, 6, 6, 4)).astype("float32")
    labels = images.mean((1, 2))[:, :3].argmax(-1)
    keras.utils.set_random_seed(1)
    net = network()
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(images, labels, epochs=30, verbose=0)
    analog = to_analog(net, tiles(STANDARD, 64), weight_noise=2.0)
    for layer in analog_layers(analog):
        layer.noise_model = "device"
    freeze_weight_range(analog, sigma=2.5)
    calibrate(analog, images)
    analog.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [layer.input_range.numpy() for layer in analog_layers(analog)]
    analog.fit(images, labels, epochs=5, verbose=0)
    assert all((layer.input_range.numpy() != old).all() for layer, old in
               zip(analog_layers(analog), before, strict=True))  # fmt: skip
    return analog, images, labels


def test_a_trained_network_is_programmed_stored_and_read_again(trained: Any, tmp_path: Path) -> None:
    from analognets.deploy.chips.chips import Chips, program

    analog, images, labels = trained
    chips = program(analog, chips=2, seed=1)
    table = chips.evaluate((images, labels), at=["1h", "1y"])
    assert table["accuracy"].min() > 0.6
    np.testing.assert_array_equal(chips.evaluate((images, labels), at=["1h", "1y"])["accuracy"], table["accuracy"])
    outputs = chips.predict(images, chip=1, at="1h")
    assert np.abs(outputs - chips.predict(images, chip=0, at="1h")).max() > 0.01
    chips.save(tmp_path / "chips")
    np.testing.assert_array_equal(Chips.load(tmp_path / "chips", analog).predict(images, chip=1, at="1h"), outputs)
    with pytest.raises(ConversionError, match="one range a layer.*'aimc_standard'"):
        chips.export_targets(tmp_path / "targets")


def test_drift_is_compensated_tile_by_tile(trained: Any) -> None:
    from analognets.deploy.chips.chips import program

    analog, images, _ = trained
    clean = analog.predict(images, verbose=0)
    chips = program(analog, chips=3)
    size = {on: np.mean([np.abs(chips.predict(images, chip=i, at="1y", drift_compensation=on)).mean()
                         for i in range(3)]) for on in (True, False)}  # fmt: skip
    assert size[False] < 0.75 * np.abs(clean).mean() < size[True]


def test_files_and_copies_keep_ranges_and_settings(trained: Any, tmp_path: Path) -> None:
    analog, images, _ = trained
    analog.save(tmp_path / "analog.keras")
    again = keras.models.load_model(tmp_path / "analog.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), analog.predict(images, verbose=0))
    for one, other in zip(analog_layers(analog), analog_layers(again), strict=True):
        assert one.noise_model == other.noise_model == "device"
        assert one.nonnegative == other.nonnegative == (one.name == "dense")
        assert one.w_max.shape == other.w_max.shape == (one.tiling.shape[0], one.crossbar_shape()[-1])


def test_hardware_is_exchanged_in_place_for_all_or_some_layers(trained: Any) -> None:
    from analognets.deploy.chips.chips import program

    analog, images, _ = trained
    old = analog_layers(analog)[0].crossbar
    try:
        set_hardware(analog, {"conv": old.scaled("output_noise", 100.0)})
        assert [layer.crossbar.nonideality("output_noise").strength for layer in analog_layers(analog)] == [4.0, 0.04]
        noisy = program(analog, chips=1).predict(images)
    finally:
        set_hardware(analog, old)
    calm = program(analog, chips=1).predict(images)
    assert np.abs(noisy - calm).mean() > 3 * np.abs(calm - analog.predict(images, verbose=0)).mean()
    with pytest.raises(ConversionError, match="can change in all but rows.*rows=512 instead of 64"):
        set_hardware(analog, "aimc_standard")
    with pytest.raises(UnknownNameError, match="analog layer.*'convv'"):
        set_hardware(analog, {"convv": old})
