"""Training in another floating-point precision than the network's own, which it has again afterwards."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from analognets.errors import check_choice

__all__ = ["PRECISIONS", "computed_in", "multiplies_bfloat16", "resolved"]

PRECISIONS = ("float32", "mixed_bfloat16", "auto")
"""What a stage can be computed in; "auto" is one of the others, by the processor."""


def resolved(precision: str) -> str:
    """Return the precision that a name stands for here: "auto" is "mixed_bfloat16" where it is faster, else "float32".

    Args:
        precision: one of `PRECISIONS`.
    """
    check_choice("computed_in", "precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if multiplies_bfloat16() else "float32"


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


@contextmanager
def computed_in(net: keras.Model, precision: str) -> Iterator[None]:
    """While active, the layers of a network compute in a precision; variables stay as they are.

    "mixed_bfloat16" halves the time of a step or better on processors that multiply bfloat16, and slows it on others.
    Compile the network inside, since compiled functions keep the precision that they were traced in.

    Args:
        net: a built model with float32 variables.
        precision: "float32" leaves every layer its own policy; "mixed_bfloat16" gives all that compute in float32 that
            policy; "auto" is one of the two (see `resolved`).

    Raises:
        InvalidArgumentError: there is no such precision.
    """
    precision = resolved(precision)
    layers = [layer for layer in net._flatten_layers() if layer.dtype_policy.name == "float32"]
    before = [layer.dtype_policy for layer in layers]
    if precision == "float32":
        yield
        return
    try:
        for layer in layers:
            layer.dtype_policy = precision
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy
