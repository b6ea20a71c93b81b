"""Figures: no window, whole files, and the same bytes for the same data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analognets.core.figures import new_figure, picture_bytes, saved
from analognets.errors import RunError


def drawn() -> object:
    figure = new_figure(3, 2)
    figure.add_subplot().plot([0, 1], [1, 0])
    return figure


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a", b"\x89PNG")])
def test_the_ending_decides_on_the_kind(tmp_path: Path, name: str, start: bytes) -> None:
    figure = drawn()
    assert saved(figure, tmp_path / name) is figure
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert saved(figure) is figure


def test_equal_figures_are_equal_files() -> None:
    for kind in ("png", "svg"):
        assert picture_bytes(drawn(), kind) == picture_bytes(drawn(), kind)
    assert b"Software" not in picture_bytes(drawn())
    assert b"dc:date" not in picture_bytes(drawn(), "svg")


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a.png' can't be written: No such file or directory"):
        saved(drawn(), tmp_path / "nowhere" / "a.png")


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = (
        "import sys, analognets.core.figures as f; assert 'matplotlib' not in sys.modules; f.picture_bytes("
        "f.new_figure(1, 1)); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
