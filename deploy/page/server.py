"""A web server for the lab page on this machine alone."""

from __future__ import annotations

import errno
import os
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from analognets.deploy.page.files import check_preset, page_file, page_files
from analognets.errors import AnalogNetsError, InvalidArgumentError, check_integer

__all__ = ["LabServer"]

HOST = "127.0.0.1"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src blob:; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing from elsewhere."""


class LabServer(ThreadingHTTPServer):
    """Serves the lab page to browsers of this machine; files are read when they are asked for.

    Args:
        port: 0 to 65535; 0 takes a free one.
        start: the preset that is chosen at first; "" for the page's own choice.

    Raises:
        InvalidArgumentError: the port is taken or may not be used.
        UnknownNameError: the page has no such preset.

    Examples:
        >>> with LabServer(0) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"

    def __init__(self, port: int = 8421, *, start: str = "") -> None:
        self.start = check_preset(start) if start else ""
        port = check_integer("LabServer", "port", port, 0, 65535)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            why = {errno.EADDRINUSE: "is taken by another program", errno.EACCES: "may be used by administrators only"}
            said = why.get(error.errno or 0, f"can't be used ({error.strerror})")
            raise InvalidArgumentError(
                f"The lab page needs a free port, and this one {said}. Received: port={port}. Choose another with "
                "--port, or --port 0 for any free one."
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    """Answers with the files of the page."""

    server: LabServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        # A page of another name that leads to this machine must not read what is here.
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self._send(
                HTTPStatus.FORBIDDEN, b"The lab page is for browsers of this machine.", "text/plain", with_content
            )
            return
        name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        if name not in page_files():
            self._send(HTTPStatus.NOT_FOUND, b"The lab page has no such file.", "text/plain", with_content)
            return
        try:
            content = page_file(name, start=self.server.start)
        except AnalogNetsError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(), "text/plain", with_content)
            return
        self._send(HTTPStatus.OK, content, KINDS[f".{name.rpartition('.')[2]}"], with_content)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, with_content: bool) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for our own lines."""
