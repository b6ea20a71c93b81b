"""Models of KerasHub: functional ones with constructors of their own, which compile themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import analognets as an
from analognets.conversion import to_analog

hub = pytest.importorskip("keras_hub", reason="needs keras-hub")
RNG = np.random.default_rng(0)
TOKENS = {"token_ids": RNG.integers(1, 50, (4, 8)), "padding_mask": np.ones((4, 8), "int32")}
SMALL = {"vocabulary_size": 50, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}


def pictures() -> Any:
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64], stackwise_num_blocks=[1],
        stackwise_num_strides=[1], block_type="basic_block", image_shape=(16, 16, 3),
    )  # fmt: skip
    return hub.models.ResNetImageClassifier(backbone=backbone, num_classes=3), RNG.uniform(size=(4, 16, 16, 3))


def sentences() -> Any:
    model = hub.models.BertTextClassifier(hub.models.BertBackbone(**SMALL, max_sequence_length=8), num_classes=2)
    return model, {**TOKENS, "segment_ids": np.zeros((4, 8), "int32")}


def words() -> Any:
    return hub.models.GPT2CausalLM(backbone=hub.models.GPT2Backbone(**SMALL, max_sequence_length=8)), TOKENS


@pytest.mark.parametrize("make", [pictures, sentences, words])
def test_a_task_is_converted_programmed_and_read(make: Callable[[], Any]) -> None:
    keras.utils.set_random_seed(0)
    model, inputs = make()
    wanted = np.asarray(model(inputs))
    analog = to_analog(model, calibrate_on=inputs)
    assert type(analog) is type(model)
    assert [row.layer for row in analog.conversion_report.converted]
    np.testing.assert_allclose(to_analog(model)(inputs), wanted, atol=1e-5)
    on_chip = an.deploy.program(analog, chips=1, seed=0).predict(inputs, at="1d")
    assert 1e-6 < np.abs(on_chip - wanted).max() / np.abs(wanted).max() < 0.9


def test_a_backbone_under_a_head_of_ones_own_is_saved_and_read(tmp_path: Path) -> None:
    model, tokens = sentences()
    inputs = {name: keras.Input((8,), dtype="int32", name=name) for name in tokens}
    model = keras.Model(inputs, keras.layers.Dense(2)(model.backbone(inputs)["pooled_output"]))
    analog = to_analog(model, calibrate_on=tokens)
    assert len(analog.conversion_report.converted) > 5
    analog.save(tmp_path / "a.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "a.keras")(tokens), analog(tokens), atol=1e-5)


def test_a_language_model_generates_on_analog_layers() -> None:
    model, tokens = words()
    given = {**tokens, "padding_mask": np.repeat([[1, 1, 1, 1, 0, 0, 0, 0]], 4, axis=0)}
    found = []
    for one in (model, analog := to_analog(model), an.conversion.to_digital(analog)):
        assert type(one.backbone) is hub.models.GPT2Backbone
        one.compile(sampler="greedy")
        found.append(one.generate(given, stop_token_ids=None)["token_ids"])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
