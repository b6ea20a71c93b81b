"""One point of an exploration: a network on one kind of chip, programmed, aged and measured; in whatever process."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.addresses import public_url
from analognets.deploy.studies.sweep import point_key
from analognets.errors import ConversionError, RunError

__all__ = ["Data", "Network", "load_data", "measure", "open_network"]


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained analog network with the recipe that says which data it takes.

    Args:
        name: to show.
        source: folder of a run or handle of a preset, from which it is opened again.
        recipe: its recipe.
        model: the calibrated analog model.
        data_dir: where its data were at training; None: where the loader looks.
    """

    name: str
    source: str
    recipe: Any
    model: Any
    data_dir: str | None


def open_network(source: str | Path) -> Network:
    """Open a finished run or a preset that was trained for hardware.

    Raises:
        RunError: the run is not finished.
        ConversionError: it has no analog network.
        PresetError: there is no such preset, or it is broken.
    """
    from analognets.training.run import Run
    from analognets.zoo.presets.handles import bundled
    from analognets.zoo.presets.registry import load_preset

    path = Path(source)
    if (path / "run.json").is_file():
        run = Run.open(path)
        if not run.finished:
            raise RunError(f"The run '{path}' is not finished (status: {run.status}). Train it to its end first.")
        if run.recipe.hardware_aware is None:
            raise ConversionError(f"The run '{path}' has no analog network: its recipe leaves stage 2 out.")
        folder = (run.record.get("data") or {}).get("folder")
        return Network(run.path.name, str(path.resolve()), run.recipe, run.analog_model(), folder)
    preset = load_preset(str(source))
    if not preset.is_analog or preset.recipe is None or preset.recipe.hardware_aware is None:
        raise ConversionError(
            f"The preset '{preset.name}' was not trained for hardware, so there is nothing to explore. Use one that "
            "was: `analognets zoo list` shows them."
        )
    handle = public_url(source) if str(source) in bundled() or not path.exists() else str(path.resolve())
    return Network(str(preset.name), handle, preset.recipe, preset.model(), None)


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return accuracy after programming and drift of one network on one kind of chip; a task of `sweep`."""
    from analognets.conversion import to_digital
    from analognets.deploy.chips.chips import accuracy, program

    network = open_network(point["source"])
    data = load_data(network, settings)
    if point["clip"] is None and point["eta"] is None:
        model, ranges = mapped(network.model, point, data)
        weights = "as trained"
    else:
        model, ranges = retrained(network, point, settings, data), "trained"
        weights = f"retrained {point['retrain_epochs']} epoch{'s' if point['retrain_epochs'] > 1 else ''}"
    inputs, labels = data.test
    table = program(model, chips=settings["chips"], seed=settings["seed"]).evaluate(
        (inputs, labels), at=settings["seconds"]
    )
    digital = to_digital(model)
    # Called as it is: `predict` would trace a function a point, and warn of it.
    pieces = [np.asarray(digital(inputs[first : first + 250], training=False)) for first in range(0, len(inputs), 250)]
    return {
        "accuracy": float(table["accuracy"].mean()),
        "accuracy_std": float(table["accuracy"].std(ddof=1)) if len(table) > 1 else 0.0,
        "chips": len(table),
        "samples": len(labels),
        "digital_accuracy": accuracy(labels, np.concatenate(pieces)),
        "weights": weights,
        "ranges": ranges,
    }


@dataclasses.dataclass(frozen=True)
class Data:
    """What the points of a network share.

    Args:
        job: the recipe's `analognets.zoo.tasks.Task`.
        test: features and labels.
    """

    job: Any
    test: tuple[Any, Any]


def load_data(network: Network, settings: Mapping[str, Any]) -> Data:
    """Return the data of a network's recipe, as the settings ask for; a process loads them once."""
    return _load_data(
        json.dumps(network.recipe.to_dict(), sort_keys=True),
        network.data_dir,
        json.dumps([settings["data"], settings["data_options"], settings["limit"]], sort_keys=True),
    )


@functools.lru_cache(maxsize=2)
def _load_data(recipe_text: str, data_dir: str | None, wanted: str) -> Data:
    from analognets.datasets.pipeline import features
    from analognets.datasets.registry import for_folder, stand_in
    from analognets.training.recipe import Recipe
    from analognets.zoo.tasks import prepare

    recipe = Recipe.from_dict(json.loads(recipe_text))
    folder, options, limit = json.loads(wanted)
    if folder is not None:
        name = (stand_in if folder == "synthetic" else for_folder)(recipe.dataset.name)
        recipe = recipe if name == recipe.dataset.name else recipe.replace({"dataset": name})
        data_dir = None if folder == "synthetic" else folder
    if options:
        merged = {**recipe.dataset.options, **options}
        recipe = recipe.replace({"dataset": {"name": recipe.dataset.name, "options": merged}})
    job = prepare(recipe, data_dir=None if data_dir is None else Path(data_dir))
    split = job.data.splits["test"]
    if limit is not None and limit < len(split):
        split = split.select([number * len(split) // limit for number in range(limit)])
    return Data(job, features(split, job.frontend))


def hardware_of(model: Any, point: Mapping[str, Any]) -> Any:
    """Return the crossbar of a point: the network's own with other bits and arrays."""
    from analognets.layers import analog_layers

    own = analog_layers(model)[0].crossbar
    extra = 0 if own.dac_bits is None or own.adc_bits is None else own.dac_bits - own.adc_bits
    bits = point["bits"]
    return own.replace(adc_bits=bits, dac_bits=bits + extra, rows=point["rows"], cols=point["cols"])


def mapped(model: Any, point: Mapping[str, Any], data: Data) -> tuple[Any, str]:
    """Return the network on other hardware with the same weights, and where its converter ranges are from."""
    from analognets.conversion import to_analog, to_digital
    from analognets.layers import analog_layers, calibrate

    hardware = hardware_of(model, point)
    before = analog_layers(model)
    if hardware == before[0].crossbar:
        return model, "trained"
    digital = to_digital(model)
    analog = [layer.name for layer in before]
    plain = [entry.layer for entry in to_analog(digital, hardware).conversion_report.converted]
    exempt = [name for name in plain if name not in analog]
    tall = [name for name in analog if name not in plain]
    if tall:
        raise ConversionError(
            f"Layers {', '.join(tall)} do not fit on arrays of {hardware.rows} rows: one input channel needs more. "
            "Explore taller arrays."
        )
    made = to_analog(digital, hardware, exempt=exempt)
    after = analog_layers(made)
    for layer, old in zip(after, before, strict=True):
        layer.freeze_weight_range(float(old.weight_range()))
        layer.input_range.assign(old.input_range.value)
        layer.adc_gain.gain.assign(old.adc_gain.gain.value)
        layer.calibrated = True
    own = before[0].crossbar
    same_rows = all(a.tiling.row_blocks == b.tiling.row_blocks for a, b in zip(after, before, strict=True))
    if same_rows and (own.dac_bits, own.adc_bits) == (hardware.dac_bits, hardware.adc_bits):
        return made, "trained"
    stage = data.job.recipe.hardware_aware
    calibrate(made, data.job.training.calibration, percentile=stage.calibration.percentile)
    return made, "calibrated anew"


def retrained(network: Network, point: Mapping[str, Any], settings: Mapping[str, Any], data: Data) -> Any:
    """Return the network after a short stage 2 with other clipping or noise; an interrupted one goes on."""
    from analognets.conversion import to_digital
    from analognets.training import Run, train

    hardware = hardware_of(network.model, point)
    changes: dict[str, Any] = {"float.epochs": 0, "hardware_aware.epochs": point["retrain_epochs"]}
    changes["hardware_aware.warmup_epochs"] = 0.0
    for key in ("rows", "cols", "dac_bits", "adc_bits"):
        value = getattr(hardware, key)
        changes[f"hardware_aware.hardware.{key}"] = "ideal" if value is None else value
    if point["clip"] is not None:
        changes["hardware_aware.weight_range_sigma"] = point["clip"]
    if point["eta"] is not None:
        changes["hardware_aware.weight_noise"] = point["eta"]
    recipe = data.job.recipe.replace(changes)
    trained_on = [settings["data"], settings["data_options"], network.data_dir]
    path = Path(settings["retrained"]) / point_key({**point, "data": trained_on})
    if (path / "run.json").is_file():
        run = Run.open(path)
        if run.finished and run.recipe.fingerprint() == recipe.fingerprint():
            return run.analog_model()
    run = Run.create(path, recipe, overwrite=(path / "run.json").is_file() and Run.open(path).finished)
    return train(run, model=to_digital(network.model), data=data.job.training).analog_model
