"""The header of a model card: metadata for the Hugging Face Hub, with the measured results as `model-index`."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import yaml

from analognets.zoo.presets.files import PresetRecord

__all__ = ["header"]

HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "mnist": "ylecun/mnist", "speech_commands": "google/speech_commands"}
"""Names on the Hub of the data sets that have one; others can't stand in `datasets`."""
TASKS = {"MFCC": "audio-classification", "Image": "image-classification"}
"""Task by the class of the front end."""
PLACES = {
    "hardware-aware": "on simulated chips",
    "direct mapping": "mapped to simulated chips without hardware-aware training",
}


def header(record: PresetRecord, results: pd.DataFrame) -> str:
    """Return the metadata block at the beginning of a card.

    Accuracies in `model-index` are shares, 0 to 1; each has its time since programming in its name and its arguments.

    Args:
        record: the content of preset.json.
        results: the content of results.csv.
    """
    task = TASKS.get(str((record.frontend or {}).get("class_name")))
    dataset = HUB_DATASETS.get(str(record.data.get("name")))
    metrics = _metrics(record, results)
    fields: dict[str, Any] = {
        "library_name": "keras",
        **_licence(record.data.get("weights_licence")),
        "tags": ["analognets", "analog-in-memory-computing", "tinyml", record.name.partition(".")[0]],
        **({"pipeline_tag": task} if task else {}),
        **({"datasets": [dataset]} if dataset else {}),
    }
    if metrics:
        result = {"task": {"type": task or "other"}, "dataset": _dataset(record), "metrics": metrics}
        fields |= {"metrics": ["accuracy"], "model-index": [{"name": record.name, "results": [result]}]}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120)}---"


def _licence(weights: Any) -> dict[str, str]:
    """Return the licence of the weights; one that is not the package's by name, as the Hub wants it."""
    if not weights:
        return {"license": "apache-2.0"}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", str(weights).lower()).strip("-") or "other"}


def _dataset(record: PresetRecord) -> dict[str, str]:
    """Return which samples were measured on, in the words of the Hub."""
    data, accuracy = record.data, record.accuracy
    name = str(data.get("name") or "not stated")
    shown = " ".join(str(part) for part in (name, data.get("version")) if part)
    count = f"{accuracy.samples:,} " if accuracy.samples else ""
    kind = "synthetic " if data.get("synthetic") else ""
    return {
        "name": f"{shown}: {count}{kind}{accuracy.split} samples, see Data",
        "type": HUB_DATASETS.get(name, name),
        "split": accuracy.split,
    }


def _metrics(record: PresetRecord, results: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the accuracy of the digital network and that of each time since programming."""
    metrics = []
    if record.accuracy.digital is not None:
        metrics.append(_accuracy(record.accuracy.digital, "Accuracy, digital"))
    for row in results.to_dict("records"):
        if row["condition"] == "digital" or pd.isna(row["mean"]):
            continue
        place = PLACES.get(str(row["condition"]), str(row["condition"]))
        compensated = str(row["drift_compensation"]) == "True"
        without = "" if compensated else ", without drift compensation"
        chips = {} if pd.isna(row["chips"]) else {"chips": int(row["chips"])}
        seconds = {} if pd.isna(row["seconds"]) else {"seconds": float(row["seconds"])}
        metric = _accuracy(row["mean"], f"Accuracy {row['at']} after programming, {place}{without}")
        metrics.append({**metric, "args": {**seconds, **chips, "drift_compensation": compensated}})
    return metrics


def _accuracy(value: Any, name: str) -> dict[str, Any]:
    return {"type": "accuracy", "value": round(float(value), 4), "name": name}
