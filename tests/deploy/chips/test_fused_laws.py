"""Fused evaluation computes what the layers do, for every network; where it would not, the layers do it themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import program
from analognets.deploy.chips.proof import proven_twin, random_inputs
from analognets.deploy.chips.runtime import Runner
from analognets.errors import InvalidArgumentError
from analognets.layers import AnalogDense, analog_layers, calibrate, freeze_weight_range

L = keras.layers
RNG = np.random.default_rng(0)
FINE = {"dac_bits": 16, "adc_bits": 16}
"""Converters so fine that a value on the other side of a step is no difference that could be seen."""


def analog_of(model: keras.Model, inputs: Any, **hardware: Any) -> keras.Model:
    analog = to_analog(model, Crossbar(device="pcm", **{**FINE, **hardware}))
    freeze_weight_range(analog, sigma=None)
    calibrate(analog, [inputs])
    return analog


def differences(analog: keras.Model, inputs: Any, **settings_: Any) -> float:
    """Return the largest difference between the automatic and the plain way, as a share of the outputs' range."""
    chips = program(analog, 1)
    auto, plain = (
        keras.tree.flatten(chips.predict(inputs, at="1d", mode=mode, **settings_)) for mode in ("auto", "plain")
    )
    return max(float(np.abs(a - b).max() / max(np.ptp(b), 1e-6)) for a, b in zip(auto, plain, strict=True))


# Blocks of random networks, from inputs (height, width, channels): each keeps the number of axes.
def norm(draw: Any, x: Any) -> Any:
    made = L.BatchNormalization(
        axis=draw(st.sampled_from([-1, -1, 1] if x.shape[1] else [-1])),
        scale=draw(st.booleans()),
        center=draw(st.booleans()),
        gamma_initializer=keras.initializers.RandomUniform(-1.5, 1.5, seed=1),
        beta_initializer=keras.initializers.RandomNormal(0, 0.5, seed=2),
        moving_mean_initializer=keras.initializers.RandomNormal(0, 0.3, seed=3),
        moving_variance_initializer=keras.initializers.RandomUniform(0.3, 2.0, seed=4),
    )
    return made(x)


def activation(draw: Any, x: Any) -> Any:
    kinds: list[Callable[[], Any]] = [
        L.ReLU,
        lambda: L.Activation("relu"),
        lambda: L.ReLU(max_value=1.0),
        lambda: L.ReLU(threshold=0.2),
        lambda: L.ReLU(negative_slope=0.3),
        lambda: L.LeakyReLU(0.2),
        lambda: L.PReLU(alpha_initializer="ones"),
        lambda: L.Activation("tanh"),
        lambda: L.Activation("linear"),
        lambda: L.Softmax(),
        lambda: L.Dropout(0.5),
    ]
    return draw(st.sampled_from(kinds))()(x)


def product(draw: Any, x: Any, layer: Any = None) -> Any:
    own = {
        "use_bias": draw(st.booleans()),
        "bias_initializer": keras.initializers.RandomNormal(0, 0.3, seed=5),
        "activation": draw(st.sampled_from([None, "relu", "linear", "relu6", "sigmoid"])),
    }
    channels = x.shape[-1]
    kinds: list[Callable[[], Any]] = [
        lambda: L.Conv2D(channels, draw(st.sampled_from([1, 2, (1, 3)])), padding="same", **own),
        lambda: L.Conv2D(2 * channels, 2, padding="same", groups=channels, **own),
        lambda: L.DepthwiseConv2D(2, padding="same", depth_multiplier=draw(st.sampled_from([1, 2])), **own),
        lambda: L.SeparableConv2D(channels, 2, padding="same", **own),
        lambda: L.Dense(channels, **own),
        lambda: L.EinsumDense("bhwc,cd->bhwd", (None, None, channels), bias_axes="d", activation=own["activation"]),
        lambda: L.EinsumDense("bhwc,wv->bhvc", (None, x.shape[2], channels), bias_axes="v"),
        lambda: L.EinsumDense("bhwc,cd->bhdw", (None, channels, x.shape[2])),
        lambda: L.EinsumDense("bhwc,cd->bhwd", (*x.shape[1:3], channels), bias_axes="hd"),
    ]
    return draw(st.sampled_from(kinds))()(x)


ORDERS = [
    (product,),
    (product, norm),
    (product, norm, activation),
    (product, activation),
    (activation, product),
    (norm, activation),
]


def random_network(draw: Any) -> keras.Model:
    keras.utils.set_random_seed(draw(st.integers(0, 9)))
    start = x = keras.Input((4, 3, 2))
    for _ in range(draw(st.integers(1, 3))):
        before = x
        for block in draw(st.sampled_from(ORDERS)):
            x = block(draw, x)
        after = draw(st.sampled_from(["", "", "add", "pool", "twice", "nested", "concatenate"]))
        if after == "add" and x.shape == before.shape:
            x = L.Add()([x, before])
        elif after == "concatenate" and x.shape[1:3] == before.shape[1:3]:
            x = L.Concatenate()([before, x])
        elif after == "pool":
            x = draw(st.sampled_from([L.MaxPooling2D, L.AveragePooling2D]))(2, padding="same")(x)
        elif after == "twice":
            shared = L.Conv2D(x.shape[-1], 2, padding="same", activation="relu")
            x = shared(shared(x))
        elif after == "nested":
            x = keras.Sequential([keras.Input(x.shape[1:]), L.Conv2D(2, 1), L.BatchNormalization(), L.ReLU()])(x)
    if draw(st.booleans()):  # a sequence, in which steps may be missing
        x = L.Reshape((-1, x.shape[-1]))(x)
        masked = draw(st.booleans())
        x = L.Masking(0.0)(x) if masked else (L.Conv1D(3, 1) if draw(st.booleans()) else L.DepthwiseConv1D(1))(x)
        x = L.Dense(3, activation="relu")(x)
        x = L.GRU(3)(x) if masked or draw(st.booleans()) else L.GlobalAveragePooling1D()(x)
    else:
        x = L.GlobalAveragePooling2D()(x)
    outputs = L.Dense(3)(x)
    return keras.Model(start, draw(st.sampled_from([outputs, [outputs, x], {"a": [outputs], "b": x}])))


# Keras draws seeds of initializers with Python's `random` when a layer is made.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.filterwarnings("ignore:Calibration data gave nothing but zeros:analognets.errors.DataWarning")
@settings(max_examples=12, derandomize=True, phases=[Phase.generate])
@given(data=st.data(), rule=st.sampled_from(["global", "column", "input", None]), compensation=st.booleans())
def test_fused_is_plain_for_every_network(data: Any, rule: str | None, compensation: bool) -> None:
    net = random_network(data.draw)
    inputs = RNG.normal(size=(20, 4, 3, 2)).astype("float32")
    inputs[:, 2:] = np.where(RNG.random((20, 1, 1, 1)) < 0.5, 0, inputs[:, 2:])
    analog = analog_of(net, inputs, drift_compensation=rule)
    assert differences(analog, inputs, drift_compensation=compensation) < 0.003


def sequence(*blocks: Any, shape: tuple[int, ...] = (9, 6), **settings_: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape, **settings_), *blocks, L.Dense(3)])


@keras.saving.register_keras_serializable(package="tests_fused")
class MarksSteps(L.Layer):
    """Marks steps as not there."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return keras.ops.any(inputs > 0.5, axis=-1)

    def call(self, inputs: Any) -> Any:
        return inputs


@keras.saving.register_keras_serializable(package="tests_fused")
class Scaled(L.ReLU):
    """A ReLU of one's own that does something else."""

    def call(self, inputs: Any) -> Any:
        return 0.3 * super().call(inputs)


def functional(make: Callable[[Any], Any], shape: tuple[int, ...] = (9, 6)) -> keras.Model:
    keras.utils.set_random_seed(0)
    start = keras.Input(shape)
    return keras.Model(start, make(start))


POOL = L.GlobalAveragePooling1D
PLAIN = {
    "masking": (lambda: sequence(L.Masking(), L.Dense(8, activation="relu"), POOL()), "makes masks"),
    "own mask": (lambda: sequence(MarksSteps(), L.Dense(8), POOL()), "makes masks"),
    "masked recurrence": (lambda: sequence(L.Masking(), L.Dense(8), L.LSTM(4)), "makes masks"),
    "nested mask": (
        lambda: sequence(keras.Sequential([keras.Input((9, 6)), L.Masking()]), L.Dense(8), POOL()),
        "makes masks",
    ),
    "transposed": (
        lambda: sequence(L.EinsumDense("abc,bd->acd", (None, 9)), shape=(9, 9)),
        "lays out its inputs, outputs or bias",
    ),
    "several outputs": (
        lambda: sequence(L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), L.Reshape((9, 6))),
        "lays out",
    ),
    "bias of steps": (lambda: sequence(L.EinsumDense("abc,cd->abd", (9, 6), bias_axes="bd")), "lays out"),
    "in training": (
        lambda: functional(lambda x: L.Dense(3)(L.BatchNormalization()(L.Dense(4)(x), training=True))),
        None,
    ),
    "own layer": (lambda: sequence(L.Dense(4), Scaled()), None),
    "cut off": (lambda: sequence(L.Dense(4, activation="relu6")), "activation other than ReLU"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_can_not_be_fused_is_run_as_it_is(name: str) -> None:
    make, why = PLAIN[name]
    inputs = RNG.normal(size=(20, *make().input_shape[1:])).astype("float32")
    inputs[:, 4:] = 0
    analog = analog_of(make(), inputs)
    runner = Runner(analog)
    if why is not None:
        assert runner.mode == "plain" and why in runner.note
        with pytest.raises(InvalidArgumentError, match=f"where .*{why}.* Use mode='plain'"):
            Runner(analog, mode="fused")
    assert differences(analog, inputs) < 0.003


def test_tokens_of_an_embedding_that_masks_none_are_fused() -> None:
    net = sequence(L.Embedding(11, 6), L.Dense(5, activation="relu"), POOL(), shape=(9,))
    tokens = RNG.integers(0, 11, (20, 9))
    analog = analog_of(net, tokens)
    assert Runner(analog).mode == "fused" and Runner(analog).note == ""
    assert differences(analog, tokens) < 0.003
    drawn = random_inputs(analog, np.random.default_rng(0), 5)
    assert drawn.shape == (8, 9) and 0 <= drawn.min() and drawn.max() < 11
    masked = analog_of(sequence(L.Embedding(11, 6, mask_zero=True), L.Dense(5), POOL(), shape=(9,)), tokens)
    assert Runner(masked).mode == "plain" and differences(masked, tokens) < 0.003


class Doubled(keras.Model):
    """A functional model with a call of its own."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return 2 * super().call(inputs, training=training, mask=mask)


def test_a_model_with_a_call_of_its_own_is_run_as_it_is() -> None:
    start = keras.Input((6,))
    gain = AnalogDense(4, crossbar=Crossbar(device="pcm", **FINE))
    model = Doubled(start, AnalogDense(3, crossbar=gain.crossbar, adc_gain=gain.adc_gain)(gain(start)))
    inputs = RNG.normal(size=(20, 6)).astype("float32")
    calibrate(model, inputs)
    assert "Doubled has a call of its own" in Runner(model).note
    assert differences(model, inputs) < 0.003


def test_a_fused_twin_that_is_wrong_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch proves it, whatever the rules above have missed."""
    from analognets.deploy.chips import fused

    net = sequence(L.Dense(4), L.BatchNormalization(epsilon=0.5), L.ReLU(max_value=0.5), POOL())
    analog = analog_of(net, RNG.normal(size=(20, 9, 6)).astype("float32"))
    assert proven_twin(analog)[1] == ""
    before = [(layer.crossbar, layer.get_weights()) for layer in analog_layers(analog)]
    with monkeypatch.context() as patch:
        patch.setattr(fused, "_is_relu", lambda layer: isinstance(layer, L.ReLU))
        twin, why = proven_twin(analog)
    assert twin is None and "differ by" in why and "of their range on a random batch" in why
    for layer, (crossbar, weights) in zip(analog_layers(analog), before, strict=True):
        assert layer.crossbar is crossbar
        for one, two in zip(layer.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, two)


def test_small_samples_are_judged_beside_small_ones() -> None:
    """A difference of an ordinary sample's own size shows, though one of the batch is 300 times as large."""
    from analognets.deploy.chips.proof import LEVELS, _unlike

    x = np.random.default_rng(0).normal(size=(len(LEVELS), 6)) * np.array(LEVELS)[:, None]
    assert _unlike([x + np.tanh(x) / 2], [x]) != ""
    assert _unlike([x], [x * (1 + 1e-4)]) == ""


@pytest.mark.parametrize("shape", [(None, 2), (None, None, 2)])
def test_open_axes_are_given_a_size(shape: tuple[int | None, ...]) -> None:
    keras.utils.set_random_seed(0)
    rank = len(shape) - 1
    layers = [L.Conv1D(3, 5), POOL()] if rank == 1 else [L.Conv2D(3, 5), L.GlobalMaxPooling2D()]
    net = keras.Sequential([keras.Input(shape), *layers, L.Dense(3)])
    inputs = RNG.normal(size=(20, *[12] * rank, 2)).astype("float32")
    analog = analog_of(net, inputs)
    assert Runner(analog).mode == "fused" and differences(analog, inputs) < 0.003
