"""`analognets listen`: words in a recording of any length or from a microphone, with their times."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._listening import (
    Every,
    LoadChips,
    Rule,
    Smoothing,
    Suppression,
    Threshold,
    settings_of,
    stored_chips,
)
from analognets.cli._work import start_backend, times_of
from analognets.cli.options import Json, Quiet
from analognets.errors import DataWarning

__all__ = ["listen"]

DEFAULT = "analognet_kws.hwa_8bit"

Trained = Annotated[str, typer.Argument(metavar="[PRESET|RUN]", help="A preset, or the folder of a finished run.")]
Wav = Annotated[Path | None, typer.Option(help="Recording of any length and rate; the microphone by default.")]
Device = Annotated[str | None, typer.Option(help="Name or number of the microphone; by default the system's.")]
Seconds = Annotated[float | None, typer.Option(min=0.0, help="Stop after so many seconds of sound; by default go on.")]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="chip|digital|float",
        help="A programmed chip, the same weights digital, or the float network; a chip by default where there is one.",
    ),
]
At = Annotated[str, typer.Option(help="Time since the chip was programmed.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the chip.")]


def listen(
    network: Trained = DEFAULT,
    wav: Wav = None,
    device: Device = None,
    seconds: Seconds = None,
    on: On = None,
    at: At = "25s",
    seed: Seed = 0,
    load_chips: LoadChips = None,
    compensation: Rule = None,
    threshold: Threshold = None,
    smoothing: Smoothing = None,
    suppression: Suppression = None,
    every: Every = 0.1,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the words that are heard in a stream, a line each, with their times; Ctrl-C ends it."""
    if wav is not None and device is not None:
        raise typer.BadParameter("--wav and --device exclude each other.")
    chosen = settings_of(threshold, smoothing, suppression)
    times_of(at)
    from analognets.zoo.trained import open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = open_trained(network)
    start_backend(reporter)

    from analognets.deploy.stream.listener import Listener, stream_frontend
    from analognets.deploy.stream.network import network_for

    front = stream_frontend(trained, every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # what it says is printed
        source = opened(reporter, wav, device, front)
        chosen.thresholds(trained.classes)
        with reporter.status("Making the network ready ..."):
            chips = stored_chips(trained, load_chips, compensation)
            made = network_for(trained, on, at=at, seed=seed, chips=chips, compensation=compensation)
        listener = Listener(made, front, trained.classes, chosen, rate=source.rate)
        place = f"chip at {at}" if hasattr(made, "chips") else on or "digital"
        heard = [show(reporter, one) for one in until(reporter, listener, source, seconds, wav is None)]
    reporter.result(
        {
            "network": trained.name,
            "on": place.split()[0],
            "at": at if place.startswith("chip") else None,
            "seed": seed,
            "source": "microphone" if wav is None else str(wav),
            "seconds": round(listener.seconds, 6),
            "threshold": chosen.threshold if isinstance(chosen.threshold, float) else dict(chosen.threshold),
            "detections": heard,
        }
    )
    noun = "detection" if len(heard) == 1 else "detections"
    reporter.note(f"{len(heard)} {noun} in {listener.seconds:.1f} s ({trained.name}, {place}).")


def opened(reporter: _console.Reporter, wav: Path | None, device: str | None, front: Any) -> Any:
    """Return the recording or the microphone, and say what is odd about it."""
    from analognets.deploy.stream.blocks import Microphone

    if wav is None:
        number = int(device) if device is not None and device.isdecimal() else device
        return Microphone(front.frontend.sample_rate, seconds=front.step, device=number)
    from analognets.datasets.audio_blocks import RecordingBlocks

    recording = RecordingBlocks(wav, front.frontend.sample_rate, seconds=10.0)
    for note in recording.notes:
        reporter.warn(note)
    return recording


def until(reporter: _console.Reporter, listener: Any, source: Any, seconds: float | None, live: bool) -> Iterator[Any]:
    """Yield detections until the source ends, so many seconds have passed, or Ctrl-C comes."""
    blocks = limited(source, seconds)
    if live:
        reporter.note("Listening to the microphone; Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt) if live else contextlib.nullcontext():
        yield from listener.listen(blocks)


def limited(source: Any, seconds: float | None) -> Iterator[Any]:
    """Yield the blocks of the first so many seconds, or all of them."""
    left = None if seconds is None else round(seconds * source.rate)
    for block in source:
        yield block if left is None else block[:left]
        left = None if left is None else left - len(block)
        if left is not None and left <= 0:
            return


def show(reporter: _console.Reporter, detection: Any) -> dict[str, Any]:
    """Print a detection, and return it as plain data."""
    minutes, rest = divmod(detection.time, 60)
    hours, minutes = divmod(int(minutes), 60)
    reporter.say(f"{hours}:{minutes:02d}:{rest:06.3f}  {detection.word:12} {detection.score:.3f}")
    return {"time": round(detection.time, 6), "word": detection.word, "score": round(detection.score, 6)}
