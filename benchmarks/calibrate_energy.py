"""Find the energy constants of the packaged accelerators from published TOPS/W, and write them into their YAML files.

python -m benchmarks.calibrate_energy [--write]

Without --write the constants and residuals are only printed, and it fails if the files hold others.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path
from typing import Any

from analognets.core.config import read_yaml
from analognets.deploy.accelerator import Accelerator, LayerWork, Workload, cost, load_accelerator, workload
from analognets.deploy.accelerator.calibration import (
    FREE,
    Calibrated,
    Observation,
    calibrate_energy,
    held_figure,
)
from analognets.deploy.accelerator.held import PublishedFigure

ROOT = Path(__file__).resolve().parents[1]
CHIPS = ROOT / "deploy" / "accelerator" / "designs"
PUBLISHED = ROOT / "benchmarks" / "published" / "accelerators.yaml"
WEIGHTS = {"verified": 1.0, "memory": 0.5}
ORIGIN = "least squares on AnalogNets' TOPS/W of KWS, VWW and a full array (benchmarks.calibrate_energy)"
HELD_TO = (
    "held_to: # published figures as counted events, by benchmarks.calibrate_energy; scaled: up to one common factor"
)
SCALED = "AON-CiM's, times the factor that gives a full product of the core its published 10.5 TOPS/W"


def published() -> dict[str, Any]:
    return read_yaml(PUBLISHED)


def full_array(chip: Accelerator) -> Workload:
    """Return one product that fills an array."""
    rows, cols = chip.array.rows, chip.array.cols
    layer = LayerWork("full array", "Dense", (rows, cols), rows * cols, 1, rows, rows, cols)
    return Workload("full array", (layer,))


def networks() -> dict[str, Workload]:
    from analognets.zoo.networks.kws import analognet_kws
    from analognets.zoo.networks.vww import analognet_vww

    return {"analognet_kws": workload(analognet_kws()), "analognet_vww": workload(analognet_vww())}


def observations(chip: Accelerator, models: dict[str, Workload]) -> list[Observation]:
    figures = published()
    seen = [(name, models[name], figure) for name in models for figure in figures["models"][name]["tops_per_watt"]]
    seen += [("full array", full_array(chip), figure) for figure in figures["peak_tops_per_watt"]]
    return [
        Observation(name, work, one["bits"], one["value"], WEIGHTS[one["status"]], status=one["status"])
        for name, work, one in seen
    ]


def calibrate(models: dict[str, Workload]) -> Calibrated:
    chip = load_accelerator("aon_cim")
    return calibrate_energy(chip, observations(chip, models), origin=ORIGIN)


def with_geometry(chip: Accelerator, rows: int, cols: int, adcs: int) -> Accelerator:
    """Return the accelerator with its constants and another array."""
    return chip.replace(array={"rows": rows, "cols": cols}, adcs=adcs)


def scaled(chip: Accelerator, factor: float) -> dict[str, dict[str, Any]]:
    """Return the energy constants of an accelerator times a factor."""
    constants = chip.model_dump()["energy"]
    for constant in constants.values():
        constant |= {"value": float(f"{factor * constant['value']:.5g}"), "origin": SCALED, "status": "calibrated"}
    return constants


def hermes_figures(chip: Accelerator) -> list[PublishedFigure]:
    """Return what HERMES's constants are held to: its own figure, and AON-CiM's up to one factor."""
    core = load_accelerator("hermes")
    product = cost(full_array(core), core, bits=8)
    own = published()["hermes_core"]["tops_per_watt"]
    seen = Observation("full array", full_array(core), 8, own["value"], status=own["status"])
    shared = [figure.model_copy(update={"scaled": True}) for figure in chip.held_to]
    return [held_figure(seen, product.operations, product.events), *shared]


def with_constants(text: str, constants: dict[str, dict[str, Any]], figures: list[PublishedFigure]) -> str:
    """Return the text of an accelerator's file with the lines of its sections `energy` and `held_to` replaced."""
    head, _, tail = re.split(
        r"(^energy:\n(?:  .*\n)*(?:held_to:.*\n(?:  .*\n)*)?)", text, maxsplit=1, flags=re.MULTILINE
    )
    lines = [
        f'  {name}: {{value: {item["value"]:g}, unit: {item["unit"]}, origin: "{item["origin"]}", '
        f"status: {item['status']}}}"
        for name, item in constants.items()
    ]
    return head + "\n".join(["energy:", *lines, HELD_TO, *map(one_figure, figures), ""]) + tail


def one_figure(figure: PublishedFigure) -> str:
    """Return a figure as a line of YAML."""
    events = ", ".join(f"{term}: {count:.12g}" for term, count in figure.events.items() if count)
    fields = {**figure.model_dump(exclude={"events"}), "scaled": str(figure.scaled).lower(), "events": f"{{{events}}}"}
    if not figure.scaled:
        del fields["scaled"]
    return f"  - {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the constants into the files")
    write = parser.parse_args().write
    result = calibrate(networks())
    chip = result.accelerator
    for term in FREE:
        constant = getattr(chip.energy, term)
        print(f"{term:8} {constant.value:9.4g} {constant.unit}")
    for name, bits, paper, ours, error in result.residuals:
        print(f"{name:14} {bits} bit: published {paper:7.2f}, ours {ours:7.2f} TOPS/W ({100 * error:+.2f} %)")
    core = with_geometry(chip, 256, 256, 256)
    predicted = cost(full_array(core), core, bits=8).tops_per_watt
    factor = predicted / published()["hermes_core"]["tops_per_watt"]["value"]
    print(f"HERMES core predicted at {predicted:.2f} TOPS/W; its own constants are AON-CiM's times {factor:.4f}")
    low, high = cost(full_array(core), core, bits=8).tops_per_watt_range or (math.nan, math.nan)
    print(
        f"All constants that meet these {len(chip.held_to)} figures within 3 % allow it {low:.2f} to {high:.2f} TOPS/W"
    )
    own = chip.model_dump()["energy"], chip.held_to
    sections = {"aon_cim": own, "tiles_256": own, "hermes": (scaled(chip, factor), hermes_figures(chip))}
    changed = []
    for name, (constants, figures) in sections.items():
        path = CHIPS / f"{name}.yaml"
        before = path.read_text("utf-8")
        after = with_constants(before, constants, figures)
        if after != before:
            changed.append(name)
            if write:
                path.write_text(after, "utf-8")
    if changed and not write:
        sys.exit(f"Other constants stand in: {', '.join(changed)}. Write these with --write.")


if __name__ == "__main__":
    main()
