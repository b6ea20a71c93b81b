from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from analognets.training.optimizers import LabelAccuracy, SmoothedCrossentropy, WarmupSchedule, make_optimizer
from analognets.training.recipe import Stage


def rate(schedule: WarmupSchedule, step: int) -> float:
    return float(schedule(step))


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-5, 1), st.integers(1, 500), st.integers(0, 600), st.floats(0, 1))
def test_schedule_rises_to_its_peak_and_falls_to_its_floor(peak: float, total: int, warmup: int, floor: float) -> None:
    schedule = WarmupSchedule(peak, total, warmup, floor)
    warmup = schedule.warmup_steps
    rates = [rate(schedule, step) for step in sorted({0, warmup // 2, max(warmup - 1, 0), warmup, total, 2 * total})]
    assert all(0 <= value <= peak * (1 + 1e-5) for value in rates)
    assert rate(schedule, max(warmup - 1, 0)) == pytest.approx(peak, rel=1e-4)
    if warmup < total:
        assert rate(schedule, total) == pytest.approx(peak * floor, rel=1e-4, abs=peak * 1e-6)
    assert rate(schedule, 2 * total) == rate(schedule, 3 * total)


def test_schedule_by_hand() -> None:
    schedule = WarmupSchedule(1.0, 12, 4, 0.2)
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, *(0.2 + 0.4 * (1 + np.cos(np.pi * n / 8)) for n in range(1, 8)), 0.2]
    assert [rate(schedule, step) for step in range(13)] == pytest.approx(expected, abs=1e-6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert copy.get_config() == schedule.get_config()


@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_loss_without_smoothing_is_that_of_keras(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5)).astype("float32"), rng.integers(0, 5, 8).reshape(shape)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(SmoothedCrossentropy()(labels, logits)) == pytest.approx(float(plain(labels, logits)), rel=1e-6)


def test_smoothed_loss_is_that_of_smoothed_targets() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(8, 5)).astype("float32"), rng.integers(0, 5, 8)
    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    expected = float(plain(np.eye(5)[labels], logits))
    assert float(SmoothedCrossentropy(0.3)(labels, logits)) == pytest.approx(expected, rel=1e-6)
    shares = keras.ops.softmax(logits)
    assert float(SmoothedCrossentropy(0.3, from_logits=False)(labels, shares)) == pytest.approx(expected, rel=1e-5)


def two_variables() -> tuple[keras.Variable, keras.Variable]:
    return keras.Variable(np.ones((2, 2), "float32")), keras.Variable(np.float32(1.0))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_scaled_variables_take_scaled_steps(name: str) -> None:
    moves = []
    for scale in (1.0, 0.25, 0.0):
        kernel, gain = two_variables()
        stage = Stage(optimizer=name, warmup_epochs=0.0, schedule="constant")
        optimizer = make_optimizer(stage, [kernel, gain], steps_per_epoch=5, scaled=[gain], scale=scale)
        for _ in range(3):
            optimizer.apply([np.full((2, 2), 0.5, "float32"), np.float32(0.5)], [kernel, gain])
        moves.append((1 - float(kernel.numpy()[0, 0]), 1 - float(gain.numpy())))
    (kernel_move, full), (_, quarter), (_, none) = moves
    assert {move[0] for move in moves} == {kernel_move}
    assert full == pytest.approx(kernel_move, rel=1e-5)
    assert quarter == pytest.approx(full / 4, rel=1e-3)
    assert none == 0


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_reaches_kernels_only(name: str) -> None:
    kernel, gain = two_variables()
    stage = Stage(optimizer=name, weight_decay=0.1, learning_rate=0.01, warmup_epochs=0.0, schedule="constant")
    optimizer = make_optimizer(stage, [kernel, gain], steps_per_epoch=5)
    optimizer.apply([np.zeros((2, 2), "float32"), np.float32(0.0)], [kernel, gain])
    assert kernel.numpy()[0, 0] == pytest.approx(1 - 0.1 * 0.01, rel=1e-6)
    assert float(gain.numpy()) == 1.0


def test_no_weight_decay_is_none_at_all() -> None:
    kernel, gain = two_variables()
    optimizer = make_optimizer(Stage(optimizer="adamw"), [kernel, gain], steps_per_epoch=5)
    optimizer.apply([np.zeros((2, 2), "float32"), np.float32(0.0)], [kernel, gain])
    assert float(kernel.numpy()[0, 0]) == 1.0


def test_gradients_are_clipped_by_their_global_norm() -> None:
    kernel, gain = two_variables()
    stage = Stage(optimizer="sgd", clip_norm=1.0, learning_rate=1.0, warmup_epochs=0.0, schedule="constant")
    optimizer = make_optimizer(stage, [kernel, gain], steps_per_epoch=5)
    optimizer.apply([np.full((2, 2), 30.0, "float32"), np.float32(0.0)], [kernel, gain])
    # One Nesterov step is (1 + momentum) times the clipped gradient, whose norm of 1 is 0.5 in each of four entries.
    assert kernel.numpy()[0, 0] == pytest.approx(1 - 1.9 * 0.5, rel=1e-5)


def test_shares_of_classes_are_targets_too() -> None:
    rng = np.random.default_rng(0)
    logits, shares = rng.normal(size=(7, 4)).astype("float32"), rng.dirichlet(np.ones(4), 7).astype("float32")
    labels = rng.integers(0, 4, 7)
    loss = SmoothedCrossentropy(0.1)
    wanted = -(0.9 * shares + 0.1 / 4) * log_softmax(logits, -1)
    np.testing.assert_allclose(loss(shares, logits), wanted.sum(-1).mean(), rtol=1e-5)
    np.testing.assert_allclose(loss(np.eye(4, dtype="float32")[labels], logits), loss(labels, logits), rtol=1e-6)
    accuracy = LabelAccuracy()
    accuracy.update_state(shares, logits)
    accuracy.update_state(labels, logits)
    right = (shares.argmax(-1) == logits.argmax(-1)).sum() + (labels == logits.argmax(-1)).sum()
    assert float(accuracy.result()) == pytest.approx(right / 14)
