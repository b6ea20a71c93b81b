"""Put what `analognets benchmark mlperf-tiny` wrote among the results: mlperf_tiny.csv and mlperf_tiny.json.

analognets benchmark mlperf-tiny --data DIR --out OUT
python -m benchmarks.mlperf_tiny OUT [--results results]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any


def collected(out: Path) -> dict[str, Any]:
    """Return the record of a finished benchmark.

    Raises:
        SystemExit: there is none, or it was a quick try or of some samples only.
    """
    if not (out / "benchmark.json").is_file():
        raise SystemExit(f"'{out}' holds no benchmark.json: run `analognets benchmark mlperf-tiny --out {out}` first.")
    record: dict[str, Any] = json.loads((out / "benchmark.json").read_text("utf-8"))
    if record["settings"]["quick"] or record["settings"]["limit"] is not None:
        raise SystemExit(f"'{out}' holds a quick try, or one of some test samples only, which is no result.")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the benchmark")
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args()
    record = collected(options.out)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "mlperf_tiny.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    shutil.copyfile(options.out / "benchmark.csv", options.results / "mlperf_tiny.csv")


if __name__ == "__main__":
    main()
