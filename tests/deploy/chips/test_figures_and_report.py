"""The figure over drift time and the report page: what they show, and that no half of them is ever seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analognets.deploy.chips.chips import summarize
from analognets.deploy.chips.figures import drift_figure
from analognets.deploy.chips.report import write_report

TIMES = {"25s": 25.0, "1h": 3600.0, "1d": 86400.0}


def table(chips: int = 4, modes: tuple[bool, ...] = (True, False)) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (chip, 100 + chip, at, seconds, mode, 0.9 - 0.1 * (not mode) + 0.01 * rng.standard_normal())
        for chip in range(chips)
        for at, seconds in TIMES.items()
        for mode in modes
    ]
    return pd.DataFrame(rows, columns=["chip", "seed", "at", "seconds", "drift_compensation", "accuracy"])


def test_the_figure_shows_mean_band_and_every_chip() -> None:
    data = table()
    axes = drift_figure(data, float_accuracy=0.93, title="A title").axes[0]
    summary = summarize(data)
    lines = [line for line in axes.lines if line.get_linestyle() == "-"]
    for line, mode in zip(lines, (True, False), strict=True):
        part = summary[summary["drift_compensation"] == mode]
        np.testing.assert_allclose(line.get_xdata(), part["seconds"])
        np.testing.assert_allclose(line.get_ydata(), 100 * part["mean"])
    dots = [line for line in axes.lines if line.get_marker() == "."]
    np.testing.assert_allclose(sorted(np.concatenate([d.get_ydata() for d in dots])), sorted(100 * data["accuracy"]))
    assert len(axes.collections) == 2
    band = axes.collections[0].get_paths()[0].vertices
    first = summary.iloc[0]
    at_first = band[band[:, 0] == first["seconds"]][:, 1]
    assert at_first.max() == pytest.approx(100 * (first["mean"] + first["std"]))
    assert at_first.min() == pytest.approx(100 * (first["mean"] - first["std"]))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "with drift compensation, 4 chips",
        "without drift compensation, 4 chips",
        "float network",
    ]
    assert (axes.get_title(), axes.get_xscale()) == ("A title", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == list(TIMES)


def test_one_chip_has_a_line_and_time_zero_an_axis() -> None:
    data = table(chips=1, modes=(True,))
    data.loc[0, ["at", "seconds"]] = ["0s", 0.0]
    axes = drift_figure(data).axes[0]
    assert axes.get_xscale() == "linear"
    assert np.isfinite(axes.collections[0].get_paths()[0].vertices).all()


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_the_figure_is_saved_by_its_ending(tmp_path: Path, name: str, start: bytes) -> None:
    figure = drift_figure(table(), tmp_path / name)
    assert isinstance(figure, Figure)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_figure_that_fails_to_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        drift_figure(table(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"


def write(path: Path, data: pd.DataFrame, **settings: Any) -> str:
    write_report(
        path,
        **{
            "title": "kws <8 bit>",
            "facts": {"chips": 4, "code": "a<b"},
            "summary": summarize(data, 0.93),
            "figures": [drift_figure(data)],
            "recipe": "name: kws # <b>",
            "statement": "Synthetic & labelled so.",
            **settings,
        },
    )
    return path.read_text("utf-8")


def test_the_report_is_one_file_that_says_everything(tmp_path: Path) -> None:
    data = table()
    page = write(tmp_path / "report.html", data)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "Synthetic &amp; labelled so." in page
    assert "<h1>kws &lt;8 bit&gt;</h1>" in page
    assert "<td>a&lt;b</td>" in page
    assert "<pre>name: kws # &lt;b&gt;</pre>" in page
    assert page.count('<svg role="img"') == 1
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for _, row in summarize(data, 0.93).iterrows():
        assert f"<td>{row['at']}</td>" in page
        assert f"<td>{100 * row['mean']:.2f} \u00b1 {50 * (row['high'] - row['low']):.2f}</td>" in page
        assert f"<td>{row['loss']:+.2f}</td>" in page
    ends = {"low": 0.85, "high": 0.91, "loss_low": 1.0, "loss_high": 2.0}
    page = write(tmp_path / "intervals.html", data, summary=summarize(data, 0.93).assign(**ends))
    assert "accuracy %" in page and " ± 3.00</td>" in page and " ± 0.50</td>" in page


def test_one_chip_has_no_spread(tmp_path: Path) -> None:
    page = write(tmp_path / "report.html", table(chips=1))
    assert "nan %" not in page
    assert "<td>-</td>" in page


def test_the_summary_is_left_as_it_is(tmp_path: Path) -> None:
    summary = summarize(table(), 0.93)
    before = summary.copy()
    write(tmp_path / "report.html", table(), summary=summary)
    pd.testing.assert_frame_equal(summary, before)
