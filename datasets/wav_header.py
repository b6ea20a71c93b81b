"""Where the samples of a RIFF/WAVE file stand: headers of streams left open, cut short, or at odds with the file.

Of AIFF, AU, W64 and RF64 files, only whether they are cut short.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from analognets.errors import DataError

__all__ = ["WavHeader", "closed", "read_header"]

_OPEN_FROM = 0x7FFF_0000
"""Sizes from here on are placeholders of programs that stream: none of them knew how long the sound would be."""

_OPEN_AIFF, _OPEN_64 = 0x7F00_0000, 1 << 62
"""The same of AIFF files, and of those with sizes of 64 bit."""

_MOST_CHUNKS = 1000
"""So many chunks are looked at; a file with more is none."""
_SPARE = 1024
"""Bytes behind the sound that are no chunk and yet no sign of a wrong size."""

_WAVE_64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
"""How a file of Sony Wave64 begins."""
_LINEAR = (1, 3, 0xFFFE)
"""Encodings of whole samples: PCM, float, and either of them in the extensible format."""


class WavHeader(NamedTuple):
    """What the header says.

    Args:
        encoding: number of the encoding; 1 is PCM.
        channels: in a frame.
        rate: frames a second.
        bits: of a sample.
        start: place of the first byte of sound.
        size: bytes of sound.
        is_open: whether the header left the size open.
        is_odd: whether the header contradicts itself or the file.
    """

    encoding: int
    channels: int
    rate: int
    bits: int
    start: int
    size: int
    is_open: bool
    is_odd: bool


def read_header(data: bytes, path: Path | str, length: int | None = None) -> WavHeader | None:
    """Return what the header of a RIFF file says, None if it is of another kind, which is not cut short, or no sound.

    Args:
        data: the whole file, or its beginning.
        path: for messages.
        length: bytes of the whole file, where `data` is its beginning.

    Raises:
        DataError: the file is shorter than its header promises.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        _check_whole(path, _promised(data), length or len(data))
        return None
    at, form = 12, None
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return None
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        at += 8
        if kind == b"fmt " and at + 16 <= len(data):
            form = struct.unpack_from("<HHIIHH", data, at)
        if kind == b"data":
            return None if form is None else _header(data, path, form, at, size, length or len(data))
        at += size + size % 2
    return None


def _promised(data: bytes) -> int:
    """Return how many bytes a file of another kind has by its header; 0 if it does not say."""
    promised, most = 0, _OPEN_64
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        promised, most = 7 + int(struct.unpack_from(">I", data, 4)[0]), _OPEN_AIFF  # the last byte may only fill up
    elif data[:4] in (b".snd", b"dns.") and len(data) >= 12:
        start, size = struct.unpack_from(">II" if data[:1] == b"." else "<II", data, 4)
        promised, most = int(start + size), 0xFFFF_FFFF
    elif data[:16] == _WAVE_64 and len(data) >= 24:
        promised = int(struct.unpack_from("<Q", data, 16)[0])
    elif data[:4] == b"RF64" and data[12:16] == b"ds64" and len(data) >= 36:
        whole, sound = struct.unpack_from("<QQ", data, 20)
        promised = 8 + int(whole) if sound else 0
    return promised if promised < most else 0


def _check_whole(path: Path | str, promised: int, there: int, what: str = "bytes") -> None:
    if promised > there:
        raise DataError(
            f"The recording {path} is cut short: its header promises {promised} {what}. "
            f"Received: {there} bytes. Replace it or leave it out."
        )


def _header(data: bytes, path: Path | str, form: tuple[int, ...], at: int, size: int, length: int) -> WavHeader:
    encoding, channels, rate, bytes_a_second, block, bits = form
    left = length - at
    is_open = size > left and size >= _OPEN_FROM or (size == 0 and not _are_chunks(data, at))
    if is_open:
        size = left - left % max(block, 1)
    _check_whole(path, size, left, "bytes of sound")
    is_odd = encoding in _LINEAR and (block != channels * ((bits + 7) // 8) or bytes_a_second != rate * block)
    end = at + size + size % 2
    whole = length == len(data)
    if whole and length - end > _SPARE and not _are_chunks(data, end) and data.count(0, end) < length - end:
        is_odd = True
    return WavHeader(encoding, channels, rate, bits, at, size, is_open, is_odd)


def _are_chunks(data: bytes, at: int) -> bool:
    """Whether what follows is nothing, or a few chunks with names that end where the file does."""
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return at - 1 <= len(data) <= at + 1
        if not all(32 <= byte < 127 for byte in data[at : at + 4]):
            return False
        size = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + size + size % 2
    return False


def closed(data: bytes, header: WavHeader) -> bytes:
    """Return a file, or its beginning, whose header left the size open with the right sizes in it."""
    whole, end = bytearray(data[: header.start + header.size]), header.start + header.size
    for place, size in ((4, end - 8), (header.start - 4, header.size)):
        struct.pack_into("<I", whole, place, min(size, 0xFFFF_FFFF))
    return bytes(whole)
