"""The search of a design: a seeded Optuna study, a batch of candidates at a time, kept in SQLite and resumable."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.core.seeds import derive_seed, generator
from analognets.deploy.studies.design.budgets import COLUMNS, excess
from analognets.deploy.studies.design.prices import Prices
from analognets.deploy.studies.design.space import Settings, Space
from analognets.errors import AnalogNetsError, MissingExtraError, RunError, cut

if TYPE_CHECKING:
    import optuna

__all__ = ["Search", "check_optuna"]

FILE, STUDY = "design.db", "design"
TRIES = 25
"""Proposals that are drawn for one that is new and in the budget, before any such one is taken at random."""
MOST_DRAWS = 24
"""Draws of which TPE proposes the best, at the first try; the default of Optuna."""
DRAWS = 1000
"""Settings that are drawn at random to find one."""
LAYERS = 12
"""A single layer is made coarser in the beginning where there are at most so many."""
Measure = Callable[[list[str]], list[dict[str, Any]]]


def check_optuna() -> None:
    """Raise unless Optuna is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import optuna  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Designing hardware", "design") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Optuna neither print nor warn."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


class Search:
    """Candidates that are tried one batch after the other: uniform hardware first, then what TPE proposes.

    A batch depends on the seed and on what was tried before it alone, so that an interrupted search goes on to the
    same end, whatever it is measured with.

    Args:
        space: to search.
        prices: of its candidates.
        budgets: by name.
        objectives: names of what is made small.
        seed: of the proposals.
        batch: how many are proposed at once.
        trials: how many in all.
    """

    def __init__(
        self,
        space: Space,
        prices: Prices,
        budgets: Mapping[str, float],
        objectives: Sequence[str],
        *,
        seed: int,
        batch: int,
        trials: int,
    ) -> None:
        self.space, self.prices = space, prices
        self.budgets, self.objectives = dict(budgets), tuple(objectives)
        self.seed, self.batch, self.trials = seed, batch, trials
        self.rows: list[dict[str, Any]] = []
        self.seen: set[str] = set()
        self._study: Any = None

    def run(self, folder: Path, measure: Measure) -> list[dict[str, Any]]:
        """Try candidates up to the number of trials, or until none is left, and return a row for each.

        Args:
            folder: where the study is kept, in design.db.
            measure: returns a row for each of some points of `Space.point`: accuracy, loss, status, error.

        Raises:
            AnalogNetsError: none of the first candidates can be measured.
            RunError: the study can't be written.
        """
        import optuna

        distributions = self.space.distributions()
        directions: list[Any] = ["minimize"] * len(self.objectives)
        with _quiet():
            self._study = optuna.create_study(directions=directions)
        first = list(self.space.first(LAYERS))[: self.trials]
        with _opened(folder / FILE, directions) as record:
            done = len(record.get_trials(deepcopy=False))
            while len(self.rows) < self.trials and (asked := self._next(first, distributions)):
                for row, trial in self._tried(asked, measure, distributions):
                    if row["trial"] >= done:
                        _add(record, trial)
                if all(row["status"] == "failed" for row in self.rows):
                    raise AnalogNetsError(f"No candidate could be measured. {self.rows[0]['error']}")
        return self.rows

    def _next(
        self, first: list[tuple[str, Settings]], distributions: Mapping[str, Any]
    ) -> list[tuple[str, Settings, Any]]:
        """Return the next batch: kind, settings, and the running trial of a proposal."""
        place = len(self.rows)
        if place < len(first):
            return [(kind, settings, None) for kind, settings in first[place : place + self.batch]]
        left = min(self.batch, self.trials - place)
        asked = []
        for number in range(left):
            with _quiet():
                found = self._proposal(distributions, place, number, len(first))
            if found is None:
                break
            asked.append(found)
        return asked

    def _proposal(
        self, distributions: Mapping[str, Any], place: int, number: int, startup: int
    ) -> tuple[str, Settings, Any] | None:
        """Return a candidate that is worth to be measured; None if none is found."""
        import optuna

        if len(self.seen) >= self.space.size:
            return None
        for attempt in range(TRIES):
            drawn = derive_seed(self.seed, "design", place, number, attempt)
            # The best of many draws is again and again one that was refused: fewer draws are more like what did well.
            draws = max(1, MOST_DRAWS >> (attempt // 5))
            self._study.sampler = optuna.samplers.TPESampler(
                seed=drawn, n_startup_trials=max(1, startup), n_ei_candidates=draws
            )
            trial = self._study.ask(dict(distributions))
            settings = {knob.name: trial.params[knob.name] for knob in self.space.knobs}
            if self._is_worth(settings):
                return "proposed", settings, trial
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        rng = generator(derive_seed(self.seed, "random", place, number))
        for _ in range(min(DRAWS, 200 * self.space.size)):
            settings = {knob.name: knob.values[int(rng.integers(len(knob.values)))] for knob in self.space.knobs}
            if self._is_worth(settings):
                return "random", settings, None
        return None

    def _is_worth(self, settings: Settings) -> bool:
        """Whether a candidate was not tried yet, and keeps the budgets of what is known without measuring it."""
        key = json.dumps(settings, sort_keys=True)
        if key in self.seen:
            return False
        self.seen.add(key)
        known = {name: limit for name, limit in self.budgets.items() if name != "loss"}
        try:
            row = self.prices.of(self.space.candidate(settings), ranges=False)
        except AnalogNetsError:
            return False
        return all(value <= 0 for value in excess(row, known).values())

    def _tried(
        self, asked: list[tuple[str, Settings, Any]], measure: Measure, distributions: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Any], optuna.trial.FrozenTrial]]:
        """Measure a batch; yield the row of each candidate and its finished trial."""
        priced = [self._priced(settings) for _, settings, _ in asked]
        points = list(dict.fromkeys(row["layers"] for row in priced if row["status"] == "ok"))
        measured = dict(zip(points, measure(points), strict=True)) if points else {}
        for (kind, settings, running), row in zip(asked, priced, strict=True):
            self.seen.add(json.dumps(settings, sort_keys=True))
            found = {"trial": len(self.rows), "kind": kind, **settings, **row, **measured.get(row["layers"], {})}
            if found["status"] == "ok":
                over = excess(found, self.budgets)
                found |= {"feasible": all(value <= 0 for value in over.values()), "excess": over}
            self.rows.append(found)
            with _quiet():
                trial = self._told(found, settings, running, distributions)
            yield found, trial

    def _priced(self, settings: Settings) -> dict[str, Any]:
        try:
            candidate = self.space.candidate(settings)
            prices = self.prices.of(candidate)
        except AnalogNetsError as error:
            return {"layers": "", "status": "failed", "error": str(error)}
        return {"layers": self.space.point(candidate), "status": "ok", "error": None, **prices}

    def _told(
        self, row: Mapping[str, Any], settings: Settings, running: Any, distributions: Mapping[str, Any]
    ) -> optuna.trial.FrozenTrial:
        """Tell the study in memory what a candidate gave, and return the trial for the record."""
        import optuna

        good = row["status"] == "ok"
        values = [float(row[COLUMNS[name]]) for name in self.objectives] if good else None
        shown = ("kind", "accuracy", "loss", "energy_uj", "area_mm2", "method", "error")
        trial = optuna.create_trial(
            state=optuna.trial.TrialState.COMPLETE if good else optuna.trial.TrialState.FAIL,
            values=values,
            params=dict(settings),
            distributions=dict(distributions),
            user_attrs={name: row[name] for name in shown if row.get(name) is not None},
            constraints=dict(row["excess"]) if good else None,
        )
        if running is None:
            self._study.add_trial(trial)
        elif good:
            for name, value in row["excess"].items():
                running.set_constraint(name, value)
            self._study.tell(running, values)
        else:
            self._study.tell(running, state=optuna.trial.TrialState.FAIL)
        return trial


@contextlib.contextmanager
def _opened(path: Path, directions: list[Any]) -> Iterator[optuna.Study]:
    """Yield the study in a file; one that is broken is written anew, for what was measured is kept elsewhere.

    Raises:
        RunError: the file can't be written.
    """
    storage: Any = None
    study: Any = None
    for last in (False, True):
        try:
            with _quiet():
                storage, study = _study_in(path, directions)
            break
        except Exception as error:  # sqlalchemy, sqlite and alembic raise many kinds
            if last:
                raise RunError(f"The study '{path}' can't be written: {cut(str(error), 200)}") from error
            for name in (path.name, f"{path.name}-journal"):
                path.with_name(name).unlink(missing_ok=True)
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _study_in(path: Path, directions: list[Any]) -> tuple[Any, optuna.Study]:
    """Return storage and study of a file, made if need be."""
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
    try:
        study = optuna.create_study(storage=storage, study_name=STUDY, directions=directions, load_if_exists=True)
        if len(study.directions) != len(directions):
            raise RunError("It is of another design.")
        study.get_trials(deepcopy=False)
    except BaseException:
        storage.engine.dispose()
        raise
    return storage, study


def _add(record: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Add a finished trial to the record.

    Raises:
        RunError: it can't be written.
    """
    try:
        with _quiet():
            record.add_trial(trial)
    except Exception as error:  # likewise
        raise RunError(f"The study can't be written: {cut(str(error), 200)}") from error
