"""Fit a pulsed device to pulse curves: laws of both directions, bootstrap, residuals, verdict."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from analognets.devices.device_files import write_device_file
from analognets.devices.fitting.bootstrap import Draws
from analognets.devices.fitting.pulses.curves import DOWN, UP, PulseCurves, read_pulse_curves
from analognets.devices.fitting.pulses.laws import Direction, fit_direction
from analognets.devices.fitting.pulses.likelihood import PulseTask
from analognets.devices.fitting.pulses.residuals import pulse_residuals
from analognets.devices.fitting.pulses.verdict import pulse_verdict
from analognets.devices.fitting.residuals import Residuals
from analognets.devices.fitting.results import constants_table, facts_of, kept, rounded, written
from analognets.devices.pulsed_fitted import PulsedFitted
from analognets.errors import DataError, check_integer, check_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PulsedFit", "fit_pulses"]

TOP = 0.999
"""Share of the readings that lies below g_max, where none is given."""
FIELDS = {
    "fit[0]": "step", "fit[1]": "loss", "spread_fit[0]": "spread", "spread_fit[1]": "share",
    "device_spreads[0]": "step_spread", "device_spreads[1]": "limit_spread",
}  # fmt: skip
"""Constants of a direction in the device, by the names of the likelihood."""
TITLES = {"fit": "mean step", "spread_fit": "spread from pulse to pulse", "device_spreads": "spread between devices"}
LEAST_G_MIN = 1e-6
"""As a share of g_max: a device never reads 0 after RESET."""


@dataclasses.dataclass(frozen=True)
class PulsedFit:
    """A pulsed device, what it was fitted to, and how well it is known.

    Args:
        device: with source and uncertainty inside.
        laws: name of the law of each part.
        alternatives: (part, law, excess of AIC) of laws that are nearly as good as the chosen one.
        told: names of the constants that the curves determine.
        draws: replicates of the bootstrap.
        measurements: all curves.
        residuals: where each reading lies among those that the device predicts for its curve; times are pulse numbers.
        down: whether a curve of the residuals depresses.
        verdict: what the data tell and what they can't, one sentence each.

    Examples:
        >>> found = analognets.devices.fit(pulses, replicates=20)
        >>> found.laws["potentiation"], found.device.depression_fit
        ('exponential (soft bound), spread constant', None)
    """

    of_pulses: ClassVar[bool] = True
    """Whether it is of pulse curves, and not of programmed cells."""

    device: PulsedFitted
    laws: Mapping[str, str]
    alternatives: tuple[tuple[str, str, float], ...]
    told: frozenset[str]
    draws: Draws
    measurements: PulseCurves
    residuals: Residuals
    down: np.ndarray
    verdict: tuple[str, ...]

    @property
    def constants(self) -> pd.DataFrame:
        """The constants, one row each: part, constant, value, low and high of the 95 % interval, told."""
        return constants_table(self.device, self.draws, self.told, _part_of)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the device as a YAML file that hardware, recipes and learning on devices can name as their `device`.

        Raises:
            RunError: the file can't be written.
        """
        write_device_file(path, "pulsed_fitted", self.device.get_config())

    def drawings(self) -> dict[str, tuple[Any, str]]:
        """Return figures with their captions, by the name of their file."""
        from analognets.devices.fitting.pulses.figures import curves_figure, steps_quantiles_figure

        laws = "; ".join(f"{part}: {law}" for part, law in self.laws.items())
        return {
            "laws": (curves_figure(self), f"Curves with the fitted device, and mean steps with 95 % bands. {laws}."),
            "quantiles": (steps_quantiles_figure(self), "Measured against predicted conductances, by pulse number."),
        }

    def figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Draw curves and laws, and quantile plots by pulse number, into a folder; returns the paths.

        Raises:
            RunError: a file can't be written.
        """
        return written(self.drawings(), folder)

    def tabulated(self, **options: Any) -> Any:
        """Refuse: a tabulated device is of programmed cells.

        Raises:
            DataError: always.
        """
        raise DataError(
            "A tabulated device is made of cells that were programmed to targets. Received: pulse curves. Take the "
            "fitted laws."
        )

    def neurosim(self) -> dict[str, float]:
        """Return the constants as NeuroSim counts them: siemens, pulses, A as a share of the pulses, spreads as shares.

        Cycle-to-cycle spread is that of a step at mid range, as a share of the range; device-to-device spread is that
        of the step, as a share.
        """
        device = self.device
        found: dict[str, float] = {}
        for direction, word in ((UP, "LTP"), (DOWN, "LTD")):
            fit, pulses = getattr(device, f"{direction}_fit"), self.measurements.pulses(direction)
            if fit is None:
                continue
            low, high = self.ends(direction)
            spread, share = getattr(device, f"{direction}_spread_fit")
            middle = abs(fit[0] - fit[1] * 0.5 * abs(high - low))
            found |= {
                f"maxNumLevel{word}": float(pulses),
                f"A_{word}": -1.0 / np.log1p(-min(fit[1], 0.999)) / pulses if fit[1] else np.inf,
                f"cycleToCycle{word}": (spread + share * middle) / max(abs(high - low), 1e-12),
                f"deviceToDevice{word}": getattr(device, f"{direction}_device_spreads")[0],
            }
            if direction == UP:
                found |= {"minConductance": 1e-6 * low, "maxConductance": 1e-6 * high}
        return {name: float(value) for name, value in found.items()}

    def ends(self, direction: str) -> tuple[float, float]:
        """Return the conductances in uS before the first and after the last measured pulse, of the median device."""
        device, pulses = self.device, self.measurements.pulses(direction)
        c, r = device.law(direction)
        way = c * pulses if not r else c / r * (1.0 - (1.0 - r) ** pulses)
        return (device.g_max, device.g_max - way) if direction == DOWN else (device.g_min, device.g_min + way)

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain data for JSON."""
        known = {name: value if np.isfinite(value) else None for name, value in self.neurosim().items()}
        return {**facts_of(self), "g_min_us": self.device.g_min, "neurosim": known}


def fit_pulses(
    table: Any,
    *,
    g_max: float | None = None,
    units: Mapping[str, str] | None = None,
    source: str = "",
    replicates: int = 400,
    seed: int = 0,
    depression: bool = False,
) -> PulsedFit:
    """Return the pulsed device that pulse curves are best described by, and how well its constants are known.

    The laws are those of `PulsedFitted`. Of each direction the constants are those of maximum likelihood (scipy's
    L-BFGS-B, within bounds): a Kalman filter over the pulses tells spread of the steps from read noise, and the factors
    of each cell are integrated out by Laplace's method. Linear or soft bound, a spread that is constant or a share of
    the step, and a spread of the limits are chosen by AIC. Read noise is that of potentiation.

    Args:
        table: path of a CSV file, a pandas table, or arrays by name of column; see `read_pulse_curves`.
        g_max: limit of the conductance in uS, not below what half of the curves reach; None: 99.9 % of the readings lie
            below.
        units: {"conductance": "uS"}, where names of columns don't say it.
        source: what to call the data in the device; the name and the sha256 of the table are added.
        replicates: of the bootstrap over cells (of one curve: over its readings), 20 to 100,000.
        seed: of the bootstrap.
        depression: whether to refuse a table without depression.

    Raises:
        DataError: the table can't be read or used, or lacks the depression that is asked for.
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> found = fit_pulses(pulses, replicates=20)
        >>> found.told >= {"potentiation_fit[0]", "potentiation_fit[1]"}
        True
    """
    curves = read_pulse_curves(table, units=units)
    replicates = check_integer("fit", "replicates", replicates, 20, 100_000)
    seed = check_integer("fit", "seed", seed, 0, 2**62)
    if depression and not curves.down.any():
        raise DataError(
            "The table has no depression. Received: curves of potentiation only, with depression=True. Add curves of "
            "LTD pulses, or fit potentiation alone: learning on devices takes SET pulses, and RESET lowers a device."
        )
    top = float(np.quantile(curves.conductance[np.isfinite(curves.conductance)], TOP))
    up = curves.of(UP)
    first = up.conductance[:, 0]
    reached = float(np.median(np.nanmax(up.conductance, axis=1)))
    full = top if g_max is None else check_number("fit", "g_max", g_max, min(reached, top), 1e6, unit="uS")
    low = float(np.clip(first.mean(), LEAST_G_MIN * full, 0.999 * full))
    found = {UP: fit_direction(PulseTask(up, low, 1.0))}
    if curves.down.any():
        task = PulseTask(curves.of(DOWN), full, -1.0)
        found[DOWN] = fit_direction(task, fixed_read=found[UP].chosen.values()["read"])
    starts = _starts(up, low, found[UP].chosen.values()["read"])
    draws = _bootstrap(curves, found, starts, replicates, seed)
    told = _told(found, starts)
    device = _device(found, (full, low, starts["reset_spread"][0]), draws, curves, source)
    residuals, down = pulse_residuals(device, curves, seed=seed)
    laws = {one: f"{each.chosen.kind.title}, spread {each.chosen.kind.scatter}" for one, each in found.items()}
    laws.setdefault(DOWN, "not told")
    others = tuple(
        (direction, _title(one.kind, each.chosen.kind), excess)
        for direction, each in found.items()
        for one, excess in each.others
    )
    fit = PulsedFit(device, laws, others, told, draws, curves, residuals, down, ())
    return dataclasses.replace(fit, verdict=pulse_verdict(fit))


def _title(kind: Any, chosen: Any) -> str:
    """Return the name of a law that is not the chosen one: what differs."""
    if kind.title != chosen.title:
        return str(kind.title)
    if kind.scatter != chosen.scatter:
        return f"spread {kind.scatter}"
    return f"{'with' if 'limit_spread' in kind.names else 'without'} a spread of the limits"


def _starts(up: PulseCurves, low: float, read: float) -> dict[str, tuple[float, np.ndarray]]:
    """Return g_min and reset_spread, each with what every cell adds to it, of the first readings of potentiation."""
    first = np.zeros(len(up.cells))
    counts = np.bincount(up.owner, minlength=len(up.cells))
    np.add.at(first, up.owner, up.conductance[:, 0])
    first = first / np.maximum(counts, 1)
    spread = np.sqrt(max(float(first.var()) - read**2 / max(float(counts.mean()), 1.0), 0.0)) / low
    return {"g_min": (low, first), "reset_spread": (min(spread, 10.0), first)}


def _bootstrap(
    curves: PulseCurves, found: Mapping[str, Direction], starts: Mapping[str, Any], replicates: int, seed: int
) -> Draws:
    """Return constants of resampled cells, the same ones in both directions; of one curve: of resampled readings."""
    random = np.random.default_rng(seed)
    cells = len(curves.cells)
    shared = random.multinomial(cells, np.full(cells, 1.0 / cells), size=replicates).astype(np.float64)
    columns: dict[str, np.ndarray] = {}
    for direction, one in found.items():
        if cells > 1:
            weights = shared[:, one.task.cells]
        else:
            weights = random.multinomial(one.units, np.full(one.units, 1.0 / one.units), size=replicates).astype(float)
        values = one.draws(weights, random)
        columns |= {f"{direction}_{name}": values[key] for name, key in FIELDS.items()}
        if direction == UP:
            columns["read_noise_floor"] = values["read"]
    low, first = starts["g_min"]
    means = shared @ first / cells
    columns["g_min"] = np.maximum(means, LEAST_G_MIN * first.max())
    spread = starts["reset_spread"][0]
    wide = np.sqrt(np.maximum(shared @ first**2 / cells - means**2, 0.0)) / columns["g_min"]
    columns["reset_spread"] = np.minimum(wide * (spread / max(float(first.std()) / low, 1e-12)), 10.0)
    names = tuple(columns)
    return Draws(names, np.stack([columns[name] for name in names], axis=1), ())


def _told(found: Mapping[str, Direction], starts: Mapping[str, Any]) -> frozenset[str]:
    """Return which constants the curves determine: those of the chosen laws, and what several cells tell."""
    names = {
        f"{direction}_{name}" for direction, one in found.items() for name, key in FIELDS.items()
        if key in one.chosen.kind.names
    }  # fmt: skip
    several = len(starts["g_min"][1]) > 1
    return frozenset(names | {"read_noise_floor"} | ({"g_min", "reset_spread"} if several else set()))


def _device(
    found: Mapping[str, Direction], scales: tuple[float, float, float], draws: Draws, curves: PulseCurves, source: str
) -> PulsedFitted:
    full, low, reset = scales
    settings: dict[str, Any] = {}
    for direction, one in found.items():
        values = one.chosen.values()
        for name, key in FIELDS.items():
            settings.setdefault(f"{direction}_{name.partition('[')[0]}", []).append(rounded(values[key]))
    units = "cells" if len(curves) > 1 else "readings of one curve"
    known = kept(draws, f"one-step bootstrap over {units}, and over laws by their Akaike weights", len(curves))
    return PulsedFitted(
        g_max=rounded(full),
        g_min=rounded(low),
        reset_spread=rounded(reset),
        read_noise_floor=rounded(found[UP].chosen.values()["read"]),
        write_spread=rounded(settings[f"{UP}_fit"][0] / 3.0),
        source=f"{source}{'; ' if source else ''}{curves.source}",
        uncertainty=known,
        **settings,
    )


def _part_of(name: str) -> str:
    direction, _, rest = name.partition("_")
    title = TITLES.get(rest.partition("[")[0])
    return f"{direction}, {title}" if title else "read noise" if name == "read_noise_floor" else "RESET"
