"""Options of the commands that listen, and the detector settings they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from analognets.deploy.stream.detector import DetectorSettings

__all__ = ["Every", "LoadChips", "Rule", "Smoothing", "Suppression", "Threshold", "settings_of", "stored_chips"]

Threshold = Annotated[
    str | None,
    typer.Option(help="Least smoothed posterior: one number, or some words, such as yes=0.9,no=0.7; by default 0.7."),
]
Smoothing = Annotated[float | None, typer.Option(help="Seconds over which posteriors are averaged; by default 0.5.")]
Suppression = Annotated[float | None, typer.Option(help="Least seconds from one detection to the next; by default 1.")]
Every = Annotated[float, typer.Option(help="Seconds from one inference to the next.")]
LoadChips = Annotated[
    Path | None,
    typer.Option(help="Chips that `evaluate --save-chips` stored instead of new ones, with their calibrations."),
]
Rule = Annotated[
    str | None,
    typer.Option("--compensation", help="Drift compensation in place of the hardware's: global, column or input."),
]


def settings_of(threshold: str | None, smoothing: float | None, suppression: float | None) -> DetectorSettings:
    """Return the settings of a detector; what is None has its default.

    Raises:
        typer.BadParameter: the thresholds are no numbers.
        InvalidArgumentError: a number is out of range.
    """
    from analognets.deploy.stream.detector import DetectorSettings

    chosen: dict[str, Any] = {"smoothing": smoothing, "suppression": suppression}
    chosen["threshold"] = None if threshold is None else threshold_of(threshold)
    return DetectorSettings(**{name: value for name, value in chosen.items() if value is not None})


def threshold_of(text: str) -> float | dict[str, float]:
    """Return a threshold, or those of some words."""
    try:
        if "=" not in text:
            return float(text)
        pairs = [pair.rpartition("=") for pair in text.split(",")]
        return {word.strip(): float(value) for word, _, value in pairs}
    except ValueError:
        raise typer.BadParameter(
            f"--threshold takes a number from 0 to 1, or some words, such as yes=0.9,no=0.7. Received: {text!r}."
        ) from None


def stored_chips(trained: Any, folder: Path | None, compensation: str | None) -> Any:
    """Return the chips in a folder, or None for no folder.

    Raises:
        ChipFileError: they are of another network, or damaged.
    """
    if folder is None:
        return None
    from analognets.deploy.chips.chips import Chips
    from analognets.deploy.studies.evaluate import network_on_chips

    return Chips.load(folder, network_on_chips(trained, compensation))
