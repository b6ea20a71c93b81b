from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.datasets.kws_rules import SilenceRule, UnknownRule, as_rule, cut_silence, draw_evenly, region
from analognets.errors import DataError, InvalidArgumentError


@given(st.lists(st.integers(0, 50), max_size=8), st.none() | st.integers(0, 400), st.none() | st.integers(1, 20))
def test_draws_are_even_and_complete(sizes: list[int], wanted: int | None, limit: int | None) -> None:
    room = [size if limit is None else min(size, limit) for size in sizes]
    taken = draw_evenly(sizes, wanted, limit)
    assert all(0 <= take <= most for take, most in zip(taken, room, strict=True))
    assert sum(taken) == (sum(room) if wanted is None else min(wanted, sum(room)))
    partly = [take for take, most in zip(taken, room, strict=True) if take < most]
    if partly:  # a group that is not used up has at most one clip less than any other
        assert max(taken) - min(partly) <= 1


@given(st.integers(1, 10_000), st.floats(0.1, 0.9))
def test_regions_share_no_sample(samples: int, share: float) -> None:
    parts = [range(samples)[region(samples, split, share)] for split in ("train", "validation", "test")]
    assert [i for part in parts for i in part] == list(range(samples))


def test_silence_of_different_splits_comes_from_different_parts() -> None:
    ramp = {"ramp": np.linspace(0.1, 0.9, 40 * 16_000, dtype=np.float32)}
    rule = SilenceRule(rms_low=0.3, rms_high=0.3)
    slopes = {}
    for split in ("train", "validation", "test"):
        clips, _ = cut_silence(ramp, split, 40, rule, 0)
        first, last = clips[:, 0].astype(float), clips[:, -1].astype(float)
        slopes[split] = first / (last - first)  # where on the ramp the second was cut, whatever its loudness
    assert slopes["train"].max() < slopes["validation"].min() < slopes["validation"].max() < slopes["test"].min()


def test_loudness_is_log_uniform() -> None:
    noise = {"white": np.random.default_rng(0).normal(0, 0.003, 60 * 16_000).astype(np.float32)}
    rule = SilenceRule(rms_low=1e-3, rms_high=0.1)
    clips, names = cut_silence(noise, "train", 600, rule, 3)
    found = np.log10(np.sqrt(np.mean((clips / 32768.0) ** 2, axis=1)))
    assert len(set(names)) == 600
    assert found.min() >= -3.01 and found.max() <= -0.99
    assert abs(found.mean() + 2) < 5 * (2 / np.sqrt(12)) / np.sqrt(600)
    assert abs(found.std() - 2 / np.sqrt(12)) < 0.08


def test_silence_is_the_same_for_a_seed() -> None:
    noise = {"a": np.random.default_rng(0).normal(0, 0.01, 20 * 16_000).astype(np.float32)}
    one, again, other = (cut_silence(noise, "train", 5, SilenceRule(), seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_silent_recording_stays_silent() -> None:
    clips, _ = cut_silence({"none": np.zeros(20 * 16_000, np.float32)}, "test", 2, SilenceRule(), 0)
    assert not clips.any()


def test_too_short_recordings_are_refused() -> None:
    with pytest.raises(DataError, match=r"Silence for validation needs .* the longest of 5.0 s"):
        cut_silence({"short": np.zeros(5 * 16_000, np.float32)}, "validation", 1, SilenceRule(), 0)
    assert cut_silence({}, "validation", 0, SilenceRule(), 0)[0].shape == (0, 16_000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SilenceRule(fraction=-1), "`fraction` of SilenceRule"),
        (lambda: SilenceRule(rms_low=0.5, rms_high=0.1), "`rms_high` of SilenceRule"),
        (lambda: UnknownRule(per_word=0), "`per_word` of UnknownRule"),
        (lambda: as_rule(UnknownRule, 3), "A UnknownRule or a mapping of its fields"),  # type: ignore[type-var]
    ],
)
def test_bad_rules(make, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()
