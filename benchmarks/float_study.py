"""What makes the float keyword spotter better: length of the training, and each way to more or other data once.

python -m benchmarks.float_study --data DIR [--runs runs/kws_float] [--seeds 0] [--only ...] [--collect]

Each variant is a float training of the recipe `kws` as RUNS/VARIANT/SEED, compared on validation clips: these are
choices between recipes. All of it is resumable, and what is finished is not done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from analognets.training.run import Run
from benchmarks.kws_study import call

RESULTS = Path(__file__).parents[1] / "results" / "kws_float.json"
SCARCE = {"no": 0.3, "on": 0.3, "stop": 0.3, "off": 0.3, "yes": 0.3}
WIDE = "model={name: analognet_kws, options: {widths: [168, 224, 168, 168, 168], dropout: 0.3}}"
FURTHER = ["float.epochs=60", "float.learning_rate=1e-3", "float.distillation={temperature: 2, soft_share: 0.8}"]
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "epochs_120": ("120 epochs", ["float.epochs=120"]),
    "epochs_160": ("160 epochs: what all below have unless they say otherwise", ["float.epochs=160"]),
    "epochs_280": ("280 epochs: the recipe", ["float.epochs=280"]),
    "no_masks": ("no masks in time and frequency", ["augmentation.mask_probability=0"]),
    "clips_alike": ("`unknown` drawn by clip, not more often where a word is rare", ["sampling.word_power=1.0"]),
    "synthetic_words": (
        "30 % synthetic speech in the five scarce words",
        [f"sampling.synthetic_speech={{share: {json.dumps(SCARCE)}, clips_per_class: 500}}"],
    ),
    "mixup": ("mixup, alpha 0.2", ["sampling.mixup=0.2"]),
    "weight_decay": ("AdamW, weight decay 0.02", ["float.optimizer=adamw", "float.weight_decay=0.02"]),
    "wide": ("twice the channels, dropout 0.3, 100 epochs: the teacher below", ["float.epochs=100", WIDE]),
    "distilled": ("distilled from the wide network", ["float.distillation={temperature: 4, soft_share: 0.7}"]),
    "ensemble": ("the 280 epochs and 60 more, distilled from the mean of four of the networks above", FURTHER),
}
"""Name of each training, what it is, and its overrides of the recipe."""
TEACHERS = ("epochs_280/0", "epochs_280/1", "clips_alike/0", "weight_decay/0")
"""The four networks."""


def overrides(name: str, seed: int, runs: Path) -> list[str]:
    """Return the overrides of a variant."""
    words = ["hardware_aware=null", "float.epochs=160", *VARIANTS[name][1]]
    if name == "ensemble":
        words.append(f"teacher=[{', '.join(str(runs / one) for one in TEACHERS)}]")
    return [*words, f"teacher={runs / 'wide' / str(seed)}"] if name == "distilled" else words


def train(data: Path, runs: Path, name: str, seed: int) -> None:
    """Train a variant, and first what it needs; what is finished is kept."""
    words = [word for one in overrides(name, seed, runs) for word in ("--set", one)]
    if name == "distilled":
        train(data, runs, "wide", seed)
    if name == "ensemble":
        for needed in (f"epochs_280/{seed}", *TEACHERS):
            train(data, runs, needed.partition("/")[0], int(needed.partition("/")[2]))
        words += ["--float-from", str(runs / "epochs_280" / str(seed))]
    folder = runs / name / str(seed)
    call("train", "kws", "--data", str(data), "--seed", str(seed), "--out", str(folder), "--keep", *words)


def collect(runs: Path) -> list[dict[str, Any]]:
    """Return what is known of each finished training."""
    rows = []
    for name, (what, _) in VARIANTS.items():
        for folder in sorted((runs / name).glob("*")):
            run = Run.open(folder)
            if not run.finished:
                continue
            row = {"variant": name, "what": what, "seed": run.recipe.seed, "epochs": run.recipe.float_stage.epochs}
            row["validation_accuracy"] = run.metrics()[-1]["val_accuracy"]
            row["validation_clips"] = run.record["data"]["clips"]["validation"]
            made = {"fingerprint": run.recipe.fingerprint(), "git_commit": run.record.get("git_commit")}
            rows.append({**row, **made, "versions": run.record["versions"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of Speech Commands")
    parser.add_argument("--runs", type=Path, default=Path("runs/kws_float"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default="", help="variants, separated by commas")
    parser.add_argument("--collect", action="store_true", help="only write the table of what is done")
    options = parser.parse_args()
    if not (options.collect or options.data):
        parser.error("--data is needed, or --collect")
    for seed in () if options.collect else options.seeds:
        for name in options.only.split(",") if options.only else VARIANTS:
            train(options.data, options.runs, name, seed)
    rows = collect(options.runs)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    for row in rows:
        print(f"{row['variant']:16} {row['seed']}  {100 * row['validation_accuracy']:.2f} %")


if __name__ == "__main__":
    main()
