"""Set the plans of the networks of Rasch et al. 2023 beside their Table 1: tiles, utilisation, products, operations.

python -m benchmarks.networks_at_scale [--results results]

Shapes alone: nothing is converted, no weights are read. Writes networks_at_scale.csv and networks_at_scale.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import yaml

from analognets import crossbar
from analognets.conversion import plan
from analognets.core.files import write_json
from analognets.core.provenance import git_commit
from analognets.zoo.networks.bert import albert_base, bert_base
from analognets.zoo.networks.imagenet import resnet18, resnet50, wide_resnet50
from analognets.zoo.networks.resnet import resnet32, wide_resnet16
from analognets.zoo.networks.sequences import lstm_language_model, rnn_transducer, speech_lstm

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "benchmarks" / "published" / "networks_at_scale.yaml"
NAME = "networks_at_scale"
HARDWARE = "aimc_standard"
LIMIT = 0.02
SCALES = {"": 1.0, "%": 0.01, "K": 1e3, "M": 1e6, "G": 1e9}
FIGURES = ("parameters", "mapped", "tiles", "utilisation", "mvms", "reuse", "operations")


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the table.

    Args:
        build: returns the Keras model, of a number of steps if it reads sequences.
        features: of each step, if there are more than one number.
        exempt: the layers that the paper leaves digital.
    """

    build: Callable[..., keras.Model]
    features: tuple[int, ...] = ()
    exempt: tuple[str, ...] = ()

    def model(self, steps: int | None = None) -> keras.Model:
        """Return the model, for sequences of this many steps."""
        return self.build() if steps is None else self.build((steps, *self.features))


def shaped(build: Callable[..., keras.Model], **options: Any) -> Callable[..., keras.Model]:
    """Return a builder whose kernels are zeros: only their shapes matter here."""
    return partial(build, initializer="zeros", **options)


ENDS = ("stem", "logits")
NETWORKS = {
    "resnet32": Network(resnet32),
    "wide_resnet16": Network(shaped(wide_resnet16)),
    "resnet18": Network(shaped(resnet18), exempt=ENDS),
    "resnet50": Network(shaped(resnet50), exempt=ENDS),
    "densenet121": Network(partial(keras.applications.DenseNet121, weights=None), exempt=("conv1_conv", "predictions")),
    "wide_resnet50": Network(shaped(wide_resnet50), exempt=ENDS),
    "bert_base": Network(shaped(bert_base, vocabulary=28_996)),
    "albert_base": Network(shaped(albert_base)),
    "speech_lstm": Network(shaped(speech_lstm), features=(140,)),
    "lstm_language_model": Network(shaped(lstm_language_model)),
    "rnn_transducer": Network(shaped(rnn_transducer), features=(340,)),
}
VARIANTS = {"resnet50_stride_first": Network(shaped(resnet50, stride_first=True), exempt=ENDS)}


def published() -> dict[str, Any]:
    """Return the paper's table as it is printed, with the origin of each network's shapes."""
    return yaml.safe_load(PUBLISHED.read_text("utf-8"))


def figures(network: Network, steps: int | None = None) -> dict[str, float]:
    """Return the figures of a network as the plan of its conversion has them.

    `mvms` are products of a vector and the matrix on one tile, `operations` two for each product of two numbers.
    """
    hardware, model = crossbar.get(HARDWARE), network.model(steps)
    layers = plan(model, hardware, exempt=network.exempt).converted
    tiles = sum(layer.tiles for layer in layers)
    mapped = sum(layer.kernel for layer in layers)
    mvms = sum(layer.tiles * layer.positions for layer in layers)
    return {
        "parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "mapped": mapped,
        "tiles": tiles,
        "utilisation": mapped / (tiles * hardware.rows * hardware.cols),
        "mvms": mvms,
        "reuse": mvms / tiles,
        "operations": 2 * sum(layer.macs for layer in layers),
        "tiles_cut_anywhere": sum(
            math.ceil(layer.rows / hardware.rows) * math.ceil(layer.cols / hardware.cols) for layer in layers
        ),
    }


def read(printed: str | float) -> tuple[float, float]:
    """Return a printed figure such as 2.5K, and one unit of its last digit."""
    found = re.fullmatch(r"(\d+(?:\.(\d+))?)([%KMG]?)", str(printed))
    if found is None:
        raise ValueError(f"A figure is a number with %, K, M or G, or without. Received: {printed!r}.")
    scale = SCALES[found[3]]
    return float(found[1]) * scale, scale * 10.0 ** -len(found[2] or "")


def agreement(printed: str | float, ours: float) -> str:
    """Return how a figure agrees: within 2 %, or to the printed digits, rounded or cut; "" if it does not."""
    paper, unit = read(printed)
    if abs(ours / paper - 1) <= LIMIT:
        return "2 %"
    slack = 1e-9 * unit
    return "printed digits" if paper - unit / 2 - slack <= ours < paper + unit - slack else ""


def compared(name: str, paper: dict[str, Any], ours: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Yield a row for each figure of a network: paper, ours, and how they agree or why they do not.

    Args:
        name: of the network.
        paper: its entry in the published table.
        ours: its figures.
    """
    steps = paper.get("steps")
    for figure in FIGURES:
        printed = paper["printed"][figure]
        value = read(printed)[0]
        agrees = agreement(printed, ours[figure])
        if figure == "reuse" and paper.get("steps_from") == "reuse":
            agrees = "set"
        reason = "" if agrees else paper.get("reasons", {}).get(figure, "")
        if reason and steps:
            reason = reason.format(steps=steps * value / ours[figure])
        yield {
            "network": name,
            "figure": figure,
            "printed": str(printed),
            "paper": value,
            "ours": ours[figure],
            "difference": ours[figure] / value - 1,
            "agreement": agrees,
            "reason": reason,
        }


def study() -> dict[str, Any]:
    """Return the whole comparison."""
    table = published()
    result: dict[str, Any] = {"source": table["source"], "status": table["status"], "hardware": HARDWARE}
    for part, networks in (("networks", NETWORKS), ("variants", VARIANTS)):
        result[part] = {}
        for name, network in networks.items():
            paper = table[part][name]
            ours = figures(network, paper.get("steps"))
            about = {key: paper[key] for key in ("title", "shapes", "steps", "steps_from") if key in paper}
            about |= {"exempt": list(network.exempt), "tiles_cut_anywhere": ours["tiles_cut_anywhere"]}
            result[part][name] = about | {"figures": list(compared(name, paper, ours))}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    folder = parser.parse_args().results
    result = study()
    rows = [row for part in ("networks", "variants") for one in result[part].values() for row in one["figures"]]
    table = pd.DataFrame(rows)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{NAME}.csv", index=False, float_format="%.6g")
    write_json(folder / f"{NAME}.json", {"git_commit": git_commit(), "keras": keras.__version__, **result})
    print(table.to_string())


if __name__ == "__main__":
    main()
