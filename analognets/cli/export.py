"""`analognets export`: a trained network as files for microcontrollers, or for aihwkit."""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._work import Steps, load_task, start_backend
from analognets.cli.options import Data, Json, Quiet
from analognets.errors import DataError

__all__ = ["export"]


class Target(enum.StrEnum):
    """What --to takes."""

    litert = "litert"
    tflm = "tflm"
    aihwkit = "aihwkit"


class Quantize(enum.StrEnum):
    """What --quantize takes."""

    int8 = "int8"
    none = "none"


class Ends(enum.StrEnum):
    """What --io takes."""

    int8 = "int8"
    float32 = "float32"


INSTEAD = (
    "export takes runs and presets. Write a model file in Python: an.deploy.to_litert(model, 'model.tflite', inputs), "
    "then an.deploy.to_tflm('model.tflite', 'firmware'), or an.deploy.to_aihwkit(model, 'folder')."
)
"""What to do with a network whose data are not known."""
Trained = Annotated[str, typer.Argument(help="Folder of a finished run, or a preset such as analognet_kws.hwa_8bit.")]
To = Annotated[
    Target,
    typer.Option(
        help="A .tflite file (litert), that and C++ for TFLM (tflm), or float weights and a script for IBM's aihwkit."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the files; made if need be.")]
How = Annotated[Quantize, typer.Option(help="8-bit integers, or 32-bit floats.")]
Epochs = Annotated[int, typer.Option(min=0, help="Epochs of quantisation-aware training; 0: quantise as it is.")]
Io = Annotated[Ends, typer.Option(help="Type of inputs and outputs of an int8 file.")]
Name = Annotated[str | None, typer.Option(help="Name of the files and in C++; the recipe's by default.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the quantisation-aware training.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of these names.")]


def export(
    run: Trained,
    out: Out,
    to: To = Target.litert,
    quantize: How = Quantize.int8,
    qat_epochs: Epochs = 0,
    io: Io = Ends.int8,
    name: Name = None,
    data: Data = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as an int8 .tflite file, as C++ for a microcontroller, or for aihwkit.

    A run gives its float network, a preset its weights as a plain network. int8 takes its ranges from training clips.
    """
    if quantize is Quantize.none and qat_epochs:
        raise typer.BadParameter("--quantize none and --qat-epochs exclude each other.")
    if name is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise typer.BadParameter("--name must be a letter, then letters, digits and '_'.")
    from analognets.zoo.trained import open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = open_trained(run, wants=("recipe",), instead=INSTEAD)
    word = name or re.sub(r"[^A-Za-z0-9_]", "_", trained.known_recipe().name)
    word = word if word[0].isalpha() else f"net_{word}"
    if os.path.exists(out) and not os.path.isdir(out):
        raise DataError(f"--out names a folder. Received: the file '{out}'.")
    start_backend(reporter)
    if to is Target.aihwkit:
        write_for_aihwkit(reporter, trained, out, overwrite)
        return

    from analognets.core.drafts import temporary_folder
    from analognets.deploy.export.qat import train_for_int8
    from analognets.deploy.export.together import refuse_existing

    listens = to is Target.tflm and can_listen(trained)
    refuse_existing(out, files_written(word, to, listens), overwrite)
    task = None if quantize is Quantize.none else load_task(reporter, trained, data)
    with temporary_folder() as folder:
        path = folder / f"{word}.tflite"
        network = digital_network(trained, to)
        if qat_epochs and task is not None:
            with Steps(reporter) as steps:
                made = train_for_int8(network, task, path, epochs=qat_epochs, seed=seed, io=io.value, progress=steps)
        else:
            made = quantise(reporter, network, task, path, io.value)
        finish(reporter, trained, made, out, to, overwrite, network if listens else None)


def write_for_aihwkit(reporter: _console.Reporter, trained: Any, out: Path, overwrite: bool) -> None:
    """Write the weights that the chip is programmed with, and the script."""
    from analognets.deploy.export.aihwkit import AIHWKIT_FILES, to_aihwkit

    to_aihwkit(trained.digital_model(), out, overwrite=overwrite)
    reporter.result({"folder": str(out), "files": list(AIHWKIT_FILES)})
    reporter.say(f"Written to {out}: {', '.join(AIHWKIT_FILES)}. Run there, with torch and aihwkit: python rebuild.py")


def files_written(name: str, target: Target, listens: bool) -> list[str]:
    """Return the names of the files an export writes."""
    from analognets.deploy.export.tflm import files_of

    return files_of(name, listens=listens) if target is Target.tflm else [f"{name}.tflite", f"{name}.json"]


def can_listen(trained: Any) -> bool:
    """Whether a network hears words, so that a detector belongs to it."""
    from analognets.datasets.frontend import MFCC
    from analognets.deploy.stream.detector import NOT_REPORTED

    return isinstance(trained.frontend, MFCC) and bool(set(trained.classes) - NOT_REPORTED)


def detector_of(trained: Any, network: Any) -> Any:
    """Return the detector of a network, with the default settings."""
    from analognets.deploy.export.detector_text import DetectorExport
    from analognets.deploy.export.output_kind import output_kind
    from analognets.deploy.stream.detector import Detector
    from analognets.deploy.stream.listener import stream_frontend

    detector = Detector(trained.classes, stream_frontend(trained).step)
    return DetectorExport(detector, logits=output_kind(network)["logits"])


def digital_network(trained: Any, target: Target) -> Any:
    """Return the network to convert; for TFLM in the form in which it equals LiteRT bit for bit."""
    from analognets.deploy.export.pointwise import pointwise

    network = trained.float_model()
    return pointwise(network) if target is Target.tflm and getattr(network, "inputs", None) else network


def quantise(reporter: _console.Reporter, network: Any, task: Any, path: Path, io: str) -> Any:
    """Write the .tflite file without training and return its facts."""
    from analognets.deploy.export.litert import to_litert

    with reporter.status("Converting ..."):
        if task is None:
            return to_litert(network, path, quantize="none")
        return to_litert(network, path, task.training.calibration, io=io)


def frontend_settings(trained: Any) -> dict[str, Any]:
    """Return what the front end of a network's recipe computes, as plain data."""
    from analognets.datasets.frontends import frontend

    settings = trained.known_recipe().frontend
    made = frontend(settings.preset, **settings.options)
    config = {key: value for key, value in made.get_config().items() if key not in ("name", "trainable", "dtype")}
    return {"preset": settings.preset, **config}


def finish(
    reporter: _console.Reporter,
    trained: Any,
    facts: Any,
    out: Path,
    target: Target,
    overwrite: bool,
    listening: Any = None,
) -> None:
    """Write the files and say what they are; a network that is listening gets a detector."""
    import dataclasses

    from analognets.deploy.export.tflm import json_text, plain, to_tflm
    from analognets.deploy.export.together import write_together

    classes = list(trained.classes)
    settings = frontend_settings(trained)
    path, arena = facts.path, None
    if target is Target.tflm:
        with reporter.status("Writing C++ and measuring the arena ..."):
            detector = None if listening is None else detector_of(trained, listening)
            more: dict[str, Any] = {"frontend": settings, "detector": detector, "overwrite": overwrite}
            made = to_tflm(facts, out, name=path.stem, classes=classes, **more)
        facts, arena = made.model, made.arena
    else:
        record = {**facts.to_dict(), "path": path.name, "classes": classes, "frontend": plain(settings)}
        contents = {path.name: path.read_bytes(), f"{path.stem}.json": json_text(record).encode()}
        write_together(out, contents, overwrite=overwrite)
        facts = dataclasses.replace(facts, path=out / path.name)
    files = files_written(path.stem, target, listening is not None)
    reporter.result({**facts.to_dict(), "arena_bytes": arena, "folder": str(out), "files": files})
    reporter.say(str(facts))
    if target is Target.tflm:
        reporter.say(
            f"Tensor arena: {arena} bytes (TFLM's reference kernels, measured)"
            if arena is not None
            else "Tensor arena: not measured; install tflite-micro with: pip install 'analognets[tflm]'"
        )
    reporter.say(f"Written to {out}: {', '.join(files)}")
