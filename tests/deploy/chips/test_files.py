"""Chips on disk: bit-equal, whole or not at all, and never taken for something else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors import SafetensorError

import analognets.deploy.chips.files as chip_files
from analognets.deploy.chips.chips import Chips, program
from analognets.devices import IdealDevice
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
