"""Properties of the reader of measured cells: any table that holds the same cells is read as the same cells."""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets import devices
from analognets.devices.fitting.headers import CONDUCTANCE, RESISTANCE, TIME, columns_of
from analognets.devices.fitting.measurements import Measurements, read_measurements
from analognets.errors import AnalogNetsError, DataError

UNITS = sorted(CONDUCTANCE)
FORMS = ("{} {}", "{}_{}", "{} [{}]", "{}({})", "{} in {}", "{}/{}")


def cells(count: int = 24, readings: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return targets, times and readings in uS and seconds."""
    random = np.random.default_rng(seed)
    target = random.uniform(1.0, 20.0, count)
    return (
        target,
        np.cumsum(random.uniform(1.0, 1e3, readings)),
        target[:, None] * random.uniform(0.5, 1.5, (count, readings)),
    )


def same(one: Measurements, target: np.ndarray, times: np.ndarray, read: np.ndarray) -> None:
    order = np.argsort(np.array(one.cells, dtype=int))
    np.testing.assert_allclose(one.target[order], target, rtol=1e-9)
    np.testing.assert_allclose(one.time[order], np.tile(times, (len(target), 1)), rtol=1e-9)
    np.testing.assert_allclose(one.conductance[order], read, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(UNITS),
    st.sampled_from(UNITS),
    st.sampled_from(sorted(TIME)),
    st.sampled_from(FORMS),
    st.integers(0, 9),
)
def test_long_tables_in_any_unit_and_order(target_unit: str, unit: str, clock: str, form: str, seed: int) -> None:
    target, times, read = cells(seed=seed)
    table = pd.DataFrame({
        "cell": np.repeat(np.arange(24), 3),
        form.format("target", target_unit): np.repeat(target, 3) / CONDUCTANCE[target_unit],
        form.format("time", clock): np.tile(times, 24) / TIME[clock],
        form.format("conductance", unit): read.ravel() / CONDUCTANCE[unit],
    }).sample(frac=1.0, random_state=seed)  # fmt: skip
    same(read_measurements(table), target, times, read)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(RESISTANCE)), st.sampled_from([",", ";", "\t"]), st.integers(0, 9), st.booleans())
def test_wide_files_with_any_separator(unit: str, separator: str, seed: int, marked: bool) -> None:
    target, times, read = cells(seed=seed)
    columns = {
        f"R({time!r}s) [{unit}]": 1e6 / read[:, n] / RESISTANCE[unit] for n, time in enumerate(map(float, times))
    }
    table = pd.DataFrame({"Device": np.arange(24), "G_target (uS)": target, **columns})
    text = table.to_csv(index=False, sep=separator, lineterminator="\r\n" if marked else "\n")
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write((b"\xef\xbb\xbf" if marked else b"# lab 3\n\n") + text.encode())
        file.flush()
        same(read_measurements(file.name), target, times, read)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=24), min_size=1, max_size=6, unique=True))
def test_any_names_are_columns_or_a_sentence(names: list[str]) -> None:
    try:
        found = columns_of(names, {})
    except DataError as error:
        assert "Received: " in str(error)
    else:
        assert [column.name for column in found] == names


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_cells_or_a_sentence(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(content)
        file.flush()
        with pytest.raises(DataError):
            read_measurements(file.name)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 23),
    st.sampled_from(["", "x", "-1", "nan", "1e999", "0", "1,5", "true"]),
    st.sampled_from([0, 1, 2, 3]),
)
def test_one_odd_field_is_read_or_refused(row: int, text: str, column: int) -> None:
    target, times, read = cells()
    table = pd.DataFrame(
        {"cell": np.arange(24), "target_uS": target, "g_uS@5s": read[:, 0], "g_uS@1h": read[:, 1]}
    ).astype(str)
    table.iloc[row, column] = text
    try:
        found = read_measurements(table)
    except AnalogNetsError as error:
        assert "Received: " in str(error)
    else:
        known = found.conductance[np.isfinite(found.conductance)]
        assert np.isfinite(found.target).all() and (known >= 0).all()


def test_cells_may_have_readings_of_their_own() -> None:
    target, times, read = cells()
    long = pd.DataFrame(
        {"id": np.repeat(np.arange(24), 3), "target_uS": np.repeat(target, 3), "t_s": np.tile(times, 24)}
    )
    long["g_uS"] = read.ravel()
    found = read_measurements(long.drop(index=[1, 5, 9]))
    assert found.readings == 69 and np.isnan(found.conductance).sum() == 3
    holes = long.assign(g_uS=long["g_uS"].where(long.index % 7 != 0))
    assert "11 readings are empty" in " ".join(read_measurements(holes).notes)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cell", "target_uS", "g_uS"], "says nothing about when the cells were read"),
        (["target_uS", "g_uS", "time_s"], "needs a column that says which cell"),
        (["cell", "target_uS", "g_uS", "time"], "must say the unit of its time.*Received: 'time'"),
        (["cell", "target_uS", "target_nS", "g_uS@1h"], "may have one column with the target"),
        (["cell", "target_uS", "g_uS", "read_uS"], "A long table has one column of read conductances"),
    ],
)
def test_tables_that_lack_something(names: list[str], message: str) -> None:
    random = np.random.default_rng(0)
    table = {name: np.arange(40) % 20 if name == "cell" else random.uniform(1, 2, 40) for name in names}
    with pytest.raises(DataError, match=message):
        read_measurements(table)


def test_units_by_hand() -> None:
    target, times, read = cells()
    table = {"cell": np.arange(24), "target": target * 1e3, "read@1h": read[:, 0] * 1e3}
    found = read_measurements(table, units={"target": "nS", "conductance": "nS"})
    np.testing.assert_allclose(np.sort(found.target), np.sort(target))
    with pytest.raises(
        DataError, match=r"The unit of 'target' must be one of S, .* Received: 'uF'\. .* --units target=uS"
    ):
        devices.fit(table, units={"target": "uF", "conductance": "nS"})
    with pytest.raises(
        DataError, match=r"by role \(target, .* Received: 'goal', and the table has the columns 'cell, t"
    ):
        devices.fit(table, units={"goal": "nS"})
    pulses = {"pulse": np.arange(21), "LTP": np.linspace(1, 9, 21)}
    with pytest.raises(DataError, match="The unit of 'conductance' must be one of"):
        devices.fit(pulses, units={"conductance": "uF"})
