"""Malformed chips, presets, runs, sweeps, lab folders, recipes and configs; the same kind of list as `readers_data`.

Unsigned damage must be found or harmless. Signed damage (the checksums are written anew, as a program would that makes
such files) must be refused, or what was read must lie within what such a thing can hold.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def _beside(name: str) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


data = _beside("readers_data")
Rng = np.random.Generator
DEEP: Any = functools.reduce(lambda inner, _: [inner], range(300), 1)
ODD: list[Any] = [None, True, [], {}, "", "x" * 3000, "\x1b[2J\n", "../../etc/passwd", "1e300y", -1, 0, 1.5, 10**30]
ODD += [1e308, {"a.b": 1}, [[1, [2]]], {"class_name": "Lambda"}, DEEP, [1] * 5000, "analognets.__main__"]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(way for key, one in inner for way in places(one, (*path, key)))]


def mutated(rng: Rng, value: Any) -> Any:
    """Return plain data with one to three values replaced, removed, doubled or added."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        ways = [way for way in places(value) if way]
        if not ways:
            return value
        *before, last = ways[int(rng.integers(len(ways)))]
        holder = functools.reduce(lambda one, key: one[key], before, value)
        kind = int(rng.integers(4))
        if kind == 0:
            del holder[last]
        elif kind == 1 and isinstance(holder, dict):
            holder[str(rng.choice(["new", "a.b", "", "class_name", "\udcff"]))] = copy.deepcopy(holder[last])
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[last] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
    return value


def with_damage(rng: Rng, path: Path) -> None:
    """Damage the bytes of a file, or put something that is no plain file in its place."""
    whole = path.read_bytes()
    path.unlink()
    if not data.special(rng, path):
        path.write_bytes(data.damage(rng, whole, head=400))


def anywhere(rng: Rng, folder: Path) -> None:
    """Damage one file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with_damage(rng, files[int(rng.integers(len(files)))])


def rewritten(rng: Rng, path: Path) -> Any:
    """Mutate a JSON file and return what it holds now."""
    value = mutated(rng, json.loads(path.read_text("utf-8")))
    path.write_text(json.dumps(value), "utf-8")
    return value


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


def preset_input(rng: Rng, folder: Path) -> Path:
    """Damage a preset, half of the times with checksums that fit."""
    from analognets.zoo.presets.saving import save_to_preset

    place = copied("tiny.analog", lambda good: save_to_preset(network(), good, classes=["a", "b", "c"]), folder)
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


def run_input(rng: Rng, folder: Path) -> Path:
    """Damage the folder of a run."""
    import keras

    from analognets.training.recipe import load_recipe
    from analognets.training.run import Run
    from analognets.zoo.tasks import find_recipe

    def make(good: Path) -> None:
        run = Run.create(good, load_recipe(find_recipe("kws_demo").to_dict()))
        variables = [keras.Variable(np.ones(5, "float32"))]
        for epoch in (1, 2):
            run.checkpoints.save(variables, stage="float", epoch=epoch, rows=epoch, score=0.5)
        run.write_metrics([{"stage": "float", "epoch": 1}, {"stage": "float", "epoch": 2}])

    place = copied("run", make, folder)
    jsons = [place / "run.json", place / "checkpoints" / "state.json"]
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


def doubled(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    return {"double": 2 * point["x"]}


def sweep_input(rng: Rng, folder: Path) -> Path:
    """Damage the folder of a sweep."""
    from analognets.deploy.studies.sweep import sweep

    place = copied("sweep", lambda good: sweep("readers_files:doubled", [{"x": x} for x in range(4)], good), folder)
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
    table = sweep("readers_files:doubled", [{"x": x} for x in range(4)], place)
    if list(table["double"]) != [0, 2, 4, 6]:
        raise AssertionError("a row of another point was taken")


def yaml_input(source: Callable[[], str]) -> Callable[[Rng, Path], Path]:
    """Return a maker of damaged YAML: bytes, or values."""

    def make_input(rng: Rng, folder: Path) -> Path:
        from analognets.core.config import parse_yaml, write_yaml

        path, text = folder / "mine.yaml", source()
        if rng.random() < 0.5:
            path.write_text(text, "utf-8")
            with_damage(rng, path)
        elif rng.random() < 0.2:
            lines = ["a0: &a0 x", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]
            path.write_text("\n".join([text, *lines]), "utf-8")
        else:
            path.write_text(write_yaml(mutated(rng, parse_yaml(text))), "utf-8", "surrogatepass")
        return path

    return make_input


def recipe_text() -> str:
    from analognets.zoo.tasks import find_recipe

    return find_recipe("kws").to_yaml()


def design_text() -> str:
    from importlib import resources

    return (resources.files("analognets.deploy.accelerator") / "designs" / "aon_cim.yaml").read_text("utf-8")


def read_recipe(path: Path) -> None:
    from analognets.training.recipe import load_recipe

    load_recipe(path).to_yaml()


def read_design(path: Path) -> None:
    from analognets.deploy.accelerator.design import load_accelerator

    load_accelerator(str(path))


def crossbar_input(rng: Rng, folder: Path) -> Path:
    """Write the config of a crossbar with something wrong."""
    import keras

    from analognets.crossbar import get

    hardware = get(str(rng.choice(["aon_cim_8bit", "aimc_standard", "aimc_reram"])))
    config = hardware.get_config() if rng.random() < 0.5 else keras.saving.serialize_keras_object(hardware)
    path = folder / "crossbar.json"
    path.write_text(json.dumps(mutated(rng, config)), "utf-8")
    return path


def read_crossbar(path: Path) -> None:
    from analognets.crossbar import get

    hardware = get(json.loads(path.read_text("utf-8")))
    if get(hardware.get_config()) != hardware:
        raise AssertionError("a crossbar does not come back from its config")


READERS = [
    data.Reader("chips", chips_input, read_chips),
    data.Reader("hand-over", lab_input, read_lab),
    data.Reader("preset", preset_input, read_preset),
    data.Reader("run folder", run_input, read_run),
    data.Reader("sweep folder", sweep_input, read_sweep),
    data.Reader("recipe", yaml_input(recipe_text), read_recipe),
    data.Reader("accelerator", yaml_input(design_text), read_design),
    data.Reader("crossbar config", crossbar_input, read_crossbar),
]
