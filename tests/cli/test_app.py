"""The frame around every command: what is printed and how it exits when things go right and wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from analognets.cli import _console, app
from analognets.errors import RecipeError

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
DEVELOPMENT = ("dev", "docs", "notebooks")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command line and gives its exit code, stdout and stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            app.main(args)
        return int(stop.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that makes `target` the command `try`."""

    def install(target: Any) -> None:
        module = types.ModuleType("analognets_test_command")
        module.target = target  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(app.COMMANDS, "try", app.Command(f"{module.__name__}:target", "Try something."))

    return install


def fail(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"analognets {app.__version__}\n", "")


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    code, out, err = run()
    assert code == 2
    assert "doctor" in out + err


def test_a_mistyped_command_is_usage_and_gets_a_guess(run: Run) -> None:
    code, out, err = run("docter")
    assert (code, out) == (2, "")
    assert "Did you mean 'doctor'?" in err


def test_an_unknown_option_is_usage(run: Run) -> None:
    assert run("doctor", "--nonsense")[0] == 2


def test_arguments_reach_the_command(run: Run, command: Callable[[Any], None]) -> None:
    def show(name: str, times: Annotated[int, typer.Option()] = 1) -> None:
        """Show a name."""
        typer.echo(name * times)

    command(show)
    assert run("try", "ab", "--times", "2") == (0, "abab\n", "")
    assert "Show a name." in run("try", "--help")[1]
    assert run("try")[0] == 2


def test_an_app_with_sub_commands_may_be_a_command(run: Run, command: Callable[[Any], None]) -> None:
    data = typer.Typer()
    data.command("info")(lambda: typer.echo("info"))
    data.command("prepare")(lambda: typer.echo("prepare"))
    command(data)
    assert run("try", "prepare") == (0, "prepare\n", "")


def test_our_errors_are_one_line_and_their_notes(run: Run, command: Callable[[Any], None]) -> None:
    error = RecipeError("Unknown key 'epoch' [recipe]. Did you mean 'epochs'? " + "A long line stays one. " * 20)
    error.add_note("See the keys with: analognets train --help")
    command(fail(error))
    code, out, err = run("try")
    assert (code, out) == (1, "")
    assert err.splitlines() == [f"Error: {error}", "Hint: See the keys with: analognets train --help"]


def test_other_errors_are_named_and_point_to_debug(run: Run, command: Callable[[Any], None]) -> None:
    command(fail(ZeroDivisionError("division by zero")))
    code, _, err = run("try")
    assert code == 1
    assert err.splitlines() == [
        "Error: Unexpected ZeroDivisionError: division by zero",
        "Hint: Run it again with --debug for the traceback.",
    ]


@pytest.mark.parametrize("line", [("--debug", "try"), ("try", "--debug")])
def test_debug_shows_the_traceback(run: Run, command: Callable[[Any], None], line: tuple[str, ...]) -> None:
    command(fail(RecipeError("no")))
    code, _, err = run(*line)
    assert code == 1
    assert "Traceback (most recent call last)" in err
    assert "RecipeError: no" in err


def test_debug_behind_a_double_dash_is_an_argument(run: Run, command: Callable[[Any], None]) -> None:
    def show(word: str) -> None:
        typer.echo(word)

    command(show)
    assert run("try", "--", "--debug") == (0, "--debug\n", "")


def test_a_command_may_choose_its_exit_code(run: Run, command: Callable[[Any], None]) -> None:
    command(fail(typer.Exit(1)))
    assert run("try") == (1, "", "")
    command(fail(typer.BadParameter("bits must be even")))
    assert run("try")[0] == 2


def test_interrupt_says_how_to_resume(run: Run, command: Callable[[Any], None]) -> None:
    def work() -> None:
        _console.set_resume_hint("analognets train --resume runs/x")
        raise KeyboardInterrupt

    command(work)
    assert run("try") == (130, "", "Interrupted. Resume with: analognets train --resume runs/x\n")
    command(fail(KeyboardInterrupt()))
    assert run("try") == (130, "", "Interrupted.\n")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_a_real_process_exits_130() -> None:
    code = """
import sys, time, types
from analognets.cli import app
def wait():
    print("waiting", flush=True)
    time.sleep(3600)
module = sys.modules["waiting"] = types.ModuleType("waiting")
module.wait = wait
app.COMMANDS["wait"] = app.Command("waiting:wait", "Wait.")
app.main(["wait"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "Interrupted.\n")


def test_every_listed_command_loads_and_has_help(run: Run) -> None:
    for name in app.COMMANDS:
        code, out, _ = run(name, "--help")
        assert code == 0
        assert f"analognets {name}" in out


def test_doctor_json_is_one_document(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "file").write_bytes(b"12345")
    code, out, _ = run("doctor", "--quick", "--json")
    found = json.loads(out)
    assert found["analognets"] == app.__version__
    assert found["packages"]["keras"].startswith("3.15.")
    assert found["cache"]["bytes"] == 5
    assert code == (1 if found["problems"] else 0)


def test_doctor_knows_all_extras_that_users_install() -> None:
    from analognets.cli.doctor import EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: found for name, found in project["optional-dependencies"].items() if name not in DEVELOPMENT}
    assert set(EXTRAS) == set(extras)
    assert all(any(one.startswith(EXTRAS[name]) for one in packages) for name, packages in extras.items())


def test_doctor_finds_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analognets.cli.doctor.PYTHONS", ((3, 8), (3, 9)))
    code, out, _ = run("doctor", "--quick")
    assert code == 1
    assert "Make a virtual environment" in out


def test_a_backend_that_is_not_supported_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    words = "Keras' backends tensorflow and jax alone. Received: backend 'torch'"
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert (code, found["backend"]["name"]) == (1, "torch") and words in found["problems"][0]
    code, _, err = run("cost", "ds_cnn")
    assert code == 1 and words in err


def test_doctor_sees_speech_commands(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "speech_commands" / "speech_commands_v0.02").mkdir(parents=True)
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path))
    assert json.loads(run("doctor", "--quick", "--json")[1])["data"]["speech_commands"] is True


def test_doctor_imports_the_backend(run: Run) -> None:
    _, out, _ = run("doctor", "--json")
    backend = json.loads(out)["backend"]
    assert backend["name"] == "tensorflow"
    assert any("CPU" in device for device in backend["devices"])
