"""Writes the page of the command line, from the help of each command, and the page of the presets, from their cards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["commands_page", "names_page", "presets_page"]


def _cell(text: Any) -> str:
    return " ".join(str(text or "").split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _command(name: str, command: Any, level: int) -> Iterator[str]:
    import typer

    context = typer.Context(command, info_name=name)
    yield f"{'#' * level} {name}\n\n{_cell(command.help)}\n\n"
    if hasattr(command, "commands"):
        for sub, one in command.commands.items():
            yield from _command(f"{name} {sub}", one, level + 1)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\nanalognets {name} {usage}\n```\n\n| | what it is | default |\n| --- | --- | --- |\n"
    for parameter in command.get_params(context):
        spelled = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name != "option":
            spelled = [parameter.metavar or parameter.name]
        default = parameter.default
        shown = isinstance(default, (str, int, float)) and not isinstance(default, bool) and default != ""
        text = _cell(getattr(parameter, "help", ""))
        cells = [f"`{_cell(', '.join(spelled))}`", text, _cell(default if shown else "")]
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"


def commands_page() -> str:
    """Return the page of all commands as Markdown."""
    from analognets.cli.app import COMMANDS, load_command

    text = "# Commands\n\nWhat `analognets COMMAND --help` prints. Every command also takes `--debug`, which shows the "
    text += "traceback of an error.\n\n"
    return text + "".join(part for name in COMMANDS for part in _command(name, load_command(name), 2))


def presets_page(root: Path) -> str:
    """Return the page of the networks that come with the package, from their metadata and cards.

    Args:
        root: folder of the repository.
    """
    text = "# Presets\n\nTrained networks that come with the package. `analognets zoo show NAME` prints a card.\n\n"
    for folder in sorted((root / "zoo" / "presets" / "bundled").iterdir()):
        card = next((path for path in (folder / "README.md", folder / "card.md") if path.is_file()), None)
        if card is not None:
            text += f"## {folder.name}\n\n{_lowered(_body(card.read_text('utf-8')))}\n\n"
    return text


def _body(card: str) -> str:
    """Return a card without its metadata block and its title."""
    if card.startswith("---\n"):
        card = card.partition("\n---\n")[2]
    lines = card.strip().splitlines()
    return "\n".join(lines[1:] if lines and lines[0].startswith("# ") else lines).strip()


def _lowered(text: str) -> str:
    """Put the headings of a card two levels down, outside of code."""
    lines, code = [], False
    for line in text.splitlines():
        code ^= line.startswith("```")
        lines.append(f"#{line}" if line.startswith("#") and not code else line)
    return "\n".join(lines)


def names_page() -> str:
    """Return the page of all names that recipes, commands and functions take, asked of the package."""
    from analognets import crossbar, devices
    from analognets.datasets import list_datasets
    from analognets.deploy.accelerator import list_accelerators
    from analognets.zoo.tasks import MODELS

    lists: dict[str, tuple[str, Any]] = {
        "Hardware presets": ("`hardware=`, `--hardware`", crossbar.list_presets()),
        "Devices": ("`Crossbar(device=...)`", devices.list_devices()),
        "Drift compensations": ("`Crossbar(drift_compensation=...)`", devices.list_drift_compensations()),
        "Non-idealities": ("`--nonideality`", crossbar.list_nonidealities()),
        "Data sets": ("`analognets data`", list(list_datasets())),
        "Accelerators": ("`--accelerator`", list_accelerators()),
        "Networks": ("recipes and `analognets cost`", sorted(MODELS)),
        "Recipes": ("`analognets train`", sorted(path.stem for path in _recipes())),
    }
    text = "# Names\n\nThe names that functions, commands and recipes take, as the package lists them.\n\n"
    for title, (where, names) in lists.items():
        text += f"## {title}\n\nFor {where}: " + ", ".join(f"`{name}`" for name in names) + ".\n\n"
    text += "## Settings of the hardware presets\n\n"
    for name in crossbar.list_presets():
        strengths = json.dumps({key: str(value) for key, value in crossbar.get(name).strengths().items()}, indent=1)
        text += f"### {name}\n\n{crossbar.get(name).source}\n\n```json\n{strengths}\n```\n\n"
    return text


def _recipes() -> Iterator[Path]:
    from importlib import resources

    folder = Path(str(resources.files("analognets.zoo"))) / "recipes"
    return folder.glob("*.yaml")
