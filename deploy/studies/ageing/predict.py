"""Accuracy over time from few chips: margins linearised around the mean network, and regressed on simulated ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.stats import norm

from analognets.core.backend import check_backend
from analognets.deploy.chips.chips import program, readings_of
from analognets.deploy.chips.decisions import in_order
from analognets.deploy.chips.programming import arithmetic
from analognets.deploy.studies.ageing.check import checked, unsure
from analognets.deploy.studies.ageing.gaussian import Chosen, choose, single_probability
from analognets.deploy.studies.ageing.law import accuracy_of, law_between
from analognets.deploy.studies.ageing.margin_laws import between, mean_networks, regressions, simulated_times
from analognets.deploy.studies.ageing.margins import margins_of
from analognets.deploy.studies.ageing.mean_network import layer_laws
from analognets.deploy.studies.ageing.regression import Regression
from analognets.deploy.studies.certify.certify import opened
from analognets.deploy.studies.samples import check_place, samples_of
from analognets.errors import (
    AgeingWarning,
    ConversionError,
    InvalidArgumentError,
    check_choice,
    check_integer,
    check_number,
)
from analognets.metrics import cluster_variance
from analognets.units import DRIFT_TIMES, format_duration

__all__ = ["predict_ageing"]

Progress = Callable[[int, int], None]
SHARE, FEWEST, MOST = 0.27, 300, 1200
"""Share of all samples that gradients are taken for, and chips simulated, and between which numbers."""


def predict_ageing(
    network: Any,
    data: Any = None,
    times: str | float | Sequence[str | float] = DRIFT_TIMES,
    *,
    data_options: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    drift_compensation: bool = True,
    compensation: str | None = None,
    device: str | None = None,
    samples: int | None = None,
    rivals: int = 3,
    check_chips: int = 24,
    as_sure_as: int = 50,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return accuracy over time, its mean and spread over chips, without simulating many chips.

    A few chips are simulated at the first, the middle and the last time on some samples, more of them where decisions
    are close. Gradients of the margins of these decisions to the weights, through the converters of the mean network
    (with the conductances that devices hold on average), say to first order by how much each of these chips differs.
    With a margin m[c,s] of chip c and sample s, its gradient g[s], and the deviation d[c] of the chip's weights,

        m[c,s] = mu[s] + slope * g[s] . d[c] + rest[c,s]

    The law of d is known from the device, so margins over all chips are jointly Gaussian with the covariance
    slope^2 g[s] D g[s'] and, for each sample alone, that of the rest. The slope (below 1 where ReLU and clipping
    saturate), mu and the rest come from the simulated chips by regression; the linear part, of which the mean is known
    to be 0, takes most noise out of mu, as a control variate. Mean accuracy and its spread follow, with their standard
    errors by the jackknife over the simulated chips. Times between are interpolated in the variance of the devices.
    Without drift compensation chips are simulated at all times.

    `flag` says in a sentence where that does not hold, and then mean, std, low and high are NaN: the accuracies of the
    simulated chips differ in mean or spread from what the law says of them; what is left moves samples together; or
    the standard error is larger than 50 simulated chips (`as_sure_as`) would leave. The fewer samples, the more chips
    that takes.

    Args:
        network: folder of a run, handle of a preset, path of a .keras file, or calibrated analog model, a classifier.
        data: folder of real data, "synthetic", a .npz file of `inputs`, `labels` and perhaps `groups`, such arrays as a
            tuple of two or three, or None: as in training.
        times: since programming, text with a unit or seconds.
        data_options: further options of the data set's loader.
        split: "test" or "validation", of a data set.
        limit: most samples, spread evenly; None: all.
        drift_compensation: scale the outputs of each tile back.
        compensation: name of a drift compensation in place of the hardware's.
        device: name or file of a device in place of the hardware's.
        samples: for how many gradients are taken and chips simulated, 20 to 100000; None: 27 % of all, but 300 to 1200.
        rivals: to how many classes each decision is compared, 1 to 10.
        check_chips: how many chips are simulated, 3 to 100.
        as_sure_as: largest standard errors without a flag, as the number of simulated chips that would leave them, 2
            to 10000; a search that compares candidates may ask for less than a final figure.
        confidence: of the interval from `low` to `high`, which counts the samples as drawn at random, in groups such as
            speakers, and the error of the mean.
        seed: of the chips and the choice of samples.
        progress: called with (done, total).

    Returns:
        A row for each time: drift_compensation, seconds, at, mean, std, low, high; mean_error and std_error, their
        standard errors by the simulated chips and the choice of samples; flag; and linear_mean and linear_std, which
        are the same numbers where there is no flag, and are not to be trusted where there is one.

    Raises:
        ConversionError: the network has no analog layer, or several outputs.
        NotCalibratedError: converter ranges have not been set.
        InvalidArgumentError: a value is out of range, there are no labels, or a device has no mean or variance.
        DataError: data can't be read.

    Examples:
        >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)])
        >>> network.set_weights([np.eye(4)])
        >>> analog = analognets.to_analog(network, calibrate_on=np.eye(4))
        >>> table = predict_ageing(analog, (np.eye(4), np.arange(4)), ["1d", "1y"])
        >>> table[["at", "mean", "std", "flag"]].values.tolist()
        [['1d', 1.0, 0.0, ''], ['1y', 1.0, 0.0, '']]

    Source: our reconstruction, of the delta method for the margins of a classifier with a control variate.
    """
    if samples is not None:
        check_integer("predict_ageing", "samples", samples, 20, 100_000)
    check_integer("predict_ageing", "rivals", rivals, 1, 10)
    check_integer("predict_ageing", "check_chips", check_chips, 3, 100)
    check_integer("predict_ageing", "as_sure_as", as_sure_as, 2, 10_000)
    check_integer("predict_ageing", "seed", seed, 0, 2**31 - 1)
    check_number("predict_ageing", "confidence", confidence, 0.5, 0.999999)
    check_choice("predict_ageing", "split", split, ("test", "validation"))
    check_choice("predict_ageing", "drift_compensation", drift_compensation, (True, False))
    (on,), seconds = readings_of("predict_ageing", times, drift_compensation)
    seconds = sorted(set(seconds))
    if limit is not None:
        check_integer("predict_ageing", "limit", limit, 1, 1 << 40)
    check_labels(data)
    check_place(data)
    trained, model = opened(network, compensation, device)
    check_classifier(model)
    on_what = samples_of(trained, model, data, split=split, limit=limit, options=dict(data_options or {}))
    chips = program(model, chips=check_chips, seed=seed)
    laws = layer_laws(chips.layers, seconds, arithmetic(chips.layers).first_reading, seed)
    known = simulated_times(len(seconds), on)
    step = _Steps(progress, 2 * len(known) + (1 if on else len(known)) + len(seconds))
    found = mean_networks(chips, laws, on_what.inputs, on_what.labels, seconds, known, on, step)
    nearest = found.rivals(rivals)
    closeness = np.min([np.abs(margins_of(one, found.truth, nearest)) for one in found.scores.values()], axis=(0, 2))
    chosen = choose(closeness, samples or min(max(FEWEST, round(SHARE * len(closeness))), MOST), seed)
    fits = regressions(chips, laws, on_what.inputs, found, nearest, chosen, on, step)
    rows, flags = [], []
    rough = between(laws, seconds, sorted(found.scores))
    for time, place in enumerate(between(laws, seconds, known)):
        scores = found.scores_at(rough[time])
        mean_network = margins_of(scores, found.truth, nearest), scores
        row, errors, told = row_of(seconds[time], fits, place, chosen, mean_network, on_what.groups, confidence, seed)
        rows.append(row)
        flags.append(told or unsure(row["at"], check_chips, as_sure_as, row["std"], errors, row["std_error"]))
        step()
    return flagged(pd.DataFrame(rows), on, next((one for one in flags if one), ""))


def check_labels(data: Any) -> None:
    """Refuse inputs without labels."""
    if hasattr(data, "shape"):
        raise InvalidArgumentError(
            "Ageing is predicted from samples with labels: data=(inputs, labels), a .npz file of both, or a data set. "
            "Received: inputs without labels."
        )


def check_classifier(model: keras.Model) -> None:
    """Refuse a model whose margins can't be differentiated.

    Raises:
        ConversionError: it has several outputs.
        InvalidArgumentError: Keras runs on another backend than TensorFlow.
    """
    check_backend("Ageing is predicted")
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InvalidArgumentError(
            f"Ageing is predicted by gradients on TensorFlow. Received: the backend '{backend}'. Set "
            "KERAS_BACKEND=tensorflow, or simulate chips: program(model).evaluate(data)."
        )
    outputs = getattr(model, "outputs", None)
    if outputs is not None and len(outputs) != 1:
        raise ConversionError(
            f"Ageing is predicted for the one output of a classifier. Received: model '{model.name}' with "
            f"{len(outputs)} outputs. Simulate chips with a metric: program(model).evaluate(data, metric=...)."
        )


class _Steps:
    """Counts what is done.

    Args:
        follow: called with (done, total), or None.
        total: how many steps there are.
    """

    def __init__(self, follow: Progress | None, total: int) -> None:
        self.follow, self.total, self.done = follow, total, 0

    def __call__(self) -> None:
        self.done += 1
        if self.follow is not None:
            self.follow(self.done, self.total)


def row_of(
    seconds: float,
    fits: Mapping[int, Regression],
    place: tuple[int, int, float],
    chosen: Chosen,
    mean_network: tuple[np.ndarray, np.ndarray],
    groups: Sequence[str],
    confidence: float,
    seed: int,
) -> tuple[dict[str, Any], tuple[float, float], str]:
    """Return accuracy, spread and interval at one time, the errors by chips and by samples, and what does not hold.

    mean = sum_s P_s / n over all samples, with P_s estimated from the margin by a regression, plus the stratified mean
    of what that lacks for the chosen samples.

    Args:
        seconds: the time.
        fits: the regressions, by numbers of times.
        place: which of them the time lies between, see `between`.
        chosen: the samples of the regressions.
        mean_network: margins and scores of all samples.
        groups: of each sample.
        confidence: of the interval.
        seed: of the draws.
    """
    before, after, share = place
    count = len(fits[before].margins)
    law = law_between(fits[before], fits[after], share)
    parts = [(fits[before].without(chip), fits[after].without(chip)) for chip in range(count)]
    without = [law_between(*pair, share, whole=False) for pair in parts]
    simulated = fits[before] if before == after else None
    found = accuracy_of(law, without, chosen, seed, simulated.slope * simulated.moved if simulated else None)
    margins, scores = mean_network
    rough = single_probability(margins[:, 0], guessed(scores, margins[:, 0], law.deviation[:, 0], chosen))
    lacking = found.probability - rough[chosen.index]
    each = rough + chosen.mean(lacking)
    mean, std = float(each.mean()), found.variance**0.5
    errors = found.mean_error, chosen.variance(lacking) ** 0.5
    error = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    over_samples, _ = cluster_variance(each - mean, groups)
    half = float(norm.ppf(0.5 + confidence / 2)) * (over_samples + error**2) ** 0.5
    at = format_duration(seconds)
    row = {"seconds": seconds, "at": at, "mean": mean, "std": std, "low": mean - half, "high": mean + half}
    row |= {"mean_error": error, "std_error": found.std_error}
    told = checked(at, simulated.margins, law, found, chosen).failure() if simulated else ""
    return row, errors, told


def guessed(scores: np.ndarray, margins: np.ndarray, deviations: np.ndarray, chosen: Chosen) -> np.ndarray:
    """Return the deviation of each sample's margin, by least squares on its scores from those that are known."""
    size = np.log(scores.std(axis=1) + 1e-12)
    table = np.stack([np.ones(len(scores)), size, np.abs(margins), scores.max(axis=1)], axis=1)
    known = deviations > 1e-6 * max(deviations.max(), 1e-30)
    if known.sum() < 2 * table.shape[1]:
        return np.full(len(scores), float(deviations.mean()))
    own, targets = table[chosen.index][known], np.log(deviations[known])
    factors = np.linalg.lstsq(own, targets, rcond=None)[0]
    guess = np.exp(np.clip(table @ factors, targets.min(), targets.max()))
    guess[chosen.index] = deviations
    return guess


def flagged(table: pd.DataFrame, on: bool, sentence: str) -> pd.DataFrame:
    """Return the table with its flags; what a check refutes has no numbers but those of the linearisation by name."""
    numbers = ["mean", "std", "low", "high"]
    table.insert(0, "drift_compensation", on)
    table = table.assign(flag=sentence, linear_mean=table["mean"], linear_std=table["std"])
    if sentence:
        table[numbers] = np.nan
        warnings.warn(
            f"The prediction of ageing is not confirmed. {sentence} Simulate chips: program(model).evaluate(data).",
            AgeingWarning,
            stacklevel=3,
        )
    return in_order(table)
