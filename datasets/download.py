"""One file from the web: checked by sha256, resumed where it broke off, under its name only when it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from analognets.core.addresses import public_url
from analognets.core.files import file_sha256, remove_leftovers
from analognets.errors import ChecksumError, DataError, reason

__all__ = ["download", "is_offline"]

_CONNECT_SECONDS = 10
_PIECE = 1 << 12  # at most this much of a broken transfer is lost
_ATTEMPTS = 4
_WAIT_SECONDS = 0.2
_SLOW_SECONDS = 15.0
_SLOW_BYTES = 1 << 14
"""A server that sends less than this in each `_SLOW_SECONDS` is given up."""
_KEPT_SECONDS = 7 * 86_400
"""A part that nobody went on with for so long is removed."""


def is_offline() -> bool:
    """Whether ANALOGNETS_OFFLINE forbids the network: set to anything but "", "0", "false" or "no"."""
    return os.environ.get("ANALOGNETS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


class _Resuming:
    """Goes on where an earlier transfer broke off (HTTP Range).

    What has come stands in a file named after the expected sha256, so parts of two files never meet.
    """

    def __init__(self, part: Path, limit: int | None, report: Callable[[int], None]) -> None:
        self.part = part
        self.limit = limit
        self.report = report
        self.resumed = False
        self._tag: str | None = None

    def fetch(self, url: str, target: Path, sha256: str | None) -> bool:
        """Receive the file and move it to its place; return False, and keep nothing, if it has another sha256."""
        with self.part.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"Another process is downloading {public_url(url)} to {self.part.parent}. Wait for it."
                ) from None
            self.resumed = file.tell() > 0
            try:
                self._receive_all(url, file)
            except BaseException:
                if not file.tell():
                    self.part.unlink(missing_ok=True)
                raise
            file.flush()
            os.fsync(file.fileno())
            if sha256 is not None and file_sha256(self.part) != sha256:
                self.part.unlink(missing_ok=True)
                return False
            os.replace(self.part, target)
            return True

    def _receive_all(self, url: str, file: BinaryIO) -> None:
        """Receive, and take a transfer that breaks up again."""
        import requests

        for attempt in range(_ATTEMPTS):
            before = file.tell()
            try:
                self._receive(url, file)
                return
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                file.flush()
                # Nothing came at all: a server that is not there won't be in a moment either.
                if attempt == _ATTEMPTS - 1 or file.tell() == before == 0:
                    raise
                time.sleep(_WAIT_SECONDS * 2**attempt)

    def _receive(self, url: str, file: BinaryIO) -> None:
        """Append what is missing; begin again if the server can't send a part, or has another file now."""
        have = file.tell()
        headers = {"Range": f"bytes={have}-", **({"If-Range": self._tag} if self._tag else {})} if have else {}
        # A compressed answer would make byte positions meaningless.
        headers |= {"Accept-Encoding": "identity"}
        size = have
        for item in _in_time(url, headers):
            if isinstance(item, bytes):
                self._check_size(url, max(size, have + len(item)))
                file.write(item)
                have += len(item)
                self.report(have)
                continue
            if item.status == 416 and have:
                return  # all of it is here, or more than there should be: the checksum tells
            if item.status != 206:
                file.truncate(0)
                file.seek(0)
                have = 0
            self._tag = item.tag
            size = have + item.length

    def _check_size(self, url: str, size: int) -> None:
        if self.limit is not None and size > self.limit:
            self.part.unlink(missing_ok=True)
            raise DataError(
                f"{public_url(url)} is larger than the {self.limit / 1e6:.0f} MB that are allowed for it. Check the "
                "address."
            )


class _Head:
    """The head of an answer: status, length and a tag that changes with the file."""

    def __init__(self, answer: Any) -> None:
        tag = answer.headers.get("ETag", "")
        length = str(answer.headers.get("Content-Length", "0"))
        self.status = int(answer.status_code)
        self.length = int(length) if length.isdigit() else 0
        self.tag: str | None = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _in_time(url: str, headers: dict[str, str]) -> Iterator[_Head | bytes]:
    """Yield the head of the answer and its pieces, and give up a server that sends next to nothing.

    A thread does the waiting: time-outs of sockets begin anew with every byte.

    Raises:
        DataError: too little came in `_SLOW_SECONDS`.
        requests.RequestException: the transfer failed.
    """
    pieces: queue.Queue[_Head | bytes | BaseException | None] = queue.Queue(64)
    given_up = threading.Event()
    threading.Thread(target=_listen, args=(url, headers, pieces, given_up), daemon=True).start()
    since, came = time.monotonic(), 0
    try:
        while True:
            left = max(0.0, since + _SLOW_SECONDS - time.monotonic())
            try:
                item = pieces.get(timeout=left)
            except queue.Empty:
                if came < _SLOW_BYTES:
                    raise DataError(
                        f"{public_url(url)} comes too slowly: {came:,} bytes in {_SLOW_SECONDS:g} s. Try again later, "
                        "or fetch it elsewhere; what came is kept."
                    ) from None
                since, came = time.monotonic(), 0
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
            came += len(item) if isinstance(item, bytes) else 0
            if time.monotonic() - since > _SLOW_SECONDS and came >= _SLOW_BYTES:
                since, came = time.monotonic(), 0
    finally:
        given_up.set()


def _listen(url: str, headers: dict[str, str], pieces: queue.Queue[Any], given_up: threading.Event) -> None:
    """Put the head of the answer, its pieces and an error or None at the end into the queue."""
    import requests

    def put(item: Any) -> None:
        while not given_up.is_set():
            with contextlib.suppress(queue.Full):
                pieces.put(item, timeout=1.0)
                return

    try:
        with requests.get(
            url, headers=headers, stream=True, timeout=_CONNECT_SECONDS, hooks={"response": _refuse_downgrade}
        ) as answer:
            if not (answer.status_code == 416 and "Range" in headers):
                answer.raise_for_status()
            put(_Head(answer))
            if answer.status_code != 416:
                for piece in answer.iter_content(_PIECE):
                    put(piece)
                    if given_up.is_set():
                        return
        put(None)
    except BaseException as error:  # it is raised where the pieces are taken
        put(error)


def _refuse_downgrade(answer: Any, *_: Any, **__: Any) -> None:
    """Refuse to be led from https to a connection that anybody on the way can read and change."""
    if answer.is_redirect and urlsplit(answer.url).scheme == "https":
        place = urljoin(answer.url, answer.headers["location"])
        if urlsplit(place).scheme != "https":
            answer.close()
            raise DataError(
                f"{public_url(answer.url)} leads on to {public_url(place)}, which is not encrypted. It is refused: ask "
                "its owner for an https:// address."
            )


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
        url: address; what is secret in it (login, query) is in no message.
        folder: where to; made if needed.
        sha256: checksum of the file, in hexadecimal; None takes what comes.
        file_name: what to call it; the last part of the address by default.
        limit: largest size in bytes that is taken.
        report: called with the number of bytes received so far.
        advice: what to do if it can't be had, for the message.

    Raises:
        ChecksumError: what came does not have the sha256; nothing is kept of it.
        DataError: the address can't be reached, sends next to nothing or leads from https to http, the transfer broke
            off, or ANALOGNETS_OFFLINE is set.
    """
    import requests

    folder, shown = Path(folder), public_url(url)
    file_name = file_name or url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    target = folder / file_name
    sha256 = None if sha256 is None else sha256.lower()
    part = folder / f".part-{(sha256 or 'any')[:16]}-{file_name}"
    resuming = _Resuming(part, limit, report or (lambda done: None))
    try:
        if target.is_file() and (is_offline() if sha256 is None else file_sha256(target) == sha256):
            return target
        if is_offline():
            raise DataError(f"{shown} is not in {folder} yet, and ANALOGNETS_OFFLINE forbids to download it. Unset it.")
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder, older_than=_KEPT_SECONDS)
        if sha256 is None:
            part.unlink(missing_ok=True)
        if resuming.fetch(url, target, sha256):
            return target
        # What was here before may have belonged to something else: once more, from the beginning.
        if resuming.resumed and resuming.fetch(url, target, sha256):
            return target
    except DataError:
        raise
    except (requests.RequestException, OSError, ValueError) as error:
        kept = _kept(part)
        raise DataError(f"Can't download {shown} into {folder}: {_why(error)}. {kept}{advice}") from None
    raise ChecksumError(
        f"{shown} must have the sha256 {sha256}. Received: a file with another one, now deleted. "
        "Try again; if it stays so, the file was changed at its source or on its way."
    )


def _why(error: Exception) -> str:
    """Return why a transfer failed, without the address, which other people's messages repeat in full."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason or ''}".rstrip()
    kinds = {
        requests.exceptions.SSLError: "the certificate of the server can't be checked",
        requests.Timeout: "the server does not answer in time",
        requests.exceptions.ChunkedEncodingError: "the transfer broke off",
        requests.ConnectionError: "the server can't be reached, or the connection broke off",
        requests.TooManyRedirects: "the server leads in a circle",
        ValueError: "the address is malformed",
        requests.RequestException: f"the address or the answer is malformed ({type(error).__name__})",
    }
    return next((text for kind, text in kinds.items() if isinstance(error, kind)), reason(error))


def _kept(part: Path) -> str:
    with contextlib.suppress(OSError):
        size = part.stat().st_size
        return f"The {size:,} bytes that came are kept, and the next attempt goes on from there. " if size else ""
    return ""
