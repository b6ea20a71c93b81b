from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import os
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from analognets.datasets.fetch import Archive, fetch, install, unpack
from analognets.datasets.speech_commands import ARCHIVES, download, load_speech_commands
from analognets.errors import ChecksumError, DataError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if "broken" in self.path:  # promises more than it sends
            data = (Path(self.directory) / "words.tar.gz").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def pack(path: Path, members: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path.read_bytes()


def served(server: http.server.ThreadingHTTPServer, tmp_path: Path, name: str = "words.tar.gz", **changes) -> Archive:
    rng = np.random.default_rng(0)
    data = pack(tmp_path / "served" / "words.tar.gz", {"./down/a.wav": rng.bytes(200_000), "./LICENSE": b"free"})
    facts = {
        "url": f"http://127.0.0.1:{server.server_port}/{name}",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "folder": "words",
    }
    return Archive(**{**facts, **changes})


def test_install_fetches_checks_and_unpacks_once(server, tmp_path: Path) -> None:
    archive, target = served(server, tmp_path), tmp_path / "cache"
    seen: list[tuple[int, int]] = []
    install([archive], target, progress=lambda done, total: seen.append((done, total)))
    assert sorted(path.name for path in (target / "words").rglob("*")) == ["LICENSE", "a.wav", "down"]
    assert seen[-1] == (archive.bytes, archive.bytes) and len(seen) > 10
    assert not list((target / "downloads").iterdir())
    install([archive], target)
    assert server.asked == ["/words.tar.gz"]


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server, tmp_path: Path) -> None:
    archive = served(server, tmp_path, sha256="0" * 64)
    with pytest.raises(ChecksumError, match=r"must have the sha256 0{64}.*now deleted"):
        install([archive], tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_transfer_that_breaks_off(server, tmp_path: Path) -> None:
    archive = served(server, tmp_path, name="broken.tar.gz")
    with pytest.raises(DataError, match=r"Can't download .*broken.tar.gz.*bytes that came are kept.*Check the network"):
        install([archive], tmp_path / "cache")
    [left] = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert left.name.startswith(".part-") and 0 < left.stat().st_size < archive.bytes


def test_a_truncated_file_on_the_server(server, tmp_path: Path) -> None:
    archive = served(server, tmp_path)
    path = tmp_path / "served" / "words.tar.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ChecksumError, match="sha256"):
        install([archive], tmp_path / "cache")


def test_missing_address_and_no_server(server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        fetch(served(server, tmp_path, name="nothing.tar.gz"), tmp_path / "cache")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="Check the network"):
        fetch(Archive(f"http://127.0.0.1:{port}/a.tar.gz", "0" * 64, 1, "a"), tmp_path / "cache")


def test_a_file_changed_on_disk_is_fetched_again(server, tmp_path: Path) -> None:
    archive = served(server, tmp_path)
    path = fetch(archive, tmp_path / "cache")
    good = path.read_bytes()
    path.write_bytes(good[:100])
    assert fetch(archive, tmp_path / "cache").read_bytes() == good


def test_too_little_room(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs about [0-9.]+ GB in .*ANALOGNETS_CACHE"):
        install([Archive("http://127.0.0.1:1/a.tar.gz", "0" * 64, 10**18, "a")], tmp_path)


@pytest.mark.parametrize("name", ["../outside.txt", "down/../../outside.txt"])
def test_members_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    pack(tmp_path / "bad.tar.gz", {"good.txt": b"1", name: b"2"})
    with pytest.raises(DataError, match="Can't unpack"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "new" / "words")
    assert not list((tmp_path / "new").iterdir()) and not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_an_archive_cut_short_leaves_no_folder(tmp_path: Path, share: float) -> None:
    data = pack(tmp_path / "a.tar.gz", {"a.wav": np.random.default_rng(0).bytes(50_000)})
    (tmp_path / "a.tar.gz").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="Can't unpack"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "new" / "words")
    assert not list((tmp_path / "new").iterdir())


def test_download_then_load(server, tmp_path: Path, speech_tree) -> None:
    root = speech_tree()
    archives = []
    for official in ARCHIVES:
        path = tmp_path / "served" / official.file_name
        with tarfile.open(path, "w:gz") as archive:
            archive.add(root / official.folder, arcname=".")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/{official.file_name}"
        archives.append(Archive(url, digest, path.stat().st_size, official.folder))
    assert download(tmp_path / "cache", archives=archives) == tmp_path / "cache" / "speech_commands"
    found = load_speech_commands(cache_dir=tmp_path / "cache")
    given = load_speech_commands(root, cache=False)
    np.testing.assert_array_equal(found.train.inputs, given.train.inputs)
    np.testing.assert_array_equal(found.test.inputs, given.test.inputs)


@pytest.mark.network
def test_the_official_addresses_hold_files_of_the_stated_size() -> None:
    import requests

    for archive in ARCHIVES:
        answer = requests.head(archive.url, timeout=30, allow_redirects=True)
        assert int(answer.headers["content-length"]) == archive.bytes


def test_zip_files_are_unpacked_and_bad_ones_refused(tmp_path: Path) -> None:
    def zipped(name: str, members: dict[str, str]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        return tmp_path / name

    unpack(zipped("one.zip", {"pictures/a.txt": "a", "pictures/sub/b.txt": "b"}), tmp_path / "out" / "pictures")
    assert (tmp_path / "out" / "pictures" / "sub" / "b.txt").read_text() == "b"
    unpack(zipped("two.zip", {"pictures/a.txt": "a", "c.txt": "c"}), tmp_path / "two" / "pictures")
    assert (tmp_path / "two" / "pictures" / "pictures" / "a.txt").read_text() == "a"
    for number, name in enumerate(("../evil.txt", "/evil.txt", "pictures/../../evil.txt")):
        with pytest.raises(DataError, match="would be written elsewhere"):
            unpack(zipped(f"evil{number}.zip", {name: "x"}), tmp_path / f"bad{number}" / "pictures")
        assert not list((tmp_path / f"bad{number}").iterdir())
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar"])
def test_damaged_archives_are_no_raw_error(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/a.wav", rng.bytes(3000))
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as archive:
            member = tarfile.TarInfo("a.wav")
            member.size = 3000
            archive.addfile(member, io.BytesIO(rng.bytes(3000)))
    whole = path.read_bytes()
    for trial in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 600), 3) * rng.choice([1, -1]):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data)) if trial % 4 == 0 else None])
        with contextlib.suppress(DataError):
            unpack(path, tmp_path / f"out{trial}")
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


def test_a_pipe_or_a_read_only_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(DataError, match="no regular file"):
        unpack(tmp_path / "x.zip", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="can't be made"):
        install([Archive("http://127.0.0.1:1/a.zip", "0" * 64, 1, "a")], tmp_path / "file" / "cache")


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # of Pythons that have the filter
def test_a_python_without_the_data_filter_unpacks_files_and_folders_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11.0 to 3.11.3, as in Debian 12."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)

    def archive(name: str, *members: tarfile.TarInfo) -> Path:
        with tarfile.open(tmp_path / name, "w:gz") as made:
            for member in members:
                made.addfile(member, io.BytesIO(b"x" * member.size))
        return tmp_path / name

    def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = "") -> tarfile.TarInfo:
        one = tarfile.TarInfo(name)
        one.type, one.size, one.linkname, one.mode = kind, size, link, 0o4777
        return one

    good = archive("good.tar.gz", member("sub", tarfile.DIRTYPE, 0), member("sub/a.wav"))
    unpack(good, tmp_path / "out" / "words")
    file = tmp_path / "out" / "words" / "sub" / "a.wav"
    assert file.read_bytes() == b"x" and file.stat().st_mode & 0o7777 == 0o755
    for number, bad in enumerate((member("../a.wav"), member("/a.wav"), member("a", tarfile.SYMTYPE, 0, "/etc"))):
        with pytest.raises(DataError, match="Can't unpack .*(would be written elsewhere|neither a file nor a folder)"):
            unpack(archive(f"bad{number}.tar.gz", bad), tmp_path / f"bad{number}" / "words")
        assert not (tmp_path / f"bad{number}" / "words").exists()


def test_more_than_there_is_room_for_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "x.tar.gz", {"a": bytes(5000)})
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", bytes(5000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4999))
    for name in ("x.tar.gz", "x.zip"):
        with pytest.raises(DataError, match="holds 5,000 bytes or more, and there is room for 4,999"):
            unpack(tmp_path / name, tmp_path / "out")
