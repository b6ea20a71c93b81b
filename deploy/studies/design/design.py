"""Designing hardware for a network: searched by prices and accuracy, confirmed and reported on chips."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.core.drafts import MARK
from analognets.core.files import locked, make_folder, write_atomically, write_json
from analognets.core.provenance import json_sha256
from analognets.crossbar import Crossbar
from analognets.deploy.accelerator import load_accelerator
from analognets.deploy.accelerator.costs import with_range
from analognets.deploy.studies.design.bench import (
    CHECKS,
    CHOSEN,
    PREDICTED,
    SIMULATED,
    TASK,
    Bench,
    bench_of,
    forget,
    layers_of,
)
from analognets.deploy.studies.design.budgets import COLUMNS, budgets_of, objectives_of, text_of
from analognets.deploy.studies.design.files import write_hardware
from analognets.deploy.studies.design.knobs import Candidate, ConverterBits, GMax, Knob, LayerPlace, knobs_of
from analognets.deploy.studies.design.prices import Prices, check_reachable
from analognets.deploy.studies.design.search import FILE, Search, check_optuna
from analognets.deploy.studies.design.space import Space, crossbars_of
from analognets.deploy.studies.design.winners import Measure, Winners, difference, marked
from analognets.deploy.studies.on_processes import Processes
from analognets.deploy.studies.on_ray import cluster
from analognets.deploy.studies.other_hardware import RANGES
from analognets.deploy.studies.samples import check_place
from analognets.deploy.studies.sensitivity.networks import gather
from analognets.deploy.studies.sweep import LOG, open_folder, sweep
from analognets.errors import ConversionError, RunError, check_choice, check_integer
from analognets.metrics import format_interval
from analognets.units import format_duration, parse_duration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Design", "design"]

POINTS, CONFIRMED, REPORTED, RETRAINED = "points", "confirmed", "reported", "retrained"
RESULT, HARDWARE = "design.json", "hardware"
BEGUN = {".lock", "models", "data.npz"}
"""What a folder of a design holds before its points."""
INNER = ("auto", PREDICTED, SIMULATED)
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Design:
    """What `design` found.

    Args:
        folder: with all files.
        sentence: the answer.
        budgets: by name, in uJ, mm^2 and points.
        objectives: what was made small.
        at: time since programming.
        table: a row for each candidate: kind, settings, prices, accuracy, loss, feasible, pareto.
        confirmed: a row for each confirmed one, with its interval; `epochs` of fine-tuning. The choice rests on these.
        winners: the same rows, with `right`: which samples each chip is right about, of `bench.rights`.
        chosen: the row that was chosen, with the figures of the report, on samples that took no part in the choice;
            `confirmed_loss` and `searched_loss` are those before. `feasible`: whether the budgets hold in the report.
        reference: that of the best uniform hardware, fine-tuned and reported alike, or None.
        hardware: of the chosen one, as in recipes.
        against: what the chosen one saves against the reference, and how much more it loses in the report, with its
            interval.
        grid: evaluations of the full grid.
        evaluations: those that were made.
        samples: what was `searched`, `confirmed` and `reported` on.

    Examples:
        >>> small = {"bits": [8, 6], "trials": 1, "chips": 1, "confirm_chips": 2, "inner": "chips"}
        >>> found = analognets.deploy.design(analog, "designed", energy="1uJ", data=(x, y), adcs=[128], **small)
        >>> found.objectives, found.chosen["label"], list(found.table["kind"])
        (('loss',), '8 bit', ['uniform 8 bit'])
    """

    folder: Path
    sentence: str
    budgets: dict[str, float]
    objectives: tuple[str, ...]
    at: str
    table: pd.DataFrame
    confirmed: pd.DataFrame
    winners: list[dict[str, Any]]
    chosen: dict[str, Any]
    reference: dict[str, Any] | None
    hardware: dict[str, Any]
    against: dict[str, Any]
    grid: int
    evaluations: int
    samples: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "winners"}
        tables = {name: records(plain[name]) for name in ("table", "confirmed")}
        rows = {name: None if plain[name] is None else _plain_row(plain[name]) for name in ("chosen", "reference")}
        return {**plain, "folder": str(self.folder), "objectives": list(self.objectives), **tables, **rows}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values; what is missing is None."""
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return found


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else getattr(value, "item", lambda value=value: value)()
            for name, value in row.items() if name not in ("right", "row")}  # fmt: skip


def design(
    network: Any,
    folder: Any,
    *,
    energy: str | float | None = None,
    area: str | float | None = None,
    loss: str | float | None = None,
    at: str | float = "1d",
    bits: Sequence[int] = (8, 7, 6, 5, 4),
    dac_bits: Sequence[int] = (),
    adcs: Sequence[int] = (),
    arrays: Sequence[tuple[int, int]] = (),
    g_max: Sequence[float] = (),
    layers: Sequence[str] | None = None,
    digital: Sequence[str] = (),
    knobs: Sequence[Knob] = (),
    data: Any = None,
    data_options: Mapping[str, Any] | None = None,
    limit: int | None = None,
    inner: str = "auto",
    chips: int = 3,
    trials: int = 60,
    batch: int = 4,
    winners: int = 3,
    confirm_chips: int = 25,
    finetune: int = 0,
    ranges: str = "kept",
    accelerator: Any = "aon_cim",
    seed: int = 0,
    workers: int = 1,
    ray: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Design:
    """Choose hardware for a network under budgets; go on where an earlier call was interrupted.

    Candidates differ in the bits of each layer, ADC sharing, arrays and more. Uniform hardware is tried first, then
    what Optuna's TPE proposes; energy and area come from the cost model, the loss is against the digital network with
    the same weights. Both converters of a layer take part in its pass, so the wider ones set its time and energy. The
    best candidates are confirmed on more chips of another seed and all validation samples, and the best of these is
    chosen. It and the best uniform hardware are then measured once on test samples and chips of a third seed, for the
    report alone: a budget of loss that does not hold there is said, and nothing is chosen anew.

    Args:
        network: folder of a run, handle of a preset, path of a .keras file, or calibrated analog model.
        folder: for the results; made if need be.
        energy: most of an inference: "5uJ", or a number in uJ.
        area: largest: "3mm2", or a number in mm^2.
        loss: most points of accuracy that may be lost against the digital network. What has no budget is made small.
        at: time since programming.
        bits: of the converters of each layer, 2 to 16 (the accelerator may have fewer).
        dac_bits: of DACs, to choose them apart from those of ADCs; it saves nothing by itself, see above.
        adcs: ADCs of an array; empty: those of the accelerator, half and twice as many.
        arrays: (rows, columns) of an array; empty: as trained.
        g_max: largest conductance in uS; empty: as trained. The power of conducting cells follows it.
        layers: whose bits are chosen; None: all analog layers.
        digital: layers that may be left digital.
        knobs: further ones, see `Knob`.
        data: folder of real data, "synthetic", a .npz file of `inputs` and `labels`, such arrays as a tuple, or None:
            as in training. Candidates are searched and confirmed on validation samples and reported on test samples,
            of arrays on every other sample and on the rest.
        data_options: further options of the data set's loader.
        limit: most samples to search with, spread evenly; None: all.
        inner: how candidates are measured: "predicted" by `predict_ageing`, where that is not flagged, else on chips;
            "chips"; "auto": predicted where that takes less work than the chips, until one of the first is flagged.
        chips: how many are simulated for a candidate, 1 to 1000.
        trials: candidates, those that differ in prices only included, 1 to 100000. A search may go on with more.
        batch: candidates that are proposed at once; results depend on it, but not on `workers`.
        winners: how many candidates are confirmed, 1 to 100.
        confirm_chips: on how many chips, 2 to 10000; as many others for the report.
        finetune: epochs of a short hardware-aware training that the winners and the best uniform hardware get beside.
        ranges: "calibrated" sets converter ranges anew where bits or arrays change, see `on_hardware`.
        accelerator: whose constants are taken: a name, the path of a YAML file, or an `Accelerator`.
        seed: of proposals and chips.
        workers: processes on this machine.
        ray: run on a Ray cluster.
        overwrite: forget what is in the folder.
        progress: called with (what, done, total).

    Returns:
        The chosen hardware with all that was tried; its files are in the folder: hardware.yaml, which `to_analog`,
        recipes, `evaluate` and `cost` take, hardware_accelerator.yaml, trials.csv, confirmed.csv, design.json, and the
        Optuna study in design.db.

    Raises:
        InvalidArgumentError: no budget, one that is not valid or that nothing can meet, or another value out of range.
        UnknownNameError: a layer or accelerator does not exist.
        AnalogNetsError: no candidate keeps the budgets; it names the nearest.
        RunError: the folder holds another design or something else, or is in use.
        MissingExtraError: Optuna is not installed.

    Examples:
        >>> small = {"bits": [8, 6], "trials": 1, "chips": 1, "confirm_chips": 2, "inner": "chips"}
        >>> found = design(analog, "designed", loss=20, data=(x, y), adcs=[128], **small)
        >>> found.hardware, found.grid, found.evaluations
        ({'preset': 'aon_cim_8bit'}, 4, 1)
        >>> analognets.to_analog(model, "designed/hardware.yaml").get_layer("hidden").crossbar.adc_bits
        8
    """
    budgets = budgets_of(energy, area, loss)
    _check(inner, ranges, chips, trials, batch, winners, confirm_chips, finetune, seed, limit)
    check_optuna()
    check_place(data)
    root = Path(folder)
    _refuse_foreign(root)
    study = _Study(
        network, root, budgets, at=at, accelerator=accelerator, data=data, data_options=data_options, limit=limit,
        values={"bits": bits, "dac_bits": dac_bits, "adcs": adcs, "arrays": arrays, "g_max": g_max, "layers": layers,
                "digital": digital},
        knobs=knobs, inner=inner, chips=chips, confirm_chips=confirm_chips, ranges=ranges, seed=seed, batch=batch,
        progress=progress or (lambda what, done, total: None),
    )  # fmt: skip
    with locked(root), study.at_work(workers, ray):
        study.begin(finetune, overwrite)
        table = study.search(trials)
        return study.written(table, study.confirmed(table, winners, finetune))


def _check(
    inner: str,
    ranges: str,
    chips: int,
    trials: int,
    batch: int,
    winners: int,
    confirm_chips: int,
    finetune: int,
    seed: int,
    limit: int | None,
) -> None:
    """Raise unless the settings of a design are in range."""
    check_choice("design", "inner", inner, INNER)
    check_choice("design", "ranges", ranges, RANGES)
    check_integer("design", "chips", chips, 1, 1000)
    check_integer("design", "trials", trials, 1, 100_000)
    check_integer("design", "batch", batch, 1, 1000)
    check_integer("design", "winners", winners, 1, 100)
    check_integer("design", "confirm_chips", confirm_chips, 2, 10_000)
    check_integer("design", "finetune", finetune, 0, 100_000)
    check_integer("design", "seed", seed, 0, 2**31 - 3)
    if limit is not None:
        check_integer("design", "limit", limit, 1, 1 << 40)


def _refuse_foreign(root: Path) -> None:
    """Raise if a folder holds something else than a design."""
    if os.path.isfile(root):
        raise RunError(f"A design goes into a folder. Received: '{root}', which is a file.")
    names = {item.name for item in root.iterdir() if not item.name.startswith(MARK)} if os.path.isdir(root) else set()
    if not names & {POINTS, FILE} and names - BEGUN:
        raise RunError(f"'{root}' holds something else than a design. Choose a new or empty folder.")


class _Study:
    """One call of `design`: what its steps share."""

    def __init__(
        self,
        network: Any,
        root: Path,
        budgets: dict[str, float],
        *,
        at: str | float,
        accelerator: Any,
        values: Mapping[str, Any],
        knobs: Sequence[Knob],
        data: Any,
        data_options: Mapping[str, Any] | None,
        limit: int | None,
        inner: str,
        chips: int,
        confirm_chips: int,
        ranges: str,
        seed: int,
        batch: int,
        progress: Progress,
    ) -> None:
        self.root, self.budgets, self.inner, self.progress = root, budgets, inner, progress
        self.how: dict[str, Any] = {}
        self.seconds, self.seed, self.batch = parse_duration(at), seed, batch
        self.at = format_duration(self.seconds)
        chip = load_accelerator(accelerator)
        made: list[tuple[Space, Prices]] = []

        def check(model: Any) -> None:
            start = Candidate(layers_of(model), chip)
            made.append((Space(start, [*knobs_of(start, **values), *knobs]), Prices(model)))
            check_reachable(*made[0], budgets)

        forget()
        [self.source], place, arrays = gather(network, root, data, check)
        [(self.space, self.prices)] = made
        self.start: Mapping[str, Crossbar | None] = self.space.start.layers
        fixed = (ConverterBits, LayerPlace, GMax)
        area_varies = any(not isinstance(knob, fixed) for knob in self.space.knobs)
        self.objectives = objectives_of(budgets, area_varies=area_varies)
        shared = {
            "network": self.source.fingerprint,
            "data": place,
            "data_options": dict(data_options or {}),
            "seconds": self.seconds,
            "ranges": ranges,
        }
        told: dict[str, Any] = {
            "values": self.space.describe(),
            "accelerator": json_sha256(chip.model_dump(mode="json"))[:16],
        }
        told |= {"budgets": budgets, "inner": inner, "batch": batch}
        self.settings = {**shared, **told, "limit": limit, "chips": chips, "seed": seed, "split": "validation"}
        more = {**shared, "limit": None, "chips": confirm_chips}
        self.confirming = {**more, "seed": seed + 1, "split": "validation"}
        self.reporting = {**more, "seed": seed + 2, "split": "test"}
        self.context = {"arrays": arrays, "source": self.source.place, "retrained": str((root / RETRAINED).resolve())}

    @contextlib.contextmanager
    def at_work(self, workers: int, ray: bool) -> Iterator[None]:
        """While active, candidates are measured by one cluster or set of processes, not by new ones for each batch."""
        workers = check_integer("design", "workers", workers, 1, 1024)
        self.how = {"workers": workers, "ray": ray}
        with contextlib.ExitStack() as stack:
            if ray:
                stack.enter_context(cluster(workers))
            elif workers > 1:
                self.how["processes"] = stack.enter_context(Processes(workers, self.root / LOG))
            yield

    def bench(self, settings: Mapping[str, Any]) -> Bench:
        """Return what measures in this process."""
        return bench_of({**settings, **self.context})

    def begin(self, finetune: int, overwrite: bool) -> None:
        """Open the data before anything is tried, and forget an earlier study if asked to.

        Raises:
            AnalogNetsError: no data can be read, the network can't be fine-tuned, or the folder holds another design.
        """
        bench = self.bench(self.settings)
        stage = None if bench.trained.recipe is None else bench.trained.recipe.hardware_aware
        if finetune and (bench.task is None or stage is None):
            raise ConversionError(
                "A design is fine-tuned by the recipe of its network, on a data set. Received: a network without a "
                "recipe for hardware, or arrays. Leave the fine-tuning out (finetune=0)."
            )
        later = {REPORTED: self.reporting, CONFIRMED: self.confirming}
        forgotten = {name: one for name, one in later.items() if overwrite and (self.root / name).is_dir()}
        for name, settings in {**forgotten, POINTS: self.settings}.items():
            points = make_folder(self.root / name)
            with locked(points):
                open_folder(points, TASK, settings, overwrite)
        for name in (FILE, f"{FILE}-journal", RESULT) if overwrite else ():
            (self.root / name).unlink(missing_ok=True)

    def prediction_pays(self) -> bool:
        """Whether predicting a candidate takes less work than its chips: about twice its own few chips."""
        samples = len(self.bench(self.settings).samples)
        return bool(self.settings["chips"] * samples > 2 * CHECKS * min(samples, CHOSEN))

    def search(self, trials: int) -> pd.DataFrame:
        """Try candidates and return the table of them."""
        search = Search(
            self.space, self.prices, self.budgets, self.objectives, seed=self.seed, batch=self.batch, trials=trials
        )
        points: dict[str, dict[str, Any]] = {}

        def measure(layers: list[str]) -> list[dict[str, Any]]:
            flagged = any(row.get("flag") for row in search.rows[: self.batch])
            simulate = self.inner == SIMULATED or self.inner == "auto" and (flagged or not self.prediction_pays())
            asked = [
                points.get(one, {"layers": one, "epochs": 0, "inner": SIMULATED if simulate else PREDICTED})
                for one in layers
            ]
            before = len(search.rows)
            table = sweep(
                TASK, asked, self.root / POINTS, settings=self.settings, context=self.context, **self.how,
                progress=lambda done, total, row: self.progress("Trying candidates", before + done, trials),
            )  # fmt: skip
            rows = _measured(table)
            points.update({one["layers"]: one for one, row in zip(asked, rows, strict=True) if row["status"] == "ok"})
            return rows

        rows = search.run(self.root, measure)
        for row in rows:
            row["label"] = self.space.label(row)
        sweep(TASK, list(points.values()), self.root / POINTS, settings=self.settings, context=self.context)
        self.progress("Trying candidates", trials, trials)
        return marked(rows)

    def confirmed(self, table: pd.DataFrame, count: int, epochs: int) -> Winners:
        """Confirm the best candidates."""
        write_atomically(self.root / "trials.csv", lambda part: table.to_csv(part, index=False))
        found = Winners(table, self.objectives, self.budgets, count=count, epochs=epochs)
        found.confirm(self._simulated(CONFIRMED, self.confirming, "Confirming the best"))
        return found

    def _simulated(self, name: str, settings: Mapping[str, Any], what: str) -> Measure:
        """Return what measures layers and epochs of fine-tuning on chips, kept in a folder of that name."""
        points: list[dict[str, Any]] = []

        def measure(asked: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
            new = [{"layers": one, "epochs": number, "inner": SIMULATED} for one, number in asked]
            measured = sweep(
                TASK, [*points, *new], self.root / name, settings=settings, context=self.context, **self.how,
                progress=lambda done, total, row: self.progress(what, done, total),
            )  # fmt: skip
            points.extend(new)
            rows = {(row["layers"], row["epochs"]): row for row in _measured(measured)}
            return [rows[one] for one in asked]

        return measure

    def written(self, table: pd.DataFrame, winners: Winners) -> Design:
        """Report what was chosen, write the files of a design and return it."""
        chosen, reference = winners.reported(self._simulated(REPORTED, self.reporting, "Measuring for the report"))
        against = self._against(chosen, reference)
        hardware = self._write(chosen, HARDWARE)
        evaluations = int(table.loc[table["status"] == "ok", "layers"].nunique())
        confirmed = pd_without(winners.rows)
        sentence = self._sentence(chosen, against, evaluations)
        splits = {"searched": self.settings, "confirmed": self.confirming, "reported": self.reporting}
        samples = {name: self.bench(one).samples.describe() for name, one in splits.items()}
        found = Design(
            self.root, sentence, dict(self.budgets), self.objectives, self.at, table, confirmed, winners.rows, chosen,
            reference, hardware, against, self.space.grid, evaluations, samples,
        )  # fmt: skip
        write_atomically(self.root / "confirmed.csv", lambda part: confirmed.to_csv(part, index=False))
        write_json(self.root / RESULT, found.to_dict())
        return found

    def _write(self, row: Mapping[str, Any], name: str) -> dict[str, Any]:
        settings = {knob.name: row[knob.name] for knob in self.space.knobs}
        chip = self.space.candidate(_as_set(self.space, settings)).accelerator
        return write_hardware(self.root, name, crossbars_of(self.start, str(row["layers"])), chip)

    def _against(self, chosen: Mapping[str, Any], reference: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what a chosen candidate saves against the reference, and what it loses more."""
        if reference is None or reference["row"] == chosen["row"]:
            return {}
        bench = self.bench(self.reporting)
        decisions = len(bench.digital) if bench.digital.ndim == 2 else bench.digital[..., 0].size
        owners = [one or f" {place}" for place, one in enumerate(bench.samples.groups)]
        each = [one for one in owners for _ in range(decisions // len(owners))]
        more = difference(chosen, reference, each, decisions)
        ends = {"loss_more_low": more.low, "loss_more_high": more.high}
        saved = {
            f"{name}_ratio": chosen[column] / reference[column] for name, column in COLUMNS.items() if name != "loss"
        }
        known = {name: None if end != end else end for name, end in ends.items()}
        return {"reference": reference["label"], **saved, "loss_more": more.mean, **known}

    def _sentence(self, chosen: Mapping[str, Any], against: Mapping[str, Any], evaluations: int) -> str:
        """Return the answer."""
        lost = _interval(chosen, "loss")
        ends = (chosen["energy_low_uj"], chosen["energy_high_uj"])
        known = None if None in ends or ends[0] != ends[0] else ends
        energy = with_range(chosen["energy_uj"], known, ".3g", "uJ")
        tuned = f", fine-tuned for {chosen['epochs']} epochs" if chosen["epochs"] else ""
        confirmed, reported = (self.bench(one).samples for one in (self.confirming, self.reporting))
        said = (
            f"{chosen['label']}{tuned}: {energy} an inference on "
            f"{text_of('area', chosen['area_mm2'])}, {lost} points of accuracy lost after {self.at} on "
            f"{chosen['chips']} chips and {len(reported):,} {reported.kind}, which took no part in the choice."
        )
        if not chosen["feasible"]:
            said += (
                f" So the budget of {text_of('loss', self.budgets['loss'])} does not hold there: it held where the "
                f"choice was made, with {chosen['confirmed_loss']:.2f} points lost on {len(confirmed):,} "
                f"{confirmed.kind}."
            )
        said += f" Found with {evaluations} of the {self.space.grid:,} evaluations of the grid."
        if against:
            more = _interval(against, "loss_more", form="{:+.2f}")
            said += (
                f" Against the best uniform hardware, {against['reference']}, it takes "
                f"{100 * against['energy_ratio']:.0f} % of the energy and {100 * against['area_ratio']:.0f} % of the "
                f"area, and loses {more} points more."
            )
        elif str(chosen["kind"]).startswith("uniform"):
            said += " It is uniform hardware: nothing else that was confirmed is better."
        return said


def _interval(row: Mapping[str, Any], name: str, form: str = "{:.2f}") -> str:
    """Return a figure with half of its interval, as far as it is known."""
    low, high = (math.nan if row[f"{name}_{end}"] is None else row[f"{name}_{end}"] for end in ("low", "high"))
    return format_interval(row[name], low, high, form=form)


def _as_set(space: Space, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as their knobs hold them: a table makes other numbers of them."""
    return {knob.name: next(value for value in knob.values if value == settings[knob.name]) for knob in space.knobs}


def pd_without(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table without what is no plain value."""
    import pandas as pd

    return pd.DataFrame([_plain_row(row) for row in rows])


def _measured(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what was measured at each point, without what tells the points."""
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    return [{name: _or_none(value) for name, value in row.items()} for row in rows]


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
