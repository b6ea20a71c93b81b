"""The large networks of the zoo: sizes, and that small ones of the same kind run and convert as planned."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import pytest

import analognets as an
from analognets.conversion import plan, to_analog
from analognets.zoo.networks.bert import albert_base
from analognets.zoo.networks.imagenet import resnet18, resnet50
from analognets.zoo.networks.resnet import wide_resnet16
from analognets.zoo.networks.sequences import lstm_language_model, rnn_transducer, speech_lstm

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 20, (2, 6))
FRAMES = RNG.normal(size=(2, 6, 5)).astype("float32")
SMALL = {"classes": 4, "units": 6, "dropout": 0.0}
NETWORKS = {
    "albert": (
        partial(albert_base, (6,), vocabulary=20, embedding=8, dimension=16, depth=3, heads=2),
        TOKENS,
        (2, 2),
    ),
    "wide_resnet": (
        partial(wide_resnet16, (16, 16, 3), classes=5, factor=1, dropout=0.1),
        RNG.normal(size=(2, 16, 16, 3)).astype("float32"),
        (2, 5),
    ),
    "language model": (partial(lstm_language_model, (6,), classes=20, units=8), TOKENS, (2, 6, 20)),
    "speech": (partial(speech_lstm, (6, 5), depth=2, bottleneck=3, **SMALL), FRAMES, (2, 6, 4)),
    "transducer": (
        partial(rnn_transducer, (6, 5), depth=2, embedding=3, prediction=7, joint=5, **SMALL),
        [FRAMES, TOKENS % 4],
        (2, 6, 4),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_small_ones_run_and_convert_as_planned(name: str) -> None:
    build, inputs, shape = NETWORKS[name]
    keras.utils.set_random_seed(0)
    model = build()
    planned = plan(model, "aimc_standard")
    analog = to_analog(model, "aimc_standard")
    rows = analog.conversion_report.layers
    assert [(row.path, row.tiles, row.macs) for row in planned.layers] == [
        (row.path, row.tiles, row.macs) for row in rows
    ]
    assert {layer.kind for layer in planned.products if not layer.converted} <= {"PositionEmbedding"}
    expected = model(inputs)
    assert tuple(expected.shape) == shape
    np.testing.assert_allclose(analog(inputs), expected, atol=1e-4)


def test_a_block_that_runs_often_has_its_tiles_once() -> None:
    build = NETWORKS["albert"][0]
    once, thrice = (plan(build(depth=depth), "aimc_standard").converted for depth in (1, 3))
    assert [layer.tiles for layer in once] == [layer.tiles for layer in thrice]
    times = {layer.layer: (layer.macs or 0) // (first.macs or 1) for layer, first in zip(thrice, once, strict=True)}
    assert {number for label, number in times.items() if label.startswith("block")} == {3}
    assert {number for label, number in times.items() if not label.startswith("block")} == {1}


@pytest.mark.parametrize(
    ("build", "weights", "macs"),
    [
        (resnet18, 11_689_512, 1_814_073_344),
        (partial(resnet50, stride_first=True), 25_557_032, 3_857_973_248),  # as keras.applications has it
    ],
)
def test_the_large_ones_have_the_known_sizes(build: Callable[..., keras.Model], weights: int, macs: int) -> None:
    model = build(initializer="zeros")
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == weights
    assert sum(layer.macs or 0 for layer in plan(model, "aimc_standard").products) == macs
    assert model.output_shape == (None, 1000)


def test_a_strided_convolution_sees_the_picture_in_the_middle() -> None:
    picture = RNG.normal(size=(1, 64, 64, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    full = resnet18((64, 64, 3), classes=3)
    model = keras.Model(full.input, full.get_layer("stem").output)
    kernel = full.get_layer("stem").kernel
    padded = np.pad(picture, ((0, 0), (3, 3), (3, 3), (0, 0)))
    corner = np.tensordot(padded[0, 2:9, 4:11], kernel, axes=3)
    np.testing.assert_allclose(model(picture)[0, 1, 2], corner, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["albert_base", "bert_base", "lstm_language_model", "resnet18", "resnet50", "rnn_transducer", "speech_lstm"],
)
def test_the_zoo_exports_them(name: str) -> None:
    assert callable(getattr(an.zoo, name))
