"""A tiny Speech Commands in the layout of the official archives, made of tones."""

from __future__ import annotations

import functools
import hashlib
import http.server
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
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


def picture(name: str, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Return a picture, uint8 (height, width, 3), that only this name has: smooth, with an edge."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    rng = np.random.default_rng(seed)
    height, width = size
    canvas = rng.uniform(20, 120, 3) + np.linspace(0, 60, height)[:, None, None] + np.zeros((height, width, 3))
    canvas[:, int(rng.uniform(0.2, 0.8) * width) :] += rng.uniform(20, 70, 3)
    return canvas.astype(np.uint8)


def write_picture(path: Path, size: tuple[int, int] = (24, 32)) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(path.name, size)).save(path)


def build_pictures(root: Path, counts: dict[str, int], size: tuple[int, int] = (24, 32), suffix: str = ".png") -> Path:
    """Write so many pictures into each folder, such as {"train/person": 5}; names differ over all folders."""
    for folder, count in counts.items():
        for number in range(count):
            write_picture(root / folder / f"{folder.replace('/', '_')}_{number:03d}{suffix}", size)
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes pictures: `build_pictures` without its folder."""
    return functools.partial(build_pictures, tmp_path / "data")


@pytest.fixture
def web() -> Iterator[Callable[[Path], str]]:
    """Return a function that serves a folder over HTTP and returns its address."""
    running = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

    def serve(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()
