"""Recurrent layers on a crossbar: the products of inputs and of states on tiles, gates and biases digital."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from analognets.layers.base import AnalogLayer
from analognets.layers.recurrent_cells import AnalogGRUCell, AnalogLSTMCell, AnalogSimpleRNNCell

__all__ = ["AnalogGRU", "AnalogLSTM", "AnalogRNN", "AnalogRecurrent", "AnalogSimpleRNN"]

LAYER_ARGUMENTS = (
    "return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask",
    "activity_regularizer",
)  # fmt: skip


def observed(layer: keras.layers.Layer) -> bool:
    """Whether a product inside of the layer is being watched, as in calibration, which needs real numbers."""
    return any(isinstance(inner, AnalogLayer) and inner._observer is not None for inner in layer._flatten_layers())


if TYPE_CHECKING:
    from keras.layers import RNN as Recurrent
else:
    Recurrent = object


class AnalogRecurrent(Recurrent):
    """Mixin for the recurrent layers: the product of the inputs for the whole sequence at once, then the loop."""

    cell_class: ClassVar[Any] = None
    first_name: ClassVar[str] = ""

    def __init__(self, units: int, activation: Any = "tanh", *, use_cudnn: Any = "auto", **kwargs: Any) -> None:
        del use_cudnn  # a kernel of the GPU that knows no crossbar
        name = kwargs.pop("name", None)
        if name is None:  # the products are named before Keras would name the layer
            number = keras.backend.get_uid(self.first_name) - 1
            name = f"{self.first_name}_{number}" if number else self.first_name
        own = {key: kwargs.pop(key) for key in LAYER_ARGUMENTS if key in kwargs}
        shared = {key: kwargs[key] for key in ("dtype", "trainable") if key in kwargs}
        backwards = bool(own.get("go_backwards", False))
        cell = self.cell_class(
            units, activation=activation, prefix=name, name=f"{name}_cell", backwards=backwards, **kwargs
        )
        keras.layers.RNN.__init__(self, cell, name=name, **own, **shared)
        self.input_spec = keras.layers.InputSpec(ndim=3)
        self.use_cudnn = False

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool | None = False) -> Any:
        """Run the loop over time of `keras.layers.RNN`, with inputs that have been projected already."""
        mask = mask[0] if keras.tree.is_nested(mask) else mask
        states = list(initial_state) if keras.tree.is_nested(initial_state) else [initial_state]
        with unrolled_if_observed(self), self.cell.over(sequences, states, training) as (projected, counted):
            last, outputs, after = keras.layers.RNN.inner_loop(self, projected, counted, mask, training=training)
        return last, outputs, list(after)[: len(states)]

    @property
    def products(self) -> dict[str, keras.layers.Layer]:
        """The inner layers by the name of their product."""
        return self.cell.products

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), **self.cell.products_config()}

    def load_from(self, layer: Any) -> None:
        """Take over kernels and bias of the Keras twin, which is built."""
        self.cell.load_from(layer.cell)

    def store_to(self, layer: Any) -> None:
        """Give kernels and bias to the Keras twin, which is built."""
        self.cell.store_to(layer.cell)


@contextlib.contextmanager
def unrolled_if_observed(layer: Any) -> Iterator[None]:
    """While active, the loop is a loop of Python if a product inside of it is being watched."""
    before = layer.unroll
    layer.unroll = before or observed(layer)
    try:
        yield
    finally:
        layer.unroll = before


@keras.saving.register_keras_serializable(package="analognets")
class AnalogSimpleRNN(AnalogRecurrent, keras.layers.SimpleRNN):
    """Fully connected recurrent layer with both products on crossbars; see `AnalogGRU`.

    Takes every argument of `keras.layers.SimpleRNN`, those after `activation` by name, and those of `AnalogComposite`.

    Examples:
        >>> print(AnalogSimpleRNN(4, crossbar="aimc_standard")(np.ones((2, 5, 3))).shape)
        (2, 4)

    Source: as `AnalogSimpleRNNCell`.
    """

    cell_class: ClassVar[Any] = AnalogSimpleRNNCell
    first_name: ClassVar[str] = "analog_simple_rnn"


@keras.saving.register_keras_serializable(package="analognets")
class AnalogLSTM(AnalogRecurrent, keras.layers.LSTM):
    """LSTM with both products on crossbars, gates and biases digital; see `AnalogGRU`.

    Takes every argument of `keras.layers.LSTM`, those after `activation` by name, and those of `AnalogComposite`.

    Examples:
        >>> layer = AnalogLSTM(4, return_sequences=True, crossbar="aimc_standard")
        >>> print(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)

    Source: as `AnalogLSTMCell`.
    """

    cell_class: ClassVar[Any] = AnalogLSTMCell
    first_name: ClassVar[str] = "analog_lstm"


@keras.saving.register_keras_serializable(package="analognets")
class AnalogGRU(AnalogRecurrent, keras.layers.GRU):
    """GRU with both products on crossbars, gates and biases digital; the equations are those of `AnalogGRUCell`.

    The products are the `AnalogDense` layers "<name>_input" and "<name>_recurrent"; the former has the whole sequence
    at once. In training all steps of a batch see one draw of the weight noise, as they would see one chip. With ideal
    converters and no noise it equals `keras.layers.GRU`.

    Takes every argument of `keras.layers.GRU`, those after `activation` by name, and those of `AnalogComposite`.

    Source: as `AnalogGRUCell`.

    Examples:
        >>> layer = AnalogGRU(4, crossbar="aimc_standard", weight_noise=1.0, noise_model="device")
        >>> print(layer(np.ones((2, 5, 3))).shape)
        (2, 4)
    """

    cell_class: ClassVar[Any] = AnalogGRUCell
    first_name: ClassVar[str] = "analog_gru"


@keras.saving.register_keras_serializable(package="analognets")
class AnalogRNN(keras.layers.RNN):
    """`keras.layers.RNN` around cells with analog layers: in training one draw of the noise for the whole sequence.

    Stacked cells and cells of one's own work too. Their products are computed step by step.

    Args:
        cell: a cell or a list of cells, of which some have analog layers.

    Examples:
        >>> cells = [analognets.layers.AnalogSimpleRNNCell(4), analognets.layers.AnalogGRUCell(6)]
        >>> print(AnalogRNN(cells)(np.ones((2, 5, 3))).shape)
        (2, 6)

    Source: as `AnalogGRUCell`.
    """

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool | None = False) -> Any:
        """Run the loop over time with the noise of each product fixed."""
        layers = [layer for layer in self.cell._flatten_layers() if isinstance(layer, AnalogLayer)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(unrolled_if_observed(self))
            held = [stack.enter_context(layer.fixed_noise(layer.realization_of_loop(training))) for layer in layers]
            if keras.backend.backend() == "jax" and any(one is not None and one.periphery for one in held):
                self.unroll = True  # a loop of JAX can't count the seeds of the products
            return super().inner_loop(sequences, initial_state, mask, training=training)
