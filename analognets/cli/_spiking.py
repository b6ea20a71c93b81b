"""`analognets train letters` and `analognets train stdp-mnist`: the spiking experiments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.cli import _console
from analognets.cli._report import keep_report, leave_report
from analognets.errors import InvalidArgumentError, RunError

if TYPE_CHECKING:
    from analognets.core.report import Report, Table

__all__ = ["show_run", "train_spiking"]


def train_spiking(
    reporter: _console.Reporter,
    name: str,
    overrides: list[str],
    *,
    data: str | None,
    out: Path | None,
    seed: int | None,
    keep: bool,
    overwrite: bool,
    open_it: bool = False,
) -> None:
    """Train a spiking experiment in a run folder, or go on with what was begun there."""
    from analognets.zoo.experiments.spiking_recipe import KINDS, find_spiking_recipe
    from analognets.zoo.trained import resume_command

    recipe = find_spiking_recipe(name).replace([*([f"seed={seed}"] if seed is not None else []), *overrides])
    letters = recipe.task == "letters"
    if letters and data is not None:
        raise InvalidArgumentError(
            f"The letters are spoken by espeak-ng or come from wav files. Received: --data {data}. Name recordings "
            "with --set wav.I=PATH instead."
        )
    folder, kind = out or Path("runs") / recipe.name, KINDS[recipe.task]
    if keep and not overwrite and os.path.isfile(folder / "run.json"):
        run = kind.open(folder)
        if run.finished and run.recipe.fingerprint() == recipe.fingerprint():
            reporter.note(f"{folder} is finished; it is kept as it is.")
            show_run(reporter, run, open_it=open_it, keep=True)
            return
    if not overwrite and os.path.isdir(folder) and any(folder.iterdir()):
        kind.create(folder, recipe)  # a folder that can't be used is better refused before anything slow
    reporter.note(f"Recipe {recipe.name}, seed {recipe.seed}, run folder {folder}")
    with reporter.status("Starting TensorFlow and preparing the experiment ..."), _console.quiet_imports():
        task, train, total = _prepared(recipe, data)
    run = kind.create(folder, recipe, overwrite=overwrite)
    hint = resume_command(folder, data=data)
    _console.set_resume_hint(hint, finished=lambda: bool(kind.open(folder).finished))
    with reporter.progress("Epochs" if letters else "Pictures", total) as bar:
        train(run, task, lambda done, row: bar.update(done, _text(row)))
    _console.set_resume_hint(None)
    show_run(reporter, kind.open(run.path), open_it=open_it)


def _prepared(recipe: Any, data: str | None) -> tuple[Any, Any, int]:
    if recipe.task == "letters":
        from analognets.zoo.experiments.letters import prepare_letters, train_letters

        return prepare_letters(recipe), train_letters, recipe.epochs
    from analognets.zoo.experiments.stdp_mnist import prepare_digits, train_digits

    task = prepare_digits(recipe, data_dir=None if data is None else Path(data))
    return task, train_digits, task.total


def _text(row: dict[str, Any]) -> str:
    if "tolerance_25" in row:
        return f"within 25 ms {100 * row['tolerance_25']:.1f} %"
    found = row["online_accuracy"]
    return f"{row['spikes_per_picture']:.1f} spikes a picture" + ("" if found is None else f", {100 * found:.1f} %")


def show_run(reporter: _console.Reporter, run: Any, *, open_it: bool = False, keep: bool = False) -> None:
    """Print what came out of a finished spiking run, and leave its report.

    Args:
        reporter: prints it.
        run: finished.
        open_it: show the report in the browser.
        keep: leave a report that is there.
    """
    from analognets.core.files import read_json

    letters = run.recipe.task == "letters"
    path = run.path / "results" / ("letters.json" if letters else "digits.json")
    again = "Train the run again with --overwrite."
    result = read_json(path, "result of a run", hint=again)
    try:
        curve = result.pop("curve")
        lines, rows = _of_letters(result) if letters else (_of_digits(result), [])
        report, page = report_of(run, result, curve, lines[0]), path.with_suffix(".html")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(f"'{path}' is not the result of a run: it was cut short or changed. {again}") from error
    reporter.result({"run": str(run.path), "status": run.status, **result})
    for line in lines:
        reporter.say(line)
    if letters:
        columns = ["seconds", "within 25 ms, %", "with array-level scaling, %"]
        reporter.table(columns, rows, title="After training, mean of the readings and half of its 95 % interval")
    reporter.point(f"Figures and tables: {run.path / 'results'}")
    if keep and page.is_file():
        keep_report(reporter, page, open_it=open_it)
    else:
        leave_report(reporter, report, page, open_it=open_it)


def report_of(run: Any, result: dict[str, Any], curve: list[dict[str, Any]], answer: str) -> Report:
    """Return the report of a spiking run."""
    import pandas as pd

    from analognets.core.report import Picture, Report
    from analognets.spiking import figures

    recipe, rows = run.recipe, pd.DataFrame(curve)
    if recipe.task == "letters":
        question = "Do the synapses learn to spike at the wanted times, and do they keep it?"
        after = pd.DataFrame(result["after"])
        pictures = [
            Picture(figures.curve_figure(rows), "Learning", f"Share of wanted spikes over the epochs. {answer}"),
            Picture(figures.drift_figure(after), "After training", "Share of wanted spikes over time."),
        ]
    else:
        question = "How many digits do spiking neurons recognise that learned without labels?"
        drawn = figures.progress_figure(rows, ["online_accuracy"], label=lambda _: "while learning")
        pictures = [Picture(drawn, "Learning", f"Accuracy over the pictures that were learned from. {answer}")]
    data = result.get("data") or run.record.get("data") or {}
    return Report(
        title=f"Spiking run of {recipe.name}",
        question=question,
        answer=answer,
        figures=pictures,
        tables=[] if recipe.task == "letters" else [confusion(result)],
        facts={
            "recipe": f"{recipe.name}, fingerprint {recipe.fingerprint()}",
            "seed": recipe.seed,
            "data": data.get("name", "as in the recipe"),
            "code": result.get("git_commit") or "not from a checkout",
        },
        recipe=recipe.to_yaml(),
    )


def confusion(result: dict[str, Any]) -> Table:
    """Return how often each digit was taken for each."""
    from analognets.core.report import Table

    counts = result["confusion"]
    rows = [
        [number, *row, none] for number, (row, none) in enumerate(zip(counts, result["not_recognised"], strict=True))
    ]
    return Table(
        ["digit", *(f"as {number}" for number in range(len(counts))), "none"],
        rows,
        "Digits and what they were taken for",
    )


def _of_digits(result: dict[str, Any]) -> list[str]:
    from analognets.metrics import format_interval, share_interval

    def shown(name: str) -> str:
        return format_interval(result[name], *share_interval(result[name], result["test_pictures"]), scale=100)

    words = f"{shown('test_accuracy')} % of {result['test_pictures']:,} test pictures"
    return [
        f"{words} ({shown('test_accuracy_weighted')} % if every spike counts for all classes)",
        "\N{PLUS-MINUS SIGN} is half of the 95 % interval over test pictures, one training seed.",
        f"{result['training_pictures_per_second']:.0f} pictures/s in training, {result['training_seconds']:.0f} s; "
        f"{result['test_pictures_per_second']:.0f} pictures/s in the test",
    ]


def _of_letters(result: dict[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    from analognets.metrics import chips_interval, format_interval

    last = result["last_epoch"]
    shares = ", ".join(f"{100 * last[f'tolerance_{ms}']:.1f} % within {ms} ms" for ms in (5, 10, 25))
    line = f"Last epoch: {shares}; {100 * last['false_share']:.1f} % false; chance {100 * result['chance_25']:.1f} %"
    means: dict[tuple[float, bool], list[float]] = {}
    for row in result["after"]:
        means.setdefault((row["seconds"], row["scaled"]), []).append(row["tolerance_25"])
    times = list(dict.fromkeys(seconds for seconds, _ in means))
    found = {key: chips_interval(values) for key, values in means.items()}
    mean = {key: format_interval(one.mean, one.low, one.high, scale=100, form="{:.1f}") for key, one in found.items()}
    return [line], [(f"{seconds:g}", mean[seconds, False], mean[seconds, True]) for seconds in times]
