"""Malformed texts: recipes, accelerators, configs of crossbars and devices, times, overrides, handles."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analognets.errors import AnalogNetsError
from benchmarks.fuzz.damage import Reader, Rng, mutated, with_damage

__all__ = ["READERS"]


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


def spiking_text(name: str) -> Callable[[], str]:
    def text() -> str:
        from analognets.zoo.experiments.spiking_recipe import find_spiking_recipe

        return find_spiking_recipe(name).to_yaml()

    return text


def read_spiking(path: Path) -> None:
    from analognets.zoo.experiments.spiking_recipe import find_spiking_recipe, is_spiking

    is_spiking(str(path))
    find_spiking_recipe(str(path)).to_yaml()


def device_input(rng: Rng, folder: Path) -> Path:
    """Write the config of a device with something wrong."""
    import keras

    from analognets import devices

    device = devices.get(str(rng.choice(devices.list_devices())))
    path = folder / "device.json"
    path.write_text(json.dumps(mutated(rng, keras.saving.serialize_keras_object(device))), "utf-8")
    return path


def read_device(path: Path) -> None:
    from analognets import devices

    device = devices.get(json.loads(path.read_text("utf-8")))
    if devices.get(device.get_config()) != device:
        raise AssertionError("a device does not come back from its config")


WORDS = ["1e300y", "25s", "1h", "-1d", "", " ", "1", "y", "1e-400s", "nan", "inf", "٣s", "1_0s", "\x1b[2J", "1d1d", ","]
WORDS += ["seed=3", "float.epochs=[1", "a.b.c=1", "=", "float=1", "seed=1e999", "float.epochs=9" * 40, "x" * 400]
WORDS += ["model.options={a: &a [*a]}", "http://u:p@h:99999/x.zip", "https://", "hf://", "hf://a/b@..", "file:///etc"]
WORDS += ["hf://a/b", "analognet_kws", "../../x", "a\0b", "/dev/zero", "~root/x", "https://[::1/x.zip", "x" * 300]


def text_input(rng: Rng, folder: Path) -> Path:
    """Write words, some joined, one a line."""
    path = folder / "words.json"
    words = [str(rng.choice(WORDS)) for _ in range(int(rng.integers(1, 5)))]
    path.write_text(json.dumps([str(rng.choice(["", ",", ".", "#"])).join(words), words * int(rng.choice([1, 9999]))]))
    return path


def read_times(path: Path) -> None:
    from analognets.units import parse_durations

    joined, words = json.loads(path.read_text())
    for given in (joined, joined.split(","), words):
        tried(parse_durations, given)


def read_override(path: Path) -> None:
    from analognets.zoo.tasks import find_recipe

    joined, words = json.loads(path.read_text())
    recipe = find_recipe("kws_demo")
    for given in ([joined], words[:50]):
        tried(recipe.replace, given)


def read_handle(path: Path) -> None:
    from analognets.core.addresses import public_url
    from analognets.zoo.trained import open_trained

    joined, words = json.loads(path.read_text())
    for given in (joined, *words[:5]):
        if "p@" in public_url(given):
            raise AssertionError("a password was shown")
        if not given.startswith(("http", "hf")):
            tried(open_trained, given)


def paths_input(rng: Rng, folder: Path) -> Path:
    """Write the path of something that is not what it should be."""
    (folder / "loop").symlink_to("loop")
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(folder / "pipe")
    names = ["loop", "file", "folder", "pipe", "link", "nothing", "file/inside", "loop/inside", "x" * 300, "a/" * 600]
    names += ["\udcff", "a\0b", "\x1b[2J", "new\nline", "", "folder/../folder/nothing", "x" * 254]
    name = str(names[int(rng.integers(len(names)))])
    suffix = str(rng.choice(["", "", ".zip", ".keras", ".h5", ".npz", ".yaml", ".tflite"]))
    path = folder / "path.json"
    path.write_text(json.dumps([f"{folder}/{name}{suffix}" if rng.random() < 0.9 else name + suffix]))
    return path


def read_paths(path: Path) -> None:
    """Give a path to everything that takes one."""
    from analognets.conversion import load_model
    from analognets.datasets import registry
    from analognets.datasets.arrays import read_labelled
    from analognets.deploy.accelerator.design import load_accelerator
    from analognets.deploy.chips.chips import Chips
    from analognets.deploy.export.litert_file import read_litert
    from analognets.deploy.studies.sweep import load_results, sweep
    from analognets.training.recipe import load_recipe
    from analognets.training.run import Run
    from analognets.zoo.presets.registry import load_preset
    from analognets.zoo.presets.saving import save_to_preset
    from analognets.zoo.tasks import find_recipe
    from analognets.zoo.trained import open_trained
    from benchmarks.fuzz.files import SWEPT, TASK, chips, network

    [given] = json.loads(path.read_text())
    readers: list[Callable[[Any], Any]] = [open_trained, load_preset, load_model, Run.open, load_recipe, read_litert]
    readers += [load_accelerator, load_results, read_labelled]
    readers += [lambda place: Chips.load(place, network()), lambda place: Chips.import_measured(place, network())]
    kinds = ("speech_commands", "mnist", "cifar10", "audio_folder", "image_folder", "coco_vww", "visual_wake_words")
    readers += [lambda place, kind=kind: registry.load_dataset(kind, place) for kind in kinds]  # type: ignore[misc]
    writers = [chips().save, chips().export_targets, lambda place: save_to_preset(network(), place)]
    writers += [lambda place: Run.create(place, find_recipe("kws_demo")), lambda place: sweep(TASK, SWEPT, place)]
    os.chdir(path.parent)
    for call in (*readers, *writers):
        tried(call, given)
        tried(call, Path(given))
    tried(find_recipe, given)


def tried(call: Callable[[Any], Any], given: Any) -> None:
    """Call with a value, which may be refused."""
    with contextlib.suppress(AnalogNetsError):
        call(given)


READERS = [
    Reader("recipe", yaml_input(recipe_text), read_recipe),
    Reader("letters recipe", yaml_input(spiking_text("letters")), read_spiking),
    Reader("digits recipe", yaml_input(spiking_text("stdp-mnist")), read_spiking),
    Reader("accelerator", yaml_input(design_text), read_design),
    Reader("crossbar config", crossbar_input, read_crossbar),
    Reader("device config", device_input, read_device),
    Reader("times", text_input, read_times),
    Reader("overrides", text_input, read_override),
    Reader("handles", text_input, read_handle),
    Reader("paths", paths_input, read_paths),
]
"""Texts."""
