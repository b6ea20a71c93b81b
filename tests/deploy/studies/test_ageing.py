"""Ageing predicted from mean network and gradients: equal to the mean network, close to many chips, or flagged."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import chi2, norm

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.deploy import accuracy, predict_ageing, program
from analognets.deploy.studies.ageing.check import Check, checked, unsure
from analognets.deploy.studies.ageing.gaussian import Normals, choose, mean_and_spread
from analognets.deploy.studies.ageing.law import Accuracy, _root, accuracy_of, law_between
from analognets.deploy.studies.ageing.moments import weight_moments
from analognets.deploy.studies.ageing.regression import regress
from analognets.deploy.studies.other_hardware import on_hardware
from analognets.devices import PCM, Device
from analognets.errors import AgeingWarning, ConversionError, InvalidArgumentError
from analognets.layers import calibrate, freeze_weight_range

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]
TIMES = ["25s", "1d", "1y"]
SHAPE = (6, 4, 3)


@pytest.fixture(scope="module")
def drawn() -> Draw:
    """Return a function of a seed that draws samples of four classes that overlap."""
    centres = np.random.default_rng(0).normal(size=(4, *SHAPE))

    def draw(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        labels = random.integers(0, 4, count)
        return (centres[labels] + 2.8 * random.normal(size=(count, *SHAPE))).astype(np.float32), labels

    return draw


def convolutional() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )


def recurrent() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential([keras.Input(SHAPE), layers.Reshape((3, 24)), layers.GRU(16), layers.Dense(4)])


def trained(net: keras.Model, samples: tuple[np.ndarray, np.ndarray], hardware: Any) -> keras.Model:
    """Return an analog network that has learned samples in a few steps."""
    net.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    net.fit(*samples, epochs=4, batch_size=50, verbose=0)
    model = to_analog(net, hardware)
    freeze_weight_range(model)
    calibrate(model, samples[0][:300])
    return model


@pytest.fixture(scope="module")
def network(drawn: Draw) -> keras.Model:
    """Return a network on devices with little noise, as a small one feels each of them, and fine converters."""
    device = PCM(programming_noise_scale=0.3, read_noise_scale=0.3, drift_scale=0.5)
    return trained(convolutional(), drawn(1), Crossbar(device=device, dac_bits=12, adc_bits=12))


def quiet() -> Crossbar:
    """Return hardware whose devices drift alike, without noise."""
    settings = {"programming_noise_scale": 0.0, "read_noise_scale": 0.0}
    return Crossbar(
        device=PCM(**settings, drift_spread_fit=(0.0, 0.0, 0.0, 0.0), drift_mean_fit=(0.0, 0.05, 0.05, 0.05))
    )


def test_mean_and_spread_are_those_of_simulated_chips(network: keras.Model, drawn: Draw) -> None:
    """40 chips; benchmarks/analytic_ageing.py has 200 of trained networks at five times."""
    samples = drawn(2, 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AgeingWarning)  # few samples leave much open
        found = predict_ageing(network, samples, TIMES, samples=150, check_chips=16, seed=3)
    chips = program(network, chips=40, seed=0).evaluate(samples, at=TIMES).groupby("seconds")["accuracy"]
    mean, std = chips.mean().to_numpy(), chips.std().to_numpy()
    assert list(found["at"]) == TIMES
    assert "differs" not in found["flag"][0] or "too uncertain" in found["flag"][0], found["flag"][0]
    near = 1.96 * std / 40**0.5 + 0.004
    assert (np.abs(found["linear_mean"] - mean) < near).all(), (found["linear_mean"].tolist(), mean)
    low, high = (39 / chi2.ppf([0.9995, 0.0005], 39)) ** 0.5
    spread = found["linear_std"].to_numpy()
    assert ((spread > low * std) & (spread < high * std)).all(), (spread, std)


def test_without_noise_it_is_the_mean_network(network: keras.Model, drawn: Draw) -> None:
    model, samples = on_hardware(network, quiet(), ranges="kept")[0], drawn(2, 150)
    chips = program(model, chips=1)
    found = predict_ageing(model, samples, "1y", samples=20, check_chips=3, drift_compensation=False)
    outputs = chips.predict(samples[0], at="1y", drift_compensation=False)
    assert found["mean"][0] == pytest.approx(accuracy(samples[1], outputs), abs=0.007)
    assert found["std"][0] < 1e-6 and found["flag"][0] == ""


def test_a_recurrent_network_on_noisy_products_and_groups_of_samples(drawn: Draw) -> None:
    net, (inputs, _) = recurrent(), drawn(2, 100)
    labels = net.predict(inputs, verbose=0).argmax(axis=1)
    model = to_analog(net, "aimc_standard", calibrate_on=inputs)
    settings: dict[str, Any] = {"samples": 20, "check_chips": 3, "rivals": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AgeingWarning)  # three chips leave much open
        found = predict_ageing(model, (inputs, labels, np.arange(100) // 2), ["1h"], **settings)
    chips = program(model, chips=6, seed=5).evaluate((inputs, labels), at="1h")["accuracy"]
    assert found["linear_mean"][0] == pytest.approx(chips.mean(), abs=0.06)
    assert 0.0 < found["linear_std"][0] < 0.06


def test_a_refuted_prediction_has_a_sentence_and_no_numbers(network: keras.Model, drawn: Draw) -> None:
    noisy = Crossbar(device=PCM(programming_noise_scale=8.0))
    model = on_hardware(network, noisy, ranges="kept")[0]
    with pytest.warns(AgeingWarning, match="not confirmed. On 6 simulated chips at 25s the"):
        found = predict_ageing(model, drawn(2, 100), ["25s"], samples=20, check_chips=6)
    assert found[["mean", "std", "low", "high"]].isna().all(axis=None)
    assert found["flag"][0].endswith(".") and 0 < found["linear_mean"][0] < 1


@dataclasses.dataclass(frozen=True)
class Uniform(Device):
    """A device from outside: uniform programming error of +-1 uS, a fifth lost after the first second."""

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        return {"error": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}

    def program_with(self, g_target: Any, draws: Any) -> dict[str, Any]:
        return {"conductance": g_target + keras.ops.erf(draws["error"] / 2**0.5)}

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        return {}

    def read_with(self, state: Any, time: Any, draws: Any) -> Any:
        return keras.ops.convert_to_tensor(state["conductance"]) * keras.ops.where(time > 1.0, 0.8, 1.0)


def test_moments_of_any_device() -> None:
    found = weight_moments(Crossbar(device=Uniform()), [10.0], 0.0, samples=4096)
    assert found.mean[0] == pytest.approx(0.8 * found.levels, abs=2e-3)
    assert found.variance[0] == pytest.approx(2 / 3 / 25**2 * 0.8**2, rel=0.1)
    assert found.covariance[0] == pytest.approx(found.variance[0] / 0.8, rel=0.01)
    off = weight_moments(Crossbar(device=PCM(), inactive_device="off"), [25.0], 25.0, samples=16)
    assert off.variance[0][0] == 0 and off.variance[0][-1] > 0
    with pytest.raises(InvalidArgumentError, match="whose readings are not finite. Simulate chips instead"):
        weight_moments(Crossbar(device=Uniform(g_max=float("inf"))), [10.0], 0.0, levels=3, samples=4)


@pytest.mark.parametrize("lift", [0.0, 1e-8, 1e-3])
def test_draws_of_a_covariance_that_rounding_made_a_little_negative(lift: float) -> None:
    loads = np.random.default_rng(0).normal(size=(40, 3))
    covariance = loads @ loads.T - lift * np.eye(40)
    root = _root(covariance)
    assert root @ root.T == pytest.approx(covariance, abs=2e-4 + 3 * lift)


def test_spread_of_gaussian_margins() -> None:
    """All samples; and a choice of them, which must give the same without bias."""
    margins, loads = np.linspace(-1, 3, 200), np.linspace(0.2, 1, 200)
    deviations = np.sqrt(loads**2 + 0.25)
    normals = Normals(20_000, seed=0)
    right = margins + normals(1) * loads + 0.5 * normals(200) > 0
    every = choose(np.abs(margins), 200, seed=0)
    probability, variance = mean_and_spread(right, every)
    assert probability == pytest.approx(norm.cdf(margins / deviations), abs=0.02)
    found = []
    for seed in range(20):
        some = choose(np.abs(margins), 70, seed=seed)
        assert some.weights.sum() == pytest.approx(1)
        assert set(np.argsort(np.abs(margins))[:49]) <= set(some.index)
        found.append(mean_and_spread(right[:, some.index], some)[1] ** 0.5)
    assert np.mean(found) == pytest.approx(variance**0.5, rel=0.05)


SAMPLES = 120


def world(seed: int, chips: int, *, bend: float = 0.0, shared: float = 0.0, rest: float = 0.3) -> Any:
    """Return margins of chips and their linear parts in a world where these move margins by ten common directions.

    Args:
        seed: of the chips; the world is the same.
        chips: how many.
        bend: quadratic part of margins.
        shared: what moves all margins alike beside the linear part.
        rest: what moves each of them alone.
    """
    fixed, random = np.random.default_rng(0), np.random.default_rng(seed)
    mean, loads = fixed.normal(1.0, 1.0, (SAMPLES, 2)), fixed.normal(0.05, 0.1, (SAMPLES, 2, 10))
    moved = np.einsum("srk,ck->csr", loads, random.standard_normal((chips, 10)))
    own = rest * random.standard_normal((chips, SAMPLES, 2)) + shared * random.standard_normal((chips, 1, 1))
    flat = loads.reshape(-1, 10)
    return mean + 0.8 * moved + bend * moved**2 + own, moved, flat @ flat.T


def predicted(*arguments: Any, **settings: Any) -> tuple[Accuracy, Check, str]:
    """Return the accuracy from the chips of a world, its check, and whether it is too uncertain."""
    margins, moved, gram = world(*arguments, **settings)
    chosen = choose(np.arange(float(SAMPLES)), SAMPLES, seed=0)
    fit = regress(margins, moved, gram)
    parts = [fit.without(chip) for chip in range(len(margins))]
    law, without = law_between(fit, fit, 0.0), [law_between(one, one, 0.0, whole=False) for one in parts]
    found = accuracy_of(law, without, chosen, 0, fit.slope * moved)
    error = unsure("1d", len(margins), 200, found.variance**0.5, (found.mean_error, 0.0), found.std_error)
    return found, checked("1d", margins, law, found, chosen), error


def test_mean_and_spread_follow_from_a_few_chips_with_an_honest_error() -> None:
    """Mean and spread of 4,000 chips from 20; the errors are as large as said, and the check is silent."""
    many = (world(99, 4000, bend=0.08)[0] > 0).all(axis=2).mean(axis=1)
    found = [predicted(seed, 20, bend=0.08) for seed in range(6)]
    off = np.array([one.probability.mean() - many.mean() for one, _, _ in found])
    said = float(np.mean([one.mean_error for one, _, _ in found]))
    assert 0.4 * said < float((off**2).mean()) ** 0.5 < 2 * said
    assert said < many.std() / 20**0.5 / 2  # less than a half of what chips without linearisation would leave
    assert np.mean([one.variance**0.5 for one, _, _ in found]) == pytest.approx(many.std(), rel=0.08)
    assert sum(bool(check.failure()) for _, check, _ in found) <= 1


def test_the_check_finds_what_chips_do_otherwise() -> None:
    _, check, _ = predicted(1, 24, shared=0.5)
    assert "margins of different samples move together by what the linearisation lacks" in check.failure()
    right, check, _ = predicted(1, 24)
    assert check.failure() == "" and right.given is not None
    assert "differs by +5.00" in dataclasses.replace(check, difference=0.05).failure()
    assert "spreads 3.00 times" in dataclasses.replace(check, ratio=3.0, significance=1.0).failure()
    error = unsure("1d", 4, 200, 0.01, (0.01, 0.0), 0.0)
    assert "the mean accuracy is too uncertain" in error and "take more check_chips" in error
    assert "take more samples" in unsure("1d", 4, 200, 0.01, (0.0, 0.01), 0.0)
    assert "the spread of the accuracy" in unsure("1d", 4, 200, 0.01, (0.0, 0.0), 0.01)
    assert not unsure("1d", 4, 200, 0.01, (7e-4, 0.0), 4e-4) and not unsure("1d", 4, 12, 0.01, (2e-3, 0.0), 2e-3)


def test_refusals(network: keras.Model, drawn: Draw) -> None:
    inputs, labels = drawn(2, 30)
    with pytest.raises(InvalidArgumentError, match="Received: inputs without labels"):
        predict_ageing(network, inputs)
    with pytest.raises(InvalidArgumentError, match="check_chips"):
        predict_ageing(network, (inputs, labels), check_chips=1)
    entry = keras.Input((4,))
    two = keras.Model(entry, [keras.layers.Dense(2)(entry), keras.layers.Dense(2)(entry)])
    with pytest.raises(ConversionError, match="with 2 outputs. Simulate chips"):
        predict_ageing(to_analog(two, calibrate_on=np.eye(4)), (np.eye(4), np.arange(4) % 2))
