"""Chips on disk: bit-equal, whole or not at all, and never taken for something else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import analognets.deploy.chips.files as chip_files
from analognets.core import drafts
from analognets.core.files import file_sha256
from analognets.crossbar import ADCOffsetSpread, PolarityAsymmetry, StuckDevices
from analognets.deploy.chips.chips import Chips, program
from analognets.devices import PCM, CuSiO2Memristor, IdealDevice, ParallelDevices, ReRAM
from analognets.errors import ChipFileError


@pytest.fixture(scope="module")
def chips(make) -> Chips:
    return program(make("pcm", rows=20, cols=3), 2, seed=11)


@pytest.fixture
def folder(chips, tmp_path) -> Path:
    chips.save(tmp_path / "chips")
    return tmp_path / "chips"


def assert_equal(one: Chips, two: Chips) -> None:
    assert (len(one), one.seed) == (len(two), two.seed)
    for a, b in zip(one, two, strict=True):
        assert (a.number, a.seed) == (b.number, b.seed)
        for x, y in zip(a.layers, b.layers, strict=True):
            assert x.weight_max == y.weight_max
            np.testing.assert_array_equal(x.reference, y.reference)
            assert x.state.keys() == y.state.keys()
            for name in x.state:
                np.testing.assert_array_equal(x.state[name], y.state[name])


def test_saved_chips_come_back_bit_for_bit(chips, folder, samples) -> None:
    loaded = Chips.load(folder, chips.model)
    assert_equal(chips, loaded)
    for at in ("25s", "1y"):
        np.testing.assert_array_equal(loaded.predict(samples, chip=1, at=at), chips.predict(samples, chip=1, at=at))
    assert sorted(path.name for path in folder.iterdir()) == [
        "chip_0000.safetensors",
        "chip_0001.safetensors",
        "chips.json",
    ]


def test_they_fit_the_model_after_it_went_through_a_file(chips, folder, samples, tmp_path) -> None:
    chips.model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    loaded = Chips.load(folder, model)
    np.testing.assert_array_equal(loaded.predict(samples, at="1d"), chips.predict(samples, at="1d"))


@pytest.mark.parametrize("keep", [0, 7, 0.5, 0.999])
def test_a_file_cut_short_is_one_sentence(chips, folder, keep) -> None:
    path = folder / "chip_0001.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(
        ChipFileError, match=r"chip_0001\.safetensors' is not the file that was written: it was cut short"
    ):
        Chips.load(folder, chips.model)


@pytest.mark.parametrize("place", [0, 10, -1])
def test_a_changed_byte_is_found(chips, folder, place) -> None:
    path = folder / "chip_0000.safetensors"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChipFileError, match=r"cut short or changed \(sha256 differs\)"):
        Chips.load(folder, chips.model)


def test_what_is_missing_is_named(chips, folder, tmp_path) -> None:
    (folder / "chip_0001.safetensors").unlink()
    with pytest.raises(ChipFileError, match=r"Chip 1 is missing: .*chip_0001\.safetensors' does not exist"):
        Chips.load(folder, chips.model)
    (folder / "chips.json").unlink()
    for place in (folder, tmp_path / "nowhere", folder / "chip_0000.safetensors"):
        with pytest.raises(ChipFileError, match=r"holds no chips: 'chips\.json' is missing"):
            Chips.load(place, chips.model)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: text.replace('"seed": 11', '"seed": 12'),
        lambda text: text.replace('"chips"', '"chops"'),
        lambda text: text.replace('"format": 1', '"format": 3'),
    ],
)
def test_a_changed_index_is_found(chips, folder, change) -> None:
    path = folder / "chips.json"
    text = path.read_text("utf-8")
    assert change(text) != text
    path.write_text(change(text), "utf-8")
    with pytest.raises(ChipFileError, match=r"chips\.json' (is not a chip index|was changed since it was written)"):
        Chips.load(folder, chips.model)


def test_another_format_is_named(chips, folder, monkeypatch) -> None:
    monkeypatch.setattr(chip_files, "FORMAT", 2)
    with pytest.raises(ChipFileError, match="has chip format 1, this version reads 2"):
        Chips.load(folder, chips.model)


def test_chips_of_other_weights_or_hardware_are_refused(chips, folder, make) -> None:
    other = make("pcm", rows=20, cols=3)
    kernel = other.get_layer("logits").kernel
    kernel.assign(kernel.numpy() * 1.001)
    with pytest.raises(ChipFileError, match="were programmed from other weights than those of model 'small_net'"):
        Chips.load(folder, other)
    for model in (make("pcm"), make(IdealDevice(), rows=20, cols=3)):
        with pytest.raises(
            ChipFileError, match=r"are of other hardware \(custom: 20 x 3, PCM\) than model 'small_net'"
        ):
            Chips.load(folder, model)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupted_save_leaves_nothing_half_done(chips, tmp_path, monkeypatch, error, overwrite) -> None:
    target = tmp_path / "chips"
    if overwrite:
        chips.save(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()} if overwrite else {}
    saved, calls = chip_files.save_file, []

    def failing(arrays: dict, path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise error
        saved(arrays, path)

    monkeypatch.setattr(chip_files, "save_file", failing)
    with pytest.raises(type(error)):
        chips.save(target, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == (["chips"] if overwrite else [])
    if overwrite:
        assert {path.name: path.read_bytes() for path in target.iterdir()} == before


def test_a_place_that_can_not_be_written_is_one_sentence(chips, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChipFileError, match=r"can't be written to '.*chips': Not a directory\. What was there"):
        chips.save(tmp_path / "file" / "chips")

    def full(arrays: dict, path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(chip_files, "save_file", full)
    with pytest.raises(ChipFileError, match="can't be written to '.*chips': I/O error: No space left"):
        chips.save(tmp_path / "chips")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_at_the_last_move_brings_the_old_chips_back(chips, folder, tmp_path, monkeypatch) -> None:
    move, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise OSError("interrupted")
        move(source, target)

    monkeypatch.setattr(drafts, "exchange", lambda one, other: False)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="interrupted"):
        chips.save(folder, overwrite=True)
    monkeypatch.undo()
    assert_equal(Chips.load(folder, chips.model), chips)
    assert [path.name for path in tmp_path.iterdir()] == ["chips"]


def test_existing_data_is_safe(chips, folder, make, tmp_path) -> None:
    with pytest.raises(ChipFileError, match="Chips are not written over existing data.*Say overwrite=True"):
        chips.save(folder)
    other = program(chips.model, 1, seed=12)
    other.save(folder, overwrite=True)
    assert_equal(Chips.load(folder, chips.model), other)
    assert [path.name for path in tmp_path.iterdir()] == ["chips"]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("all of it")
    with pytest.raises(ChipFileError, match="Only chips are overwritten, and '.*precious' holds none"):
        chips.save(precious, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "all of it"


def test_the_index_is_plain_json_and_names_hardware_and_layers(chips, folder) -> None:
    index = json.loads((folder / "chips.json").read_text("utf-8"))
    assert index["layers"] == [layer.name for layer in chips.layers]
    assert index["crossbar"]["config"]["rows"] == 20
    assert index["model"] == "small_net"


def rewritten(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change the arrays of a chip and give its index the new checksums, as a program would that writes chips."""
    path, index = folder / "chip_0000.safetensors", folder / "chips.json"
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    record = json.loads(index.read_text("utf-8"))
    record["chips"][0]["sha256"] = file_sha256(path)
    index.write_text(json.dumps({**record, "sha256": chip_files._index_sha256(record)}), "utf-8")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 1e30, 1e4])
@pytest.mark.parametrize("name", ["state/conductance", "state/drift_exponent", "state/read_noise_amplitude",
                                  "reference", "weight_max"])  # fmt: skip
def test_no_device_holds_such_numbers(chips, folder, name, value) -> None:
    if "conductance" not in name and abs(value) <= 1e4:
        pytest.skip("such an exponent or amplitude is odd, but one")
    rewritten(folder, lambda arrays: arrays[f"0/{name}"].reshape(-1).__setitem__(0, value))
    with pytest.raises(ChipFileError, match=r"must lie from|NaN or infinity|must be that of the model"):
        Chips.load(folder, chips.model)


CHANGES = {
    "another shape": lambda arrays: arrays.update({"0/state/conductance": arrays["0/state/conductance"][:, 1:].copy()}),
    "one more axis": lambda arrays: arrays.update({"0/state/conductance": arrays["0/state/conductance"][None].copy()}),
    "doubles": lambda arrays: arrays.update({"0/reference": arrays["0/reference"].astype(np.float64)}),
    "whole numbers": lambda arrays: arrays.update({"0/state/conductance": arrays["0/state/conductance"].astype(int)}),
    "a missing state": lambda arrays: arrays.pop("0/state/conductance"),
    "a missing exponent": lambda arrays: arrays.pop("0/state/drift_exponent"),
    "a missing range": lambda arrays: arrays.pop("1/weight_max"),
    "another reference": lambda arrays: arrays.update({"0/reference": np.ones((7, 7), np.float32)}),
    "no range": lambda arrays: arrays.update({"0/weight_max": np.zeros((0,))}),
    "strange names": lambda arrays: arrays.update({"0/state/": np.zeros(3, np.float32)}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_does_not_fit_the_devices_is_refused(chips, folder, change) -> None:
    rewritten(folder, change)
    with pytest.raises(ChipFileError):
        Chips.load(folder, chips.model)


@pytest.mark.parametrize("entry", [{"number": "x"}, {"number": -1}, {"seed": 1.5}, {"file": "../a"}, {"sha256": None},
                                   {"number": 1}, {"file": []}])  # fmt: skip
def test_an_index_that_is_none_is_refused(chips, folder, entry) -> None:
    index = folder / "chips.json"
    record = json.loads(index.read_text("utf-8"))
    record["chips"][0].update(entry)
    index.write_text(json.dumps({**record, "sha256": chip_files._index_sha256(record)}), "utf-8")
    with pytest.raises(ChipFileError, match="is not a chip index|must name each chip"):
        Chips.load(folder, chips.model)


@pytest.mark.parametrize(
    "crossbar", [{}, {"class_name": []}, {"rows": {}}, {"class_name": "x", "config": 3}, {"a.b": 1}]
)
def test_hardware_that_is_none_is_refused(chips, folder, crossbar) -> None:
    index = folder / "chips.json"
    record = {**json.loads(index.read_text("utf-8")), "crossbar": crossbar}
    index.write_text(json.dumps({**record, "sha256": chip_files._index_sha256(record)}), "utf-8")
    with pytest.raises(ChipFileError, match="names hardware that can't be read|are of other hardware"):
        Chips.load(folder, chips.model)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 5000, '"\\ud800"', "1" * 10_000])
def test_json_that_is_none(chips, folder, text) -> None:
    (folder / "chips.json").write_text(text)
    with pytest.raises(ChipFileError, match="is not a chip index|was changed"):
        Chips.load(folder, chips.model)


def test_a_pipe_is_not_waited_for(chips, folder) -> None:
    for name in ("chip_0000.safetensors", "chips.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(ChipFileError, match="no regular file"):
            Chips.load(folder, chips.model)


def test_chips_are_read_when_they_are_asked_for(chips, folder, samples) -> None:
    loaded = Chips.load(folder, chips.model)
    assert [chip.number for chip in loaded.chips[:]] == [0, 1] and loaded.chips[-1].number == 1
    with pytest.raises(IndexError):
        loaded.chips[2]
    assert loaded.chips[1] is loaded.chips[1]
    rewritten(folder, lambda arrays: arrays["0/reference"].fill(1.0))
    with pytest.raises(ChipFileError, match="sha256 differs"):
        loaded.predict(samples, chip=0)


@pytest.mark.parametrize("hardware", ["pcm", IdealDevice(), PCM(programming_noise_scale=30.0), ReRAM(),
                                      PCM(read_noise="coherent"), CuSiO2Memristor(),
                                      ParallelDevices(device=PCM(), copies=3), "realistic"])  # fmt: skip
def test_what_devices_hold_is_taken(make, tmp_path, hardware) -> None:
    settings = {}
    if hardware == "realistic":
        settings = {"nonidealities": [StuckDevices(0.2), PolarityAsymmetry(0.1), ADCOffsetSpread(0.1)]}
        hardware = "pcm"
    chips = program(make(hardware, rows=20, cols=3, **settings), 2, seed=3)
    chips.save(tmp_path / "chips")
    assert_equal(chips, Chips.load(tmp_path / "chips", chips.model))
