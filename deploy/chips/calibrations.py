"""Stored batch-norm statistics of chips (AdaBS): per chip, per time, and which of them counts at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets.core.provenance import json_sha256, sha256_of
from analognets.deploy.chips.batch_norm import Statistics, batch_norms
from analognets.errors import InvalidArgumentError
from analognets.layers import analog_layers
from analognets.units import format_duration

__all__ = ["Calibration", "Calibrations", "digital_sha256"]

SAME_TIME = 1 + 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Batch-norm statistics that one chip measured at one time.

    A chip keeps two float32 numbers a channel of each batch-norm: `bytes` says how many bytes that is.

    Args:
        chip: its number.
        seconds: when it was measured, since programming.
        drift_compensation: whether outputs were scaled back by the drift compensation meanwhile.
        samples: how many were used.
        names: of the batch-norms, in the order of the model.
        means: of each batch-norm, one number a channel.
        variances: likewise.
        inputs: sha256 of the samples.
        model: sha256 of all that the statistics depend on beside the devices, see `digital_sha256`.
    """

    chip: int
    seconds: float
    drift_compensation: bool
    samples: int
    names: tuple[str, ...]
    means: tuple[np.ndarray, ...]
    variances: tuple[np.ndarray, ...]
    inputs: str
    model: str

    @property
    def statistics(self) -> Statistics:
        """Mean and variance of each batch-norm."""
        return list(zip(self.means, self.variances, strict=True))

    @property
    def bytes(self) -> int:
        """What a chip stores of it: mean and variance of each channel in 4 bytes each."""
        return 8 * sum(mean.size for mean in self.means)


class Calibrations:
    """The calibrations of some chips; at a time the latest one made at or before it counts, none before the first.

    Args:
        found: to begin with.
    """

    def __init__(self, found: Iterable[Calibration] = ()) -> None:
        self._found: dict[int, dict[tuple[bool, float], Calibration]] = {}
        for one in found:
            self.add(one)

    def __len__(self) -> int:
        return sum(len(of_chip) for of_chip in self._found.values())

    def __iter__(self) -> Iterator[Calibration]:
        return (one for chip in sorted(self._found) for one in self.of(chip))

    def add(self, one: Calibration) -> None:
        """Keep a calibration, in place of one of the same chip, time and mode."""
        self._found.setdefault(one.chip, {})[one.drift_compensation, one.seconds] = one

    def complete(self, others: Iterable[Calibration]) -> None:
        """Keep those of others for which there is none yet."""
        for one in others:
            self._found.setdefault(one.chip, {}).setdefault((one.drift_compensation, one.seconds), one)

    def keep(self, model: str) -> None:
        """Forget all but those made with a digital part, by its `digital_sha256`; the others are of no use to it."""
        mine = [one for one in self if one.model == model]
        self.clear()
        self.complete(mine)

    def clear(self) -> None:
        """Forget all; files stay."""
        self._found = {}

    def get(self, chip: int, seconds: float, drift_compensation: bool) -> Calibration | None:
        """Return the one that a chip made at this very time with this mode, or None."""
        return self._found.get(chip, {}).get((drift_compensation, seconds))

    def of(self, chip: int) -> list[Calibration]:
        """Return those of one chip, with drift compensation first, then by time."""
        known = self._found.get(chip, {})
        return [known[key] for key in sorted(known, key=lambda key: (not key[0], key[1]))]

    def at(self, chip: int, seconds: float, drift_compensation: bool) -> Calibration | None:
        """Return the one that counts for a chip at a time: the latest up to it with the same drift compensation.

        Args:
            chip: its number.
            seconds: since programming.
            drift_compensation: whether it is on.
        """
        known = [one for one in self.of(chip) if one.drift_compensation == drift_compensation]
        past = [one for one in known if one.seconds <= seconds * SAME_TIME]
        return past[-1] if past else None

    def check(self, model: keras.Model) -> None:
        """Raise unless the calibrations, if any, were made with the digital part that a model has now.

        Raises:
            InvalidArgumentError: they were made with another one.
        """
        now = digital_sha256(model) if self._found else ""
        if any(one.model != now for one in self):
            raise InvalidArgumentError(
                f"The stored AdaBS calibrations must be of model '{model.name}' as it is. Received: calibrations made "
                "with other weights, converter ranges or drift compensation. Calibrate again, or give adabs=False."
            )

    def table(self) -> pd.DataFrame:
        """Return a row for each calibration: chip, at, seconds, drift_compensation, samples, bytes."""
        rows = [
            (one.chip, format_duration(one.seconds), one.seconds, one.drift_compensation, one.samples, one.bytes)
            for one in self
        ]
        return pd.DataFrame(rows, columns=["chip", "at", "seconds", "drift_compensation", "samples", "bytes"])


def digital_sha256(model: keras.Model) -> str:
    """Return the sha256 of all that a model's batch-norm statistics depend on beside the devices of a chip.

    That is its hardware, and all its weights (the ranges of the converters included) but these statistics themselves.
    """
    spared = {id(one) for norm in batch_norms(model) for one in (norm.moving_mean, norm.moving_variance)}
    hardware = [keras.saving.serialize_keras_object(layer.crossbar) for layer in analog_layers(model)]
    parts: list[Any] = [json_sha256({"hardware": hardware}, finite=False)]
    for variable in model.weights:
        if id(variable) not in spared:
            value = np.asarray(keras.ops.convert_to_numpy(variable.value))
            parts += [f"{value.dtype}{value.shape}", value]
    return sha256_of(*parts)
