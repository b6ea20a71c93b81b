"""Designing hardware: budgets, knobs, the search and its record, the Pareto set, winners, and files."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar, HardwareByLayer
from analognets.deploy.accelerator import cost, load_accelerator
from analognets.deploy.studies.design.budgets import budgets_of, excess, objectives_of, parse_budget
from analognets.deploy.studies.design.design import design
from analognets.deploy.studies.design.files import write_hardware
from analognets.deploy.studies.design.knobs import Candidate, GMax, Knob, knobs_of
from analognets.deploy.studies.design.prices import Prices, check_reachable
from analognets.deploy.studies.design.search import FILE, Search
from analognets.deploy.studies.design.space import Space, crossbars_of
from analognets.deploy.studies.design.winners import Winners, marked
from analognets.deploy.studies.other_hardware import by_name, named_hardware, on_hardware
from analognets.errors import AnalogNetsError, InvalidArgumentError, MissingExtraError, RunError, UnknownNameError
from analognets.layers import analog_layers
from analognets.training.recipe_parts import Hardware

pytest.importorskip("optuna", reason="needs the extra `design`")
BASE = Crossbar.from_preset("aon_cim_6bit")


def start(*names: str) -> Candidate:
    return Candidate(dict.fromkeys(names or ("first", "second"), BASE), load_accelerator("aon_cim"))


def space(
    *, bits: Sequence[int] = (8, 6, 4), adcs: Sequence[int] = (128,), names: Sequence[str] = (), **more: Any
) -> Space:
    begin = start(*names)
    return Space(begin, knobs_of(begin, bits=bits, adcs=adcs, **more))


class Fake:
    """Prices and measurements that follow from the bits: energy doubles with a bit, loss halves."""

    weights = (1.0, 3.0, 2.0)

    def of(self, candidate: Candidate, *, ranges: bool = True) -> dict[str, Any]:
        bits = [one.adc_bits for one in candidate.layers.values()]
        energy = sum(weight * 2.0**width for weight, width in zip(self.weights, bits, strict=False))
        return {"energy_uj": energy / candidate.accelerator.adcs, "area_mm2": 1.0 + candidate.accelerator.adcs / 1000}

    def measure(self, points: Sequence[str], begin: Candidate) -> list[dict[str, Any]]:
        rows = []
        for point in points:
            bits = [one.adc_bits for one in crossbars_of(begin.layers, point).values() if one is not None]
            loss = sum(weight * 2.0**-width for weight, width in zip((3.0, 1.0, 2.0), bits, strict=False))
            rows.append({"layers": point, "status": "ok", "error": None, "loss": 10 * loss, "accuracy": 1 - loss / 10})
        return rows


def searched(
    folder: Path, found: Space, *, trials: int = 14, measure: Callable[..., Any] | None = None, **budgets: float
) -> pd.DataFrame:
    fake = Fake()
    budgets = budgets or {"loss": 1.0}
    search = Search(found, fake, budgets, objectives_of(budgets, area_varies=False), seed=3, batch=4, trials=trials)
    return marked(search.run(folder, measure or (lambda points: fake.measure(points, found.start))))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["pJ", "nJ", "uJ", "mJ", "J"]), st.floats(1e-3, 1e3), st.sampled_from(["", " "]))
def test_budgets_are_numbers_with_units(unit: str, number: float, gap: str) -> None:
    factor = {"pJ": 1e-6, "nJ": 1e-3, "uJ": 1.0, "mJ": 1e3, "J": 1e6}[unit]
    assert parse_budget("energy", f"{number!r}{gap}{unit}") == pytest.approx(number * factor)
    assert parse_budget("energy", number) == number


@pytest.mark.parametrize("text", ["5", "5mm2", "uJ", "-1uJ", "0uJ", "5 uJ per inference", "1e999uJ", "nan", True, None])
def test_energies_without_a_good_unit_are_refused(text: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`energy` is an energy .* such as 5uJ\. Received: ") as raised:
        parse_budget("energy", text)
    assert repr(text) in str(raised.value)


def test_budgets_and_what_is_made_small() -> None:
    assert budgets_of("500nJ", "3e6um2", "1 ".strip()) == {"energy": 0.5, "area": 3.0, "loss": 1.0}
    assert budgets_of(loss=0) == {"loss": 0.0}
    with pytest.raises(InvalidArgumentError, match=r"needs a budget: .*--energy 5uJ.*--area 3mm2.*--loss 1.* none"):
        budgets_of()
    assert objectives_of({"loss": 1.0}, area_varies=False) == ("energy",)
    assert objectives_of({"energy": 1.0}, area_varies=True) == ("loss", "area")
    assert objectives_of({"energy": 1.0, "loss": 1.0}, area_varies=False) == ("loss", "energy")
    assert excess({"energy_uj": 6.0}, {"energy": 4.0}) == {"energy": 0.5}


def test_the_first_candidates_are_uniform(tmp_path: Path) -> None:
    found = space(bits=(4, 5, 6, 7, 8))
    table = searched(tmp_path, found, trials=8)
    assert table["kind"].tolist()[:5] == [f"uniform {bits} bit" for bits in (8, 6, 4, 7, 5)]
    assert table.loc[:2, ["first bits", "second bits"]].values.tolist() == [[8, 8], [6, 6], [4, 4]]
    assert table["kind"].tolist()[5:] == ["first coarser", "second coarser", "proposed"]
    assert (found.size, found.grid) == (25, 25)
    assert space(adcs=(64, 128)).grid * 2 == space(adcs=(64, 128)).size


def test_the_pareto_set_is_that_of_all_candidates(tmp_path: Path) -> None:
    found = space(bits=(4, 5, 6, 7))
    table = searched(tmp_path, found, trials=30)
    assert len(table) == 16, "each candidate once, and then there are no more"
    assert table[["first bits", "second bits"]].drop_duplicates().shape[0] == 16
    every = {}
    for first, second in itertools.product((4, 5, 6, 7), repeat=2):
        every[first, second] = (2.0**first + 3 * 2.0**second, 3 * 2.0**-first + 2.0**-second)
    front = {
        one
        for one, (energy, loss) in every.items()
        if not any(e <= energy and x <= loss and (e, x) != (energy, loss) for e, x in every.values())
    }
    rows = table[table["pareto"]]
    assert {tuple(row) for row in rows[["first bits", "second bits"]].values.tolist()} == front


def test_a_search_finds_the_best_with_few_evaluations(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    table = searched(tmp_path, space(bits=(4, 5, 6, 7, 8), names=names), trials=30, loss=1.0)
    best = min(
        energy
        for one in itertools.product((4, 5, 6, 7, 8), repeat=3)
        if 10 * sum(w * 2.0**-b for w, b in zip((3, 1, 2), one, strict=True)) <= 1.0
        for energy in [sum(w * 2.0**b for w, b in zip((1, 3, 2), one, strict=True)) / 128]
    )
    uniform = table[table["kind"].str.startswith("uniform") & table["feasible"]]["energy_uj"].min()
    chosen = table[table["feasible"]]["energy_uj"].min()
    assert best <= chosen <= 1.1 * best and chosen < uniform


def test_what_is_too_dear_is_not_measured(tmp_path: Path) -> None:
    table = searched(tmp_path, space(bits=(4, 5, 6, 7, 8)), trials=12, energy=2.0)
    later = table[~table["kind"].str.startswith("uniform")]
    assert len(later) == 7 and (later["energy_uj"] <= 2.0).all() and not table["feasible"].all()


def test_a_killed_search_goes_on_to_the_same_end(tmp_path: Path) -> None:
    found, fake = space(bits=(4, 5, 6, 7, 8), adcs=(64, 128)), Fake()
    whole = searched(tmp_path, found, trials=18)
    other, calls = tmp_path / "other", []
    other.mkdir()

    def dying(points: Sequence[str]) -> list[dict[str, Any]]:
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return fake.measure(points, found.start)

    child = os.fork()
    if not child:
        try:
            searched(other, found, trials=18, measure=dying)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert trials_in(other) == 11, "three batches, of which the second ends with the first candidates"
    pd.testing.assert_frame_equal(searched(other, found, trials=18), whole)
    assert trials_in(other) == trials_in(tmp_path) == 18
    more = searched(other, found, trials=22).drop(columns="pareto")
    pd.testing.assert_frame_equal(more.iloc[:18], whole.drop(columns="pareto"))
    (other / FILE).write_bytes(b"no database at all" * 100)
    pd.testing.assert_frame_equal(searched(other, found, trials=18), whole)
    assert trials_in(other) == 18


def trials_in(folder: Path) -> int:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / FILE}")
    try:
        return len(optuna.load_study(study_name="design", storage=storage).get_trials(deepcopy=False))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_what_fails_is_kept_and_all_that_fails_ends_the_search(tmp_path: Path) -> None:
    found, fake = space(bits=(4, 6, 8)), Fake()

    def some(points: Sequence[str]) -> list[dict[str, Any]]:
        rows = fake.measure(points, found.start)
        return [{"layers": one, "status": "failed", "error": "no"} if '"adc_bits": 8' in one else row
                for one, row in zip(points, rows, strict=True)]  # fmt: skip

    table = searched(tmp_path, found, trials=8, measure=some)
    failed = table[table["status"] == "failed"]
    assert 0 < len(failed) < 8 and not failed["feasible"].any() and not failed["pareto"].any()
    with pytest.raises(AnalogNetsError, match="No candidate could be measured. It burns"):
        (tmp_path / "none").mkdir()
        searched(tmp_path / "none", found, measure=lambda p: [{"status": "failed", "error": "It burns"} for _ in p])


class Columns(Knob):
    """A knob from outside the package."""

    name, values, own = "columns", (128, 512), 512

    def turned(self, candidate: Candidate, value: Any) -> Candidate:
        return candidate.with_layers(candidate.layers, cols=value)


def test_a_knob_of_ones_own_takes_part(tmp_path: Path) -> None:
    begin = start()
    found = Space(begin, [*knobs_of(begin, bits=(6, 4), adcs=(128,)), Columns()])
    table = searched(tmp_path, found, trials=20)
    assert len(table) == 8 and set(table["columns"]) == {128, 512}
    turned = found.candidate({"first bits": 6, "second bits": 4, "columns": 128})
    again = crossbars_of(begin.layers, found.point(turned))
    assert again == turned.layers and again["second"] == BASE.replace(dac_bits=4, adc_bits=4, cols=128)
    with pytest.raises(InvalidArgumentError, match="knobs with names of their own"):
        Space(begin, [Columns(), Columns()])


def test_knobs_of_chip_and_layers() -> None:
    begin = start()
    knobs = {knob.name: knob for knob in knobs_of(begin, bits=(6, 4), dac_bits=(6, 5), arrays=[(1024, 512), (512, 256)],
             g_max=(25, 10), digital=["second"], layers=["first"])}  # fmt: skip
    assert list(knobs) == ["first adc_bits", "first dac_bits", "second place", "array", "adcs", "g_max"]
    assert knobs["adcs"].values == (64, 128, 256) and knobs["adcs"].start == 128
    found = Space(begin, list(knobs.values()))
    chosen = {"first adc_bits": 4, "first dac_bits": 5, "second place": "digital", "array": "512x256", "adcs": 64}
    one = found.candidate({**chosen, "g_max": 10})
    assert one.layers["second"] is None and one.accelerator.array.cols == 256
    first = one.layers["first"]
    assert (first.dac_bits, first.adc_bits, first.rows, first.device.g_max) == (5, 4, 512, 10.0)
    ratio = one.accelerator.energy.cell.value / begin.accelerator.energy.cell.value
    assert ratio == pytest.approx(0.4), "cells of a smaller range draw less"
    assert found.label({**chosen, "g_max": 10}) == (
        "dac_bits 5, adc_bits 4, second digital, array 512x256, adcs 64, g_max 10"
    )
    assert space().label({"first bits": 6, "second bits": 6}) == "6 bit"
    for wrong, message in (({"layers": ["third"]}, "analog layer"), ({"digital": ["frist"]}, "first")):
        with pytest.raises(UnknownNameError, match=message):
            knobs_of(begin, bits=(6,), **wrong)
    with pytest.raises(InvalidArgumentError, match="`bits`"):
        knobs_of(begin, bits=(12,))
    assert isinstance(GMax((1.0,)), Knob)


def test_a_budget_that_no_hardware_meets_names_the_nearest(make: Any) -> None:
    model = make("pcm")
    layers = {layer.name: layer.crossbar for layer in analog_layers(model)}
    begin = Candidate(layers, load_accelerator("aon_cim"))
    found = Space(begin, knobs_of(begin, bits=(8, 6, 4), adcs=(128, 64)))
    prices = Prices(model)
    check_reachable(found, prices, {"energy": 1.0, "loss": 0.0})
    with pytest.raises(InvalidArgumentError, match=r"Nothing meets .* 1e-06 uJ: the nearest takes .* uJ \(4 bit, adcs"):
        check_reachable(found, prices, {"energy": 1e-6})
    with pytest.raises(InvalidArgumentError, match=r"Nothing meets .* 1 mm\^2: the nearest takes 3\.15 mm\^2"):
        check_reachable(found, prices, {"area": 1.0})


def test_prices_are_those_of_the_cost_model(make: Any) -> None:
    model = make("pcm")
    layers = {layer.name: layer.crossbar for layer in analog_layers(model)}
    begin = Candidate(layers, load_accelerator("aon_cim"))
    names = list(layers)
    changed = begin.with_layers(names[:1], dac_bits=5, adc_bits=4).with_layers(names[1:2], dac_bits=6, adc_bits=6)
    changed = Candidate({**changed.layers, names[2]: None}, changed.accelerator)
    made, _ = on_hardware(model, changed.layers, ranges="kept")
    assert [layer.name for layer in analog_layers(made)] == [names[0], names[1], names[3]]
    whole = cost(made)
    assert Prices(model).of(changed)["energy_uj"] == pytest.approx(whole.energy_uj)
    assert [layer.bits for layer in whole.layers][:2] == [5, 6], "a pass waits for the wider converters"


def test_files_are_read_by_conversions_recipes_and_costs(make: Any, nets: Any, tmp_path: Path) -> None:
    model = make("pcm")
    layers: dict[str, Any] = {layer.name: layer.crossbar.replace(name="aon_cim_8bit") for layer in analog_layers(model)}
    names = list(layers)
    layers[names[0]] = layers[names[0]].replace(adc_bits=5, dac_bits=5, drift_compensation="input")
    layers[names[1]] = None
    layers[names[2]] = layers[names[2]].replace(adc_bits=None, cols=256, drift_compensation=None)
    chip = load_accelerator("aon_cim").replace(adcs=64)
    section = write_hardware(tmp_path, "hardware", layers, chip)
    assert section["layers"][names[1]] == "digital"
    read = HardwareByLayer.of(str(tmp_path / "hardware.yaml"))
    recipe = Hardware(**section).by_layer()
    for found in (read, recipe, HardwareByLayer.of(section)):
        read_back = {name: one and one.replace(source="") for name, one in by_name(model, found).items()}
        assert read_back == layers
    analog = to_analog(nets.small_net(), str(tmp_path / "hardware.yaml"))
    assert [layer.name for layer in analog_layers(analog)] == [name for name, one in layers.items() if one is not None]
    made = named_hardware(model, str(tmp_path / "hardware.yaml"))
    made_on = {layer.name: layer.crossbar.replace(source="") for layer in analog_layers(made)}
    assert made_on == {name: one for name, one in layers.items() if one is not None}
    assert load_accelerator(tmp_path / "hardware_accelerator.yaml") == chip
    with pytest.raises(UnknownNameError, match="analog layer"):
        named_hardware(model, {"preset": "aon_cim_6bit", "layers": {"nowhere": "digital"}})
    for wrong in ({"preset": "aon_cim_6bit", "layers": ["a"]}, {"preset": "aon_cim_6bit", "layers": {"a": 6}}):
        with pytest.raises(InvalidArgumentError, match="Received"):
            HardwareByLayer.of(wrong)


def test_hardware_beyond_presets_gets_a_file_of_its_own(tmp_path: Path) -> None:
    odd = Crossbar.from_preset("aimc_standard").without("ir_drop").replace(name="odd")
    layers = {"a": odd, "b": odd.replace(adc_bits=5), "c": Crossbar.from_preset("aimc_standard").replace(dac_bits=7)}
    write_hardware(tmp_path, "hardware", layers)
    read = HardwareByLayer.of(str(tmp_path / "hardware.yaml"))
    found = {name: read.layers.get(name, read.default) for name in layers}
    assert {name: one.replace(name="", source="") for name, one in found.items()} == {
        name: one.replace(name="", source="") for name, one in layers.items()
    }


def winners_of(rows: list[dict[str, Any]], **settings_: Any) -> Winners:
    base = {"status": "ok", "error": None, "area_mm2": 1.0, "kind": "proposed", "feasible": True, "excess": {}}
    table = marked([{**base, "layers": str(number), "label": str(number), **row} for number, row in enumerate(rows)])
    return Winners(table, ("energy",), {"loss": 1.0}, **{"count": 2, "epochs": 0, **settings_})


def test_winners_are_the_best_that_keep_the_budget_when_confirmed() -> None:
    rows = [{"energy_uj": energy, "loss": 0.9} for energy in (5.0, 3.0, 1.0, 2.0, 4.0)]
    rows[0]["kind"] = "uniform 6 bit"
    really = {"0": 0.9, "1": 0.8, "2": 1.5, "3": 1.1, "4": 0.2}
    asked: list[str] = []

    def measure(points: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
        asked.extend(layers for layers, _ in points)
        return [{"status": "ok", "error": None, "loss": really[one], "epochs": count} for one, count in points]

    found = winners_of(rows)
    found.confirm(measure)
    assert asked == ["0", "2", "3", "1", "4"], "reference, the best two, and more, for these lose too much"
    assert found.chosen()["label"] == "1" and found.reference_row(0)["loss"] == 0.9
    confirmed = dict(really)
    really.update({"0": 0.7, "1": 1.2, "4": 0.1})
    asked.clear()
    chosen, reference = found.reported(measure)
    assert asked == ["1", "0"], "the chosen one and the reference alone are measured for the report"
    assert (chosen["label"], chosen["loss"], chosen["confirmed_loss"], chosen["feasible"]) == ("1", 1.2, 0.8, False)
    assert (reference["label"], reference["loss"], reference["confirmed_loss"]) == ("0", 0.7, 0.9)
    assert found.chosen()["label"] == "1" and {row["label"]: row["loss"] for row in found.rows} == confirmed
    really.update(dict.fromkeys("01234", 2.0))
    with pytest.raises(AnalogNetsError, match=r"Nothing of 5 candidates keeps 1\.00 points: the nearest is"):
        winners_of(rows).confirm(measure)
    none = [{**row, "feasible": False, "loss": 1.2 + number} for number, row in enumerate(rows)]
    with pytest.raises(AnalogNetsError, match=r"Nothing of 5 candidates .* nearest is 0 with 5 uJ, 1 mm\^2, 1\.20"):
        winners_of(none).confirm(measure)


def test_without_optuna_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'analognets\[design\]'"):
        design("analognet_kws.hwa_6bit", tmp_path / "out", loss=1)
    assert not (tmp_path / "out").exists()


def test_folders_with_something_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    with pytest.raises(RunError, match="holds something else than a design"):
        design("analognet_kws.hwa_6bit", tmp_path, loss=1)
    with pytest.raises(RunError, match="which is a file"):
        design("analognet_kws.hwa_6bit", tmp_path / "mine.txt", loss=1)
    for wrong in ({"inner": "guess"}, {"trials": 0}, {"chips": 0}, {"ranges": "new"}, {"finetune": -1}):
        with pytest.raises(InvalidArgumentError, match="of design must be"):
            design("analognet_kws.hwa_6bit", tmp_path / "out", loss=1, **wrong)
    assert np.array_equal(sorted(item.name for item in tmp_path.iterdir()), ["mine.txt"])
