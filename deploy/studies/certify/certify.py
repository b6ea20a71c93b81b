"""A promise about the chips of a network: chips are simulated one by one until it is shown, or refuted."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.files import make_folder, write_json
from analognets.deploy.studies.certify.bench import TASK, Bench
from analognets.deploy.studies.certify.certificate import Certificate, Question, answer, most_chips, percent, question
from analognets.deploy.studies.certify.statistics import Audit
from analognets.deploy.studies.evaluate import network_on_chips
from analognets.deploy.studies.samples import Samples, check_place, samples_of
from analognets.deploy.studies.sensitivity.networks import fingerprint
from analognets.deploy.studies.sweep import sweep
from analognets.errors import (
    AnalogNetsError,
    ConversionError,
    InvalidArgumentError,
    check_choice,
    check_integer,
)
from analognets.zoo.trained import TrainedNetwork, open_trained

__all__ = ["certify"]

CHIPS, RESULT = "chips", "certificate.json"
Progress = Callable[[int, int, dict[str, Any]], None]


def certify(
    network: Any,
    *,
    min_accuracy: float,
    min_yield: float = 0.95,
    confidence: float = 0.99,
    at: str | float | Sequence[str | float] = "1y",
    chips: int | None = None,
    data: Any = None,
    data_options: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    drift_compensation: bool = True,
    compensation: str | None = None,
    device: str | None = None,
    data_uncertainty: bool = True,
    constants_uncertainty: bool = True,
    folder: Any = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Certificate:
    """Show whether a share of all chips of a network keeps an accuracy, with a confidence.

    Simulated chips are measured one after the other, until an exact sequential binomial test decides, or as many as
    allowed are counted. A wrong promise, and a wrong refusal, each have at most the probability 1 - confidence. Half of
    it is spent on the samples, if they count as drawn at random: a chip is good if the lower bound of its accuracy is
    high enough, and bad if the upper bound is too low. The chips that are needed don't depend on `chips`, so that a
    certificate that is undecided may go on with more.

    Args:
        network: folder of a run, handle of a preset, path of a .keras file, or calibrated analog model.
        min_accuracy: of a good chip, 0 to 1.
        min_yield: share of good chips that is to be shown, 0.01 to 0.999.
        confidence: 0.5 to 0.999999.
        at: times since programming, or one; a good chip has the accuracy at each of them.
        chips: most that are measured; None: 4 times the fewest that can show it.
        data: folder of real data, "synthetic", a .npz file of `inputs`, `labels` and perhaps `groups`, such arrays as a
            tuple of two or three, or None: as in training.
        data_options: further options of the data set's loader.
        split: "test" or "validation", of a data set.
        limit: most samples, spread evenly; None: all.
        seed: of the chips; they are those of `analognets.deploy.program`.
        drift_compensation: whether to scale the outputs of the tiles back.
        compensation: name of a drift compensation in place of the hardware's.
        device: name or file of a device in place of the hardware's.
        data_uncertainty: whether the accuracy is meant for all samples like these, drawn in groups such as speakers;
            False: for just these samples.
        constants_uncertainty: whether each chip has constants of another replicate of the bootstrap, where the device
            holds some (`analognets.devices.fit`); False: all have the fitted constants.
        folder: keeps what was measured, so that an interrupted call goes on, and certificate.json; None: nothing is
            kept.
        overwrite: forget what is in the folder.
        progress: called with (done, total, row) after each chip.

    Raises:
        InvalidArgumentError: a value is out of range, or chips or samples are too few for any promise.
        ConversionError: the network has no chips to programme, or it learned on devices, which are one chip.
        RunError: the folder holds another certificate or something else, is in use, or can't be written.

    Examples:
        >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)])
        >>> network.set_weights([np.eye(4)])
        >>> analog = analognets.to_analog(network, calibrate_on=np.eye(4))
        >>> found = certify(
        ...     analog, min_accuracy=0.9, min_yield=0.8, confidence=0.9, data=(np.eye(4), np.arange(4)),
        ...     data_uncertainty=False,
        ... )
        >>> print(found)
        With 90 % confidence at least 80 % of chips keep an accuracy of 90 % 1y after programming.
        >>> found.chips, found.good, round(found.yield_low, 2)
        (13, 13, 0.84)

    Source: the spending of errors is ours; bounds by Jennison and Turnbull (1983) and Korn and Graubard (1998).
    """
    given = {"min_accuracy": min_accuracy, "min_yield": min_yield, "confidence": confidence, "at": at}
    asked = question(**given, data_uncertainty=data_uncertainty)
    audit = Audit(asked.min_yield, asked.error)
    most = most_chips(chips, asked, audit.promise.fewest())
    check_integer("certify", "seed", seed, 0, 2**31 - 1)
    if limit is not None:
        check_integer("certify", "limit", limit, 1, 1 << 40)
    check_choice("certify", "split", split, ("test", "validation"))
    check_place(data)
    if folder is not None and os.path.isfile(folder):
        raise InvalidArgumentError(f"The results go into a folder. Received: '{folder}', which is a file.")
    trained, model = opened(network, compensation, device)
    samples = samples_of(trained, model, data, split=split, limit=limit, options=dict(data_options or {}))
    asked.check_samples(len(samples), samples.group_count)
    bench = Bench(
        model, samples, seed=seed, drift_compensation=bool(drift_compensation), drawn=bool(constants_uncertainty)
    )
    marks = {"network": fingerprint(model), "samples": samples.fingerprint(), "seed": seed}
    marks |= {"drift_compensation": bench.drift_compensation, "replicates": bench.replicates}
    with place_of(folder) as root:
        table = measured(root, marks, bench, audit, asked, most, overwrite, progress)
        found = written(trained, bench, audit, asked, most, table)
        if folder is not None:
            write_json(root / RESULT, found.to_dict())
    return found


def opened(network: Any, compensation: str | None, device: str | None) -> tuple[TrainedNetwork, Any]:
    """Return a trained network, and the model that lies on its chips.

    Raises:
        ConversionError: there are no chips to programme.
    """
    trained = open_trained(network, wants=("chips",))
    if trained.learned_on_devices:
        raise ConversionError(
            f"A network that learned on devices is one chip, which has no yield. Received: '{trained.handle}'. "
            "Certify a network that is programmed into chips, or use `analognets evaluate`."
        )
    return trained, network_on_chips(trained, compensation, device)


@contextlib.contextmanager
def place_of(folder: Any) -> Iterator[Path]:
    """Yield the folder for what is measured: one that goes again, if none is named."""
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
    else:
        yield make_folder(Path(folder), "folder of the certificate")


def measured(
    root: Path,
    marks: Mapping[str, Any],
    bench: Bench,
    audit: Audit,
    asked: Question,
    most: int,
    overwrite: bool,
    progress: Progress | None,
) -> pd.DataFrame:
    """Measure chips until the audit is decided, and return a row for each: chip, accuracy, low, high.

    Args:
        root: folder; chips that are stored there are not measured again.
        marks: tell these chips from others.
        bench: measures.
        audit: counts.
        asked: the question.
        most: chips.
        overwrite: forget what is stored.
        progress: called with (done, total, row) after each chip.

    Raises:
        AnalogNetsError: a chip can't be measured.
    """
    points: list[dict[str, Any]] = []
    rows = []
    settings: dict[str, Any] = {"settings": marks, "context": {"bench": bench}}
    while audit.verdict == "undecided" and audit.reachable(most):
        chip = [{"chip": audit.chips, "at": seconds} for seconds in asked.times]
        table = sweep(TASK, chip, root / CHIPS, **settings, overwrite=overwrite and not points)
        points += chip
        failed = table[table["status"] != "ok"]
        if len(failed):
            raise AnalogNetsError(f"Chip {audit.chips} could not be measured: {failed['error'].iloc[0]}")
        records: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        low, high = asked.bounds(records)
        audit.count(low, high, asked.min_accuracy)
        accuracy = float(table["accuracy"].min())
        rows.append({"chip": audit.chips - 1, "accuracy": accuracy, "low": low, "high": high})
        if progress is not None:
            done = audit.chips if audit.verdict == "undecided" and audit.reachable(most) else most
            progress(done, most, {"accuracy": f"{percent(round(accuracy, 4))} %"})
    sweep(TASK, points, root / CHIPS, **settings)  # writes one table of all
    return pd.DataFrame(rows)


def written(
    trained: TrainedNetwork, bench: Bench, audit: Audit, asked: Question, most: int, table: pd.DataFrame
) -> Certificate:
    """Return the certificate of an audit that is over."""
    low, high = audit.yield_bounds()
    return Certificate(
        audit.verdict,
        answer(audit, asked),
        asked,
        most,
        audit.chips,
        audit.good,
        audit.bad,
        low,
        high,
        rests_on(trained, bench, audit, asked),
        leaves_out(bench, asked),
        table,
    )


def rests_on(trained: TrainedNetwork, bench: Bench, audit: Audit, asked: Question) -> tuple[str, ...]:
    """Return what a certificate rests on, a sentence each."""
    error = percent(asked.error)
    found = [
        f"The {trained.kind} '{trained.name}' on simulated hardware {'; '.join(hardware(bench))}.",
        f"{audit.chips} independent chips of seed {bench.seed}, counted by a sequential test that errs with a "
        f"probability of {error} % at most, whatever the yield is.",
    ]
    samples: Samples = bench.samples
    if asked.data_uncertainty:
        found.append(
            f"{samples.describe()}, which count as drawn at random: a chip keeps the accuracy if its lower bound does, "
            f"which errs with a probability of {error} %."
        )
    else:
        found.append(f"{samples.describe()}, and no others: the accuracy is meant for just these.")
    if bench.replicates:
        found.append(
            f"Each chip has constants of the device drawn from the {bench.replicates} replicates of the fit's "
            "bootstrap: the yield is over chips and over what is known of the constants."
        )
    return tuple(found)


def hardware(bench: Bench) -> list[str]:
    """Return what is known of each hardware that layers lie on: name, cells, drift compensation, non-idealities."""
    found = []
    for crossbar in (layer.crossbar for layer in bench.layers):
        device, rule = crossbar.device, crossbar.drift_compensation
        source = getattr(device, "source", "")
        cells = f"{type(device).__name__}{f' of {source}' if source else ''}"
        rule_name = type(rule).__name__ if rule is not None and bench.drift_compensation else "no drift compensation"
        effects = ", ".join(one.name for one in crossbar.nonidealities) or "none beyond converters and devices"
        found.append(f"'{crossbar.name}': cells {cells}, {rule_name}, non-idealities: {effects}")
    return list(dict.fromkeys(found))


def leaves_out(bench: Bench, asked: Question) -> tuple[str, ...]:
    """Return what a certificate does not cover, a sentence each."""
    found = ["Effects that the simulated hardware lacks, and laws of the device that differ from the real ones."]
    if not bench.replicates:
        found.append("Uncertainty of the device's constants: they are taken as exact.")
    else:
        found.append("The yield under the one true set of constants: what is shown is the mean over the replicates.")
    if asked.data_uncertainty:
        if not any(bench.samples.groups):
            found.append("Samples that depend on each other: no groups, such as speakers, are known of them.")
        found.append("Inputs of another kind than the samples: other microphones, rooms, users, classes.")
    else:
        found.append("Other samples than these.")
    if bench.samples.synthetic:
        found.append("Real data: the samples are synthetic.")
    found.append("Other trainings of the network: its weights are given.")
    found.append(f"Times other than {asked.when()}.")
    found.append("What chips of one wafer or lot share: chips count as independent.")
    return tuple(found)
