"""Functions that Keras 2 computed otherwise than Keras 3 does under the same name, as Keras 2 computed them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["hard_sigmoid_v2"]


@keras.saving.register_keras_serializable(package="analognets")
def hard_sigmoid_v2(x: Any) -> Any:
    """Return clip(0.2 x + 0.5, 0, 1), the `hard_sigmoid` of Keras 1 and 2; that of Keras 3 is relu6(x + 3) / 6.

    Examples:
        >>> hard_sigmoid_v2(np.array([-4.0, 0.0, 1.0])).numpy().tolist()
        [0.0, 0.5, 0.7]

    Source: tf_keras 2.21, `activations.hard_sigmoid`; a comparison of all activations of both found no other that
    differs.
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)
