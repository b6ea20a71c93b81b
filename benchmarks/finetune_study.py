"""Fine-tuning against training from scratch: words a keyword spotter never told apart, many clips and few; resumable.

python -m benchmarks.finetune_study --data DIR [--preset analognet_kws.hwa_8bit] [--runs runs/finetune_study]

DIR holds speech_commands_v0.02. Tested on clips of validation_list.txt, whose speakers the preset was not trained on;
the other clips of these words it has heard, as the class `unknown`. Both networks see the same batches: same recipe,
seed and steps; only the start differs, and the learning rate of stage 1, which for training from scratch is that of
the preset's own recipe.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.provenance import git_commit
from analognets.datasets.speech_layout import TRAIN_FOLDER, Clip, Layout, official_split
from analognets.training.recipe import Recipe
from analognets.training.run import Run
from benchmarks.kws_study import call

WORDS = ("bed", "cat", "eight", "five", "happy")
FEW = 20
EPOCHS = {f"{FEW} a word": (10, 5), "all": (2, 1)}
"""Of both stages, by the number of training clips."""

CAVEAT = (
    "The preset has heard these words before, as its class `unknown`, from the speakers of the training clips used "
    "here, so this is the friendly case. The speakers of the test clips it has not been trained on."
)


def sort_clips(source: Path, target: Path, most: int | None) -> dict[str, int]:
    """Copy the clips of WORDS to target/<split>/<word>/, at most so many a word for training; return their numbers."""
    layout = Layout.read(source, None)
    splits: dict[str, list[Clip]] = {"train": [], "validation": [], "test": list(layout.validation)}
    for clip in layout.train:
        splits["validation" if official_split(clip.speaker) == "test" else "train"].append(clip)
    counts = {}
    for split, clips in splits.items():
        chosen = [clip for word in WORDS for clip in of_word(clips, word)[: most if split == "train" else None]]
        counts[split] = len(chosen)
        for clip in chosen:
            place = target / split / clip.name
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(clip.path, place)
    return counts


def of_word(clips: list[Clip], word: str) -> list[Clip]:
    """Return the clips of a word in an order that has nothing to do with it: that of the speakers' names."""
    return sorted((clip for clip in clips if clip.name.startswith(f"{word}/")), key=lambda clip: clip.name)


def from_scratch(recipe: Recipe, preset: Recipe) -> Recipe:
    """Return the recipe of fine-tuning with the untrained network of the preset in it."""
    return recipe.replace(
        {
            "name": "scratch",
            "description": "The same training from random weights",
            "model": preset.model.model_dump(),
            "float.learning_rate": preset.float_stage.learning_rate,
        }
    )


def measured(folder: Path, chips: int) -> dict[str, Any]:
    """Evaluate a run, unless that is done, and return what came out."""
    if not (folder / "results" / "report.html").exists():
        call("evaluate", str(folder), "--chips", str(chips), "--at", "1d", "--drift-compensation", "on")
    run, summary = Run.open(folder), pd.read_csv(folder / "results" / "summary.csv").iloc[0]
    record = run.record
    clips = record["data"]["clips"]["test"]
    share = float(summary["float_accuracy"])
    return {
        "float_accuracy": share,
        "float_standard_error": math.sqrt(share * (1 - share) / clips),
        "analog_accuracy_1d": float(summary["mean"]),
        "analog_std_over_chips": float(summary["std"]),
        "chips": int(summary["chips"]),
        "fingerprint": run.recipe.fingerprint(),
        "recipe": run.recipe.to_dict(),
        "git_commit": record["git_commit"],
        "versions": record["versions"],
    }


def write(path: Path, preset: dict[str, str], seed: int, rows: list[dict[str, Any]]) -> None:
    """Write what is known so far."""
    result = {
        "words": WORDS,
        "preset": preset,
        "caveat": CAVEAT,
        "data": "Speech Commands v0.02, CC BY 4.0, P. Warden, arXiv:1804.03209 (2018); the part of it at hand",
        "seed": seed,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.machine(),
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", default="analognet_kws.hwa_8bit")
    parser.add_argument("--runs", type=Path, default=Path("runs/finetune_study"))
    parser.add_argument("--results", type=Path, default=Path("results/finetune.json"))
    parser.add_argument("--chips", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for size, (epochs, aware) in EPOCHS.items():
        runs = options.runs / size.replace(" ", "_")
        counts = sort_clips(options.data / TRAIN_FOLDER, runs / "data", None if size == "all" else FEW)
        data = ["--data", str(runs / "data"), "--keep"]
        stages = ["--epochs", str(epochs), "--hwa-epochs", str(aware)]
        call("finetune", options.preset, *data, *stages, "--out", str(runs / "finetuned"))

        from analognets.zoo.trained import open_trained

        begun, recipe = runs / "scratch.yaml", Run.open(runs / "finetuned").recipe
        source = open_trained(options.preset)
        if source.recipe is None:
            parser.error("the preset has no recipe, so its network can't be trained from scratch")
        begun.write_text(from_scratch(recipe, source.recipe).to_yaml(), "utf-8")
        call("train", "--recipe", str(begun), *data, "--out", str(runs / "scratch"))
        for start in ("finetuned", "scratch"):
            rows.append({"training_clips": size, "start": start, **measured(runs / start, options.chips), **counts})
        statement = Run.open(runs / "finetuned").record["data"]["statement"]
        rows[-2]["data_statement"] = rows[-1]["data_statement"] = statement
        preset = {"handle": options.preset, "name": source.name}
        write(options.results, preset, recipe.seed, rows)
    shown = ["training_clips", "start", "float_accuracy", "float_standard_error", "analog_accuracy_1d"]
    print(pd.DataFrame(rows)[shown].to_string())


if __name__ == "__main__":
    main()
