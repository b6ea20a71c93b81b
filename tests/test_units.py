"""Durations: text to seconds and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.errors import InvalidArgumentError
from analognets.units import DRIFT_TIMES, SECONDS, format_duration, parse_duration, parse_durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("25s", 25), ("1h", 3600), ("1d", 86400), ("30d", 2592000), ("1y", 31536000), ("1.5h", 5400), (" 2 min ", 120)],
)
def test_parse_known_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"), [("250ms", 0.25), ("1e3", 1000), (".5s", 0.5), (7, 7), (np.float32(2), 2)]
)
def test_parse_numbers_small_units_and_exponents(value: Any, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1w",
        "-1s",
        "s",
        "1 h 5 min",
        "1e999y",
        "1e300y",
        "1" * 400,
        1e13,
        10**400,
        -1,
        math.nan,
        math.inf,
        True,
        None,
        [1],
        1j,
    ],
)
def test_parse_refuses(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"A duration must be seconds >= 0 .* such as '25s'.* Received: "):
        parse_duration(value)


def test_a_list_of_times_is_bounded() -> None:
    assert parse_durations(["1h", 7]) == [3600.0, 7.0]
    for times in ([], ["1h"] * 50_000):
        with pytest.raises(InvalidArgumentError, match=r"There may be 1 to 1,000 times\. Received: (0|50,000)\."):
            parse_durations(times)


@given(st.floats(0, 1e12))
def test_text_reads_back_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(1, 10_000), st.sampled_from(sorted(SECONDS)))
def test_whole_amounts_read_back_exactly(amount: int, unit: str) -> None:
    seconds = parse_duration(f"{amount}{unit}")
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", [*DRIFT_TIMES, "1.5h", "0s", "90s", "3650d", "0.25s"])
def test_format_gives_the_text_a_person_would_write(text: str) -> None:
    expected = {"90s": "1.5min", "3650d": "10y"}.get(text, text)
    assert format_duration(parse_duration(text)) == expected


def test_drift_times_rise_from_seconds_to_a_year() -> None:
    seconds = [parse_duration(text) for text in DRIFT_TIMES]
    assert seconds == sorted(seconds)
    assert (seconds[0], seconds[-1]) == (25, 365 * 86400)
