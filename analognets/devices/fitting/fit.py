"""Fit a device to measured cells: stuck cells, laws, maximum likelihood, bootstrap, verdict."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from analognets.devices.device_files import write_device_file
from analognets.devices.fitted import FittedDevice
from analognets.devices.fitting.bootstrap import Draws, bootstrap
from analognets.devices.fitting.laws import PARTS, Scale
from analognets.devices.fitting.likelihood import Cells
from analognets.devices.fitting.measurements import MIN_CELLS, Measurements, frame_of, read_measurements
from analognets.devices.fitting.pulses import is_pulsed
from analognets.devices.fitting.pulses.fit import PulsedFit, fit_pulses
from analognets.devices.fitting.residuals import Residuals, residuals_of
from analognets.devices.fitting.results import constants_table, facts_of, kept, rounded, written
from analognets.devices.fitting.search import Alternative, FitTask, Model, Solved, search
from analognets.devices.fitting.stuck import Stuck, find_stuck
from analognets.devices.fitting.temperature import NAME, Warm, energy_steps, first_energy, fit_energy, warm_of
from analognets.devices.fitting.verdict import verdict_of
from analognets.devices.tabulated import TabulatedDevice
from analognets.errors import DataError, InvalidArgumentError, check_integer, check_number, shortened
from analognets.units import parse_duration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DeviceFit", "fit_device"]

STUCK = ("stuck_shares[0]", "stuck_shares[1]")
T_READ = 250e-9
"""Width of a read pulse in seconds."""
SMALL_RISE = 0.5
"""Least ln(t / t_0) of the last reading from which a drift exponent can be told."""


@dataclasses.dataclass(frozen=True)
class DeviceFit:
    """A device, what it was fitted to, and how well it is known.

    Args:
        device: with source and uncertainty inside.
        laws: name of the law of each part.
        alternatives: (part, law, excess of AIC) of laws that the data can't tell from the chosen one.
        told: names of the constants that the data determine; all others are held where the data end.
        draws: replicates of the bootstrap.
        stuck: cells that do not follow their target.
        measurements: all cells.
        residuals: where each reading lies among those that the device predicts.
        verdict: what the data tell and what they can't, one sentence each.

    Examples:
        >>> found = fit_device(cells, replicates=20)
        >>> found.save("my_pcm.yaml")
        >>> analognets.devices.get("my_pcm.yaml").g_max
        24.0
        >>> sorted(found.constants.columns)
        ['high', 'low', 'part', 'told', 'value']
    """

    of_pulses: ClassVar[bool] = False
    """Whether it is of pulse curves, and not of programmed cells."""

    device: FittedDevice
    laws: Mapping[str, str]
    alternatives: tuple[tuple[str, str, float], ...]
    told: frozenset[str]
    draws: Draws
    stuck: Stuck
    measurements: Measurements
    residuals: Residuals
    verdict: tuple[str, ...]

    @property
    def constants(self) -> pd.DataFrame:
        """The constants, one row each: part, constant, value, low and high of the 95 % interval, told."""
        table = constants_table(self.device, self.draws, self.told, _part_of)
        for side, name in enumerate(STUCK):
            table.loc[name, ["low", "high"]] = self.stuck.interval(side)
        return table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the device as a YAML file that hardware and recipes can name as their `device`.

        Raises:
            RunError: the file can't be written.
        """
        write_device_file(path, "fitted", self.device.get_config())

    def figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Draw the laws with the cells, and quantile plots by level and time, into a folder; returns the paths.

        Raises:
            RunError: a file can't be written.
        """
        return written(self.drawings(), folder)

    def drawings(self) -> dict[str, tuple[Any, str]]:
        """Return figures with their captions, by the name of their file."""
        from analognets.devices.fitting.figures import laws_figure, quantiles_figure

        laws = "; ".join(f"{part.replace('_', ' ')}: {law}" for part, law in self.laws.items())
        return {
            "laws": (laws_figure(self), f"Laws over the target conductance with 95 % bands. {laws}."),
            "quantiles": (quantiles_figure(self), "Measured against predicted deviations, by level and time."),
        }

    def tabulated(self, *, levels: int = 12, shares: int = 21) -> TabulatedDevice:
        """Return the device without laws: quantiles of the measured cells by level and time, stuck cells included.

        Args:
            levels: how many at most; targets are gathered into so many groups where there are more.
            shares: quantiles a level.

        Raises:
            DataError: the cells have too few common times, or too few of them a level.
        """
        from analognets.devices.fitting.tables import tabulate

        return tabulate(self.measurements, self.device.g_max, levels=levels, shares=shares)

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain data for JSON."""
        stuck = {"low": self.stuck.counts[0], "high": self.stuck.counts[1], "others": self.stuck.others}
        return {**facts_of(self), "t_0_s": self.device.t_0, "stuck": stuck}


def fit_device(
    table: Any,
    *,
    g_max: float | None = None,
    t_0: str | float | None = None,
    t_read: str | float = T_READ,
    units: Mapping[str, str] | None = None,
    source: str = "",
    replicates: int = 400,
    seed: int = 0,
    depression: bool = False,
) -> DeviceFit | PulsedFit:
    """Return the device that measured cells are best described by, and how well its constants are known.

    The laws are those of `FittedDevice`: mean and spread of the programming error as polynomials in g = G / g_max, mean
    and spread of the drift exponent as lines in ln g that may stop at a low and a high value, read noise as a power of
    g. Their constants are those of maximum likelihood (scipy's L-BFGS-B, within bounds), the programmed conductance and
    the exponent of each cell integrated out; of each part the law with the lowest AIC is taken. Cells that are stuck
    are counted and left out before.

    A table that counts pulses in place of targets and times holds pulse curves: `fit_pulses` fits a `PulsedFitted`.

    Args:
        table: path of a CSV file, a pandas table, or arrays by name of column; see `read_measurements`, and
            `read_pulse_curves` for pulse curves.
        g_max: in uS, not below the highest target; None: the highest target.
        t_0: time after programming that the programming error belongs to and drift is counted from; None: the first
            time of the table.
        t_read: width of a read pulse, which read noise is counted from; the readings hardly tell it.
        units: units by role (target, conductance, time, temperature), where names of columns don't say them.
        source: what to call the data in the device; the name and the sha256 of the table are added.
        replicates: of the bootstrap, 20 to 100,000.
        seed: of the bootstrap.
        depression: whether to refuse pulse curves without depression.

    Returns:
        The fit; its verdict says what the data can't tell.

    Raises:
        DataError: the table can't be read or used.
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> found = fit_device(cells, replicates=20)
        >>> found.device.g_max, len(found.measurements)
        (24.0, 120)
        >>> found.laws["read_noise"]
        'power of g'
    """
    pulses = _pulse_curves(table, t_0, t_read, depression)
    if pulses:
        given: dict[str, Any] = {
            "g_max": g_max,
            "units": units,
            "source": source,
            "replicates": replicates,
            "seed": seed,
        }
        return fit_pulses(table, **given, depression=depression)
    found = read_measurements(table, units=units)
    top = float(found.target.max())
    full = top if g_max is None else check_number("fit", "g_max", g_max, top, 1e6, unit="uS")
    first = float(np.nanmin(found.time)) if t_0 is None else parse_duration(t_0)
    first = check_number("fit", "t_0", first, 1e-9, 1e9, unit="s")
    pulse = check_number("fit", "t_read", parse_duration(t_read), 1e-15, min(1e3, 0.25 * first), unit="s")
    replicates = check_integer("fit", "replicates", replicates, 20, 100_000)
    seed = check_integer("fit", "seed", seed, 0, 2**62)
    stuck = find_stuck(found, full)
    ordinary = found.only(stuck.ordinary)
    if len(ordinary) < MIN_CELLS:
        raise DataError(
            f"A fit needs at least {MIN_CELLS} cells that follow their target. Received: {len(ordinary)} of "
            f"{len(found)}; the others read the same whatever their target. Check the columns of targets and readings."
        )
    plain = _task(ordinary, full, first, pulse)
    warm = warm_of(ordinary.temperature, plain)
    task, model, others, energy = _searched(plain, warm)
    more = {NAME: partial(energy_steps, plain, warm, model, energy)} if warm else {}
    draws = bootstrap(task, model, others, replicates=replicates, seed=seed, more=more)
    draws = _with_stuck(draws, stuck, seed)
    told = _told(model, draws, stuck)
    device = _device(task, model, (full, first, pulse), stuck, draws, f"{source}{'; ' if source else ''}{found.source}")
    if found.temperature is not None:
        kelvin = warm.reference if warm else float(np.median(found.temperature))
        warmth: dict[str, Any] = {
            "activation_energy": rounded(energy),
            "temperature": kelvin,
            "reference_temperature": kelvin,
        }
        device = dataclasses.replace(device, **warmth)
    shown = tuple((other.part, other.solved.law.name, other.excess) for other in others)
    residuals = residuals_of(
        dataclasses.replace(device, stuck_shares=(0.0, 0.0)), ordinary, warmth=warm.factor(energy) if warm else None
    )
    laws = {part: model[part].law.name if part in model else "not told" for part in PARTS}
    verdict = verdict_of(found, task, laws, shown, draws, told, stuck, residuals, first)
    return DeviceFit(device, laws, shown, told, draws, stuck, found, residuals, verdict)


def _pulse_curves(table: Any, t_0: Any, t_read: Any, depression: bool) -> bool:
    """Return whether a table holds pulse curves, and refuse arguments that are not for its kind."""
    names = frame_of(table)[0].columns
    pulses = is_pulsed(names)
    if pulses and (t_0 is not None or parse_duration(t_read) != T_READ):
        raise InvalidArgumentError(
            f"Pulse curves know no times. Received: t_0={t_0!r}, t_read={t_read!r} with the columns "
            f"{shortened(', '.join(map(str, names)), 200)}. Leave both out."
        )
    if depression and not pulses:
        raise InvalidArgumentError(
            "`depression` is asked of pulse curves only. Received: depression=True with the columns "
            f"{shortened(', '.join(map(str, names)), 200)}. Leave it out, or name a column `pulse`."
        )
    return pulses


def _searched(plain: FitTask, warm: Warm | None) -> tuple[FitTask, dict[str, Solved], list[Alternative], float]:
    """Return the task at the fitted energy of the drift exponent, its laws, others nearly as good, and the energy."""
    if warm is None:
        return plain.fine(), *search(plain), 0.0
    energy = first_energy(plain, warm)
    model, others = search(warm.at(plain, energy))
    energy = fit_energy(plain, warm, model, energy)
    task = warm.at(plain.fine(), energy)
    model, _ = task.maximise(model, task.parts, steps=100)
    return task, model, others, energy


def _task(found: Measurements, g_max: float, t_0: float, t_read: float) -> FitTask:
    """Return what is fitted: drift and read noise where the cells were read often enough for them."""
    counts = np.isfinite(found.conductance).sum(1)
    rise = np.log(np.nanmax(found.time, axis=1) / np.maximum(found.time[:, 0], t_0))
    several = int((counts >= 2).sum())
    drifts = int((rise >= SMALL_RISE).sum()) >= MIN_CELLS
    noisy = int((counts >= 3).sum()) >= MIN_CELLS or (several >= MIN_CELLS and not drifts)
    return FitTask(Cells.of(found, t_0, t_read), Scale(found.target / g_max, g_max), drifts, noisy)


def _with_stuck(draws: Draws, stuck: Stuck, seed: int) -> Draws:
    random = np.random.default_rng([seed, 1])
    values = np.concatenate([draws.values, stuck.draw(random, len(draws.values))], axis=1)
    return Draws((*draws.names, *STUCK), values, draws.loose)


def _told(model: Model, draws: Draws, stuck: Stuck) -> frozenset[str]:
    """Return which constants the data determine."""
    names = {f"{PARTS[part].field}[{place}]" for part, solved in model.items() for place in solved.law.places}
    names |= {NAME} & {*draws.names}
    names |= {name for name, seen in zip(STUCK, stuck.seen, strict=True) if seen >= MIN_CELLS}
    return frozenset(names - {*draws.loose})


def _device(
    task: FitTask, model: Model, scales: tuple[float, float, float], stuck: Stuck, draws: Draws, source: str
) -> FittedDevice:
    g_max, t_0, t_read = scales
    fields: dict[str, list[float]] = {}
    for part, solved in model.items():
        fields[PARTS[part].field] = [rounded(v) for v in solved.law.device(solved.constants, task.scale)]
    uncertainty = kept(draws, "one-step bootstrap over cells, and over laws by their Akaike weights", len(task.cells))
    for side, name in enumerate(STUCK):
        place = draws.names.index(name)
        uncertainty["low"][place], uncertainty["high"][place] = map(rounded, stuck.interval(side))
    return FittedDevice(
        g_max=g_max,
        t_0=t_0,
        t_read=t_read,
        programming_fit_g_max=g_max,
        drift_scale=1.0 if task.drifts else 0.0,
        read_noise_scale=1.0 if task.noisy else 0.0,
        stuck_shares=tuple(map(rounded, stuck.shares)),
        stuck_conductances=tuple(rounded(min(value, 2.0 * g_max)) for value in stuck.conductances),
        source=source,
        uncertainty=uncertainty,
        **fields,  # type: ignore[arg-type]
    )


def _part_of(name: str) -> str:
    field = name.partition("[")[0]
    if field == NAME:
        return "temperature of drift, eV"
    return next((part.title for part in PARTS.values() if part.field == field), "stuck cells")
