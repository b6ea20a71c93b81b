"""The results page's part on the networks of Rasch et al. 2023 and their Table 1, from the results file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown

FILES = ("networks_at_scale.csv", "networks_at_scale.json")
HEADER = ("network", "parameters", "on tiles", "tiles", "utilisation", "MVMs", "mean reuse", "operations")
FORMS = {
    "parameters": ("{:.2f}M", 1e6),
    "mapped": ("{:.2f}M", 1e6),
    "tiles": ("{:.0f}", 1),
    "utilisation": ("{:.2f}%", 0.01),
    "mvms": ("{:,.0f}", 1),
    "reuse": ("{:,.1f}", 1),
    "operations": ("{:.2f}G", 1e9),
}
MARKS = {"printed digits": " \\*", "set": ", set"}
ORIGIN = {
    "verified": "read in a source",
    "memory": "from memory",
    "derived": "what the paper's figures leave",
}


def cell(row: dict[str, Any], notes: list[str]) -> str:
    """Return ours and, in brackets, what is printed; a star if they agree to the printed digits only, a note if not."""
    form, scale = FORMS[row["figure"]]
    ours, printed = form.format(row["ours"] / scale), row["printed"]
    if row["agreement"]:
        return f"{ours} ({printed}{MARKS.get(row['agreement'], '')})"
    reason = row["reason"] or "not explained"
    if reason not in notes:
        notes.append(reason)
    return f"{ours} ({printed}: {row['difference']:+.1%}, note {notes.index(reason) + 1})"


def comparison(result: dict[str, Any]) -> tuple[str, str]:
    """Return the table and its notes."""
    notes: list[str] = []
    rows = [
        [one["title"], *(cell(row, notes) for row in one["figures"])]
        for part in ("networks", "variants")
        for one in result[part].values()
    ]
    lines = (f"{number}. {note[0].upper()}{note[1:]}." for number, note in enumerate(notes, start=1))
    return markdown(list(HEADER), rows), "\n".join(lines)


def count(result: dict[str, Any]) -> str:
    """Return how many of the paper's figures agree, and how."""
    rows = [row for one in result["networks"].values() for row in one["figures"]]
    kinds = [row["agreement"] for row in rows]
    checked = len(kinds) - kinds.count("set")
    return (
        f"Of {checked} figures {kinds.count('2 %')} agree within 2 % and {kinds.count('printed digits')} more (\\*) to "
        f"the one or two digits printed, which the paper sometimes cuts instead of rounding; {kinds.count('')} do not, "
        f"with the reason below. {kinds.count('set')} of the paper's figures fix the length of a sequence here (set) "
        "and check nothing."
    )


def tiles(result: dict[str, Any]) -> str:
    """Return what the paper's numbers of tiles say of how it cuts convolutions."""
    other = [
        f"{one['title'].split(',')[0]} {one['tiles_cut_anywhere']}"
        for one in result["networks"].values()
        if one["tiles_cut_anywhere"] != next(row["ours"] for row in one["figures"] if row["figure"] == "tiles")
    ]
    return (
        "The paper's numbers of tiles come out because a tile holds all kernel positions of whole input channels, as "
        f"in our tiling; cut at any row there would be fewer ({', '.join(other)})."
    )


def origins(result: dict[str, Any]) -> str:
    """Return where the shapes of the networks come from."""
    lines = []
    for status, words in ORIGIN.items():
        names = [
            f"{one['title']} ({one['shapes']['source']})"
            for one in result["networks"].values()
            if one["shapes"]["status"] == status
        ]
        if names:
            lines.append(f"- {words}: {'; '.join(names)}")
    return "\n".join(lines)


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result = json.loads((results / FILES[1]).read_text("utf-8"))
    table, notes = comparison(result)
    return [
        f"The networks of Rasch et al. 2023 on tiles of 512 x 512 (`{result['hardware']}`): each figure as `plan` "
        "gives it from the shapes of the Keras model, and in brackets as their Table 1 prints it (all of them read in "
        "the paper). An MVM is one product of a vector and the matrix on one tile, the mean reuse is MVMs by tiles, a "
        "multiply-add is two operations. Networks for ImageNet keep their first convolution and last layer digital, as "
        "there. The last row is a variant that the paper does not have ([figures](networks_at_scale.csv), "
        "[origins](networks_at_scale.json)).",
        table,
        notes,
        count(result),
        tiles(result),
        "Where the shapes of the networks come from:",
        origins(result),
    ]
