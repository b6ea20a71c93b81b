"""A trained network in chips: programmed, or taken over from the devices it learned on, and the files about both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets.core.files import write_atomically
from analognets.core.report import Picture, Report
from analognets.deploy.chips.calibrations import SAME_TIME
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.chips.decisions import Decisions
from analognets.deploy.chips.figures import drift_figure
from analognets.deploy.chips.report import answer_of, drift_report
from analognets.deploy.chips.trained_arrays import from_devices
from analognets.deploy.studies.other_hardware import named_hardware, on_hardware
from analognets.deploy.studies.samples import Samples
from analognets.devices import get_drift_compensation, list_drift_compensations
from analognets.errors import ConversionError
from analognets.layers import analog_layers
from analognets.metrics import ABOUT_BOUND, Interval, chips_needed, format_interval, mean_interval
from analognets.training import device_figure
from analognets.training.report import DEVICES
from analognets.zoo.tasks import Task
from analognets.zoo.trained import TrainedNetwork, TrainedRun

__all__ = [
    "REFERENCES",
    "Measured",
    "chips_of",
    "evaluation_report",
    "network_on_chips",
    "write_evaluation",
    "write_tables",
]

REFERENCES = {"float": "float network, before training for hardware", "digital": "same weights, digital"}
"""What to call the networks of `TrainedNetwork.references`."""


def network_on_chips(
    trained: TrainedNetwork,
    compensation: str | None = None,
    device: str | None = None,
    hardware: str | None = None,
) -> keras.Model:
    """Return the model that lies on the chips: the analog one, or the one with the devices it learned on.

    Args:
        trained: where it is from.
        compensation: name of a drift compensation in place of the hardware's own; weights and ranges stay.
        device: name of a device, or path of its file, in place of the hardware's own; likewise.
        hardware: name of a preset or path of a file, such as `design` writes, in place of the trained one; likewise.

    Raises:
        ConversionError: there is none, or it names no classes; or it lies on devices, whose hardware is given.
        UnknownNameError: there is no such drift compensation.
    """
    if device is not None and trained.learned_on_devices:
        raise ConversionError(
            f"A run that learned on devices keeps them. Received: device={device!r}. Leave the device out."
        )
    if hardware is not None and trained.learned_on_devices:
        raise ConversionError(
            f"A run that learned on devices keeps its hardware. Received: hardware={hardware!r}. Leave it out."
        )
    if compensation is not None and trained.learned_on_devices:
        raise ConversionError(
            "A run that learned on devices keeps the drift compensation of its recipe. Received: "
            f"{compensation!r}. Set on_device.hardware.drift_compensation in the recipe."
        )
    network = trained.on_device_model() if trained.learned_on_devices else trained.analog_model()
    if not getattr(network, "classifies", True):
        raise ConversionError(
            f"The network of '{trained.handle}' names no classes, so it has no accuracy. Look at what it draws in "
            f"Python: analognets.training.Run.open({trained.handle!r}).on_device_model().generate(40)."
        )
    network = network if hardware is None else named_hardware(network, hardware)
    changes = {"drift_compensation": compensation, "device": device}
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        return network
    layers = {layer.name: layer.crossbar.replace(**changes) for layer in analog_layers(network)}
    return on_hardware(network, layers, ranges="kept")[0]


def chips_of(
    trained: TrainedNetwork,
    network: keras.Model,
    task: Task | None,
    *,
    chips: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Chips:
    """Programme chips, or return the one chip that learned.

    Args:
        trained: where the network is from.
        network: of `network_on_chips`.
        task: its data with the features that converter ranges are set with; for a chip that learned only.
        chips: how many to programme.
        seed: of the chips, or of the noise of their readings.
        progress: called with (done, total) after each chip.

    Raises:
        ConversionError: the devices can't be taken over.
    """
    if not trained.learned_on_devices:
        return program(network, chips=chips, seed=seed, progress=progress)
    if task is None:
        raise ConversionError(
            f"The devices that '{trained.name}' learned on are taken over with training samples of its data set. "
            "Received: no data set. Name its folder."
        )
    hardware = hardware_of(trained).crossbar()
    return from_devices(network, task.training.calibration, hardware=hardware, seed=seed)


def hardware_of(trained: TrainedNetwork) -> Any:
    """Return what the recipe of a network says about its hardware."""
    recipe: Any = trained.known_recipe()
    return (recipe.on_device if trained.learned_on_devices else recipe.hardware_aware).hardware


@dataclasses.dataclass(frozen=True)
class Measured:
    """A network, its references and its chips on one split of the data.

    Args:
        trained: what was evaluated.
        network: of `network_on_chips`.
        samples: that they decided about.
        split: of the data set; None: the samples are of no data set.
        decisions: of `Chips.decide`.
        references: which decisions each network of `TrainedNetwork.references` gets right.
        batch_norm: whether batch-norm statistics were estimated again on each chip.
        classes: of `by_class`, or None.
        compensation: drift compensation in place of the hardware's own, or None.
        adabs: the stored calibrations in use, of `Calibrations.table`, or None.
        hardware: name or file of hardware in place of the recipe's, or None.
    """

    trained: TrainedNetwork
    network: keras.Model
    samples: Samples
    split: str | None
    decisions: Decisions
    references: dict[str, np.ndarray]
    batch_norm: bool = False
    classes: pd.DataFrame | None = None
    compensation: str | None = None
    adabs: pd.DataFrame | None = None
    hardware: str | None = None

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """Accuracies and losses with intervals; the clips of one speaker count as one group."""
        return self.decisions.summary(self.references, groups=self.samples.groups)

    def about_intervals(self) -> str:
        """Return a sentence about what the intervals count."""
        samples, called = self.samples, "groups" if self.split is None else "speakers"
        spoken = f" of {samples.group_count} {called}" if any(samples.groups) else ""
        return (
            f"\N{PLUS-MINUS SIGN} is half of the 95 % interval over {len(samples)} {samples.kind}{spoken} and the "
            "chips. Losses are paired by sample. One training seed."
        )

    def about_bound(self) -> str:
        """Return a sentence about the share of chips that an accuracy is a bound for; nothing with too few chips."""
        shares = self.summary["bound_share"].dropna()
        if shares.empty:
            return ""
        return ABOUT_BOUND + ("." if shares.min() >= 0.95 else f"; to say it of 95 % takes {chips_needed(0.95)} chips.")

    def reference(self, name: str) -> Interval:
        """Return the accuracy of a reference with its interval over the samples."""
        return mean_interval(self.references[name].astype(float), self.decisions.owners(self.samples.groups))

    def shown_reference(self, name: str) -> str:
        """Return the accuracy of a reference in percent, with half of its interval."""
        found = self.reference(name)
        return f"{format_interval(found.mean, found.low, found.high, scale=100)} %"

    def calibrated_on(self) -> list[int]:
        """Return for each row of the summary on how many samples the chips calibrated their batch-norms, 0 for none."""
        rows = self.summary[["seconds", "drift_compensation"]].itertuples(index=False)
        return [samples_at(self.adabs, seconds, mode) for seconds, mode in rows]

    def accuracies(self) -> dict[str, float]:
        """Return the accuracy of each reference, as the arguments of `drift_figure`."""
        return {f"{name}_accuracy": float(right.mean()) for name, right in self.references.items()}

    def accuracy_ends(self) -> dict[str, float | None]:
        """Return the ends of the intervals of these accuracies; None where one group of samples tells nothing."""
        found = {name: self.reference(name) for name in self.references}
        ends = {f"{name}_accuracy_{end}": getattr(one, end) for name, one in found.items() for end in ("low", "high")}
        return {name: None if end != end else end for name, end in ends.items()}

    def by_sample(self) -> pd.DataFrame:
        """Return for each sample what it is, which references are right about it, and which share of chips is."""
        count, truth, classes = len(self.samples), self.decisions.truth, self.samples.classes
        known: dict[str, Any] = {"name": self.samples.names or range(count), "speaker": self.samples.groups}
        if len(truth) == count:  # else a sample has a class at each of its positions
            known["class"] = [classes[label] for label in truth] if classes else truth
        shares = {name: right.reshape(count, -1).mean(1) for name, right in self.references.items()}
        return pd.concat([pd.DataFrame({**known, **shares}), self.decisions.by_sample()], axis=1)


def samples_at(table: pd.DataFrame | None, seconds: float, mode: bool) -> int:
    """Return how many samples the calibration that counts at a time has, 0 for none; of chips that differ, the least.

    Args:
        table: of `Calibrations.table`, or None.
        seconds: since programming.
        mode: whether drift compensation is on.
    """
    if table is None:
        return 0
    past = table[(table["drift_compensation"] == mode) & (table["seconds"] <= seconds * SAME_TIME)]
    latest = past.sort_values("seconds").groupby("chip")["samples"].last()
    return int(latest.min()) if len(latest) else 0


def hardware_used(found: Measured) -> str:
    """Return the hardware that the chips lie on, on one line: the recipe's with what was named in its place."""
    rule = found.compensation
    other = "" if rule is None else f", drift_compensation {rule}"
    if found.hardware is not None:
        return Path(found.hardware).name + other + other_device(found)
    if found.trained.recipe is None:
        crossbars = dict.fromkeys(layer.crossbar.name for layer in analog_layers(found.network))
        return ", ".join(crossbars) + other + other_device(found)
    recipe = hardware_of(found.trained)
    if rule is None:
        base = recipe.described()
    else:  # it stands in all layers, in those with hardware of their own too
        layers = {name: one for name, one in recipe.layers.items() if isinstance(one, str)}
        for name, one in recipe.layers.items():
            own = {"drift_compensation": None if one.preset is None else rule} if name not in layers else {}
            if own and (one := one.model_copy(update=own)).model_dump(exclude_none=True):
                layers[name] = one
        base = recipe.model_copy(update={"drift_compensation": rule, "layers": layers}).described()
    return base + other_device(found)


def compensation_used(found: Measured) -> str:
    """Return the drift compensation of the chips by name, that of each layer if they differ; "off" without any."""
    if not found.decisions.readings["drift_compensation"].any():
        return "off"
    if found.compensation is not None:
        return found.compensation
    if found.trained.learned_on_devices:
        crossbars = [hardware_of(found.trained).crossbar()]
    else:
        crossbars = [layer.crossbar for layer in analog_layers(found.network)]
    names: dict[Any, str | None] = {get_drift_compensation(name): name for name in list_drift_compensations()}
    used = [crossbar.drift_compensation for crossbar in crossbars]
    return ", ".join(dict.fromkeys("none" if one is None else names.get(one) or type(one).__name__ for one in used))


def other_device(found: Measured) -> str:
    """Return what to say of a device that is not the trained one, with the source of a fitted one; else nothing."""
    layers = [] if found.trained.learned_on_devices else analog_layers(found.network)
    if not layers or layers[0].crossbar.device == analog_layers(found.trained.model)[0].crossbar.device:
        return ""
    device = layers[0].crossbar.device
    source = getattr(device, "source", "")
    return f", cells {type(device).__name__}{f' of {source}' if source else ''}"


def write_evaluation(folder: Path, found: Measured) -> None:
    """Write what `write_tables` and `evaluation_report` make: tables, drift.png and report.html.

    Args:
        folder: that is there.
        found: what was measured.
    """
    write_tables(folder, found)
    evaluation_report(folder, found).write(folder / "report.html")


def write_tables(folder: Path, found: Measured) -> None:
    """Write drift.csv, summary.csv and samples.csv, each complete or not at all; by_class.csv if there are classes.

    Args:
        folder: that is there.
        found: what was measured.
    """
    write_atomically(folder / "drift.csv", found.decisions.accuracies().to_csv(index=False))
    said: dict[str, Any] = {"split": found.split, "batch_norm": found.batch_norm, "compensation": found.compensation}
    said["adabs"] = found.calibrated_on()
    write_atomically(folder / "summary.csv", found.summary.assign(**said).to_csv(index=False))
    write_atomically(folder / "samples.csv", found.by_sample().to_csv(index=False, float_format="%.6g"))
    if found.classes is not None:
        write_atomically(folder / "by_class.csv", found.classes.to_csv(index=False))
    else:  # one of an earlier evaluation would not belong to the other files
        (folder / "by_class.csv").unlink(missing_ok=True)


def evaluation_report(folder: Path, found: Measured) -> Report:
    """Draw drift.png, and devices.png of a network that learned on devices, and return the report about them.

    Args:
        folder: of the figures; that is there.
        found: what was measured.
    """
    trained, samples, table = found.trained, found.samples, found.decisions.accuracies()
    recipe, hardware = trained.recipe, hardware_used(found)
    title = f"{trained.name if recipe is None else recipe.name} on {samples.name} ({hardware})"
    accuracies = found.accuracies()
    drawn = drift_figure(table, folder / "drift.png", title=title, **accuracies)
    text = f"Accuracy against the time since programming. {answer_of(found.summary)}"
    figures = [Picture(drawn, "Accuracy over drift time", text)]
    if isinstance(trained, TrainedRun) and trained.learned_on_devices:
        log = trained.run.path / "devices.csv"
        devices = found.network.optimizer.statistics()
        drawn = device_figure(devices, log if log.is_file() else None, folder / "devices.png")
        figures.append(Picture(drawn, "Devices after training", DEVICES))
    compared = {name: found.shown_reference(name) for name in found.references}
    facts = {
        **{REFERENCES[name]: share for name, share in compared.items()},
        "hardware": hardware,
        "chips": int(table["chip"].nunique()),
        "seed of the chips": ", ".join(str(seed) for seed in table["seed"].unique()[:3])
        + (" ..." if table["seed"].nunique() > 3 else ""),
        "drift compensation": compensation_used(found),
        "batch-norm re-estimated": "yes" if found.batch_norm else "no",
        **({"AdaBS, training samples": on} if (on := max(found.calibrated_on())) else {}),
        samples.kind: len(samples),
        "intervals": found.about_intervals(),
        **({"share of chips": about} if (about := found.about_bound()) else {}),
        **trained_by(trained),
    }
    return drift_report(
        title=title,
        facts=facts,
        summary=found.summary.drop(columns=list(accuracies)),
        figures=figures,
        recipe="" if recipe is None else recipe.to_yaml(),
        statement=samples.statement,
        classes=found.classes,
        notes=[found.about_intervals()],
        compared=" ".join(f"{REFERENCES[name].capitalize()}: {share}." for name, share in compared.items()),
    )


def trained_by(trained: TrainedNetwork) -> dict[str, Any]:
    """Return what is known of the training: fingerprint of the recipe, seed, and commit or version of the code."""
    if trained.recipe is None:
        return {"network": trained.handle or "in memory", "training": "not known"}
    code = trained.origin.get("git_commit") or trained.origin["versions"]["analognets"]
    return {"recipe fingerprint": trained.recipe.fingerprint(), "seed": trained.recipe.seed, "code": code}
