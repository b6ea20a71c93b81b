"""What the processor or GPU that computes here can do."""

from __future__ import annotations

import functools

import keras

__all__ = ["gpu_capabilities", "multiplies_bfloat16", "processor_multiplies_bfloat16"]

GPU_WITH_BFLOAT16 = (8, 0)
"""Compute capability of the first GPUs with bfloat16."""


@functools.cache
def multiplies_bfloat16() -> bool:
    """Return whether what computes here multiplies bfloat16 numbers.

    These are GPUs of compute capability 8.0 and later, if all are, and processors with AVX512-BF16 or AMX, or the
    like of ARM.
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
    """Return whether this processor has instructions that multiply bfloat16 numbers (on x86 AVX512-BF16 or AMX)."""
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this processor
        return False
    return any(features.get(name, False) for name in ("avx512bf16", "amx-bf16", "bf16"))
