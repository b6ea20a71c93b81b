"""What commands print, on a terminal and elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from analognets.cli import _console
from analognets.cli._console import Reporter
from analognets.errors import AnalogNetsError


def test_results_go_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.say("result [x]")
    reporter.note("note [x]")
    reporter.warn("look out")
    reporter.result({"only": "for machines"})
    assert capsys.readouterr() == ("result [x]\n", "note [x]\nWarning: look out\n")


def test_json_keeps_stdout_for_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(json=True)
    reporter.say("result")
    reporter.table(["a"], [[1]])
    reporter.note("note")
    reporter.result({"rows": [{"at": "1d", "mean": 0.5}]})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"rows": [{"at": "1d", "mean": 0.5}]}
    assert err == "note\n"


def test_json_refuses_what_json_has_no_word_for() -> None:
    with pytest.raises(AnalogNetsError, match="can't be written as JSON"):
        Reporter(json=True).result({"mean": float("nan")})


def test_quiet_drops_all_but_results_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(quiet=True)
    reporter.note("note")
    with reporter.status("working"), reporter.progress("work", 2) as task:
        task.advance(2)
    reporter.say("result")
    reporter.warn("look out")
    assert capsys.readouterr() == ("result\n", "Warning: look out\n")


def test_table_off_a_terminal_keeps_long_cells_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().table(["name", "accuracy"], [["x" * 150, 0.9125], ["[y]", 1]], title="Drift")
    out = capsys.readouterr().out
    assert "x" * 150 in out
    assert "0.9125" in out
    assert "[y]" in out
    assert "Drift" in out


def test_progress_off_a_terminal_prints_lines_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(_console.time, "monotonic", lambda: float(next(clock)))
    with Reporter().progress("train", 6, every=3) as task:
        for step in range(6):
            task.advance(text=f"loss 0.{step}")
    assert capsys.readouterr().err.splitlines() == [
        "train: 3/6 (50 %), 3 s  loss 0.2",
        "train: 6/6 (100 %), 6 s  loss 0.5",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(_console, "_err", Console(file=screen, force_terminal=True, width=100))
    with Reporter().progress("train [1/2]", 4) as task:
        task.advance(3, text="loss [0.5]")
    text = screen.getvalue()
    assert "━" in text
    assert "3/4" in text
    assert "train [1/2]" in text
    assert "loss [0.5]" in text


def test_quiet_imports_hide_native_chatter_unless_the_import_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with _console.quiet_imports():
        os.write(2, b"cuInit: no driver\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), _console.quiet_imports():
        os.write(2, b"libx.so is missing\n")
        raise ImportError
    assert capfd.readouterr().err == "libx.so is missing\n"


def test_ctrl_c_while_importing_comes_through_at_the_end() -> None:
    passed = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        with _console.quiet_imports():
            with contextlib.suppress(BaseException):  # as TensorFlow's imports do here and there
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            passed.append("to the end")
    assert passed
    assert signal.getsignal(signal.SIGINT) is before


HOSTILE = "run \x1b]0;owned\x07\x1b[2J \x9b31m \u202ecod.exe \udcff\ud800 \r\x08 \u2028"


def test_names_from_elsewhere_do_not_reach_the_terminal_as_commands(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.say(HOSTILE)
    reporter.note(HOSTILE)
    reporter.warn(HOSTILE)
    reporter.table(["name", HOSTILE], [[HOSTILE, 1]], title=HOSTILE)
    with reporter.status(HOSTILE), reporter.progress(HOSTILE, 1) as task:
        task.advance(1, HOSTILE)
    _console.print_error(HOSTILE, hints=[HOSTILE])
    _console.set_resume_hint(HOSTILE)
    _console.print_interrupted()
    _console.set_resume_hint(None)
    out, err = capsys.readouterr()
    text = out + err
    assert text.count(r"\x1b]0;owned\x07\x1b[2J") == 12
    assert all(letter == "\n" or letter.isprintable() for letter in text)


@given(st.text())
def test_what_is_shown_is_what_can_be_printed(text: str) -> None:
    shown = _console.shown(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(letter).startswith("C") for letter in shown if letter not in "\n\t")
    if text.isprintable():
        assert shown == text


def test_finished_work_is_not_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    _console.set_resume_hint("again", finished=lambda: True)
    _console.print_interrupted()
    _console.set_resume_hint("again", finished=lambda: False)
    _console.print_interrupted()
    _console.set_resume_hint(None)
    assert capsys.readouterr().err == "Interrupted.\nInterrupted. Resume with: again\n"
