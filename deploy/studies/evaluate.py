"""A trained network in chips: programmed, or taken over from the devices it learned on, and the files about both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from analognets.core.files import write_atomically
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.chips.figures import drift_figure
from analognets.deploy.chips.report import write_report
from analognets.deploy.chips.trained_arrays import from_devices
from analognets.errors import ConversionError
from analognets.training import device_figure
from analognets.zoo.tasks import Task
from analognets.zoo.trained import TrainedNetwork, TrainedRun

__all__ = ["chips_of", "network_on_chips", "write_evaluation"]


def network_on_chips(trained: TrainedNetwork) -> keras.Model:
    """Return the model that lies on the chips: the analog one, or the one with the devices it learned on.

    Raises:
        ConversionError: there is none, or it names no classes.
    """
    network = trained.on_device_model() if trained.learned_on_devices else trained.analog_model()
    if not getattr(network, "classifies", True):
        raise ConversionError(
            f"The network of '{trained.handle}' names no classes, so it has no accuracy. Look at what it draws in "
            f"Python: analognets.training.Run.open({trained.handle!r}).on_device_model().generate(40)."
        )
    return network


def chips_of(
    trained: TrainedNetwork,
    network: keras.Model,
    task: Task,
    *,
    chips: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Chips:
    """Programme chips, or return the one chip that learned.

    Args:
        trained: where the network is from.
        network: of `network_on_chips`.
        task: its data; for a chip that learned with the features its converter ranges are set with.
        chips: how many to programme.
        seed: of the chips, or of the noise of their readings.
        progress: called with (done, total) after each chip.

    Raises:
        ConversionError: the devices can't be taken over.
    """
    if not trained.learned_on_devices:
        return program(network, chips=chips, seed=seed, progress=progress)
    hardware = hardware_of(trained).crossbar()
    return from_devices(network, task.training.calibration, hardware=hardware, seed=seed)


def hardware_of(trained: TrainedNetwork) -> Any:
    """Return what the recipe of a network says about its hardware."""
    recipe: Any = trained.known_recipe()
    return (recipe.on_device if trained.learned_on_devices else recipe.hardware_aware).hardware


def write_evaluation(
    folder: Path,
    trained: TrainedNetwork,
    network: keras.Model,
    task: Task,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    float_accuracy: float,
    split: str,
    batch_norm: bool,
) -> None:
    """Write drift.csv, summary.csv, drift.png and report.html, each complete or not at all.

    Args:
        folder: that is there.
        trained: what was evaluated.
        network: of `network_on_chips`.
        task: its data.
        table: of `Chips.evaluate`.
        summary: of `summarize`, with the loss.
        float_accuracy: of the float network, 0 to 1.
        split: on which both were measured.
        batch_norm: whether batch-norm statistics were estimated again on each chip.
    """
    write_atomically(folder / "drift.csv", table.to_csv(index=False))
    measured: dict[str, Any] = {"float_accuracy": float_accuracy, "split": split, "batch_norm": batch_norm}
    write_atomically(folder / "summary.csv", summary.assign(**measured).to_csv(index=False))
    recipe, chip = trained.known_recipe(), hardware_of(trained)
    hardware = ", ".join([chip.preset, *(f"{key} {value}" for key, value in chip.changes().items())])
    title = f"{recipe.name} on {task.data.info.name} ({hardware})"
    figures = [drift_figure(table, folder / "drift.png", float_accuracy=float_accuracy, title=title)]
    if isinstance(trained, TrainedRun) and trained.learned_on_devices:
        log = trained.run.path / "devices.csv"
        devices = network.optimizer.statistics()
        figures.append(device_figure(devices, log if log.is_file() else None, folder / "devices.png"))
    facts = {
        "float accuracy": f"{100 * float_accuracy:.2f} %",
        "hardware": hardware,
        "chips": int(table["chip"].nunique()),
        "batch-norm re-estimated": "yes" if batch_norm else "no",
        f"{split} {task.samples}": len(task.data.splits[split]),
        "recipe fingerprint": recipe.fingerprint(),
        "seed": recipe.seed,
        "code": trained.origin.get("git_commit") or trained.origin["versions"]["analognets"],
    }
    write_report(
        folder / "report.html",
        title=title,
        facts=facts,
        summary=summary,
        figures=figures,
        recipe=recipe.to_yaml(),
        statement=task.data.info.statement,
    )
