"""A conformance bundle: weights, inputs, device law, rules, expected moments and tolerances in one neutral folder."""

from __future__ import annotations

import io
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from analognets.core.checked import Section, checking_file
from analognets.core.files import MAX_JSON, new_folder, read_plain, write_json
from analognets.core.provenance import sha256_of
from analognets.deploy.conformance.law import Law, Rules, quantise, weight_moments
from analognets.errors import ChipFileError, check_integer

__all__ = ["ARRAYS", "INDEX", "SCRIPT", "Bundle", "Case", "Moment", "open_bundle", "write_bundle"]

INDEX, ARRAYS, SCHEMA, SCRIPT = "conformance.json", "arrays.npz", "conformance.schema.json", "run_peer.py"
LEVELS = (0.0, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0)
"""Targets in uS of the packaged bundle; both signs."""
TIMES = (25.0, 86_400.0, 31_536_000.0)
ROWS, COLS, INPUTS = 256, 128, 64
MAX_ARRAYS = 1 << 28
Quantity = Literal["programmed", "drifted", "read"]
ABOUT = [
    "weights: (rows, cols) in [-1, 1]; a weight of 1 has G+ = g_max and G- = 0. One tile, no scaling, no bias.",
    "inputs: (samples, rows). A product is inputs @ weights.",
    "Results go into results/TOOL.npz: product_ideal and product_quantised (samples, cols); weights_programmed, "
    "weights_drifted_K and weights_read_K (chips, rows, cols) in units of the weights, K the number of the time; "
    "skipped: JSON text, the reason by the name of each array that is left out; version; bundle: its sha256.",
    "programmed: right after programming, without drift and read noise. drifted: at a time, without read noise. "
    "read: at a time with it. No drift compensation.",
    "Moments: of sign(weight) x (G+ - G-) in uS over all weights of a level and all chips.",
]


class Quantiser(Section):
    """The converters of `product_quantised`.

    Args:
        dac_bits: of inputs.
        dac_range: full scale of inputs.
        adc_bits: of results.
        adc_range: full scale of results.
    """

    dac_bits: Annotated[int, Field(ge=2, le=16)] = 8
    dac_range: Annotated[float, Field(gt=0)] = 1.0
    adc_bits: Annotated[int, Field(ge=2, le=16)] = 8
    adc_range: Annotated[float, Field(gt=0)] = 12.0


class Moment(Section):
    """What is expected of the weights of a level.

    Args:
        quantity: what was done to the weights.
        time: its number; null right after programming.
        level_us: target of the device that is not at 0.
        mean_us: of sign(weight) x (G+ - G-).
        std_us: its standard deviation.
    """

    quantity: Quantity
    time: int | None
    level_us: float
    mean_us: float
    std_us: float


class Tolerance(Section):
    """When a difference counts.

    Args:
        sigmas: standard errors of a mean or standard deviation.
        relative: of a moment, on top.
        absolute_us: of a moment, on top.
        product: of an ideal product, as a share of its largest value.
        steps: of a quantised product, in ADC steps.
        share: of quantised results that may be one step off, where sums are rounded in another order.
    """

    sigmas: float = 5.0
    relative: float = 0.004
    absolute_us: float = 0.002
    product: float = 1e-5
    steps: float = 0.01
    share: float = 0.01


class Case(Section):
    """The index of a bundle.

    Args:
        format: of these files.
        about: how to read the arrays.
        law: of the devices.
        rules: by which it is applied.
        times: in seconds since programming.
        chips: how many a runner programmes.
        quantiser: converters.
        tolerance: when a difference counts.
        moments: expected.
        sha256: of the arrays.
    """

    format: Literal[1] = 1
    about: list[str] = ABOUT
    law: Law
    rules: Rules
    times: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    chips: Annotated[int, Field(ge=1, le=1000)]
    quantiser: Quantiser
    tolerance: Tolerance
    moments: list[Moment]
    sha256: str


class Bundle:
    """An opened bundle.

    Args:
        folder: where it lies.
        case: its index.
        arrays: "weights", "inputs", "product_ideal" and "product_quantised".

    Examples:
        >>> bundle = open_bundle(bundle_folder)
        >>> sorted(bundle.arrays)
        ['inputs', 'product_ideal', 'product_quantised', 'weights']
    """

    def __init__(self, folder: Path, case: Case, arrays: dict[str, np.ndarray]) -> None:
        self.folder, self.case, self.arrays = folder, case, arrays
        self._moments: dict[Rules, list[Moment]] = {case.rules: case.moments}

    @property
    def targets(self) -> np.ndarray:
        """Signed targets in uS."""
        return np.asarray(self.arrays["weights"], np.float64) * self.case.law.g_max

    def moments(self, rules: Rules) -> list[Moment]:
        """Return the moments under some rules; those of the bundle's own are stored in it."""
        own = self.case.rules
        rules = rules.model_copy(update={"dac": own.dac, "adc": own.adc})  # of products only
        if rules not in self._moments:
            case, levels = self.case, sorted({one.level_us for one in self.case.moments})
            made = moments_of(case.law, rules, levels, case.times, top_of(case.law, self.arrays["weights"]))
            self._moments[rules] = made
        return self._moments[rules]


def moments_of(law: Law, rules: Rules, levels: Any, times: Any, top: float) -> list[Moment]:
    """Return all moments of a bundle under some rules."""
    wanted: list[tuple[Quantity, int | None]] = [("programmed", None)]
    wanted += [("drifted", number) for number in range(len(times))] + [("read", number) for number in range(len(times))]
    found = []
    for quantity, number in wanted:
        seconds = None if number is None else times[number]
        for level in levels:
            pair = weight_moments(law, rules, level, seconds, read=quantity == "read", top=top)
            found.append(Moment(quantity=quantity, time=number, level_us=level, mean_us=pair[0], std_us=pair[1]))
    return found


def products(case_rules: Rules, quantiser: Quantiser, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return the quantised product under some rules, in double precision."""
    taken = quantise(inputs.astype(np.float64), quantiser.dac_bits, quantiser.dac_range, case_rules.dac)
    return quantise(taken @ weights.astype(np.float64), quantiser.adc_bits, quantiser.adc_range, case_rules.adc)


def write_bundle(
    folder: Any,
    *,
    law: Law | None = None,
    rules: Rules | None = None,
    times: tuple[float, ...] = TIMES,
    chips: int = 6,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write a conformance bundle: conformance.json, its schema, arrays.npz and a script that runs other simulators.

    Args:
        folder: new.
        law: of the devices; None: PCM as documented by aihwkit, g_max 25 uS.
        rules: by which it is applied; None: as documented.
        times: since programming in seconds.
        chips: that each runner programmes, 1 to 1000.
        seed: of weights and inputs.
        overwrite: replace a bundle that is there.

    Raises:
        ChipFileError: there is such a folder, or it can't be written.
        InvalidArgumentError: a number is out of range.

    Examples:
        >>> folder = write_bundle("bundle", chips=2, times=(25.0,))
        >>> sorted(path.name for path in folder.iterdir())[:2]
        ['arrays.npz', 'conformance.json']
    """
    check_integer("write_bundle", "chips", chips, 1, 1000)
    check_integer("write_bundle", "seed", seed, 0, 2**31 - 1)
    law, rules, quantiser = law or Law(), rules or Rules(), Quantiser()
    rng = np.random.default_rng(seed)
    levels = [level * law.g_max / LEVELS[-1] for level in LEVELS]
    signed = np.array([*levels, *(-level for level in levels)])
    chosen = np.concatenate([signed, rng.choice(signed, ROWS * COLS - len(signed))])
    weights = (rng.permutation(chosen).reshape(ROWS, COLS) / law.g_max).astype(np.float32)
    step = quantiser.dac_range / (2 ** (quantiser.dac_bits - 1) - 1)
    whole = rng.integers(-150, 151, (INPUTS, ROWS))  # some beyond full scale
    inputs = ((whole + rng.uniform(-0.45, 0.45, whole.shape)) * step).astype(np.float32)  # none near a tie
    arrays = {
        "weights": weights,
        "inputs": inputs,
        "product_ideal": inputs.astype(np.float64) @ weights.astype(np.float64),
        "product_quantised": products(rules, quantiser, weights, inputs),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    case = Case(
        law=law,
        rules=rules,
        times=list(times),
        chips=chips,
        quantiser=quantiser,
        tolerance=Tolerance(),
        moments=moments_of(law, rules, levels, times, top_of(law, weights)),
        sha256=sha256_of(content.getvalue()),
    )
    with new_folder(
        Path(folder), "files of a conformance bundle", ChipFileError, overwrite=overwrite, index=INDEX
    ) as draft:
        (draft / ARRAYS).write_bytes(content.getvalue())
        (draft / SCHEMA).write_text(json.dumps(Case.model_json_schema(), indent=1) + "\n", "utf-8")
        with resources.as_file(resources.files("analognets.deploy.conformance") / SCRIPT) as script:
            shutil.copy(script, draft / SCRIPT)
        write_json(draft / INDEX, case.model_dump(mode="json"), error=ChipFileError)
    return Path(folder)


def top_of(law: Law, weights: np.ndarray) -> float:
    """Return how far the largest programmed weight of a tile is expected above g_max, as a factor."""
    from scipy.special import ndtri

    full = int((np.abs(weights) > 1 - 1e-6).sum())
    deviation = float(np.hypot(sum(law.programming), law.programming[0]))
    return float(1 + deviation * ndtri((full - 0.375) / (full + 0.25)) / law.g_max) if full > 1 else 1.0


def open_bundle(folder: Any) -> Bundle:
    """Open a bundle.

    Raises:
        ChipFileError: it is missing, changed or not valid.

    Examples:
        >>> bundle = open_bundle(bundle_folder)
        >>> bundle.arrays["weights"].ndim
        2
    """
    place = Path(folder)
    hint = "Make one with `analognets conformance write FOLDER`."
    content = read_plain(place / INDEX, "conformance bundle", limit=MAX_JSON, error=ChipFileError, hint=hint)
    with checking_file(f"'{place / INDEX}' is not valid", ChipFileError, f"Its rules are in '{SCHEMA}'."):
        case = Case.model_validate_json(content)
    stored = read_plain(place / ARRAYS, "arrays of the conformance bundle", limit=MAX_ARRAYS, error=ChipFileError)
    if sha256_of(stored) != case.sha256:
        raise ChipFileError(f"'{place / ARRAYS}' was changed since the bundle was written (sha256 differs). {hint}")
    with np.load(io.BytesIO(stored), allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    if missing := {"weights", "inputs", "product_ideal", "product_quantised"} - set(arrays):
        raise ChipFileError(f"'{place / ARRAYS}' must hold {', '.join(sorted(missing))}. {hint}")
    return Bundle(place, case, arrays)
