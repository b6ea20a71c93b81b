"""A recording of any length, read block by block: what `read_recording` gives of a short one, in bounded memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import open_plain
from analognets.datasets.audio_io import UNITS, to_int16, unit_factor
from analognets.datasets.base import SAMPLE_RATE
from analognets.datasets.file_reader import Remark
from analognets.datasets.notes import Notes, readable
from analognets.datasets.resampling import Resampler
from analognets.datasets.wav_header import closed, read_header
from analognets.errors import DataError, check_number, reason

__all__ = ["RecordingBlocks"]

_MOST_BYTES = 1 << 46
_HEAD = 1 << 20
_WIDE = ("PCM_32", "FLOAT", "DOUBLE")
"""Encodings whose numbers may have another unit than full scale."""
_HINT = "Replace it or leave it out."


class _Closed(io.RawIOBase):
    """A file with another beginning of the same length.

    Args:
        path: of the file.
        head: its beginning.
    """

    def __init__(self, path: Path, head: bytes) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._head = head

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return True

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer and return how many bytes were there."""
        start = self._file.tell()
        count = self._file.readinto(buffer)
        changed = self._head[start : start + count]
        memoryview(buffer).cast("B")[: len(changed)] = changed
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class RecordingBlocks:
    """The samples of a recording in blocks of mono int16 at one rate; each iteration starts at its beginning.

    All blocks together are `read_recording(path, rate).samples`: channels are averaged, another rate is converted, and
    whole numbers in a float file are int16 values, which takes a first pass over files of floats and of 32 bits.

    Args:
        path: .wav file, or anything else that libsndfile reads, of 1 kHz to 768 kHz and any length.
        rate: samples a second wanted.
        seconds: length of a block, 0.001 to 600.

    Attributes:
        found: samples a second of the file.
        seconds: its length.
        notes: one sentence for each thing that was changed, of which some are warned of too.

    Raises:
        DataError: the file is missing, special, cut short (which an MP3 does not tell), empty, not finite, of unknown
            scale or no audio, or its rate can't be converted.

    Examples:
        >>> import soundfile
        >>> soundfile.write("tone.wav", 0.1 * np.sin(np.arange(24_000)), 16_000)
        >>> blocks = RecordingBlocks("tone.wav", seconds=0.5)
        >>> blocks.seconds, [len(block) for block in blocks]
        (1.5, [8000, 8000, 8000])
    """

    def __init__(self, path: Path | str, rate: int = SAMPLE_RATE, *, seconds: float = 1.0) -> None:
        check_number("RecordingBlocks", "seconds", seconds, 0.001, 600, unit="s")
        self.path = Path(path)
        self.rate = rate
        self._block = seconds
        with self._opened() as file:
            self.found, self._frames = int(file.samplerate), int(file.frames)
            self._resampler()
            subtype = str(file.subtype)
            if not self._frames:
                raise DataError(f"The recording {path} holds no samples. {_HINT}")
            self._factor, remarks = self._scale(file, subtype) if subtype in _WIDE else (1.0, {})
        self.seconds = self._frames / self.found
        told = Notes("recordings")
        for kind, value in {**remarks, **self._rate_remark()}.items():
            told.add(kind, f"{readable(self.path.name)} ({UNITS[kind].format(value)})")
        self.notes = told.sentences()
        told.warn()

    def __iter__(self) -> Iterator[np.ndarray]:
        resampler = self._resampler()
        with self._opened() as file:
            for block in self._read(file, max(1, round(self._block * self.found))):
                given = to_int16(resampler.push(block.mean(axis=1) * np.float32(self._factor)))
                if len(given):
                    yield given
        rest = to_int16(resampler.finish())
        if len(rest):
            yield rest

    def _rate_remark(self) -> Remark:
        return {"rate": float(self.found)} if self.found != self.rate == SAMPLE_RATE else {}

    def _resampler(self) -> Resampler:
        try:
            return Resampler(self.found, self.rate)
        except DataError as error:
            raise DataError(f"{error} It is the rate of the recording {self.path}.") from error

    def _opened(self) -> Any:
        """Return the file in libsndfile, its header checked."""
        import soundfile

        with open_plain(self.path, "recording", limit=_MOST_BYTES, error=DataError, hint=_HINT) as plain:
            head, length = plain.read(_HEAD), os.fstat(plain.fileno()).st_size
        header = read_header(head, self.path, length)
        try:
            if header is not None and header.is_open:
                return soundfile.SoundFile(_Closed(self.path, closed(head[: header.start], header)))
            return soundfile.SoundFile(os.fspath(self.path))
        except (soundfile.SoundFileError, OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _read(self, file: Any, frames: int) -> Iterator[np.ndarray]:
        """Yield float32 blocks (samples, channels)."""
        while True:
            try:
                block = file.read(frames, dtype="float32", always_2d=True)
            except Exception as error:  # what a decoder raises on bytes that were no sound is its own affair
                raise self._unreadable(error) from error
            if not len(block):
                return
            if not np.isfinite(block).all():
                raise DataError(f"The recording {self.path} holds samples that are not finite. {_HINT}")
            yield block

    def _scale(self, file: Any, subtype: str) -> tuple[float, Remark]:
        peak, whole = 0.0, True
        for block in self._read(file, self.found):
            peak = max(peak, float(np.max(np.abs(block))))
            whole = whole and bool((block == np.rint(block)).all())
        return unit_factor(self.path, subtype, peak, whole)

    def _unreadable(self, error: BaseException) -> DataError:
        said = str(getattr(error, "error_string", "")).strip().rstrip(".") or reason(error)
        return DataError(f"Can't read {self.path} as audio: {said}. {_HINT}")
