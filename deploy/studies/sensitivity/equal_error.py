"""Every effect raised to the same error of the products, one at a time, and what each costs a network."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.crossbar import Crossbar, possible_effects
from analognets.deploy.studies.sensitivity.one_effect import crossbars_of, standard_of
from analognets.deploy.studies.sensitivity.study import (
    Study,
    all_good,
    by_chip,
    point_of,
    relative_accuracy,
    standard_error,
)
from analognets.errors import AnalogNetsError, InvalidArgumentError, check_number
from analognets.metrics import chips_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["equal_error_study", "find_strength"]

TASK = "analognets.deploy.studies.sensitivity.equal_error:strength"
RESULTS = "equal_error.parquet"
ADC_BOUND = 10.0
PRODUCT_TEST = {"vectors": 400, "chips": 4}
SMALLEST, GROWTH, TOLERANCE = 1e-3, 3.0, 1e-3


def find_strength(
    crossbar: Crossbar,
    nonideality: str,
    target: float = 0.2,
    *,
    at: str | float = "1h",
    seed: int = 0,
    **test: Any,
) -> dict[str, float]:
    """Return how strong one effect must be for the standard product error to reach a target, all else as it is.

    The error is a smooth function of the strength, for all its draws come from one seed; its root is found by Brent's
    method. Bits are whole numbers, so that two of them enclose the target, and a fraction between them says where it
    lies (our reconstruction).

    Args:
        crossbar: the hardware; one without a fixed ADC bound is taken with a bound of 10, as the standard one has.
        nonideality: one of `list_effects`.
        target: product error to reach, such as 0.2.
        at: time since programming.
        seed: of the test.
        **test: further arguments of `analognets.crossbar.product_error`, such as size, vectors (400) and chips (4).

    Returns:
        strength; low and high, the strengths between which it lies (equal unless they are bits), and share, how far it
        is from low to high; standard, the strength of the hardware as it is (NaN for ideal converters);
        standard_product_error and product_error, at these two.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: the error is above the target already, or can't be brought there.

    Examples:
        >>> hardware = analognets.crossbar.get("aimc_standard")
        >>> found = find_strength(hardware, "output_noise", target=0.2, size=32, vectors=50, chips=1)
        >>> found["standard"], found["strength"] > 0.06, round(found["product_error"], 3)
        (0.04, True, 0.2)

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), first sensitivity analysis (verified).
    """
    target = check_number("find_strength", "target", target, 1e-3, 10.0)
    effect = crossbar.effect(nonideality)
    effect.check(crossbar)
    settings = {**PRODUCT_TEST, **test, "at": at, "seed": seed}

    def error(value: Any) -> float:
        from analognets.crossbar import product_error

        changed = effect.with_strength(crossbar, value)
        bound = ADC_BOUND if changed.adc_bound is None else None
        return product_error(changed, adc_bound=bound, **settings).error

    standard = effect.strength(crossbar)
    before = error(standard)
    if before >= target:
        raise InvalidArgumentError(
            f"The product error of the hardware '{crossbar.name}' is {100 * before:.1f} % already, so nothing can "
            f"raise it to {100 * target:.1f} %. Received: target={target!r}. Choose a higher target."
        )
    search = _search_bits if effect.fewer_is_worse else _search_strength
    found = search(error, standard, before, target, nonideality)
    return {**found, "standard": math.nan if standard is None else float(standard), "standard_product_error": before}


def _search_bits(
    error: Callable[[Any], float], standard: int | None, before: float, target: float, name: str
) -> dict[str, float]:
    above, last = standard or 17, before
    for bits in range(above - 1, 1, -1):
        now = error(bits)
        if now >= target:
            share = (target - last) / (now - last)
            low = float(bits + 1)
            return {"strength": low - share, "low": low, "high": float(bits), "share": share, "product_error": target}
        last = now
    raise InvalidArgumentError(f"Even 2 {name} make a product error of {100 * last:.1f} %, not {100 * target:.1f} %.")


def _search_strength(
    error: Callable[[Any], float], standard: float, before: float, target: float, name: str
) -> dict[str, float]:
    from scipy.optimize import brentq

    low, high = standard, standard * GROWTH or SMALLEST
    largest = before
    while True:
        try:
            now = error(high)
        except InvalidArgumentError:  # beyond what this effect can have
            raise InvalidArgumentError(
                f"No strength of {name} brings the product error to {100 * target:.1f} %; {low:g} makes "
                f"{100 * largest:.1f} %."
            ) from None
        if now >= target:
            break
        low, largest, high = high, max(largest, now), high * GROWTH
    root = brentq(lambda value: error(float(value)) - target, low, high, rtol=TOLERANCE, xtol=TOLERANCE * high)
    root = float(f"{root:.6g}")
    return {"strength": root, "low": root, "high": root, "share": 0.0, "product_error": error(root)}


def strength(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return the strength of one effect on one crossbar; a task of `sweep`."""
    crossbar = Crossbar.from_config(json.loads(point["hardware"]))
    test = {"at": settings["seconds"], "seed": settings["seed"], **settings["product_test"]}
    return find_strength(crossbar, point["nonideality"], settings["target"], **test)


def equal_error_study(
    networks: Any,
    folder: Any,
    *,
    nonidealities: Sequence[str] | None = None,
    target: float = 0.2,
    product_test: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, dict[str, Any]], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure what each effect costs at equal product error, without retraining.

        loss = (A_standard - A) / (A_standard - A_chance),   0 none, 1 guessing

    The strengths belong to the hardware, not to the networks: they are found once and kept in the folder.

    Args:
        networks: as in `sweep_nonideality`.
        folder: for the results; other networks, effects and studies may be added to it.
        nonidealities: of `list_effects`; None: all that the hardware can have.
        target: product error that each effect is raised to.
        product_test: other settings of `find_strength`'s test, such as {"vectors": 1000}.
        progress: called with (done, total, row) after each measured chip.
        **settings: as in `sweep_nonideality`.

    Returns:
        One row per network and effect: network, nonideality, standard, strength, product_error, accuracy,
        standard_accuracy, loss, standard_error (of the loss, over chips), chips, at, status and error, which says why
        an effect can't be brought to the target, and the ends of the 95 % intervals over chips: low and high of the
        accuracy, loss_low and loss_high of the loss, paired chip by chip. Also in equal_error.parquet.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: a value is out of range, or a device can't have an effect.
        RunError: the folder holds something else, or is in use.

    Examples:
        >>> table = equal_error_study(
        ...     analog, "studies", nonidealities=["output_noise"], product_test={"size": 32}, data=(x, y), chips=2
        ... )
        >>> table[["nonideality", "status"]].values.tolist()
        [['output_noise', 'ok']]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), first sensitivity analysis (verified).
    """
    import pandas as pd

    check_number("equal_error_study", "target", target, 1e-3, 10.0)
    study = Study(networks, folder, progress=progress, check=lambda model: check_one(model, nonidealities), **settings)
    hardware = {source.name: the_crossbar(source.model) for source in study.sources}
    wanted = {name: list(nonidealities or possible_effects(one)) for name, one in hardware.items()}
    keys = {name: json.dumps(_plain(one), sort_keys=True) for name, one in hardware.items()}
    points = list({(keys[name], effect): None for name in wanted for effect in wanted[name]})
    study.expect(len(points) + len(study.sources) * (study.chips + 1) + study.chips * sum(map(len, wanted.values())))
    found = study.run(
        [{"hardware": key, "nonideality": effect} for key, effect in points],
        "strengths",
        TASK,
        {
            **{name: study.settings[name] for name in ("seconds", "seed")},
            "target": target,
            "product_test": dict(product_test or {}),
        },
    )
    records: list[dict[str, Any]] = found.to_dict("records")  # type: ignore[assignment]
    strengths = {(row["hardware"], row["nonideality"]): row for row in records}
    if not any(row["status"] == "ok" for row in strengths.values()):
        raise AnalogNetsError(str(found["error"].iloc[0]).partition(": ")[2])
    references = study.references()
    plan = []
    for source in study.sources:
        plan += [point_of(source, chip) for chip in range(study.chips)]
        for effect in wanted[source.name]:
            for value in _ends(strengths[keys[source.name], effect]):
                plan += [point_of(source, chip, effect, value) for chip in range(study.chips)]
    measured = study.run(plan)
    rows = []
    for source in study.sources:
        own = measured[measured["network"] == source.name]
        for effect in wanted[source.name]:
            row = strengths[keys[source.name], effect]
            classes = references[source.name]["classes"]
            rows.append({"network": source.name, "nonideality": effect, **_result(own, effect, row, classes)})
    table = pd.DataFrame(rows).assign(at=study.at)
    study.write(RESULTS, table)
    study.finish()
    return table


def check_one(model: Any, nonidealities: Sequence[str] | None) -> None:
    """Raise unless a model has one hardware, which can have all of these effects."""
    check_all(model, nonidealities)
    the_crossbar(model)


def the_crossbar(model: Any) -> Crossbar:
    """Return the hardware of all layers of a model, whose product error is one number."""
    first, *others = crossbars_of(model)
    if others:
        raise InvalidArgumentError(
            "Effects of equal product error need all layers on the same hardware. Received: model "
            f"'{model.name}' with {1 + len(others)} different ones. Take threshold_study, or give all layers the same."
        )
    return first


def check_all(model: Any, nonidealities: Sequence[str] | None) -> None:
    """Raise unless the hardware of a model can have all of these effects, each with one strength in all layers now."""
    if nonidealities is not None and not len(nonidealities):
        raise InvalidArgumentError("`nonidealities` must hold at least one name. Received: none.")
    for crossbar in crossbars_of(model):
        for name in nonidealities or ():
            crossbar.effect(name).check(crossbar)
    for name in nonidealities or possible_effects(crossbars_of(model)[0]):
        standard_of(model, name)


def _plain(crossbar: Crossbar) -> dict[str, Any]:
    """Return the settings of a crossbar without what it is called."""
    return {**crossbar.get_config(), "source": ""}


def _ends(found: Mapping[str, Any]) -> list[float]:
    """Return the strengths to measure at: one, or the two whole numbers around a number of bits."""
    if found["status"] != "ok":
        return []
    return list(dict.fromkeys((float(found["low"]), float(found["high"]))))


def _result(measured: pd.DataFrame, effect: str, found: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """Return what one effect costs one network."""
    if found["status"] != "ok":
        return {"status": "failed", "error": str(found["error"]).partition(": ")[2] or found["error"]}
    standard = by_chip(all_good(measured[measured["nonideality"].isna()]))
    of_effect = all_good(measured[measured["nonideality"] == effect])
    low, high = (by_chip(of_effect[of_effect["value"] == found[end]]) for end in ("low", "high"))
    accuracies = low + found["share"] * (high - low)
    network = str(measured["network"].iloc[0])
    relative = relative_accuracy(accuracies, standard.mean(), classes, network)
    paired = relative - relative_accuracy(standard, standard.mean(), classes, network)
    mean, lost = chips_interval(accuracies), chips_interval(-paired)
    return {
        **{name: found[name] for name in ("standard", "strength", "product_error", "standard_product_error")},
        "accuracy": float(np.mean(accuracies)),
        "standard_accuracy": float(standard.mean()),
        "loss": float(1.0 - np.mean(relative)),
        "standard_error": standard_error(paired),
        "chips": len(standard),
        "status": "ok",
        "error": None,
        "low": mean.low,
        "high": mean.high,
        "loss_low": lost.low,
        "loss_high": lost.high,
    }
