"""What AdaBS costs an accelerator: counted by hand, and in proportion to the samples."""

from __future__ import annotations

import keras
import pytest

from analognets.conversion import to_analog
from analognets.deploy.accelerator import adabs_cost, cost, load_accelerator
from analognets.errors import ConversionError, InvalidArgumentError


def net() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(5, 3),
            layers.BatchNormalization(),
            layers.Conv2D(7, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


def test_passes_up_to_each_batch_norm_and_a_square_a_number() -> None:
    model = net()
    found, whole = adabs_cost(model, 50), cost(model)
    numbers = 36 * 5 + 16 * 7
    assert (found.channels, found.numbers) == ((5, 7), (36 * 5, 16 * 7))
    assert (found.state_bytes, found.stored_bytes, found.operations) == (8 * 7, 8 * 12, 3 * numbers)
    first, second = (layer.total_pj for layer in whole.layers[:2])
    square = load_accelerator("aon_cim").energy.mac.value
    assert found.energy_uj == pytest.approx(50 * (2 * first + second + square * numbers) / 1e6)
    assert found.seconds == pytest.approx(50 * sum(layer.time.end_ns for layer in whole.layers[:2]) / 1e9)
    assert found.inferences == pytest.approx(found.energy_uj / whole.energy_uj)
    twice = adabs_cost(model, 100)
    assert twice.energy_uj == pytest.approx(2 * found.energy_uj) and twice.state_bytes == found.state_bytes
    assert "876 digital operations a sample, 56 bytes of sums, 96 bytes stored" in str(found)


def test_what_has_no_cost_is_one_sentence() -> None:
    plain = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(ConversionError, match="needs a network with batch-norm. Received: model"):
        adabs_cost(plain)
    with pytest.raises(InvalidArgumentError, match="`samples` of adabs_cost must be a whole number from 2"):
        adabs_cost(net(), 1)


def test_a_network_costs_the_same_before_and_after_its_conversion() -> None:
    layers = keras.layers
    for stack in (
        [
            keras.Input((9, 9, 2)),
            layers.SeparableConv2D(4, 3),
            layers.BatchNormalization(),
            layers.SeparableConv2D(5, 3),
        ],
        [keras.Input((6, 5)), layers.LSTM(4, return_sequences=True), layers.BatchNormalization(), layers.GRU(3)],
    ):
        model = keras.Sequential([*stack, layers.BatchNormalization(name="last")])
        plain, analog = adabs_cost(model, 50), adabs_cost(to_analog(model), 50)
        assert (plain.energy_uj, plain.seconds) == (analog.energy_uj, analog.seconds)
        assert plain.seconds > 50 * cost(model).latency_us / 1e6, "the last batch-norm needs all products"


@pytest.mark.parametrize("functional", [False, True])
def test_a_nested_backbone_costs_what_its_layers_do(functional: bool) -> None:
    flat = net()
    inner = keras.Sequential([keras.Input((8, 8, 3)), *net().layers[:4]], name="backbone")
    head = [keras.layers.Flatten(), keras.layers.Dense(4)]
    nested = keras.Sequential([keras.Input((8, 8, 3)), inner, *head])
    if functional:
        inputs = keras.Input((8, 8, 3))
        nested = keras.Model(inputs, head[1](head[0](inner(inputs))))
    assert adabs_cost(nested, 50) == adabs_cost(flat, 50)
