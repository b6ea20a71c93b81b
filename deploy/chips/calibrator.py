"""Letting a chip measure its batch-norm statistics: the samples, checked once, and what is done already."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.core.provenance import sha256_of
from analognets.deploy.chips.batch_norm import batch_norms, check_measurable, estimated_statistics
from analognets.deploy.chips.calibrations import Calibration, digital_sha256
from analognets.deploy.chips.chip import Chip
from analognets.deploy.evaluation import samples_in
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import analog_layers
from analognets.layers.input_data import all_inputs

__all__ = ["Calibrator", "check_can_calibrate"]

FEWEST = 2
"""Samples that have a variance."""


class Calibrator:
    """Measures the batch-norm statistics of chips of one model on the same samples.

    Args:
        model: the calibrated analog model.
        data: samples, as `analognets.layers.calibrate` takes them; labels are left out.

    Raises:
        ConversionError: the model has no batch-norm.
        InvalidArgumentError: there are too few samples, some are not finite, they don't fit the model, or it has layers
            that a pass in training mode does not measure (see `check_measurable`).
    """

    def __init__(self, model: keras.Model, data: Any) -> None:
        self.model = model
        self.layers = analog_layers(model)
        self.inputs = checked_inputs(model, data)
        self.samples = samples_in(self.inputs)
        self.names = tuple(norm.name for norm in check_can_calibrate(model, self.samples))
        check_measurable(model, self.inputs)
        self.inputs_sha256 = inputs_sha256(self.inputs)
        self.model_sha256 = digital_sha256(model)

    def completed(self, known: Calibration | None, chip: Chip, seconds: float, drift_compensation: bool) -> Calibration:
        """Return what a chip has measured already, if these samples and this model would give it again, or measure it.

        Args:
            known: what there is for this chip, time and mode, or None.
            chip: as for `calibrate`.
            seconds: likewise.
            drift_compensation: likewise.
        """
        ours = self.samples, self.inputs_sha256, self.model_sha256
        if known is not None and (known.samples, known.inputs, known.model) == ours:
            return known
        return self.calibrate(chip, seconds, drift_compensation)

    def calibrate(self, chip: Chip, seconds: float, drift_compensation: bool) -> Calibration:
        """Return the statistics of a chip at a time.

        Args:
            chip: of the model.
            seconds: since programming.
            drift_compensation: with the digital drift compensation, or with factors of 1.
        """
        reads = chip.read(self.layers, seconds)
        found = estimated_statistics(self.model, self.layers, reads, drift_compensation, self.inputs)
        return Calibration(
            chip=chip.number,
            seconds=seconds,
            drift_compensation=drift_compensation,
            samples=self.samples,
            names=self.names,
            means=tuple(mean for mean, _ in found),
            variances=tuple(variance for _, variance in found),
            inputs=self.inputs_sha256,
            model=self.model_sha256,
        )


def inputs_sha256(inputs: Any) -> str:
    """Return the sha256 of samples: an array, or a structure of arrays."""
    return sha256_of(*(part for leaf in keras.tree.flatten(inputs) for part in (f"{leaf.dtype}{leaf.shape}", leaf)))


def check_can_calibrate(model: keras.Model, samples: int) -> list[Any]:
    """Return the batch-norms of a model that can be calibrated on so many samples.

    Raises:
        ConversionError: it has none.
        InvalidArgumentError: the samples are too few.
    """
    norms = batch_norms(model)
    if not norms:
        raise ConversionError(
            f"AdaBS needs a network with batch-norm. Received: model '{model.name}', which has none (it may be folded "
            "into the weights). Leave AdaBS out, or take a drift compensation alone."
        )
    if samples < FEWEST:
        raise InvalidArgumentError(
            f"AdaBS needs at least {FEWEST} samples, because one has no variance. Received: {samples}. Give 50 or more."
        )
    return norms


def checked_inputs(model: keras.Model, data: Any) -> Any:
    """Return the samples that a model calibrates its batch-norms on, as arrays; labels are left out.

    Args:
        model: whose inputs they are.
        data: as `analognets.layers.calibrate` takes them.

    Raises:
        InvalidArgumentError: some samples are not finite, or they don't fit the model.
    """
    inputs = keras.tree.map_structure(np.ascontiguousarray, all_inputs(model, data))
    count = samples_in(inputs)
    leaves, tensors = keras.tree.flatten(inputs), getattr(model, "inputs", None) or ()
    for leaf in leaves:
        bad = ~np.isfinite(leaf).reshape(count, -1).all(axis=1)
        if bad.any():
            raise InvalidArgumentError(
                f"AdaBS needs samples of finite numbers. Received: NaN or infinity in {int(bad.sum())} of {count} "
                "samples. Leave those out."
            )
    for leaf, tensor in zip(leaves, tensors, strict=bool(tensors)):
        wanted = tuple(tensor.shape)
        fits = len(wanted) == leaf.ndim and all(a in (None, b) for a, b in zip(wanted, leaf.shape, strict=True))
        if not fits:
            raise InvalidArgumentError(
                f"AdaBS needs samples of the shape that model '{model.name}' takes, {wanted}. Received: shape "
                f"{leaf.shape}."
            )
    return inputs
