"""Attention with analog projections against Keras'; a transformer block that makes its layers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets import crossbar as crossbars
from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import program
from analognets.devices import IdealDevice
from analognets.errors import UnknownNameError
from analognets.layers import (
    AnalogBlock,
    AnalogGroupQueryAttention,
    AnalogMultiHeadAttention,
    analog_layers,
    calibrate,
)

L = keras.layers
IDEAL = Crossbar(dac_bits=None, adc_bits=None)
TWINS = {AnalogMultiHeadAttention: L.MultiHeadAttention, AnalogGroupQueryAttention: L.GroupQueryAttention}
CASES: list[tuple[type, tuple[int, ...], dict[str, Any]]] = [
    (AnalogMultiHeadAttention, (2, 3), {}),
    (AnalogMultiHeadAttention, (2, 3), {"value_dim": 4, "output_shape": (2, 5), "use_gate": True, "use_bias": False}),
    (AnalogGroupQueryAttention, (3, 4, 2), {}),
    (AnalogGroupQueryAttention, (3, 4, 2), {"use_gate": True, "use_bias": False}),
]


@pytest.mark.parametrize(("kind", "sizes", "settings"), CASES)
def test_equal_to_keras_however_it_is_called(kind, sizes, settings) -> None:
    rng = np.random.default_rng(0)
    query, value = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 5, 8), (3, 6, 7)))
    made, plain = kind(*sizes, **settings, crossbar=IDEAL, calibrated=True), TWINS[kind](*sizes, **settings)
    made(query, value), plain(query, value)
    rest = [rng.normal(size=weight.shape) for weight in plain.get_weights()]
    plain.set_weights(rest)
    made.load_from(plain)
    calls = [
        {}, {"return_attention_scores": True}, {"use_causal_mask": True}, {"training": True},
        {"attention_mask": rng.random((3, 5, 6)) < 0.7}, {"key": rng.normal(size=(3, 6, 7)).astype(np.float32)},
    ]  # fmt: skip
    for call in calls:
        for a, b in zip(
            keras.tree.flatten(made(query, value, **call)), keras.tree.flatten(plain(query, value, **call)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    again = kind.from_config(made.get_config())
    again(query, value)
    again.load_from(plain)
    np.testing.assert_allclose(again(query, value), plain(query, value), rtol=1e-4, atol=1e-5)
    assert all(layer.name.startswith(f"{made.name}_") for layer in made.products.values())


@keras.saving.register_keras_serializable(package="tests_attention")
class Encoder(L.Layer):
    """A transformer encoder in the manner of KerasHub: it makes its layers in `build`."""

    def __init__(self, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        self._attention = L.MultiHeadAttention(self.heads, shape[-1] // self.heads, name="self_attention")
        self._attention.build(shape, shape)
        self._norms = [L.LayerNormalization(name=f"norm_{i}") for i in range(2)]
        self._feed = {"up": L.Dense(self.width, "gelu", name="up"), "down": L.Dense(shape[-1], name="down")}
        for norm in self._norms:
            norm.build(shape)
        self._feed["up"].build(shape)
        self._feed["down"].build((*shape[:-1], self.width))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self._norms[0](inputs + self._attention(inputs, inputs, training=training))
        return self._norms[1](x + self._feed["down"](self._feed["up"](x)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "heads": self.heads}


def transformer() -> keras.Model:
    inputs = keras.Input((7,), dtype="int32")
    x = L.Embedding(11, 8, mask_zero=True, name="words")(inputs)
    for index in range(2):
        x = Encoder(12, 2, name=f"encoder_{index}")(x)
    return keras.Model(inputs, L.Dense(3, name="out")(L.GlobalAveragePooling1D()(x)))


@pytest.fixture(scope="module")
def models() -> tuple[keras.Model, keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    plain = transformer()
    data = np.random.default_rng(0).integers(0, 11, (12, 7)).astype("int32")
    analog = to_analog(plain, crossbars.get("aimc_standard"), weight_noise=1.0, noise_model="device")
    np.testing.assert_allclose(analog(data), plain(data), rtol=1e-4, atol=1e-5)
    return plain, analog, data


def test_what_a_block_makes_itself_is_converted_and_named_after_it(models) -> None:
    _, analog, _ = models
    attention = ("query", "key", "value", "attention_output")
    names = {f"encoder_{i}_self_attention_{part}" for i in range(2) for part in attention}
    names |= {f"encoder_{i}_{part}" for i in range(2) for part in ("up", "down")} | {"out"}
    assert {layer.name for layer in analog_layers(analog)} == names
    report = analog.conversion_report
    assert {entry.layer for entry in report.converted} == names
    why = {entry.path: entry.why for entry in report.left}
    assert why["words"] == "a table look-up, not a product"
    assert why["encoder_1/norm_0"] == "normalisation, digital by design"
    assert why["encoder_1/self_attention"].startswith("scores and weighted sum")
    assert isinstance(analog.get_layer("encoder_0"), AnalogBlock)
    assert isinstance(analog.get_layer("encoder_0").block, Encoder)


@pytest.mark.parametrize(
    ("exempt", "missing"),
    [
        ("encoder_0", 6),
        ("encoder_0_self_attention_query", 1),
        (["encoder_0/self_attention/query", "encoder_1_up"], 2),
        ("encoder_1/self_attention", 4),
        ("up", 2),
    ],
)
def test_products_of_blocks_are_exempt_by_name(models, exempt, missing) -> None:
    plain, _, data = models
    analog = to_analog(plain, exempt=exempt)
    assert len(analog_layers(analog)) == 13 - missing
    assert sum(entry.why == "exempt by request" for entry in analog.conversion_report.left) >= missing
    np.testing.assert_allclose(analog(data), plain(data), rtol=1e-4, atol=1e-5)


def test_a_wrong_product_names_the_nearest(models) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'encoder_0_self_attention_query'"):
        to_analog(models[0], exempt="encoder_0_self_attention_quer")


def test_a_transformer_trains_is_saved_programmed_and_made_digital_again(models, tmp_path: Path) -> None:
    plain, analog, data = models
    calibrate(analog, data)
    analog.compile(keras.optimizers.Adam(0.01), "mse")
    losses = analog.fit(data, np.zeros((12, 3)), epochs=4, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    analog.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(data), analog(data), rtol=1e-5, atol=1e-6)
    table = program(loaded, chips=2).evaluate((data, np.zeros(12, int)), at=["25s", "1d"])
    assert len(table) == 4
    digital = to_digital(loaded)
    assert type(digital.get_layer("encoder_0")) is Encoder
    assert len(digital.variables) == len(plain.variables)
    again = to_analog(digital)
    np.testing.assert_allclose(again(data), digital(data), rtol=1e-4, atol=1e-5)
    twice = to_analog(to_analog(plain, exempt="out"), exempt=["encoder_0", "encoder_1"])
    assert len(analog_layers(twice)) == 13


def test_an_ideal_chip_computes_what_the_model_does(models) -> None:
    plain, _, data = models
    for rows in (1024, 5):
        analog = to_analog(plain, Crossbar(rows=rows, cols=rows, device=IdealDevice(), dac_bits=15, adc_bits=15))
        calibrate(analog, data)
        np.testing.assert_allclose(program(analog, 1).predict(data), plain(data), atol=5e-3)
