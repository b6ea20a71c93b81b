"""The results page's part on the realistic crossbar: topologies, sensitivity and its claims, from the results files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.metrics import chance_error, format_interval
from benchmarks.markdown import markdown, over_chips

TOPOLOGY = {"cnn": "CNN", "rnn": "GRU", "transformer": "transformer", "lstm": "LSTM"}
TRAININGS = {
    "direct_mapping": "mapped directly",
    "no_noise": "trained with converters, no weight noise",
    "gaussian": "hardware-aware, Gaussian noise",
    "device": "hardware-aware, noise of the devices",
    "distilled": "the same, distilled",
}


def accuracy_table(table: pd.DataFrame) -> str:
    """Return accuracy with its interval, and A* after an hour and a year, of each network and training."""
    times = list(dict.fromkeys(table.sort_values("seconds")["at"]))
    rows = []
    for topology in TOPOLOGY:
        for variant, title in TRAININGS.items():
            part = table[(table["topology"] == topology) & (table["variant"] == variant)].set_index("at")
            if part.empty:
                continue
            cells = [with_interval(part.loc[t], "mean") for t in times]
            stars = [with_interval(part.loc[t], "normalized_accuracy", digits=1) for t in ("1h", "1y")]
            float_accuracy = f"{100 * part['float_accuracy'].iloc[0]:.2f}"
            rows.append([TOPOLOGY[topology], title, float_accuracy, *cells, *stars])
    return markdown(["network", "training", "float", *times, "A* 1h", "A* 1y"], rows)


def with_interval(row: pd.Series, name: str, digits: int = 2) -> str:
    """Return the mean accuracy, or A*, with half of its 95 % interval over chips; A* is linear in the accuracy."""
    room = chance_error(int(row["classes"])) - (1.0 - row["float_accuracy"])
    std = row["standard_error"] * row["chips"] ** 0.5 / (1.0 if name == "mean" else room)
    return over_chips(row[name], std, row["chips"], digits=digits)


def order(table: pd.DataFrame) -> str:
    """Return whether trainings come out in the expected order after an hour and a year, network by network."""
    said = []
    for at in ("1h", "1y"):
        means = table[table["at"] == at].pivot(index="topology", columns="variant", values="mean")
        best = means[["gaussian", "device"]].max(axis=1)
        holds = (best > means["no_noise"]) & (means["no_noise"] > means["direct_mapping"])
        names = ", ".join(TOPOLOGY[name] for name in means.index[holds]) or "none"
        said.append(f"after {at} for: {names}")
    return (
        f"The expected order of the means, hardware-aware over converters only over direct mapping, holds "
        f"{'; '.join(said)}. One training seed each; whether A* reaches 99 % is told of the headline networks, whose "
        "intervals count the test clips."
    )


def choice(table: pd.DataFrame) -> str:
    """Return what the CNN's recipe was chosen over, on validation clips."""
    rows = []
    for variant, title in (("device", "narrow, free input ranges (the recipe)"), ("wide_ranges", "wide input ranges")):
        part = table[(table["topology"] == "cnn") & (table["variant"] == variant)]
        for row in part.to_dict("records"):
            loss = format_interval(row["loss"], row["loss_low"], row["loss_high"], form="{:+.2f}")
            rows.append([title, row["at"], f"{100 * row['mean']:.2f}", loss])
    return markdown(["CNN, validation clips", "since programming", "accuracy, %", "loss to float"], rows)


def claims(result: dict[str, Any]) -> str:
    """Return the paper's claims with what was found here."""
    signals, recurrent, layers = result["claims"]
    losses = signals["mean_loss"]
    lines = [
        f"- {signals['claim']} **{signals['answer'].capitalize()}**: mean loss "
        f"{100 * losses['inputs_and_outputs']['all']:.1f} % against {100 * losses['weights']['all']:.1f} % for what "
        "changes weights.",
        f"- {recurrent['claim']} **{recurrent['answer'].capitalize()}**: mean loss "
        + ", ".join(f"{TOPOLOGY[name]} {100 * x:.1f} %" for name, x in recurrent["mean_loss_method_1"].items())
        + f"; least relative sensitivity (thresholds): {TOPOLOGY[recurrent['most_robust']['method_2']]}.",
    ]
    details = []
    for name, one in layers["networks"].items():
        as_is = f"{TOPOLOGY[name]} A* {100 * one['normalized_accuracy_as_is']:.1f} % as it is"
        if one["layers_to_exempt"] is None:
            details.append(f"{as_is}, {100 * one['normalized_accuracy_all_exempt']:.1f} % with all layers exempt")
        elif one["layers_to_exempt"]:
            share = f"{one['layers_to_exempt']} exempt layers ({100 * one['share_of_weights']:.1f} % of weights)"
            details.append(f"{as_is}, {100 * one['normalized_accuracy']:.1f} % with {share}")
        else:
            details.append(as_is)
    lines.append(f"- {layers['claim']} **{layers['answer'].capitalize()}**: {'; '.join(details)}.")
    return "\n".join(lines)


def product_error(result: dict[str, Any]) -> str:
    """Return the standard test's error beside the published one."""
    rows = {row["case"]: row for row in result["rows"]}
    one = rows["total (standard), 1h"]
    low, high = one["band"]
    return (
        f"The standard crossbar of Rasch et al. 2023 (`aimc_standard`): product error of the standard test after 1 h "
        f"{one['ours']:.1f} % (published: about 15 %; accepted band {low:g} to {high:g} %; "
        "[all cases](product_error.json))."
    )


def test_clips(results: Path) -> int:
    """Return how many test clips the data of the topologies have."""
    records = json.loads((results / "topologies.json").read_text("utf-8"))
    return int(records[0]["data"]["clips"]["test"])


def parts(results: Path) -> list[str]:
    """Return the paragraphs, as far as there are results."""
    found = []
    if (results / "product_error.json").exists():
        found.append(product_error(json.loads((results / "product_error.json").read_text("utf-8"))))
    if (results / "topologies.csv").exists():
        table = pd.read_csv(results / "topologies.csv")
        found += [
            f"KWS models of three kinds on it, Speech Commands as above, mean and half of its 95 % interval over "
            f"{int(table['chips'].max())} chips alone in %, one training seed each ([figures](topologies.csv), "
            "[recipes](topologies.json)):",
            accuracy_table(table),
            order(table),
        ]
    if (results / "topologies_validation.csv").exists():
        found += [
            "The CNN's recipe was chosen on validation clips, one training seed ([figures](topologies_validation.csv), "
            "[recipes](topologies_validation.json)):",
            choice(pd.read_csv(results / "topologies_validation.csv")),
        ]
    if (results / "sensitivity.json").exists():
        result = json.loads((results / "sensitivity.json").read_text("utf-8"))
        found += [
            "What the paper says of sensitivity, checked on these networks by `analognets sensitivity` "
            f"({result['chips']} chips, {result['chips_method_2_and_layers']} for thresholds and layers; "
            f"{result['test_clips_limit']} of {test_clips(results)} test clips, spread evenly; one training seed; "
            "[figures](sensitivity_method_1.csv), "
            "[answers](sensitivity.json)):",
            claims(result),
            "![Loss at equal product error](sensitivity_method_1.png)",
        ]
    return found
