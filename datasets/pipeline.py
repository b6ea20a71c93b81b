"""From clips and pictures to batches of features: balanced, augmented, reproducible to train on, plain to evaluate."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from analognets.core.backend import check_backend
from analognets.datasets.augment import Augmentation, Noise, noise_bank
from analognets.datasets.base import Split, TaskData
from analognets.datasets.frontend import MFCC
from analognets.datasets.frontends import frontend_kind
from analognets.datasets.image_augment import ImageAugmentation
from analognets.datasets.image_frontend import Image
from analognets.errors import InvalidArgumentError, UnknownNameError, check_integer, check_number

__all__ = ["check_pipeline", "eval_batches", "features", "sample_epoch", "standardize", "train_batches"]

_NO_CLIP = -1


def check_pipeline() -> None:
    """Raise unless Keras runs on TensorFlow, whose tf.data makes the batches.

    Raises:
        InvalidArgumentError: it runs on another backend.
    """
    check_backend(
        "Clips and pictures become batches of features (tf.data)",
        "tensorflow",
        instead="With arrays of features `fit`, `calibrate` and `evaluate` work on JAX too.",
    )


def train_batches(
    data: TaskData,
    frontend: MFCC | Image,
    *,
    augmentation: Augmentation | ImageAugmentation | None = None,
    batch_size: int = 100,
    seed: int = 0,
    epoch: int = 0,
    balance: str | Mapping[str, float] | None = None,
    word_power: float = 1.0,
    extra: tuple[TaskData, float | Mapping[str, float]] | None = None,
    steps: int | None = None,
    mixup: float = 0.0,
) -> tf.data.Dataset:
    """Return one epoch of training batches: (features float32, labels int32 (batch,)).

    Features are (batch, frames, coefficients, 1) of sound and (batch, height, width, channels) of pictures.

    Everything random depends on (seed, epoch) only: the same pair gives the same batches bit for bit on the same
    machine, whatever the number of threads. All batches are full.

    Args:
        data: its `train` split is used, and `background` if the augmentation mixes noise in.
        frontend: turns waveforms or pictures into features; of the same kind as the data.
        augmentation: an `Augmentation` for sound, an `ImageAugmentation` for pictures; None: the clips as they are.
        batch_size: clips in a batch, 1 to 65536.
        seed: at least 0.
        epoch: at least 0.
        balance: share of the classes in an epoch. None: as in the data; "uniform": all alike; a mapping such as
            {"unknown": 0.13, "silence": 0.07}: these shares, the rest to the other classes alike.
        word_power: within a class, a word with n clips is drawn in proportion to n ** word_power, 0 to 1; the word is
            the clip's name up to the first "/". 1: each clip alike; 0: each word alike.
        extra: a second data set with the same classes (such as synthetic speech) and the share of each class's clips
            drawn from its `train` split: one number from 0 to 1, or a mapping of class names to such numbers.
        steps: batches in an epoch; None: as many full batches as `data.train` has.
        mixup: alpha of the mix of the features of two clips, 0 to 10: m x_1 + (1 - m) x_2 with m from Beta(alpha,
            alpha), and the same mix of their labels, which then are float32 shares (batch, classes). 0: none.

    Raises:
        InvalidArgumentError: a setting is not allowed, data and front end don't fit, or there is nothing to draw.
        UnknownNameError: `balance` or `extra` names a class that `data` doesn't have.

    Examples:
        >>> data = analognets.datasets.load_dataset("speech_commands", speech)
        >>> batches = train_batches(data, analognets.datasets.MFCC(), batch_size=8, steps=2, seed=0)
        >>> [(tuple(features.shape), tuple(labels.shape)) for features, labels in batches]
        [((8, 49, 10, 1), (8,)), ((8, 49, 10, 1), (8,))]

    Source: mixup: Zhang et al., ICLR 2018 (from memory).
    """
    check_pipeline()
    check_number("train_batches", "mixup", mixup, 0, 10)
    _check_kinds(data.train, frontend, augmentation)
    augmentation = augmentation or (ImageAugmentation() if data.kind == "image" else Augmentation())
    order, labels = sample_epoch(
        data,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        balance=balance,
        word_power=word_power,
        extra=extra,
        steps=steps,
        make_silence=augmentation.silence_recut,
    )
    splits = [data.train.inputs, *([extra[0].train.inputs] if extra else [])]
    shape = splits[0].shape[1:]
    seeds = np.random.default_rng([seed, epoch, 1]).integers(-(2**31), 2**31, (len(order), 2)).astype(np.int32)
    noise = None
    if isinstance(augmentation, Augmentation) and isinstance(frontend, MFCC) and augmentation.needs_noise:
        noise = noise_bank(
            data.background,
            samples=shape[0],
            coloured_share=augmentation.coloured_noise,
            sample_rate=frontend.sample_rate,
        )
    silence = data.classes.index("silence") if "silence" in data.classes else -1
    graph = _training_graph(frontend, augmentation)

    def make(order: Any, label: Any, seed: Any) -> tuple[Any, Any]:
        audio = tf.numpy_function(functools.partial(_gather, splits), [order], splits[0].dtype, stateful=False)
        audio.set_shape([batch_size, *shape])
        found = graph(audio, label == silence, seed, noise)
        return _mixed(found, tf.one_hot(label, len(data.classes)), mixup, seed[0]) if mixup else (found, label)

    batches = tf.data.Dataset.from_tensor_slices((order, labels, seeds)).map(make)
    return _quiet(batches.prefetch(2))


def sample_epoch(
    data: TaskData,
    *,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    balance: str | Mapping[str, float] | None = None,
    word_power: float = 1.0,
    extra: tuple[TaskData, float | Mapping[str, float]] | None = None,
    steps: int | None = None,
    make_silence: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which clips stand in the batches of an epoch, and their labels: two arrays (steps, batch_size).

    A number counts through `data.train`, then through the train split of `extra`; -1 stands for a clip of silence to be
    made from nothing (only with `make_silence`, if there is none). Each group (class, source, word) gets its share to
    within one clip, and no clip of a group comes again before all of them came. Arguments as in `train_batches`.
    """
    check_integer("train_batches", "batch_size", batch_size, 1, 65536)
    for name, value in (("seed", seed), ("epoch", epoch)):
        check_integer("train_batches", name, value, 0, 2**63 - 1)
    check_number("train_batches", "word_power", word_power, 0, 1)
    steps = len(data.train) // batch_size if steps is None else check_integer("train_batches", "steps", steps, 1, 10**7)
    if steps == 0:
        raise InvalidArgumentError(
            f"The train split of {data.name} does not fill one batch. Use a smaller `batch_size` or give `steps`. "
            f"Received: batch_size={batch_size} with {len(data.train)} clips."
        )
    groups = list(_groups(data, balance, word_power, extra, make_silence))
    rng = np.random.default_rng([seed, epoch])
    ends = np.cumsum([share for _, share, _ in groups])
    ends = np.floor(ends / ends[-1] * steps * batch_size + rng.random()).astype(int)
    ends[-1] = steps * batch_size
    chosen, labels = [], []
    for (label, _, clips), count in zip(groups, np.diff(ends, prepend=0), strict=True):
        rounds = [rng.permutation(clips) for _ in range(-(-count // len(clips)))]
        chosen.append(np.concatenate([np.empty(0, np.int64), *rounds])[:count])
        labels.append(np.full(count, label, np.int32))
    order = rng.permutation(steps * batch_size).reshape(steps, batch_size)
    return np.concatenate(chosen)[order], np.concatenate(labels)[order]


def eval_batches(split: Split, frontend: MFCC | Image, *, batch_size: int = 256) -> tf.data.Dataset:
    """Return all clips of a split in order, unchanged: (features float32, labels int32); the last batch may be short.

    Raises:
        InvalidArgumentError: the split is empty, `batch_size` is not allowed, or the front end is of another kind.

    Examples:
        >>> data = analognets.datasets.load_dataset("speech_commands", speech)
        >>> batches = eval_batches(data.validation, analognets.datasets.MFCC(), batch_size=8)
        >>> [tuple(features.shape) for features, labels in batches]
        [(8, 49, 10, 1), (4, 49, 10, 1)]
    """
    found, labels = features(split, frontend, batch_size=batch_size)
    return _quiet(tf.data.Dataset.from_tensor_slices((found, labels)).batch(batch_size).prefetch(2))


def features(split: Split, frontend: MFCC | Image, *, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of all clips or pictures of a split, float32, and their int32 labels.

    Raises:
        InvalidArgumentError: the split is empty, `batch_size` is not allowed, or the front end is of another kind.
    """
    check_pipeline()
    check_integer("features", "batch_size", batch_size, 1, 65536)
    if not len(split):
        raise InvalidArgumentError("Features need at least one clip. Received: a split of no clips.")
    _check_kinds(split, frontend)
    graph = _plain_graph(frontend)
    starts = range(0, len(split), batch_size)
    found = [graph(tf.constant(split.inputs[start : start + batch_size])).numpy() for start in starts]
    return np.concatenate(found), np.asarray(split.labels, np.int32)


def standardize(frontend: MFCC, split: Split) -> MFCC:
    """Return the same front end with `mean` and `std` of each coefficient over the clips of a split set in it.

    Raises:
        InvalidArgumentError: the split is empty.
    """
    config = {**frontend.get_config(), "mean": None, "std": None}
    found, _ = features(split, MFCC.from_config(config))
    mean = found.mean(axis=(0, 1, 3), dtype=np.float64)
    std = np.maximum(found.std(axis=(0, 1, 3), dtype=np.float64), 1e-6)
    return MFCC.from_config({**config, "mean": tuple(mean.tolist()), "std": tuple(std.tolist())})


def _check_kinds(split: Split, frontend: Any, augmentation: Any = None) -> None:
    kinds = {"the data": split.kind, "the front end": frontend_kind(frontend)}
    if augmentation is not None:
        kinds["the augmentation"] = "image" if isinstance(augmentation, ImageAugmentation) else "audio"
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{what} for {kind}" for what, kind in kinds.items())
        raise InvalidArgumentError(
            "Data, front end and augmentation must be of one kind: MFCC and Augmentation for audio, Image and "
            f"ImageAugmentation for images. Received: {found}."
        )


def _quiet(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread makes every short pass wait for whole steps of up to seconds
    options.deterministic = True
    return batches.with_options(options)


def _mixed(inputs: Any, shares: Any, alpha: float, seed: Any) -> tuple[Any, Any]:
    """Return each sample mixed with the one at the other end of the batch, and so its shares of the classes."""
    pair = tf.random.stateless_gamma((2, tf.shape(inputs)[0]), seed ^ tf.constant([0, 0x5F3759DF]), alpha) + 1e-9
    part = pair[0] / tf.reduce_sum(pair, axis=0)
    mixed = []
    for values in (inputs, shares):
        own = tf.reshape(part, [-1] + [1] * (len(values.shape) - 1))
        mixed.append(own * values + (1.0 - own) * tf.reverse(values, [0]))
    return mixed[0], mixed[1]


def _gather(splits: list[np.ndarray], order: np.ndarray) -> np.ndarray:
    clips = np.zeros((len(order), *splits[0].shape[1:]), splits[0].dtype)
    first = 0
    for split in splits:
        here = (order >= first) & (order < first + len(split))
        clips[here] = split[order[here] - first]
        first += len(split)
    return clips


# Kept, so that the batches of the next epoch don't trace and compile again.
@functools.lru_cache(maxsize=8)
def _training_graph(frontend: MFCC | Image, augmentation: Augmentation | ImageAugmentation) -> Any:
    @tf.function
    def graph(audio: Any, silence: Any, seed: Any, noise: Noise | None) -> Any:
        draws = augmentation.draw(tf.shape(audio)[0], seed)
        return augmentation.features(frontend, audio, draws, noise=noise, silence=silence)

    return graph


@functools.lru_cache(maxsize=8)
def _plain_graph(frontend: MFCC | Image) -> Any:
    return tf.function(frontend, reduce_retracing=True)


def _groups(
    data: TaskData,
    balance: str | Mapping[str, float] | None,
    word_power: float,
    extra: tuple[TaskData, float | Mapping[str, float]] | None,
    make_silence: bool,
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Give (label, share of the epoch, clip numbers) of each group of clips that are drawn alike."""
    sources = [(data.train, 0)]
    if extra is not None:
        if not isinstance(extra, tuple) or len(extra) != 2 or getattr(extra[0], "classes", None) != data.classes:
            raise InvalidArgumentError(
                "`extra` of train_batches must be a data set with the same classes and a share, such as "
                f"(synthetic, 0.3), with the classes {data.classes!r}. Received: {extra!r:.300}."
            )
        sources.append((extra[0].train, len(data.train)))
    extra_shares = _class_shares("extra", extra[1] if extra else 0.0, data.classes)
    clips = [[_by_word(split, label, first) for split, first in sources] for label in range(len(data.classes))]
    if make_silence and "silence" in data.classes:
        of_silence = clips[data.classes.index("silence")]
        if not any(of_silence):
            of_silence[0] = [np.array([_NO_CLIP])]
    shares = _balance_shares(balance, data, [any(of_class) for of_class in clips])
    for label, of_class in enumerate(clips):
        parts = [1 - extra_shares[label], extra_shares[label]][: len(of_class)]
        parts = [part if words else 0.0 for part, words in zip(parts, of_class, strict=True)]
        if sum(parts) == 0:
            parts = [float(bool(words)) for words in of_class]
        for part, words in zip(parts, of_class, strict=True):
            weights = [len(word) ** word_power for word in words]
            for word, weight in zip(words, weights, strict=True):
                share = shares[label] * part / sum(parts) * weight / sum(weights)
                if share > 0:
                    yield label, share, word


def _by_word(split: Split, label: int, first: int) -> list[np.ndarray]:
    places = np.flatnonzero(split.labels == label)
    words = np.array([split.names[place].split("/")[0] if "/" in split.names[place] else "" for place in places])
    return [places[words == word] + first for word in np.unique(words)]


def _balance_shares(balance: str | Mapping[str, float] | None, data: TaskData, there: list[bool]) -> list[float]:
    classes = data.classes
    if balance is None:
        counts = np.bincount(data.train.labels, minlength=len(classes))
        return (counts / counts.sum()).tolist()
    if isinstance(balance, str) and balance != "uniform" or not isinstance(balance, (str, Mapping)):
        raise InvalidArgumentError(
            "`balance` of train_batches must be None, 'uniform' or a mapping of class names to shares. "
            f"Received: balance={balance!r}."
        )
    named = {} if isinstance(balance, str) else _named_shares("balance", balance, classes)
    missing = [name for name, share in named.items() if share > 0 and not there[classes.index(name)]]
    if missing:
        raise InvalidArgumentError(
            f"`balance` of train_batches asks for clips of {missing[0]!r}, of which {data.name} has none to train on. "
            "Leave it out (silence can be made from noise: Augmentation(silence_recut=True)). "
            f"Received: balance={named!r}."
        )
    others = [name for name, found in zip(classes, there, strict=True) if found and name not in named]
    rest = 1 - math.fsum(named.values())
    if rest < -1e-6 or (rest > 1e-6 and not others):
        raise InvalidArgumentError(
            "The shares in `balance` of train_batches must not sum to more than 1, nor to less if they name "
            f"every class. Received: balance={named!r}."
        )
    return [named.get(name, max(rest, 0.0) / len(others) if name in others else 0.0) for name in classes]


def _class_shares(setting: str, shares: float | Mapping[str, float], classes: tuple[str, ...]) -> list[float]:
    if isinstance(shares, Mapping):
        named = _named_shares(setting, shares, classes)
        return [named.get(name, 0.0) for name in classes]
    return [check_number("train_batches", setting, shares, 0, 1)] * len(classes)


def _named_shares(setting: str, shares: Mapping[str, float], classes: tuple[str, ...]) -> dict[str, float]:
    for name in shares:
        if name not in classes:
            raise UnknownNameError(f"class in `{setting}` of train_batches", name, classes)
    return {name: check_number("train_batches", f"{setting}[{name}]", share, 0, 1) for name, share in shares.items()}
