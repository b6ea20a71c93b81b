"""Cells of recurrent layers on a crossbar: one step, or all steps at once in what does not depend on the state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from analognets.layers.base import AnalogLayer
from analognets.layers.composite import AnalogComposite, assign_arrays, kernel_of, to_array
from analognets.layers.dense import AnalogDense
from analognets.layers.noise_realization import NoiseRealization, StepSeeds

__all__ = ["AnalogCell", "AnalogGRUCell", "AnalogLSTMCell", "AnalogSimpleRNNCell"]

INPUT, RECURRENT, CANDIDATE = "input", "recurrent", "candidate"


class AnalogCell(AnalogComposite):
    """Mixin for the cells: one step of a recurrent layer, or all steps at once in what does not depend on the state."""

    gates: ClassVar[int] = 1

    def __init__(self, *args: Any, prefix: str | None = None, backwards: bool = False, **kwargs: Any) -> None:
        self._prefix = prefix
        self._backwards = backwards
        self._over: list[NoiseRealization] | None = None
        super().__init__(*args, **kwargs)
        self.implementation = 2
        if hasattr(self, "dropout_mask_count"):
            del self.dropout_mask_count  # one mask for all gates: they are columns of one product

    @property
    def product_attributes(self) -> Mapping[str, str]:
        return {INPUT: "input_product", RECURRENT: "recurrent_product"}

    @property
    def product_prefix(self) -> str:
        return self._prefix or self.name

    def dense(self, name: str, settings: Any, gates: int, role: str) -> Any:
        """Return the product of a number of gates whose kernel is set by the arguments of `role`_initializer etc."""
        return self.make_product(
            name,
            settings,
            AnalogDense,
            keras.layers.Dense,
            "backwards" if self._backwards else "forwards",
            units=gates * self.units,
            use_bias=False,
            kernel_initializer=getattr(self, f"{role}_initializer"),
            kernel_regularizer=getattr(self, f"{role}_regularizer"),
            kernel_constraint=getattr(self, f"{role}_constraint"),
        )

    def make_products(self, settings: dict[str, dict[str, Any] | None]) -> None:
        self.input_product = self.dense(INPUT, settings[INPUT], self.gates, "kernel")
        self.recurrent_product = self.dense(RECURRENT, settings[RECURRENT], self.gates, "recurrent")

    def build(self, input_shape: Any) -> None:
        self.input_product.build(tuple(input_shape))
        for name, layer in self.products.items():
            if name != INPUT:
                layer.build((input_shape[0], self.units))
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=self.bias_shape,
                initializer=self.first_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.built = True

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias."""
        return (self.gates * self.units,)

    def first_bias(self, shape: Any, dtype: Any = None) -> Any:
        """Return the bias to begin with."""
        return self.bias_initializer(shape, dtype=dtype)

    def project(self, inputs: Any, training: bool | None) -> Any:
        """The part of a step that depends on the inputs alone, for one step or, with a time axis, for all of them."""
        if training and 0.0 < self.dropout < 1.0:
            over_time = len(inputs.shape) == 3
            mask = self.get_dropout_mask(inputs[:, 0, :] if over_time else inputs)
            inputs = inputs * (ops.expand_dims(mask, 1) if over_time else mask)
        outputs = self.input_product(inputs, training=training)
        bias = self.input_bias()
        return outputs if bias is None else outputs + ops.cast(bias, outputs.dtype)

    def input_bias(self) -> Any:
        """The bias that is added to the product of the inputs."""
        return self.bias

    def dropped_state(self, state: Any, training: bool | None) -> Any:
        """The state as the recurrent product sees it."""
        if training and 0.0 < self.recurrent_dropout < 1.0:
            return state * self.get_recurrent_dropout_mask(state)
        return state

    def advance(self, projected: Any, states: list[Any], training: bool | None) -> list[Any]:
        """Return the states after a step; the first one is the output."""
        raise NotImplementedError

    @contextlib.contextmanager
    def over(self, sequences: Any, states: list[Any], training: bool | None) -> Iterator[tuple[Any, list[Any]]]:
        """While active, the cell takes inputs that have been projected already; yields these, and the states.

        All steps see one draw of the training noise. Where each product has noise of its own, a count of steps goes
        with the states.
        """
        projected = self.project(sequences, training)
        inner = [layer for name, layer in self.products.items() if name != INPUT and isinstance(layer, AnalogLayer)]
        with contextlib.ExitStack() as stack:
            held = [
                stack.enter_context(layer.fixed_noise(layer.realization_of_loop(training, tells_step=True)))
                for layer in inner
            ]
            self._over = [one for one in held if one is not None and isinstance(one.seed, StepSeeds)]
            if self._over:
                states = [*states, ops.zeros_like(states[0][:, :1], dtype="int32")]
            try:
                yield projected, states
            finally:
                self._over = None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> Any:
        nested = isinstance(states, (list, tuple))
        states = list(states) if nested else [states]
        counted: list[Any] = []
        if self._over is None:
            inputs = self.project(inputs, training)
        elif self._over:
            count = states.pop()
            step = ops.sum(count)  # samples that are masked do not count, and all of them never are where it matters
            for held in self._over:
                held.seed.at(step)
            counted = [count + 1]
        states = self.advance(inputs, states, training)
        return states[0], [*states, *counted] if nested else states[0]

    def variables_of(self, layer: Any) -> list[keras.Variable]:
        return [layer.kernel, layer.recurrent_kernel, *([] if layer.bias is None else [layer.bias])]

    def own_variables(self) -> list[keras.Variable]:
        kernels = [kernel_of(layer) for layer in self.products.values()]
        return kernels if self.bias is None else [*kernels, self.bias]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogSimpleRNNCell(AnalogCell, keras.layers.SimpleRNNCell):
    """One step of `AnalogSimpleRNN`: h' = activation(x W + b + h U), x W and h U on crossbars.

    Takes every argument of `keras.layers.SimpleRNNCell` and those of `AnalogComposite`.

    Examples:
        >>> output, state = AnalogSimpleRNNCell(4)(np.ones((2, 3)), [np.zeros((2, 4))])
        >>> print(output.shape)
        (2, 4)

    Source: as `AnalogGRUCell`.
    """

    def advance(self, projected: Any, states: list[Any], training: bool | None) -> list[Any]:
        outputs = projected + self.recurrent_product(self.dropped_state(states[0], training), training=training)
        return [outputs if self.activation is None else self.activation(outputs)]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogLSTMCell(AnalogCell, keras.layers.LSTMCell):
    """One step of `AnalogLSTM`.

    i, f, g, o = x W + b + h U;  c' = s(f) c + s(i) activation(g);  h' = s(o) activation(c')

    with s the recurrent activation, x W and h U on crossbars. Takes every argument of `keras.layers.LSTMCell` and those
    of `AnalogComposite`. Dropout of the state has one mask for all gates, since they are columns of one product.

    Examples:
        >>> output, state = AnalogLSTMCell(4)(np.ones((2, 3)), [np.zeros((2, 4)), np.zeros((2, 4))])
        >>> print(output.shape, len(state))
        (2, 4) 2

    Source: Hochreiter and Schmidhuber, Neural Computation 9:1735 (1997), as in Keras; as `AnalogGRUCell`.
    """

    gates: ClassVar[int] = 4

    def first_bias(self, shape: Any, dtype: Any = None) -> Any:
        bias, units = self.bias_initializer(shape, dtype=dtype), self.units
        if not self.unit_forget_bias:
            return bias
        return ops.concatenate([bias[:units], ops.ones((units,), dtype=bias.dtype), bias[2 * units :]])

    def advance(self, projected: Any, states: list[Any], training: bool | None) -> list[Any]:
        state, carry = states
        sums = projected + self.recurrent_product(self.dropped_state(state, training), training=training)
        enters, stays, candidate, leaves = ops.split(sums, 4, axis=-1)
        carry = self.recurrent_activation(stays) * carry + self.recurrent_activation(enters) * self.activation(
            candidate
        )
        return [self.recurrent_activation(leaves) * self.activation(carry), carry]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogGRUCell(AnalogCell, keras.layers.GRUCell):
    """One step of `AnalogGRU`.

    z = s(x Wz + h Uz),  r = s(x Wr + h Ur),  h' = z h + (1 - z) activation(x Wh + r (h Uh))

    with s the recurrent activation, biases left out, x W and h U on crossbars. With `reset_after=False` the last term
    is (r h) Uh: its tile is read after r is known, so Uh is a product of its own, named "candidate".

    Takes every argument of `keras.layers.GRUCell` and those of `AnalogComposite`. Dropout of the state has one mask for
    all gates, since they are columns of one product.

    Examples:
        >>> layer = analognets.layers.AnalogRNN(AnalogGRUCell(4, crossbar="aimc_standard"))
        >>> print(layer(np.ones((2, 5, 3))).shape)
        (2, 4)

    Source: Cho et al., EMNLP 2014 (arXiv 1406.1078), as in Keras; both products on tiles and one draw of the noise over
    a sequence: Rasch et al., Nat. Commun. 14:5282 (2023).
    """

    gates: ClassVar[int] = 3

    @property
    def product_attributes(self) -> Mapping[str, str]:
        both = super().product_attributes
        return both if self.reset_after else {**both, CANDIDATE: "candidate_product"}

    def make_products(self, settings: dict[str, dict[str, Any] | None]) -> None:
        if self.reset_after:
            super().make_products(settings)
            return
        self.input_product = self.dense(INPUT, settings[INPUT], 3, "kernel")
        self.recurrent_product = self.dense(RECURRENT, settings[RECURRENT], 2, "recurrent")
        self.candidate_product = self.dense(CANDIDATE, settings[CANDIDATE], 1, "recurrent")

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def input_bias(self) -> Any:
        return self.bias[0] if self.reset_after and self.bias is not None else self.bias

    def advance(self, projected: Any, states: list[Any], training: bool | None) -> list[Any]:
        (state,) = states
        seen, units = self.dropped_state(state, training), self.units
        recurrent = self.recurrent_product(seen, training=training)
        if self.reset_after and self.bias is not None:
            recurrent = recurrent + ops.cast(self.bias[1], recurrent.dtype)
        gates, entering = ops.split(projected, [2 * units], axis=-1)  # its gradient is cheaper than that of slices
        if self.reset_after:
            recurrent, remembered = ops.split(recurrent, [2 * units], axis=-1)
        update, reset = ops.split(self.recurrent_activation(gates + recurrent), 2, axis=-1)
        if self.reset_after:
            remembered = reset * remembered
        else:
            remembered = self.candidate_product(reset * seen, training=training)
        candidate = self.activation(entering + remembered)
        return [update * state + (1 - update) * candidate]

    def load_from(self, layer: Any) -> None:
        if self.reset_after:
            super().load_from(layer)
            return
        kernel, recurrent, *bias = [to_array(variable) for variable in self.variables_of(layer)]
        parts = np.split(recurrent, [2 * self.units], axis=1)
        assign_arrays(self.own_variables(), [kernel, *parts, *bias])

    def store_to(self, layer: Any) -> None:
        if self.reset_after:
            super().store_to(layer)
            return
        kernel, recurrent, candidate, *bias = self.merged_arrays()
        assign_arrays(self.variables_of(layer), [kernel, np.concatenate([recurrent, candidate], axis=1), *bias])
