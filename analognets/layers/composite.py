"""What the analog layers with several products share: each product is an analog layer inside of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from analognets import crossbar as crossbars
from analognets.devices import derive_seed
from analognets.layers.adc_gain import ADCGain, gain_from_config
from analognets.layers.base import AnalogLayer

__all__ = ["PRODUCT_SETTINGS", "AnalogComposite", "assign_arrays", "freeze_alike", "kernel_of", "to_array"]

PRODUCT_SETTINGS = (
    "crossbar", "weight_noise", "adc_gain", "calibrated", "noise_model", "drop_connect", "nonnegative",
    "drift_until", "range_gradient",
)  # fmt: skip
"""Arguments of an analog layer that a composite layer hands on to its products and keeps in its config."""
LORA_SETTINGS = ("lora_rank", "lora_alpha")
"""Those that only a product with low-rank adapters has."""

if TYPE_CHECKING:
    from keras.layers import Layer as Base
else:
    Base = object


class AnalogComposite(Base):
    """Mixin that turns a Keras layer with several kernels into its analog version.

    Each kernel becomes an analog layer of its own, named after the layer: "gru_input" and "gru_recurrent" of "gru".
    So `analog_layers`, `calibrate` and chips see them as any other. Biases, gates and all the rest stay digital.

    Args:
        crossbar: an `analognets.crossbar.Crossbar`, the name of a preset or a config, for all products.
        weight_noise: as in `AnalogLayer`.
        adc_gain: the `ADCGain` to share with other layers; None makes one for the products of this layer, or one for
            each if the crossbar has a gain per layer.
        calibrated: whether the converter ranges have been set.
        noise_model: "gaussian", "device" or "drift".
        drop_connect: share of the weights that are 0 in a training step, 0 to 0.9.
        drift_until: as in `AnalogLayer`.
        range_gradient: likewise.
        products: settings of single products by name that differ from those above; None leaves a product digital.

    Raises:
        InvalidArgumentError: an argument is out of range.
        UnknownNameError: no hardware preset has that name.

    Examples:
        >>> layer = analognets.layers.AnalogGRU(4, name="gru")
        >>> layer.build((None, 5, 3))
        >>> [product.name for product in layer.products.values()]
        ['gru_input', 'gru_recurrent']
    """

    def __init__(
        self,
        *args: Any,
        crossbar: Any = "aon_cim_8bit",
        weight_noise: float = 0.0,
        adc_gain: ADCGain | None = None,
        calibrated: bool = False,
        noise_model: str = "gaussian",
        drop_connect: float = 0.0,
        drift_until: float | str = "1y",
        range_gradient: str = "saturated",
        products: Mapping[str, Mapping[str, Any] | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        hardware = crossbars.get(crossbar)
        given = products or {}
        alike = any(name not in given for name in self.product_attributes)
        if adc_gain is None and alike and hardware.adc_gain == "shared":
            adc_gain = ADCGain(name="adc_gain")
        common = {
            "crossbar": hardware,
            "weight_noise": weight_noise,
            "adc_gain": adc_gain,
            "calibrated": calibrated,
            "noise_model": noise_model,
            "drop_connect": drop_connect,
            "drift_until": drift_until,
            "range_gradient": range_gradient,
        }
        settings: dict[str, dict[str, Any] | None] = {}
        for name in self.product_attributes:
            own = given.get(name, {})
            settings[name] = None if own is None else {**common, **own}
        self.make_products(settings)

    @property
    def product_attributes(self) -> Mapping[str, str]:
        """The attribute that holds each product, by the product's name."""
        raise NotImplementedError

    def make_products(self, settings: dict[str, dict[str, Any] | None]) -> None:
        """Make the inner layers and hold them in the attributes that `product_attributes` names."""
        raise NotImplementedError

    @property
    def product_prefix(self) -> str:
        """What the names of the products begin with."""
        return self.name

    def make_product(
        self, name: str, settings: dict[str, Any] | None, analog: type, digital: type, *streams: Any, **arguments: Any
    ) -> Any:
        """Return the inner layer of one product: analog, or digital if there are no settings for it.

        Args:
            name: of the product.
            settings: those of `PRODUCT_SETTINGS`, gains as objects or as config.
            analog: the class of the analog layer.
            digital: the class of the Keras layer.
            streams: tell the noise of this product from that of others with the same seed.
            arguments: what both classes take.
        """
        arguments = {
            "name": f"{self.product_prefix}_{name}",
            "dtype": self.dtype_policy,
            "trainable": self.trainable,
            **arguments,
        }
        if settings is None:
            return digital(**arguments)
        settings = dict(settings)
        if isinstance(settings.get("adc_gain"), dict):
            settings["adc_gain"] = gain_from_config(settings["adc_gain"])
        seed = getattr(self, "seed", None)
        return analog(**arguments, **settings, seed=None if seed is None else derive_seed(seed, name, *streams))

    @property
    def products(self) -> dict[str, keras.layers.Layer]:
        """The inner layers by the name of their product."""
        return {name: getattr(self, held) for name, held in self.product_attributes.items()}

    def products_config(self) -> dict[str, Any]:
        """Return the settings of each product as plain data; None for those that are digital."""
        found: dict[str, Any] = {}
        for name, layer in self.products.items():
            config = layer.get_config() if isinstance(layer, AnalogLayer) else None
            settings = (*PRODUCT_SETTINGS, *LORA_SETTINGS)
            found[name] = None if config is None else {key: config[key] for key in settings if key in config}
        return {"products": found}

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), **self.products_config()}

    def variables_of(self, layer: Any) -> list[keras.Variable]:
        """Return the kernels and biases of this layer's Keras twin."""
        raise NotImplementedError

    def own_variables(self) -> list[keras.Variable]:
        """Return the kernels and biases of this layer, in the order of `variables_of`."""
        raise NotImplementedError

    def load_from(self, layer: Any) -> None:
        """Take over kernels and biases of the Keras twin, which is built; frozen ones stay frozen."""
        sources, own = self.variables_of(layer), self.own_variables()
        assign_arrays(own, [to_array(variable) for variable in sources])
        freeze_alike(own, sources)

    def store_to(self, layer: Any) -> None:
        """Give kernels, with what adapters add to them, and biases to the Keras twin, which is built."""
        targets = self.variables_of(layer)
        assign_arrays(targets, self.merged_arrays())
        freeze_alike(targets, self.own_variables())

    def merged_arrays(self) -> list[np.ndarray]:
        """Return copies of the numbers of `own_variables`, kernels as products have them: clipped, with adapters."""
        analog = [layer for layer in self.products.values() if isinstance(layer, AnalogLayer)]
        kernels = {id(layer.kernel_variable): layer for layer in analog}
        arrays = []
        for variable in self.own_variables():
            layer = kernels.get(id(variable))
            array = to_array(variable if layer is None else layer.within_range(variable.value))
            arrays.append(array + layer.adapter_kernel() if layer is not None and layer.adapters() else array)
        return arrays


def kernel_of(layer: Any) -> keras.Variable:
    """Return the kernel of a product, analog or digital, without adapters."""
    if isinstance(layer, AnalogLayer):
        return layer.kernel_variable
    return layer._kernel if getattr(layer, "lora_enabled", False) else layer.kernel


def to_array(variable: keras.Variable) -> np.ndarray:
    """Return a copy of a variable's numbers."""
    return np.array(keras.ops.convert_to_numpy(variable))


def assign_arrays(variables: list[keras.Variable], arrays: list[np.ndarray]) -> None:
    """Assign arrays to variables, each a copy: JAX would let two variables share one buffer."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(np.array(array))


def freeze_alike(variables: list[keras.Variable], sources: list[keras.Variable]) -> None:
    """Freeze the variables whose sources are frozen, one by one."""
    for variable, source in zip(variables, sources, strict=True):
        if variable.trainable and not source.trainable:
            variable.trainable = False
