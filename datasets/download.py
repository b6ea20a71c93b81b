"""One file from the web: checked by sha256, resumed where it broke off, under its name only when it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analognets.errors import ChecksumError, DataError, reason

__all__ = ["download", "is_offline"]

_CONNECT_SECONDS = 30
_PIECE = 1 << 12  # at most this much of a broken transfer is lost
_ATTEMPTS = 4
_WAIT_SECONDS = 0.2


def is_offline() -> bool:
    """Whether ANALOGNETS_OFFLINE forbids the network: set to anything but "", "0", "false" or "no"."""
    return os.environ.get("ANALOGNETS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


class _Resuming:
    """A downloader for pooch that goes on where an earlier transfer broke off (HTTP Range).

    What has come stands in a file named after the expected sha256, so parts of two files never meet; the finished one
    becomes pooch's temporary file, which pooch checks and renames.
    """

    def __init__(self, part: Path, limit: int | None, report: Callable[[int], None]) -> None:
        self.part = part
        self.limit = limit
        self.report = report
        self.resumed = False
        self._tag: str | None = None

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        with self.part.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"Another process is downloading {url} to {self.part.parent}. Wait for it.") from None
            self.resumed = file.tell() > 0
            for attempt in range(_ATTEMPTS):
                before = file.tell()
                try:
                    self._receive(url, file)
                    break
                except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                    file.flush()
                    # Nothing came at all: a server that is not there won't be in a moment either.
                    if attempt == _ATTEMPTS - 1 or file.tell() == before == 0:
                        raise
                    time.sleep(_WAIT_SECONDS * 2**attempt)
            file.flush()
            os.fsync(file.fileno())
            os.replace(self.part, output_file)

    def _receive(self, url: str, file: Any) -> None:
        """Append what is missing; begin again if the server can't send a part, or has another file now."""
        import requests

        have = file.tell()
        headers = {"Range": f"bytes={have}-", **({"If-Range": self._tag} if self._tag else {})} if have else {}
        # A compressed answer would make byte positions meaningless.
        headers |= {"Accept-Encoding": "identity"}
        with requests.get(url, headers=headers, stream=True, timeout=_CONNECT_SECONDS) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable and have:
                return  # all of it is here, or more than there should be: the checksum tells
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                file.truncate(0)
                file.seek(0)
                have = 0
            tag = answer.headers.get("ETag", "")
            self._tag = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
            size = have + int(answer.headers.get("Content-Length", 0))
            for piece in answer.iter_content(_PIECE):
                if self.limit is not None and max(size, have + len(piece)) > self.limit:
                    self.part.unlink(missing_ok=True)
                    allowed = f"{self.limit / 1e6:.0f} MB"
                    raise DataError(f"{url} is larger than the {allowed} that are allowed for it. Check the address.")
                file.write(piece)
                have += len(piece)
                self.report(have)


def download(
    url: str,
    folder: Path | str,
    *,
    sha256: str | None,
    file_name: str | None = None,
    limit: int | None = None,
    report: Callable[[int], None] | None = None,
    advice: str = "Check the network and try again.",
) -> Path:
    """Return the path of the file in `folder`, downloaded unless a file with its sha256 is there already.

    A transfer that breaks is taken up again at once, and, if that does not help, by the next call.

    Args:
        url: address.
        folder: where to; made if needed.
        sha256: checksum of the file, in hexadecimal; None takes what comes.
        file_name: what to call it; the last part of the address by default.
        limit: largest size in bytes that is taken.
        report: called with the number of bytes received so far.
        advice: what to do if it can't be had, for the message.

    Raises:
        ChecksumError: what came does not have the sha256; nothing is kept of it.
        DataError: the address can't be reached, the transfer broke off, or ANALOGNETS_OFFLINE is set.
    """
    import pooch
    import requests

    folder = Path(folder)
    file_name = file_name or url.rpartition("/")[2]
    target = folder / file_name
    known = None if sha256 is None else f"sha256:{sha256}"
    if is_offline() and not (target.is_file() and (known is None or pooch.file_hash(str(target)) == sha256)):
        raise DataError(f"{url} is not in {folder} yet, and ANALOGNETS_OFFLINE forbids to download it. Unset it first.")
    part = folder / f".part-{(sha256 or 'any')[:16]}-{file_name}"
    resuming = _Resuming(part, limit, report or (lambda done: None))
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")

    def retrieve() -> Path:
        return Path(pooch.retrieve(url, known_hash=known, fname=file_name, path=folder, downloader=resuming))

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sha256 is None:
            part.unlink(missing_ok=True)
        try:
            return retrieve()
        except ValueError as error:
            if not (resuming.resumed and "hash" in str(error).lower()):
                raise
            return retrieve()  # what was here before belonged to something else: once more, from the beginning
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise DataError(f"Can't download {url}: {error}") from error
        raise ChecksumError(
            f"{url} must have the sha256 {sha256}. Received: a file with another one, now deleted. "
            "Try again; if it stays so, the file was changed at its source or on its way."
        ) from error
    except DataError:
        raise
    except (requests.RequestException, OSError) as error:
        kept = _kept(part)
        raise DataError(f"Can't download {url} into {folder}: {reason(error)}. {kept}{advice}") from error
    finally:
        logger.setLevel(level)


def _kept(part: Path) -> str:
    with contextlib.suppress(OSError):
        size = part.stat().st_size
        if size:
            return f"The {size:,} bytes that came are kept, and the next attempt goes on from there. "
        part.unlink()
    return ""
