"""Malformed chips, presets, runs, sweeps, lab folders, recipes and configs; the same kind of list as `readers_data`.

Unsigned damage must be found or harmless. Signed damage (the checksums are written anew, as a program would that makes
such files) must be refused, or what was read must lie within what such a thing can hold.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.damage import Reader, Rng, anywhere, mutated, rewritten, with_damage


@functools.cache
def templates() -> Path:
    """Return a folder with one good thing of each kind, made once in a process."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


@functools.cache
def network() -> Any:
    import keras

    from analognets.conversion import to_analog
    from analognets.layers import calibrate, freeze_weight_range

    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 5, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(x))
    model = to_analog(keras.Model(inputs, x, name="tiny"), "aon_cim_6bit")
    freeze_weight_range(model)
    calibrate(model, np.random.default_rng(0).normal(size=(16, 6, 5, 1)).astype(np.float32))
    return model


@functools.cache
def chips() -> Any:
    from analognets.deploy.chips.chips import program

    return program(network(), 2, seed=3)


def copied(name: str, make: Callable[[Path], Any], folder: Path) -> Path:
    """Return a copy of a good folder."""
    good = templates() / name
    if not good.exists():
        make(good)
    shutil.copytree(good, folder / name)
    return folder / name


def chips_input(rng: Rng, folder: Path) -> Path:
    """Damage stored chips, half of the times with checksums that fit."""
    from safetensors.numpy import load_file, save_file

    from analognets.deploy.chips import files

    place = copied("chips", lambda good: chips().save(good), folder)
    if rng.random() < 0.4:
        anywhere(rng, place)
        return place
    path, index = place / "chip_0000.safetensors", place / "chips.json"
    if rng.random() < 0.6:
        arrays = load_file(path)
        name = str(rng.choice(sorted(arrays)))
        kind = int(rng.integers(5))
        flat = arrays[name].reshape(-1)
        if kind < 3 and flat.size:
            flat[int(rng.integers(flat.size))] = rng.choice([np.nan, np.inf, -np.inf, -1, 1e30, 1e5, 0])
        elif kind == 3:
            del arrays[name]
        else:
            arrays[name] = np.zeros(rng.integers(0, 4, int(rng.integers(0, 4))), rng.choice(["f4", "f8", "i4", "?"]))
        save_file(arrays, path)
    record = json.loads(index.read_text("utf-8"))
    record["chips"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if rng.random() < 0.5:
        record = mutated(rng, record)
    if isinstance(record, dict):
        record["sha256"] = files._index_sha256(record)
    index.write_text(json.dumps(record), "utf-8")
    return place


def read_chips(place: Path) -> None:
    from analognets.deploy.chips.chips import Chips

    found = Chips.load(place, network())
    for chip in found:
        for read in chip.read(found.layers, "1d"):
            values = np.asarray(read.kernel)
            if not np.isfinite(values).all() or np.abs(values).max() > 1e3:
                raise AssertionError("a chip computes with numbers that no device holds")


def lab_input(rng: Rng, folder: Path) -> Path:
    """Damage a hand-over folder, with measurements half of the times."""
    from analognets.deploy.lab.recording import record_simulated

    def make(good: Path) -> None:
        chips().export_targets(good)
        record_simulated(good, chips(), at="25s")

    place = copied("lab", make, folder)
    if rng.random() < 0.5:
        shutil.rmtree(place / "measured")
        (place / "measured.json").unlink()
    kind = int(rng.integers(4))
    if kind == 0:
        anywhere(rng, place)
    elif kind == 1:
        rewritten(
            rng, place / str(rng.choice([path.name for path in place.glob("*.json") if "schema" not in path.name]))
        )
    else:
        tiles = sorted(place.rglob("*.npy"))
        path = tiles[int(rng.integers(len(tiles)))]
        before = hashlib.sha256(path.read_bytes()).hexdigest()
        values = np.load(path)
        np.save(path, values * rng.choice([1e-6, 1e-3, 1e3, np.nan, -1.0]) if kind == 2 else values[..., 1:])
        for index in place.glob("*.json"):
            index.write_text(index.read_text().replace(before, hashlib.sha256(path.read_bytes()).hexdigest()))
    return place


def read_lab(place: Path) -> None:
    from analognets.deploy.chips.chips import Chips

    found = Chips.import_measured(place, network())
    wanted = [np.asarray(layer.crossbar_kernel()) for layer in found.layers]
    for chip in found:
        for read, kernel in zip(chip.read(found.layers, "1y"), wanted, strict=True):
            if not np.isfinite(np.asarray(read.kernel)).all() or np.corrcoef(
                np.ravel(read.kernel), np.ravel(kernel))[0, 1] < 0.5:  # fmt: skip
                raise AssertionError("a measured chip computes something else than its network")


def save_preset(good: Path) -> None:
    from analognets.zoo.presets.saving import save_to_preset

    save_to_preset(network(), good, classes=["a", "b", "c"])


def preset_input(rng: Rng, folder: Path) -> Path:
    """Damage a preset, half of the times with checksums that fit."""
    place = copied("tiny.analog", save_preset, folder)
    if rng.random() < 0.4:
        anywhere(rng, place)
        return place
    index = place / "preset.json"
    record = json.loads(index.read_text("utf-8"))
    if rng.random() < 0.5:
        path = place / str(rng.choice(sorted(record["files"])))
        with_damage(rng, path)
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            record["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    else:
        record = mutated(rng, record)
    index.write_text(json.dumps(record), "utf-8")
    return place


def read_preset(place: Path) -> None:
    from analognets.zoo.presets.registry import load_preset

    preset = load_preset(place)
    _ = preset.card, preset.results, preset.recipe, preset.frontend
    outputs = preset.model()(np.zeros((1, 6, 5, 1), np.float32))
    if not np.isfinite(np.asarray(outputs)).all():
        raise AssertionError("a preset with weights that are no numbers was taken")


def archive_input(rng: Rng, folder: Path) -> Path:
    """Damage a preset in a .zip: the archive, or what stands in it."""
    place = preset_input(rng, folder) if rng.random() < 0.6 else copied("tiny.analog", save_preset, folder)
    path = folder / "tiny.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(place.iterdir()):
            if file.is_file() and not file.is_symlink():
                name = file.name if rng.random() < 0.95 else str(rng.choice(["../x", "/x", "preset.json", "a/b"]))
                archive.writestr(name, file.read_bytes())
    if rng.random() < 0.4:
        with_damage(rng, path)
    return path


def run_input(rng: Rng, folder: Path) -> Path:
    """Damage the folder of a run."""
    import keras

    from analognets.training.run import Run
    from analognets.zoo.tasks import find_recipe

    def make(good: Path) -> None:
        run = Run.create(good, find_recipe("kws_demo"))
        variables = [keras.Variable(np.ones(5, "float32"))]
        for epoch in (1, 2):
            run.checkpoints.save(variables, stage="float", epoch=epoch, rows=epoch, score=0.5)
        run.write_metrics([{"stage": "float", "epoch": 1}, {"stage": "float", "epoch": 2}])

    place = copied("run", make, folder)
    jsons = [place / "run.json", place / "state.json"]
    if rng.random() < 0.5:
        anywhere(rng, place)
    else:
        rewritten(rng, jsons[int(rng.integers(2))])
    return place


def read_run(place: Path) -> None:
    import keras

    from analognets.training.run import Run
    from analognets.zoo.trained import open_trained

    run = Run.open(place)
    _ = run.status, run.finished, run.metrics(), repr(run)
    found = run.checkpoints.latest()
    variable = keras.Variable(np.zeros(5, "float32"))
    if found is not None:
        run.checkpoints.restore(found.now, [variable])
        if not (np.asarray(variable) == 1).all():
            raise AssertionError("a changed checkpoint was taken")
    open_trained(place, unfinished=True)


EARLIER = Path(__file__).resolve().parents[2] / "tests" / "earlier" / "files"
"""Folders that earlier versions wrote."""


def earlier_input(name: str) -> Callable[[Rng, Path], Path]:
    """Return a maker of damaged copies of a stored run."""

    def make_input(rng: Rng, folder: Path) -> Path:
        place = Path(shutil.copytree(EARLIER / name, folder / name))
        jsons = sorted(place.rglob("*.json"))
        if rng.random() < 0.5:
            anywhere(rng, place)
        else:
            rewritten(rng, jsons[int(rng.integers(len(jsons)))])
        return place

    return make_input


def read_earlier_run(place: Path) -> None:
    from analognets.zoo.trained import open_trained

    trained = open_trained(place, unfinished=True)
    _ = trained.classes, trained.run.metrics(), trained.run.checkpoints.latest()
    if trained.run.finished:
        check_outputs(trained.float_model())


def check_outputs(model: Any) -> None:
    """Raise unless a network gives finite outputs for zeros."""
    import keras

    given = [np.zeros((1, *(size or 1 for size in one.shape[1:])), one.dtype) for one in model.inputs]
    for found in keras.tree.flatten(model(given if len(given) > 1 else given[0])):
        if not np.isfinite(np.asarray(found)).all():
            raise AssertionError("a network with weights that are no numbers was taken")


def read_spiking_run(place: Path) -> None:
    from analognets.cli._console import Reporter
    from analognets.cli._spiking import show_run
    from analognets.zoo.experiments.spiking_recipe import KINDS, task_of

    task = task_of(place / "recipe.yaml")
    run = KINDS.get(task or "", KINDS["letters"]).open(place)
    _ = run.status, run.metrics(), run.checkpoints.latest()
    show_run(Reporter(quiet=True), run)


TASK, SWEPT = "benchmarks.fuzz.files:doubled", [{"x": x} for x in range(4)]


def doubled(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    return {"double": 2 * point["x"]}


def sweep_input(rng: Rng, folder: Path) -> Path:
    """Damage the folder of a sweep."""
    from analognets.deploy.studies.sweep import sweep

    place = copied("sweep", lambda good: sweep(TASK, SWEPT, good), folder)
    rows = sorted((place / "points").iterdir())
    kind = int(rng.integers(3))
    if kind == 0:
        anywhere(rng, place)
    elif kind == 1:
        rewritten(rng, place / "sweep.json")
    else:
        one, other = rng.permutation(4)[:2]
        content = rows[one].read_bytes()
        rows[one].write_bytes(rows[other].read_bytes())
        rows[other].write_bytes(content)
    return place


def read_sweep(place: Path) -> None:
    from analognets.deploy.studies.sweep import load_results, sweep

    table = load_results(place)
    if len(table) and not (table["double"] == 2 * table["x"]).all():
        raise AssertionError("a row of another point was taken")
    table = sweep(TASK, SWEPT, place)
    if list(table["double"]) != [0, 2, 4, 6]:
        raise AssertionError("a row of another point was taken")


READERS = [
    Reader("chips", chips_input, read_chips),
    Reader("hand-over", lab_input, read_lab),
    Reader("preset", preset_input, read_preset),
    Reader("preset archive", archive_input, read_preset),
    Reader("run folder", run_input, read_run),
    Reader("run on devices", earlier_input("run_on_device_stopped"), read_earlier_run),
    Reader("finished run", earlier_input("run_pictures"), read_earlier_run),
    Reader("letters run", earlier_input("run_letters"), read_spiking_run),
    Reader("digits run", earlier_input("run_digits"), read_spiking_run),
    Reader("sweep folder", sweep_input, read_sweep),
]
"""Folders and archives that this package writes."""
