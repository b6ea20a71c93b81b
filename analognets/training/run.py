"""The run folder: what a training was told, how far it got, and what came out of it."""

from __future__ import annotations

import contextlib
import copy
import datetime
import importlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from analognets.core.config import MAX_BYTES
from analognets.core.drafts import remove_abandoned
from analognets.core.files import (
    MAX_FILE,
    MAX_JSON,
    locked,
    make_folder,
    open_plain,
    read_json,
    read_plain,
    remove_leftovers,
    write_atomically,
    write_json,
)
from analognets.core.provenance import environment
from analognets.errors import AnalogNetsError, RecipeError, RunError, cut
from analognets.training.checkpoints import STATE, Checkpoints
from analognets.training.cluster import is_helper
from analognets.training.recipe import Recipe
from analognets.training.recipe_base import BaseRecipe

__all__ = ["Run"]

SAME_DATA = ("name", "clips", "classes")
HARMLESS = {".lock", ".DS_Store"}
STATUSES = ("unfinished", "interrupted", "failed", "finished")


class Run:
    """A folder that holds one training and survives being killed at any moment.

        recipe.yaml    the recipe, every default written out
        run.json       status, seed, versions, platform, data, times
        metrics.jsonl  one line an epoch
        checkpoints/   the last two finished epochs (and the best one, if the recipe asks for it)
        float.keras    the network of stage 1; analog.keras that of stage 2
        on_device.keras, devices.csv  the network with its devices after learning on them, and their statistics
        report.html    what `analognets train` shows of it
        results/       what `evaluate` writes

    Make one with `Run.create` (a new folder, or the unfinished run with the same recipe in it) or `Run.open`; train
    it with `analognets.training.train`. Every file is written under a temporary name and renamed.

    Args:
        path: the folder.
        recipe: the resolved recipe.
        record: the content of run.json.

    Examples:
        >>> finished = Run.open(run)
        >>> finished.status, len(finished.metrics())
        ('finished', 2)
        >>> finished.analog_model().output_shape
        (None, 12)
    """

    recipe_class: type[BaseRecipe] = Recipe
    """The kind of recipe that recipe.yaml is read as."""

    def __init__(self, path: Path, recipe: Any, record: dict[str, Any]) -> None:
        self.path = path
        self.recipe = recipe
        self.record = record

    def __repr__(self) -> str:
        return f"Run('{self.path}', recipe='{self.recipe.name}', status='{self.status}')"

    @classmethod
    def create(cls, path: str | Path, recipe: BaseRecipe, *, overwrite: bool = False) -> Self:
        """Start a run in a new or empty folder, or take up the unfinished run with the same recipe.

        With the strategy "multi_worker" in the recipe, workers other than the chief look at nothing and write nothing.

        Args:
            path: the run folder; parents are made.
            recipe: what to train.
            overwrite: replace a finished run, or an unfinished one with another recipe. Only the run's own files go.

        Raises:
            RunError: the folder holds a finished run, an unfinished run with another recipe, or something else, or
                another process is using it.
        """
        path = Path(path)
        if is_helper(getattr(recipe, "strategy", None)):
            return cls(path, recipe, _new_record(recipe))
        make_folder(path, "run folder")
        with locked(path):
            remove_leftovers(path)
            if os.path.exists(path / "run.json") and not overwrite:
                return cls._take_up(path, recipe)
            cls._refuse_foreign(path)
            # The state goes first: from then on nothing of the old run can be taken for a part of the new one.
            (path / STATE).unlink(missing_ok=True)
            run = cls(path, recipe, _new_record(recipe))
            run._write_record()
            run._start_clean()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open an existing run, finished or not, for reading or to train on.

        Raises:
            RunError: there is no run, or its files can't be read.
        """
        path = Path(path)
        with contextlib.suppress(OSError):  # a run may be read from where nothing can be written
            remove_abandoned(path)
        record = _read_record(path)
        try:
            text = read_plain(path / "recipe.yaml", "recipe", limit=MAX_BYTES).decode("utf-8")
            recipe = cls.recipe_class.from_yaml(text, source=f"'{path / 'recipe.yaml'}'")
        except (OSError, UnicodeDecodeError, RecipeError) as error:
            raise RunError(f"The recipe of the run '{path}' can't be read: {error}") from error
        if record.get("fingerprint") != recipe.fingerprint():
            raise RunError(
                f"'{path / 'recipe.yaml'}' is not the recipe this run was started with. Put it back as it was, or "
                "start another run with it in a new folder."
            )
        return cls(path, recipe, record)

    @classmethod
    def _take_up(cls, path: Path, recipe: BaseRecipe) -> Self:
        record = _read_record(path)
        if record.get("status") == "finished":
            raise RunError(
                f"'{path}' holds a finished run of '{record.get('name')}'. Choose another folder, or pass "
                "overwrite=True (--overwrite) to replace it."
            )
        if record.get("fingerprint") != recipe.fingerprint():
            raise RunError(
                f"'{path}' holds an unfinished run of '{record.get('name')}' with another recipe. Resume it with its "
                "own recipe (recipe.yaml there), choose another folder, or pass overwrite=True (--overwrite)."
            )
        run = cls(path, recipe, record)
        if not (path / STATE).exists():
            run._start_clean()
        return run

    @staticmethod
    def _refuse_foreign(path: Path) -> None:
        """Refuse a folder that is not empty and holds no run: nothing of it may be overwritten."""
        names = {item.name for item in path.iterdir()} - HARMLESS
        if names and "run.json" not in names:
            raise RunError(
                f"'{path}' is not empty and holds no run. Choose a new folder. Received: a folder with "
                f"{', '.join(sorted(names)[:3])}{' ...' if len(names) > 3 else ''}."
            )

    def _start_clean(self) -> None:
        """Write the recipe and remove what an earlier run in this folder left."""
        write_atomically(self.path / "recipe.yaml", self.recipe.to_yaml())
        for name in ("float.keras", "analog.keras", "on_device.keras", "devices.csv", "metrics.jsonl", "report.html"):
            (self.path / name).unlink(missing_ok=True)
        for name in ("checkpoints", "results"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    # What is in it

    @property
    def status(self) -> str:
        """One of "unfinished", "interrupted", "failed", "finished"."""
        return str(self.record["status"])

    @property
    def finished(self) -> bool:
        """Whether both stages are done and the models are written."""
        return self.status == "finished"

    @property
    def results(self) -> Path:
        """The folder for what evaluations write; made on first use."""
        return make_folder(self.path / "results", "folder for the results")

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.path, fingerprint=self.recipe.fingerprint())

    def metrics(self) -> list[dict[str, Any]]:
        """Return what metrics.jsonl holds: one dict for each finished epoch.

        Raises:
            RunError: the file is broken.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            text = read_plain(path, "history", limit=MAX_JSON).decode("utf-8")
            rows = [json.loads(line) for line in text.splitlines()]
        except (RunError, ValueError, RecursionError) as error:
            raise RunError(f"'{path}' can't be read: {error}. Remove it to go on without the history.") from error
        if not all(isinstance(row, dict) and isinstance(row.get("stage"), str) for row in rows):
            raise RunError(f"'{path}' can't be read: a line is no epoch. Remove it to go on without the history.")
        return rows

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl."""
        write_atomically(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def float_model(self) -> Any:
        """Load the network of stage 1.

        Raises:
            RunError: it is not there yet, or its file is broken.
        """
        return self._load("float.keras")

    def analog_model(self) -> Any:
        """Load the hardware-aware trained analog network of stage 2.

        Raises:
            RunError: it is not there (yet), or its file is broken.
        """
        return self._load("analog.keras")

    def on_device_model(self) -> Any:
        """Load the network that learned on devices, compiled with its `MixedPrecision` and thus with the devices.

        Raises:
            RunError: it is not there (yet), or its file is broken.
        """
        return self._load("on_device.keras")

    def _load(self, name: str) -> Any:
        import keras

        import analognets.layers  # noqa: F401  (registers the classes a model file names)
        from analognets.conversion.load_files import check_size, opened
        from analognets.conversion.load_weights import check_finite

        path = self.path / name
        if not os.path.lexists(path):
            raise RunError(f"The run '{self.path}' has no {name} (status: {self.status}). Train it to the end first.")
        try:
            import_classes(path)
            file = opened(path)
            check_size(file, copy.deepcopy(file.config), {})
            model = keras.models.load_model(path, safe_mode=True)
            check_finite(path, model)
        except Exception as error:  # Keras raises many kinds for a broken file
            said = str(error) if isinstance(error, AnalogNetsError) else cut(str(error), 400)
            raise RunError(f"'{path}' can't be loaded: {said} Train the run again, or restore the file.") from error
        return model

    # What train() writes

    @contextlib.contextmanager
    def session(self, data_info: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Hold the folder's lock for one training session and keep the status in run.json up to date.

        Args:
            data_info: what to say about the data, as JSON.

        Raises:
            RunError: the run is finished, or another process is using the folder.
        """
        with locked(self.path):
            self.record = _read_record(self.path)
            if self.finished:
                raise RunError(f"The run '{self.path}' is finished. Start another one in a new folder.")
            if self.record.get("fingerprint") != self.recipe.fingerprint():
                raise RunError(f"The run '{self.path}' was replaced by one with another recipe. Open it again.")
            for folder in (self.path, self.path / "checkpoints"):
                remove_leftovers(folder)
            if data_info is not None:
                self._check_same_data(data_info)
                self.record["data"] = dict(data_info)
            self.record["status"] = "unfinished"
            changed = {key: value for key, value in environment().items() if self.record.get(key) != value}
            self.record["sessions"] = [*self.record["sessions"], {"started": _now(), **changed}]
            self._write_record()
            try:
                yield
            except BaseException as error:
                self.record["status"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                with contextlib.suppress(RunError):
                    self._write_record()
                raise
            self.record.update(status="finished", finished=_now())
            self._write_record()

    def _check_same_data(self, data_info: Mapping[str, Any]) -> None:
        """Refuse to go on with other data than the run was started with: the result would be of neither."""
        before = self.record.get("data") or {}
        changed = [key for key in SAME_DATA if key in before and before[key] != data_info.get(key)]
        if changed and (self.path / STATE).exists():
            raise RunError(
                f"The run '{self.path}' was started with other data. Go on with the same data, or start it anew with "
                f"overwrite=True (--overwrite). Received: {changed[0]} {data_info.get(changed[0])!r} instead of "
                f"{before[changed[0]]!r}."
            )

    def _write_record(self) -> None:
        write_json(self.path / "run.json", self.record)


def import_classes(path: Path) -> None:
    """Import the modules of this package that a .keras file names, so that its classes are registered.

    What is wrong with the file is said by who loads it.
    """
    try:
        with open_plain(path, "model", limit=MAX_FILE) as opened, zipfile.ZipFile(opened) as file:
            if file.getinfo("config.json").file_size > MAX_JSON:
                return
            text = file.read("config.json").decode()
    except Exception:  # zipfile and the decoders below it each have errors of their own
        return
    for module in set(re.findall(r'"module": "(analognets(?:\.[a-z]\w*)+)"', text)):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def _read_record(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    if not os.path.exists(file):
        raise RunError(f"There is no run in '{path}': it holds no run.json.")
    try:
        record = read_json(file, "run's record")
    except RunError as error:
        raise RunError(f"'{file}' can't be read: {error}") from error
    sound = (
        isinstance(record, dict)
        and record.get("status") in STATUSES
        and isinstance(record.get("fingerprint"), str)
        and isinstance(record.get("sessions"), list)
        and all(isinstance(record.get(key) or {}, dict) for key in ("data", "versions"))
        and isinstance((record.get("data") or {}).get("folder") or "", str)
        and isinstance((record.get("data") or {}).get("classes") or [], list)
    )
    if not sound:
        raise RunError(f"'{file}' is not the record of a run.")
    return dict(record)


def _new_record(recipe: BaseRecipe) -> dict[str, Any]:
    return {
        "format": 1,
        "name": recipe.name,
        "status": "unfinished",
        "seed": recipe.seed,
        "fingerprint": recipe.fingerprint(),
        "started": _now(),
        "finished": None,
        "data": None,
        **environment(),
        "sessions": [],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
