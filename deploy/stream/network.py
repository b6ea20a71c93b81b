"""The network that a stream runs through: on a chip at a time, or digital; its outputs as posteriors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import scipy.special

from analognets.core.seeds import derive_seed
from analognets.deploy.chips.batch_norm import held_statistics
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.chips.compiled import compiled
from analognets.deploy.chips.runtime import NOISY_BATCH
from analognets.deploy.export.output_kind import output_kind
from analognets.deploy.studies.evaluate import network_on_chips
from analognets.errors import ConversionError, InvalidArgumentError, check_choice, check_integer
from analognets.layers.noise_realization import NoiseRealization
from analognets.units import parse_duration
from analognets.zoo.trained import TrainedNetwork

__all__ = ["PLACES", "ChipNetwork", "DigitalNetwork", "StreamNetwork", "network_for"]

PLACES = ("chip", "digital", "float")
"""What a network can run on: a programmed chip; the same weights, digital; the float network from before."""


class StreamNetwork:
    """A network whose outputs are taken window by window.

    Args:
        model: with one output, (batch, classes): logits, or probabilities of a softmax.
        classes: how many there must be.

    Raises:
        ConversionError: the model has several outputs or another number of classes.
    """

    def __init__(self, model: keras.Model, classes: int) -> None:
        inputs, outputs = (getattr(model, name, None) for name in ("input_shape", "output_shape"))
        if not isinstance(inputs, tuple) or not isinstance(outputs, tuple) or outputs[1:] != (classes,):
            raise ConversionError(
                f"A stream needs a network with one input and one output for each of its {classes} classes. Received: "
                f"'{model.name}' with inputs of shape {inputs} and outputs of shape {outputs}."
            )
        self.model = model
        self.logits = output_kind(model)["logits"]

    def outputs(self, windows: np.ndarray, first: int) -> np.ndarray:
        """Return the outputs for some windows, of which the first has this number in its stream."""
        raise NotImplementedError

    def posteriors(self, windows: np.ndarray, first: int = 0) -> np.ndarray:
        """Return the probabilities of the classes, float32 (windows, classes).

        Args:
            windows: features (windows, frames, coefficients, 1).
            first: number of the first one in its stream; noise of products depends on it.

        Raises:
            InvalidArgumentError: the windows don't fit the network, or an output is NaN.
        """
        wanted = tuple(self.model.input_shape)[1:]
        if len(wanted) != windows.ndim - 1 or any(
            a not in (None, b) for a, b in zip(wanted, windows.shape[1:], strict=True)
        ):
            raise InvalidArgumentError(
                f"The network '{self.model.name}' takes features of shape {wanted}. Received: {windows.shape[1:]}."
            )
        if not len(windows):
            return np.zeros((0, self.model.output_shape[-1]), np.float32)
        outputs = self.outputs(windows, first)
        if np.isnan(outputs).any():
            raise InvalidArgumentError(
                f"The network '{self.model.name}' gave NaN for a window of the stream. Look for NaN in its weights."
            )
        return (scipy.special.softmax(outputs, axis=1) if self.logits else np.clip(outputs, 0, 1)).astype(np.float32)


class DigitalNetwork(StreamNetwork):
    """A plain Keras network.

    Args:
        model: see `StreamNetwork`.
        classes: likewise.
    """

    MOST = 500

    def __init__(self, model: keras.Model, classes: int) -> None:
        super().__init__(model, classes)
        self._function = compiled(self._call, model)

    def _call(self, windows: Any) -> Any:
        return self.model(windows, training=False)

    def outputs(self, windows: np.ndarray, first: int) -> np.ndarray:
        """Return the outputs."""
        pieces = [windows[start : start + self.MOST] for start in range(0, len(windows), self.MOST)]
        return np.concatenate(
            [keras.ops.convert_to_numpy(self._function(keras.ops.convert_to_tensor(piece))) for piece in pieces]
        )


class ChipNetwork(StreamNetwork):
    """A network on programmed chips, read at one time after the other; `load` comes first.

    The noise of products on noisy hardware depends on chip, time and number of the window, not on the blocks in which
    the stream comes: products are computed for 50 windows at a time, each at its place. Batch-norms hold the statistics
    of the chip's latest stored calibration up to the time of the reading (AdaBS), if there is one.

    Args:
        chips: from `analognets.deploy.program` or `Chips.load`.
        classes: see `StreamNetwork`.
        batch_size: most windows of a call.
    """

    def __init__(self, chips: Chips, classes: int, *, batch_size: int = 100) -> None:
        super().__init__(chips.model, classes)
        self.chips = chips
        self._runner = chips.runner(batch_size=batch_size)
        self._noisy = any(not layer.crossbar.plain for layer in chips.layers)
        self._reads: list[NoiseRealization] = []
        self._statistics: Any = None
        self._compensation = True
        self._group = -1

    def load(self, at: str | float, *, chip: int = 0, drift_compensation: bool = True) -> ChipNetwork:
        """Take the weights of a chip as read at a time, and return the network.

        Args:
            at: time since programming, such as "1d", or seconds.
            chip: which one, from 0.
            drift_compensation: as in `Chips.predict`.

        Raises:
            InvalidArgumentError: there is no such chip, `at` is no time, or a calibration is of another model.
        """
        check_integer("a stream", "chip", chip, 0, len(self.chips) - 1)
        one = self.chips.chips[chip]
        self._reads = one.read(self.chips.layers, at)
        self._compensation = drift_compensation
        self.chips.calibrations.check(self.model)
        stored = self.chips.calibrations.at(one.number, parse_duration(at), drift_compensation)
        self._statistics = None if stored is None else stored.statistics
        self._load(0)
        return self

    def _load(self, group: int) -> None:
        """Take the weights with the noise of the products of a group of windows."""
        reads = self._reads if not group else [
            dataclasses.replace(read, seed=derive_seed(read.seed, "stream", group)) for read in self._reads
        ]  # fmt: skip
        with held_statistics(self.model, self._statistics):
            self._runner.load(reads, drift_compensation=self._compensation)
        self._group = group

    def outputs(self, windows: np.ndarray, first: int) -> np.ndarray:
        """Return the outputs."""
        with held_statistics(self.model, self._statistics):
            return self._outputs(windows, first)

    def _outputs(self, windows: np.ndarray, first: int) -> np.ndarray:
        if not self._noisy:
            return self._runner.predict(np.repeat(windows, 2, axis=0) if len(windows) == 1 else windows)[: len(windows)]
        found, done = [], 0
        while done < len(windows):
            group, place = divmod(first + done, NOISY_BATCH)
            count = min(NOISY_BATCH - place, len(windows) - done)
            if group != self._group:
                self._load(group)
            call = np.zeros((NOISY_BATCH, *windows.shape[1:]), np.float32)
            call[place : place + count] = windows[done : done + count]
            found.append(self._runner.predict(call)[place : place + count])
            done += count
        return np.concatenate(found)


def network_for(
    trained: TrainedNetwork,
    on: str | None = None,
    *,
    at: str | float = "25s",
    seed: int = 0,
    chip: int = 0,
    chips: Chips | None = None,
    classes: Sequence[str] | None = None,
    compensation: str | None = None,
    drift_compensation: bool = True,
) -> StreamNetwork:
    """Return a trained network ready for a stream.

    Args:
        trained: from `open_trained`.
        on: one of `PLACES`; None: a chip if the network was trained for hardware, else digital.
        at: time since programming of the read.
        seed: of the chips.
        chip: which chip of that seed, or of `chips`.
        chips: programmed chips of this network, with what they have stored; None: new ones.
        classes: names of its outputs, where the network knows none.
        compensation: name of a drift compensation in place of the hardware's.
        drift_compensation: whether outputs are scaled back at all.

    Raises:
        ConversionError: it names no classes, or there is no such network: nothing was trained for hardware, or the
            float network is not kept.
        InvalidArgumentError: an option is not allowed.

    Examples:
        >>> trained = analognets.zoo.trained.open_trained("analognet_kws.hwa_8bit")
        >>> network = network_for(trained, on="digital")
        >>> network.posteriors(np.zeros((3, 49, 10, 1), "float32")).shape
        (3, 12)
    """
    place = on or ("chip" if trained.is_analog else "digital")
    check_choice("a stream", "on", place, PLACES)
    count = len(trained.classes if classes is None else classes)
    if not count:
        raise ConversionError(
            f"The {trained.kind} '{trained.name}' names no classes, so no word can be reported. Give their names as "
            "`classes`, in the order of the outputs."
        )
    if place == "digital":
        return DigitalNetwork(trained.digital_model(), count)
    if place == "float":
        references = trained.references()
        if "float" not in references and trained.is_analog:
            raise ConversionError(
                f"The {trained.kind} '{trained.name}' holds no float network from before training for hardware. Use "
                "its weights digitally (--on digital), or open the run it was made by."
            )
        return DigitalNetwork(references.get("float", trained.digital_model)(), count)
    if chips is not None:
        return ChipNetwork(chips, count).load(at, chip=chip, drift_compensation=drift_compensation)
    if trained.learned_on_devices:
        raise ConversionError(
            f"The run '{trained.name}' learned on devices, which are one chip with ranges set on its data. Listen to "
            "it with its weights as last read (--on digital)."
        )
    made = program(network_on_chips(trained, compensation), chips=chip + 1, seed=seed)
    return ChipNetwork(made, count).load(at, chip=chip, drift_compensation=drift_compensation)
