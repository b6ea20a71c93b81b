"""What runs a conformance bundle: our devices and converters, a reference under any rules, and other simulators."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from analognets._version import __version__
from analognets.core.files import read_plain
from analognets.deploy.conformance import run_peer
from analognets.deploy.conformance.bundle import Bundle, products
from analognets.deploy.conformance.law import Rules, draw_weights
from analognets.errors import AnalogNetsError, ChipFileError, UnknownNameError, reason

__all__ = ["TOOLS", "Observations", "ReferenceRunner", "observe"]

MAX_RESULTS = 1 << 31


@dataclasses.dataclass(frozen=True)
class Observations:
    """What a simulator gave for a bundle.

    Args:
        tool: its name.
        version: its version.
        arrays: by name, as the bundle's `about` says.
        skipped: why the others are not there, by name.
    """

    tool: str
    version: str
    arrays: dict[str, np.ndarray]
    skipped: dict[str, str]


@dataclasses.dataclass(frozen=True)
class ReferenceRunner:
    """The law of a bundle drawn with NumPy under any rules; with others than the bundle's it shows what they change.

    Args:
        rules: None: those of the bundle.
        ideal: without programming noise, drift, read noise and converters: its products are plain ones.
        seed: of the draws.

    Examples:
        >>> bundle = analognets.deploy.conformance.open_bundle(bundle_folder)
        >>> found = ReferenceRunner(rules=analognets.deploy.conformance.Rules(pair="collapsed"))
        >>> found.seed
        0
    """

    rules: Rules | None = None
    ideal: bool = False
    seed: int = 0

    def __call__(self, bundle: Bundle) -> Observations:
        """Run a bundle."""
        case, rng = bundle.case, np.random.default_rng(self.seed)
        rules = self.rules or case.rules
        weights, inputs = bundle.arrays["weights"], bundle.arrays["inputs"]
        plain = inputs.astype(np.float64) @ weights.astype(np.float64)
        if self.ideal:
            why = "ideal settings: no noise, no converters"
            names = {*run_peer.law_names(case.model_dump()), "product_quantised"}
            return Observations("reference", __version__, {"product_ideal": plain}, dict.fromkeys(sorted(names), why))
        found = {"product_ideal": plain, "product_quantised": products(rules, case.quantiser, weights, inputs)}
        reads: list[tuple[str, float | None, bool]] = [("weights_programmed", None, False)]
        for number, seconds in enumerate(case.times):
            reads += [(f"weights_{name}_{number}", seconds, name == "read") for name in ("drifted", "read")]
        for name, at, read in reads:
            drawn = [draw_weights(case.law, rules, bundle.targets, at, read=read, rng=rng) for _ in range(case.chips)]
            found[name] = np.stack(drawn) / case.law.g_max
        return Observations("reference", __version__, found, {})


def ours(bundle: Bundle) -> Observations:
    """Run a bundle with this package's devices, which keep both of a pair, and its converters, which are symmetric."""
    import keras

    from analognets.crossbar.converters import convert
    from analognets.devices import PCM

    case, law = bundle.case, bundle.case.law
    weights, inputs = bundle.arrays["weights"], bundle.arrays["inputs"].astype(np.float32)

    def device(read: bool) -> PCM:
        return PCM(
            g_max=law.g_max,
            t_0=law.t_0,
            t_read=law.t_read,
            drift_clock=case.rules.drift_clock,
            read_noise_reference=case.rules.read_noise_reference,
            read_noise_scale=float(read),
            programming_fit=law.programming,
            programming_fit_g_max=law.g_max,
            drift_mean_fit=law.drift_mean,
            drift_spread_fit=law.drift_spread,
            read_noise_fit=law.read_noise,
        )

    quantiser = case.quantiser
    levels = convert(inputs, quantiser.dac_range, quantiser.dac_bits)
    analog = keras.ops.matmul(levels, weights)
    quantised = convert(analog, quantiser.adc_range, quantiser.adc_bits)
    found = {
        "product_ideal": np.asarray(keras.ops.matmul(inputs, weights)),
        "product_quantised": np.asarray(quantised),
    }
    targets = np.stack([np.maximum(bundle.targets, 0), np.maximum(-bundle.targets, 0)]).astype(np.float32)
    chips: dict[str, list[np.ndarray]] = {}

    def keep(name: str, conductances: Any) -> None:
        values = np.asarray(conductances)
        chips.setdefault(name, []).append((values[0] - values[1]) / law.g_max)

    for chip in range(case.chips):
        state = device(True).program(targets, seed=chip)
        keep("weights_programmed", state["conductance"])
        for number, seconds in enumerate(case.times):
            keep(f"weights_drifted_{number}", device(False).read(state, seconds))
            keep(f"weights_read_{number}", device(True).read(state, seconds, seed=1000 * number + chip))
    return Observations("analognets", __version__, {**found, **{k: np.stack(v) for k, v in chips.items()}}, {})


def peer(tool: str) -> Callable[[Bundle], Observations]:
    """Return what runs a bundle with another simulator, or takes the results that its script wrote."""

    def run(bundle: Bundle) -> Observations:
        path = bundle.folder / "results" / f"{tool}.npz"
        if not path.exists():
            script = f"or run `python {bundle.folder / 'run_peer.py'} {tool}` where it is installed."
            try:
                run_peer.run(tool, bundle.folder)
            except ImportError as error:
                raise AnalogNetsError(
                    f"{tool} is not installed here ({reason(error)}). Install it, {script}"
                ) from error
            except Exception as error:  # a foreign program may raise anything
                kind = type(error).__name__
                raise AnalogNetsError(f"{tool} could not run this bundle: {kind}, {reason(error)}.") from error
        return read_results(path, tool, bundle)

    return run


def read_results(path: Any, tool: str, bundle: Bundle) -> Observations:
    """Read a file of results.

    Raises:
        ChipFileError: it is no such file, or of another bundle.
    """
    content = read_plain(path, f"results of {tool}", limit=MAX_RESULTS, error=ChipFileError)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        skipped = json.loads(str(arrays.pop("skipped", "{}")))
        version = str(arrays.pop("version", "unknown"))
        ran = str(arrays.pop("bundle", bundle.case.sha256))
        reasons = {str(name): str(why) for name, why in skipped.items()}
    except Exception as error:  # NumPy raises many kinds for a broken file
        raise ChipFileError(f"'{path}' is no file of results of a conformance bundle: {reason(error)}.") from error
    if ran != bundle.case.sha256:
        raise ChipFileError(f"'{path}' holds results of another bundle than '{bundle.folder}'. Run {tool} again.")
    return Observations(tool, version, arrays, reasons)


TOOLS: dict[str, Callable[[Bundle], Observations]] = {
    "analognets": ours,
    "reference": ReferenceRunner(),
    **{name: peer(name) for name in run_peer.PEERS},
}
"""What can run a bundle."""


def observe(bundle: Bundle, tool: str) -> Observations:
    """Run a bundle with a tool, or read the results that it left in the folder.

    Args:
        bundle: opened.
        tool: a key of `TOOLS`, or the name of a file of results: results/NAME.npz.

    Raises:
        UnknownNameError: there is no such tool and no such file.
        AnalogNetsError: it is not installed, or failed.

    Examples:
        >>> bundle = analognets.deploy.conformance.open_bundle(bundle_folder)
        >>> found = observe(bundle, "analognets")
        >>> found.tool
        'analognets'
    """
    if tool in TOOLS:
        return TOOLS[tool](bundle)
    path = bundle.folder / "results" / f"{tool}.npz"
    if "/" in tool or "\\" in tool or not path.exists():
        raise UnknownNameError("simulator", tool, TOOLS, "Results of another one go into results/NAME.npz.")
    return read_results(path, tool, bundle)
