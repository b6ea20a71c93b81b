"""Synthetic speech: the 12 keyword-spotting classes spoken by the synthesiser espeak-ng, for machines without data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analognets.core.provenance import json_sha256
from analognets.core.seeds import generator
from analognets.datasets.audio_io import Progress, fit_length, resample, to_int16
from analognets.datasets.base import CLIP_SAMPLES, KWS_CLASSES, SAMPLE_RATE, DatasetInfo, Split, TaskData
from analognets.datasets.clip_cache import ClipCache, cache_folder
from analognets.datasets.espeak import Utterance, library_version, speak, split_voices
from analognets.datasets.kws_rules import SilenceRule, as_rule, cut_silence, region
from analognets.datasets.noise import recordings
from analognets.datasets.speech_layout import KEYWORDS, WORDS
from analognets.errors import DataError, check_integer

__all__ = ["OTHER_WORDS", "load_synthetic_speech"]

_RECIPE = "synthetic_speech 1"
_NOISE_SECONDS = 30
_BLOCK = 128
_UNKNOWN = KWS_CLASSES.index("unknown")
_SILENCE = KWS_CLASSES.index("silence")

OTHER_WORDS = tuple(word for word in WORDS if word not in KEYWORDS) + tuple(
    "hello water window music morning paper green table open close light doctor number winter seventeen butter "
    "mountain please garden kitchen answer question summer ocean river".split()
)
"""What the class `unknown` says: the other words of Speech Commands, and 25 more."""


class _Spoken(NamedTuple):
    """One clip to be made: what is said, and where and how loud it stands in its second."""

    label: int
    name: str
    say: Utterance
    shift: float  # of the middle of the word from the middle of the clip, s
    loudness: float  # peak, share of full scale
    noise: float  # root mean square, share of full scale
    tilt: float  # of the microphone: coefficient of a first-order filter, > 0 darker, < 0 brighter


def load_synthetic_speech(
    *,
    clips_per_class: int = 180,
    held_out_per_class: int | None = None,
    voices: int = 100,
    seed: int = 0,
    silence: SilenceRule | Mapping[str, Any] | None = None,
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return one-second int16 clips at 16 kHz of the 12 classes, spoken by espeak-ng; always labelled synthetic.

    Each clip is one word by one voice (accent and timbre) at random rate, pitch, position, loudness and tone, over
    generated noise; no timbre is heard in two splits. Silence is the noise alone.

    Args:
        clips_per_class: training clips of each class, 1 to 5000.
        held_out_per_class: validation clips and, as many again, test clips of each class, 1 to 5000; None for a
            quarter of `clips_per_class`.
        voices: number of voices over all splits, 20 to 300.
        seed: 0 to 2^32 - 1; the same seed gives the same clips on the same machine with the same packages.
        silence: rule for the loudness of silence; its `fraction` is not used, since all classes are of one size.
        cache_dir: where to keep the clips; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (clips done, clips in all).

    Raises:
        MissingExtraError: espeakng-loader is not installed (extra `speech`).
        DataError: the synthesiser failed.
        InvalidArgumentError: an argument is not allowed.

    Source: our own; the loudness and position of words follow no recorded data set.
    """
    train = check_integer("load_synthetic_speech", "clips_per_class", clips_per_class, 1, 5000)
    held = max(1, train // 4) if held_out_per_class is None else held_out_per_class
    held = check_integer("load_synthetic_speech", "held_out_per_class", held, 1, 5000)
    check_integer("load_synthetic_speech", "voices", voices, 20, 300)
    check_integer("load_synthetic_speech", "seed", seed, 0, 2**32 - 1)
    rule = as_rule(SilenceRule, silence)
    version = library_version()
    noise = recordings(_NOISE_SECONDS, seed)
    store = ClipCache(cache_folder(cache_dir) / "clips", keep=12) if cache else None
    total, done = (len(KWS_CLASSES) - 1) * (train + 2 * held), 0
    splits, notes = {}, []
    for name, speakers in split_voices(voices, seed).items():
        clips = train if name == "train" else held
        plan = _plan(name, speakers, clips, seed)
        report = _offset(progress, done, total)
        audio, trouble = _audio(plan, name, noise, rule, seed, store, version, report)
        done += len(plan)
        notes += [trouble] if trouble else []
        quiet, quiet_names = cut_silence(noise, name, clips, rule, seed)
        splits[name] = Split(
            np.concatenate([audio, quiet]),
            np.array([spoken.label for spoken in plan] + [_SILENCE] * clips, np.int32),
            (*(spoken.name for spoken in plan), *quiet_names),
            (*(spoken.say.voice for spoken in plan), *[""] * clips),
        )
    background = [sound[region(len(sound), "train", rule.train_share)] for _, sound in sorted(noise.items())]
    info = _info(splits, voices, version, notes)
    return TaskData(
        "synthetic_speech", splits["train"], splits["validation"], splits["test"], KWS_CLASSES, background, info
    )


def _offset(progress: Progress | None, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total) if progress else None


def _plan(split: str, voices: tuple[str, ...], clips: int, seed: int) -> list[_Spoken]:
    """Return what to say, sorted by voice, which espeak-ng changes slowly."""
    plan = []
    for label, word in enumerate(KWS_CLASSES):
        if label == _SILENCE:
            continue
        rng = generator(seed, "plan", split, word)
        order = rng.permutation(len(voices))
        others = rng.permutation(len(OTHER_WORDS))
        for i in range(clips):
            voice = voices[order[i % len(voices)]]
            text = OTHER_WORDS[others[i % len(others)]] if label == _UNKNOWN else word
            say = Utterance(
                voice, text, *(int(rng.integers(low, high)) for low, high in ((110, 221), (25, 76), (20, 91)))
            )
            loudness, noise = np.exp(rng.uniform(np.log([0.05, 1e-4]), np.log([0.9, 0.02])))
            plan.append(
                _Spoken(
                    label,
                    f"{text}/{voice}_{split}_{label}_{i:04d}",
                    say,
                    float(rng.uniform(-0.2, 0.2)),
                    float(loudness),
                    float(min(noise, 0.25 * loudness)),
                    float(rng.uniform(-0.6, 0.6)),
                )
            )
    return sorted(plan, key=lambda spoken: (spoken.say.voice, spoken.name))


def _audio(
    plan: list[_Spoken],
    split: str,
    noise: Mapping[str, np.ndarray],
    rule: SilenceRule,
    seed: int,
    store: ClipCache | None,
    version: str,
    progress: Progress,
) -> tuple[np.ndarray, str]:
    """Return the clips of `plan`, from the cache if they are there, and a note if the cache is at fault."""
    key = json_sha256([_RECIPE, version, np.__version__, split, seed, rule.train_share, plan])[:24]
    found, damage = store.load(key, len(plan)) if store else (None, "")
    if found:
        progress(len(plan), len(plan))
        return found.rows, ""
    trouble = ""
    if store:
        kept, trouble = store.store(key, len(plan), _blocks(plan, split, noise, rule, seed, progress), {}, {})
        if kept is not None:
            return kept, damage
    return np.concatenate(list(_blocks(plan, split, noise, rule, seed, progress))), trouble


def _blocks(
    plan: list[_Spoken], split: str, noise: Mapping[str, np.ndarray], rule: SilenceRule, seed: int, progress: Progress
) -> Iterator[np.ndarray]:
    rng = generator(seed, "mix", split)
    parts = [noise[name][region(len(noise[name]), split, rule.train_share)] for name in sorted(noise)]
    block = []
    for i, (spoken, (sound, rate)) in enumerate(zip(plan, speak([spoken.say for spoken in plan]), strict=True)):
        part = parts[rng.integers(len(parts))]
        start = rng.integers(len(part) - CLIP_SAMPLES + 1)
        block.append(_mix(spoken, resample(sound, rate, SAMPLE_RATE), part[start : start + CLIP_SAMPLES]))
        if len(block) == _BLOCK or i + 1 == len(plan):
            yield np.stack(block)
            block = []
            progress(i + 1, len(plan))


def _mix(spoken: _Spoken, sound: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return one second: the word at its place and loudness, over noise of its loudness."""
    peak = float(np.max(np.abs(sound), initial=0.0))
    heard = np.flatnonzero(np.abs(sound) > 0.02 * peak)
    if peak < 1e-3 or len(heard) < SAMPLE_RATE // 50:
        raise DataError(
            f"espeak-ng said nothing for {spoken.say.text!r} with the voice {spoken.say.voice!r}. "
            "Update espeakng-loader, or use recorded data."
        )
    word = sound[heard[0] : heard[-1] + 1]
    word = fit_length(np.append(word[:1], word[1:] + spoken.tilt * word[:-1]), min(len(word), CLIP_SAMPLES))
    clip = np.zeros(CLIP_SAMPLES, np.float32)
    free = CLIP_SAMPLES - len(word)
    start = int(np.clip(free / 2 + spoken.shift * SAMPLE_RATE, 0, free))
    clip[start : start + len(word)] = word * (spoken.loudness / np.max(np.abs(word)))
    power = np.sqrt(np.mean(np.square(noise, dtype=np.float64)))
    return to_int16(clip + noise * (spoken.noise / max(power, 1e-9)))


def _info(splits: Mapping[str, Split], voices: int, version: str, notes: list[str]) -> DatasetInfo:
    counts = ", ".join(f"{len(split):,} {name} clips" for name, split in splits.items())
    statement = (
        f"Synthetic: {len(KWS_CLASSES)} classes spoken by the synthesiser espeak-ng (espeakng-loader {version}) in "
        f"{voices} voices over generated noise; no human voice is in it. {counts[:1].upper()}{counts[1:]}; no timbre "
        "is heard in two splits. Accuracy on it says nothing about recorded speech."
    )
    return DatasetInfo(
        "synthetic_speech",
        _RECIPE.split()[1],
        "https://github.com/espeak-ng/espeak-ng",
        "generated on this machine; the synthesiser itself is GPL-3.0-or-later",
        "espeak-ng, https://github.com/espeak-ng/espeak-ng",
        statement,
        synthetic=True,
        notes=tuple(notes),
    )
