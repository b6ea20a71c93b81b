"""Commands killed by SIGKILL at their file operations and at random moments, and run again.

python -m benchmarks.kill_commands [--kills 200] [--seed 0] [--only NAME ...] [--results results/kills.json]

After each kill no process may still run after 10 s and what was finished before must still open. The same command, run
again, must end well and leave exactly the files, with the content, that it leaves undisturbed. Half of the kills of a
command strike at each of its last file operations, the others at operations before them and at random moments. If
anything fails the exit code is 1.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.kills.commands import COMMANDS, Command, make_inputs
from benchmarks.kills.outcome import contents, left_running, names

PATIENCE = 300.0
SLOW = ("finetune", "sweep --workers 2", "sensitivity", "explore", "compare", "export", "export --overwrite")
"""Commands that get a third as many kills."""


class End(NamedTuple):
    """How a command ended: its status as of `os.waitpid`, file operations, seconds, and what still runs."""

    status: int
    operations: int
    seconds: float
    running: list[int]

    @property
    def code(self) -> int | None:
        """The exit code, or None if it was killed."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None


class Place:
    """A folder for everything, the process that runs commands in it, and a server of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "inputs"
        self.made: dict[str, Path] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.kills.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "server.txt").open("w"),
            text=True,
            env={**os.environ, "MPLCONFIGDIR": str(folder / "matplotlib")},  # so that its list of fonts is made once
        )
        handler = functools.partial(Quiet, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self) -> str:
        """Return the address of a preset with its checksum."""
        import hashlib

        content = (self.folder / "tiny.zip").read_bytes()
        port = self.server.server_address[1]
        return f"http://127.0.0.1:{port}/tiny.zip#sha256={hashlib.sha256(content).hexdigest()}"

    def run(self, words: tuple[str, ...], folder: Path, *, kill_at: int | None = None, after: float = 0.0) -> End:
        """Run a command in a folder, killed before a file operation or after some seconds if told so."""
        folder.mkdir(exist_ok=True)
        address = self.address() if any("{address}" in word for word in words) else ""
        line = [word.replace("{inputs}", str(self.inputs)).replace("{address}", address) for word in words]
        began = time.monotonic()
        self.process.stdin.write(json.dumps({"words": line, "folder": str(folder), "kill_at": kill_at}) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline().split()[1])
        clock = threading.Timer(after or PATIENCE, os.kill, (pid, signal.SIGKILL))
        clock.start()
        status = int(self.process.stdout.readline().split()[1])
        clock.cancel()
        seconds = time.monotonic() - began
        count = folder / "operations.txt"
        operations = int(count.read_text()) if count.exists() else 0
        count.unlink(missing_ok=True)
        return End(status, operations, seconds, left_running(pid))

    def start(self, command: Command, folder: Path) -> None:
        """Make a folder with what has to be there before a command."""
        folder.mkdir()
        if command.after is not None:
            shutil.copytree(self.ready(command.after) / "out", folder / "before", symlinks=True)
        if command.twice:
            end = self.run(command.words, folder)
            if end.code:
                raise RuntimeError(f"{command.words}: {(folder / 'printed.txt').read_text()}")

    def ready(self, name: str) -> Path:
        """Return the folder of a command that was run undisturbed, once."""
        if name not in self.made:
            folder = self.folder / f"made-{list(COMMANDS).index(name)}"
            self.start(COMMANDS[name], folder)
            end = self.run(COMMANDS[name].words, folder)
            if end.code:
                raise RuntimeError(f"{name}: {(folder / 'printed.txt').read_text()}")
            self.made[name] = folder
        return self.made[name]

    def close(self) -> None:
        """End both."""
        self.process.stdin.close()
        self.process.wait()
        self.server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *args: Any) -> None: ...


class Study:
    """The kills of one command, each in a folder like the one that was never disturbed.

    Args:
        place: where.
        name: of the command.
    """

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name, self.command = place, name, COMMANDS[name]
        self.start = place.folder / "start"
        shutil.rmtree(self.start, ignore_errors=True)
        place.start(self.command, self.start)
        ends, found = [], []
        for _ in range(2):
            folder = self.fresh()
            ends.append(place.run(self.command.words, folder))
            if ends[-1].code or ends[-1].running:
                raise RuntimeError(f"{name}: {ends[-1]} {(folder / 'printed.txt').read_text()[-2000:]}")
            found.append((names(folder), contents(folder)))
        self.seconds, self.operations = ends[1].seconds, ends[1].operations
        self.names = found[1][0]
        self.contents = {key: value for key, value in found[0][1].items() if found[1][1].get(key) == value}
        self.unlike = sorted(set(found[1][1]) - set(self.contents))

    def fresh(self) -> Path:
        """Return the folder in which the command runs, as it is before; paths stand in results, so it is always one."""
        folder = self.place.folder / "work"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.start, folder, symlinks=True)
        return folder

    def moments(self, rng: random.Random, count: int) -> list[dict[str, Any]]:
        """Return when to kill: at the last operations, at some before, and at random times."""
        last = list(range(max(0, self.operations - count // 2), self.operations))
        before = rng.sample(range(max(1, last[0] if last else 1)), min(count // 4, last[0] if last else 0))
        times = [{"after": rng.uniform(0.05, 0.95) * self.seconds} for _ in range(count - len(last) - len(before))]
        return [*({"kill_at": number} for number in sorted(before + last)), *times]

    def kill(self, moment: dict[str, Any]) -> tuple[bool, str]:
        """Kill the command once and run it again; returns whether it was killed in time, and what is wrong."""
        folder = self.fresh()
        end = self.place.run(self.command.words, folder, **moment)
        if end.running:
            return True, f"{len(end.running)} processes still run after 10 s"
        if end.code is not None:
            return False, "" if end.code == 0 else f"it failed before its kill: {last_lines(folder)}"
        if self.command.opens is not None:
            try:
                self.command.opens(folder)
            except Exception as error:
                return True, f"what was there before is lost: {type(error).__name__}: {error}"
        again = self.place.run((*self.command.words, *self.more(folder)), folder)
        refused = self.command.refused and self.command.refused in last_lines(folder)
        if (again.code != 0 and not refused) or again.running:
            return True, f"run again, it ended with {again.code}: {last_lines(folder)}"
        now = names(folder)
        if now != self.names:
            left, lost = sorted(set(now) - set(self.names)), sorted(set(self.names) - set(now))
            return True, f"left: {left[:5]}, missing: {lost[:5]}"
        found = contents(folder)
        other = [key for key, value in self.contents.items() if found.get(key) != value]
        return True, f"other content: {other[:5]}" if other else ""

    def more(self, folder: Path) -> tuple[str, ...]:
        """Return what has to be added to a command that refuses to replace what it had finished already."""
        done = (folder / "out").exists() or (folder / "out.zip").exists()
        return self.command.again if done else ()


def last_lines(folder: Path) -> str:
    """Return the end of what a command printed."""
    return (folder / "printed.txt").read_text("utf-8", "replace")[-1500:]


def shares(chosen: list[str], kills: int) -> dict[str, int]:
    """Return how many kills each command gets."""
    weights = {name: 1 if name in SLOW else 3 for name in chosen}
    total, given = sum(weights.values()), 0
    found = {}
    for name, weight in weights.items():
        found[name] = max(1, round(kills * weight / total))
        given += found[name]
    found[chosen[0]] += max(0, kills - given)
    return found


def run(
    chosen: list[str], kills: int, seed: int, so_far: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Kill all commands and return the counts and what failed."""
    rows, failures = {}, []
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = Place(Path(folder))
        try:
            place.inputs.mkdir()
            make_inputs(place.inputs, chosen)
            if "zoo download" in chosen:
                shutil.copyfile(place.ready("zoo save .zip") / "out.zip", place.folder / "tiny.zip")
            for name, count in shares(chosen, kills).items():
                study, rng, row = Study(place, name), random.Random(f"{seed} {name}"), {"killed": 0, "ended before": 0}
                for moment in study.moments(rng, count):
                    struck, wrong = study.kill(moment)
                    row["killed" if struck else "ended before"] += 1
                    if wrong:
                        failures.append({"command": name, **moment, "wrong": wrong})
                        print(f"{name} {moment}: {wrong}", file=sys.stderr, flush=True)
                rows[name] = {**row, "operations": study.operations, "seconds": round(study.seconds, 2)}
                rows[name]["files not compared"] = study.unlike
                print(f"{name}: {rows[name]}", file=sys.stderr, flush=True)
                if so_far is not None:
                    so_far(summary(seed, rows, failures))
        finally:
            place.close()
    return summary(seed, rows, failures)


def summary(seed: int, rows: dict[str, Any], failures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of a run."""
    killed = sum(row["killed"] for row in rows.values())
    wrong = {"benchmark": "kill_commands", "seed": seed, "kills": killed, "failed": len(failures)}
    return {**wrong, "commands": rows, "failures": failures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks._measure import facts

    machine = facts()

    def write(result: dict[str, Any]) -> None:
        if options.results is not None:
            options.results.write_text(json.dumps({**result, "machine": machine}, indent=1) + "\n", "utf-8")

    result = run(options.only, options.kills, options.seed, write)
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
