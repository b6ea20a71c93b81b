"""Read recordings of any rate as 16 kHz int16, many at a time, and keep what was read in a cache."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analognets.datasets.base import CLIP_SAMPLES, SAMPLE_RATE
from analognets.datasets.clip_cache import ClipCache, content_key
from analognets.errors import DataError, check_choice

__all__ = ["Clips", "Progress", "fit_length", "read_clips", "read_wav", "resample", "to_int16"]

Progress = Callable[[int, int], None]
"""Called with (done, total) while something long goes on."""

_BATCH = 512
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
        raise DataError(f"Can't read the recording {path}: {error.strerror or error}.") from error
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
    key = content_key(files, root) if cache else ""
    found = cache.load(key, len(files)) if cache else None
    faults: dict[str, str] = {}
    rates: dict[str, int] = {}
    extra = ""
    inputs: np.ndarray | None = None

    def batches() -> Iterator[np.ndarray]:
        return _batches(files, root, on_corrupt, faults, rates, progress)

    if found:
        inputs, faults, rates = found
    elif cache:
        inputs, extra = cache.store(key, len(files), batches(), faults, rates)
    if inputs is None:
        inputs = np.empty((len(files), CLIP_SAMPLES), np.int16)
        for i, batch in enumerate(batches()):
            inputs[i * _BATCH : i * _BATCH + len(batch)] = batch
    if faults and on_corrupt == "error":
        raise DataError(next(iter(faults.values())))
    if progress:
        progress(len(files), len(files))
    names = [_name(path, root) for path in files] if faults else []
    kept = np.array([i for i, name in enumerate(names) if name not in faults]) if faults else np.arange(len(files))
    return Clips(inputs[kept] if faults else inputs, kept, (*_notes(faults, rates), *([extra] if extra else [])))


def _batches(
    files: Sequence[Path],
    root: Path,
    on_corrupt: str,
    faults: dict[str, str],
    rates: dict[str, int],
    progress: Progress | None,
) -> Iterator[np.ndarray]:
    """Yield the clips in blocks, in order; zeros stand for a file in `faults`."""

    def read(path: Path) -> tuple[np.ndarray, int, str]:
        try:
            samples, rate = read_wav(path)
        except DataError as error:
            if on_corrupt == "error":
                raise
            return np.zeros(CLIP_SAMPLES, np.int16), SAMPLE_RATE, str(error)
        return fit_length(samples), rate, ""

    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        for first in range(0, len(files), _BATCH):
            chosen = files[first : first + _BATCH]
            read_now = list(pool.map(read, chosen))
            for path, (_, rate, fault) in zip(chosen, read_now, strict=True):
                if fault:
                    faults[_name(path, root)] = fault
                if rate != SAMPLE_RATE:
                    rates[_name(path, root)] = rate
            if progress:
                progress(first + len(chosen), len(files))
            yield np.stack([samples for samples, _, _ in read_now])


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _notes(faults: dict[str, str], rates: dict[str, int]) -> Iterable[str]:
    if rates:
        name, rate = next(iter(rates.items()))
        yield f"{len(rates)} clips were resampled to {SAMPLE_RATE} Hz, such as {name} ({rate} Hz)."
    if faults:
        shown = ", ".join(list(faults)[:5]) + (", ..." if len(faults) > 5 else "")
        yield f"{len(faults)} clips can't be read and were skipped: {shown}."
