"""Record what a conformance bundle says of this package and of the simulators whose results lie in it.

python -m benchmarks.conformance BUNDLE [--write]

BUNDLE was made by `analognets conformance write` and run by its run_peer.py where other simulators are installed.
--write stores results/conformance.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from analognets.core.files import write_json
from analognets.core.provenance import git_commit
from analognets.deploy.conformance.bundle import open_bundle
from analognets.deploy.conformance.runners import observe
from analognets.deploy.conformance.verdict import judge

RESULTS = Path(__file__).resolve().parents[1] / "results" / "conformance.json"


def record(folder: Path) -> dict[str, Any]:
    """Return the verdicts on this package and on all results in a bundle."""
    bundle = open_bundle(folder)
    names = ["analognets", *sorted(path.stem for path in (folder / "results").glob("*.npz"))]
    verdicts = [judge(bundle, observe(bundle, name)).to_dict() for name in names]
    case = bundle.case
    about = {"chips": case.chips, "weights": list(bundle.arrays["weights"].shape), "times": case.times}
    return {"git_commit": git_commit(), "bundle": {**about, "rules": case.rules.model_dump()}, "verdicts": verdicts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--write", action="store_true", help="store it among the results")
    options = parser.parse_args()
    result = record(options.bundle)
    print(json.dumps(result, indent=2))
    if options.write:
        write_json(RESULTS, result)


if __name__ == "__main__":
    main()
