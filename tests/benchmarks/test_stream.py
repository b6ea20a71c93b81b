"""The page's part on listening says what the results file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import results_stream


def row(title: str, alarms: float, misses: float, std: float | None) -> dict[str, Any]:
    """Return a row as `stream_study` writes it."""
    rates = {"false_alarms_per_hour": alarms, "miss_rate": misses}
    spreads = {f"{name}_std": std for name in rates}
    return {"title": title, "threshold": 0.72, "words": 480, "chips": 0 if std is None else 5, **rates, **spreads}


def test_the_page_shows_rates_power_and_time(tmp_path: Path) -> None:
    power = {"energy_uj": 9.05, "inferences_per_second": 10.0, "duty": 0.00129, "power_uw": 90.5}
    power |= {"power_ungated_uw": 6234.1, "not_counted": "Not counted: the microphone."}
    settings = {"words_per_minute": 10.0, "noise_rms": [1e-4, 1e-2], "step": 0.1, "smoothing": 0.5, "suppression": 1.0}
    settings |= {"validation_hours": 1.0, "target": 5.0, "chips": 5}
    rows = [row("float network", 4.0, 0.15, None), row("1y", 6.04, 0.2, 0.012)]
    network = {"network": "kws", "hours": 1.0, "settings": settings, "rows": rows, "power": power, "time_ratio": 0.0213}
    network["origin"] = {"git_commit": "0123456789abcdef"}
    (tmp_path / "stream.json").write_text(json.dumps({"networks": [network]}))
    text = "\n".join(results_stream.parts(tmp_path))
    assert "| kws | float network | 0.72 | 4.0 | 15.0 |" in text
    assert "| kws | 1y | 0.72 | 6.0 ± 0.0 | 20.0 ± 1.5 |" in text
    assert "| kws | 9.05 | 10 | 0.129 | 90.5 | 6,234 |" in text
    assert "(480 of them keywords, about 10 clips a minute" in text
    assert "at most 0.021 of the audio's time" in text and "Not counted: the microphone." in text
