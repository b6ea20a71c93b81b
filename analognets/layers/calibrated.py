"""Whether a layer's converters are on: a setting that travels with the weights and takes effect in compiled models."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers.adapters import ADAPTERS, Adapters

__all__ = ["Calibrated", "check_not_quantized", "refresh_compiled", "unused_ranges"]

FLAGS = ("calibrated", "nonnegative")
"""The settings that calibration makes, by the names that files of weights have for them."""


def refresh_compiled(model: keras.Model) -> None:
    """Drop a compiled model's traced functions, so that changed layer settings take effect.

    Examples:
        >>> fresh = analognets.to_analog(model, calibrate_on=x)
        >>> outputs = fresh.predict(x, verbose=0)
        >>> fresh.get_layer("logits").seed = 1
        >>> refresh_compiled(fresh)
        >>> bool(np.allclose(fresh.predict(x, verbose=0), outputs))
        True
    """
    for name in ("train_function", "test_function", "predict_function"):
        if getattr(model, name, None) is not None:
            setattr(model, name, None)


class Calibrated(Adapters):
    """Mixin that keeps what calibration decides, beside the ranges themselves, which are variables.

    `calibrated` and `nonnegative` lie in files of weights as entries of these names; `get_weights` has the variables
    alone. A change takes effect in the models that have run the layer: their compiled functions are dropped.
    """

    _calibrated = False
    _nonnegative = False
    _callers: weakref.WeakSet[Any] | None = None
    _refusal = ""

    @property
    def calibrated(self) -> bool:
        """Whether the converter ranges have been set, and the converters are on."""
        return self._calibrated

    @calibrated.setter
    def calibrated(self, value: bool) -> None:
        """Set it; what was compiled before is forgotten."""
        before, self._calibrated = self._calibrated, bool(value)
        if self._calibrated != before:
            self.forget_traces()

    @property
    def nonnegative(self) -> bool:
        """Whether the inputs are never negative, as calibration has found."""
        return self._nonnegative

    @nonnegative.setter
    def nonnegative(self, value: bool) -> None:
        """Set it; what was compiled with the other value is forgotten."""
        before, self._nonnegative = self._nonnegative, bool(value)
        if self._nonnegative != before:
            self.forget_traces()

    def forget_traces(self) -> None:
        """Drop the compiled functions of the models that have run this layer."""
        for caller in list(self._callers or ()):
            refresh_compiled(caller)

    def note_caller(self) -> None:
        """Remember the model whose call this is."""
        caller = self._get_call_context().entry_layer
        if caller is self:
            self._maybe_reset_call_context()  # `call` may have been called by itself, outside of Keras' context
        elif isinstance(caller, keras.Model):
            if self._callers is None:
                self._callers = weakref.WeakSet()
            self._callers.add(caller)

    def enable_lora(self, rank: int, *args: Any, **kwargs: Any) -> None:
        """Add adapters of a rank beside the kernel, which is not trained from then on; see Keras' Dense."""
        super().enable_lora(rank, *args, **kwargs)
        self.forget_traces()

    def unused_ranges_set(self) -> bool:
        """Whether converter ranges have been set or trained that the layer does not use, as it passes for new."""
        return self.built and not self.calibrated and bool(np.any(_numbers(self.input_range) != 1.0))

    def save_own_variables(self, store: Any) -> None:
        for index, variable in enumerate(self.own_arrays()):
            store[str(index)] = variable
        for name, variable in self.adapters().items():
            store[name] = variable
        if self.built:
            for name in FLAGS:
                store[name] = np.uint8(getattr(self, name))

    def load_own_variables(self, store: Any) -> None:
        names = set(store.keys())
        held = {name: store[name] for name in names if name.isdigit()}
        adapters = self.adapters()
        if adapters:
            self._refusal = ""
        elif names & {*ADAPTERS}:
            self._refusal = (
                f"The weights of layer '{self.name}' hold low-rank adapters, which it has none of. Received: rank "
                f"{np.shape(store[ADAPTERS[1]])[0]}. Call layer.enable_lora(rank) before loading them."
            )
        if self._refusal and (not names or names & {*ADAPTERS}):
            # Keras tries a layer that raised a second time with an empty store, and shows the error of that one.
            raise ConversionError(self._refusal)
        if len(held) == len(self.own_arrays()):
            for index, variable in enumerate(self.own_arrays()):
                variable.assign(held[str(index)])
            for name, variable in adapters.items():
                if name in names:
                    variable.assign(store[name])
                elif name == ADAPTERS[1]:  # a file from before they were enabled: they add nothing
                    variable.assign(ops.zeros(variable.shape, variable.dtype))
        else:
            keras.layers.Layer.load_own_variables(self, held)  # says what is wrong
        if self.built:
            self.kernel_variable.constraint.refresh()
        for name in FLAGS:
            if name in names:
                setattr(self, name, bool(np.asarray(store[name])))
        if "calibrated" not in names and self.unused_ranges_set():
            warnings.warn(f"{unused_ranges([self])} The file does not say whether they are.", stacklevel=2)


def check_not_quantized(layer: Any) -> None:
    """Raise an InvalidArgumentError if Keras is to quantise a layer, which would then compute digitally."""
    mode = getattr(layer.dtype_policy, "quantization_mode", None)
    if mode is not None:
        raise InvalidArgumentError(
            f"`dtype` of {type(layer).__name__} must be a float policy, such as 'float32' or 'mixed_bfloat16', since "
            f"its weights lie on a crossbar. Received: dtype={layer.dtype_policy.name!r}."
        )


def unused_ranges(layers: list[Any]) -> str:
    """Return a sentence that some layers have converter ranges that they do not use."""
    named = ", ".join(layer.name for layer in layers[:3]) + (", ..." if len(layers) > 3 else "")
    return (
        f"{len(layers)} analog layer(s) have converter ranges that are not used, since `calibrated` is False: {named}. "
        "Set layer.calibrated = True to use these ranges, or call analognets.layers.calibrate(model, data)."
    )


def _numbers(variable: keras.Variable) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(variable)))
