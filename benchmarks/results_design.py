"""The results page's part on hardware designed by layer, beside uniform bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analognets.core.config import write_yaml
from analognets.metrics import format_interval
from benchmarks.markdown import markdown

FILES = ("design.json",)
VERDICTS = {
    "dominates": "It dominates {reference}: less energy, and a loss that is surely no more than {margin:g} points "
    "larger.",
    "none dominates": "None of them dominates uniform 6 bit.",
    "not decided": "Whether it dominates {reference} is not decided by these data: it takes less energy, but its loss "
    "may be more than {margin:g} points larger.",
}


def interval(row: dict[str, Any], name: str, form: str = "{:.2f}") -> str:
    """Return a figure with half of its interval."""
    low, high = (float("nan") if row[f"{name}_{end}"] is None else row[f"{name}_{end}"] for end in ("low", "high"))
    return format_interval(row[name], low, high, form=form)


def verdict(found: dict[str, Any]) -> str:
    """Return what the study says of the best candidate, whichever way it comes out."""
    against = found["against"]
    said = VERDICTS[found["finding"]].format(reference=against.get("reference"), margin=found["margin_points"])
    if against:
        more = interval(against, "loss_more", "{:+.2f}")
        said += (
            f" Beside {against['reference']}, {found['chosen']} takes {100 * against['energy_ratio']:.0f} % of the "
            f"energy and loses {more} points more, on the same chips and clips."
        )
    return said


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    found: dict[str, Any] = json.loads((results / FILES[0]).read_text("utf-8"))
    rows = [
        [
            row["label"],
            f"{row['epochs']} epochs" if row["epochs"] else "no",
            f"{row['mean_bits']:.2f}",
            f"{row['energy_uj']:.2f}",
            "" if row["energy_low_uj"] is None else f"{row['energy_low_uj']:.3g} to {row['energy_high_uj']:.3g}",
            f"{row['searched_loss']:.2f}",
            interval(row, "loss"),
        ]
        for row in sorted(found["confirmed"], key=lambda row: row["energy_uj"])
    ]
    heads = [
        "bits of each layer",
        "fine-tuned",
        "mean bits",
        "uJ",
        "uJ, range",
        "loss in the search",
        "loss, confirmed",
    ]
    search, chips = found["search"], found["confirmed"][0]["chips"]
    return [
        f"Bits of each layer of `{found['preset']}` by `analognets design`, for a loss of at most what uniform 6 bit "
        f"has ({found['budget_points']:.2f} points after {found['at']}) and as little energy as can be, arrays and "
        f"ADCs as they are: {found['evaluations']} evaluations of the {found['grid']:,} of the full grid, decided on "
        f"{found['samples']['searched']} and {search['chips']} chips each, confirmed on "
        f"{found['samples']['confirmed']} and {chips} other chips. Losses in points against the digital network with the same weights, with half of "
        "their 95 % interval ([all candidates](design.json)).",
        markdown(heads, rows),
        verdict(found),
        "The hardware that was chosen:",
        f"```yaml\n{write_yaml(found['hardware']).rstrip()}\n```",
    ]
