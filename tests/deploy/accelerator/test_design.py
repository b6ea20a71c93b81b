"""Accelerators as data: what is packaged, what a user's file may hold, and what is said about one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from analognets.deploy.accelerator import Accelerator, list_accelerators, load_accelerator
from analognets.errors import InvalidArgumentError, UnknownNameError

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Return a function that writes AON-CiM's file with some text replaced."""

    def edit(before: str, after: str) -> Path:
        text = (resources.files("analognets.deploy.accelerator") / "designs" / "aon_cim.yaml").read_text("utf-8")
        assert text.count(before) == 1
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(before, after), "utf-8")
        return path

    return edit


@pytest.mark.parametrize("name", list_accelerators())
def test_every_constant_has_unit_and_origin(name: str) -> None:
    chip = load_accelerator(name)
    constants = chip.constants()
    assert chip.name == name
    assert len(constants) == 18
    for constant in constants.values():
        assert constant.unit and len(constant.origin) > 10
        assert "not calibrated" not in constant.origin


def test_packaged_accelerators() -> None:
    assert {"aon_cim", "hermes", "tiles_256"} <= {*list_accelerators()}
    hermes = load_accelerator("hermes")
    assert (hermes.array.rows, hermes.array.cols, hermes.adcs) == (256, 256, 256)
    assert hermes.peak_tops(8) / hermes.area_mm2() == pytest.approx(1.59, rel=0.005)
    assert load_accelerator("aon_cim").area_mm2() == pytest.approx(3.2, rel=0.005)
    tiles = load_accelerator("tiles_256")
    assert tiles.arrays * tiles.cells == load_accelerator("aon_cim").cells


def test_a_file_of_ones_own(edited: Edit) -> None:
    path = edited("adcs: 128", "adcs: 256")
    chip = load_accelerator(path)
    assert chip.adcs == 256
    assert load_accelerator(str(path)) == chip
    assert load_accelerator(chip) is chip


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("adcs: 128", "adc: 128", r"Unknown key 'adc'\. Did you mean 'adcs'\? Known keys of an accelerator: name, "),
        ("  static: {value: ", "  statik: {value: ", r"Unknown key 'energy.statik'. Did you mean 'energy.static'\?"),
        ("adcs: 128", "adcs: 1024", "`adcs` must be at most the 512 columns"),
        ("adcs: 128", "adcs: 0", r"`adcs` must be a whole number from 1"),
        ("adcs: 128", "adcs: many", r"`adcs` must be a whole number from 1 .*Received: 'many'"),
        ("arrays_at_once: one", "arrays_at_once: two", "must be one of 'one', 'all'"),
        ("unit: GHz", "unit: MHz", "`digital.clock` must be a mapping .* whose unit is 'GHz'"),
        ("value: 0.8, unit", "value: -1, unit", "`digital.clock.value` must be a number from 0"),
        ("min_bits: 2", "min_bits: 9", "`min_bits` must be at most `max_bits`"),
        ("adcs: 128", "", "`adcs` is missing"),
        ("adcs: 128", "adcs: [", "can't be read|is not"),
    ],
)
def test_what_a_file_may_not_hold(edited: Edit, before: str, after: str, message: str) -> None:
    path = edited(before, after)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        load_accelerator(path)
    assert str(path) in str(caught.value)


def test_a_pass_takes_time(edited: Edit) -> None:
    path = edited("step: {value: 1,", "step: {value: 0,")
    assert load_accelerator(path).pass_ns(8) == 2
    text = path.read_text("utf-8").replace("settle: {value: 2,", "settle: {value: 0,")
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidArgumentError, match="`pass_time` must be longer than 0"):
        load_accelerator(path)


def test_files_and_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="can't be read: No such file"):
        load_accelerator(tmp_path / "none.yaml")
    with pytest.raises(UnknownNameError, match="Unknown accelerator. Did you mean 'aon_cim'"):
        load_accelerator("aon_cmi")


def test_replace_checks_too(aon_cim: Accelerator) -> None:
    assert aon_cim.replace(arrays=3).arrays == 3
    with pytest.raises(InvalidArgumentError, match="Unknown key 'arays'"):
        aon_cim.replace(arays=3)
