"""What the processor or GPU that computes here can do."""

from __future__ import annotations

import functools
import timeit

import keras

__all__ = ["gpu_capabilities", "multiplies_bfloat16", "processor_multiplies_bfloat16", "product_seconds"]

GPU_WITH_BFLOAT16 = (8, 0)
"""Compute capability of the first GPUs with bfloat16."""


@functools.cache
def multiplies_bfloat16() -> bool:
    """Return whether what computes here multiplies bfloat16 numbers faster than float32 ones.

    These are GPUs of compute capability 8.0 and later, if all are, and the processors of
    `processor_multiplies_bfloat16`.
    """
    gpus = gpu_capabilities()
    return all(found >= GPU_WITH_BFLOAT16 for found in gpus) if gpus else processor_multiplies_bfloat16()


def gpu_capabilities() -> list[tuple[int, int]]:
    """Return the compute capability of each GPU that TensorFlow has; (0, 0) where it is not known."""
    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def processor_multiplies_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 numbers faster than float32 ones.

    It needs instructions for it, on x86 AVX512-BF16 or AMX. Some processors with AVX512-BF16 take twice as long by them
    as for float32, so with TensorFlow a product is timed in both.
    """
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this processor
        return False
    if not any(features.get(name, False) for name in ("avx512bf16", "amx-bf16", "bf16")):
        return False
    return keras.backend.backend() != "tensorflow" or product_seconds("bfloat16") < product_seconds("float32")


def product_seconds(kind: str, *, size: int = 512, times: int = 5) -> float:
    """Return the shortest time of a few products of two square matrices of a dtype, by TensorFlow.

    Args:
        kind: dtype.
        size: rows of both.
        times: how many are timed, after one that is not.
    """
    import tensorflow as tf

    with tf.init_scope():
        one = tf.ones((size, size), kind)
        product = tf.function(lambda matrix: tf.reduce_max(tf.matmul(matrix, matrix)))
        return min(timeit.repeat(lambda: product(one).numpy(), number=1, repeat=times + 1)[1:])
