"""Low-rank adapters (LoRA) beside a kernel on a crossbar: the array stays as it is, the adapter is digital."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

__all__ = ["ADAPTERS", "Adapters"]

ADAPTERS = ("lora_kernel_a", "lora_kernel_b")
"""The attributes that hold A and B."""

if TYPE_CHECKING:
    from keras.layers import Dense as Base
else:
    Base = object


class Adapters(Base):
    """Mixin that gives an analog layer low-rank adapters, by Keras' own `enable_lora(rank)`.

    y = analog(x W) + (alpha / rank) * (x A) B

    From then on the kernel is not trained, so that a programmed array stays as it is; A, B and the bias are.

    Source: Hu et al., LoRA, ICLR 2022 (arXiv 2106.09685), as in Keras; adapters beside a fixed analog array: Li et al.,
    AHWA-LoRA (arXiv 2411.17367), from memory.
    """

    def adapters(self) -> dict[str, keras.Variable]:
        """Return A and B by the attributes that hold them; nothing before `enable_lora`."""
        return {name: getattr(self, name) for name in ADAPTERS} if getattr(self, "lora_enabled", False) else {}

    def with_adapters(self, outputs: Any, inputs: Any) -> Any:
        """Return the outputs of the crossbar plus what the adapters make of its inputs."""
        if not self.adapters():
            return outputs
        a, b = (ops.cast(variable, self.compute_dtype) for variable in self.adapters().values())
        scale = self.lora_alpha / self.lora_rank
        return outputs + ops.cast(scale * self.adapter_product(inputs, a, b), outputs.dtype)

    def adapter_product(self, inputs: Any, a: Any, b: Any) -> Any:
        """Return the product of the inputs with A B, which has the shape of the kernel variable."""
        return self.product(inputs, ops.matmul(a, b))

    def adapter_kernel(self) -> np.ndarray:
        """Return (alpha / rank) A B, of the shape of the kernel variable: what the adapters add to a digital kernel."""
        a, b = (np.asarray(ops.convert_to_numpy(variable)) for variable in self.adapters().values())
        return np.matmul(a, b) * (self.lora_alpha / self.lora_rank)

    def own_arrays(self) -> list[keras.Variable]:
        """Return the layer's variables but for the adapters, in the order in which files hold them."""
        adapters = {id(variable) for variable in self.adapters().values()}
        every = [*self._trainable_variables, *self._non_trainable_variables]
        return [variable for variable in every if id(variable) not in adapters]
