"""The wording of errors, and the checks that raise them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets import errors
from analognets.errors import (
    AnalogNetsError,
    InvalidArgumentError,
    MissingExtraError,
    UnknownNameError,
    check_choice,
    check_integer,
    check_number,
)


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_every_error_can_be_caught_as_ours(name: str) -> None:
    assert issubclass(getattr(errors, name), AnalogNetsError)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.UnknownNameError, ValueError),
        (errors.RecipeError, ValueError),
        (errors.ConversionError, TypeError),
        (errors.NotCalibratedError, RuntimeError),
        (errors.DataError, OSError),
        (errors.ChecksumError, errors.DataError),
        (errors.ChipFileError, OSError),
        (errors.RunError, OSError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_errors_are_also_the_builtin_a_caller_expects(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


def test_unknown_name_guesses_lists_and_repeats() -> None:
    error = UnknownNameError(
        "hardware preset", "aon_cim_8bits", ["aon_cim_8bit", "aon_cim_4bit"], hint="Or give a path."
    )
    assert str(error) == (
        "Unknown hardware preset. Did you mean 'aon_cim_8bit'? Known: aon_cim_4bit, aon_cim_8bit. "
        "Received: 'aon_cim_8bits'. Or give a path."
    )


def test_unknown_name_does_not_guess_wildly() -> None:
    assert "Did you mean" not in str(UnknownNameError("model", "zzz", ["analognet_kws"]))


def test_missing_extra_names_the_command_that_helps() -> None:
    with pytest.raises(ImportError, match=r"Synthetic speech needs .* pip install 'analognets\[speech\]'"):
        raise MissingExtraError("Synthetic speech", "speech")


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e6), st.floats(0, 1e6))
def test_check_number_returns_what_lies_within_the_bounds(value: float, below: float, above: float) -> None:
    assert check_number("X", "x", value, value - below, value + above) == value


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.float16(0.5)])
def test_check_number_takes_numpy_scalars_and_returns_a_python_float(value: Any) -> None:
    result = check_number("PCM", "scale", value, 0, 1)
    assert type(result) is float
    assert result == 0.5


@pytest.mark.parametrize(
    "value", [-0.1, 1.1, math.nan, math.inf, -math.inf, True, "0.5", None, [0.5], np.array([0.5]), np.bool_(True), 1j]
)
def test_check_number_refuses(value: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"`scale` of PCM must be a number from 0 to 1 uS\. Received: scale="
    ):
        check_number("PCM", "scale", value, 0, 1, unit="uS")


def test_check_number_without_bounds_still_refuses_what_is_not_finite() -> None:
    with pytest.raises(InvalidArgumentError, match="must be a finite number"):
        check_number("PCM", "scale", math.inf)
    with pytest.raises(InvalidArgumentError, match="must be a finite number"):
        check_number("PCM", "scale", 10**400)


def test_check_number_words_one_sided_bounds() -> None:
    with pytest.raises(InvalidArgumentError, match="must be a number of at least 0 s. Received: t_0=-1"):
        check_number("PCM", "t_0", -1, 0, unit="s")
    with pytest.raises(InvalidArgumentError, match="must be a number of at most 2. Received: x=3"):
        check_number("X", "x", 3, high=2)


@given(st.integers(2, 16), st.sampled_from([int, np.int8, np.uint64, np.array]))
def test_check_integer_returns_a_python_int(value: int, kind: Any) -> None:
    result = check_integer("DAC", "bits", kind(value), 2, 16)
    assert type(result) is int
    assert result == value


@pytest.mark.parametrize("value", [1, 17, 8.0, "8", None, True, np.bool_(True), np.array([8, 8]), np.array(8.0)])
def test_check_integer_refuses(value: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"`bits` of DAC must be a whole number from 2 to 16\. Received: bits="
    ):
        check_integer("DAC", "bits", value, 2, 16)


def test_check_choice() -> None:
    assert check_choice("Crossbar", "adc_gain", "shared", ["shared", "per_layer"]) == "shared"
    with pytest.raises(
        InvalidArgumentError,
        match=r"`adc_gain` of Crossbar must be one of 'shared', 'per_layer'\. Received: adc_gain='global'\.",
    ):
        check_choice("Crossbar", "adc_gain", "global", ("shared", "per_layer"))
