"""Devices fitted to simulated cells: exact likelihood, constants and readings come back, bad tables are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import dblquad

from analognets import crossbar as crossbars
from analognets import devices
from analognets.devices import PCM, FittedDevice
from analognets.devices.fitting.fit import DeviceFit
from analognets.devices.fitting.likelihood import Cells, posterior
from analognets.devices.fitting.measurements import read_measurements
from analognets.devices.fitting.residuals import simulated
from analognets.devices.fitting.stuck import find_stuck
from analognets.errors import DataError, InvalidArgumentError

TIMES = (25.0, 300.0, 3600.0, 86_400.0)
HIDDEN = FittedDevice(
    g_max=20.0,
    programming_fit=(0.4, 1.2),
    programming_fit_g_max=20.0,
    programming_bias_fit=(0.3,),
    drift_mean_fit=(-0.02, 0.03, 0.045, 0.2),
    drift_spread_fit=(0.0, 0.012, 0.012, 0.012),
    read_noise_fit=(0.006, 0.5, 0.3),
    stuck_shares=(0.04, 0.02),
    stuck_conductances=(0.1, 19.0),
)


def wide(device: Any, cells: int, times: tuple[float, ...] = TIMES, seed: int = 0) -> pd.DataFrame:
    """Return a wide table of simulated cells with targets all over the range."""
    target = np.linspace(0.01, 1.0, cells) * device.g_max
    readings = simulated(device, target, np.tile(times, (cells, 1)), copies=1, seed=seed)[0].astype(np.float64)
    columns = {f"conductance_uS@{time:g}s": readings[:, place] for place, time in enumerate(times)}
    return pd.DataFrame({"cell": np.arange(cells), "target_uS": target, **columns})


@pytest.fixture(scope="module")
def fitted() -> DeviceFit:
    return devices.fit(wide(HIDDEN, 400), g_max=20.0, source="lot 7", replicates=100)


def test_the_likelihood_is_the_integral_over_what_is_hidden() -> None:
    measured = read_measurements(wide(dataclasses.replace(HIDDEN, stuck_shares=(0, 0)), 24))
    cells = Cells.of(measured, 25.0, 250e-9)
    values = np.tile([[0.3], [0.8], [0.05], [0.012], [0.008]], (1, 24))
    found = posterior(cells, values, drifts=True).log
    time = np.array(TIMES)
    spread = 0.008 * np.sqrt(np.log((time + 250e-9) / 500e-9))

    def normal(x: Any, mean: Any, sd: Any) -> Any:
        return np.exp(-0.5 * ((x - mean) / sd) ** 2) / (np.sqrt(2 * np.pi) * sd)

    for place in (5, 12, 23):
        target, readings = measured.target[place], measured.conductance[place]

        def density(nu: float, g: float, target: float = target, readings: np.ndarray = readings) -> float:
            mean = g * (time / 25.0) ** -nu
            return float(
                normal(readings, mean, mean * spread).prod() * normal(g, target + 0.3, 0.8) * normal(nu, 0.05, 0.012)
            )

        low, high = 0.8 * readings[0], 1.25 * readings[0]
        exact, _ = dblquad(density, low, high, 0.0, 0.12, epsrel=1e-5)
        assert found[place] == pytest.approx(np.log(exact), abs=0.01)


def test_scores_and_curvature_are_derivatives() -> None:
    measured = read_measurements(wide(dataclasses.replace(HIDDEN, stuck_shares=(0, 0)), 60))
    cells = Cells.of(measured, 25.0, 250e-9).only(slice(10, 60))
    values = np.tile([[0.3], [0.9], [0.05], [0.012], [0.008]], (1, 50))
    found = posterior(cells, values, drifts=True, curvature=True)
    for row, step in enumerate((1e-3, 1e-3, 1e-5, 1e-5, 1e-6)):
        up, down = values.copy(), values.copy()
        up[row] += step
        down[row] -= step
        high, low = (posterior(cells, one, drifts=True) for one in (up, down))
        slope = (high.log - low.log) / (2 * step)
        scale = np.abs(found.score[:, row]).mean()
        assert np.abs(slope - found.score[:, row]).max() < 0.1 * scale
        bend = -(high.score - low.score) / (2 * step)
        assert bend.sum(0)[row] == pytest.approx(found.curvature[:, row, row].sum(), rel=0.05)


def test_constants_come_back(fitted: DeviceFit) -> None:
    table = fitted.constants
    truth = {"programming_bias_fit[0]": 0.3, "programming_fit[0]": 0.4, "programming_fit[1]": 1.2}
    truth |= {"drift_mean_fit[0]": -0.02, "drift_mean_fit[1]": 0.03, "drift_mean_fit[2]": 0.045}
    truth |= {"read_noise_fit[0]": 0.006, "read_noise_fit[1]": 0.5, "stuck_shares[0]": 0.04, "stuck_shares[1]": 0.02}
    inside = [table.loc[name, "low"] <= value <= table.loc[name, "high"] for name, value in truth.items()]
    assert sum(inside) >= len(inside) - 1
    assert (table["low"] <= table["high"]).all()
    assert fitted.stuck.conductances == pytest.approx((0.1, 19.0))


def test_cells_programmed_to_0_are_stuck_only_if_that_is_likelier() -> None:
    random = np.random.default_rng(0)
    target = random.uniform(0.0, 20.0, 2_000)
    read = np.maximum(target + 0.6 * random.normal(size=(2_000, 1)).T, 0.0).T * np.exp(0.02 * random.normal(size=2))
    broken = random.random(2_000) < 0.01
    read[broken] = 0.0
    table = {"cell": np.arange(2_000), "target_uS": target, "g_uS@25s": read[:, 0], "g_uS@1h": read[:, 1]}
    measured = read_measurements(table)
    found = find_stuck(measured, 20.0)
    truth = broken[np.array(measured.cells, int)]
    near = (measured.target < 0.6) & (measured.conductance[:, 0] == 0) & ~truth
    assert near.sum() > 20 and found.ordinary[near].all()
    assert not found.ordinary[truth & (measured.target > 3.0)].any() and found.ordinary[~truth].mean() > 0.999


def test_what_the_device_predicts_is_what_the_hidden_one_does(fitted: DeviceFit) -> None:
    target = np.full(4_000, 12.0)
    month = np.full((4_000, 1), 2_592_000.0)
    one, two = (simulated(device, target, month, copies=1, seed=1)[0, :, 0] for device in (HIDDEN, fitted.device))
    quantiles = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(one, quantiles), np.quantile(two, quantiles), rtol=0.04)


def test_the_device_is_a_file_that_hardware_names(fitted: DeviceFit, tmp_path: Path) -> None:
    path = tmp_path / "my_device.yaml"
    fitted.save(path)
    device = devices.get(str(path))
    assert device == fitted.device == devices.deserialize(devices.serialize(device))
    assert "lot 7" in device.source and "sha256" in device.source and isinstance(hash(device), int)
    assert crossbars.get("aon_cim_8bit").replace(device=str(path)).device == device
    chip = tmp_path / "my_chip.yaml"
    chip.write_text("rows: 256\ncols: 128\ndevice: my_device.yaml\nsource: a test\n")
    hardware = crossbars.get(str(chip))
    assert (hardware.rows, hardware.device, hardware.name) == (256, device, "my_chip")
    assert crossbars.get(hardware.get_config()) == hardware
    hot = devices.get(str(path), activation_energy=0.2, temperature=350.0)
    assert hot.drift_factor > 2.0 and dataclasses.replace(hot, temperature=device.temperature).drift_factor == 1.0


def test_replicates_are_devices(fitted: DeviceFit) -> None:
    drawn = fitted.device.drawn(0)
    assert drawn != fitted.device and not drawn.uncertainty and drawn.drift_mean_fit != fitted.device.drift_mean_fit
    assert fitted.device.drawn(64) == drawn
    with pytest.raises(InvalidArgumentError, match="holds no replicates"):
        drawn.drawn(0)


def test_pictures_and_plain_data(fitted: DeviceFit, tmp_path: Path) -> None:
    assert [path.stat().st_size > 10_000 for path in fitted.figures(tmp_path / "figures")] == [True, True]
    facts = fitted.to_dict()
    assert facts["cells"] == 400 and facts["laws"]["programming_spread"] == "line in g"
    assert any("are stuck at 0.1 uS" in sentence for sentence in facts["verdict"])
    assert facts["verdict"] == list(fitted.verdict)


def test_long_and_wide_tables_are_the_same_cells() -> None:
    table = wide(HIDDEN, 30)
    long = table.melt(["cell", "target_uS"], var_name="when", value_name="conductance (nS)")
    long["time [min]"] = long["when"].str.extract(r"@(.*)s")[0].astype(float) / 60
    long["conductance (nS)"] *= 1e3
    one, two = read_measurements(table), read_measurements(long.drop(columns="when"))
    assert one.cells == two.cells
    np.testing.assert_allclose(one.conductance, two.conductance, rtol=1e-12)
    np.testing.assert_allclose(one.time, two.time, rtol=1e-12)
    table = table.iloc[5:]
    one = read_measurements(table)
    ohms = table.assign(**{f"R@{time:g}s (kohm)": 1e3 / table[f"conductance_uS@{time:g}s"] for time in TIMES})
    ohms = ohms.drop(columns=[name for name in ohms if "conductance" in name])
    np.testing.assert_allclose(read_measurements(ohms).conductance, one.conductance, rtol=1e-9)


def test_one_time_tells_no_drift_and_one_target_no_law() -> None:
    table = wide(HIDDEN, 60, times=(25.0,)).assign(target_uS=12.0)
    readings = 12.0 + np.random.default_rng(0).normal(size=60)
    fit = devices.fit(table.assign(**{"conductance_uS@25s": readings}), replicates=20)
    text = " ".join(fit.verdict)
    for sentence in ("Drift can't be told", "Read noise can't be told", "can't be told from 1 target:"):
        assert sentence in text
    assert fit.device.drift_scale == fit.device.read_noise_scale == 0.0
    assert fit.device.programming_fit[0] == pytest.approx(readings.std(), rel=0.1)
    assert fit.laws["drift_mean"] == "not told"


def test_a_simpler_law_is_taken_where_it_does() -> None:
    flat = dataclasses.replace(
        HIDDEN, programming_fit=(0.5,), drift_mean_fit=(0.0, 0.05, 0.05, 0.05), stuck_shares=(0, 0)
    )
    table = wide(dataclasses.replace(flat, programming_bias_fit=(0.0,)), 120, seed=5)
    laws = devices.fit(table, replicates=20).laws
    assert (laws["programming_mean"], laws["programming_spread"], laws["drift_mean"]) == (
        "none",
        "constant",
        "constant",
    )


def test_drift_rises_with_temperature_as_arrhenius_has_it() -> None:
    cells = 150
    kelvin = np.tile([300.0, 330.0, 360.0], cells // 3)
    still = dataclasses.replace(HIDDEN, stuck_shares=(0, 0))
    factor = np.exp(-0.15 / 8.617e-5 * (1 / kelvin - 1 / 330.0))
    target, when = np.random.default_rng(0).uniform(2.0, 20.0, cells), np.tile((25.0, 3600.0, 86_400.0), (cells, 1))
    readings = simulated(still, target, when, copies=1, seed=4, warmth=factor)[0]
    table = {"target_uS": target, "temperature_C": kelvin - 273.15}
    fit = devices.fit(
        {**table, **{f"g_uS@{t}": readings[:, n] for n, t in enumerate(("25s", "1h", "1d"))}}, replicates=20
    )
    row = fit.constants.loc["activation_energy"]
    assert row["low"] < 0.15 < row["high"] and row["high"] - row["low"] < 0.08
    assert fit.device.temperature == fit.device.reference_temperature == pytest.approx(330.0)
    assert any("activation energy" in sentence for sentence in fit.verdict)
    assert isinstance(fit.device.drawn(0).activation_energy, float)


def test_tabulated() -> None:
    target = np.repeat([0.0, 5.0, 10.0, 20.0], 200)
    readings = simulated(PCM(g_max=20.0), target, np.tile(TIMES, (800, 1)), copies=1, seed=3)[0]
    columns = {f"g_uS@{time:g}s": readings[:, place] for place, time in enumerate(TIMES)}
    measured = read_measurements({"target_uS": target, **columns})
    from analognets.devices.fitting.tables import tabulate

    device = tabulate(measured, 20.0)
    assert devices.deserialize(devices.serialize(device)) == device
    state = device.program(np.full(5_000, 10.0, "float32"), 0)
    for place, time in enumerate(TIMES):
        read = np.asarray(device.read(state, time, seed=place))
        assert np.quantile(read, [0.2, 0.5, 0.8]) == pytest.approx(
            np.quantile(readings[400:600, place], [0.2, 0.5, 0.8]), rel=0.02
        )
    between = np.asarray(device.read(device.program(np.full(5_000, 7.5, "float32"), 0), "25s", seed=0))
    assert between.mean() == pytest.approx(7.5, rel=0.03)
    assert 0 < device.memory < 1 and float(np.asarray(device.first_deviation(np.float32([0.5])))[0]) == pytest.approx(
        readings[400:600, 0].std() / 20.0, rel=0.1
    )


def test_all_constants_have_a_name_in_the_device(fitted: DeviceFit) -> None:
    for name in fitted.draws.names:
        field, _, place = name.partition("[")
        assert len(getattr(fitted.device, field)) > int(place.rstrip("]"))
    assert {name for name in fitted.told if not name.startswith("stuck")} <= {*fitted.draws.names}


BAD = (
    (lambda t: t.rename(columns={"target_uS": "target"}), DataError, "must say the unit of its target.*'target'"),
    (
        lambda t: t.rename(columns={"conductance_uS@25s": "conductance@25s"}),
        DataError,
        "unit of its conductance.*'cond",
    ),
    (lambda t: t.rename(columns={"target_uS": "target_us"}), DataError, "The name of a column must say the unit.*'us'"),
    (
        lambda t: t.rename(columns={"conductance_uS@25s": "conductance_uS@0s"}),
        DataError,
        "greater than 0.*0 s in row 1",
    ),
    (
        lambda t: t.assign(**{"conductance_uS@300s": -1.0}),
        DataError,
        r"at least 0. Received: -1 uS in row 1 \(and in 29",
    ),
    (lambda t: t.head(3), DataError, "at least 20 cells.*Received: 3 cells"),
    (lambda t: t.head(0), DataError, "is empty"),
    (lambda t: t.drop(columns="target_uS"), DataError, "no column with a target conductance"),
    (lambda t: t[["cell", "target_uS"]], DataError, "no column with read conductances"),
    (lambda t: t.assign(time_s=1.0), DataError, "either long.*or wide"),
    (
        lambda t: t.assign(target_uS="high"),
        DataError,
        "'target_uS' must hold finite numbers. Received: 'high' in row 1",
    ),
    (lambda t: t.assign(target_uS=t["target_uS"] * 1e3), DataError, "one of their units is likely wrong"),
    (lambda t: t.assign(cell=1), DataError, "A wide table has one row a cell. Received: 30 rows"),
)


@pytest.mark.parametrize(("change", "kind", "message"), BAD)
def test_bad_tables(change: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        devices.fit(change(wide(HIDDEN, 30)))


def test_bad_arguments(tmp_path: Path) -> None:
    table = wide(HIDDEN, 30)
    with pytest.raises(InvalidArgumentError, match="`g_max` of fit must be a number from 20 to"):
        devices.fit(table, g_max=10.0)
    with pytest.raises(DataError, match="come as the path of a CSV file"):
        devices.fit(3)
    with pytest.raises(DataError, match="Can't read the table of measured cells"):
        devices.fit(tmp_path / "none.csv")
    with pytest.raises(InvalidArgumentError, match="ends in .yaml"):
        devices.save(PCM(), tmp_path / "device.json")
    (tmp_path / "odd.yaml").write_text("cells: 3\n")
    with pytest.raises(InvalidArgumentError, match="must hold the key `device`"):
        devices.get(str(tmp_path / "odd.yaml"))
    with pytest.raises(InvalidArgumentError, match="The device file .* can't be read"):
        devices.get(str(tmp_path / "none.yaml"))
    devices.save(PCM(t_0=20.0), tmp_path / "pcm.yaml")
    assert devices.get(str(tmp_path / "pcm.yaml")) == PCM(t_0=20.0)
