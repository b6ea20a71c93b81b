"""The report of a training: curves of loss, accuracy and converter ranges, and a row for each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analognets.core.figures import COLOURS, new_figure
from analognets.core.report import Picture, Report, Table
from analognets.errors import InvalidArgumentError
from analognets.training.run import Run

if TYPE_CHECKING:
    import keras

__all__ = ["DEVICES", "STAGES", "converter_ranges", "training_figure", "training_report"]

STAGES = {
    "float": "Stage 1, float",
    "hardware_aware": "Stage 2, hardware-aware",
    "on_device": "Learning on devices",
}
"""What to call the stages."""
DEVICES = (
    "Histograms of the conductances G+ and G- of each array, the size of the next update against epsilon, and pulses a "
    "weight and saturated pairs over the epochs."
)
"""What `device_figure` shows."""
RANGE, GAIN = "input_range/", "adc_gain"
"""Metrics of converters: alpha of a layer, and S."""
LOSSES = {"loss": "training", "val_loss": "validation"}
ACCURACIES = {"accuracy": "training", "val_accuracy": "validation", "val_noisy_accuracy": "validation with noise"}
COLUMNS = {
    "loss": ("loss", "{:.4f}", 1),
    "val_loss": ("validation loss", "{:.4f}", 1),
    "accuracy": ("accuracy %", "{:.2f}", 100),
    "val_accuracy": ("validation accuracy %", "{:.2f}", 100),
    "val_noisy_accuracy": ("with noise %", "{:.2f}", 100),
    "device_pulses_per_weight": ("pulses a weight", "{:.3g}", 1),
    GAIN: ("gain S", "{:.4g}", 1),
    "learning_rate": ("learning rate", "{:.3g}", 1),
}
"""Heading, form and factor of what is known of an epoch."""
MANY = 8


def converter_ranges(model: keras.Model) -> dict[str, float]:
    """Return the ranges of the converters of a model, as numbers for the metrics of an epoch.

    Returns:
        "input_range/LAYER": alpha of each analog layer, the mean where it has several; "adc_gain": S that all layers
        share, or "adc_gain/LAYER" by the first layer where there are several. A constant ADC bound has none.
    """
    import numpy as np
    from keras import ops

    from analognets.layers import analog_layers

    layers = analog_layers(model)
    ranges = {f"{RANGE}{layer.name}": float(np.mean(ops.convert_to_numpy(layer.input_range))) for layer in layers}
    gains: dict[int, tuple[str, Any]] = {}
    for layer in layers:
        if layer.crossbar.adc_gain != "fixed":
            gains.setdefault(id(layer.adc_gain), (layer.name, layer.adc_gain.gain))
    shared = len(gains) == 1
    for name, gain in gains.values():
        ranges[GAIN if shared else f"{GAIN}/{name}"] = float(ops.convert_to_numpy(gain))
    return ranges


def training_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw loss and accuracy over the epochs, and converter ranges and the gain S where they are known.

    Args:
        rows: of `Run.metrics`, one an epoch.

    Raises:
        InvalidArgumentError: there is no epoch.
    """
    if not rows:
        raise InvalidArgumentError("There is nothing to draw: no epoch was trained.")
    ranges, gains = named(rows, RANGE), named(rows, GAIN)
    ranged = bool(ranges or gains)
    figure = new_figure(8.4, 5.8 if ranged else 3.1)
    panels = figure.subplots(2 if ranged else 1, 2, squeeze=False).reshape(-1)
    _curves(panels[0], rows, LOSSES, 1, "loss")
    _curves(panels[1], rows, ACCURACIES, 100, "accuracy in %")
    if ranged:
        _by_name(panels[2], rows, ranges, "range of the DACs, alpha")
        panels[3].set_axis_off() if not gains else _by_name(panels[3], rows, gains, "gain S of the ADCs")
    borders = [place for place in range(1, len(rows)) if rows[place]["stage"] != rows[place - 1]["stage"]]
    for panel in panels:
        panel.set(xlabel="epoch", xlim=(0.5, len(rows) + 0.5))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        for border in borders:
            panel.axvline(border + 0.5, color="#555555", ls=":", lw=1)
    return figure


def _curves(axes: Any, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], scale: float, label: str) -> None:
    """Draw values of epochs as lines that end with their stage."""
    for number, (key, name) in enumerate(names.items()):
        for stage in dict.fromkeys(row["stage"] for row in rows):
            places = [place for place, row in enumerate(rows) if row["stage"] == stage and _known(row.get(key))]
            drawn = [line.get_label() for line in axes.lines]
            if places:
                values = [scale * rows[place][key] for place in places]
                style = {"color": COLOURS[number], "label": "_" if name in drawn else name}
                axes.plot([place + 1 for place in places], values, "." * (len(places) < 3) + "-", lw=1.3, **style)
    axes.set_ylabel(label)
    if axes.lines:
        axes.legend(fontsize="small")


def _by_name(axes: Any, rows: Sequence[Mapping[str, Any]], keys: Sequence[str], label: str) -> None:
    """Draw each of some metrics as a line."""
    for number, key in enumerate(keys):
        places = [place for place, row in enumerate(rows) if _known(row.get(key))]
        style = {"color": COLOURS[number % len(COLOURS)], "ls": "-" if number < len(COLOURS) else "--"}
        values, name = [rows[place][key] for place in places], key.removeprefix(RANGE)
        axes.plot([place + 1 for place in places], values, marker="." if len(places) < 3 else "", label=name, **style)
    axes.set_ylabel(label)
    if 1 < len(keys) <= MANY:
        axes.legend(fontsize="x-small")


def named(rows: Sequence[Mapping[str, Any]], start: str) -> list[str]:
    """Return the metrics whose names begin with a word."""
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith(start)))


def _known(value: Any) -> bool:
    return value is not None and value == value


def training_report(run: Run) -> Report:
    """Return the report about a run, finished or not.

    Args:
        run: from `Run.open`.

    Raises:
        RunError: its history can't be read.

    Examples:
        >>> from analognets.training import Run, training_report
        >>> report = training_report(Run.open(run))
        >>> report.question
        'How well did kws learn for aon_cim_8bit?'
        >>> len(report.figures), report.tables[0].title
        (1, 'Epochs')
    """
    rows, recipe = run.metrics(), run.recipe
    record, data = run.record, run.record.get("data") or {}
    figures = [Picture(training_figure(rows), "Curves of the training", in_words(rows))] if rows else []
    if run.finished and recipe.learns_on_devices:
        figures.append(Picture(_devices(run), "Devices after training", DEVICES))
    chip = None if recipe.hardware_aware is None else recipe.hardware_aware.hardware
    target = "learn on memory devices" if recipe.learns_on_devices else "learn without converters and noise"
    facts = {
        "recipe": f"{recipe.name}, fingerprint {recipe.fingerprint()}",
        "hardware": "none"
        if chip is None
        else ", ".join([chip.preset, *(f"{k} {v}" for k, v in chip.changes().items())]),
        "data": data.get("name", "not known"),
        "samples": in_words_of(data.get("clips")),
        "seed": recipe.seed,
        "epochs": len(rows),
        "trained with": ", ".join(f"{name} {found}" for name, found in (record.get("versions") or {}).items()),
        "code": record.get("git_commit") or "not from a checkout",
    }
    return Report(
        title=f"Training of {recipe.name}",
        question=f"How well did {recipe.name} {target if chip is None else f'learn for {chip.preset}'}?",
        answer=answer_of(run, rows),
        statement=data.get("statement", ""),
        figures=figures,
        tables=[_epochs(rows)] if rows else [],
        facts=facts,
        recipe=recipe.to_yaml(),
    )


def in_words_of(counts: Any) -> str:
    """Return how many samples each split has."""
    if isinstance(counts, Mapping):
        return ", ".join(f"{count} {split}" for split, count in counts.items())
    return "not known" if counts is None else str(counts)


def answer_of(run: Run, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the accuracy at the end of each stage as a sentence."""
    said = []
    for stage, row in {row["stage"]: row for row in rows}.items():
        reached = [f"{name} {100 * row[key]:.2f} %" for key, name in ACCURACIES.items() if _known(row.get(key))]
        epochs = f"{row['epoch'] + 1} epoch{'s' if row['epoch'] else ''}"
        what = ", ".join(reached[1:] or reached) or "not known"
        said.append(f"{STAGES.get(stage, stage)}: accuracy {what} after {epochs}.")
    unfinished = "" if run.finished else f"The run is not finished ({run.status})."
    return " ".join([*said, unfinished]).strip() or "No epoch was trained."


def in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the curves show, for those who don't see them."""
    said = [f"Loss and accuracy over {len(rows)} epochs"]
    for key, name in {"val_accuracy": "validation accuracy", "loss": "training loss"}.items():
        known = [row[key] for row in rows if _known(row.get(key))]
        scale, unit = (100, " %") if "accuracy" in key else (1, "")
        if known:
            said.append(f"{name} from {scale * known[0]:.4g}{unit} to {scale * known[-1]:.4g}{unit}")
    gains = [row[GAIN] for row in rows if _known(row.get(GAIN))]
    said += [f"gain S of the ADCs from {gains[0]:.4g} to {gains[-1]:.4g}"] if gains else []
    several = len({row["stage"] for row in rows}) > 1
    return "; ".join(said) + "." + (" A dotted line parts the stages." if several else "")


def _epochs(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each epoch."""
    keys = [key for key in COLUMNS if any(_known(row.get(key)) for row in rows)]
    cells = []
    for row in rows:
        values = [COLUMNS[key][1].format(COLUMNS[key][2] * row[key]) if _known(row.get(key)) else "-" for key in keys]
        cells.append([STAGES.get(row["stage"], row["stage"]), row["epoch"] + 1, *values])
    headings = ["stage", "epoch", *(COLUMNS[key][0] for key in keys)]
    return Table(headings, cells, "Epochs")


def _devices(run: Run) -> Any:
    """Draw the devices that a run learned on."""
    from analognets.synapses.figures import device_figure

    log = run.path / "devices.csv"
    return device_figure(run.on_device_model().optimizer.statistics(), log if log.is_file() else None)
