"""Distillation: the loss in closed form, who is trained, and runs that resume to the same bits."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from analognets.conversion import to_analog
from analognets.errors import InvalidArgumentError, RecipeError
from analognets.training import Distiller, NoiseRamp, Progress, Run, WeightRangeRefresh, train


def net(seed: int, units: int = 3, activation: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(units, activation=activation)])


def batch(samples: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, 5)).astype("float32"), rng.integers(0, 3, samples)


@pytest.mark.parametrize("from_logits", [True, False])
def test_loss_in_closed_form(from_logits: bool) -> None:
    student, teacher = (net(seed, activation=None if from_logits else "softmax") for seed in (1, 2))
    temperature, share = 4.0, 0.6
    trainer = Distiller(student, teacher, temperature=temperature, soft_share=share, from_logits=from_logits)
    trainer.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits), jit_compile=False)
    inputs, labels = batch()
    loss = trainer.train_on_batch(inputs, labels)  # of the weights before the step
    student, teacher = (net(seed, activation=None if from_logits else "softmax") for seed in (1, 2))
    outputs = [model(inputs).numpy().astype(float) for model in (student, teacher)]
    logits = outputs if from_logits else [np.log(one) for one in outputs]
    hard = -log_softmax(logits[0], -1)[np.arange(len(labels)), labels].mean()
    soft = softmax(logits[1] / temperature, -1)
    divergence = (soft * (log_softmax(logits[1] / temperature, -1) - log_softmax(logits[0] / temperature, -1))).sum(-1)
    assert loss == pytest.approx((1 - share) * hard + share * temperature**2 * divergence.mean(), rel=1e-4)


def test_the_mean_of_several_teachers_is_learned_from() -> None:
    inputs, labels = batch()
    student, *teachers = (net(seed) for seed in (1, 2, 3))
    trainer = Distiller(student, teachers, temperature=2.0, soft_share=1.0)
    trainer.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    q = np.mean([softmax(model(inputs).numpy().astype(float) / 2, -1) for model in teachers], axis=0)
    p = softmax(student(inputs).numpy().astype(float) / 2, -1)
    wanted = 4 * np.sum(q * np.log(q / p), -1).mean()
    assert float(trainer.compute_loss(inputs, labels, student(inputs))) == pytest.approx(wanted, rel=1e-5)
    assert len(trainer.trainable_weights) == len(student.trainable_weights)
    with pytest.raises(InvalidArgumentError, match=r"at least one teacher.*Received: \(None, 3\)\."):
        Distiller(student, [])


def test_only_the_student_learns_and_it_learns_from_the_teacher() -> None:
    student, teacher = net(1), net(2)
    before = [np.array(weight) for weight in teacher.get_weights()]
    trainer = Distiller(student, teacher, soft_share=1.0, temperature=2.0)
    trainer.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(True), jit_compile=False)
    inputs, labels = batch(256)

    def distance() -> float:
        return float(np.abs(softmax(student(inputs).numpy(), -1) - softmax(teacher(inputs).numpy(), -1)).mean())

    first = distance()
    trainer.fit(inputs, (labels + 1) % 3, epochs=60, batch_size=256, verbose=0)  # labels that are wrong and unused
    assert distance() < 0.05 * first
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert teacher.trainable and len(trainer.trainable_weights) == 2


def test_evaluation_is_the_students_alone() -> None:
    student, trainer = net(1), None
    trainer = Distiller(student, net(2))
    inputs, labels = batch()
    for model in (student, trainer):
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    assert trainer.evaluate(inputs, labels, verbose=0) == pytest.approx(student.evaluate(inputs, labels, verbose=0))
    np.testing.assert_array_equal(trainer.predict(inputs, verbose=0), student.predict(inputs, verbose=0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"temperature": 0.5}, "`temperature` of Distiller"), ({"soft_share": 1.5}, "`soft_share` of Distiller")],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Distiller(net(1), net(2), **settings)


def test_models_of_different_outputs_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"same shape. Received: \(None, 3\) and \(None, 4\)"):
        Distiller(net(1), net(2, units=4))


def test_a_run_distils_and_resumes_to_the_same_bits(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(hardware_aware__distillation={"temperature": 5.0})
    whole = train(Run.create(tmp_path / "whole", recipe), model=toy.model, data=toy.data())
    plain = train(Run.create(tmp_path / "plain", toy.recipe()), model=toy.model, data=toy.data())
    assert toy.digest(whole.float_model) == toy.digest(plain.float_model)
    assert toy.digest(whole.analog_model) != toy.digest(plain.analog_model)

    def stop(event: Progress) -> None:
        if event.kind == "epoch" and event.stage == "hardware_aware" and event.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Run.create(tmp_path / "cut", recipe), model=toy.model, data=toy.data(), progress=stop)
    train(Run.open(tmp_path / "cut"), model=toy.model, data=toy.data())
    assert toy.outcome(tmp_path / "cut") == toy.outcome(tmp_path / "whole")


def test_recipes_say_what_is_wrong_and_leave_it_out_when_unused(toy: ModuleType) -> None:
    assert "distillation" not in toy.recipe().to_dict()["hardware_aware"]
    chosen = toy.recipe(hardware_aware__distillation={})
    assert chosen.to_dict()["hardware_aware"]["distillation"] == {"temperature": 10.0, "soft_share": 0.75}
    with pytest.raises(RecipeError, match=r"`hardware_aware.distillation.temperature` must be"):
        toy.recipe(hardware_aware__distillation={"temperature": 0})


def test_stage_1_learns_from_a_teacher_given(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(float__distillation={"temperature": 2.0}, hardware_aware__distillation={})
    with pytest.raises(InvalidArgumentError, match="needs a teacher"):
        train(Run.create(tmp_path / "none", recipe), model=toy.model, data=toy.data())
    teacher = toy.model()
    weights = [np.array(one) for one in teacher.get_weights()]
    taught = train(Run.create(tmp_path / "taught", recipe), model=toy.model, data=toy.data(), teacher=teacher)
    plain = train(Run.create(tmp_path / "plain", toy.recipe()), model=toy.model, data=toy.data())
    assert toy.digest(taught.float_model) != toy.digest(plain.float_model)
    for old, new in zip(weights, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_of_samples_count_in_both_parts() -> None:
    inputs, labels = batch()
    weights = np.random.default_rng(1).uniform(size=len(labels)).astype("float32")
    student, teacher = net(1), net(2)
    trainer = Distiller(student, teacher, soft_share=1.0, temperature=2.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile("sgd", loss, jit_compile=False)
    q, p = (softmax(model(inputs).numpy().astype(float) / 2, -1) for model in (teacher, student))
    wanted = 4 * np.mean(weights * np.sum(q * np.log(q / p), -1))
    found = trainer.compute_loss(inputs, labels, student(inputs), sample_weight=weights)
    assert float(found) == pytest.approx(wanted, rel=1e-4)
    before = student.get_weights()
    trainer.fit(inputs, labels, sample_weight=0 * weights, verbose=0)
    for one, other in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_callbacks_leave_an_analog_teacher_alone() -> None:
    inputs, labels = batch()
    student, teacher = (to_analog(net(seed), calibrate_on=inputs, weight_noise=0.1) for seed in (1, 2))
    kept = teacher.get_weights()
    trainer = Distiller(student, teacher)
    trainer.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    trainer.fit(inputs, labels, callbacks=[NoiseRamp(0, 4), WeightRangeRefresh(1.0)], verbose=0)
    for one, other in zip(kept, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
