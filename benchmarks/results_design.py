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
    "dominates": "The chosen network of at most {bits} bits on average dominates uniform {bits} bit: it takes less "
    "energy, and its loss is with 95 % confidence no more than {margin:g} points larger.",
    "does not dominate": "The chosen network does not dominate uniform {bits} bit: it loses more.",
    "not decided": "Whether the chosen network dominates uniform {bits} bit is not decided by these data: it takes "
    "less energy, but its loss may be more than {margin:g} points larger, or no larger at all.",
    "another kind": "The chosen network has more than {bits} bits on average or takes no less energy: it is no "
    "answer to uniform {bits} bit.",
}


def interval(row: dict[str, Any], name: str, form: str = "{:.2f}") -> str:
    """Return a figure with half of its interval."""
    low, high = (float("nan") if row[f"{name}_{end}"] is None else row[f"{name}_{end}"] for end in ("low", "high"))
    return format_interval(row[name], low, high, form=form)


def tuned(row: dict[str, Any]) -> str:
    """Return for how long hardware was fine-tuned."""
    return f"{row['epochs']} epochs" if row["epochs"] else "no"


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    found: dict[str, Any] = json.loads((results / FILES[0]).read_text("utf-8"))
    uniform = found["uniform"]
    told = {(row["label"], row["epochs"]): {**row, **more}
            for row, more in zip(found["reported"], found["beside"], strict=True)}  # fmt: skip
    rows = [[f"uniform {uniform['bits']} bit", tuned(found["chosen"]), f"{uniform['bits']}",
             f"{uniform['energy_uj']:.2f}", "100", "", "", interval(uniform, "loss"), ""]]  # fmt: skip
    for row in sorted(found["confirmed"], key=lambda row: row["energy_uj"]):
        own = told.get((row["label"], row["epochs"]))
        chosen = all(row[name] == value for name, value in found["chosen"].items())
        rows.append(
            [
                f"**{row['label']}**" if chosen else row["label"],
                tuned(row),
                f"{row['mean_bits']:.2g}",
                f"{row['energy_uj']:.2f}",
                f"{100 * row['energy_uj'] / uniform['energy_uj']:.0f}",
                f"{row['searched_loss']:.2f}",
                interval(row, "loss"),
                interval(own, "loss") if own else "",
                interval(own, "loss_more", "{:+.2f}") if own else "",
            ]
        )
    heads = ["bits of each layer", "fine-tuned", "mean bits", "uJ", "% of uniform", "loss in the search"]
    heads += ["confirmed", "on test clips", "more than uniform"]
    search, samples, chips = found["search"], found["samples"], found["confirmed"][0]["chips"]
    return [
        f"Bits by layer of `{found['preset']}` by `analognets design`, for at most {found['budget_uj']:.2f} uJ an "
        f"inference and as little loss after {found['at']} as can be, arrays and ADCs as they are: "
        f"{found['evaluations']} evaluations of the {found['grid']:,} of the full grid, on {samples['searched']} and "
        f"{search['chips']} chips each. The best were confirmed on {samples['confirmed']} and {chips} other chips, by "
        "which the one in bold was chosen. It, the best uniform hardware within the budget, and uniform "
        f"{uniform['bits']} bit were then measured on {samples['reported']} and {chips} further chips, for this report "
        "alone. Losses in points against the digital network with the same weights, with half of their 95 % interval; "
        "differences are paired ([all candidates](design.json)).",
        markdown(heads, rows),
        VERDICTS[found["finding"]].format(bits=uniform["bits"], margin=found["margin_points"]),
        "The hardware that was chosen:",
        f"```yaml\n{write_yaml(found['hardware']).rstrip()}\n```",
    ]
