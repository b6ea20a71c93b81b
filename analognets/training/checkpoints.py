"""Checkpoints: all variables of model and optimizer after an epoch, and a small file that says which ones count."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import file_sha256, read_json, read_plain, write_atomically, write_json
from analognets.core.provenance import sha256_of
from analognets.errors import RunError

__all__ = ["STATE", "Checkpoint", "Checkpoints", "Stored"]

STATE = "state.json"
KEEP = 2


@dataclasses.dataclass(frozen=True)
class Stored:
    """A checkpoint file.

    Args:
        file: its name in checkpoints/.
        sha256: of its content.
        epoch: how many epochs of its stage were finished.
        score: validation score then, higher is better; None if there is none.
    """

    file: str
    sha256: str
    epoch: int
    score: float | None = None


def _is_plain(stored: Stored) -> bool:
    """Whether a record names a file in the folder, not outside of it."""
    texts = isinstance(stored.file, str) and isinstance(stored.sha256, str)
    return texts and Path(stored.file).name == stored.file and isinstance(stored.score, (int, float, type(None)))


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One stored state of a training.

    Args:
        stage: "float" or "hardware_aware".
        now: the variables after the last finished epoch.
        best: the variables of the stage's best epoch until then, if there are scores.
        rows: how many lines metrics.jsonl has at this point.
    """

    stage: str
    now: Stored
    best: Stored | None
    rows: int

    @property
    def epoch(self) -> int:
        """How many epochs of the stage are finished."""
        return self.now.epoch

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Checkpoint:
        """Build from `dataclasses.asdict`'s data."""
        best = data["best"]
        made = cls(data["stage"], Stored(**data["now"]), Stored(**best) if best else None, data["rows"])
        whole = all(type(number) is int and number >= 0 for number in (made.rows, made.now.epoch))
        if not (whole and all(_is_plain(stored) for stored in (made.now, made.best) if stored is not None)):
            raise ValueError("a checkpoint is none")
        return made


class Checkpoints:
    """The checkpoints of a run: safetensors files, and state.json which is replaced as the last step of each save.

    Args:
        folder: the run folder.
        fingerprint: of the recipe; a state of another recipe does not count.
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self.folder = folder / "checkpoints"
        self.state = folder / STATE
        self.fingerprint = fingerprint
        self.damaged: list[str] = []

    def save(
        self,
        variables: Sequence[Any],
        *,
        stage: str,
        epoch: int,
        rows: int,
        score: float | None = None,
    ) -> None:
        """Store the variables' values as the newest checkpoint; keep the one before and the stage's best.

        Args:
            variables: Keras variables of model and optimizer, always in the same order.
            stage: "float" or "hardware_aware".
            epoch: finished epochs of that stage.
            rows: lines of metrics.jsonl now.
            score: validation score, higher is better.

        Raises:
            RunError: the disk is full or the folder can't be written to.
        """
        from keras import ops
        from safetensors.numpy import save

        arrays = {f"{i:05d}": np.array(ops.convert_to_numpy(v.value), order="C") for i, v in enumerate(variables)}
        self.folder.mkdir(exist_ok=True)
        name = f"{stage}-{epoch:05d}.safetensors"
        write_atomically(self.folder / name, save(arrays, {"stage": stage}))  # two entries come in any order
        now = Stored(name, file_sha256(self.folder / name), epoch, score)
        history = self._history()
        before = history[0].best if history and history[0].stage == stage else None
        rivals = [item for item in (before, now) if item is not None and item.score is not None]
        best = max(rivals, key=lambda item: (item.score, item.epoch), default=None)
        history = [Checkpoint(stage, now, best, rows), *(item for item in history if item.now.file != name)][:KEEP]
        self._write(history)
        self._prune(history)

    def _write(self, history: list[Checkpoint]) -> None:
        checkpoints = [dataclasses.asdict(item) for item in history]
        write_json(self.state, {"format": 1, "fingerprint": self.fingerprint, "checkpoints": checkpoints})

    def _history(self) -> list[Checkpoint]:
        """Return the checkpoints that count, newest first."""
        if not self.state.exists():
            return []
        try:
            state = read_json(self.state, "state of a training")
            if state["fingerprint"] != self.fingerprint:
                return []
            return [Checkpoint.from_dict(item) for item in state["checkpoints"]]
        except (RunError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"'{self.state}' can't be read ({error}), so it is not known how far the run got. Restore the file, or "
                "start the run again with overwrite=True (--overwrite)."
            ) from error

    def _prune(self, history: list[Checkpoint]) -> None:
        kept = {item.file for checkpoint in history for item in (checkpoint.now, checkpoint.best) if item is not None}
        for path in self.folder.glob("*.safetensors"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _is_whole(self, stored: Stored) -> bool:
        try:
            return file_sha256(self.folder / stored.file) == stored.sha256
        except OSError:
            return False

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose file is whole, or None if the run has not stored any yet.

        Damaged newer ones are forgotten, so that training goes on from there; `damaged` names their files.

        Raises:
            RunError: state.json is broken, or none of the stored checkpoints is whole.
        """
        history = self._history()
        for index, checkpoint in enumerate(history):
            if self._is_whole(checkpoint.now):
                if index:
                    self._write(history[index:])
                return checkpoint
            self.damaged.append(checkpoint.now.file)
        if history:
            raise RunError(
                f"All checkpoints in '{self.folder}' are missing or damaged: {', '.join(self.damaged)}. Restore one of "
                "them, or start the run again with overwrite=True (--overwrite)."
            )
        return None

    def of_epoch(self, stage: str, epoch: int) -> Checkpoint:
        """Return the stored checkpoint after so many epochs of a stage, as another process has named it.

        Raises:
            RunError: there is none, or state.json is broken.
        """
        for checkpoint in self._history():
            if (checkpoint.stage, checkpoint.epoch) == (stage, epoch):
                return checkpoint
        raise RunError(f"'{self.state}' names no checkpoint of stage '{stage}' after {epoch} epochs.")

    def restore(self, stored: Stored, variables: Sequence[Any]) -> None:
        """Set variables to what a checkpoint holds.

        Args:
            stored: `now` or `best` of a checkpoint.
            variables: as they were given to `save`.

        Raises:
            RunError: the file is damaged, or was made by another model or optimizer.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self.folder / stored.file
        if not self._is_whole(stored):
            raise RunError(f"The checkpoint '{path}' is missing or damaged. Restore it, or start the run again.")
        try:
            content = read_plain(path, "checkpoint")
            if sha256_of(content) != stored.sha256:
                raise RunError(f"The checkpoint '{path}' was changed while it was read.")
            arrays = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"The checkpoint '{path}' can't be read: {error}.") from error
        found = [(tuple(arrays[key].shape), str(arrays[key].dtype)) for key in sorted(arrays)]
        wanted = [(tuple(v.shape), str(v.dtype)) for v in variables]
        if found != wanted:
            raise RunError(
                f"The checkpoint '{path}' was made by another model: it holds {len(found)} variables, this model and "
                f"optimizer have {len(wanted)}{_first_difference(found, wanted)}. Use the code and data the run was "
                "started with, or start another run."
            )
        for key, variable in zip(sorted(arrays), variables, strict=True):
            variable.assign(arrays[key])


def _first_difference(stored: list[Any], wanted: list[Any]) -> str:
    for number, (old, new) in enumerate(zip(stored, wanted, strict=False)):
        if old != new:
            return f", and number {number} has shape {old[0]} ({old[1]}) there and {new[0]} ({new[1]}) here"
    return ""
