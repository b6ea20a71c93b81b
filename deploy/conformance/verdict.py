"""Whether a simulator conforms to a bundle, and the named rule behind each difference."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from analognets.deploy.conformance.bundle import Bundle, Moment, Quantity, products
from analognets.deploy.conformance.law import RULES, Rules
from analognets.deploy.conformance.runners import Observations
from analognets.errors import ChipFileError

__all__ = ["Departure", "Difference", "Verdict", "judge"]

OF_DEVICES = ("read_noise_reference", "pair", "drift_clock")
OF_CONVERTERS = ("dac", "adc")
TITLES = {
    "read_noise_reference": "conductance in the read noise",
    "pair": "devices of a pair",
    "drift_clock": "drift clock",
    "dac": "quantiser of the inputs",
    "adc": "quantiser of the results",
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """A moment, or a product, that is not as expected.

    Args:
        what: "std of read at 86400 s, 0.25 uS" or "product_quantised".
        expected: by the bundle.
        found: in the simulator.
        sigmas: how many standard errors apart; of products how many ADC steps at most.
        rule: the rule that explains it, or "unexplained".
    """

    what: str
    expected: float
    found: float
    sigmas: float
    rule: str


@dataclasses.dataclass(frozen=True)
class Departure:
    """A rule that a simulator applies in another way than the bundle.

    Args:
        rule: its name in `Rules`.
        expected: what the bundle says.
        found: what the simulator does.
    """

    rule: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{TITLES[self.rule]} ({self.rule}): '{self.found}' instead of '{self.expected}'"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a bundle says of a simulator.

    Args:
        tool: its name.
        version: its version.
        compared: how many moments and products.
        departures: rules that it applies in another way.
        differences: each one with its rule.
        skipped: what was not compared, and why.

    Examples:
        >>> bundle = analognets.deploy.conformance.open_bundle(bundle_folder)
        >>> verdict = judge(bundle, analognets.deploy.conformance.observe(bundle, "analognets"))
        >>> verdict.tool, verdict.departures
        ('analognets', ())
    """

    tool: str
    version: str
    compared: int
    departures: tuple[Departure, ...]
    differences: tuple[Difference, ...]
    skipped: dict[str, str]

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """Differences that no rule explains."""
        return tuple(one for one in self.differences if one.rule == "unexplained")

    @property
    def conforms(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**dataclasses.asdict(self), "conforms": self.conforms, "statement": str(self)}

    def __str__(self) -> str:
        skipped = f" Not compared: {len(self.skipped)} ({'; '.join(sorted({*self.skipped.values()}))})."
        end = skipped if self.skipped else ""
        if self.conforms:
            return f"{self.tool} {self.version} conforms in all {self.compared} figures compared.{end}"
        said = "; ".join(map(str, self.departures)) or "no rule explains them"
        more = f" {len(self.unexplained)} are explained by no rule." if self.departures and self.unexplained else ""
        count = f"{len(self.differences)} of {self.compared} figures"
        return f"{self.tool} {self.version} differs in {count}: {said}.{more}{end}"


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A moment as a simulator shows it, and its standard errors."""

    expected: Moment
    mean: float
    std: float
    mean_error: float
    std_error: float


def judge(bundle: Bundle, found: Observations) -> Verdict:
    """Compare what a simulator gave with a bundle.

    The expected moments are those of the bundle. Where some differ, all ways of applying the rules are tried; the one
    that leaves the fewest unexplained is named, and of several the one that departs in the fewest. Each difference goes
    to the departure that moves that figure most.

    Args:
        bundle: opened.
        found: from `observe`.

    Raises:
        ChipFileError: an array has another shape, is not finite, or is missing without a reason.

    Examples:
        >>> bundle = analognets.deploy.conformance.open_bundle(bundle_folder)
        >>> verdict = judge(bundle, analognets.deploy.conformance.observe(bundle, "analognets"))
        >>> verdict.conforms
        True
    """
    check(bundle, found)
    by_products = list(of_products(bundle, found))
    seen = list(seen_moments(bundle, found))
    departures, differences = of_moments(bundle, seen)
    rules = {one.rule: one for one in departures}
    for difference, choices in by_products:
        differences.append(difference)
        rules |= {one.rule: one for one in choices}
    compared = 2 * len(seen) + sum(name.startswith("product") for name in found.arrays)
    return Verdict(found.tool, found.version, compared, tuple(rules.values()), tuple(differences), found.skipped)


def check(bundle: Bundle, found: Observations) -> None:
    """Raise unless the arrays are those that the bundle asks for."""
    weights, chips = bundle.arrays["weights"].shape, bundle.case.chips
    wanted = {name: bundle.arrays[name].shape for name in ("product_ideal", "product_quantised")}
    wanted |= {name: (chips, *weights) for name in names_of_weights(bundle)}
    for name, shape in wanted.items():
        if name not in found.arrays and name not in found.skipped:
            raise ChipFileError(f"The results of {found.tool} lack '{name}', and don't say why it was skipped.")
        values = found.arrays.get(name)
        if values is not None and (values.shape != shape or values.dtype.kind not in "fiu"):
            raise ChipFileError(
                f"'{name}' in the results of {found.tool} must be numbers of shape {shape}. Received: "
                f"{values.dtype} of shape {values.shape}."
            )
        if values is not None and not np.isfinite(values).all():
            raise ChipFileError(f"'{name}' in the results of {found.tool} must hold finite numbers.")
    if strange := sorted(set(found.arrays) - set(wanted)):
        raise ChipFileError(f"The results of {found.tool} hold '{strange[0]}', which is nothing the bundle asks for.")


def names_of_weights(bundle: Bundle) -> dict[str, tuple[Quantity, int | None]]:
    """Return quantity and number of the time of each array of weights."""
    names: dict[str, tuple[Quantity, int | None]] = {"weights_programmed": ("programmed", None)}
    for number in range(len(bundle.case.times)):
        names[f"weights_drifted_{number}"] = "drifted", number
        names[f"weights_read_{number}"] = "read", number
    return names


def seen_moments(bundle: Bundle, found: Observations) -> Iterator[_Seen]:
    """Yield the moments of each level that a simulator shows."""
    expected = {(one.quantity, one.time, one.level_us): one for one in bundle.case.moments}
    targets = bundle.targets
    sign, size = np.where(targets < 0, -1.0, 1.0), np.abs(targets)
    for name, (quantity, time) in names_of_weights(bundle).items():
        if name not in found.arrays:
            continue
        values = found.arrays[name].astype(np.float64) * bundle.case.law.g_max * sign
        for level in sorted({one.level_us for one in bundle.case.moments}):
            cells = values[:, np.isclose(size, level, atol=1e-4)].ravel()
            std = float(cells.std())
            away = (cells - cells.mean()) ** 2
            error = math.sqrt(float(away.var()) / cells.size) / (2 * std) if std else 0.0
            yield _Seen(expected[quantity, time, level], float(cells.mean()), std, std / math.sqrt(cells.size), error)


def sigmas(bundle: Bundle, seen: _Seen, moment: Moment) -> tuple[float, float]:
    """Return how far mean and standard deviation are from a moment, 1 where a difference begins to count."""
    allowed = bundle.case.tolerance

    def over(value: float, wanted: float, error: float) -> float:
        return abs(value - wanted) / (allowed.sigmas * error + allowed.relative * abs(wanted) + allowed.absolute_us)

    return over(seen.mean, moment.mean_us, seen.mean_error), over(seen.std, moment.std_us, seen.std_error)


def of_moments(bundle: Bundle, seen: list[_Seen]) -> tuple[list[Departure], list[Difference]]:
    """Return the departures that explain the moments of a simulator, and each difference with its rule."""
    own = bundle.case.rules
    wrong = [
        (place, part)
        for place, one in enumerate(seen)
        for part in (0, 1)
        if sigmas(bundle, one, one.expected)[part] > 1
    ]
    if not wrong:
        return [], []
    ways = {rules: predicted(bundle, rules, seen) for rules in ways_of(own)}
    fits = {rules: fit(bundle, seen, moments) for rules, moments in ways.items()}
    best = min(ways, key=lambda rules: (fits[rules][0], departing(own, rules), fits[rules][1]))
    named = [Departure(name, getattr(own, name), getattr(best, name)) for name in OF_DEVICES
             if getattr(own, name) != getattr(best, name)]  # fmt: skip
    differences = []
    for place, part in wrong:
        one, moment = seen[place], ways[best][place]
        explained = sigmas(bundle, one, moment)[part] <= 1
        rule = most_moving(ways, own, best, place, part) if explained and named else "unexplained"
        differences.append(described(bundle, one, part, rule))
    return named, differences


def ways_of(own: Rules) -> list[Rules]:
    """Return all ways of applying the rules of devices."""
    choices = itertools.product(*(RULES[name] for name in OF_DEVICES))
    return [Rules(**{**own.model_dump(), **dict(zip(OF_DEVICES, choice, strict=True))}) for choice in choices]


def departing(own: Rules, other: Rules) -> int:
    """Return in how many rules two ways differ."""
    return sum(getattr(own, name) != getattr(other, name) for name in RULES)


def predicted(bundle: Bundle, rules: Rules, seen: list[_Seen]) -> list[Moment]:
    """Return the moments under some rules in the order of those seen."""
    by_place = {(one.quantity, one.time, one.level_us): one for one in bundle.moments(rules)}
    return [by_place[one.expected.quantity, one.expected.time, one.expected.level_us] for one in seen]


def fit(bundle: Bundle, seen: list[_Seen], moments: list[Moment]) -> tuple[int, float]:
    """Return how many moments a way leaves unexplained, and how far all are away."""
    apart = [value for one, moment in zip(seen, moments, strict=True) for value in sigmas(bundle, one, moment)]
    return sum(value > 1 for value in apart), math.fsum(value**2 for value in apart)


def most_moving(ways: dict[Rules, list[Moment]], own: Rules, best: Rules, place: int, part: int) -> str:
    """Return the departure without which a figure would move most, of those between two ways."""
    name = ("mean_us", "std_us")[part]
    full = getattr(ways[best][place], name)

    def moves(rule: str) -> float:
        without = Rules(**{**best.model_dump(), rule: getattr(own, rule)})
        return abs(getattr(ways[without][place], name) - full)

    return max((rule for rule in OF_DEVICES if getattr(own, rule) != getattr(best, rule)), key=moves)


def described(bundle: Bundle, one: _Seen, part: int, rule: str) -> Difference:
    """Return a difference of a moment."""
    moment = one.expected
    when = "" if moment.time is None else f" at {bundle.case.times[moment.time]:g} s"
    expected, found = ((moment.mean_us, one.mean), (moment.std_us, one.std))[part]
    error = (one.mean_error, one.std_error)[part]
    what = f"{('mean', 'std')[part]} of {moment.quantity}{when}, {moment.level_us:g} uS"
    return Difference(what, expected, found, abs(found - expected) / error if error else math.inf, rule)


def of_products(bundle: Bundle, found: Observations) -> Iterator[tuple[Difference, list[Departure]]]:
    """Yield the products that differ, and the converters that explain them."""
    case, own = bundle.case, bundle.case.rules
    allowed, quantiser = case.tolerance, case.quantiser
    ideal, quantised = (found.arrays.get(name) for name in ("product_ideal", "product_quantised"))
    if ideal is not None:
        wanted = bundle.arrays["product_ideal"]
        away = float(np.abs(ideal - wanted).max() / np.abs(wanted).max())
        if away > allowed.product:
            yield Difference("product_ideal, largest error over largest value", 0.0, away, away, "unexplained"), []
    if quantised is None:
        return
    step = quantiser.adc_range / (2 ** (quantiser.adc_bits - 1) - 1)

    def off(rules: Rules) -> tuple[float, float]:
        wanted = products(rules, quantiser, bundle.arrays["weights"], bundle.arrays["inputs"])
        apart = np.abs(quantised - wanted) / step
        return float((apart > allowed.steps).mean()), float(apart.max())

    share, most = off(own)
    if share <= allowed.share and most <= 1 + allowed.steps:
        return
    ways = [
        Rules(**{**own.model_dump(), "dac": dac, "adc": adc})
        for dac, adc in itertools.product(RULES["dac"], RULES["adc"])
    ]
    good = [rules for rules in ways if off(rules)[0] <= allowed.share and off(rules)[1] <= 1 + allowed.steps]
    best = min(good, key=lambda rules: (departing(own, rules), off(rules)[0]), default=None)
    named = [] if best is None else [
        Departure(name, getattr(own, name), getattr(best, name)) for name in OF_CONVERTERS
        if getattr(own, name) != getattr(best, name)
    ]  # fmt: skip
    rule = " and ".join(one.rule for one in named) or "unexplained"
    yield Difference("product_quantised, share of results that differ", 0.0, share, most, rule), named
