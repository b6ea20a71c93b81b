"""Read recordings of any rate as 16 kHz int16, many at a time, and keep what was read in a cache."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analognets.datasets.base import CLIP_SAMPLES, SAMPLE_RATE
from analognets.datasets.clip_cache import ClipCache
from analognets.datasets.file_reader import Progress, fault_notes, read_files
from analognets.errors import DataError, check_choice, reason

__all__ = ["Clips", "Progress", "fit_length", "read_clips", "read_wav", "resample", "to_int16"]

_UNKNOWN_SIZE = (0, 0xFFFFFFFF)


class _Header(NamedTuple):
    encoding: int
    channels: int
    rate: int
    bits: int
    start: int
    size: int


@dataclass(frozen=True, eq=False)
class Clips:
    """What `read_clips` returns.

    Args:
        inputs: int16 (clips, 16000); possibly a read-only memory map.
        kept: position of each clip in the list of files that was asked for.
        notes: one sentence for each thing that was changed or left out.
    """

    inputs: np.ndarray
    kept: np.ndarray
    notes: tuple[str, ...]


def read_wav(path: Path | str, rate: int = SAMPLE_RATE) -> tuple[np.ndarray, int]:
    """Return the recording as mono int16 at `rate`, and the rate the file has.

    Channels are averaged. Another rate is converted by a polyphase filter (scipy.signal.resample_poly).

    Args:
        path: .wav file, or anything else that libsndfile reads.
        rate: samples a second wanted.

    Raises:
        DataError: the file is missing, cut short, empty, not finite or no audio.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"Can't read the recording {path}: {reason(error)}.") from error
    header = _wav_header(data, path)
    if header and (header.encoding, header.bits, header.channels, header.rate) == (1, 16, 1, rate):
        samples = np.frombuffer(data, "<i2", header.size // 2, header.start)
        found = rate
    else:
        samples, found = _decode(data, path, rate)
    if not len(samples):
        raise DataError(f"The recording {path} holds no samples. Replace it or leave it out.")
    return samples, found


def _wav_header(data: bytes, path: Path | str) -> _Header | None:
    """Return where the samples of a RIFF file stand, None if it is of another kind or leaves its size open."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, form = 12, None
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        at += 8
        if kind == b"fmt " and at + 16 <= len(data):
            form = struct.unpack_from("<HHIIHH", data, at)
        if kind == b"data":
            if size in _UNKNOWN_SIZE or form is None:
                return None
            if at + size > len(data):
                raise DataError(
                    f"The recording {path} is cut short: its header promises {size} bytes of sound. "
                    f"Received: {len(data) - at} bytes. Replace it or leave it out."
                )
            return _Header(form[0], form[1], form[2], form[5], at, size)
        at += size + size % 2
    return None


def _decode(data: bytes, path: Path | str, rate: int) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        sound, found = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise DataError(f"Can't read {path} as audio: {reason}. Replace it or leave it out.") from error
    mono = sound.mean(axis=1)
    if not np.isfinite(mono).all():
        raise DataError(f"The recording {path} holds samples that are not finite. Replace it or leave it out.")
    return to_int16(resample(mono, found, rate)), found


def resample(sound: np.ndarray, found: int, wanted: int) -> np.ndarray:
    """Return `sound` at another rate: polyphase filter of scipy.signal.resample_poly, ratio in lowest terms.

    Args:
        sound: float (samples,).
        found: its samples a second.
        wanted: samples a second to return.
    """
    if found == wanted or not len(sound):
        return sound
    from scipy.signal import resample_poly

    divisor = int(np.gcd(found, wanted))
    return resample_poly(sound, wanted // divisor, found // divisor).astype(np.float32)


def to_int16(sound: np.ndarray) -> np.ndarray:
    """Return float sound in [-1, 1] as int16: round(32768 x), saturated."""
    return np.clip(np.rint(np.asarray(sound, np.float32) * 32768), -32768, 32767).astype(np.int16)


def fit_length(samples: np.ndarray, length: int = CLIP_SAMPLES) -> np.ndarray:
    """Return `length` samples: the middle of a longer clip; a shorter one in the middle of zeros."""
    missing = length - len(samples)
    if missing <= 0:
        return samples[-missing // 2 :][:length]
    return np.pad(samples, (missing // 2, missing - missing // 2))


def read_clips(
    files: Sequence[Path],
    *,
    root: Path,
    on_corrupt: str = "error",
    cache: ClipCache | None = None,
    progress: Progress | None = None,
) -> Clips:
    """Return one second of each file at 16 kHz: mono, resampled, centred (see `read_wav`, `fit_length`).

    Args:
        files: .wav files.
        root: folder the names in notes are relative to.
        on_corrupt: "error" stops at a file that can't be read; "skip" leaves it out and notes its name.
        cache: keeps what was read, for the same files of the same sizes and times.
        progress: called with (done, total).

    Raises:
        DataError: a file can't be read and `on_corrupt` is "error"; the message names it.
    """
    check_choice("read_clips", "on_corrupt", on_corrupt, ("error", "skip"))

    def read(path: Path) -> tuple[np.ndarray, int]:
        samples, rate = read_wav(path)
        return fit_length(samples), 0 if rate == SAMPLE_RATE else rate

    blank = np.zeros(CLIP_SAMPLES, np.int16)
    found = read_files(
        files, read, blank, root=root, on_corrupt=on_corrupt, cache=cache, settings=str(CLIP_SAMPLES), progress=progress
    )
    return Clips(found.inputs, found.kept, (*_notes(found.remarks), *fault_notes(found.faults, "clips"), *found.notes))


def _notes(rates: dict[str, int]) -> Iterable[str]:
    if rates:
        name, rate = next(iter(rates.items()))
        yield f"{len(rates)} clips were resampled to {SAMPLE_RATE} Hz, such as {name} ({rate} Hz)."
