"""Writers that are killed at any file operation lose nothing, and the next writer removes what they left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analognets.core import drafts
from analognets.core.drafts import draft_folder, exchange, recover, temporary_folder
from analognets.core.files import locked, new_folder, remove_leftovers, write_atomically
from analognets.errors import ChipFileError, RunError

EachKill = Callable[[Callable[[], object]], Iterator[int]]


def fill(target: Path, text: str) -> None:
    with new_folder(target, "chips", ChipFileError, index="index", overwrite=True) as folder:
        (folder / "index").write_text(text)
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text(text)


def content(target: Path) -> str:
    """Return what a folder of `fill` holds, which must be all of one text."""
    texts = {path.read_text() for path in (target / "index", target / "inner" / "file")}
    assert len(texts) == 1 and len(list(target.rglob("*"))) == 3
    return texts.pop()


@pytest.mark.parametrize("at_once", [True, False], ids=["exchange", "two renames"])
def test_a_folder_is_old_or_new_wherever_its_writer_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each_kill: EachKill, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr(drafts, "exchange", lambda one, other: False)
    target = tmp_path / "chips"
    seen = set()
    fill(target, "old")
    for _ in each_kill(lambda: fill(target, "new")):
        recover(target)
        seen.add(content(target))
        fill(target, "old")
        assert [path.name for path in tmp_path.iterdir()] == ["chips"]
    assert seen == {"old", "new"}


def test_a_first_folder_is_whole_or_not_there(tmp_path: Path, each_kill: EachKill) -> None:
    seen = set()
    for number in each_kill(lambda: fill(tmp_path / "chips", "new")):
        target = tmp_path / "chips"
        recover(target)
        seen.add(target.exists())
        if target.exists():
            assert content(target) == "new"
            os.rename(target, tmp_path / f"done-{number}")
        write_atomically(tmp_path / "other", "x")
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert seen == {True, False}


def test_a_file_is_old_or_new_wherever_its_writer_is_killed(tmp_path: Path, each_kill: EachKill) -> None:
    path = tmp_path / "file.txt"
    seen = set()
    write_atomically(path, "old")
    for _ in each_kill(lambda: write_atomically(path, "new" * 1000)):
        seen.add(path.read_text())
        write_atomically(path, "old")
        assert list(tmp_path.iterdir()) == [path]
    assert seen == {"old", "new" * 1000}


def test_temporary_folders_of_the_killed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each_kill: EachKill
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def work() -> None:
        with temporary_folder() as folder:
            (folder / "a" / "b").mkdir(parents=True)
            (folder / "a" / "file").write_text("x")

    for _ in each_kill(work):
        with temporary_folder() as folder:
            assert list(tmp_path.iterdir()) == [folder]
        assert not list(tmp_path.iterdir())


def test_a_full_folder_for_temporary_files_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(RunError, match=r"temporary files, '.*', can't be written to: No space .* TMPDIR"),
        temporary_folder(),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(ChipFileError, match="mine"), temporary_folder():
        raise ChipFileError("mine")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RunError, match=r"nowhere', can't be written to: No such file"), temporary_folder():
        pass


def test_the_draft_of_a_writer_at_work_stays(tmp_path: Path) -> None:
    with draft_folder(tmp_path) as draft:
        (draft / "half").write_text("x")
        write_atomically(tmp_path / "other", "y")
        assert (draft / "half").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_without_locks_the_process_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(drafts.fcntl, "flock", unsupported)
    kept, other = f".part-{drafts._HOST}-{os.getpid()}-0123abcd", f".part-00000000-{2**22 + 5}-0123abcd"
    (tmp_path / other).mkdir()  # of another machine, whose processes are not known here
    for process in (2**22 + 5, os.getpid()):
        (tmp_path / f".part-{drafts._HOST}-{process}-0123abcd").mkdir()
    fill(tmp_path / "chips", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept, other, "chips"])


def test_a_draft_that_another_process_is_removing_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, calls = drafts.fcntl.flock, []

    def taken_first(handle: int, how: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise BlockingIOError
        lock(handle, how)

    monkeypatch.setattr(drafts.fcntl, "flock", taken_first)
    draft, handle = drafts._new(tmp_path)
    os.close(handle)
    assert len(calls) == 2 and len(list(tmp_path.iterdir())) == 2 and draft.exists()


def test_what_only_looks_like_a_draft_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    (tmp_path / ".part-0123abcd-1-0123abcd").symlink_to(tmp_path / "mine")
    (tmp_path / ".part-of-a-thesis").mkdir()
    fill(tmp_path / "chips", "new")
    names = [".part-0123abcd-1-0123abcd", ".part-of-a-thesis", "chips", "mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "mine" / "file").read_text() == "x"


def test_recovery_leaves_what_is_there(tmp_path: Path) -> None:
    aside = tmp_path / ".part-0123abcd-1-0123abcd" / "replaced" / "chips"
    aside.mkdir(parents=True)
    (tmp_path / "chips").mkdir()
    recover(tmp_path / "chips")
    assert aside.exists()
    (tmp_path / "chips").rmdir()
    recover(tmp_path / "nothing")
    assert aside.exists()
    recover(tmp_path / "chips")
    assert (tmp_path / "chips").exists() and not aside.exists()
    recover(tmp_path / "nowhere" / "chips")
    remove_leftovers(tmp_path / "nowhere")


def test_exchange_of_names(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    if exchange(tmp_path / "a", tmp_path / "b"):
        assert (tmp_path / "a").read_text() == "b"
        with pytest.raises(FileNotFoundError):
            exchange(tmp_path / "a", tmp_path / "gone")


@pytest.mark.parametrize("plant", ["link", "hard link", "pipe", "folder"])
def test_a_planted_lock_is_not_followed(tmp_path: Path, plant: str) -> None:
    run, other = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    other.write_text("precious")
    lock = run / ".lock"
    if plant == "link":
        lock.symlink_to(other)
    elif plant == "hard link":
        os.link(other, lock)
    elif plant == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(RunError, match="can't be written to"), locked(run):
        pass
    assert other.read_text() == "precious"
