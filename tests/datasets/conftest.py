"""A tiny Speech Commands in the layout of the official archives, made of tones."""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
OTHERS = ("bed", "cat", "zero")
SPEAKERS = {"train": ("aa01", "aa02", "aa03"), "validation": ("bb01",), "test": ("cc01",)}


def wav_bytes(samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> bytes:
    data = np.asarray(samples, "<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tone(name: str, samples: int = 16_000) -> np.ndarray:
    """Return a sound that only this name has."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * rng.uniform(200, 2000) * np.arange(samples) / 16_000)
    return (8000 * wave + rng.normal(0, 100, samples)).astype(np.int16)


def write(path: Path, samples: np.ndarray, rate: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(samples, rate))


def build_tree(
    root: Path, *, archive: bool = True, listed: bool = False, words: Sequence[str] = KEYWORDS + OTHERS
) -> Path:
    """Write a data set into `root`; `listed` decides whether testing_list.txt names the test clips."""
    train = root / "speech_commands_v0.02"
    lists: dict[str, list[str]] = {"validation": [], "test": []}
    for split, speakers in SPEAKERS.items():
        if split == "test" and not listed:
            continue
        for name in [f"{word}/{speaker}_nohash_0.wav" for word in words for speaker in speakers]:
            write(train / name, tone(name))
            lists.get(split, []).append(name)
    (train / "validation_list.txt").write_text("\n".join(lists["validation"]) + "\n")
    (train / "testing_list.txt").write_text("".join(f"{name}\n" for name in lists["test"]))
    for name in ("hiss", "tap"):
        write(train / "_background_noise_" / f"{name}.wav", tone(name, 16 * 16_000) // 20)
    if archive:
        test = root / "speech_commands_test_set_v0.02"
        for word in KEYWORDS:
            write(test / word / "cc01_nohash_0.wav", tone(f"{word}/cc01_nohash_0.wav"))
        write(test / "_silence_" / "7.wav", tone("7") // 100)
        write(test / "_unknown_" / "cat_cc01_nohash_0.wav", tone("cat/cc01_nohash_0.wav"))
    return root


@pytest.fixture
def speech_tree(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a data set: `build_tree` without its folder."""
    return functools.partial(build_tree, tmp_path / "data")
