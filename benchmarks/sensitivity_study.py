"""Which non-ideality hurts which network: the three claims of Rasch et al. 2023 checked on trained KWS models.

python -m benchmarks.sensitivity_study --data DIR [--runs runs/topologies] [--work runs/sensitivity] [--chips 15]

Takes the hardware-aware networks of `benchmarks.topology_study`. Equal error: each effect alone raised to a product
error of 20 %. Threshold: how strong each may get. Layers: which bear device noise least, and how few must be spared it.
All of it is resumable; --collect only writes the tables.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.provenance import git_commit
from analognets.deploy.studies.sensitivity import equal_error_study, heat_map, layer_study, threshold_study
from analognets.metrics import ISO_ACCURACY
from analognets.training.run import Run
from benchmarks.topology_study import TOPOLOGIES

ON_SIGNALS = ("dac_bits", "adc_bits", "input_noise", "output_noise", "adc_nonlinearity")
ON_WEIGHTS = (
    "device_noise", "programming_noise", "read_noise", "drift", "short_term_noise", "ir_drop", "stuck_at_zero",
    "stuck_at_g_max", "stuck_at_random", "polarity_asymmetry",
)  # fmt: skip
THRESHOLDS = ("dac_bits", "adc_bits", "output_noise", "device_noise", "short_term_noise", "ir_drop", "stuck_at_zero")
PUBLISHED = {"equal_error": "method_1", "threshold": "method_2"}
"""Their names in results files, in the paper and in earlier study folders."""
FEW_LAYERS = 6
"""As many as the paper exempts at most."""


def progress(done: int, total: int, row: dict[str, Any]) -> None:
    """Print a line now and then."""
    if done == total or done % 25 == 0:
        print(
            f"{done}/{total} {row.get('network', '')} {row.get('nonideality', '')} {row.get('value', '')}", flush=True
        )


def networks(runs: Path) -> dict[str, Path]:
    """Return the networks trained with the devices' noise, by topology."""
    found = {name: runs / name / "device" for name in TOPOLOGIES}
    return {name: path for name, path in found.items() if (path / "analog.keras").is_file()}


def with_topology(table: pd.DataFrame, topologies: dict[str, str]) -> pd.DataFrame:
    """Return a table with the topology of each network in front."""
    table = table.copy()
    table.insert(0, "topology", table["network"].map(topologies))
    return table


def claim_signals(first: pd.DataFrame) -> dict[str, Any]:
    """Return whether noise on inputs and outputs hurts more than what changes weights, at equal product error."""
    good = first[first["status"] == "ok"]
    means = {}
    for kind, effects in (("inputs_and_outputs", ON_SIGNALS), ("weights", ON_WEIGHTS)):
        chosen = good[good["nonideality"].isin(effects)]
        means[kind] = {**chosen.groupby("topology")["loss"].mean().to_dict(), "all": float(chosen["loss"].mean())}
    holds = {name: bool(means["inputs_and_outputs"][name] > means["weights"][name]) for name in means["weights"]}
    worst = good.groupby("nonideality")["loss"].mean().sort_values(ascending=False)
    return {
        "claim": "At equal product error, noise on inputs and outputs hurts most.",
        "answer": "yes" if all(holds.values()) else "no",
        "mean_loss": means,
        "holds_for": holds,
        "effects_by_mean_loss": {name: float(value) for name, value in worst.items()},
    }


def claim_recurrent(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """Return whether the recurrent network loses least, at equal error and by its thresholds."""
    losses = first[first["status"] == "ok"].groupby("topology")["loss"].mean()
    sensitivity = second.groupby("topology")["sensitivity"].mean()
    least = {"method_1": str(losses.idxmin()), "method_2": str(sensitivity.idxmin())}
    return {
        "claim": "Recurrent networks are the most robust.",
        "answer": "yes" if set(least.values()) == {"rnn"} else "no",
        "most_robust": least,
        "mean_loss_method_1": losses.to_dict(),
        "mean_relative_sensitivity_method_2": sensitivity.to_dict(),
    }


def claim_layers(exemption: pd.DataFrame) -> dict[str, Any]:
    """Return whether a few exempt layers are enough for those networks that are not iso-accurate as they are."""
    found: dict[str, Any] = {}
    for topology, rows in exemption.groupby("topology", sort=False):
        as_is = rows[rows["exempt"] == 0].iloc[0]
        enough = rows[rows["enough"]].sort_values("exempt")
        best = None if enough.empty else enough.iloc[0]
        found[str(topology)] = {
            "normalized_accuracy_as_is": float(as_is["normalized"]),
            "normalized_accuracy_all_exempt": float(rows.sort_values("exempt").iloc[-1]["normalized"]),
            "layers_to_exempt": None if best is None else int(best["exempt"]),
            "share_of_weights": None if best is None else float(best["share"]),
            "normalized_accuracy": None if best is None else float(best["normalized"]),
        }
    needy = {name: row for name, row in found.items() if row["normalized_accuracy_as_is"] < ISO_ACCURACY}
    few = [row["layers_to_exempt"] is not None and row["layers_to_exempt"] <= FEW_LAYERS for row in needy.values()]
    return {
        "claim": f"A few exempt layers (at most {FEW_LAYERS}) restore an A* of {100 * ISO_ACCURACY:g} %.",
        "answer": "no network needs it" if not needy else "yes" if all(few) else "no",
        "networks": found,
    }


def study(options: argparse.Namespace) -> None:
    """Measure what is not measured yet."""
    paths = list(networks(options.runs).values())
    settings: dict[str, Any] = {"data": str(options.data), "at": "1h", "progress": progress}
    equal_error_study(paths, options.work, chips=options.chips, limit=options.limit, **settings)
    settings |= {"chips": min(options.chips, options.search_chips), "limit": options.limit}
    layer_study(paths, options.work, **settings)
    threshold_study(paths, options.work, nonidealities=THRESHOLDS, **settings)


def origin(run: Run) -> dict[str, Any]:
    """Return what a network was trained with."""
    data = {key: value for key, value in run.record["data"].items() if key not in ("folder", "float_from")}
    return {"fingerprint": run.recipe.fingerprint(), "git_commit": run.record["git_commit"], "data": data}


def collect(options: argparse.Namespace) -> dict[str, Any]:
    """Write tables, pictures and the answers."""
    paths = networks(options.runs)
    names = {f"{path.parent.name}/{path.name}": topology for topology, path in paths.items()}
    tables = {}
    for name in ("equal_error", "threshold", "layers_ranking", "layers_exemption"):
        published = PUBLISHED.get(name, name)
        stored = [path for key in (name, published) if (path := options.work / f"{key}.parquet").is_file()]
        tables[name] = with_topology(pd.read_parquet(stored[0]), names)
        tables[name].to_csv(options.results / f"sensitivity_{published}.csv", index=False, float_format="%.6g")
    heat_map(tables["equal_error"], options.results / "sensitivity_method_1.png")
    heat_map(tables["threshold"], options.results / "sensitivity_method_2.png")
    answers = {
        "benchmark": "sensitivity_study",
        "hardware": "aimc_standard",
        "networks": {name: origin(Run.open(path)) for name, path in paths.items()},
        "chips": int(tables["equal_error"]["chips"].max()),
        "chips_method_2_and_layers": int(tables["threshold"]["chips"].max()),
        "test_clips_limit": options.limit,
        "git_commit": git_commit(),
        "claims": [
            claim_signals(tables["equal_error"]),
            claim_recurrent(tables["equal_error"], tables["threshold"]),
            claim_layers(tables["layers_exemption"]),
        ],
    }
    text = json.dumps(answers, indent=1) + "\n"
    (options.results / "sensitivity.json").write_text(text, "utf-8")
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Speech Commands")
    parser.add_argument("--runs", type=Path, default=Path("runs/topologies"))
    parser.add_argument("--work", type=Path, default=Path("runs/sensitivity"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--chips", type=int, default=15)
    parser.add_argument("--search-chips", type=int, default=5, help="chips of the thresholds and of the layers")
    parser.add_argument("--limit", type=int, help="most test clips, spread evenly; all by default")
    parser.add_argument("--collect", action="store_true", help="only write tables and pictures of what is done")
    options = parser.parse_args()
    if not (options.collect or options.data):
        parser.error("--data is needed, or --collect")
    if not options.collect:
        study(options)
    options.results.mkdir(parents=True, exist_ok=True)
    print(json.dumps(collect(options)["claims"], indent=1))


if __name__ == "__main__":
    main()
