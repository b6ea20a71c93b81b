"""What a stream evaluation leaves: tables, a DET curve, the words of the audio, and mean power."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.core.files import make_folder, write_atomically, write_json
from analognets.core.provenance import environment
from analognets.deploy.stream.detector import NOT_REPORTED
from analognets.deploy.stream.power import DutyCycle
from analognets.deploy.stream.study import Reading, StreamEvaluation
from analognets.metrics import chips_interval, mean_interval
from analognets.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "FILES",
    "det_rows",
    "reading_rows",
    "stream_figure",
    "summary_rows",
    "to_dict",
    "word_rows",
    "write_stream_evaluation",
]

FILES = ("stream.csv", "det.csv", "words.csv", "stream.json", "stream.svg")
"""What `write_stream_evaluation` writes."""

TITLES = {"float": "float network", "digital": "same weights, digital"}


def title_of(network: str, at: str | None) -> str:
    """Return what to call a reading: "1d" of chips, the name of a reference."""
    return TITLES.get(network, network) if at is None else at


def groups(found: StreamEvaluation) -> dict[str, list[Reading]]:
    """Return the readings of each reference and each time, by title."""
    together: dict[str, list[Reading]] = {}
    for reading in found.readings:
        together.setdefault(title_of(reading.network, reading.at), []).append(reading)
    return together


def reading_rows(found: StreamEvaluation) -> list[dict[str, Any]]:
    """Return a row for each reference, chip and time: false alarms and misses at the threshold."""
    return [reading.row(found.classes) for reading in found.readings]


def summary_rows(found: StreamEvaluation) -> list[dict[str, Any]]:
    """Return a row for each reference and time: false alarms per hour and misses at the threshold, mean over chips.

    `_std` is the standard deviation over chips, None for one; `_low` and `_high` are the ends of 95 % intervals: of
    misses over the words that were said, by clip, and chips; of false alarms over chips and the length of the audio.

    Examples:
        >>> [(row["network"], row["at"]) for row in summary_rows(listened)]
        [('digital', None), ('chip', '25s')]
    """
    rows = []
    for title, readings in groups(found).items():
        made = [reading.row(found.classes) for reading in readings]
        row: dict[str, Any] = {"network": made[0]["network"], "at": made[0]["at"], "title": title}
        row |= {"seconds": made[0]["seconds"], "chips": len(made) if made[0]["chip"] is not None else 0}
        row |= {"threshold": made[0]["threshold"], "words": made[0]["words"]}
        for name in ("false_alarms_per_hour", "miss_rate"):
            values = [one[name] for one in made if one[name] is not None]
            row[name] = float(np.mean(values)) if values else None
            row[f"{name}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        hours = readings[0].sweep.truth.hours
        ends = alarm_ends([one["false_alarms"] for one in made])
        row |= {"false_alarms_per_hour_low": ends[0] / hours, "false_alarms_per_hour_high": ends[1] / hours}
        row |= dict(zip(("miss_rate_low", "miss_rate_high"), miss_ends(found, readings), strict=True))
        rows.append(row)
    return rows


def alarm_ends(counts: Sequence[int]) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean number of false alarms that chips have in one audio.

    Alarms come at random in time (Poisson), to all chips alike, and chips differ; the two halves of the interval are
    the roots of the sums of their squares.

    Args:
        counts: one a chip.

    Source: Zou and Donner, Stat. Med. 27(10), 2008 (from memory), with Garwood's interval of a Poisson number.
    """
    from scipy.stats import chi2

    mean, chips = float(np.mean(counts)), chips_interval(counts)
    spread = 0.0 if chips.half_width != chips.half_width else chips.half_width
    low = float(chi2.ppf(0.025, 2 * mean)) / 2 if mean else 0.0
    high = float(chi2.ppf(0.975, 2 * mean + 2)) / 2
    return max(0.0, mean - float(np.hypot(mean - low, spread))), mean + float(np.hypot(high - mean, spread))


def miss_ends(
    found: StreamEvaluation, readings: Sequence[Reading], label: int | None = None
) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval of misses over words and chips; None where nothing was said, or once.

    Args:
        found: holds the words.
        readings: of one network at one time.
        label: of the word; None: all keywords.
    """
    clips = np.array([name for *_, number, name in found.words if found.classes[number] not in NOT_REPORTED], dtype=str)
    labels = readings[0].sweep.truth.labels
    own = np.ones(len(labels), bool) if label is None else labels == label
    if not own.any():
        return None, None
    missed = np.stack([~reading.sweep.heard[reading.sweep.at(reading.threshold)][own] for reading in readings])
    mean = mean_interval(missed, clips[own].tolist())
    return (None, None) if mean.half_width != mean.half_width else (max(0.0, mean.low), min(1.0, mean.high))


def word_rows(found: StreamEvaluation) -> list[dict[str, Any]]:
    """Return a row for each keyword: how often it was said, and its miss rate for each reference and time.

    `ends` holds the ends of the 95 % interval of each of these rates, by the same names.
    """
    labels = sorted({int(label) for label in found.readings[0].sweep.truth.labels})
    rows = []
    for label in labels:
        said = int((found.readings[0].sweep.truth.labels == label).sum())
        rates = {
            title: float(np.mean([reading.sweep.miss_rates(reading.threshold)[label] for reading in readings]))
            for title, readings in groups(found).items()
        }
        ends = {title: list(miss_ends(found, readings, label)) for title, readings in groups(found).items()}
        rows.append({"word": found.classes[label], "said": said, **rates, "ends": ends})
    return rows


def det_rows(found: StreamEvaluation) -> list[dict[str, Any]]:
    """Return a row for each reading and threshold: the DET curves."""
    return [
        {
            "network": reading.network,
            "chip": reading.chip,
            "at": reading.at,
            "threshold": threshold,
            "false_alarms_per_hour": alarms,
            "miss_rate": misses,
        }
        for reading in found.readings
        for threshold, alarms, misses in zip(
            reading.sweep.thresholds.tolist(),
            reading.sweep.false_alarms_per_hour.tolist(),
            reading.sweep.miss_rate.tolist(),
            strict=True,
        )
    ]


def stream_figure(found: StreamEvaluation | Sequence[StreamEvaluation], path: Any = None) -> Any:
    """Draw the DET curve of each reference and time, and false alarms and misses over time at the chosen threshold.

    Args:
        found: from `stream_evaluation`; of several networks each gets a row.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.

    Returns:
        The matplotlib figure.

    Examples:
        >>> figure = stream_figure(listened, "stream.svg")
        >>> len(figure.axes)
        3
    """
    networks = [found] if isinstance(found, StreamEvaluation) else list(found)
    figure = new_figure(10.0, 4.0 * len(networks))
    for one, (curves, over_time) in zip(networks, figure.subplots(len(networks), 2, squeeze=False), strict=True):
        draw_curves(curves, one)
        draw_over_time(over_time, one)
        hours = f"{one.seconds / 3600:g} h of audio, {len(one.readings[0].sweep.truth.labels)} keywords"
        curves.set_title(f"{one.name}: {hours}", fontsize="medium", loc="left")
    return saved(figure, path)


def draw_curves(axes: Axes, found: StreamEvaluation) -> None:
    """Draw misses against false alarms, mean over chips; a dot at the chosen threshold."""
    for number, (title, readings) in enumerate(groups(found).items()):
        alarms = np.mean([reading.sweep.false_alarms_per_hour for reading in readings], axis=0)
        misses = 100 * np.mean([reading.sweep.miss_rate for reading in readings], axis=0)
        colour, place = COLOURS[number % len(COLOURS)], readings[0].sweep.at(readings[0].threshold)
        style = "--" if readings[0].chip is None else "-"
        shown = np.maximum(alarms, 0.5 * 3600 / found.seconds)  # half an alarm stands for none
        axes.plot(shown, misses, style, color=colour, label=title, lw=1.2)
        axes.plot(shown[place], misses[place], "o", color=colour, ms=5)
    axes.set(
        xscale="log", xlabel="false alarms per hour (left edge: none)", ylabel="missed keywords in %", ylim=(0, 100)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", title="dot: threshold of validation audio", title_fontsize="x-small")


def draw_over_time(axes: Axes, found: StreamEvaluation) -> None:
    """Draw both rates at the chosen threshold with 95 % intervals over time since programming; dashed: reference."""
    rows = summary_rows(found)
    aged = [row for row in rows if row["seconds"] is not None]
    second = axes.twinx()
    drawn = (
        (axes, "false_alarms_per_hour", 1, COLOURS[0], "false alarms per hour"),
        (second, "miss_rate", 100, COLOURS[1], "missed keywords in %"),
    )
    for side, name, scale, colour, label in drawn:
        known = [row for row in aged if row[name] is not None]
        values = [scale * row[name] for row in known]
        ends = [(row[name] if row[f"{name}_{end}"] is None else row[f"{name}_{end}"] for end in ("low", "high"))
                for row in known]  # fmt: skip
        spread = np.abs(scale * np.array([tuple(pair) for pair in ends], float).reshape(-1, 2).T - values)
        side.errorbar([row["seconds"] for row in known], values, yerr=spread, fmt="o-", color=colour, capsize=3)
        for row in rows:
            if row["seconds"] is None and row[name] is not None:
                side.axhline(scale * row[name], color=colour, ls="--", lw=1)
        side.set_ylabel(label, color=colour)
        side.set_ylim(0, max(1.0, side.get_ylim()[1]))
    if aged:
        times = [row["seconds"] for row in aged]
        if min(times) > 0:
            axes.set_xscale("log")
        axes.set_xticks(times, [format_duration(time) for time in times])
        axes.minorticks_off()
    axes.set_xlabel("time since programming (dashed: reference)")
    axes.grid(alpha=0.3)


def to_dict(found: StreamEvaluation, power: DutyCycle | None = None) -> dict[str, Any]:
    """Return a stream evaluation as plain data."""
    return {
        "network": found.name,
        "hours": found.seconds / 3600,
        "settings": found.settings,
        "target_reached_on_validation": found.reached,
        "rows": summary_rows(found),
        "words": word_rows(found),
        "time_ratio": found.ratio,
        "power": None if power is None else power.to_dict(),
    }


def write_stream_evaluation(folder: Path, found: StreamEvaluation, power: DutyCycle | None = None) -> dict[str, Any]:
    """Write `FILES`, each complete or not at all, and return what stands in stream.json.

    Args:
        folder: made if need be.
        found: from `stream_evaluation`.
        power: mean power of the accelerator; None leaves it out.

    Raises:
        RunError: a file can't be written.

    Examples:
        >>> from pathlib import Path
        >>> found = write_stream_evaluation(Path("stream"), listened)
        >>> sorted(path.name for path in Path("stream").iterdir())
        ['det.csv', 'stream.csv', 'stream.json', 'stream.svg', 'words.csv']
    """
    folder = make_folder(Path(folder), "folder for the results")
    write_atomically(folder / "stream.csv", pd.DataFrame(reading_rows(found)).to_csv(index=False, float_format="%.6g"))
    write_atomically(folder / "det.csv", pd.DataFrame(det_rows(found)).to_csv(index=False, float_format="%.6g"))
    write_atomically(folder / "words.csv", words_table(found.words, found.classes))
    stream_figure(found, folder / "stream.svg")
    record = to_dict(found, power)
    write_json(folder / "stream.json", {**record, **environment()})
    return record


def words_table(words: Sequence[Any], classes: Sequence[str]) -> str:
    """Return the clips of running audio as CSV: begin and end in seconds, class, name of the clip."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("begin", "end", "class", "clip"))
    for begin, end, label, name in words:
        writer.writerow((f"{begin:.4f}", f"{end:.4f}", classes[label], name))
    return text.getvalue()
