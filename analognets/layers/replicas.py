"""Random generators under `tf.distribute`: each replica draws from a stream of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from analognets.core.seeds import seed_of_words

__all__ = ["differ_by_replica"]


def differ_by_replica(state: Any) -> None:
    """Give each replica's copy of a generator's state a value of its own, so that replicas draw independent numbers.

    seed' = hash(seed, device of the replica). Has no effect on a variable that lies on one device.

    Keras makes all copies equal, with which all replicas would train on the same noise.

    Args:
        state: the variable of a `keras.random.SeedGenerator`.
    """
    copies = getattr(state.value, "values", None)
    if not isinstance(copies, tuple) or state.value.distribute_strategy.num_replicas_in_sync == 1:
        return
    seed = int(np.asarray(ops.convert_to_numpy(copies[0]))[0])
    for copy in copies:
        copy.assign(np.array([seed_of_words([seed, *copy.device.encode()]), 0], copy.dtype.as_numpy_dtype))
