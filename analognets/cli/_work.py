"""Work that several commands do: starting TensorFlow, loading data, following a study, reading lists of numbers."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from analognets.cli import _console
from analognets.errors import DataWarning

if TYPE_CHECKING:
    from analognets.zoo.tasks import Task
    from analognets.zoo.trained import TrainedNetwork

TITLES = {"tensorflow": "TensorFlow", "jax": "JAX"}

__all__ = [
    "Steps",
    "following",
    "interval",
    "load_task",
    "loading_data",
    "numbers",
    "per_hundred",
    "percent",
    "records",
    "results_folder",
    "sizes",
    "start_backend",
    "times_of",
    "with_ends",
]


def start_backend(reporter: _console.Reporter) -> None:
    """Import Keras, its backend and what stands on them, and say so, because it takes seconds.

    Raises:
        InvalidArgumentError: Keras is set to a backend that is not supported.
        MissingExtraError: it is set to JAX, which is not installed.
    """
    from analognets.core.backend import check_configured, configured_backend

    check_configured()
    if "tensorflow" in sys.modules:
        return
    with reporter.status(f"Starting {TITLES[configured_backend()]} ..."), _console.quiet_imports():
        import librosa.filters  # noqa: F401

        from analognets.training.placement import grow_memory

        grow_memory()


def per_hundred(bar: _console.Task) -> Callable[[int, int], None]:
    """Return a callback for (done, total) that moves a bar of 100 steps, each of them once."""

    def update(done: int, total: int) -> None:
        share = 100 * done // max(total, 1)
        if share > bar.done:
            bar.update(share)

    return update


@contextlib.contextmanager
def loading_data(reporter: _console.Reporter) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback that shows the progress of a loader, which does not warn meanwhile: its notes are printed."""
    with warnings.catch_warnings(), reporter.progress("Data", 100) as bar:
        warnings.simplefilter("ignore", DataWarning)
        yield per_hundred(bar)


def load_task(
    reporter: _console.Reporter, trained: TrainedNetwork, data: str | None, *, calibrate: bool = True
) -> Task:
    """Load the data of a trained network with a bar, from where the training had it unless told otherwise."""
    with loading_data(reporter) as progress:
        task = trained.task(data, calibrate=calibrate, progress=progress)
    for note in task.data.info.notes:
        if data is not None or note not in trained.data.get("notes", ()):
            reporter.warn(note)
    return task


def results_folder(trained: TrainedNetwork, named: Path | None) -> Path:
    """Return the folder for the results, made if need be."""
    from analognets.core.files import make_folder

    return make_folder(named or trained.results, "folder for the results")


def times_of(text: str | None, option: str = "--at") -> list[str]:
    """Return the times of a list with commas, each of them checked; none for no list.

    Raises:
        BadParameter: the list is empty.
        InvalidArgumentError: one is no time.
    """
    from analognets.units import parse_durations

    if text is None:
        return []
    if not text.strip():
        raise typer.BadParameter(
            f"{option} takes times such as 25s or 1h,1y. Received: '{text}'. Name one, or leave it out."
        )
    times = [word.strip() for word in text.split(",")]
    parse_durations(times)
    return times


class Steps:
    """Shows work that reports itself as (what, done, total): a bar for each `what`, a line where the total is 0."""

    def __init__(self, reporter: _console.Reporter) -> None:
        self.reporter = reporter
        self._what: str | None = None
        self._bar: Any = None
        self._shown = contextlib.ExitStack()

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *error: Any) -> None:
        self._shown.close()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._shown.close()
            self._what = what
            shown = self.reporter.progress(what, total) if total else self.reporter.status(what)
            self._bar = self._shown.enter_context(shown)
        if self._bar is not None:
            self._bar.update(done)


@contextlib.contextmanager
def following(
    reporter: _console.Reporter, description: str, *names: str
) -> Iterator[Callable[[int, int, dict[str, Any]], None]]:
    """Yield what shows the progress of a study, in a bar that begins when the total is known.

    If the study is interrupted, the user is told to give the same command again.

    Args:
        reporter: where it is shown.
        description: of the bar.
        *names: entries of a row that are shown behind the bar.
    """
    _console.set_resume_hint(_console.command(without=["--overwrite"]))
    bars: list[_console.Task] = []
    with contextlib.ExitStack() as stack:

        def update(done: int, total: int, row: dict[str, Any]) -> None:
            if not bars:
                bars.append(stack.enter_context(reporter.progress(description, total)))
            bars[0].update(done, " ".join(str(row[name]) for name in names if row.get(name) is not None))

        yield update
    _console.set_resume_hint(None)


def records(table: Any) -> Any:
    """Return a table as plain rows, for JSON."""
    return json.loads(table.to_json(orient="records", double_precision=15))


def percent(value: Any) -> str:
    """Return a share in percent; nothing if it is not known."""
    return "" if value is None or value != value else f"{100 * value:.2f}"


def interval(row: Any, name: str, ends: str, *, scale: float = 100.0, form: str = "{:.2f}") -> str:
    """Return a figure of a table's row with half of its interval, as far as it is known.

    Args:
        row: of a table.
        name: column of the figure.
        ends: columns of the ends are ENDS_low and ENDS_high, or low and high for "".
        scale: of what is shown; 100 shows shares in percent.
        form: of the figure.
    """
    from analognets.metrics import format_interval

    if row[name] is None or row[name] != row[name]:
        return ""
    low, high = (row[f"{ends}_{end}" if ends else end] for end in ("low", "high"))
    return format_interval(row[name], low, high, scale=scale, form=form)


def words(text: str | None) -> list[str]:
    """Return the words of a list with commas, without blank ones; none for no list."""
    return [word.strip() for word in text.split(",") if word.strip()] if text else []


def numbers(option: str, text: str | None, kind: Any) -> list[Any]:
    """Return the numbers of a list with commas, each once.

    Raises:
        BadParameter: one is no number.
    """
    try:
        return list(dict.fromkeys(kind(word) for word in text.split(","))) if text else []
    except ValueError:
        raise typer.BadParameter(f"{option} takes numbers with commas between them. Received: {text!r}.") from None


def sizes(text: str) -> list[tuple[int, int]]:
    """Return the sizes of a list such as 1024x512,512x512.

    Raises:
        BadParameter: one is no size.
    """
    try:
        pairs = [tuple(map(int, word.lower().split("x"))) for word in text.split(",")]
        return [(rows, cols) for rows, cols in dict.fromkeys(pairs)]
    except ValueError:
        raise typer.BadParameter(f"--arrays takes sizes such as 1024x512,512x512. Received: {text!r}.") from None


def with_ends(row: Any, name: str, ends: tuple[str, str], form: str) -> str:
    """Return a figure of a point with its range, where that is known."""
    from analognets.deploy.accelerator.costs import with_range

    low, high = (row[end] for end in ends)
    return with_range(row[name], None if low is None or low != low else (float(low), float(high)), form)
