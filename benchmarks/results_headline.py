"""The results page's part on the headline networks: some training seeds each, with 95 % intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.metrics import ISO_ACCURACY, format_interval
from benchmarks.markdown import markdown

FILES = ("headline.csv", "headline.json")
TITLES = {
    ("kws", "hwa_8bit"): "AnalogNet-KWS, 8 bit",
    ("kws", "hwa_6bit"): "AnalogNet-KWS, 6 bit",
    ("kws", "hwa_4bit"): "AnalogNet-KWS, 4 bit",
    ("kws", "hwa_4bit_distilled"): "AnalogNet-KWS, 4 bit, from the distilled float networks",
    ("kws_resnet8", "hwa_standard"): "CNN (ResNet-8), standard crossbar",
    ("kws_gru", "hwa_standard"): "GRU, standard crossbar",
    ("vww_photographs", "hwa_8bit"): "AnalogNet-VWW, 8 bit",
    ("vww_photographs", "hwa_6bit"): "AnalogNet-VWW, 6 bit",
    ("vww_photographs", "hwa_4bit"): "AnalogNet-VWW, 4 bit",
}
FIGURE = tuple(title for (recipe, name), title in TITLES.items() if recipe == "kws" and "distilled" not in name)
PICTURE = "headline_drift.png"


def shown(row: pd.Series, name: str, *, scale: float = 1.0, form: str = "{:.2f}") -> str:
    """Return a column with half of its interval."""
    return format_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], scale=scale, form=form)


def networks(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each network by time."""
    groups = {key: part.set_index("at") for key, part in table.groupby(["recipe", "variant"], sort=False)}
    return [(title, groups[key]) for key, title in TITLES.items() if key in groups]


def accuracy_table(table: pd.DataFrame) -> str:
    """Return accuracies and losses."""
    rows = []
    for title, part in networks(table):
        day, year = part.loc["1d"], part.loc["1y"]
        rows.append(
            [
                title,
                str(int(day["seeds"])),
                f"{100 * day['float_accuracy']:.2f}",
                *(shown(part.loc[at], "mean", scale=100) for at in ("1h", "1d", "1y")),
                *(shown(row, name, form="{:+.2f}") for row in (day, year) for name in ("loss", "digital_loss")),
            ]
        )
    losses = [f"loss to {name} at {at}" for at in ("1 d", "1 y") for name in ("float", "digital")]
    return markdown(["network", "seeds", "float", "1h", "1d", "1y", *losses], rows)


def drift_figure(table: pd.DataFrame, path: Path) -> None:
    """Draw accuracy over drift time of the networks of `FIGURE`, if any; bars are the deviation over chips."""
    known = {title: part.sort_values("seconds") for title, part in networks(table) if title in FIGURE}
    if not known:
        return
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    for colour, (title, part) in zip(COLOURS, known.items(), strict=False):
        bars = {"yerr": 100 * part["std_over_chips"], "capsize": 2, "fmt": "-o", "ms": 4}
        axes.errorbar(part["seconds"], 100 * part["mean"], color=colour, label=title, **bars)
    last = next(iter(known.values()))
    axes.axhline(100 * last["float_accuracy"].iloc[0], color="0.4", ls="--", lw=1, label="float network")
    axes.set_xscale("log")
    axes.set_xticks(last["seconds"], [str(at) for at in last.index])
    axes.minorticks_off()
    axes.set(xlabel="time since programming", ylabel="accuracy in %")
    axes.legend(fontsize="small", loc="lower right")
    saved(figure, path)


def iso_accuracy(table: pd.DataFrame) -> str:
    """Return which networks keep A* of 99 %: only those whose whole interval does."""
    said = []
    for at in ("1h", "1d", "1y"):
        sure, no, open_ = [], [], []
        for title, part in networks(table):
            row = part.loc[at]
            star = f"{title} ({100 * row['normalized_low']:.1f} to {100 * row['normalized_high']:.1f} %)"
            above, below = row["normalized_low"] >= ISO_ACCURACY, row["normalized_high"] < ISO_ACCURACY
            (sure if above else no if below else open_).append(star)
        parts = [f"above 99 %: {', '.join(sure) or 'none'}", f"below: {', '.join(no) or 'none'}"]
        parts.append(f"not decided by these data: {', '.join(open_) or 'none'}")
        said.append(f"- after {at}: {'; '.join(parts)}")
    heading = "Normalised accuracy A*, 95 % intervals (of the loss; the float accuracy is taken as it is):"
    return "\n".join([heading, "", *said])


def samples(table: pd.DataFrame) -> str:
    """Return over what the intervals are: clips by speaker, and pictures, of which no person is known."""
    said = []
    for count, speakers in table[["clips", "speakers"]].drop_duplicates().itertuples(index=False):
        said.append(f"{count} test clips of {speakers} speakers" if speakers else f"{count} test pictures")
    return " or ".join(said)


def headline_networks(results: Path) -> list[str]:
    """Return the paragraphs."""
    table = pd.read_csv(results / FILES[0])
    about: dict[str, Any] = json.loads((results / FILES[1]).read_text("utf-8"))
    chips = " or ".join(str(count) for count in sorted(set(table["chips_per_seed"])))
    return [
        f"Accuracy in % with drift compensation and losses in points, each with half of its 95 % interval over "
        f"{samples(table)} and over the training seeds, each with its own {chips} chips. "
        "Losses are paired by clip or picture: to the float network before training for hardware, which some networks "
        "surpass, and to the same weights run digitally, which is what the chip alone costs ([figures](headline.csv), "
        "[recipes, versions and commits](headline.json)). The loudness of made silence is the range of a 16-bit "
        "microphone, from one converter step to where Gaussian noise clips at 4 sigma; it was chosen without the test "
        "clips.",
        *(f"Data: {statement}" for statement in dict.fromkeys(run["data"]["statement"] for run in about["runs"])),
        about["note"],
        f"![Accuracy over drift time]({PICTURE}) Bars: standard deviation over chips.",
        accuracy_table(table),
        iso_accuracy(table),
    ]


def row(results: Path, recipe: str, at: str, variant: str | None = None) -> pd.Series:
    """Return a row of the table for the README: of a recipe's variant, or its first one, at a time."""
    table = pd.read_csv(results / FILES[0])
    of_recipe = table[(table["recipe"] == recipe) & (table["at"] == at)]
    return (of_recipe if variant is None else of_recipe[of_recipe["variant"] == variant]).iloc[0]
