"""The voices of espeak-ng, and having words spoken by them in a process of its own."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from analognets.core.drafts import temporary_room
from analognets.core.provenance import installed_version
from analognets.core.seeds import generator
from analognets.errors import DataError, MissingExtraError

__all__ = ["ACCENTS", "VARIANTS", "Utterance", "library_version", "speak", "split_voices"]

_WORKER = Path(__file__).with_name("espeak_worker.py")

ACCENTS = (
    "en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
)  # fmt: skip
"""Accents of English."""

VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee "
    "Marco Mario Michael Mike Nguyen Reed adam anika announcer antonio aunty belinda benjamin boris caleb croak david "
    "ed edward grandma grandpa gustave ian iven iven3 john kaukovalta klatt3 klatt4 linda marcelo max michel miguel "
    "norbert pablo paul pedro quincy rob robert sandro shelby steph travis victor zac"
).split()
"""Timbres: what makes a voice a man's, a woman's, old, hoarse and so on. Robots and whispering are left out."""


class Utterance(NamedTuple):
    """One word to be spoken: voice "accent+variant", rate in words a minute, pitch and pitch range 0 to 100.

    Examples:
        >>> word = Utterance(voice="en-us+f1", text="yes", rate=160, pitch=50, range=40)
        >>> word.text
        'yes'
    """

    voice: str
    text: str
    rate: int
    pitch: int
    range: int


def split_voices(voices: int, seed: int) -> dict[str, tuple[str, ...]]:
    """Return the voices of each split: 70 % training, 15 % validation, 15 % test, no timbre in two of them.

    Args:
        voices: how many in all, 20 to the number of accents times timbres that every split can have.
        seed: the same seed gives the same voices.

    Examples:
        >>> {name: len(voices) for name, voices in split_voices(20, seed=0).items()}
        {'train': 14, 'validation': 3, 'test': 3}
    """
    rng = generator(seed, "voices")
    timbres = [VARIANTS[i] for i in rng.permutation(len(VARIANTS))]
    held = round(0.15 * voices)
    border = round(0.15 * len(timbres))
    parts = {"train": timbres[2 * border :], "validation": timbres[:border], "test": timbres[border : 2 * border]}
    wanted = {"train": voices - 2 * held, "validation": held, "test": held}
    return {name: _pairs(parts[name], wanted[name], rng) for name in parts}


def _pairs(timbres: Sequence[str], wanted: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Return `wanted` pairs of accent and timbre; no timbre comes n + 1 times before every one has come n times."""
    first = rng.integers(len(ACCENTS), size=len(timbres))
    return tuple(
        f"{ACCENTS[(first[i % len(timbres)] + i // len(timbres)) % len(ACCENTS)]}+{timbres[i % len(timbres)]}"
        for i in range(wanted)
    )


def library_version() -> str:
    """Return the version of the wheel that holds libespeak-ng.

    Raises:
        MissingExtraError: it is not installed.
    """
    version = installed_version("espeakng-loader")
    if version is None:
        raise MissingExtraError("synthetic_speech", "speech")
    return version


def speak(utterances: Sequence[Utterance]) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (float32 samples in [-1, 1], samples a second) for each word, spoken by espeak-ng.

    The same list gives the same sound: each call runs in a fresh process.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        DataError: the library failed or does not know a voice.
    """
    library_version()
    import espeakng_loader

    library = [espeakng_loader.get_library_path(), espeakng_loader.get_data_path()]
    with temporary_room(), tempfile.TemporaryFile() as jobs, tempfile.TemporaryFile() as said:
        jobs.write(json.dumps(utterances).encode())
        jobs.seek(0)
        command = [sys.executable, "-I", "-S", str(_WORKER), *library]
        with subprocess.Popen(command, stdin=jobs, stdout=subprocess.PIPE, stderr=said) as process:
            try:
                yield from _listen(cast(BinaryIO, process.stdout), utterances)
                code = process.wait()
            except EOFError:
                code = process.wait() or -1
            finally:
                process.kill()
        if code:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split()) or "no message"
            raise DataError(
                f"espeak-ng stopped with exit code {code} while speaking: {words}. "
                "Update espeakng-loader, or use recorded data."
            )


def _listen(pipe: BinaryIO, utterances: Sequence[Utterance]) -> Iterator[tuple[np.ndarray, int]]:
    rate = _number(pipe)
    for utterance in utterances:
        count = _number(pipe)
        if count < 0:
            what = "does not know the voice" if count == -1 else f"could not say {utterance.text!r} with the voice"
            raise DataError(f"espeak-ng {what} {utterance.voice!r}. Update espeakng-loader, or use recorded data.")
        data = pipe.read(2 * count)
        if len(data) < 2 * count:
            raise EOFError
        yield np.frombuffer(data, "<i2").astype(np.float32) / 32768, rate


def _number(pipe: BinaryIO) -> int:
    data = pipe.read(4)
    if len(data) < 4:
        raise EOFError
    return struct.unpack("<i", data)[0]
