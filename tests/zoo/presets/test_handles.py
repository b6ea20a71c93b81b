"""Presets from the web: whole and checked or not at all, resumed where the line broke, and offline from the cache."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analognets.datasets import download as downloads
from analognets.datasets.download import download
from analognets.errors import ChecksumError, DataError, MissingExtraError, PresetError
from analognets.zoo.presets.registry import from_preset, load_preset


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, with ranges unless the name says otherwise; `breaks` holds after how many bytes answers end."""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.server.asked.append((name, start))  # type: ignore[attr-defined]
        path = Path(self.directory) / name
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        ranges = "noranges" not in name
        if start and ranges and start >= len(data):
            self.send_error(416)
            return
        rest = data[start if ranges else 0 :]
        self.send_response(206 if start and ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:8]}"')
        self.end_headers()
        left = self.server.breaks.pop(0) if self.server.breaks else len(rest)  # type: ignore[attr-defined]
        self.wfile.write(rest[:left])
        self.close_connection = True


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ANALOGNETS_OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "_WAIT_SECONDS", 0.001)
    (tmp_path / "served").mkdir()
    handler = functools.partial(Server, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.asked, running.breaks = [], []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def archive(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the preset as a .zip that takes several pieces."""
    path = tmp_path_factory.mktemp("archive") / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for item in sorted(saved.iterdir()):
            target.write(item, f"tiny/{item.name}")
    assert path.stat().st_size > 20_000
    return path.read_bytes()


def address(server: Any, tmp_path: Path, content: bytes, name: str = "p.zip", sha256: str | None = None) -> str:
    (tmp_path / "served" / name).write_bytes(content)
    return f"http://127.0.0.1:{server.server_port}/{name}#sha256={sha256 or hashlib.sha256(content).hexdigest()}"


def leftovers(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_preset_from_the_web_is_fetched_once(server: Any, archive: bytes, tmp_path: Path) -> None:
    handle = address(server, tmp_path, archive)
    seen: list[int] = []
    preset = load_preset(handle, progress=seen.append)
    assert preset.check_golden().passed
    assert seen[-1] == len(archive)
    assert load_preset(handle).path == preset.path
    assert load_preset(handle.partition("#")[0], sha256=handle[-64:].upper(), offline=True).path == preset.path
    assert server.asked == [("p.zip", 0)]
    kept = f"{preset.path.name}.zip"
    assert leftovers(tmp_path) == sorted([kept, *(path.name for path in preset.path.iterdir())])


def test_a_login_is_used_and_not_kept(server: Any, archive: bytes, tmp_path: Path) -> None:
    from analognets.zoo.trained import open_trained

    handle = address(server, tmp_path, archive)
    trained = open_trained(handle.replace("127.0.0.1", "me:SECRET@127.0.0.1"))
    assert trained.handle == handle
    assert open_trained(trained.handle).name == trained.name
    assert server.asked == [("p.zip", 0)]
    with pytest.raises(DataError, match="404") as caught:
        load_preset(f"http://me:SECRET@127.0.0.1:{server.server_port}/x.zip?token=SECRET#sha256={'0' * 64}")
    assert "SECRET" not in str(caught.value)


def test_a_damaged_cache_is_fetched_again(server: Any, archive: bytes, tmp_path: Path) -> None:
    handle = address(server, tmp_path, archive)
    place = load_preset(handle).path
    (place / "weights.safetensors").write_bytes(b"spoilt")
    assert load_preset(handle).path == place
    assert len(server.asked) == 1  # what was fetched is kept, and unpacked again
    place.with_name(f"{place.name}.zip").write_bytes(b"spoilt")
    assert load_preset(handle).path == place
    assert len(server.asked) == 2


@pytest.mark.parametrize("plant", ["folder", "link", "archive", "file"])
def test_what_was_planted_in_the_cache_is_not_taken_for_a_pinned_address(
    server: Any, archive: bytes, saved: Path, tmp_path: Path, plant: str
) -> None:
    handle = address(server, tmp_path, archive)
    place = tmp_path / "cache" / "presets" / handle[-64:][:32]
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    record = json.loads((other / "preset.json").read_text("utf-8"))
    (other / "preset.json").write_text(json.dumps({**record, "description": "planted"}), "utf-8")
    place.parent.mkdir(parents=True)
    if plant == "folder":
        shutil.copytree(other, place)
    elif plant == "link":
        place.symlink_to(other)
    elif plant == "file":
        place.write_text("x")
    else:
        with zipfile.ZipFile(place.with_name(f"{place.name}.zip"), "w") as target:
            for item in other.iterdir():
                target.write(item, item.name)
    preset = load_preset(handle)
    assert preset.record.description != "planted" and not preset.path.is_symlink()
    assert (other / "preset.json").exists()


def test_weights_changed_after_opening_are_not_used(server: Any, archive: bytes, tmp_path: Path) -> None:
    preset = load_preset(address(server, tmp_path, archive))
    for name in ("weights.safetensors", "golden.safetensors", "results.csv", "README.md"):
        path = preset.path / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    for use in (preset.model, lambda: preset.golden, lambda: preset.results, lambda: preset.card):
        with pytest.raises(PresetError, match="is not the file that was saved"):
            use()


def test_a_connection_that_breaks_is_resumed_at_once(server: Any, archive: bytes, tmp_path: Path) -> None:
    server.breaks[:] = [len(archive) // 2, 5000]
    assert load_preset(address(server, tmp_path, archive)).name == "tiny.analog"
    starts = [start for _, start in server.asked]
    assert len(starts) == 3 and 0 == starts[0] < starts[1] < starts[2] < len(archive)


def test_a_connection_that_stays_broken_is_resumed_by_the_next_call(
    server: Any, archive: bytes, tmp_path: Path
) -> None:
    handle = address(server, tmp_path, archive)
    server.breaks[:] = [9000, 10, 10, 10]
    with pytest.raises(DataError, match="The 8,192 bytes that came are kept"):
        load_preset(handle)
    assert leftovers(tmp_path)[0].startswith(".part-")
    assert load_preset(handle).name == "tiny.analog"
    assert server.asked[-1] == ("p.zip", 8192)
    assert not [name for name in leftovers(tmp_path) if name.startswith(".part-")]


def test_a_server_that_can_not_resume_sends_all_again(server: Any, archive: bytes, tmp_path: Path) -> None:
    server.breaks[:] = [9000]
    assert load_preset(address(server, tmp_path, archive, "noranges.zip")).name == "tiny.analog"
    assert [start for _, start in server.asked] == [0, 8192]


@pytest.mark.parametrize("size", [1000, 10**6], ids=["shorter", "longer"])
def test_parts_of_something_else_are_thrown_away(server: Any, archive: bytes, tmp_path: Path, size: int) -> None:
    handle = address(server, tmp_path, archive)
    folder = tmp_path / "cache" / "presets" / "downloads"
    folder.mkdir(parents=True)
    (folder / f".part-{handle[-64:][:16]}-{handle[-64:][:16]}-p.zip").write_bytes(b"x" * size)
    assert load_preset(handle).name == "tiny.analog"
    assert [start for _, start in server.asked] == [size, 0]


def test_a_truncated_file_and_a_wrong_hash(server: Any, archive: bytes, tmp_path: Path) -> None:
    whole = hashlib.sha256(archive).hexdigest()
    for handle in (
        address(server, tmp_path, archive[:-500], "cut.zip", whole),
        address(server, tmp_path, archive, "other.zip", "0" * 64),
    ):
        with pytest.raises(ChecksumError, match="must have the sha256 .* now deleted"):
            load_preset(handle)
        assert leftovers(tmp_path) == []


def test_404_and_no_server(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        load_preset(f"http://127.0.0.1:{server.server_port}/nothing.zip", sha256="0" * 64)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="Check the network"):
        load_preset(f"http://127.0.0.1:{port}/p.zip", sha256="0" * 64)
    assert leftovers(tmp_path) == []


def test_something_that_is_no_preset(server: Any, tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="can't be unpacked"):
        load_preset(address(server, tmp_path, b"<html>Sign in</html>"))
    assert leftovers(tmp_path) == []


def test_more_than_is_allowed_is_not_taken(server: Any, archive: bytes, tmp_path: Path) -> None:
    url = address(server, tmp_path, archive).partition("#")[0]
    with pytest.raises(DataError, match="larger than the 0 MB that are allowed"):
        download(url, tmp_path / "cache", sha256=hashlib.sha256(archive).hexdigest(), limit=1000)
    assert leftovers(tmp_path) == []


def test_only_one_process_downloads_a_file(server: Any, archive: bytes, tmp_path: Path) -> None:
    import fcntl

    url, _, digest = address(server, tmp_path, archive).partition("#sha256=")
    part = tmp_path / "cache" / f".part-{digest[:16]}-p.zip"
    part.parent.mkdir()
    with part.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="Another process is downloading"):
            download(url, tmp_path / "cache", sha256=digest)
    assert download(url, tmp_path / "cache", sha256=digest).read_bytes() == archive


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_offline_nothing_is_asked(
    server: Any, archive: bytes, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = address(server, tmp_path, archive)
    if by == "environment":
        monkeypatch.setenv("ANALOGNETS_OFFLINE", "1")
    with pytest.raises(PresetError, match="is not in the cache .* offline nothing is downloaded"):
        load_preset(handle, offline=by == "argument")
    with pytest.raises(PresetError, match="can't be had.*Offline, only what was downloaded"):
        pytest.importorskip("huggingface_hub", reason="needs analognets[hub]")
        load_preset("hf://someone/nets@main", offline=by == "argument")
    assert from_preset("analognet_kws.float", offline=True).name == "analognet_kws"
    assert not server.asked
    if by == "environment":
        with pytest.raises(DataError, match="ANALOGNETS_OFFLINE forbids"):
            download(handle, tmp_path / "cache", sha256="0" * 64)


def test_without_a_checksum_an_address_is_refused_unless_asked(
    server: Any, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = address(server, tmp_path, archive).partition("#")[0]
    with pytest.raises(PresetError, match=r"needs its sha256.*#sha256=.*--allow-unverified"):
        load_preset(url.replace("http:", "https:"))
    with pytest.raises(PresetError, match="needs its sha256"):
        load_preset(url, allow_unverified=True)  # http: anyone on the way could change it
    assert not server.asked
    secure = url.replace("http:", "https:")
    monkeypatch.setattr(
        "analognets.zoo.presets.handles.download",
        lambda found, *a, **k: download(found.replace("https:", "http:"), *a, **k),
    )
    assert load_preset(secure, allow_unverified=True).name == "tiny.analog"
    assert load_preset(secure, allow_unverified=True, offline=True).name == "tiny.analog"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "handle",
    ["ftp://h/p.zip", "https://h/p.tar", "https://h/p.zip#md5=1", "https://h/p.zip#sha256=abc", "file:///p.zip"],
)
def test_addresses_that_are_none(handle: str) -> None:
    with pytest.raises(PresetError, match=r"looks like https://host/name\.zip#sha256="):
        load_preset(handle)


def test_two_different_checksums_are_a_question() -> None:
    with pytest.raises(PresetError, match="name different checksums"):
        load_preset(f"https://h/p.zip#sha256={'0' * 64}", sha256="1" * 64)


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("hf://nets", "looks like hf://user/repo@revision"),
        ("hf://a/b@main/../c", "looks like hf://user/repo@revision"),
        ("hf://a/b", "Name the revision"),
        ("hf://a/b/folder", "Name the revision"),
    ],
)
def test_hub_handles_that_are_none(handle: str, message: str) -> None:
    with pytest.raises(PresetError, match=message):
        load_preset(handle)


def test_the_hub_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"hf:// handles needs optional packages.*analognets\[hub\]"):
        load_preset("hf://someone/nets@main")


def test_a_preset_from_the_hub(hub: Any, saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, hub.root / "kinds" / "tiny")
    (hub.root / "kinds" / "tiny" / "setup.py").write_text("raise SystemExit")
    preset = load_preset("hf://someone/nets@v1/kinds/tiny")
    assert preset.check_golden().passed
    assert "kinds/tiny/setup.py" not in hub.served
    with pytest.raises(PresetError, match="hf://someone/nets@v2.* can't be had"):
        load_preset("hf://someone/nets@v2")
    with pytest.raises(PresetError, match="holds no preset.json"):
        load_preset("hf://someone/nets@v1/nothing")
    hub.shutdown()
    again = load_preset("hf://someone/nets@v1/kinds/tiny", offline=True)
    assert again.path == preset.path and again.model().count_params() == preset.record.parameters
    digest = hashlib.sha256((saved / "preset.json").read_bytes()).hexdigest()
    pinned = f"hf://someone/nets@{hub.commit}/kinds/tiny"
    assert load_preset(pinned, offline=True, sha256=digest).name == "tiny.analog"
    with pytest.raises(ChecksumError, match=r"preset\.json"):
        load_preset(pinned, offline=True, sha256="0" * 64)
