"""Files and folders: whole or not there, whatever goes wrong, and nothing of others is touched."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from analognets.core import drafts, files
from analognets.core.files import (
    json_of,
    make_folder,
    new_folder,
    open_plain,
    remove_leftovers,
    write_atomically,
    write_json,
)
from analognets.errors import AnalogNetsError, ChipFileError, DataError, PresetError, RunError


@pytest.mark.parametrize("content", [b"new", "new", lambda path: path.write_text("new")])
def test_atomic_writes_replace(tmp_path: Path, content: object) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fill_the_disk(part: Path) -> None:
        part.write_text("hal")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"file.txt' can't be written: No space left on device"):
        write_atomically(path, fill_the_disk)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    def die(part: Path) -> None:
        part.write_text("hal")
        raise SystemExit

    with pytest.raises(SystemExit):
        write_atomically(tmp_path / "float.keras", die)
    (tmp_path / "mine.txt").write_text("")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("problem", [ValueError("no"), KeyboardInterrupt(), DataError("the recording is broken")])
def test_an_error_of_the_writer_passes_and_leaves_nothing(tmp_path: Path, problem: BaseException) -> None:
    def fail(part: Path) -> None:
        part.write_text("hal")
        raise problem

    with pytest.raises(type(problem)) as caught:
        write_atomically(tmp_path / "file.txt", fail)
    assert caught.value is problem
    assert not list(tmp_path.iterdir())


def test_the_caller_names_the_error(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match=r"nowhere/a.json' can't be written: No such file or directory\. What was"):
        write_json(tmp_path / "nowhere" / "a.json", {}, error=PresetError)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"The folder of results '.*file/x' can't be made: Not a directory"):
        make_folder(tmp_path / "file" / "x", "folder of results", error=DataError)


def test_young_leftovers_stay_where_others_write(tmp_path: Path) -> None:
    for name, age in (("old", 1000.0), ("young", 0.0)):
        (tmp_path / f".part-{name}").write_text("")
        changed = (tmp_path / f".part-{name}").stat().st_mtime - age
        os.utime(tmp_path / f".part-{name}", (changed, changed))
    remove_leftovers(tmp_path, older_than=500)
    assert [path.name for path in tmp_path.iterdir()] == [".part-young"]


def fill(target: Path, text: str = "new", problem: BaseException | None = None, **settings: object) -> None:
    """Write a folder of two files with `new_folder`, and fail between them if there is a problem."""
    with new_folder(target, "chips", ChipFileError, index="index", **settings) as draft:  # type: ignore[arg-type]
        (draft / "index").write_text(text)
        if problem:
            raise problem
        (draft / "inner").mkdir()
        (draft / "inner" / "file").write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


NEW = {"index": "new", "inner/file": "new"}


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b" / "chips")
    assert content(tmp_path) == {f"a/b/chips/{name}": text for name, text in NEW.items()}


PROBLEMS = [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device"),
            ValueError("no"), PresetError("says why"), KeyboardInterrupt(), SystemExit()]  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: type(problem).__name__)
@pytest.mark.parametrize("old", [True, False])
def test_a_new_folder_that_fails_leaves_what_was_there(tmp_path: Path, problem: BaseException, old: bool) -> None:
    target = tmp_path / "runs" / "chips"
    if old:
        fill(target, "old")
    before = content(tmp_path)
    disk = isinstance(problem, OSError | SafetensorError)
    with pytest.raises(ChipFileError if disk else type(problem)) as caught:
        fill(target, problem=problem, overwrite=True)
    if disk:
        assert "The chips can't be written to" in str(caught.value)
        assert "No space left on device. What was there before is kept." in str(caught.value)
    else:
        assert caught.value is problem
    assert content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == (
        ["chips", "file", "index", "inner", "runs"] if old else []
    )


def test_what_is_there_is_replaced_only_if_asked_and_ours(tmp_path: Path) -> None:
    fill(tmp_path / "chips", "old")
    with pytest.raises(ChipFileError, match=r"Chips are not written over existing data\. Received: .*overwrite=True"):
        fill(tmp_path / "chips")
    assert content(tmp_path / "chips") == {name: "old" for name in NEW}
    fill(tmp_path / "chips", overwrite=True)
    assert content(tmp_path / "chips") == NEW
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "all.txt").write_text("all of it")
    with pytest.raises(ChipFileError, match="Only chips are overwritten, and '.*thesis' holds none"):
        fill(tmp_path / "thesis", overwrite=True)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "dangling"):
        with pytest.raises(ChipFileError, match="Only chips are overwritten"):
            fill(tmp_path / name, overwrite=True)
        with pytest.raises(ChipFileError, match="not written over"):
            fill(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chips", "dangling", "file", "thesis"]


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "chips"
    with pytest.raises(ChipFileError, match="can't be written"), new_folder(target, "chips", ChipFileError) as draft:
        (draft / "index").write_text("mine")
        fill(target, "of another process")
    assert (target / "index").read_text() == "of another process"
    assert [path.name for path in tmp_path.iterdir()] == ["chips"]


def test_a_failure_of_the_last_move_brings_back_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "chips", "old")
    moves: list[Path] = []
    move: Callable[[Path, Path], None] = os.replace

    def second_fails(source: Path, target: Path) -> None:
        moves.append(source)
        if len(moves) == 2:
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr(drafts, "exchange", lambda one, other: False)
    monkeypatch.setattr(drafts.os, "replace", second_fails)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "chips", overwrite=True)
    assert content(tmp_path / "chips") == {name: "old" for name in NEW}
    assert [path.name for path in tmp_path.iterdir()] == ["chips"]


def test_another_way_to_take_its_place(tmp_path: Path) -> None:
    def join(draft: Path, target: Path) -> None:
        write_atomically(target, "".join(sorted(path.name for path in draft.iterdir())), error=PresetError)

    fill(tmp_path / "names.txt", place=join)
    assert content(tmp_path) == {"names.txt": "indexinner"}


def test_our_errors_are_not_taken_for_those_of_the_disk() -> None:
    assert issubclass(RunError, OSError) and issubclass(RunError, AnalogNetsError)
    assert not files._is_of_the_disk(RunError("x")) and files._is_of_the_disk(PermissionError(13, "x"))


def test_a_special_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "whole").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("whole")
    with open_plain(tmp_path / "link", limit=5) as file:
        assert file.read() == b"12345"
    for name, why in (
        ("pipe", "no regular file"),
        ("zero", "no regular file"),
        (".", "it is a folder"),
        ("whole", "at most 4 bytes. Received: 5"),
        ("gone", "No such file"),
        ("nul\0", "null"),
    ):
        with pytest.raises(DataError, match=rf"Can't read the thing .*{why}.*Do that\."):
            open_plain(tmp_path / name, "thing", limit=4, error=DataError, hint="Do that.")


def test_a_clock_before_1980_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", b"1")

    then = time.gmtime(0)
    monkeypatch.setattr(time, "localtime", lambda *_: then)
    with pytest.raises(RunError, match="the clock of this machine stands before 1980"):
        write_atomically(tmp_path / "x.keras", write)
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_too_large_are_no_finite_ones(tmp_path: Path) -> None:
    for text in ("1e999", "-1e999", "NaN", "Infinity"):
        with pytest.raises(RunError, match="cut short or changed"):
            json_of(f'{{"a": {text}}}'.encode(), "x.json", finite=True)
    assert json_of(b'{"a": 1.5, "b": 2}', "x.json", finite=True) == {"a": 1.5, "b": 2}
