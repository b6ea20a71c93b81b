"""What the commands print: results on stdout; progress, notes and errors on stderr.

On a terminal there are colours and moving bars; anywhere else the same facts come as plain lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analognets.core.text import shown
from analognets.errors import AnalogNetsError

if TYPE_CHECKING:
    from analognets.core.report import Table

__all__ = [
    "Reporter",
    "Task",
    "command",
    "print_error",
    "print_interrupted",
    "quiet_imports",
    "set_command",
    "set_resume_hint",
]

_out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
_command: list[str] = []
_resume: list[tuple[str, Callable[[], bool]]] = []


def print_error(message: str, hints: Iterable[str] = ()) -> None:
    """Print one red line, then a line a hint, on stderr."""
    _err.print(shown(f"Error: {message}"), style="bold red")
    for hint in hints:
        _err.print(shown(f"Hint: {hint}"), style="dim")


def set_command(words: Iterable[str]) -> None:
    """Say with which words the program was called, its name left out."""
    _command[:] = words


def command(without: Sequence[str] = ()) -> str:
    """Return the line that was given to the shell.

    Args:
        without: options without a value that are left out.
    """
    return shlex.join(["analognets", *(word for word in _command if word not in without)])


def set_resume_hint(command: str | None, *, finished: Callable[[], bool] = lambda: False) -> None:
    """Say which command goes on with this work if Ctrl-C stops it now; None when nothing is left to resume.

    Args:
        command: to be given again.
        finished: asked when Ctrl-C came, whether the work was done just then, so that nothing can go on.
    """
    _resume[:] = [(command, finished)] if command else []


def print_interrupted() -> None:
    """Print what Ctrl-C leaves behind."""
    left = [command for command, finished in _resume if not finished()]
    _err.print(shown(f"Interrupted. Resume with: {left[0]}" if left else "Interrupted."), style="yellow")


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Hold back what native libraries write to stderr while they are imported; show it if the import fails.

    TensorFlow reports missing GPU drivers before its log level applies, so only the file descriptor can hold it back.
    Our own lines and spinners go on. Ctrl-C waits until the end: imports of TensorFlow swallow it now and then.
    """
    sys.stderr.flush()
    with (
        _interrupt_deferred(),
        tempfile.TemporaryFile() as held,
        os.fdopen(os.dup(2), "w", encoding="utf-8") as visible,
    ):
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        _err.file = visible
        try:
            yield
        except Exception:
            sys.stderr.flush()
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            sys.stderr.flush()
            _err.file = None  # type: ignore[assignment]
            os.dup2(original, 2)
            os.close(original)


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Raise the KeyboardInterrupt of a Ctrl-C at the end of the block instead of somewhere in it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
    if came:
        raise KeyboardInterrupt


class Task:
    """A piece of work with a known number of steps, shown as a bar or as plain lines (see `Reporter.progress`)."""

    def __init__(self, description: str, total: int, *, quiet: bool, every: float) -> None:
        self.description = description
        self.total = max(int(total), 1)
        self.done = 0
        self._quiet = quiet
        self._every = every
        self._started = self._printed = time.monotonic()
        self._bar: Any = None

    def advance(self, steps: int = 1, text: str = "") -> None:
        """Report `steps` more steps as done; `text` is shown behind the bar, such as "loss 0.41"."""
        self.update(self.done + steps, text)

    def update(self, done: int, text: str = "") -> None:
        """Report that `done` steps in all are done."""
        self.done = done
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, text=shown(text))
            return
        now = time.monotonic()
        if done >= self.total or now - self._printed >= self._every:
            self._printed = now
            share = 100 * done // self.total
            _err.print(
                shown(
                    f"{self.description}: {done}/{self.total} ({share} %), {now - self._started:.0f} s  {text}".rstrip()
                )
            )

    def follow(self, done: int, total: int) -> None:
        """Report that `done` steps in all are done, as work does that says how many there are."""
        self.update(done)

    @contextlib.contextmanager
    def _shown(self) -> Iterator[Task]:
        if self._quiet or not _err.is_terminal:
            yield self
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = [
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
        ]
        columns += [TimeElapsedColumn(), Remaining(), TextColumn("{task.fields[text]}", markup=False)]
        with Progress(*columns, console=_err) as self._bar:
            self._bar.add_task(shown(self.description), total=self.total, text="")
            yield self
        self._bar = None


@dataclass(frozen=True)
class Reporter:
    """How one command talks: `json` keeps stdout for one JSON document, `quiet` drops all but results and errors.

    It keeps the tables and sentences of the result, printed or not, for the report of the command.
    """

    json: bool = False
    quiet: bool = False
    tables: list[Table] = field(default_factory=list, compare=False, repr=False)
    sentences: list[str] = field(default_factory=list, compare=False, repr=False)

    def note(self, text: str, *, style: str | None = None) -> None:
        """Print a line that is no result (what happens, where files go) on stderr."""
        if not self.quiet:
            _err.print(shown(text), style=style)

    def warn(self, text: str) -> None:
        """Print a line that the user should read, even with --quiet."""
        self.sentences.append(text)
        _err.print(shown(f"Warning: {text}"), style="yellow")

    def say(self, text: str, *, style: str | None = None) -> None:
        """Print a line of the result on stdout; nothing with --json."""
        self.sentences.append(text)
        self.point(text, style=style)

    def point(self, text: str, *, style: str | None = None) -> None:
        """Print a line that points to files or to a next step on stdout; nothing with --json."""
        if not self.json:
            _out.print(shown(text), style=style)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
        """Print a table on stdout; nothing with --json. Columns that hold numbers only are aligned to the right."""
        from analognets.core.report import Table as Kept

        kept = Kept(list(columns), [tuple(row) for row in rows], title)
        self.tables.append(kept)
        if self.json:
            return
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title=shown(title) or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(columns):
            numeric = all(isinstance(row[index], (int, float)) for row in kept.rows)
            table.add_column(shown(column), justify="right" if numeric else "left", overflow="fold")
        for row in kept.texts():
            table.add_row(*row)
        # Off a terminal rich would assume 80 columns and fold cells.
        Console(highlight=False, markup=False, emoji=False, width=None if _out.is_terminal else 1000).print(table)

    def result(self, payload: Any) -> None:
        """Print `payload` as JSON on stdout with --json; nothing otherwise.

        Raises:
            AnalogNetsError: the payload holds NaN or infinity, which JSON has no word for.
        """
        if not self.json:
            return
        try:
            text = json.dumps(payload, indent=2, allow_nan=False)
        except ValueError as error:
            raise AnalogNetsError(f"The result can't be written as JSON: {error}.") from error
        sys.stdout.write(text + "\n")

    def progress(self, description: str, total: int, *, every: float = 10.0) -> contextlib.AbstractContextManager[Task]:
        """Show work of `total` steps: a moving bar on a terminal, elsewhere a line at most every `every` seconds."""
        return Task(description, total, quiet=self.quiet, every=every)._shown()

    @contextlib.contextmanager
    def status(self, text: str) -> Iterator[None]:
        """Show that work of unknown length goes on: a spinner on a terminal, one line elsewhere."""
        if self.quiet:
            yield
        elif _err.is_terminal:
            with _err.status(shown(text)):
                yield
        else:
            _err.print(shown(text))
            yield
