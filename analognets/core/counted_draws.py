"""TensorFlow's random numbers of a seed in plain NumPy, so that one seed is one chip on every backend of Keras."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["stateless_normal", "stateless_uniform"]

GROUP = 4
"""Numbers that one count gives."""
ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
SCRAMBLE = (0x3EC8F720, 0x02461E29)
"""Key that turns a seed into the key and the first count of its numbers."""
PIECE = 1 << 18
"""Counts that are worked on at once, for the sake of memory."""
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
SMALLEST = np.float32(1e-7)


def stateless_uniform(shape: Sequence[int], seed: int) -> np.ndarray:
    """Return float32 numbers uniform in [0, 1), bit for bit those of `tf.random.stateless_uniform(shape, (seed, 0))`.

    Args:
        shape: of the result.
        seed: 0 to 2^31 - 1.

    Source: Philox4x32-10 of Salmon et al., SC 2011, with the seed scrambled and the bits taken as TensorFlow does it.
    """
    return _filled(shape, seed, normal=False)


def stateless_normal(shape: Sequence[int], seed: int) -> np.ndarray:
    """Return float32 standard-normal numbers: `tf.random.stateless_normal(shape, (seed, 0))` within rounding.

    z_0 = sqrt(-2 ln u_0) sin(2 pi u_1),  z_1 = sqrt(-2 ln u_0) cos(2 pi u_1)

    Args:
        shape: of the result.
        seed: 0 to 2^31 - 1.

    Source: as `stateless_uniform`; Box and Muller, Ann. Math. Stat. 29:610 (1958).
    """
    return _filled(shape, seed, normal=True)


def _filled(shape: Sequence[int], seed: int, *, normal: bool) -> np.ndarray:
    count = math.prod(shape)
    groups = -(-count // GROUP)
    nothing = np.zeros(1, np.uint64)
    first_key, second_key, third, fourth = _philox(np.array([seed], np.uint64), nothing, nothing, nothing, SCRAMBLE)
    key = int(first_key[0]), int(second_key[0])
    found = np.empty((groups, GROUP), np.float32)
    for first in range(0, groups, PIECE):
        counts = np.arange(first, min(first + PIECE, groups), dtype=np.uint64)
        words = _philox(counts & LOW, counts >> HALF, third, fourth, key)
        piece = found[first : first + PIECE]
        for place, word in enumerate(words):
            bits = (word.astype(np.uint32) & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)
            piece[:, place] = bits.view(np.float32) - np.float32(1.0)
        if normal:
            radius = np.sqrt(np.float32(-2.0) * np.log(np.maximum(piece[:, ::2], SMALLEST)))
            angle = np.float32(2.0 * math.pi) * piece[:, 1::2]
            piece[:, ::2], piece[:, 1::2] = radius * np.sin(angle), radius * np.cos(angle)
    return found.reshape(-1)[:count].reshape(tuple(shape))


def _philox(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, key: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the four words of counts whose words are given, each of 32 bits in 64."""
    for number in range(ROUNDS):
        keys = [np.uint64((one + number * step) & 0xFFFFFFFF) for one, step in zip(key, KEY_STEPS, strict=True)]
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (second >> HALF) ^ b ^ keys[0], second & LOW, (first >> HALF) ^ d ^ keys[1], first & LOW
    return a, b, c, d
