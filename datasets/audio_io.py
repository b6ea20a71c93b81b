"""Read recordings of any rate as 16 kHz int16: one file in bounded memory, or many at a time, cached, with notes."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analognets.core.files import open_plain
from analognets.datasets.base import CLIP_SAMPLES, SAMPLE_RATE
from analognets.datasets.clip_cache import ClipCache
from analognets.datasets.file_reader import Progress, Remark, read_files
from analognets.datasets.memory import DECODING, READING
from analognets.datasets.notes import Notes
from analognets.datasets.wav_header import closed, read_header
from analognets.errors import DataError, check_choice

__all__ = [
    "MOST_RATIO",
    "ON_LONG",
    "RATES",
    "UNITS",
    "Clips",
    "Progress",
    "Recording",
    "fit_length",
    "loudest",
    "note_remarks",
    "rate_remark",
    "read_clips",
    "read_recording",
    "read_wav",
    "resample",
    "to_int16",
    "unit_factor",
]

RATES = (1_000, 768_000)
"""Least and greatest samples a second of a recording."""

MOST_RATIO = 200_000
"""Largest number in the ratio of two rates, in lowest terms, between which sound is resampled."""

ON_LONG = ("loudest", "middle", "error")
"""What becomes of a clip of more than a second: its loudest or its middle second is kept, or it is refused."""

_MOST_BYTES = 1 << 28
_MOST_FRAMES = 1 << 25
_MOST_SECONDS = 600
_TAP_BYTES = 1_100
_FRAME_BYTES = 16  # of memory while a frame is decoded, averaged and resampled
_BLOCK = 1 << 18
_HINT = "Replace it or leave it out."

_WHOLE_UNIT = 65_536  # int16 values that were resampled lie a little over full scale
_FAR_OVER = 8.0
_SHORT = SAMPLE_RATE // 10
_LOST = 0.1


class Recording(NamedTuple):
    """One recording as `read_recording` gives it.

    Args:
        samples: mono int16.
        rate: samples a second of the file.
        remarks: what is odd about it: kinds of `analognets.datasets.notes` and a number each.
    """

    samples: np.ndarray
    rate: int
    remarks: Remark


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
    """Return the recording as mono int16 at `rate`, and the rate the file has; see `read_recording`."""
    found = read_recording(path, rate)
    return found.samples, found.rate


def read_recording(path: Path | str, rate: int = SAMPLE_RATE) -> Recording:
    """Return a recording as mono int16 at `rate`, and what is odd about it.

    Channels are averaged. Another rate is converted by a polyphase filter (scipy.signal.resample_poly). A header that a
    streaming program left open counts as reaching to the end. Whole numbers over 1 in a float file, and numbers in an
    int32 file that fit into int16, are int16 values.

    Args:
        path: .wav file, or anything else that libsndfile reads, of 1 kHz to 768 kHz and at most 10 minutes.
        rate: samples a second wanted.

    Raises:
        DataError: the file is missing, special, too large, cut short (which an MP3 does not tell), empty, not finite,
            of unknown scale or no audio.
    """
    with open_plain(path, "recording", limit=_MOST_BYTES, error=DataError, hint=_HINT) as file:
        with READING.hold(os.fstat(file.fileno()).st_size):
            found = _read(file.read(_MOST_BYTES), path, rate)
    if not len(found.samples):
        raise DataError(f"The recording {path} holds no samples. {_HINT}")
    return found


def _read(data: bytes, path: Path | str, rate: int) -> Recording:
    header = read_header(data, path)
    odd = {"header": 1.0} if header and header.is_odd else {}
    if header and (header.encoding, header.bits, header.channels, header.rate) == (1, 16, 1, rate):
        _check_length(path, header.size // 2, rate)
        return Recording(np.frombuffer(data, "<i2", header.size // 2, header.start), rate, odd)
    if header and header.is_open:
        data = closed(data, header)
    found = _decode(data, path, rate)
    return found._replace(remarks={**odd, **found.remarks})


def _check_length(path: Path | str, frames: int, rate: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(
            f"The recording {path} must have {RATES[0]:,} to {RATES[1]:,} samples a second. Received: {rate:,}. {_HINT}"
        )
    if frames > min(_MOST_FRAMES, _MOST_SECONDS * rate):
        length = "an unknown length" if frames >= 1 << 62 else f"{frames / rate:,.0f} s at {rate:,} Hz"
        raise DataError(
            f"The recording {path} may be {_MOST_SECONDS} s long and hold {_MOST_FRAMES:,} samples a channel. "
            f"Received: {length}. Cut it into clips, or write it again."
        )


def _decode(data: bytes, path: Path | str, rate: int) -> Recording:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            found, frames = int(file.samplerate), int(file.frames)
            _check_length(path, frames, found)
            with DECODING.hold(_memory(path, frames, found, rate)):
                return _mono(file, path, rate)
    except DataError:
        raise
    except Exception as error:  # what a decoder raises on bytes that were no sound is its own affair
        why = str(getattr(error, "error_string", error)).strip().rstrip(".") or type(error).__name__
        raise DataError(f"Can't read {path} as audio: {why}. {_HINT}") from error


def _memory(path: Path | str, frames: int, found: int, rate: int) -> int:
    """Return about how many bytes decoding and resampling take; the filter grows with the terms of the ratio."""
    ratio = max(found, rate) // math.gcd(found, rate) if found != rate else 0
    if ratio > MOST_RATIO:
        raise DataError(
            f"The recording {path} can't be resampled to {rate:,} Hz: the ratio of the rates, in lowest terms, may "
            f"hold numbers up to {MOST_RATIO:,}. Received: {found:,} Hz. Write it at a common rate, such as 48,000 Hz."
        )
    return _FRAME_BYTES * (frames + frames * rate // found) + 4 * _BLOCK + _TAP_BYTES * ratio


def _mono(file: Any, path: Path | str, rate: int) -> Recording:
    """Decode block by block, average the channels and resample."""
    frames, found, subtype = int(file.frames), int(file.samplerate), str(file.subtype)
    mono = np.empty(frames, np.float32)
    done, peak, whole = 0, 0.0, True
    while done < frames:
        block = file.read(min(max(1, _BLOCK // file.channels), frames - done), dtype="float32", always_2d=True)
        if not len(block):
            break
        mono[done : done + len(block)] = block.mean(axis=1)
        done += len(block)
        peak = max(peak, float(np.max(np.abs(block))))
        whole = whole and bool((block == np.rint(block)).all())
    mono = mono[:done]
    if not np.isfinite(mono).all():
        raise DataError(f"The recording {path} holds samples that are not finite. {_HINT}")
    factor, remarks = unit_factor(path, subtype, peak, whole)
    if factor != 1:
        mono *= np.float32(factor)
    return Recording(to_int16(resample(mono, found, rate)), found, remarks)


def unit_factor(path: Path | str, subtype: str, peak: float, whole: bool) -> tuple[float, Remark]:
    """Return what brings the samples to [-1, 1], and a remark if that is not what the file's type says."""
    if subtype == "PCM_32":
        fits = 0 < peak <= 2.0**-16
        return (65536.0, {"unit": peak * 2**31}) if fits else (1.0, {})
    if subtype not in ("FLOAT", "DOUBLE") or peak <= 1:
        return 1.0, {}
    if not whole and peak <= _FAR_OVER:
        return 1.0, {"over": peak}
    if peak <= _WHOLE_UNIT:
        return 2.0**-15, {"unit": peak}
    raise DataError(
        f"The recording {path} holds float samples of unknown scale: they must lie from -1 to 1, or be int16 values. "
        f"Received: up to {peak:.4g}. Divide them by the full scale, or leave it out."
    )


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
    """Return float sound in [-1, 1] as int16: round(32768 x), saturated.

    Examples:
        >>> to_int16(np.array([0.5, -1.0, 2.0])).tolist()
        [16384, -32768, 32767]
    """
    return np.clip(np.rint(np.asarray(sound, np.float32) * 32768), -32768, 32767).astype(np.int16)


def fit_length(samples: np.ndarray, length: int = CLIP_SAMPLES) -> np.ndarray:
    """Return `length` samples: the middle of a longer clip; a shorter one in the middle of zeros."""
    missing = length - len(samples)
    if missing <= 0:
        return samples[-missing // 2 :][:length]
    return np.pad(samples, (missing // 2, missing - missing // 2))


def loudest(samples: np.ndarray, length: int = CLIP_SAMPLES) -> int:
    """Return where the `length` samples with the most energy start.

    Where neighbouring places have the same energy to within 1 %, the one in the middle of them counts, so that a short
    word stands in the middle and a steady sound is cut in its middle. The median, an offset of the microphone, is no
    sound.

    Args:
        samples: int16, at least `length` of them.
        length: how many are wanted.
    """
    return _loudest(_energy(samples), length)


def _loudest(total: np.ndarray, length: int) -> int:
    """Return where the `length` samples with the most energy start, from the energy in front of each sample."""
    energy = total[length:] - total[:-length]
    best = int(np.argmax(energy))
    worse = np.flatnonzero(energy * 100 < energy[best] * 99)
    place = int(np.searchsorted(worse, best))
    first = int(worse[place - 1]) + 1 if place else 0
    last = int(worse[place]) - 1 if place < len(worse) else len(energy) - 1
    return (first + last) // 2


_ENERGY_BYTES = 40
"""What finding the loudest place takes for each sample."""


def _energy(samples: np.ndarray) -> np.ndarray:
    """Return the energy in front of each sample and, last, of all of them."""
    sound = samples.astype(np.int64) - int(np.median(samples))
    return np.concatenate([[0], np.cumsum(sound * sound)])


def read_clips(
    files: Sequence[Path],
    *,
    root: Path,
    on_corrupt: str = "error",
    on_long: str = "loudest",
    cache: ClipCache | None = None,
    progress: Progress | None = None,
    notes: Notes | None = None,
) -> Clips:
    """Return one second of each file at 16 kHz: mono, resampled; a shorter clip stands in the middle of zeros.

    Args:
        files: .wav files.
        root: folder the names in notes are relative to.
        on_corrupt: "error" stops at a file that can't be read; "skip" leaves it out and notes its name.
        on_long: one of `ON_LONG`: "loudest" keeps the second with the most energy of a longer clip.
        cache: keeps what was read, for the same files of the same sizes and times.
        progress: called with (done, total).
        notes: where to collect what is noticed; None for sentences in the result.

    Raises:
        DataError: a file can't be read and `on_corrupt` is "error"; the message names it.
    """
    check_choice("read_clips", "on_corrupt", on_corrupt, ("error", "skip"))
    check_choice("read_clips", "on_long", on_long, ON_LONG)

    def read(path: Path) -> tuple[np.ndarray, Remark]:
        found = read_recording(path)
        clip, remarks = _one_second(path, found.samples, on_long)
        return clip, {**found.remarks, **rate_remark(found), **remarks}

    blank = np.zeros(CLIP_SAMPLES, np.int16)
    settings = f"{CLIP_SAMPLES} {on_long}"
    found = read_files(
        files, read, blank, root=root, on_corrupt=on_corrupt, cache=cache, settings=settings, progress=progress
    )
    told = Notes("clips", cut=on_long) if notes is None else notes
    for name, remark in found.remarks.items():
        note_remarks(told, name, remark)
    told.extend("skipped", found.faults)
    return Clips(found.inputs, found.kept, (*(told.sentences() if notes is None else ()), *found.notes))


UNITS = {
    "header": "its numbers disagree",
    "long": "{:.1f} s",
    "lost": "{:.0%}",
    "over": "up to {:.3g}",
    "rate": "{:.0f} Hz",
    "short": "{:.3f} s",
    "unit": "up to {:.6g}",
}
"""How the number of a remark is shown."""


def note_remarks(notes: Notes, name: str, remarks: Remark) -> None:
    """Note what is odd about a recording, with the number of each remark."""
    for kind, value in remarks.items():
        notes.add(kind, f"{name} ({UNITS[kind].format(value)})")


def rate_remark(found: Recording) -> Remark:
    """Return a remark if a recording had another rate than clips have."""
    return {} if found.rate == SAMPLE_RATE else {"rate": float(found.rate)}


def _one_second(path: Path, samples: np.ndarray, on_long: str) -> tuple[np.ndarray, Remark]:
    seconds = len(samples) / SAMPLE_RATE
    if len(samples) <= CLIP_SAMPLES:
        return fit_length(samples), {"short": seconds} if len(samples) < _SHORT else {}
    if on_long == "error":
        raise DataError(
            f"The recording {path} must be at most 1 s long. Received: {seconds:.2f} s. Cut it, or pass "
            "on_long='loudest' to keep the second with the most energy."
        )
    with DECODING.hold(_ENERGY_BYTES * len(samples)):
        total = _energy(samples)
        start = _loudest(total, CLIP_SAMPLES) if on_long == "loudest" else (len(samples) - CLIP_SAMPLES) // 2
        lost = 1 - int(total[start + CLIP_SAMPLES] - total[start]) / int(total[-1]) if total[-1] else 0.0
        del total
    clip = samples[start : start + CLIP_SAMPLES]
    return clip, {"long": seconds, **({"lost": lost} if lost > _LOST else {})}
