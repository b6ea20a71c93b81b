"""The ADC gain S that the layers of a model share."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import sys
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import keras

from analognets.errors import check_number

__all__ = ["ADCGain", "Copying", "copy_of", "copying", "current_copying", "gain_from_config", "gain_to_config"]


class PositiveRange(keras.constraints.Constraint):
    """Keep a converter's range or gain above a small positive number."""

    smallest = 1e-6

    def __call__(self, w: Any) -> Any:
        return keras.ops.maximum(w, self.smallest)


@keras.saving.register_keras_serializable(package="analognets")
class ADCGain(keras.layers.Layer):
    """One trainable number S that ties every layer's converter ranges: r_ADC = S * r_DAC * W_max.

    The full scale of the ADCs is one fixed current on the chip, so a layer can't choose it for itself. Give the same
    object to several analog layers and they share it, in training, in clones and through `.keras` files. A layer that
    is copied alone gets a gain of its own.

    Args:
        initial: value before calibration, > 0.

    Examples:
        >>> gain = ADCGain()
        >>> layers = [analognets.layers.AnalogDense(4, adc_gain=gain) for _ in range(2)]
        >>> layers[0].adc_gain is layers[1].adc_gain
        True

    Source: AnalogNets (arXiv 2111.06503), the fixed ADC gain (from memory).
    """

    def __init__(self, initial: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**{"name": "adc_gain", **kwargs})
        self.initial = check_number("ADCGain", "initial", initial, PositiveRange.smallest, 1e9)
        self.gain = self.add_weight(
            name="gain",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            constraint=PositiveRange(),
            dtype="float32",
            autocast=False,
        )
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def follow_users(self) -> None:
        """Train the number as long as one of the layers that share it is trained, unless it is frozen itself."""
        self.gain.trainable = self._trainable and any(user.trainable for user in self.users if user.built)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), "initial": self.initial}


@dataclasses.dataclass(eq=False)
class Copying:
    """The gains of one call that writes, reads or clones models: layers that share one in there share its copy.

    Args:
        written: the gains met, by their number in the configs.
        read: the copies made of them, by the mark in the configs.
    """

    written: list[tuple[ADCGain, Any]] = dataclasses.field(default_factory=list)
    read: dict[Any, ADCGain] = dataclasses.field(default_factory=dict)

    def mark(self, gain: ADCGain) -> Any:
        """Return what tells a gain from the others of this call: their number, in the order in which they are met."""
        for known, mark in self.written:
            if known is gain:
                return mark
        taken = {mark for _, mark in self.written}
        mark = next(number for number in range(len(taken) + 1) if number not in taken)
        self.written.append((gain, mark))
        return mark

    def copy(self, mark: Any, config: dict[str, Any]) -> ADCGain:
        """Return the one copy of a gain in this call."""
        if mark not in self.read:
            self.read[mark] = keras.saving.deserialize_keras_object(config)
            self.written.append((self.read[mark], mark))
        return self.read[mark]


_chosen: contextvars.ContextVar[Copying | None] = contextvars.ContextVar("copying", default=None)


@contextlib.contextmanager
def copying(within: Copying | None = None) -> Iterator[Copying]:
    """While active, all layers that are copied or read belong together, as those of one model.

    Args:
        within: goes on with an earlier one; None: the present one, or a new one.
    """
    now = within or current_copying()
    token = _chosen.set(now)
    try:
        yield now
    finally:
        _chosen.reset(token)


_CALLS = {
    "get_config", "from_config", "clone_model", "serialize_keras_object", "deserialize_keras_object", "save_model",
    "load_model", "to_json", "model_from_json",
}  # fmt: skip
_NOTES = "adc gains of this call"


def _writes_or_reads(frame: FrameType) -> bool:
    """Whether a call is one of Keras' that write, read or clone models, or a layer's own config method."""
    name = frame.f_code.co_name
    if name not in _CALLS:
        return False
    if frame.f_globals.get("__name__", "").startswith("keras."):
        return True
    owner = frame.f_locals.get("cls", frame.f_locals.get("self"))
    return issubclass(owner if isinstance(owner, type) else type(owner), keras.layers.Layer)


def current_copying() -> Copying:
    """Return the notes of the outermost call that writes, reads or clones models now; a new one outside of any.

    Neither `clone_model` nor `from_config` tells a layer which model it is made for, so it is the stack of calls that
    says so. The notes are kept with the call's local variables and end with it.
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    frame: FrameType | None = sys._getframe(1)
    outermost = None
    while frame is not None:
        if _writes_or_reads(frame):
            outermost = frame
        frame = frame.f_back
    return Copying() if outermost is None else outermost.f_locals.setdefault(_NOTES, Copying())


def copy_of(gain: ADCGain) -> ADCGain:
    """Return the one copy of a gain in what is copied now."""
    return gain_from_config(gain_to_config(gain))


def gain_to_config(gain: ADCGain) -> dict[str, Any]:
    """Return the config of a layer's ADC gain, with a number by which the layers that share it find each other again.

    The number is the gain's place in the model that is being written: equal models have equal configs.
    """
    config = keras.saving.serialize_keras_object(gain)
    config = {key: value for key, value in config.items() if key != "shared_object_id"}  # an address of this process
    return {**config, "shared": current_copying().mark(gain)}


def gain_from_config(config: dict[str, Any]) -> ADCGain:
    """Return the ADC gain of a config: one object for all layers of a model that shared it, and for no others.

    Args:
        config: of `gain_to_config`; files of earlier versions mark shared gains by "shared_object_id".
    """
    config = {key: value for key, value in config.items() if key != "layer"}
    marks = [config.pop(name, None) for name in ("shared", "shared_object_id")]
    mark = next((mark for mark in marks if mark is not None), None)
    return keras.saving.deserialize_keras_object(config) if mark is None else current_copying().copy(mark, config)
