"""`analognets stream-eval`: false alarms per hour and misses of a trained network on running audio, over drift time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._listening import Every, LoadChips, Rule, Smoothing, Suppression, settings_of, stored_chips
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import Steps, interval, load_task, start_backend, times_of
from analognets.cli.options import Data, Json, OpenReport, Quiet, Split, SplitOption

__all__ = ["stream_eval"]

ALARMS = "false_alarms_per_hour"

DEFAULT_TIMES = ("25s", "1d", "1y")

Trained = Annotated[str, typer.Argument(metavar="PRESET|RUN", help="A preset, or the folder of a finished run.")]
More = Annotated[list[str] | None, typer.Argument(metavar="[TIME]...", help="Further times, as after --at.")]
Hours = Annotated[float, typer.Option(help="Length of the test audio in hours.")]
Times = Annotated[str | None, typer.Option(help="Times since programming; 25s,1d,1y by default.")]
Count = Annotated[int, typer.Option(min=1, help="How many chips to programme.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of audio and chips.")]
Target = Annotated[float, typer.Option("--target", help="False alarms per hour on validation audio, at most.")]
Validation = Annotated[float | None, typer.Option(help="Hours of validation audio; --hours by default.")]
Rate = Annotated[float, typer.Option("--words-per-minute", help="Mean number of spoken clips a minute.")]
Machine = Annotated[str, typer.Option(help="Accelerator for the mean power: a name or a YAML file.")]
Idle = Annotated[float, typer.Option("--idle-uw", help="Power of the accelerator between inferences, in uW.")]
Audio = Annotated[Path | None, typer.Option(help="Also write the test audio into this .wav file.")]
Out = Annotated[
    Path | None, typer.Option(help="Folder for the results; by default RUN/results/stream, or results/PRESET/stream.")
]


def stream_eval(
    network: Trained,
    more: More = None,
    data: Data = None,
    hours: Hours = 1.0,
    at: Times = None,
    chips: Count = 3,
    seed: Seed = 0,
    load_chips: LoadChips = None,
    compensation: Rule = None,
    target: Target = 5.0,
    validation_hours: Validation = None,
    smoothing: Smoothing = None,
    suppression: Suppression = None,
    every: Every = 0.1,
    words_per_minute: Rate = 10.0,
    split: SplitOption = Split.test,
    accelerator: Machine = "aon_cim",
    idle_uw: Idle = 0.0,
    save_audio: Audio = None,
    out: Out = None,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure false alarms per hour and misses on hours of audio; write tables, DET curves and mean power.

    The audio is made of the clips of the test split and of noise, with known times. One threshold is chosen on audio of
    the validation split, where chips are read after 25 s.
    """
    settings = settings_of(None, smoothing, suppression)
    named = [*(() if at is None else [at]), *(more or ())]
    times = list(dict.fromkeys(times_of(",".join(named or DEFAULT_TIMES))))
    from analognets.zoo.trained import open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = open_trained(network, wants=("recipe",))
    start_backend(reporter)

    from analognets.core.files import make_folder
    from analognets.deploy.stream.listener import stream_frontend
    from analognets.deploy.stream.report import write_stream_evaluation
    from analognets.deploy.stream.study import stream_evaluation

    step = stream_frontend(trained, every).step
    power = mean_power(trained, accelerator, 1 / step, idle_uw)
    folder = make_folder(out or trained.results / "stream", "folder for the results")
    task = load_task(reporter, trained, data, calibrate=False)
    asked: dict[str, Any] = {"hours": hours, "seed": seed, "words_per_minute": words_per_minute, "split": split.value}
    if save_audio is not None:
        write_audio(reporter, save_audio, task.data, asked)
    stored = stored_chips(trained, load_chips, compensation)
    asked |= {"at": times, "chips": stored or chips, "settings": settings, "target": target, "every": every}
    asked |= {"validation_hours": validation_hours, "compensation": compensation}
    with Steps(reporter) as steps:
        found = stream_evaluation(trained, task.data, progress=steps, **asked)
    record = write_stream_evaluation(folder, found, power)
    synthetic = task.data.info.synthetic
    reporter.result({**record, "synthetic": synthetic, "results": str(folder)})
    show(reporter, found, record, power, synthetic)
    made = made_from([network], {**found.settings, "data": data, "at": times})
    leave_report(reporter, report_of(found, record, made), folder / "stream.html", open_it=open_)
    reporter.point(f"Written to {folder}: stream.csv, det.csv, words.csv, stream.json, stream.svg")


def report_of(found: Any, record: dict[str, Any], made: dict[str, Any]) -> Any:
    """Return the report of a stream evaluation."""
    from analognets.core.report import Picture, Report
    from analognets.deploy.stream.report import stream_figure

    said = [
        f"{row['title']}: {interval(row, ALARMS, ALARMS, scale=1.0, form='{:.1f}') or '-'} false alarms per hour, "
        f"{interval(row, 'miss_rate', 'miss_rate', form='{:.1f}') or '-'} % missed"
        for row in record["rows"]
    ]
    answer = f"On {record['hours']:g} h of audio: {'; '.join(said)}."
    text = f"Missed keywords against false alarms per hour, and both over the time since programming. {answer}"
    return Report(
        title=f"{found.name} on running audio",
        question="How many false alarms per hour and missed keywords do the chips have, and how do they age?",
        answer=answer,
        figures=[Picture(stream_figure(found), "DET curves and rates over time", text)],
        **made,
    )


def mean_power(trained: Any, accelerator: str, rate: float, idle_uw: float) -> Any:
    """Return the mean power of an accelerator that runs the network at a rate."""
    from analognets.deploy.accelerator.costs import cost
    from analognets.deploy.stream.power import duty_cycle

    return duty_cycle(cost(trained.model, accelerator), rate, idle_uw=idle_uw)


def write_audio(reporter: _console.Reporter, path: Path, data: Any, asked: dict[str, Any]) -> None:
    """Write the running audio into a .wav file, whole or not at all."""
    import soundfile

    from analognets.core.files import write_atomically
    from analognets.datasets.base import SAMPLE_RATE
    from analognets.datasets.running_audio import RunningAudio
    from analognets.errors import DataError

    if path.suffix.lower() != ".wav":
        raise typer.BadParameter(f"--save-audio names a .wav file. Received: '{path}'.")
    audio = RunningAudio(data, **asked)

    def write(part: Path) -> None:
        with soundfile.SoundFile(part, "w", samplerate=SAMPLE_RATE, channels=1, subtype="PCM_16") as file:
            for block in audio.blocks():
                file.write(block)

    with reporter.status("Writing the audio ..."):
        write_atomically(path, write, error=DataError)


def show(reporter: _console.Reporter, found: Any, record: dict[str, Any], power: Any, synthetic: bool) -> None:
    """Print false alarms and misses of each time, misses of each word, mean power, and how long it took."""
    from analognets.metrics import format_interval

    rows = [
        (
            row["title"],
            f"{row['threshold']:g}",
            interval(row, "false_alarms_per_hour", "false_alarms_per_hour", scale=1.0, form="{:.1f}") or "-",
            interval(row, "miss_rate", "miss_rate", form="{:.1f}") or "-",
        )
        for row in record["rows"]
    ]
    audio = f"{record['hours']:g} h of audio with {found.readings[0].row(found.classes)['words']} keywords"
    title = f"{found.name}: {audio}"
    reporter.table(["since programming", "threshold", "false alarms/h", "missed %"], rows, title=title)
    if words := record["words"]:
        titles = list(words[0]["ends"])
        form: dict[str, Any] = {"scale": 100, "form": "{:.1f}"}
        cells = [
            [row["word"], row["said"], *(format_interval(row[title], *row["ends"][title], **form) for title in titles)]
            for row in words
        ]
        reporter.table(["word", "said", *titles], cells, title="Missed clips of each word, %")
    reporter.say(
        "\N{PLUS-MINUS SIGN} is half of the 95 % interval: of misses over chips and the words said, of false alarms "
        "over chips and the length of the audio."
    )
    if not found.reached:
        reporter.warn(
            f"No threshold has at most {found.target:g} false alarms per hour on validation audio; the highest is used."
        )
    reporter.say(str(power))
    reporter.say(
        f"These {found.seconds:,.0f} s of audio took {found.ratio * found.seconds:.1f} s on each chip at each time, "
        f"features included: {found.ratio:.4f} of its time."
    )
    if synthetic:
        reporter.say("Synthetic data: these figures say nothing about real ones.")
