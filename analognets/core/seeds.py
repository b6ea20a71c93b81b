"""Seeds: one number for a run, and from it an independent one for each of its parts, the same on every machine."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

import numpy as np

from analognets.errors import check_integer

__all__ = ["derive_seed", "epoch_seed", "generator", "seed_of_words"]

_SEEDS = 2**31 - 2  # TensorFlow folds seeds to 31 bits


def derive_seed(seed: int, *names: int | str) -> int:
    """Return a seed for a part of something seeded: `derive_seed(chip, "dense_1")`.

    seed' = hash(seed, names), the same on every machine and backend; other names give an independent stream.

    Args:
        seed: whole number from 0 to 2^63 - 1.
        names: what the stream is for.

    Raises:
        InvalidArgumentError: `seed` is not such a number.

    Examples:
        >>> derive_seed(7, "dense_1") == derive_seed(7, "dense_1")
        True
        >>> derive_seed(7, "dense_1") == derive_seed(7, "dense_2")
        False
    """
    text = "\x1f".join([str(check_integer("devices", "seed", seed, 0, 2**63 - 1)), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % _SEEDS


def epoch_seed(seed: int, stream: str, epoch: int) -> int:
    """Return a number from 0 to 2^31 - 1 that depends on the run's seed, the name of the stream and the epoch."""
    return seed_of_words([seed, epoch, *stream.encode()])


def seed_of_words(words: Iterable[int]) -> int:
    """Return the number from 0 to 2^31 - 1 that NumPy's seed sequence makes of whole numbers >= 0."""
    return int(np.random.SeedSequence(list(words)).generate_state(1)[0] >> 1)


def generator(seed: int, *tags: str) -> np.random.Generator:
    """Return a random generator for one purpose: other tags, other numbers, whatever else was drawn before."""
    return np.random.default_rng([seed, *(zlib.crc32(tag.encode()) for tag in tags)])
