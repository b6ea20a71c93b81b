"""Pulsed devices fitted to simulated pulse curves: constants come back, tables of any form are read or refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from analognets import devices, synapses
from analognets.devices import PulsedFitted
from analognets.devices.fitting.pulses.curves import read_pulse_curves
from analognets.devices.fitting.pulses.fit import PulsedFit
from analognets.devices.fitting.pulses.headers import is_pulsed, pulse_columns
from analognets.devices.fitting.pulses.laws import fit_direction
from analognets.devices.fitting.pulses.likelihood import Kind, PulseTask
from analognets.errors import DataError, InvalidArgumentError

BOUND = {"c": 1.0, "r": 0.06, "spread": 0.25, "read": 0.12, "f": 0.2}
DOWN = {"c": 1.2, "r": 0.08, "spread": 0.2, "read": 0.12, "f": 0.15}
LINEAR = {"c": 0.5, "r": 0.0, "spread": 0.1, "read": 0.1, "f": 0.15}
TOP = 18.0


def curves(law: dict[str, float], cells: int, pulses: int, start: Any = 1.0, sign: float = 1.0, seed: int = 0) -> Any:
    """Return readings after 0, 1, ... pulses, (cells, pulses + 1), in NumPy by the equations of the laws."""
    random = np.random.default_rng(seed)
    f = np.exp(law["f"] * random.normal(size=cells))
    origin = 1.0 if sign > 0 else TOP
    way, found = sign * (np.broadcast_to(start, cells) - origin), []
    for number in range(pulses + 1):
        if number:
            way = way + f * (law["c"] - law["r"] * way) + law["spread"] * random.normal(size=cells)
        found.append(origin + sign * way + law["read"] * random.normal(size=cells))
    return np.maximum(np.array(found).T, 0.0)


def long(up: np.ndarray, down: np.ndarray | None = None) -> pd.DataFrame:
    """Return a long table of curves."""
    parts = []
    for word, values in (("LTP", up), ("LTD", down)):
        if values is not None:
            cells, count = values.shape
            parts.append(pd.DataFrame({
                "cell": np.repeat(np.arange(cells), count), "pulse": np.tile(np.arange(count), cells),
                "direction": word, "conductance_uS": values.ravel(),
            }))  # fmt: skip
    return pd.concat(parts)


PULSES = 24
UP_CURVES = curves(BOUND, 24, PULSES)
DOWN_CURVES = curves(DOWN, 24, PULSES, start=UP_CURVES[:, -1], sign=-1.0, seed=1)


@pytest.fixture(scope="module")
def fitted() -> PulsedFit:
    return devices.fit(long(UP_CURVES, DOWN_CURVES), g_max=TOP, source="lot 9", replicates=200)  # type: ignore[return-value]


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    table = long(UP_CURVES[:, :7]).iloc[[0, 1, 2, 4, 6]]  # readings after 0, 1, 2, 4 and 6 pulses
    task = PulseTask(dataclasses.replace(read_pulse_curves(long(UP_CURVES[:, :7])), single=False), 1.0, 1.0)
    kind = Kind(("step", "loss", "spread", "read"))
    found = task.readings(kind.values(np.log(np.array([[1.0, 0.06, 0.25, 0.12]]))))
    keep, start = 0.94, UP_CURVES[0, 0] - 1.0
    mean = np.array([keep**n * start + (1 - keep**n) / 0.06 for n in range(1, 7)])
    spread = np.array(
        [
            [
                keep ** (n + m) * 0.12**2 + 0.25**2 * sum(keep ** (n - k + m - k) for k in range(1, min(n, m) + 1))
                for m in range(1, 7)
            ]
            for n in range(1, 7)
        ]
    )
    exact = multivariate_normal(mean, spread + 0.12**2 * np.eye(6)).logpdf(UP_CURVES[0, 1:7] - 1.0)
    assert found[0, 0].sum() == pytest.approx(exact, abs=1e-9)
    gaps = np.array([0, 1, 3, 5])
    part = multivariate_normal(mean[gaps], (spread + 0.12**2 * np.eye(6))[np.ix_(gaps, gaps)])
    whole = PulseTask(_first_only(table), 1.0, 1.0).readings(kind.values(np.log(np.array([[1.0, 0.06, 0.25, 0.12]]))))
    assert whole.sum() == pytest.approx(part.logpdf(UP_CURVES[0, [1, 2, 4, 6]] - 1.0), abs=1e-9)


def _first_only(table: pd.DataFrame) -> Any:
    """Return the curves of a table that is too short for a fit."""
    number, values = table["pulse"].to_numpy(float)[None], table["conductance_uS"].to_numpy()[None]
    whole = read_pulse_curves(long(UP_CURVES))
    return dataclasses.replace(
        whole, cells=("0",), owner=np.zeros(1, int), down=np.zeros(1, bool), number=number, conductance=values
    )


def test_constants_of_both_soft_bounds_come_back(fitted: PulsedFit) -> None:
    table = fitted.constants
    truth = {"read_noise_floor": 0.12, "g_min": 1.0}
    for direction, law in (("potentiation", BOUND), ("depression", DOWN)):
        truth |= {f"{direction}_fit[0]": law["c"], f"{direction}_fit[1]": law["r"]}
        truth |= {f"{direction}_spread_fit[0]": law["spread"], f"{direction}_device_spreads[0]": law["f"]}
    inside = {name: table.loc[name, "low"] <= value <= table.loc[name, "high"] for name, value in truth.items()}
    assert sum(inside.values()) >= len(inside) - 1, inside
    close = {name: value for name, value in truth.items() if "device" not in name}
    assert all(table.loc[name, "value"] == pytest.approx(value, rel=0.2) for name, value in close.items())
    assert fitted.laws["potentiation"] == fitted.laws["depression"] == "exponential (soft bound), spread constant"
    assert fitted.neurosim()["A_LTP"] == pytest.approx(-1 / np.log(0.94) / PULSES, rel=0.15)
    assert fitted.neurosim()["maxNumLevelLTD"] == PULSES
    assert "describe the curves" in fitted.verdict[-1] and any("Drift can't be told" in one for one in fitted.verdict)


def test_a_linear_law_is_told_from_a_soft_bound_and_needs_no_depression() -> None:
    table = long(curves(LINEAR, 12, 20, seed=3))
    found = devices.fit(table, replicates=50)
    assert found.laws == {"potentiation": "linear, spread constant", "depression": "not told"}
    low, high = found.constants.loc["potentiation_fit[0]", ["low", "high"]]
    assert low < 0.5 < high and found.device.potentiation_fit[1] == 0 and found.device.depression_fit is None
    assert any("Depression can't be told" in one for one in found.verdict)
    with pytest.raises(InvalidArgumentError, match="no law of depression"):
        found.device.depress(found.device.reset((2,), seed=0), 1, seed=0)
    with pytest.raises(DataError, match="The table has no depression"):
        devices.fit(table, depression=True)
    with pytest.raises(DataError, match="made of cells that were programmed"):
        found.tabulated()


def test_the_device_is_a_file_that_learning_names(fitted: PulsedFit, tmp_path: Path) -> None:
    path = tmp_path / "my_pulsed.yaml"
    fitted.save(path)
    device = devices.get(str(path))
    assert device == fitted.device == devices.deserialize(devices.serialize(device))
    assert "lot 9" in device.source and isinstance(hash(device), int) and device.drawn(0) != device
    assert all(one.stat().st_size > 10_000 for one in fitted.figures(tmp_path / "figures"))
    assert fitted.to_dict()["verdict"] == list(fitted.verdict)
    array = synapses.PulsedSynapses((6, 4), device=str(path), seed=0)
    names = [name for name in array.cells if name.endswith("factor")]
    assert set(names) == {"potentiation_step_factor", "depression_step_factor"}
    before = {name: array.cells[name].numpy().copy() for name in array.cells}
    array.rewrite(np.array([0, 1], "int64"), np.float32([5.0, -3.0]), 1.0, seed=1)
    for name in names:
        np.testing.assert_array_equal(array.cells[name].numpy(), before[name])
    assert not np.array_equal(array.cells["conductance"].numpy(), before["conductance"])


def test_the_fitted_device_pulses_as_the_equations_have_it() -> None:
    device = PulsedFitted(
        g_max=TOP, g_min=1.0, potentiation_fit=(1.0, 0.06), potentiation_device_spreads=(0.3, 0.2),
        depression_fit=(1.2, 0.08), depression_spread_fit=(0.0, 0.5),
    )  # fmt: skip
    state = device.pulse(device.reset((5,), seed=0), 4, seed=1)
    f, h = (np.asarray(state[f"potentiation_{kind}_factor"], float) for kind in ("step", "limit"))
    way = np.zeros(5)
    for _ in range(4):
        way = way + f * (1.0 - 0.06 / h * way)
    np.testing.assert_allclose(np.asarray(state["conductance"]) - 1.0, way, rtol=1e-4)
    many = device.reset((200_000,), seed=0)
    many = {**many, "conductance": np.full(200_000, 8.0, "float32")}
    step = 8.0 - np.asarray(device.depress(many, 1, seed=2)["conductance"], float)
    mean = 1.2 - 0.08 * 10.0
    assert step.mean() == pytest.approx(mean, rel=0.01) and step.std() == pytest.approx(0.5 * mean, rel=0.01)
    assert device.limit() == pytest.approx(1 + 1 / 0.06) and device.limit("depression") == pytest.approx(TOP - 15.0)


def test_all_forms_are_the_same_curves(tmp_path: Path) -> None:
    up, down = UP_CURVES[:12, :8], DOWN_CURVES[:12, :8]
    wanted = read_pulse_curves(long(up, down))
    by_pulse = {f"{word}@{n} (nS)": 1e3 * v[:, n] for word, v in (("LTP", up), ("LTD", down)) for n in range(8)}
    by_cell = {f"{word} cell{n} [uS]": v[n] for word, v in (("LTP", up), ("LTD", down)) for n in range(12)}
    path = tmp_path / "curves.csv"
    long(up, down).rename(columns={"conductance_uS": "G (S)"}).assign(**{"G (S)": lambda t: 1e-6 * t["G (S)"]}).to_csv(
        path, sep=";", index=False
    )
    for table in ({"cell": np.arange(12), **by_pulse}, {"Pulse #": np.arange(8), **by_cell}, path):
        found = read_pulse_curves(table)
        for direction in ("potentiation", "depression"):
            one, two = found.of(direction), wanted.of(direction)
            np.testing.assert_allclose(one.conductance[np.argsort(one.owner)], two.conductance, rtol=1e-9)
            np.testing.assert_array_equal(one.number, two.number)


def test_states_as_neurosim_users_have_them() -> None:
    up, down = UP_CURVES.mean(0), DOWN_CURVES.mean(0)
    table = {
        "Pulse_LTP": np.arange(len(up)),
        "Conductance_LTP": up,
        "Pulse_LTD": np.arange(len(down)),
        "Conductance_LTD": down,
    }
    with pytest.raises(DataError, match="must say the unit of its conductance.*'Conductance_LTP'"):
        devices.fit(table)
    found = devices.fit(table, units={"conductance": "uS"}, replicates=50)
    assert found.device.potentiation_fit == pytest.approx((1.0, 0.06), rel=0.2)
    assert not any(found.device.potentiation_device_spreads) and any("from one curve" in one for one in found.verdict)
    states = read_pulse_curves({"LTP_uS": up, "LTD_uS": down})
    assert states.pulses("depression") == PULSES and any("no pulse numbers" in one for one in states.notes)
    whole = read_pulse_curves({"pulse": np.arange(2 * PULSES + 1), "g_uS": np.concatenate([up, down[1:]])})
    assert abs(whole.pulses("potentiation") - PULSES) <= 1 and "names no directions" in whole.notes[0]


BAD = (
    (lambda t: t.rename(columns={"conductance_uS": "conductance"}), "must say the unit of its conductance"),
    (lambda t: t.assign(pulse=t["pulse"].replace(5, 3)), "must rise from row to row.*Received: 3 after 4"),
    (lambda t: t.drop(columns="direction"), "must rise.*add a column `direction`"),
    (lambda t: t[t["cell"] < 3], "at least 10 cells.*Received: 3 cells"),
    (lambda t: t.assign(conductance_uS=-t["conductance_uS"]), "at least 0. Received: -"),
    (lambda t: t.assign(pulse=t["pulse"] + 0.5), "whole numbers from 0"),
    (lambda t: t[t["direction"] == "LTD"], "depression only"),
    (lambda t: t.assign(direction=t["direction"].replace({"LTP": "LTD", "LTD": "LTP"})), "must raise the conductance"),
    (lambda t: t.assign(direction="left"), "must hold LTP or LTD.*Received: 'left'"),
    (lambda t: t[t["pulse"] < 1], "at least 10 readings"),
    (lambda t: t[["cell", "pulse"]], "no column with read conductances"),
)


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_pulse_tables(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        devices.fit(change(long(UP_CURVES[:, :9], DOWN_CURVES[:, :9])))


def test_bad_arguments() -> None:
    table = long(UP_CURVES)
    with pytest.raises(InvalidArgumentError, match="Pulse curves know no times"):
        devices.fit(table, t_0="25s")
    with pytest.raises(InvalidArgumentError, match="`g_max` of fit must be a number from 1"):
        devices.fit(table, g_max=5.0)
    with pytest.raises(InvalidArgumentError, match="`depression` is asked of pulse curves only"):
        devices.fit({"target_uS": [1.0], "g_uS@1h": [1.0]}, depression=True)
    with pytest.raises(InvalidArgumentError, match="must be two numbers"):
        PulsedFitted(potentiation_fit=(1.0,))
    with pytest.raises(InvalidArgumentError, match="needs a law of potentiation"):
        PulsedFitted(potentiation_fit=None)
    assert not is_pulsed(["cell", "target_uS", "conductance_uS@25s"]) and is_pulsed(["pulse", "LTP_uS"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from(("pulse", "LTP_uS", "g@3", "cycle", "cell 1 (nS)"))),
                min_size=1, max_size=5, unique=True))  # fmt: skip
def test_any_names_are_columns_of_pulse_curves_or_a_sentence(names: list[str]) -> None:
    assert is_pulsed(names) in (True, False)
    try:
        found = pulse_columns(names, {})
    except DataError as error:
        assert "Received: " in str(error)
    else:
        assert [column.name for column in found] == names


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.1])
def test_cells_that_hardly_differ_have_their_constants(spread: float) -> None:
    law = {"c": 0.1, "r": 0.0, "spread": 0.0, "read": 0.02, "f": spread}
    task = PulseTask(read_pulse_curves(long(curves(law, 12, 60, seed=4))).of("potentiation"), 1.0, 1.0)
    found = fit_direction(task)
    values = found.chosen.values()
    assert values["step"] == pytest.approx(0.1, rel=0.01 + 2 * spread / 12**0.5)
    assert values["step_spread"] == pytest.approx(spread, abs=0.6 * spread + 2e-3)
    assert values["read"] == pytest.approx(0.02, rel=0.1)
    assert all(excess > -2.5 for _, excess in found.others), "a simpler law is taken within 2"


def test_pulses_may_be_counted_on() -> None:
    table = long(UP_CURVES, DOWN_CURVES)
    on = table.assign(pulse=table["pulse"] + np.where(table["direction"] == "LTD", PULSES, 1))
    counted = [read_pulse_curves(one) for one in (table, on)]
    assert {one.pulses(direction) for one in counted for direction in ("potentiation", "depression")} == {PULSES}


def test_curves_that_are_counted_on_are_drawn(fitted: PulsedFit) -> None:
    on = long(UP_CURVES, DOWN_CURVES).assign(
        pulse=lambda one: one["pulse"] + np.where(one["direction"] == "LTD", 30, 0)
    )
    figure, _ = dataclasses.replace(fitted, measurements=read_pulse_curves(on)).drawings()["laws"]
    lines = [line.get_xdata() for line in figure.axes[1].get_lines() if len(line.get_xdata()) > 2]
    assert all((min(x), max(x)) == (30, 30 + PULSES) for x in lines)
