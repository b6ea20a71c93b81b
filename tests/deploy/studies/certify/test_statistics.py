"""The sequential audit: promises are wrong no more often than said, it needs fewer chips than a plan of fixed size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from analognets.deploy.studies.certify.statistics import Audit, FewEvents, accuracy_bounds

YIELD, ERROR = 0.95, 0.01


@pytest.fixture(scope="module")
def plan() -> Audit:
    return Audit(YIELD, ERROR)


def verdicts(audit: Audit, good: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 (pass), -1 (fail) or 0, and the number of chips, of many audits: rows of chips."""
    numbers = np.arange(1, good.shape[1] + 1)
    promise = numbers - good.cumsum(1) <= [audit.promise.limit(number) for number in numbers]
    refusal = numbers - bad.cumsum(1) <= [audit.refusal.limit(number) for number in numbers]
    over = promise | refusal
    at = np.where(over.any(1), over.argmax(1), good.shape[1] - 1)
    rows = np.arange(len(good))
    return promise[rows, at].astype(int) - (refusal & ~promise)[rows, at], at + 1


def fixed_plan(bad_share: float, power: float) -> int:
    """Return the fewest chips of a plan of fixed size that promises as safely, and as often for such a share."""
    for chips in range(1, 2000):
        most = int(binom.ppf(ERROR, chips, 1 - YIELD))
        most -= binom.cdf(most, chips, 1 - YIELD) > ERROR
        if most >= 0 and binom.cdf(most, chips, bad_share) >= power:
            return chips
    raise AssertionError("no plan")


@pytest.mark.parametrize(("share", "error"), [(0.05, 0.01), (0.2, 0.1), (0.5, 0.05), (0.95, 0.005)])
def test_the_error_is_kept_exactly_however_long_it_runs(share: float, error: float) -> None:
    test = FewEvents(share, error, 20.0)
    for chips in (10, 100, 700):
        assert 0.0 <= test.probability(chips, share) <= error
    assert test.probability(700, share) > 0.8 * error
    assert test.probability(100, share * 1.02) < test.probability(100, share) < test.probability(100, share * 0.9)
    limits = [test.limit(number) for number in range(1, 701)]
    assert limits == sorted(limits)


def test_thousand_audits_of_chips(plan: Audit) -> None:
    random, most = np.random.default_rng(18), 4 * plan.promise.fewest()
    true = np.concatenate([np.full(500, 0.9499), random.uniform(0.9, 0.95, 500)])
    good = random.random((1000, most)) < true[:, None]
    found, _ = verdicts(plan, good, ~good)
    assert (found == 1).sum() <= 10  # of 1,000 promises, each of which would be wrong
    assert (found == -1).sum() > 100
    better = random.random((1000, most)) < random.uniform(0.95, 1.0, 1000)[:, None]
    assert (verdicts(plan, better, ~better)[0] == -1).sum() <= 10


@pytest.mark.parametrize("bad_share", [0.0025, 0.005, 0.0125])
def test_fewer_chips_than_a_plan_of_fixed_size(plan: Audit, bad_share: float) -> None:
    most = 4 * plan.promise.fewest()
    good = np.random.default_rng(1).random((1000, most)) >= bad_share
    found, chips = verdicts(plan, good, ~good)
    power = plan.promise.probability(most, bad_share)
    assert (found == 1).mean() == pytest.approx(power, abs=0.03)
    assert chips.mean() < fixed_plan(bad_share, power) < most


def test_an_audit_does_as_the_vectors(plan: Audit) -> None:
    random = np.random.default_rng(3)
    for share in (0.7, 1.0):
        good = random.random((1, 200)) < share
        audit = Audit(YIELD, ERROR)
        while audit.verdict == "undecided":
            audit.count(*((0.95, 0.99) if good[0, audit.chips] else (0.7, 0.8)), 0.9)
        found, chips = verdicts(plan, good, ~good)
        assert audit.chips == chips[0] and audit.verdict == {1: "pass", -1: "fail"}[int(found[0])]
        low, high = audit.yield_bounds()
        assert low > YIELD if share == 1.0 else high < YIELD
        assert low <= audit.good / audit.chips <= high
    unclear = Audit(0.8, 0.1)
    for _ in range(30):
        unclear.count(0.85, 0.95, 0.9)
    assert unclear.verdict == "undecided" and (unclear.good, unclear.bad) == (0, 0)
    assert unclear.yield_bounds() == (0.0, 1.0)
    assert unclear.reachable(200) and not unclear.reachable(31) and not unclear.reachable(30)


@pytest.mark.parametrize("events", [0, 1, 7, 40, 99, 100])
def test_one_look_is_clopper_and_pearson(events: int) -> None:
    test = FewEvents(0.5, 0.01, 1e30)  # spends nothing before the end
    expected = binomtest(events, 100, alternative="less").proportion_ci(0.99, "exact").high
    assert test.bound(100, events) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.35])
def test_bounds_after_the_audit_cover_exactly(share: float) -> None:
    test, chips, paths, missed = FewEvents(0.3, 0.1, 6.0), 25, {0: 1.0}, 0.0
    for number in range(1, chips + 1):
        after: dict[int, float] = {}
        for events, mass in paths.items():
            after[events] = after.get(events, 0.0) + mass * (1 - share)
            after[events + 1] = after.get(events + 1, 0.0) + mass * share
        ended = [one for one in after if one <= test.limit(number) or number == chips]
        missed += sum(mass for one in ended if (mass := after[one]) and test.bound(number, one) < share)
        paths = {one: mass for one, mass in after.items() if one not in ended}
    assert missed <= 0.1 + 1e-9


def with_variance(right: np.ndarray, speakers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return accuracy and its variance over speakers, of the last axis."""
    count = right.shape[-1]
    accuracy = right.mean(-1)
    sums = (right - accuracy[..., None]).reshape(*right.shape[:-1], speakers, -1).sum(-1)
    return accuracy, speakers / (speakers - 1) * (sums**2).sum(-1) / count**2


def test_bounds_of_an_accuracy() -> None:
    right = np.repeat([1.0, 0.0], [180, 20])
    low, high = accuracy_bounds(*with_variance(right, 200), groups=200, samples=200, error=0.05)
    exact = binomtest(180, 200).proportion_ci(0.9, "exact")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=5e-4)
    assert accuracy_bounds(1.0, 0.0, groups=9, samples=200, error=0.05) == pytest.approx((0.05 ** (1 / 200), 1.0))
    assert accuracy_bounds(0.0, 0.0, groups=9, samples=200, error=0.05) == pytest.approx((0.0, 1 - 0.05 ** (1 / 200)))
    random = np.random.default_rng(0)
    speaker = random.normal(size=(4000, 40, 1))
    latent = 1.5 + 0.7 * speaker + random.normal(size=(4000, 40, 5))
    true = norm.cdf(1.5 / np.hypot(0.7, 1.0))
    found = accuracy_bounds(*with_variance(latent.reshape(4000, 200) > 0, 40), groups=40, samples=200, error=0.02)
    assert (found[0] > true).mean() < 0.025 and (found[1] < true).mean() < 0.025


def test_thousand_audits_on_samples_that_all_chips_share() -> None:
    """Chips, speakers and clips differ; 94.5 % of chips keep the accuracy, so that each promise is wrong."""
    random, audit = np.random.default_rng(7), Audit(YIELD, ERROR / 2)
    chips, speakers, clips = 120, 50, 4
    wanted = norm.cdf((1.8 + 0.3 * norm.ppf(1 - 0.945)) / np.hypot(0.5, 1.0))
    promised, naive = 0, 0
    for _ in range(1000):
        samples = 1.8 + 0.5 * random.normal(size=(speakers, 1)) + random.normal(size=(speakers, clips))
        right = (0.3 * random.normal(size=(chips, 1)) + samples.reshape(1, -1) > 0).astype(np.float32)
        accuracy, variance = with_variance(right, speakers)
        low, high = accuracy_bounds(accuracy, variance, groups=speakers, samples=200, error=ERROR / 2)
        promised += (verdicts(audit, (low >= wanted)[None], (high < wanted)[None])[0] == 1).sum()
        naive += (verdicts(audit, (accuracy >= wanted)[None], (accuracy < wanted)[None])[0] == 1).sum()
    assert promised <= 10
    assert naive > 30  # what comes of taking the samples as all there are
