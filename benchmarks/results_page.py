"""Write results/RESULTS.md, and the headline table of the README, from the results files.

python -m benchmarks.results_page [--check]

--check writes nothing and fails if one of the two is not what the results files give.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import (
    results_adabs,
    results_ageing,
    results_aihwkit,
    results_choices,
    results_design,
    results_device,
    results_glue,
    results_headline,
    results_large,
    results_learning,
    results_networks,
    results_resnet32,
    results_speed,
    results_stream,
    results_topologies,
)
from benchmarks.markdown import markdown, over_chips, over_values

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
BEGIN, END = "<!-- results:begin", "<!-- results:end -->"
INT8 = {
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
            cells = [percent(part.loc[t]) for t in times]
            rows.append([title, *cells, f"{part.loc['1d', 'loss']:+.2f}"])
    return markdown(["", *times, "loss at 1 d, points"], rows)


def noise_table(table: pd.DataFrame) -> str:
    """Return the accuracy after a day for each training noise."""
    chosen = table[(table["at"] == "1d") & table["drift_compensation"] & (table["hardware"] == "aon_cim_8bit")]
    chosen = chosen[chosen["variant"].str.startswith("eta_") | (chosen["variant"].isin(["hwa_8bit", "no_noise"]))]
    chosen = chosen.sort_values("weight_noise")
    rows = [[percent(row) for _, row in chosen.iterrows()]]
    return markdown([f"eta {100 * eta:g} %" for eta in chosen["weight_noise"]], rows)


def percent(row: pd.Series) -> str:
    return over_chips(row["mean"], row["std"], row["chips"])


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
            ends(one, "energy_low_uj", "energy_high_uj"),
            f"{one['tops_per_watt']:.2f}",
            f"{one['area_mm2']:.2f}",
        ]
        for one in result["organisations_8bit"]
    ]
    return markdown(["network", "chip", "inferences/s", "uJ an inference", "uJ, range", "TOPS/W", "mm^2"], rows)


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


def int8_table(result: dict[str, Any]) -> str:
    """Return the float network beside its int8 versions."""
    rows = []
    for name, title in INT8.items():
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
            origin += f"; {one['note']}" if "IEEE Micro" in one["quantity"] and one.get("note") else ""
            bits = str(one.get("bits", ""))
            rows.append(
                [
                    network,
                    one["quantity"],
                    bits,
                    f"{one['paper']:g}",
                    f"{one['ours']:.4g}",
                    ends(one, "low", "high"),
                    f"{one['error']:+.1%}",
                    origin,
                ]
            )
    return markdown(["", "figure", "bits", "paper", "ours", "ours, range", "error", "paper's figure"], rows)


def ends(row: dict[str, Any], low: str, high: str) -> str:
    """Return the ends of a range as text, or nothing where a row has none."""
    return "" if row.get(low) is None else f"{row[low]:.3g} to {row[high]:.3g}"


def hermes_range(result: dict[str, Any]) -> str:
    """Return what the fitted figures allow the HERMES core, beside what is published."""
    core = next(one for one in result["comparison"]["hermes"] if one["quantity"] == "core TOPS/W")
    low, high = (core[end] / core["paper"] - 1 for end in ("low", "high"))
    return f"{ends(core, 'low', 'high')} TOPS/W ({low:+.0%} to {high:+.0%})"


def energy_elsewhere(start: str) -> list[str]:
    """Return in a sentence what the fitted figures allow networks whose own tables have a point estimate only.

    Args:
        start: of their names.
    """
    if not (RESULTS / "accelerator_paper.json").exists():
        return []
    rows = [row for row in accelerator_record()["elsewhere"] if row["network"].startswith(start)]
    said = ", ".join(
        f"{row['network']} at {row['bits']} bit {row['energy_uj']:.3g} uJ "
        f"({ends(row, 'energy_low_uj', 'energy_high_uj')})"
        for row in rows
    )
    return [
        "Energies are predictions with constants fitted to AnalogNets' figures; all constants that meet those figures "
        f"within 3 % allow ([ranges](accelerator_paper.json)): {said}."
    ]


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
            ends(one, "tops_per_watt_low", "tops_per_watt_high"),
        ]
        for one in result["baselines_8bit"]
    ]
    heads = ["network", "depthwise layers", "arrays", "cells with weights", "inferences/s", "TOPS/W", "TOPS/W, range"]
    return markdown(heads, rows)


def training_seeds(records: list[dict[str, Any]]) -> str:
    """Return how many training seeds the records of a study have."""
    count = len({record.get("recipe", {}).get("seed") for record in records})
    return "one training seed" if count == 1 else f"{count} training seeds"


SPREAD = "The interval is over chips alone: what other test clips would do is not in it."


def kws() -> list[str]:
    """Return the paragraphs on AnalogNet-KWS over drift time."""
    table = pd.read_csv(RESULTS / "kws.csv")
    records = json.loads((RESULTS / "kws.json").read_text("utf-8"))
    data, silence = records[0]["data"], records[0]["recipe"]["augmentation"]["silence_rms"]
    return [
        f"AnalogNet-KWS (our reconstruction), {data['name']}: float accuracy "
        f"{100 * table['float_accuracy'].iloc[0]:.2f} %. Mean and half of its 95 % interval over "
        f"{int(table['chips'].max())} simulated chips, with drift compensation, in %; {training_seeds(records)} "
        f"([all figures](kws.csv), [recipes and versions](kws.json)). "
        f"{SPREAD} Loss is against the float network after stage 1, which some "
        "analog networks surpass.",
        "These trainings are of an earlier form of the recipe, with Gaussian weight noise and the drift-compensation "
        "factor after the ADC; the headline networks above are of the present one.",
        f"Made silence had a loudness of {silence[0]:g} to {silence[1]:g} (root mean square of full scale) in these "
        "trainings.",
        f"Data: {data['statement']}",
        "![Accuracy over drift time](kws_drift.png)",
        drift_table(table),
        "Training noise eta (share of W_max) against accuracy after one day, 8 bit:",
        noise_table(table),
    ]


def depthwise() -> list[str]:
    """Return the paragraphs on ordinary and depthwise convolutions."""
    table = pd.read_csv(RESULTS / "depthwise.csv")
    return [
        "Ordinary against depthwise convolutions, all trained alike for 8 bit and all on the chip unless said "
        "otherwise; mean and half of its 95 % interval over the chips alone ([figures](depthwise.csv), "
        "[recipes](depthwise.json)). The pictures of analognet_vww are the "
        "stand-in for Visual Wake Words, photographs of CIFAR-100:",
        crossbar_table(table),
        verdict(table),
    ]


def baseline() -> list[str]:
    """Return the paragraphs on the int8 baseline."""
    return [
        "The int8 baseline: AnalogNet-KWS as int8 LiteRT, its dense layer written as a 1x1 convolution as exports for "
        "TFLM do ([figures](int8_baseline.json)):",
        int8_table(json.loads((RESULTS / "int8_baseline.json").read_text("utf-8"))),
    ]


def accelerator() -> list[str]:
    """Return the paragraphs on the accelerator beside published figures."""
    result = accelerator_record()
    return [
        "The AON-CiM accelerator, our reconstruction, beside published figures. The networks were laid out to meet "
        "utilisation and passes, and the energy constants were fitted to nine figures, which do not determine them: a "
        "range holds the extremes of all constants that meet the nine within 3 %. HERMES was not fitted, so its energy "
        f"is a prediction of {hermes_range(result)}; our area counts array, drivers and ADCs only. The IEEE Micro "
        "figures are near-duplicates of the fitted ones and check nothing "
        "([constants and origins](accelerator_paper.json)):",
        accelerator_table(result),
        operations_gap(result),
        "Depthwise networks on the same accelerator, 8 bit:",
        baselines_table(result),
        untrained(result),
        "One large array used layer after layer, against eight tiles of 256 x 256 that work at once, 8 bit:",
        organisations_table(result),
    ]


def mlperf_tiny() -> list[str]:
    """Return the paragraphs on the networks of MLPerf Tiny."""
    result = json.loads((RESULTS / "mlperf_tiny.json").read_text("utf-8"))
    table = result["table"]
    notes = "\n".join(f"{number}. {note}" for number, note in enumerate(table["notes"], start=1))
    return [
        "By `analognets benchmark mlperf-tiny` ([all figures](mlperf_tiny.csv), [versions](mlperf_tiny.json)). "
        + " ".join(result["about"]),
        markdown(table["header"], table["rows"]),
        notes,
        "Measured on:",
        "\n".join(f"- {line}" for line in table["data"]),
        *energy_elsewhere("mlperf_"),
    ]


def accelerator_record() -> dict[str, Any]:
    """Return the record of the accelerator."""
    record: dict[str, Any] = json.loads((RESULTS / "accelerator_paper.json").read_text("utf-8"))
    return record


def conformance() -> list[str]:
    """Return the paragraphs on simulators that ran one conformance bundle."""
    result = json.loads((RESULTS / "conformance.json").read_text("utf-8"))
    bundle = result["bundle"]
    rows = []
    for one in result["verdicts"]:
        said = "; ".join(f"{d['rule']}: {d['found']} instead of {d['expected']}" for d in one["departures"])
        unexplained = sum(difference["rule"] == "unexplained" for difference in one["differences"])
        skipped = "; ".join(sorted({*one["skipped"].values()}))
        cells = [str(one["compared"]), str(len(one["differences"])), said or "none", str(unexplained), skipped]
        rows.append([f"{one['tool']} {one['version']}", *cells])
    heads = ["simulator", "figures compared", "differ", "rules applied in another way", "unexplained", "not compared"]
    return [
        f"The same {' x '.join(map(str, bundle['weights']))} weights on {bundle['chips']} chips in each simulator, "
        "beside the moments of the documented device law, by `analognets conformance` "
        "([every difference](conformance.json)):",
        markdown(heads, rows),
    ]


def exploration() -> list[str]:
    """Return the paragraphs on accuracy against efficiency."""
    points = pd.read_csv(RESULTS / "explore_kws.csv")
    return [
        "Accuracy after a day against efficiency, by `analognets explore` over bits, rows and ADCs "
        f"({points['chips'].max():.0f} chips and {points['samples'].max():.0f} test clips a point, nothing trained "
        "anew; [figures](explore_kws.csv)):",
        "![Pareto front](explore_kws_pareto.png)",
    ]


def robustness() -> list[str]:
    """Return the paragraph on malformed inputs and kills."""
    fuzz, kills = (json.loads((RESULTS / name).read_text("utf-8")) for name in ("fuzz.json", "kills.json"))
    total, limits, commands = fuzz["total"], fuzz["limits"], len(kills["commands"])
    return [
        f"{fuzz['inputs']:,} malformed inputs over {len(fuzz['readers'])} readers: {total['refused']:,} refused in one "
        f"sentence, {total['read']:,} read as what they hold, {fuzz['inputs'] - total['refused'] - total['read']} with "
        f"another end (raw error, wrong data, more than {limits['seconds']:.0f} s or {limits['bytes'] / 2**30:.0f} GB, "
        f"crash); slowest {fuzz['slowest_seconds']:.1f} s ([counts](fuzz.json)). {kills['kills']} kills over "
        f"{commands} commands, at file operations and at random moments, each followed by the same command: "
        f"{kills['failed']} lost something, left something behind or ended otherwise than undisturbed "
        "([counts](kills.json)).",
    ]


def named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of JSON files."""
    return tuple(f"{name}.json" for name in names)


SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[], list[str]]], ...] = (
    ("Headline networks", results_headline.FILES, lambda: results_headline.headline_networks(RESULTS)),
    (
        "Where the drift-compensation factor is applied",
        ("compensation.json",),
        lambda: results_choices.compensation(RESULTS),
    ),
    ("What a float keyword spotter gains from", ("kws_float.json",), lambda: results_choices.floats(RESULTS)),
    ("What lets 4 bit last", ("low_bits_4bit.csv",), lambda: results_choices.low_bits(RESULTS)),
    ("Batch-norms calibrated on the chip", results_adabs.FILES, lambda: results_adabs.parts(RESULTS)),
    ("AnalogNet-KWS: bits, training noise and ablations", ("kws.csv", "kws.json"), kws),
    ("Depthwise layers on a crossbar", ("depthwise.csv",), depthwise),
    ("The int8 baseline", ("int8_baseline.json",), baseline),
    ("The accelerator", ("accelerator_paper.json",), accelerator),
    ("MLPerf Tiny on an analog chip", ("mlperf_tiny.csv", "mlperf_tiny.json"), mlperf_tiny),
    ("Simulators of the same devices", ("conformance.json",), conformance),
    ("Beside aihwkit", results_aihwkit.FILES, lambda: results_aihwkit.parts(RESULTS)),
    ("Accuracy against efficiency", ("explore_kws.csv",), exploration),
    ("Hardware designed by layer", results_design.FILES, lambda: results_design.parts(RESULTS)),
    ("The standard crossbar", (), lambda: results_topologies.parts(RESULTS)),
    ("ResNet-32 on CIFAR-10", results_resnet32.FILES, lambda: results_resnet32.parts(RESULTS)),
    ("A pretrained transformer on GLUE", results_glue.FILES, lambda: results_glue.parts(RESULTS)),
    ("Large networks on tiles", results_networks.FILES, lambda: results_networks.parts(RESULTS)),
    ("Time and memory of large networks", results_large.FILES, lambda: results_large.parts(RESULTS)),
    ("Learning on devices", named(results_learning.ON_DEVICE), lambda: results_learning.on_device(RESULTS)),
    ("Spikes", named(results_learning.SPIKES), lambda: results_learning.spikes(RESULTS)),
    ("Always on", ("stream.json",), lambda: [*results_stream.parts(RESULTS), *energy_elsewhere("analognet_kws")]),
    ("Devices fitted to cells", results_device.FILES, lambda: results_device.parts(RESULTS)),
    ("Ageing predicted from few chips", results_ageing.FILES, lambda: results_ageing.parts(RESULTS)),
    ("Malformed inputs and kills", ("fuzz.json", "kills.json"), robustness),
    ("Speed against plain Keras", (), lambda: results_speed.parts(RESULTS)),
)
"""Title of each section, the files it needs, and what writes it."""


def page() -> str:
    """Return the page of all results."""
    parts = [
        "# Results",
        "Written by `python -m benchmarks.results_page` from the files beside it; not edited by hand.",
    ]
    for title, needed, write in SECTIONS:
        if all((RESULTS / name).exists() for name in needed) and (paragraphs := [text for text in write() if text]):
            parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def headline() -> str:
    """Return the README's table: a row for each system with its main figure, as far as there are results."""
    rows = [row() for name, row in HEADLINES if (RESULTS / name).exists()]
    return markdown(["system", "what was measured", "result", "reference"], rows)


def kws_headline() -> list[str]:
    row = results_headline.row(RESULTS, "kws", "1d")
    what = f"AnalogNet-KWS at 8 bit, accuracy after a day, {row['chips_per_seed']} chips, {row['seeds']} trainings"
    loss = results_headline.shown(row, "loss", form="{:+.2f}")
    result = f"{results_headline.shown(row, 'mean', scale=100)} %; loss to float {loss} points"
    reference = f"float {100 * row['float_accuracy']:.1f} %, same weights digital {100 * row['digital_accuracy']:.1f} %"
    return ["[AnalogNets](https://arxiv.org/abs/2111.06503)", what, result, reference]


def four_bits_headline() -> list[str]:
    day, year = (results_headline.row(RESULTS, "kws", at, "hwa_4bit") for at in ("1d", "1y"))
    what = f"AnalogNet-KWS at 4 bit, loss to float after a day / a year, {day['seeds']} trainings"
    losses = " / ".join(results_headline.shown(row, "loss", form="{:+.2f}") for row in (day, year))
    return ["four bits for a year", what, f"{losses} points", f"float {100 * day['float_accuracy']:.1f} %"]


def accelerator_headline() -> list[str]:
    result = accelerator_record()
    found = {one["bits"]: one for one in result["comparison"]["analognet_kws"] if one["quantity"] == "TOPS/W (arXiv)"}
    ours, paper = (" / ".join(f"{found[bits][who]:.1f}" for bits in (8, 6, 4)) for who in ("ours", "paper"))
    what = "AnalogNet-KWS, TOPS/W at 8 / 6 / 4 bit (constants fitted to them)"
    return ["AON-CiM accelerator", what, ours, f"paper {paper}"]


def standard_headline() -> list[str]:
    rows = [results_headline.row(RESULTS, "kws_resnet8", at) for at in ("1h", "1y")]
    stars = " / ".join(f"{100 * row['normalized_low']:.1f} to {100 * row['normalized_high']:.1f}" for row in rows)
    what = f"ResNet-8 for KWS, normalised accuracy A* after an hour / a year, {rows[0]['seeds']} trainings"
    return ["[Training at scale](https://arxiv.org/abs/2302.08469)", what, f"{stars} %", "float 100 %"]


def devices_headline() -> list[str]:
    variants = json.loads((RESULTS / "mnist_on_device.json").read_text("utf-8"))["variants"]
    ours, reference = (over_values(list(variants[kind]["seeds"].values())) for kind in ("device", "float"))
    what = "784-250-10 perceptron learned on PCM, MNIST test accuracy"
    return ["[Mixed-precision training](https://arxiv.org/abs/2001.11773)", what, f"{ours} %", f"float {reference} %"]


def memristor_headline() -> list[str]:
    layers = json.loads((RESULTS / "stdp_mnist.json").read_text("utf-8"))["layers"]
    ours, reference = (
        over_values(list(layers[f"{kind}-400"]["seeds"].values()), digits=1) for kind in ("memristor", "float")
    )
    what = "MNIST by spike timing, 400 neurons, no labels in training"
    return [
        "[Cu/SiO2/W memristor](https://arxiv.org/abs/2001.09299)",
        what,
        f"{ours} %",
        f"float weights {reference} %",
    ]


def spikes_headline() -> list[str]:
    variants = json.loads((RESULTS / "spoken_letters.json").read_text("utf-8"))["variants"]
    ours, reference = (
        over_values(list(variants[kind]["within_25_ms_by_seed"].values()), digits=1) for kind in ("pcm", "float")
    )
    chance = results_learning.chance({"variants": variants})
    what = f"letters spoken by espeak-ng to spikes, wanted spikes met within 25 ms (by chance {chance} %)"
    return ["[Spikes on PCM](https://arxiv.org/abs/1905.11929)", what, f"{ours} %", f"float weights {reference} %"]


HEADLINES: tuple[tuple[str, Callable[[], list[str]]], ...] = (
    ("headline.csv", kws_headline),
    ("headline.csv", four_bits_headline),
    ("accelerator_paper.json", accelerator_headline),
    ("headline.csv", standard_headline),
    (results_resnet32.FILES[0], lambda: results_resnet32.headline(RESULTS)),
    ("mnist_on_device.json", devices_headline),
    ("stdp_mnist.json", memristor_headline),
    ("spoken_letters.json", spikes_headline),
    (results_aihwkit.FILES[0], lambda: results_aihwkit.headline(RESULTS)),
)
"""A results file, and what writes the row that it gives to the README."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    readme, results = ROOT / "README.md", RESULTS / "RESULTS.md"
    text = readme.read_text("utf-8")
    start = text.index("\n", text.index(BEGIN)) + 1
    wanted = {readme: text[:start] + headline() + "\n" + text[text.index(END) :], results: page()}
    for path, new in wanted.items():
        if options.check and not (path.exists() and path.read_text("utf-8") == new):
            sys.exit(f"{path.name} is not up to date: run python -m benchmarks.results_page")
        if not options.check:
            path.write_text(new, "utf-8")
    sys.exit(0)


if __name__ == "__main__":
    main()
