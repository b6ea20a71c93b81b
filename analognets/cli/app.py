"""The `analognets` command itself: finds a command, loads it, and turns what goes wrong into one line and an exit code.

Exit codes: 0 done, 1 failure, 2 wrong usage, 130 interrupted by Ctrl-C; 3 where `certify` can't decide.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from analognets._version import __version__
from analognets.cli import _console
from analognets.errors import AnalogNetsError

__all__ = ["COMMANDS", "app", "main"]


class Command(NamedTuple):
    """Where a command lives ("module:function", or "module:app" for a typer app with sub-commands) and what it does."""

    target: str
    summary: str


# To add a command write its module and one line here; imports of TensorFlow and the like belong inside its functions.
COMMANDS = {
    "train": Command("analognets.cli.train:train", "Train a network for an analog chip; resumes what was interrupted."),
    "finetune": Command("analognets.cli.finetune:finetune", "Train a pretrained network on your own data."),
    "evaluate": Command("analognets.cli.evaluate:evaluate", "Programme a trained network into chips and watch it age."),
    "ageing": Command(
        "analognets.cli.ageing:ageing",
        "Predict accuracy over drift time without simulating many chips.",
    ),
    "cost": Command("analognets.cli.cost:cost", "Say what an inference costs on an accelerator: time, energy, area."),
    "explore": Command(
        "analognets.cli.explore:explore", "Sweep kinds of chips: accuracy after a day, efficiency, area, Pareto front."
    ),
    "design": Command(
        "analognets.cli.design:design", "Choose bits by layer, ADCs and arrays under a budget of energy, area or loss."
    ),
    "sweep": Command("analognets.cli.sweep:sweep", "Accuracy of chips over the strength of one non-ideality."),
    "sensitivity": Command(
        "analognets.cli.sensitivity:sensitivity", "Which non-ideality hurts a network most, and which of its layers."
    ),
    "certify": Command(
        "analognets.cli.certify:certify",
        "Show with confidence that a share of chips keeps an accuracy; exit code 1 if not.",
    ),
    "compare": Command(
        "analognets.cli.compare:compare", "Set float, int8 on a microcontroller and analog chips side by side."
    ),
    "benchmark": Command(
        "analognets.cli.benchmark:benchmark", "Measure the networks of MLPerf Tiny on analog chips, in one table."
    ),
    "export": Command("analognets.cli.export:export", "Write a network as int8 .tflite or C++ for microcontrollers."),
    "listen": Command("analognets.cli.listen:listen", "Print the words heard in a recording or from a microphone."),
    "stream-eval": Command(
        "analognets.cli.stream_eval:stream_eval", "False alarms per hour and misses on hours of audio, over drift time."
    ),
    "lab": Command("analognets.cli.lab:lab", "Open the lab page: try an ageing chip in the browser."),
    "device": Command(
        "analognets.cli.device:device", "Fit a device to a lab's table of measured cells; show a device."
    ),
    "conformance": Command(
        "analognets.cli.conformance:conformance", "Whether a simulator follows the device law, and where it departs."
    ),
    "zoo": Command("analognets.cli.zoo:zoo", "Find, fetch, save and share pretrained networks."),
    "data": Command("analognets.cli.data:data", "List, prepare and describe data sets."),
    "doctor": Command(
        "analognets.cli.doctor:doctor", "Check this installation: versions, backend, caches, speech, data."
    ),
}


def load_command(name: str) -> Any:
    """Import the module of a command and return it in the form the command group runs."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name, help=target.__doc__)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A command group that lists `COMMANDS` without importing them, and imports the one that is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=command.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            self.add_command(load_command(args[0]), args[0])
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        end = arguments.index("--") if "--" in arguments else len(arguments)
        self.debug = "--debug" in arguments[:end]
        arguments[:end] = [word for word in arguments[:end] if word != "--debug"]
        _console.set_resume_hint(None)
        _console.set_command(arguments)
        # A newcomer's terminal is for our lines, not for TensorFlow's search for a GPU driver.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        return super().main(arguments, *rest, **settings)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _console.print_interrupted()
            raise typer.Exit(130) from None
        except Exception as error:
            # Exits and usage errors carry their own exit code; a reader that closed the pipe is no error of ours.
            if hasattr(error, "exit_code") or isinstance(error, (typer.Abort, BrokenPipeError)):
                raise
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        if self.debug:
            traceback.print_exception(error, file=sys.stderr)
        elif isinstance(error, AnalogNetsError):
            _console.print_error(str(error), hints=getattr(error, "__notes__", ()))
        else:
            _console.print_error(
                f"Unexpected {type(error).__name__}: {error}", hints=["Run it again with --debug for the traceback."]
            )
        raise typer.Exit(1)


app = typer.Typer(
    cls=LazyGroup,
    name="analognets",
    help="Train a network, programme it into simulated analog chips, and watch it age.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"analognets {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; also allowed after the command.")
    ] = False,
) -> None:
    """Options of every command; `LazyGroup.main` reads --debug before the rest is parsed."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line with `args` (the process's own by default) and leave with its exit code."""
    app(args, prog_name="analognets")
