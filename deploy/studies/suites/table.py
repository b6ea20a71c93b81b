"""The one table of a suite, for people and for programs: CSV, JSON, Markdown and a page of HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analognets.core.files import write_atomically, write_json
from analognets.core.markdown import markdown
from analognets.core.provenance import environment
from analognets.core.report import Picture, Report, Table
from analognets.deploy.accelerator.costs import with_range
from analognets.deploy.studies.suites.figures import FIGURES, RANGES, Figure, figures_of
from analognets.deploy.studies.suites.suite import Suite
from analognets.metrics import format_interval

__all__ = ["Wide", "wide", "write"]

COLUMNS = [field.name for field in dataclasses.fields(Figure)]
SHOWN = (
    ("weights", "weights, k", 1e-3, "{:.1f}"), ("macs", "MACs, M", 1e-6, "{:.2f}"),
    ("published_float", "published", 1, "{:g}"), ("float", "float here", 1, "{:.2f}"),
    ("published_int8", "published int8", 1, "{:g}"), ("int8", "int8 here", 1, "{:.2f}"),
    ("arena_bytes", "TFLM arena, kB", 1e-3, "{:.1f}"),
)  # fmt: skip
"""Columns of a member: figure, heading, factor, form."""
BY_BITS = (
    ("energy_uj", "uJ an inference", 1, "{:.3g}"),
    ("inferences_per_second", "inferences/s", 1, "{:,.0f}"),
)
"""Columns of a member at so many bits."""
AGED = {
    "direct": "mapped as it is, {}",
    "finetuned": "fine-tuned, {}",
    "finetuned_adabs": "fine-tuned + AdaBS, {}",
}
"""Columns of a member at so many bits and a time."""


@dataclasses.dataclass(frozen=True)
class Wide:
    """The table for people.

    Args:
        header: headings.
        rows: text of the cells; "[n]" points to a note.
        notes: why cells are empty and what to know of others, in the order of their numbers.
        data: what each member's figures were measured on, a sentence each.
    """

    header: list[str]
    rows: list[list[str]]
    notes: list[str]
    data: list[str]


def write(
    root: Path,
    suite: Suite,
    measured: Mapping[tuple[str, str, Any], Mapping[str, Any]],
    missing: Mapping[str, str],
    settings: Mapping[str, Any],
    bits: Sequence[int],
    command: str = "",
) -> Any:
    """Write benchmark.csv, .json, .md and .html, each whole or not at all, and return the table of figures."""
    import pandas as pd

    found = figures_of(suite, measured, missing, settings, bits)
    rows = [dataclasses.asdict(figure) for figure in found]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    shown = wide(suite, found, measured, settings)
    about = about_suite(suite, settings)
    write_atomically(root / "benchmark.csv", frame.to_csv(index=False, float_format="%.6g"))
    record: dict[str, Any] = {
        "suite": suite.name,
        "title": suite.title,
        "source": suite.source,
        "settings": dict(settings),
    }
    members = [about_member(suite, key, measured) for key in (member.key for member in suite.members)]
    record |= {**environment(), "members": members, "table": dataclasses.asdict(shown), "about": about}
    write_json(root / "benchmark.json", {**record, "figures": rows})
    write_atomically(root / "benchmark.md", as_markdown(suite, shown, about))
    suite_report(suite, shown, about, found, settings, command).write(root / "benchmark.html")
    return frame


def about_suite(suite: Suite, settings: Mapping[str, Any]) -> list[str]:
    """Return what all figures have in common, a sentence each."""
    said = [
        f"Networks: {suite.source}.",
        f"Accuracy in % with half of the 95 % interval over test samples and {settings['chips']} chips, one training "
        f"seed; energy and speed: cost model of {suite.accelerator}, energy with the range that its "
        "published figures allow.",
        "Mapped as it is: published weights, W_max = max |W|, converter ranges set on training samples, no training. "
        "AdaBS: batch-norm statistics set anew on each chip at that time, on up to 1,000 unlabelled training samples.",
        "Mapped and fine-tuned networks leave the same layers digital, which the table names: depthwise ones, since on "
        "a crossbar nearly all of their cells would hold no weight, and what a recipe exempts.",
    ]
    return ["A quick try: its figures say nothing.", *said] if settings["quick"] else said


def about_member(suite: Suite, key: str, measured: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is known of a member as plain data."""
    member = suite.member(key)
    row = measured.get((key, "published", None), {})
    kept = ("official_file", "conversion", "left_digital", "statement")
    facts = {name: row[name] for name in kept if row.get(name) is not None}
    files = {"model": member.model, "int8": member.int8}
    return {"key": key, "title": member.title, **files, "target": member.target, "recipe": member.recipe, **facts}


def wide(
    suite: Suite,
    found: Sequence[Figure],
    measured: Mapping[Any, Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> Wide:
    """Return the table for people: a row for each member and precision."""
    by_place = {(one.member, one.figure, one.bits, one.at): one for one in found}
    times = [str(at) for at in settings["times"]]
    bits = list(dict.fromkeys(one.bits for one in found if one.bits is not None))
    notes: list[str] = []
    aged = [(name, at) for name in AGED for at in times]
    header = ["network", "digital products", *(heading for _, heading, *_ in SHOWN), "bits"]
    header += [heading for _, heading, *_ in BY_BITS] + [AGED[name].format(at) for name, at in aged]
    rows = []
    for member in suite.members:
        row = measured.get((member.key, "published", None), {})
        first = [member.title, str(row.get("left_digital") or ("none" if row else "-"))]
        first += [cell(by_place[member.key, name, None, None], factor, form, notes) for name, _, factor, form in SHOWN]
        for number, count in enumerate(bits):
            place = member.key, count
            cells = [cell(by_place[place[0], n, count, None], factor, form, notes) for n, _, factor, form in BY_BITS]
            cells += [cell(by_place[place[0], name, count, at], 1, "{:.2f}", notes) for name, at in aged]
            rows.append([*(first if not number else [""] * len(first)), str(count), *cells])
    return Wide(header, rows, notes, list(sentences(suite, measured, settings)))


def cell(figure: Figure, factor: float, form: str, notes: list[str]) -> str:
    """Return the text of a cell; what is to be said of it is added to the notes."""
    mark = ""
    if figure.note:
        if figure.note not in notes:
            notes.append(figure.note)
        mark = f" [{notes.index(figure.note) + 1}]"
    if figure.value is None:
        return f"-{mark}"
    if figure.figure in RANGES:
        ends = None if figure.low is None or figure.high is None else (factor * figure.low, factor * figure.high)
        return with_range(factor * figure.value, ends, form.strip("{:}")) + mark
    text = format_interval(figure.value, figure.low, figure.high, form=form, scale=factor)
    return f"{'AUC ' if figure.unit == 'AUC' else ''}{text}{mark}"


def sentences(suite: Suite, measured: Mapping[Any, Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each member's figures were measured on."""
    for member in suite.members:
        row = measured.get((member.key, "published", None), {})
        if not row:
            continue
        file = "the published file" if row.get("official_file") else "a file that is not the published one"
        said = [f"{member.title} ({member.key}): {file}; {row['conversion']}"]
        if member.target:
            said.append(f"target of the suite: {member.target}")
        if row.get("measured_on"):
            said.append(f"measured here on {row['measured_on']}. {row['statement']}")
        else:
            said.append(member.no_data or "no data at hand")
        tuned = [measured.get((member.key, "finetuned", n)) for n in (8, 6, 4)]
        epochs = sorted({int(one["epochs"]) for one in tuned if one and one["status"] == "ok"})
        if epochs:
            said.append(f"fine-tuned for {' to '.join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))} epochs")
        yield "; ".join(part.rstrip(".") for part in said) + "."


def as_markdown(suite: Suite, shown: Wide, about: Sequence[str]) -> str:
    """Return the table as a page of Markdown."""
    notes = [f"{number}. {note}" for number, note in enumerate(shown.notes, start=1)]
    parts = [f"# {suite.title}", " ".join(about), markdown(shown.header, shown.rows)]
    parts += ["Notes:\n\n" + "\n".join(notes)] if notes else []
    parts += ["Measured on:\n\n" + "\n".join(f"- {line}" for line in shown.data)] if shown.data else []
    return "\n\n".join(parts) + "\n"


def suite_report(
    suite: Suite, shown: Wide, about: Sequence[str], found: Sequence[Figure], settings: Mapping[str, Any], command: str
) -> Report:
    """Return the report of a suite."""
    accuracies = [one for one in found if one.figure in FIGURES and one.value is not None]
    rows = [
        [
            one.member, FIGURES[one.figure], "" if one.bits is None else str(one.bits), one.at or "",
            f"{format_interval(one.value or 0.0, one.low, one.high)} {one.unit}", one.measured_on,
        ]
        for one in accuracies
    ]  # fmt: skip
    heads = ["network", "what", "bits", "at", "value", "measured on"]
    notes = [f"[{number}] {note}" for number, note in enumerate(shown.notes, start=1)]
    times = ", ".join(str(at) for at in settings["times"])
    return Report(
        title=suite.title,
        question=f"How accurate are these networks on analog chips after {times}, and what does an inference cost?",
        answer=answer_of(suite, accuracies),
        statement=about[0] if settings["quick"] else "",
        figures=[Picture(suite_figure(suite, accuracies), "Accuracies", in_words(suite))] if accuracies else [],
        tables=[Table(shown.header, shown.rows, "All networks"), Table(heads, rows, "Each accuracy")],
        notes=[*about, *notes, *(f"Measured on: {line}" for line in shown.data)],
        facts={name: value for name, value in settings.items() if value is not None},
        command=command,
    )


def answer_of(suite: Suite, accuracies: Sequence[Figure]) -> str:
    """Return the best accuracy on chips of each member, at the last time, as a sentence."""
    said = []
    for member in suite.members:
        aged = [one for one in accuracies if one.member == member.key and one.at is not None]
        last = [one for one in aged if one.at == aged[-1].at]
        if best := max(last, key=lambda one: one.value or 0.0, default=None):
            value = format_interval(best.value or 0.0, best.low, best.high)
            said.append(f"{member.title}: {value} {best.unit} after {best.at} at {best.bits} bit.")
    return " ".join(said) or "No network was measured on chips: no data were at hand."


def suite_figure(suite: Suite, accuracies: Sequence[Figure]) -> Any:
    """Draw what is known of the accuracy of each member: published, here, and on chips, with 95 % intervals."""
    from analognets.core.figures import COLOURS, new_figure

    members = [member for member in suite.members if any(one.member == member.key for one in accuracies)]
    kinds = list(dict.fromkeys((one.figure, one.bits, one.at) for one in accuracies))
    figure = new_figure(8.4, 1.2 + 0.22 * len(kinds) * max(len(members), 1) ** 0.5)
    axes = figure.subplots(1, len(members), squeeze=False, sharey=True)[0]
    for panel, member in zip(axes, members, strict=True):
        for one in (one for one in accuracies if one.member == member.key):
            value, place = one.value or 0.0, kinds.index((one.figure, one.bits, one.at))
            ends = [[max(value - (value if end is None else end), 0.0)] if not number else
                    [max((value if end is None else end) - value, 0.0)]
                    for number, end in enumerate((one.low, one.high))]  # fmt: skip
            colour = COLOURS[list(FIGURES).index(one.figure) % len(COLOURS)]
            panel.errorbar([value], [place], xerr=ends, fmt="o", color=colour, capsize=3, ms=5)
        panel.set_title(member.key, fontsize="medium")
        panel.set_xlabel(next((one.unit for one in accuracies if one.member == member.key), ""))
        panel.grid(alpha=0.3)
    labels = [
        " ".join([name.replace("_", " "), *([f"{bits} bit"] if bits else []), *([at] if at else [])])
        for name, bits, at in kinds
    ]
    axes[0].set_yticks(range(len(kinds)), labels, fontsize="small")
    axes[0].invert_yaxis()
    return figure


def in_words(suite: Suite) -> str:
    """Return what the figure shows."""
    return (
        f"A panel for each network of {suite.title}: accuracy as published, measured here, and on chips by bits and "
        "time, with 95 % intervals. The figures stand in the table of each accuracy."
    )
