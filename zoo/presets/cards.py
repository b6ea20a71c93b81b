"""Model cards: what a preset is, on which data, how good over time, and what it is not for."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pandas as pd

from analognets.metrics import ABOUT_BOUND, drift_cells, format_interval, known_ends, share_interval
from analognets.zoo.presets.files import PresetRecord
from analognets.zoo.presets.hub_metadata import header
from analognets.zoo.presets.registry import bits
from analognets.zoo.tasks import MODELS

__all__ = ["write_card"]

PAPER = (
    "C. Zhou et al., AnalogNets: ML-HW Co-Design of Noise-robust TinyML Models and Always-On Analog Compute-in-Memory "
    "Accelerator, arXiv:2111.06503 (2021)"
)
SAID = ("description", "classes", "data", "origin", "precision")
"""What of a record is text of its author or of his data."""
HTML = re.compile(r"<(?=[A-Za-z/!?])")
CONDITIONS = {
    "digital": "Digital, no chip",
    "hardware-aware": "On simulated chips",
    "direct mapping": "Mapped to simulated chips without hardware-aware training",
}


def write_card(record: PresetRecord, results: pd.DataFrame) -> str:
    """Return the model card as Markdown, with the header that the Hugging Face Hub reads.

    What looks like HTML in texts of the record stands there as text.

    Args:
        record: the content of preset.json.
        results: the content of results.csv.
    """
    record = record.model_copy(update={name: _as_text(getattr(record, name)) for name in SAID})
    parts = [header(record, results), f"# {record.name}", record.description, _what(record), "## Data", _data(record)]
    parts += ["## Accuracy over time", _accuracy(record, results), "## Use", _use(record)]
    parts += ["## Limits", _limits(record), "## Origin", _origin(record), "## Licence and citation", _licence(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _as_text(value: Any) -> Any:
    """Return plain data with every beginning of an HTML tag or comment written as text."""
    if isinstance(value, str):
        return HTML.sub("&lt;", value)
    if isinstance(value, dict):
        return {_as_text(key): _as_text(one) for key, one in value.items()}
    return [_as_text(one) for one in value] if isinstance(value, list) else value


def _what(record: PresetRecord) -> str:
    plan = record.architecture
    lines = []
    if plan.kind == "zoo":
        builder = getattr(importlib.import_module(MODELS[plan.name]), plan.name)
        text = inspect.cleandoc(builder.__doc__ or "")
        first, _, rest = text.partition("\n\n")
        source = rest.partition("Source:")[2].partition("\n\n")[0]
        what = " ".join(first.removeprefix("Build ").split())
        lines.append(what[:1].upper() + what[1:])
        lines.append(f"Source: {' '.join(source.split())}" if source else "")
    else:
        lines.append(f"`{plan.name.replace('`', '')}`, a Keras network brought along by its user.")
    width = bits(record)
    if record.hardware is None:
        lines.append("It is a digital float network: `analognets.to_analog` makes an analog one of it.")
    else:
        config = record.hardware.get("config")
        name = _as_text(config.get("name", "custom")) if isinstance(config, dict) else "custom"
        resolution = f"{width}-bit converters" if width else "ideal converters"
        if record.hardware_by_layer:
            name, resolution = "hardware by layer", _as_text(record.hardware_by_layer)
        state = "calibrated" if record.calibrated else "not calibrated yet"
        lines.append(f"Its layers are analog ({name}: {resolution}), {state}.")
    kernels, others = record.precision["kernels"], record.precision["others"]
    lines.append(
        f"{record.parameters:,} parameters; kernels are stored in {kernels}, all other variables in {others}. "
        f"Input: {plan.input_shape or 'several tensors'} features"
        + (", made by the front end that comes with it." if record.frontend else ".")
    )
    if record.classes:
        lines.append(f"Classes: {', '.join(record.classes)}.")
    return "\n\n".join(line for line in lines if line)


def _data(record: PresetRecord) -> str:
    data = record.data
    if not data:
        return "Not stated."
    lines = [str(data.get("statement", "")) or "No statement."]
    if data.get("synthetic"):
        lines.append("The data are synthetic: no figure here says anything about real voices or photographs.")
    clips = data.get("clips")
    counts = ", ".join(f"{count} {split}" for split, count in clips.items()) if isinstance(clips, dict) else ""
    name = " ".join(str(data[key]) for key in ("name", "version") if data.get(key))
    lines.append(f"Data set: {name}{f' ({counts})' if counts else ''}.")
    return "\n\n".join(lines)


def _accuracy(record: PresetRecord, results: pd.DataFrame) -> str:
    if results.empty:
        return "Not measured."
    blocks = []
    for condition, rows in results.groupby("condition", sort=False):
        lines = [f"**{CONDITIONS.get(str(condition), _as_text(str(condition)))}**", ""]
        if condition == "digital":
            lines.append(_digital({str(name): value for name, value in rows.iloc[0].items()}, record))
        else:
            lines += _drift(rows)
        blocks.append("\n".join(lines))
    if record.accuracy.reference is not None and set(results["condition"]) - {"digital"}:
        before = f"{100 * record.accuracy.reference:.2f} %"
        blocks.append(
            f"Losses to float are measured against the {before} of the float network that training for hardware began "
            "with, losses to digital against the same weights without converters and chips; both in points of percent. "
            "\N{PLUS-MINUS SIGN} is half of the 95 % interval over the test samples, grouped by speaker where that is "
            "known, and the chips"
            + ("" if _counts_samples(results) else "; here over the chips alone, for no more was stored")
            + ". "
            + (f"{ABOUT_BOUND}. " if "bound" in results and results["bound"].notna().any() else "")
            + "One training seed. Chips are "
            "programmed and read by the package's device model; none of them is real."
        )
    return "\n\n".join(blocks)


def _digital(row: dict[str, Any], record: PresetRecord) -> str:
    """Return the accuracy of the digital network; its interval counts the samples one by one."""
    mean, samples = row["mean"], record.accuracy.samples
    if not samples or not 0.0 <= mean <= 1.0:
        return f"{100 * mean:.2f} % of {samples} {record.accuracy.split} samples."
    shown = format_interval(mean, *share_interval(mean, samples), scale=100)
    about = "half of the 95 % interval, samples counted one by one"
    return f"{shown} % of {samples} {record.accuracy.split} samples ({about})."


def _counts_samples(results: pd.DataFrame) -> bool:
    """Whether the intervals of chips count samples too: so do all that come with those of paired losses."""
    return "loss_low" in results and bool(results["loss_low"].notna().any())


def _drift(rows: pd.DataFrame) -> list[str]:
    """Return the lines of a table over drift time."""
    shown = []
    for row in rows.to_dict("records"):
        low, high = known_ends(row)
        shown.append(drift_cells({**row, "low": low, "high": high}))
    lines = [f"| {' | '.join(shown[0])} |", f"|---|{'---:|' * (len(shown[0]) - 2)}---|"]
    lines += [f"| {' | '.join(cells.values())} |" for cells in shown]
    return lines


def _use(record: PresetRecord) -> str:
    load = ["```python", "import analognets as an", "", f'preset = an.zoo.load_preset("{record.name}")']
    load.append("model = preset.model()")
    if record.hardware is not None:
        load.append("chips = an.deploy.program(model, chips=25, seed=0)")
    about = (
        "For research and teaching on analog in-memory computing: start from it, age it, fine-tune it, compare with it."
    )
    return "\n".join([about, "", *load, "```"])


def _limits(record: PresetRecord) -> str:
    lines = [
        "- Chips are simulated. How a real chip ages depends on its cells, circuits and temperature.",
        "- Accuracy is that on the test split above; other microphones, cameras, speakers and places will differ.",
        "- Not for decisions about people, safety or security.",
    ]
    if record.classes and {"unknown", "silence"} <= set(record.classes):
        lines.append("- One-second clips of single words at 16 kHz; not tested on running speech.")
    return "\n".join(lines)


def _origin(record: PresetRecord) -> str:
    origin = dict(record.origin)
    versions, recipe = origin.pop("versions", None), origin.pop("recipe", None)
    lines = [f"- {key.replace('_', ' ')}: {value}" for key, value in origin.items() if value is not None]
    if isinstance(versions, dict):
        lines.append(f"- versions: {', '.join(f'{name} {number}' for name, number in versions.items())}")
    if recipe is not None:
        lines.insert(0, f"- recipe: '{recipe}', every default written out in recipe.yaml beside this file")
    return "\n".join(lines) or "Not recorded."


def _licence(record: PresetRecord) -> str:
    data: dict[str, Any] = dict(record.data)
    lines = [f"- Weights: {data.get('weights_licence') or 'Apache-2.0, as the package'}"]
    lines.append(f"- Data: {data.get('licence') or 'not stated by their authors'}; they are not part of this preset")
    if data.get("citation"):
        lines.append(f"- Cite the data as: {data['citation']}")
    if record.architecture.kind == "zoo" and record.architecture.name.startswith("analognet"):
        lines.append(f"- Cite the idea of the network as: {PAPER}")
    return "\n".join(lines)
