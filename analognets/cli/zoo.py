"""`analognets zoo`: pretrained networks - list, look at, download, save and upload one's own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._work import interval, load_task, start_backend
from analognets.cli.options import Data, Json, Quiet

__all__ = ["open_preset", "zoo"]

zoo = typer.Typer(no_args_is_help=True, add_completion=False, help="Find, fetch, save and share pretrained networks.")

Handle = Annotated[
    str, typer.Argument(help="Bundled name, folder, .zip, https://...zip#sha256=..., or hf://user/repo@revision.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Use what is in the cache; also by ANALOGNETS_OFFLINE=1.")]
Sha256 = Annotated[str | None, typer.Option("--sha256", help="Of the .zip, or of preset.json for hf:// and folders.")]
Unverified = Annotated[
    bool, typer.Option("--allow-unverified", help="Take an https:// archive without a sha256: nobody vouches for it.")
]
To = Annotated[Path | None, typer.Option("--to", help="Also copy the preset into this new folder.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Target = Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the preset, or a name ending in .zip.")]
Name = Annotated[str | None, typer.Option(help="Name of the preset; that of the folder by default.")]
Description = Annotated[str, typer.Option(help="One sentence for the model card.")]
Statement = Annotated[str, typer.Option(help="What must be said about the data, put first in the model card.")]
DirectMapping = Annotated[
    Path | None, typer.Option(help="Evaluated run that mapped the same float network without training for hardware.")
]
Measure = Annotated[bool, typer.Option("--measure/--no-measure", help="Measure digital accuracy on the test split.")]
Precision = Annotated[str, typer.Option(help="Of the kernels: float16 or float32.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a preset that is there.")]
Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of presets.")]
Repository = Annotated[str, typer.Argument(metavar="REPO", help="hf://user/repo, with @branch and /folder if need be.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository for invited people only.")]
Message = Annotated[str, typer.Option(help="Of the commit.")]


@zoo.command("list")
def list_(json: Json = False) -> None:
    """List the presets that come with the package."""
    from analognets.zoo.presets.registry import list_models

    reporter = _console.Reporter(json=json)
    rows = _plain_rows(list_models().reset_index())
    reporter.result(rows)
    reporter.table(
        ["name", "bits", "parameters", "accuracy %", "after 1 day %", "loss in points", "kB", "data"],
        [
            (
                row["name"],
                _text(row["bits"], "{:d}"),
                f"{row['parameters']:,}",
                interval(row, "accuracy", "accuracy") or "-",
                interval(row, "accuracy_1d", "accuracy_1d") or "-",
                interval(row, "loss_1d", "loss_1d", scale=1.0) or "-",
                f"{row['bytes'] / 1000:.0f}",
                row["data"],
            )
            for row in rows
        ],
    )
    if rows:
        reporter.say(
            "\N{PLUS-MINUS SIGN} is half of the 95 % interval: after a day over chips and test samples, by speaker "
            "where known (where the loss has none, over chips alone), else over samples one by one."
        )
        reporter.say(f"Next: analognets zoo show {rows[0]['name']}")


def _plain_rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table as plain Python values, None where there is none."""
    import pandas as pd

    def plain(value: Any) -> Any:
        return None if pd.isna(value) else value.item() if hasattr(value, "item") else value

    return [{str(key): plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _text(value: float | None, form: str, scale: int = 1) -> str:
    return "-" if value is None else form.format(value * scale)


@zoo.command("show")
def show(
    handle: Handle,
    sha256: Sha256 = None,
    offline: Offline = False,
    allow_unverified: Unverified = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a preset's model card."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    preset = open_preset(reporter, handle, sha256, offline, allow_unverified)
    record = preset.record.model_dump()
    record["architecture"].pop("config")
    reporter.result({"path": str(preset.path), **record, "results": _plain_rows(preset.results)})
    header, _, body = preset.card.removeprefix("---\n").partition("\n---\n")
    reporter.say((body or header).strip())


@zoo.command("download")
def download(
    handle: Handle,
    to: To = None,
    sha256: Sha256 = None,
    offline: Offline = False,
    allow_unverified: Unverified = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a preset into the cache, check it, and say where it is."""
    from analognets.core.drafts import remove_abandoned
    from analognets.errors import PresetError
    from analognets.zoo.presets.files import INDEX

    reporter = _console.Reporter(json=json, quiet=quiet)
    if to is not None and os.path.exists(to):
        with contextlib.suppress(OSError):  # an earlier command may have been killed right after it was done
            remove_abandoned(to.absolute().parent)
        raise PresetError(f"--to names a new folder. Received: '{to}', which exists.")
    preset = open_preset(reporter, handle, sha256, offline, allow_unverified)
    place = preset.path
    if to is not None:
        place = _copied(preset, to)
    files = {name: stored.model_dump() for name, stored in preset.record.files.items()}
    reporter.result({"name": preset.name, "path": str(place), "files": files})
    reporter.say(f"{preset.name}: {len(files) + 1} files in {place}, every sha256 as in {INDEX}")
    command = ["evaluate", str(place), "--data", "DIR"] if preset.is_analog else ["zoo", "show", str(place)]
    reporter.say(f"Next: analognets {shlex.join(command)}")


def _copied(preset: Any, target: Path) -> Path:
    """Copy a preset's own files, and nothing that lies beside them, into a folder that appears when it is whole."""
    from analognets.core.files import new_folder
    from analognets.errors import PresetError
    from analognets.zoo.presets.files import INDEX, check_file, read_record

    with new_folder(target, "files of the preset", PresetError) as draft:
        for name in (INDEX, *preset.record.files):
            shutil.copyfile(check_file(preset.path, name, root=preset.root), draft / name)
        read_record(draft)
    return target


@zoo.command("save")
def save(
    run: RunFolder,
    target: Target,
    name: Name = None,
    description: Description = "",
    statement: Statement = "",
    direct_mapping: DirectMapping = None,
    data: Data = None,
    measure: Measure = True,
    precision: Precision = "float16",
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a preset of a finished run."""
    from analognets.training.run import Run
    from analognets.zoo.trained import open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    source = Run.open(run)
    start_backend(reporter)

    from analognets.zoo.presets.saving import check_place, check_saveable, direct_mapping_results, save_to_preset

    check_saveable(source)
    check_place(target, overwrite)
    trained = open_trained(source)
    test = load_task(reporter, trained, data, calibrate=False).features("test") if measure else None
    more = {} if direct_mapping is None else {"direct mapping": direct_mapping_results(source, direct_mapping)}
    with reporter.status("Saving, reading back and measuring ..."):
        preset = save_to_preset(
            source,
            target,
            name=name,
            description=description,
            statement=statement,
            results=more,
            test_data=test,
            precision=precision,
            overwrite=overwrite,
        )
    report_saved(reporter, preset, target)


def report_saved(reporter: _console.Reporter, preset: Any, target: Path) -> None:
    """Print what was saved, and how others get the same."""
    from analognets.core.files import file_sha256
    from analognets.metrics import format_interval, share_interval

    accuracy = preset.record.accuracy
    pinned = target if target.is_file() else preset.path / "preset.json"
    digest = file_sha256(pinned)
    size = sum(stored.bytes for stored in preset.record.files.values())
    reporter.result(
        {"name": preset.name, "path": str(target), "sha256": digest, "bytes": size, **accuracy.model_dump()}
    )
    measured = ""
    if accuracy.digital is not None and accuracy.samples:
        shown = format_interval(accuracy.digital, *share_interval(accuracy.digital, accuracy.samples), scale=100)
        measured = f", digital accuracy {shown} %"
    reporter.say(f"Saved {preset.name} to {target}: {size / 1000:.0f} kB{measured}")
    reporter.say(f"sha256 of {pinned.name}: {digest}")
    if target.is_file():
        reporter.say(f"On a web server its handle is https://.../{target.name}#sha256={digest}")
    reporter.say(f"Next: analognets zoo show {shlex.quote(str(target))}")


@zoo.command("card")
def card(folders: Folders, json: Json = False, quiet: Quiet = False) -> None:
    """Write the model cards of presets anew, as this version writes them; their weights stay."""
    from analognets.core.files import file_sha256

    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)

    from analognets.zoo.presets.saving import rewrite_card

    rows = []
    for folder in folders:
        preset = rewrite_card(folder)
        digest = file_sha256(preset.path / "preset.json")
        rows.append({"name": preset.name, "path": str(folder), "sha256": digest})
        reporter.say(f"{preset.name}: card written; sha256 of preset.json: {digest}")
    reporter.result(rows)


@zoo.command("upload")
def upload(
    handle: Handle,
    repository: Repository,
    private: Private = False,
    overwrite: Overwrite = False,
    message: Message = "",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put a preset on the Hugging Face Hub, with the token of `hf auth login` or HF_TOKEN."""
    from analognets.zoo.presets.uploading import upload_preset

    reporter = _console.Reporter(json=json, quiet=quiet)
    with reporter.status("Checking and uploading ..."):
        done = upload_preset(handle, repository, private=private, overwrite=overwrite, message=message)
    reporter.result(dataclasses.asdict(done))
    reporter.say(f"Uploaded to {done.url}")
    reporter.say(f"Others load it by its handle {done.handle}")
    reporter.say(f"sha256 of preset.json: {done.sha256}")
    reporter.say(f"Next: analognets zoo show {shlex.join([done.handle, '--sha256', done.sha256])}")


def open_preset(
    reporter: _console.Reporter,
    handle: str,
    sha256: str | None = None,
    offline: bool = False,
    allow_unverified: bool = False,
) -> Any:
    """Open the preset of a handle, with a line a megabyte if it has to be downloaded."""
    from analognets.zoo.presets.registry import load_preset

    seen = [0]

    def received(done: int) -> None:
        if done - seen[0] >= 1_000_000:
            seen[0] = done
            reporter.note(f"Download: {done / 1e6:.0f} MB")

    return load_preset(handle, sha256=sha256, offline=offline, allow_unverified=allow_unverified, progress=received)
