"""Cells of the tables of networks on the standard crossbar: accuracies on chips, and A* beside a paper's."""

from __future__ import annotations

from typing import Any

from analognets.metrics import format_interval, normalized_accuracy

__all__ = ["HEADS", "KINDS", "STARS", "TIMES", "own_cells", "paper_cells"]

TIMES = ("1s", "1h", "1d", "1y")
STARS = ("1h", "1y")
KINDS = {"direct": "mapped directly", "trained": "hardware-aware"}
HEADS = ("training", "float", *TIMES, *(f"A* {at}" for at in STARS))


def own_cells(shown: dict[str, Any], kind: str) -> list[str]:
    """Return the cells under `HEADS` of what was measured here.

    Args:
        shown: what `benchmarks._chips.summary` returned.
        kind: of `KINDS`.
    """
    at = shown[kind]
    means = [format_interval(at[t]["mean"], at[t].get("low"), at[t].get("high"), scale=100) for t in TIMES]
    stars = [
        format_interval(
            at[t]["normalized"],
            at[t].get("normalized_low"),
            at[t].get("normalized_high"),
            scale=100,
            form="{:.1f}",
            digits=1,
        )
        for t in STARS
    ]
    return [KINDS[kind], f"{100 * shown['float']:.2f}", *means, *stars]


def paper_cells(known: dict[str, Any], kind: str, chance_error: float) -> list[str]:
    """Return the cells under `HEADS` of what a paper printed.

    Args:
        known: errors in per cent, `float` and by kind and time.
        kind: of `KINDS`.
        chance_error: share of wrong answers of a network that knows nothing.
    """
    errors = known[kind]
    stars = [normalized_accuracy(errors[t] / 100, known["float"] / 100, chance_error) for t in STARS]
    accuracies = [f"{100 - error:.2f}" for error in (known["float"], *(errors[t] for t in TIMES))]
    return [KINDS[kind], *accuracies, *(f"{100 * star:.1f}" for star in stars)]
