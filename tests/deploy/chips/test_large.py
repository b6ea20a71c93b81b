"""Large networks: the same chips layer by layer and in pieces, in files, from datasets that are never whole."""

from __future__ import annotations

import errno
import os
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.conversion import to_analog
from analognets.core import memory
from analognets.core.stored_arrays import StoredArray
from analognets.crossbar import ADCOffsetSpread, PolarityAsymmetry, StuckDevices
from analognets.deploy.chips import pieces, programming, samples, stored
from analognets.deploy.chips.chips import Chips, program
from analognets.devices import PCM, ParallelDevices
from analognets.errors import ChipFileError, InvalidArgumentError, MemoryShortError, RunError

HARDWARE: dict[str, Any] = {
    "plain": ("pcm", {}),
    "several devices, coherent noise": (ParallelDevices(device=PCM(read_noise="coherent"), copies=2), {}),
    "realistic": ("pcm", {"nonidealities": [StuckDevices(0.2), PolarityAsymmetry(0.1), ADCOffsetSpread(0.1)]}),
    "ranges by tile, no compensation": ("pcm", {"weight_scale": "tile", "drift_compensation": None}),
}


@pytest.fixture
def large(monkeypatch) -> None:
    """Let every model count as large, its pieces be small and its chips stay in their files."""
    monkeypatch.setattr(programming.ChipArithmetic, "large_from", 1)
    monkeypatch.setattr(programming, "_arithmetic", {})
    monkeypatch.setattr(pieces, "PIECE", 48)
    monkeypatch.setattr(stored, "LARGE_FILE", 1)


@pytest.fixture(scope="module")
def model(make) -> keras.Model:
    return make("pcm", rows=20, cols=3)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(["normal", "uniform"]), seed=st.integers(0, 2**31 - 3), start=st.integers(0, 900),
       count=st.integers(1, 100))  # fmt: skip
def test_a_piece_draws_what_the_whole_array_draws(kind, seed, start, count) -> None:
    whole = getattr(keras.random, kind)((10, 100), seed=seed).numpy().reshape(-1)
    np.testing.assert_array_equal(pieces.drawn_span(kind, seed, start, count)[: 1000 - start], whole[start:][:count])


@pytest.mark.parametrize(("device", "more"), HARDWARE.values(), ids=HARDWARE)
def test_a_chip_in_pieces_and_in_a_file_is_the_chip(make, tmp_path, request, device, more) -> None:
    model = make(device, rows=20, cols=3, **more)
    small = program(model, 2, seed=11)
    wanted = [np.asarray(read.kernel) for read in small.chips[1].read(small.layers, "1d")]
    small.save(tmp_path / "saved")
    request.getfixturevalue("large")
    chips = {
        "in a folder": program(model, 2, seed=11, folder=tmp_path / "programmed"),
        "temporary": program(model, 2, seed=11),
        "loaded": Chips.load(tmp_path / "saved", model),
    }
    for path in (tmp_path / "saved").iterdir():
        assert path.read_bytes() == (tmp_path / "programmed" / path.name).read_bytes()
    for found in chips.values():
        assert isinstance(found.chips[1].layers[0].state["conductance"], StoredArray)
        reads = found.chips[1].read(found.layers, "1d")
        for read, kernel, one, other in zip(reads, wanted, found.chips[1].layers, small.chips[1].layers, strict=True):
            np.testing.assert_array_equal(read.kernel, kernel)
            np.testing.assert_array_equal(one.reference, other.reference)
    layer, one = chips["loaded"].layers[0], small.chips[0].layers[0]  # as the documentation reads a chip
    found = [layer.crossbar.device.read(x.state, "1d", seed=0) for x in (chips["loaded"].chips[0].layers[0], one)]
    np.testing.assert_array_equal(*found)
    chips["temporary"].save(tmp_path / "copied")
    assert (tmp_path / "copied" / "chips.json").read_bytes() == (tmp_path / "saved" / "chips.json").read_bytes()


def test_large_files_are_checked(model, large, tmp_path) -> None:
    folder = tmp_path / "chips"
    chips = program(model, 1, seed=11, folder=folder)
    with pytest.raises(ChipFileError, match="Chips are not written over existing data"):
        program(model, 1, seed=11, folder=folder)
    path = folder / "chip_0000.safetensors"
    content, chip = path.read_bytes(), chips.chips[0]
    for changed in (content[:-5], content[:-1] + b"\0"):
        path.write_bytes(changed)
        with pytest.raises(ChipFileError, match="cut short or changed"):
            Chips.load(folder, model)
        with pytest.raises(ChipFileError, match="was changed since it was opened"):
            chip.read(chips.layers, "1d")


def test_a_disk_that_fills_up_is_one_sentence_and_nothing_is_left(model, large, tmp_path, monkeypatch) -> None:
    program(model, 1, seed=3, folder=tmp_path / "chips")
    before = {path.name: path.read_bytes() for path in (tmp_path / "chips").iterdir()}
    write, calls = os.pwrite, []

    def full(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) % 10 == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", full)
    for place in ("chips", "new"):
        with pytest.raises(ChipFileError, match=r"can't be written to '.*': No space left on device\. What was there"):
            program(model, 2, seed=4, folder=tmp_path / place, overwrite=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(RunError, match=r"folder for temporary files, .* No space left on device\. Make room there"):
        program(model, 1, seed=4)
    assert [path.name for path in tmp_path.iterdir()] == ["chips"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "chips").iterdir()} == before


def test_too_little_memory_is_one_sentence(model, tmp_path, monkeypatch) -> None:
    chips = program(model, 1)
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(30, name="wide")], name="net")
    with pytest.raises(
        MemoryShortError, match=r"Converting model 'net' needs about .* largest layer, 'net/wide'\. Rece"
    ):
        to_analog(plain)
    with pytest.raises(MemoryShortError, match=r"Programming model 'small_net' needs .* largest layer, 'conv_2'"):
        program(model, 1, folder=tmp_path / "chips")
    with pytest.raises(MemoryShortError, match="Reading a chip of model 'small_net' needs"):
        chips.predict(np.zeros((1, 7, 5, 2)))
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    found = memory.free_memory()
    assert found is None or found > 0
    for problem in (MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")):
        with pytest.raises(MemoryShortError, match="Split that layer"), memory.enough_memory("work", {"a": 1}):
            raise problem


class Batches(keras.utils.PyDataset):
    """A dataset that counts what it gives."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, *, ends: bool = True) -> None:
        super().__init__()
        self.inputs, self.labels, self.ends, self.given = inputs, labels, ends, 0

    @property
    def num_batches(self) -> int | None:
        return -(-len(self.inputs) // 7) if self.ends else None

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.given += 1
        return self.inputs[7 * index : 7 * index + 7], self.labels[7 * index : 7 * index + 7]


@pytest.mark.parametrize("hardware", ["plain", "realistic"])
def test_datasets_are_read_batch_by_batch(make, monkeypatch, hardware) -> None:
    device, more = HARDWARE[hardware]
    chips = program(make(device, rows=20, cols=3, **more), 2)
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(60, 7, 5, 2)).astype("float32"), rng.integers(0, 3, 60)
    how = {"at": ["25s", "1d"], "batch_size": 60}
    wanted = chips.decide((inputs, labels), **how)
    dataset = Batches(inputs, labels)
    assert chips.evaluate(dataset, **how).equals(wanted.accuracies()) and dataset.given == 9
    monkeypatch.setattr(samples, "HELD_BYTES", 1000)
    for batches in (Batches(inputs, labels), tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(7)):
        assert isinstance(chips._samples(batches), samples.StreamedSamples)
        found = chips.decide(batches, **how)
        np.testing.assert_array_equal(found.chosen, wanted.chosen)
        assert chips.evaluate(batches, **how).equals(wanted.accuracies()) and found.samples == 60
    shuffled = tf.data.Dataset.from_tensor_slices((inputs, labels)).shuffle(60, seed=0).batch(7)
    assert chips.evaluate(shuffled, at="25s")["accuracy"].between(0, 1).all()
    with pytest.raises(InvalidArgumentError, match=r"give its samples in one order.*Leave shuffle\(\)"):
        chips.decide(shuffled, **how)
    for endless in (Batches(inputs, labels, ends=False), shuffled.repeat()):
        with pytest.raises(InvalidArgumentError, match="must have an end"):
            chips.evaluate(endless)
