"""Downloads from servers that are slow, lead elsewhere or are asked with a password."""

from __future__ import annotations

import http.server
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analognets.datasets import download as downloads
from analognets.datasets.download import download
from analognets.errors import ChecksumError, DataError

SHA = "0" * 64
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Return a function that starts a server whose answers a function gives, and returns its address."""
    monkeypatch.setattr(downloads, "_WAIT_SECONDS", 0.001)
    running = []

    def start(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                try:
                    answer(self)
                except OSError:
                    self.close_connection = True

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def trickle(handler: Any, data: bytes, pause: float = 0.05) -> None:
    for byte in data:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(pause)


def slow_body(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    trickle(handler, b"x" * 200)


def slow_head(handler: Any) -> None:
    trickle(handler, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200)


@pytest.mark.parametrize("answer", [slow_body, slow_head])
def test_a_server_of_a_few_bytes_a_second_is_given_up(
    serve: Callable[[Answer], str], answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_SLOW_SECONDS", 0.6)
    began = time.monotonic()
    with pytest.raises(DataError, match="comes too slowly: [0-9,]+ bytes in 0.6 s. Try again later"):
        download(f"http://{serve(answer)}/x.zip", tmp_path, sha256=SHA)
    assert time.monotonic() - began < 5
    assert all(path.stat().st_size for path in tmp_path.iterdir())


def test_a_slow_server_that_sends_enough_is_waited_for(
    serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_SLOW_SECONDS", 0.3)
    monkeypatch.setattr(downloads, "_SLOW_BYTES", 8192)

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(bytes(4096))
            handler.wfile.flush()
            time.sleep(0.05)

    assert download(f"http://{serve(answer)}/x.zip", tmp_path, sha256=None).stat().st_size == 20 * 4096


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_no_secret_reaches_an_error(serve: Callable[[Answer], str], tmp_path: Path, status: int) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(b"something else")

    secrets = ("SECRET", "PASS", "TOKEN")
    places = [serve(answer), "127.0.0.1:1", "no such host", "[bad"]
    for place in places:
        with pytest.raises(DataError) as caught:
            download(f"http://SECRET:PASS@{place}/x.zip?token=TOKEN", tmp_path, sha256=SHA)
        shown = "".join(traceback.format_exception(caught.value)) if not isinstance(caught.value, ChecksumError) else ""
        assert not any(secret in str(caught.value) for secret in secrets)
        assert not any(secret in line for secret in secrets for line in shown.splitlines() if "Error: " in line)


def test_https_never_leads_to_http() -> None:
    def answer(url: str, location: str) -> SimpleNamespace:
        return SimpleNamespace(url=url, is_redirect=True, headers={"location": location}, close=lambda: None)

    for location in ("http://host/x?token=TOKEN", "ftp://host/x"):
        with pytest.raises(DataError, match="which is not encrypted") as caught:
            downloads._refuse_downgrade(answer("https://me:PASS@host/x.zip", location))
        assert "PASS" not in str(caught.value) and "TOKEN" not in str(caught.value)
    downloads._refuse_downgrade(answer("https://host/x.zip", "/y.zip"))
    downloads._refuse_downgrade(answer("https://host/x.zip", "https://other/y.zip"))
    downloads._refuse_downgrade(answer("http://host/x.zip", "http://other/y.zip"))


def test_the_hook_is_asked_before_a_redirect_is_followed(
    serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    refuse = downloads._refuse_downgrade

    def watch(answer: Any, *rest: Any, **more: Any) -> None:
        seen.append(answer.status_code)
        answer.url = answer.url.replace("http:", "https:")
        refuse(answer, *rest, **more)

    def answer(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"http://{handler.headers['Host']}/y.zip")
        handler.end_headers()

    monkeypatch.setattr(downloads, "_refuse_downgrade", watch)
    with pytest.raises(DataError, match="leads on to http://127.0.0.1:.*not encrypted"):
        download(f"http://{serve(answer)}/x.zip", tmp_path, sha256=SHA)
    assert seen == [302]


def test_old_parts_are_removed_and_new_ones_kept(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"whole")

    (tmp_path / ".part-old-x").write_bytes(b"1")
    (tmp_path / ".part-new-x").write_bytes(b"1")
    week = time.time() - 8 * 86_400
    os.utime(tmp_path / ".part-old-x", (week, week))
    download(f"http://{serve(answer)}/x.zip", tmp_path, sha256=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-new-x", "x.zip"]
