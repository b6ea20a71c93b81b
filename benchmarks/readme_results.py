"""Write the result tables and picture of the README from the results files.

python -m benchmarks.readme_results [--check]

--check writes nothing and fails if the README is not what the results files give.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import readme_learning, readme_topologies
from benchmarks.markdown import markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
BEGIN, END = "<!-- results:begin", "<!-- results:end -->"
RIVALS = {
    "float": "float32",
    "int8_ptq": "int8, quantised after training",
    "int8_qat": "int8, quantisation-aware for {epochs} epochs",
}
TITLES = {
    "hwa_8bit": "8 bit, hardware-aware",
    "hwa_6bit": "6 bit, hardware-aware",
    "hwa_4bit": "4 bit, hardware-aware",
    "no_noise": "8 bit, trained without noise",
    "free_gain": "8 bit, free ADC gain per layer",
    "direct_mapping": "8 bit, float model (clipped at 2 sigma) mapped directly",
}


def drift_table(table: pd.DataFrame) -> str:
    """Return accuracy per variant and time, with drift compensation, as Markdown."""
    table = table[table["drift_compensation"]]
    times = list(dict.fromkeys(table.sort_values("seconds")["at"]))
    rows = []
    for variant, title in TITLES.items():
        part = table[table["variant"] == variant].set_index("at")
        if len(part):
            cells = [f"{100 * part.loc[t, 'mean']:.2f} ± {100 * part.loc[t, 'std']:.2f}" for t in times]
            rows.append([title, *cells, f"{part.loc['1d', 'loss']:+.2f}"])
    return markdown(["", *times, "loss at 1 d, points"], rows)


def noise_table(table: pd.DataFrame) -> str:
    """Return the accuracy after a day for each training noise."""
    chosen = table[(table["at"] == "1d") & table["drift_compensation"] & (table["hardware"] == "aon_cim_8bit")]
    chosen = chosen[chosen["variant"].str.startswith("eta_") | (chosen["variant"].isin(["hwa_8bit", "no_noise"]))]
    chosen = chosen.sort_values("weight_noise")
    rows = [[f"{100 * row.mean:.2f} ± {100 * row.std:.2f}" for row in chosen[["mean", "std"]].itertuples(index=False)]]
    return markdown([f"eta {100 * eta:g} %" for eta in chosen["weight_noise"]], rows)


def speed_table() -> str:
    """Return the measured ratios to plain Keras."""
    rows = []
    for name, what in (
        ("hwa_step", "hardware-aware training step, batch 100"),
        ("hwa_step_resnet8", "the same with the full standard crossbar, ResNet-8 spotter"),
        ("hwa_step_gru", "the same with the full standard crossbar, GRU spotter"),
        ("drift_evaluation", "one chip at five times, programming included, batch {chip_batch}"),
    ):
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text("utf-8"))
        other_batch = result.get("chip_batch", result.get("batch")) != result.get("batch")
        ratio = "ratio_same_batch" if other_batch else "ratio"
        rows.append([what.format(**result), f"{result[ratio]:.2f}", f"{result[f'{ratio}_cpu']:.2f}"])
        if ratio != "ratio":
            what = "the same, Keras with batches of {batch}"
            rows.append([what.format(**result), f"{result['ratio']:.2f}", f"{result['ratio_cpu']:.2f}"])
    path = RESULTS / "sensitivity_sweep.json"
    if path.exists():
        result = json.loads(path.read_text("utf-8"))
        what = f"a sweep of {len(result['values'])} strengths on {result['chips']} chips, standard crossbar"
        rows.append([what, f"{result['ratio']:.2f}", f"{result['ratio_cpu']:.2f}"])
        analog = f"{result['ratio_analog']:.2f}", f"{result['ratio_analog_cpu']:.2f}"
        rows.append(["the same, against as many passes of one programmed chip", *analog])
    return markdown(["time against plain Keras", "wall", "CPU"], rows) if rows else ""


def percent(row: pd.Series) -> str:
    return f"{100 * row['mean']:.2f} ± {100 * row['std']:.2f}"


def crossbar_table(table: pd.DataFrame) -> str:
    """Return what each network of the depthwise study takes of the chip, and what is left of its accuracy."""
    rows = []
    for variant, part in table[table["drift_compensation"]].groupby("variant", sort=False):
        name = str(variant).replace("_depthwise_digital", ", depthwise layers digital")
        part = part.set_index("at")
        day = part.loc["1d"]
        rows.append(
            [
                name,
                f"{int(day['weights']):,}",
                f"{100 * day['effective_utilisation']:.1f} %",
                str(int(day["arrays"])),
                f"{100 * day['float_accuracy']:.2f}",
                percent(part.loc["25s"]),
                percent(day),
                f"{day['loss']:+.2f}",
            ]
        )
    chip = ["weights on the chip", "effective utilisation", "arrays"]
    return markdown(["network", *chip, "float", "25s", "1d", "loss at 1 d, points"], rows)


def organisations_table(result: dict[str, Any]) -> str:
    """Return what the AnalogNets take on one large array and on small tiles."""
    rows = [
        [
            one["model"],
            one["accelerator"],
            f"{one['inferences_per_second']:,.0f}",
            f"{one['energy_uj']:.2f}",
            f"{one['tops_per_watt']:.2f}",
            f"{one['area_mm2']:.2f}",
        ]
        for one in result["organisations_8bit"]
    ]
    return markdown(["network", "chip", "inferences/s", "uJ an inference", "TOPS/W", "mm^2"], rows)


def untrained(result: dict[str, Any]) -> str:
    """Return which networks were placed on the accelerator but have no accuracy in the depthwise study."""
    path = RESULTS / "depthwise.csv"
    done = set(pd.read_csv(path)["variant"]) if path.exists() else set()
    missing = sorted({one["model"] for one in result["baselines_8bit"]} - done)
    return f"Not trained here, so without an accuracy above: {', '.join(missing)}." if missing else ""


def verdict(table: pd.DataFrame) -> str:
    """Return what the depthwise study says of the paper's argument, whichever way it comes out."""
    day = table[table["drift_compensation"] & (table["at"] == "1d")].set_index("variant")
    digital = day.index.str.endswith("_depthwise_digital")
    depthwise = day[(day["weights"] < day["cells"]) & ~digital]
    ordinary = day[(day["weights"] == day["cells"]) & ~digital]
    if depthwise.empty or ordinary.empty:
        return ""
    holds = depthwise["loss"].min() > ordinary["loss"].max()
    return (
        f"The argument against depthwise layers on a crossbar {'holds' if holds else 'does not hold'} here: a day "
        f"costs {depthwise['loss'].min():.1f} to {depthwise['loss'].max():.1f} points with them, at most "
        f"{ordinary['loss'].max():.1f} without. One training seed each."
    )


def rival_table(result: dict[str, Any]) -> str:
    """Return the float network beside its int8 versions."""
    rows = []
    for name, title in RIVALS.items():
        if found := result.get(name):
            exact = found.get("tflm", {})
            same = f"{exact['clips_bit_exact']} of {exact['clips']} clips" if exact else ""
            arena = f"{exact['arena_bytes'] / 1000:.0f}" if exact else ""
            cells = [f"{100 * found['accuracy']:.2f}", f"{found['bytes'] / 1000:.0f}", arena, same]
            rows.append([title.format(**found), *cells])
    return markdown(["digital", "accuracy, %", "file, kB", "TFLM arena, kB", "TFLM bit-exact"], rows)


def accelerator_table(result: dict[str, Any]) -> str:
    """Return the published figures of the accelerator beside ours."""
    rows = []
    for network, figures in result["comparison"].items():
        for one in figures:
            sure = f" ({one['confidence']} confidence)" if one.get("confidence") else ""
            origin = one["status"] + sure + (", fitted to" if one.get("calibrated_on") else "")
            bits = str(one.get("bits", ""))
            rows.append(
                [
                    network,
                    one["quantity"],
                    bits,
                    f"{one['paper']:g}",
                    f"{one['ours']:.4g}",
                    f"{one['error']:+.1%}",
                    origin,
                ]
            )
    return markdown(["", "figure", "bits", "paper", "ours", "error", "paper's figure"], rows)


def hermes_range(result: dict[str, Any]) -> str:
    """Return how far the check on HERMES moves with what was assumed."""
    rows = result["sensitivity_of_hermes_to_the_assumed_cell_power"]
    return ", ".join(f"{row['error']:+.0%} at {row['cell_nw']:g} nW" for row in rows)


def operations_gap(result: dict[str, Any]) -> str:
    """Return what the remembered throughput of AnalogNet-VWW says of its operations, beside ours."""
    found = {one["quantity"]: one for one in result["comparison"]["analognet_vww"] if one.get("bits", 8) == 8}
    paper, ours = (1e6 * found["TOPS"][who] / found["inferences/s"][who] for who in ("paper", "ours"))
    return (
        f"The remembered TOPS of AnalogNet-VWW mean {paper:.0f} million operations an inference, ours has {ours:.0f}: "
        "the published network is another one than ours, although both fill the array alike."
    )


def baselines_table(result: dict[str, Any]) -> str:
    """Return what depthwise networks cost on the accelerator."""
    rows = [
        [
            one["model"],
            one["depthwise"],
            str(one["arrays"]),
            f"{one['effective_utilisation']:.1%}",
            f"{one['inferences_per_second']:,.0f}",
            f"{one['tops_per_watt']:.2f}",
        ]
        for one in result["baselines_8bit"]
    ]
    return markdown(["network", "depthwise layers", "arrays", "cells with weights", "inferences/s", "TOPS/W"], rows)


def section() -> str:
    """Return the generated part of the README."""
    table = pd.read_csv(RESULTS / "kws.csv")
    records = json.loads((RESULTS / "kws.json").read_text("utf-8"))
    data = records[0]["data"]
    float_accuracy = table["float_accuracy"].iloc[0]
    chips = int(table["chips"].max())
    parts = [
        f"AnalogNet-KWS (our reconstruction), {data['name']}: float accuracy {100 * float_accuracy:.2f} %. Mean and "
        f"standard deviation over {chips} simulated chips, with drift compensation, in % "
        "([all figures](results/kws.csv), [recipes and versions](results/kws.json)).",
        f"Data: {data['statement']}",
        "![Accuracy over drift time](results/kws_drift.png)",
        drift_table(table),
        "Training noise eta (share of W_max) against accuracy after one day, 8 bit:",
        noise_table(table),
    ]
    if (RESULTS / "depthwise.csv").exists():
        parts += [
            "Ordinary against depthwise convolutions, all trained alike for 8 bit and all on the chip unless said "
            "otherwise ([figures](results/depthwise.csv), [recipes](results/depthwise.json)). The pictures "
            "of analognet_vww are the stand-in for Visual Wake Words, photographs of CIFAR-100:",
            crossbar_table(table := pd.read_csv(RESULTS / "depthwise.csv")),
            verdict(table),
        ]
    if (RESULTS / "digital_rival.json").exists():
        parts += [
            "The digital rival, AnalogNet-KWS as int8 LiteRT, its dense layer written as a 1x1 convolution as exports "
            "for TFLM do ([figures](results/digital_rival.json)):",
            rival_table(json.loads((RESULTS / "digital_rival.json").read_text("utf-8"))),
        ]
    if (RESULTS / "accelerator_paper.json").exists():
        accelerator = json.loads((RESULTS / "accelerator_paper.json").read_text("utf-8"))
        parts += [
            "The AON-CiM accelerator, our reconstruction, beside published figures. The networks were laid out to meet "
            "utilisation and passes, and the energy constants were fitted to some figures. HERMES was not fitted; its "
            f"error hangs on an assumed cell power ({hermes_range(accelerator)}), and our area counts array, drivers "
            "and ADCs only ([constants and origins](results/accelerator_paper.json)):",
            accelerator_table(accelerator),
            operations_gap(accelerator),
            "Depthwise networks on the same accelerator, 8 bit:",
            baselines_table(accelerator),
            untrained(accelerator),
            "One large array used layer after layer, against eight tiles of 256 x 256 that work at once, 8 bit:",
            organisations_table(accelerator),
        ]
    if (RESULTS / "explore_kws.csv").exists():
        points = pd.read_csv(RESULTS / "explore_kws.csv")
        parts += [
            "Accuracy after a day against efficiency, by `analognets explore` over bits, rows and ADCs "
            f"({points['chips'].max():.0f} chips and {points['samples'].max():.0f} test clips a point, nothing trained "
            "anew; [figures](results/explore_kws.csv)):",
            "![Pareto front](results/explore_kws_pareto.png)",
        ]
    parts += readme_topologies.parts(RESULTS, RESULTS)
    parts += readme_learning.parts(RESULTS)
    if speed := speed_table():
        parts += ["Speed, measured in one run each ([results](results)):", speed]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    path = ROOT / "README.md"
    text = path.read_text("utf-8")
    start = text.index("\n", text.index(BEGIN)) + 1
    new = text[:start] + section() + "\n" + text[text.index(END) :]
    if options.check:
        sys.exit(0 if new == text else "README.md is not up to date: run python -m benchmarks.readme_results")
    path.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
