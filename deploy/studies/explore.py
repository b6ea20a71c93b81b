"""Exploring chips: accuracy after a day against speed, energy and area, over bits, arrays, ADCs, clipping and noise."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.core.files import write_atomically
from analognets.deploy.studies.explore_point import forget_data
from analognets.deploy.studies.other_hardware import RANGES
from analognets.deploy.studies.samples import check_place, on_one_data_set
from analognets.deploy.studies.sweep import point_key, sweep
from analognets.errors import AnalogNetsError, InvalidArgumentError, check_choice, check_integer, check_number
from analognets.metrics import spread_interval
from analognets.units import parse_duration
from analognets.zoo.trained import TrainedNetwork, open_trained

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["explore", "pareto_front"]

TASK = "analognets.deploy.studies.explore_point:measure"
ACCURACY, RETRAINED, RESULTS = "accuracy", "retrained", "explore.parquet"
OBJECTIVES = {"accuracy": 1, "tops_per_watt": 1, "area_mm2": -1}
"""What is wanted high (1) or low (-1)."""
INSTEAD = "explore takes runs and presets. For a model file use `analognets design FILE.keras --data FILE.npz`."
"""What to do with a network whose data are not known."""
RANGES_OF_ENERGY = ("tops_per_watt_low", "tops_per_watt_high", "energy_low_uj", "energy_high_uj", "energy_status")
"""How far the energy of a point is known; empty in explorations that were stored before."""


def explore(
    networks: str | Path | Sequence[str | Path],
    folder: Any,
    *,
    bits: Sequence[int] = (8, 6, 4),
    arrays: Sequence[tuple[int, int]] = ((1024, 512),),
    adcs: Sequence[int] = (128,),
    clip: Sequence[float] = (),
    eta: Sequence[float] = (),
    data: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    limit: int | None = None,
    chips: int = 5,
    at: str | float = "1d",
    seed: int = 0,
    ranges: str = "calibrated",
    retrain_epochs: int = 1,
    accelerator: Any = "aon_cim",
    workers: int = 1,
    ray: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> pd.DataFrame:
    """Measure networks on all combinations of chip settings; go on where an earlier call was interrupted.

    Bits and arrays reuse the trained weights: where they change the arithmetic, the network is mapped anew and the
    converter ranges are set again on training data. ADC sharing changes time, energy and area only. Clipping and noise
    (`clip`, `eta`) need training: stage 2 of the recipe is repeated for `retrain_epochs`, from the trained weights.

    Args:
        networks: folders of finished runs or handles of presets.
        folder: for the results; made if need be.
        bits: of DACs and ADCs, 2 to 16 (the accelerator may have fewer).
        arrays: (rows, columns) of an array.
        adcs: converters of an array, at most its columns.
        clip: W_max in standard deviations of the kernels; empty: as trained.
        eta: training noise as a share of W_max; empty: as trained.
        data: folder of real data, "synthetic", or None: as in training.
        data_options: further options of the data set's loader.
        limit: most test samples, spread evenly; None: all.
        chips: how many are programmed at each point.
        at: time since programming.
        seed: of the chips.
        ranges: "kept" keeps the trained converter ranges where bits or arrays change, see `on_hardware`.
        retrain_epochs: of the short training that clip and eta need.
        accelerator: whose timing, energy and area constants are taken; array and ADCs are replaced.
        workers: processes on this machine.
        ray: run on a Ray cluster.
        overwrite: forget what is in the folder.
        progress: called with (done, total, row) after each measured point.

    Returns:
        One row a combination: network, bits, rows, cols, adcs, clip, eta, status, error, accuracy (mean), accuracy_std,
        chips, at, samples, digital_accuracy, weights, ranges, tops_per_watt, energy_uj, inferences_per_second,
        latency_us, area_mm2, utilisation, arrays, and whether it is on the Pareto front; accuracy_low and
        accuracy_high, the ends of the 95 % interval over chips; bound, the accuracy that at least the share bound_share
        of all chips has (`analognets.metrics.chips_bound`; None for points of earlier versions).
        energy_status and the ends of the ranges of TOPS/W and energy say what is fitted and what predicted, see
        `analognets.deploy.accelerator.intervals.ConstantSet`. Also in explore.parquet.

    Raises:
        InvalidArgumentError: an option is out of range.
        RunError: the folder holds another exploration, or something else.

    Examples:
        >>> table = explore(run, "explored", bits=[8], data=speech, chips=2, limit=10)
        >>> table[["bits", "status", "samples"]].values.tolist()
        [[8, 'ok', 10]]
    """
    sources = [networks] if isinstance(networks, (str, Path)) else list(networks)
    check_options(bits, arrays, adcs, clip, eta)
    check_integer("explore", "retrain_epochs", retrain_epochs, 1, 100_000)
    settings = settings_of(data, data_options, limit, chips=chips, at=at, seed=seed, ranges=ranges)
    opened = [open_trained(source, wants=("analog", "recipe"), instead=INSTEAD) for source in sources]
    forget_data()
    root = Path(folder)
    combined = list(itertools.product(opened, bits, arrays, clip or (None,), eta or (None,)))
    plan = [as_point(*combination, retrain_epochs) for combination in combined]
    costs = figures_of(Costs(opened, accelerator), combined, plan, adcs)
    measured = sweep(
        TASK,
        plan,
        root / ACCURACY,
        settings=settings,
        context={"retrained": str((root / RETRAINED).resolve())},
        workers=workers,
        ray=ray,
        overwrite=overwrite,
        progress=progress,
    )
    measured = on_one_data_set(measured, root / ACCURACY)
    by_key = dict(zip(dict.fromkeys(map(point_key, plan)), _records(measured), strict=True))
    rows = [
        {**with_ends(by_key[point_key(point)]), "at": at, "adcs": count, **costs[number, count]}
        for (number, point), count in itertools.product(enumerate(plan), adcs)
    ]
    table = finished(rows)
    write_atomically(root / RESULTS, lambda part: table.to_parquet(part, index=False))
    return table


def with_ends(row: dict[str, Any]) -> dict[str, Any]:
    """Return a measured point with the interval of its accuracy, which points of earlier versions lack."""
    known = all(row.get(name) is not None for name in ("accuracy", "accuracy_std", "chips"))
    if row.get("accuracy_low") is not None or not known:
        return row
    found = spread_interval(row["accuracy"], row["accuracy_std"], int(row["chips"]))
    ends = {"accuracy_low": found.low, "accuracy_high": found.high}
    return {**row, **{name: None if end != end else end for name, end in ends.items()}}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain values; what is missing is None."""
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records


def check_options(bits: Any, arrays: Any, adcs: Any, clip: Any, eta: Any) -> None:
    """Raise unless every value to explore is in range."""
    for name, values in (("bits", bits), ("arrays", arrays), ("adcs", adcs)):
        if not values:
            raise InvalidArgumentError(f"`{name}` of explore must hold at least one value. Received: {values!r}.")
    for count in bits:
        check_integer("explore", "bits", count, 2, 16)
    for rows, cols in arrays:
        check_integer("explore", "arrays", rows, 1, 1 << 20)
        check_integer("explore", "arrays", cols, 1, 1 << 20)
    for count in adcs:
        check_integer("explore", "adcs", count, 1, 1 << 20)
    for value in clip:
        check_number("explore", "clip", value, 0.1, 100)
    for value in eta:
        check_number("explore", "eta", value, 0, 1)


def settings_of(
    data: str | None,
    options: Mapping[str, Any] | None,
    limit: int | None,
    *,
    chips: int,
    at: str | float,
    seed: int,
    ranges: str,
) -> dict[str, Any]:
    """Return the settings that all points share, checked; what they mean is said in `explore`."""
    check_place(data)
    if limit is not None:
        check_integer("explore", "limit", limit, 1, 1 << 40)
    settings = {
        "data": data if data in (None, "synthetic") else str(Path(data).resolve()),
        "data_options": dict(options or {}),
        "limit": limit,
        "chips": check_integer("explore", "chips", chips, 1, 1_000_000),
        "seconds": parse_duration(at),
        "seed": check_integer("explore", "seed", seed, 0, 2**31 - 1),
    }
    check_choice("explore", "ranges", ranges, RANGES)
    # Explorations that were stored before there was a choice go on: they are "calibrated".
    return settings if ranges == "calibrated" else {**settings, "ranges": ranges}


def as_point(
    network: TrainedNetwork, bits: int, array: tuple[int, int], clip: float | None, eta: float | None, epochs: int
) -> dict[str, Any]:
    """Return a point of the sweep; the weights are part of it, so that new ones are measured anew."""
    from analognets.deploy.chips.origin import model_fingerprint

    return {
        "network": network.name,
        "source": network.handle,
        "fingerprint": model_fingerprint(network.model)[:16],
        "bits": int(bits),
        "rows": int(array[0]),
        "cols": int(array[1]),
        "clip": None if clip is None else float(clip),
        "eta": None if eta is None else float(eta),
        "retrain_epochs": None if clip is None and eta is None else int(epochs),
    }


class Costs:
    """What each network costs on variants of an accelerator."""

    def __init__(self, networks: Sequence[TrainedNetwork], accelerator: Any) -> None:
        from analognets.deploy.accelerator import load_accelerator, workload

        self.chip = load_accelerator(accelerator)
        self.work = {network.handle: workload(network.model) for network in networks}

    def of(self, network: TrainedNetwork, point: Mapping[str, Any], adcs: int) -> dict[str, Any]:
        """Return the figures of a point; of one that is not possible, the reason."""
        from analognets.deploy.accelerator import cost
        from analognets.deploy.accelerator.workload import width_of
        from analognets.deploy.studies.other_hardware import hardware_with

        try:
            array = {"rows": point["rows"], "cols": point["cols"]}
            chip = self.chip.replace(array=array, adcs=adcs)
            bits = width_of(hardware_with(network.model, point["bits"]))  # DACs may be wider than the ADCs
            found = cost(self.work[network.handle], chip, bits=bits)
        except AnalogNetsError as error:
            return {"status": "failed", "error": str(error)}
        names = ("tops_per_watt", "energy_uj", "inferences_per_second", "latency_us", "area_mm2", "utilisation")
        known = found.ranges()
        ranges = {name: known[name] for name in RANGES_OF_ENERGY}
        return {**{name: getattr(found, name) for name in names}, **ranges, "arrays": found.placement.arrays}


def figures_of(costs: Costs, combined: Sequence[Any], plan: Sequence[Any], adcs: Sequence[int]) -> dict[Any, Any]:
    """Return the cost of every combination, known before anything slow is done.

    Raises:
        InvalidArgumentError: not one of them is possible.
    """
    found = {
        (number, count): costs.of(combination[0], point, count)
        for (number, (combination, point)), count in itertools.product(
            enumerate(zip(combined, plan, strict=True)), adcs
        )
    }
    if all(one.get("status") == "failed" for one in found.values()):
        raise InvalidArgumentError(f"None of these combinations is possible. {next(iter(found.values()))['error']}")
    return found


def finished(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the table of an exploration with its Pareto front marked."""
    import pandas as pd

    first = ("network", "bits", "rows", "cols", "adcs", "clip", "eta", "status", "accuracy", "accuracy_std")
    figures = ("tops_per_watt", "energy_uj", "inferences_per_second", "latency_us", "area_mm2", "utilisation")
    last = (
        *RANGES_OF_ENERGY,
        "arrays",
        "chips",
        "at",
        "samples",
        "digital_accuracy",
        "weights",
        "ranges",
        "seconds",
        "error",
    )
    ends = ("accuracy_low", "accuracy_high", "bound", "bound_share")
    names = [*first, *figures, *last, "source", "fingerprint", *ends]
    table = pd.DataFrame([{name: row.get(name) for name in names} for row in rows], columns=names)
    table.insert(len(first), "pareto", pareto_front(table))
    return table


def pareto_front(table: pd.DataFrame, objectives: Mapping[str, int] = OBJECTIVES) -> list[bool]:
    """Return for each row whether no other row is as good in everything and better in something.

    Args:
        table: with the columns of `objectives`; rows that lack one are never on the front.
        objectives: 1 for a column that should be high, -1 for low.
    """
    import numpy as np

    values = np.array([[float(x) if x is not None else np.nan for x in table[name]] for name in objectives]).T
    values = values.reshape(-1, len(objectives)) * np.array(list(objectives.values()))
    whole = ~np.isnan(values).any(axis=1)
    return [
        bool(whole[i]) and not ((values >= row).all(axis=1) & (values > row).any(axis=1) & whole).any()
        for i, row in enumerate(values)
    ]
