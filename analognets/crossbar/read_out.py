"""Standard-normal numbers for the read-out of products: drawn one by one, or put together from a stored pool."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from analognets.crossbar.nonideality import draw_normal
from analognets.devices.base import concrete

__all__ = ["LARGEST", "PARTS", "draw_read_out", "draw_read_out_parts", "joined_parts", "prepare_pool"]

PARTS = 4
LENGTH = 1 << 22
LARGEST = 3 << 20
"""Most numbers that one call takes from the pool."""
_STEP = 16
_SEED = 2302_08469
_pool: list[Any] = []


def prepare_pool() -> None:
    """Make the pool of this process, 64 MB, if it is missing and the backend is one that gains by it (TensorFlow).

    Has no effect while a function is being traced: such a function draws number by number.
    """
    if _pool or keras.backend.backend() != "tensorflow":
        return
    parts = [keras.random.normal((LENGTH,), stddev=PARTS**-0.5, seed=_SEED + part) for part in range(PARTS)]
    if concrete(parts[0][:1]) is not None:
        _pool.extend(parts)


def draw_read_out(shape: Any, seed: Any, stream: str) -> Any:
    """Return float32 standard-normal numbers for the noise of one product, its columns on the last axis.

    From a whole number, and where there is no pool, each is drawn by itself (`draw_normal`). From a SeedGenerator, as
    in training and on programmed chips, they come ten times faster out of four stored arrays P_k of 2^22 draws:

        z_ri = s_r * sum_k P_k[o_k + index of (r, i)],   Var P_k = 1/4

    with four offsets o_k and a sign s_r for each row drawn anew. No element of the pool is used twice within a call,
    so the numbers of a call are independent and exactly normal. Two calls share numbers at four shifts, where they
    would be correlated by 1/4; the signs make all correlations between calls zero and leave one of 1/16 between
    squares at these shifts. Calls of more than `LARGEST` numbers draw each by itself.

    Args:
        shape: of the result, a tuple of whole numbers or, while a function is being traced, of tensors.
        seed: whole number, or a SeedGenerator.
        stream: name of the draw; tells those of one whole number apart.

    Raises:
        InvalidArgumentError: `seed` is None or no whole number.

    Source: ours; sums of randomly shifted stored numbers in the manner of Wallace, ACM TOMS 22:119 (1996).
    """
    if not isinstance(seed, keras.random.SeedGenerator) or not _pool or len(shape) < 2:
        return draw_normal(shape, seed, stream)
    count = math.prod(shape)
    if isinstance(count, int):
        return _pooled(shape, count, seed) if count <= LARGEST else draw_normal(shape, seed, stream)
    own = _Asked(seed.next())  # a branch can't count
    return ops.cond(
        count <= LARGEST,
        lambda: _pooled(shape, count, own),
        lambda: keras.random.normal(shape, dtype="float32", seed=own),
    )


def draw_read_out_parts(shape: Any, seed: Any, stream: str) -> tuple[Any, ...]:
    """Return what `joined_parts` makes the numbers of `draw_read_out` of, for a caller that computes in one pass."""
    count = math.prod(shape)
    if isinstance(seed, keras.random.SeedGenerator) and _pool and isinstance(count, int) and count <= LARGEST:
        return _parts(shape, count, seed)
    return (draw_read_out(shape, seed, stream),)


def joined_parts(parts: tuple[Any, ...], shape: Any) -> Any:
    """Return the numbers of `draw_read_out` for its parts."""
    if len(parts) == 1:
        return parts[0]
    *pieces, signs = parts
    return ops.reshape((pieces[0] + pieces[1]) + (pieces[2] + pieces[3]), shape) * signs


def _pooled(shape: Any, count: Any, seed: Any) -> Any:
    return joined_parts(_parts(shape, count, seed), shape)


def _parts(shape: Any, count: Any, seed: Any) -> tuple[Any, ...]:
    rows = math.prod(shape[:-1])
    drawn = keras.random.uniform((PARTS + rows,), dtype="float32", seed=seed)
    places = ops.cast(LENGTH - count, "float32") * (1.0 / _STEP)
    starts = _STEP * ops.cast(drawn[:PARTS] * places, "int32")
    pieces = [ops.slice(part, starts[k : k + 1], (count,)) for k, part in enumerate(_pool)]
    return *pieces, ops.reshape(ops.where(drawn[PARTS:] < 0.5, -1.0, 1.0), (*shape[:-1], 1))


class _Asked(keras.random.SeedGenerator):
    """A generator that has been asked, with one answer."""

    def __init__(self, answer: Any) -> None:  # without the variable of the base class
        self.answer = answer

    def next(self, ordered: bool = True) -> Any:
        return self.answer
