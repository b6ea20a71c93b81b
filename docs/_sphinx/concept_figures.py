"""Draws the figures of the concept pages with the package itself: what they show is what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_figures"]

TIMES = ("25s", "5min", "1h", "8h", "1d", "7d", "30d", "1y")


def _weights(rows: int, columns: int) -> tuple[np.ndarray, float]:
    weights = np.random.default_rng(0).normal(0.0, 0.1, (rows, columns)).astype("float32")
    weight_max = 2 * float(weights.std())
    return np.clip(weights, -weight_max, weight_max), weight_max


def _signal_path() -> Any:
    """Draw one sample on its way: inputs before and behind the DACs, conductances, sums before and behind the ADCs."""
    from analognets import crossbar
    from analognets.core.figures import COLOURS, new_figure

    hardware = crossbar.get("aon_cim_8bit").replace(dac_bits=4, adc_bits=4)
    weights, weight_max = _weights(24, 12)
    inputs = np.sin(np.linspace(0, 5, 24)).astype("float32")
    levels = np.asarray(crossbar.convert(inputs, 0.8, hardware.dac_bits))
    state = crossbar.program(hardware, weights, weight_scale=weight_max, seed=0)
    pairs = np.asarray(state["conductance"]).reshape(2, 24, 12)
    read = np.asarray(crossbar.read(hardware, state, "1d", weight_scale=weight_max, seed=1))
    sums = levels @ read
    results = np.asarray(crossbar.convert(sums, float(np.abs(sums).max()) * 0.8, hardware.adc_bits))

    figure = new_figure(11, 3.4)
    dac, plus, minus, adc = figure.subplots(1, 4, width_ratios=[3, 1.5, 1.5, 3])
    dac.plot(inputs, ".", color=COLOURS[7], label="input x")
    dac.step(range(24), levels, where="mid", color=COLOURS[0], label="behind a 4-bit DAC")
    dac.set(title="DAC: rounded and clipped", xlabel="word line")
    for axes, values, title in ((plus, pairs[0], "G+"), (minus, pairs[1], "G-")):
        picture = axes.imshow(values, cmap="viridis", vmin=0, vmax=float(pairs.max()), aspect="auto")
        axes.set(title=title, xlabel="column")
    plus.set_ylabel("word line")
    figure.colorbar(picture, ax=minus, label="uS as programmed")
    adc.bar(range(12), np.asarray(inputs @ weights), color="#cccccc", label="exact product")
    adc.plot(sums, "x", color=COLOURS[1], label="on the tile after a day")
    adc.step(range(12), results, where="mid", color=COLOURS[0], label="behind a 4-bit ADC")
    adc.set(title="ADC: one result a column", xlabel="column")
    for axes in (dac, adc):
        axes.legend(fontsize=7)
    return figure


def _drift() -> Any:
    """Draw conductances of many devices over time: mean line and a band from the 5th to the 95th percentile."""
    from analognets.core.figures import COLOURS, new_figure
    from analognets.devices import PCM
    from analognets.units import parse_duration

    device, seconds = PCM(), [parse_duration(time) for time in TIMES]
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    for colour, share in zip(COLOURS, (0.2, 0.5, 0.9), strict=False):
        state = device.program(np.full(2000, share * device.g_max, "float32"), seed=1)
        read = np.stack([np.asarray(device.read(state, time, seed=2)) for time in TIMES])
        axes.plot(seconds, read.mean(1), "o-", color=colour, label=f"target {share * device.g_max:g} uS")
        axes.fill_between(seconds, *np.percentile(read, (5, 95), axis=1), color=colour, alpha=0.2)
    axes.set(xscale="log", xlabel="time since programming", ylabel="conductance, uS", ylim=0)
    axes.set_xticks(seconds, TIMES)
    axes.minorticks_off()
    axes.legend()
    return figure


def _compensation() -> Any:
    """Draw the error of the weights of a tile over time, as they are read and after each drift compensation."""
    from analognets import crossbar
    from analognets.core.figures import COLOURS, new_figure
    from analognets.devices import get_drift_compensation
    from analognets.units import parse_duration

    hardware = crossbar.get("aon_cim_8bit")
    weights, weight_max = _weights(512, 128)
    state = crossbar.program(hardware, weights, weight_scale=weight_max, seed=0)

    def read(time: str) -> np.ndarray:
        return np.asarray(crossbar.read(hardware, state, time, weight_scale=weight_max, seed=3)) / weight_max

    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    seconds = [parse_duration(time) for time in TIMES]
    for colour, name in zip(COLOURS, ("none", "global", "column"), strict=False):
        rule = None if name == "none" else get_drift_compensation(name)
        reference = None if rule is None else np.asarray(rule.response(read("25s")))
        errors = []
        for time in TIMES:
            now = read(time)
            if rule is not None:
                now = now * np.asarray(rule.scale(reference, rule.response(now)))
            errors.append(100 * np.linalg.norm(now - weights / weight_max) / np.linalg.norm(weights / weight_max))
        axes.plot(seconds, errors, "s--" if name == "column" else "o-", ms=4, color=colour, label=name)
    axes.set(xscale="log", xlabel="time since programming", ylabel="error of the weights, %", ylim=0)
    axes.set_xticks(seconds, TIMES)
    axes.minorticks_off()
    axes.legend(title="drift compensation")
    return figure


def write_figures(folder: Path) -> None:
    """Write all figures as SVG.

    Args:
        folder: of the figures, made if need be.
    """
    from analognets.core.figures import saved

    folder.mkdir(exist_ok=True)
    for name, draw in (("signal_path", _signal_path), ("drift", _drift), ("compensation", _compensation)):
        saved(draw(), folder / f"{name}.svg")
