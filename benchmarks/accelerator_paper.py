"""Set the accelerator model beside the published figures: paper, ours, error, and how sure the paper's figure is.

python -m benchmarks.accelerator_paper [--write]

Prints JSON; --write stores it as results/accelerator_paper.json.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from analognets.core.files import write_json
from analognets.core.provenance import git_commit
from analognets.deploy.accelerator import Accelerator, Cost, Workload, cost, load_accelerator, workload
from benchmarks.calibrate_energy import ROOT, full_array, networks, observations, published, with_geometry

RESULTS = ROOT / "results" / "accelerator_paper.json"
BITS = (8, 6, 4)
ENERGY = ("energy_uj", "energy_low_uj", "energy_high_uj", "tops_per_watt", "tops_per_watt_low", "tops_per_watt_high")
ENERGY += ("energy_status",)
MLPERF = {"mlperf_resnet8": "mlperf_ic", "mlperf_ds_cnn": "mlperf_kws", "mlperf_mobilenet": "mlperf_vww"}
"""Networks of the benchmark, and the recipes that say what of them stays digital."""
LISTENING = ("analognet_kws.hwa_8bit", "analognet_kws.hwa_6bit", "analognet_kws.hwa_4bit")
Ends = tuple[float, float] | None
CELL_NW = (0.0, 20.0, 78.0, 300.0)


def row(quantity: str, figure: dict[str, Any], ours: float, ends: Ends = None, **more: Any) -> dict[str, Any]:
    """Return one comparison; `ends`: of the range that the fitted figures allow."""
    tags = {key: figure[key] for key in ("bits", "status", "confidence") if key in figure}
    more |= {} if ends is None else {"low": ends[0], "high": ends[1]}
    return {
        "quantity": quantity,
        **tags,
        "paper": figure["value"],
        "ours": ours,
        "error": ours / figure["value"] - 1,
    } | more


def of_array(chip: Accelerator, figures: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [row("peak TOPS", figure, chip.peak_tops(figure["bits"])) for figure in figures["peak_tops"]]
    for figure in figures["peak_tops_per_watt"]:
        ours = cost(full_array(chip), chip, bits=figure["bits"])
        rows.append(row("peak TOPS/W", figure, ours.tops_per_watt, ours.tops_per_watt_range, calibrated_on=True))
    return [*rows, row("area in mm^2", figures["area_mm2"], chip.area_mm2(), calibrated_on=True)]


def of_network(costs: dict[int, Cost], figures: dict[str, Any]) -> list[dict[str, Any]]:
    at_8 = costs[8]
    rows = [
        row("utilisation", figures["utilisation"], at_8.utilisation),
        row("passes", figures["passes"], at_8.passes),
        row("inferences/s", figures["inferences_per_second"], at_8.inferences_per_second),
        row("TOPS", figures["tops"], at_8.tops),
        row("uJ an inference", figures["energy_uj"], at_8.energy_uj, at_8.energy_range_uj),
    ]
    for figure in figures["tops_per_watt"]:
        ours = costs[figure["bits"]]
        rows.append(row("TOPS/W (arXiv)", figure, ours.tops_per_watt, ours.tops_per_watt_range, calibrated_on=True))
    fitted = {figure["bits"]: figure["value"] for figure in figures["tops_per_watt"]}
    for figure in figures["tops_per_watt_journal"]:
        ours, gap = costs[figure["bits"]], figure["value"] / fitted[figure["bits"]] - 1
        note = f"the fitted figure in its second printing ({gap:+.1%}), no independent check"
        rows.append(row("TOPS/W (IEEE Micro)", figure, ours.tops_per_watt, ours.tops_per_watt_range, note=note))
    return rows


def hermes(chip: Accelerator, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Predict IBM's HERMES core and chip from AON-CiM's constants; nothing was calibrated on them."""
    core = with_geometry(chip, 256, 256, 256)
    product = cost(full_array(core), core, bits=8)
    peak = core.peak_tops(8)
    area = core.area_mm2() - core.area.fixed.value  # the core has no im2col, SRAM and control of a whole chip
    of_core, of_chip = figures["hermes_core"], figures["hermes_chip"]
    ours, ends = product.tops_per_watt, product.tops_per_watt_range
    return [
        row("core TOPS/W", of_core["tops_per_watt"], ours, ends),
        row("core TOPS/mm^2", of_core["tops_per_mm2"], peak / area, note="array, drivers and ADCs only"),
        row("64-core chip TOPS", of_chip["tops"], 64 * peak),
        row("64-core chip TOPS/W", of_chip["tops_per_watt"], ours, ends, note="cores only, no network"),
    ]


def sensitivity(chip: Accelerator, models: dict[str, Workload], figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how the check on HERMES moves with the assumed power of a cell, which the calibration can't determine."""
    from analognets.deploy.accelerator.calibration import calibrate_energy

    rows = []
    for power in CELL_NW:
        energy = chip.model_dump()["energy"]
        energy["cell"]["value"] = power
        result = calibrate_energy(chip.replace(energy=energy), observations(chip, models))
        core = with_geometry(result.accelerator, 256, 256, 256)
        ours = cost(full_array(core), core, bits=8).tops_per_watt
        published_core = figures["hermes_core"]["tops_per_watt"]["value"]
        rows.append(
            {
                "cell_nw": power,
                "largest_residual": result.largest,
                "core_tops_per_watt": ours,
                "error": ours / published_core - 1,
            }
        )
    return rows


def baselines(chip: Accelerator) -> list[dict[str, Any]]:
    """Return the networks with depthwise layers on the same accelerator."""
    from analognets.zoo.networks import baselines as nets

    rows = []
    for build in (nets.ds_cnn, nets.micronet_kws_s, nets.micronet_kws_m, nets.mobilenet_v1_025):
        model = build()
        for depthwise in ("analog", "digital"):
            of_model = cost(workload(model, depthwise=depthwise), chip, bits=8)
            data = of_model.to_dict()
            keys = ("model", "arrays", "fits", "utilisation", "effective_utilisation", "operations", "passes")
            more = ("inferences_per_second", *ENERGY)
            rows.append({"depthwise": depthwise} | {key: data[key] for key in (*keys, *more)})
    return rows


def organisations(models: dict[str, Workload]) -> list[dict[str, Any]]:
    """Return the AnalogNets on one large array, layer after layer, and on small tiles that work at once."""
    keys = ("model", "accelerator", "arrays", "utilisation", "inferences_per_second", *ENERGY)
    rows = []
    for model in models.values():
        for name in ("aon_cim", "tiles_256"):
            data = cost(model, load_accelerator(name), bits=8).to_dict()
            rows.append({key: data[key] for key in (*keys, "area_mm2")})
    return rows


def elsewhere() -> list[dict[str, Any]]:
    """Return the energy of networks whose own results files have a point estimate only."""
    from analognets.training.recipe import load_recipe
    from analognets.zoo import from_preset
    from analognets.zoo.networks import mlperf_tiny

    rows = []
    for name, recipe in MLPERF.items():
        stage = load_recipe(ROOT / "zoo" / "recipes" / f"{recipe}.yaml").hardware_aware
        digital = () if stage is None else stage.exempt
        for bits in BITS:
            data = cost(getattr(mlperf_tiny, name)(), "aon_cim", bits=bits, digital=digital).to_dict()
            rows.append({"network": name, "bits": bits} | {key: data[key] for key in ENERGY})
    for handle in LISTENING:
        data = cost(from_preset(handle), "aon_cim").to_dict()
        rows.append({"network": handle, "bits": data["bits"]} | {key: data[key] for key in ENERGY})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"store it as {RESULTS.relative_to(ROOT)}")
    write = parser.parse_args().write
    chip, figures, models = load_accelerator("aon_cim"), published(), networks()
    comparison = {"aon_cim": of_array(chip, figures)}
    for name, model in models.items():
        comparison[name] = of_network({bits: cost(model, chip, bits=bits) for bits in BITS}, figures["models"][name])
    comparison["hermes"] = hermes(chip, figures)
    result = {
        "git_commit": git_commit(),
        "statement": "Networks and accelerator are our reconstruction; `status` says how sure the paper's figure is; "
        "`calibrated_on` marks figures that the constants were fitted to, so that their error is a residual; `low` and "
        "`high` are the extremes of all constants that meet the fitted figures within 3 %.",
        "comparison": comparison,
        "sensitivity_of_hermes_to_the_assumed_cell_power": sensitivity(chip, models, figures),
        "baselines_8bit": baselines(chip),
        "organisations_8bit": organisations(models),
        "elsewhere": elsewhere(),
        "constants": {name: constant.model_dump() for name, constant in chip.constants().items()},
    }
    print(json.dumps(result, indent=2))
    if write:
        write_json(RESULTS, result)


if __name__ == "__main__":
    main()
