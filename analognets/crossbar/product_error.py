"""How far the product of a crossbar is from the exact one: the standard test of Rasch et al. 2023."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from analognets.crossbar.cells import program, read
from analognets.crossbar.effects import device_noises
from analognets.crossbar.forward import draw_periphery, forward
from analognets.crossbar.hardware import Crossbar
from analognets.devices import derive_seed
from analognets.errors import check_integer, check_number

__all__ = ["ProductError", "product_error"]


@dataclasses.dataclass(frozen=True)
class ProductError:
    """What `product_error` measured.

    Args:
        error: mean over the chips, as a share (0.15 is 15 %).
        standard_error: of that mean; NaN for one chip.
        chips: how many there were.
    """

    error: float
    standard_error: float
    chips: int


def product_error(
    crossbar: Crossbar,
    *,
    at: str | float | None = "1h",
    size: int | None = None,
    vectors: int = 1000,
    chips: int = 4,
    weight_deviation: float = 0.246,
    input_range: float = 1.0,
    adc_bound: float | None = None,
    drift_compensation: bool = True,
    seed: int = 0,
) -> ProductError:
    """Return the error of products of random inputs and random weights on one full tile.

    eps = < || y - y_analog ||_2 > / < || y ||_2 >,   w ~ N(0, 0.246) cut at +-1,  x ~ U(-1, 1)

    where < > is the mean over input vectors and y the exact product of the same weights.

    Args:
        crossbar: the hardware.
        at: time of the reading since programming, text or seconds; None: right after programming, with neither drift
            nor long-term read noise.
        size: rows and columns in use, at most those of the tile; None: all of them.
        vectors: number of input vectors.
        chips: number of chips, each with weights, inputs and noise of its own.
        weight_deviation: standard deviation of the weights, 1 being g_max.
        input_range: alpha, the range of the DAC.
        adc_bound: bound of the ADC for a crossbar that has no fixed one; see `forward`.
        drift_compensation: whether to scale the outputs back, if the crossbar can.
        seed: whole number >= 0; the same seed gives the same weights, inputs and draws to any crossbar.

    Raises:
        InvalidArgumentError: a number is out of range.

    Examples:
        >>> found = product_error(analognets.crossbar.get("aimc_standard"), size=64, vectors=100, chips=2)
        >>> round(found.error, 2), found.chips
        (0.16, 2)

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 20: about 15 % for the standard model (verified). That 0.246
    is the standard deviation and that weights are cut at +-1 is our reading.
    """
    most = min(crossbar.rows, crossbar.cols)
    size = most if size is None else check_integer("product_error", "size", size, 1, most)
    check_integer("product_error", "vectors", vectors, 1, 10_000_000)
    check_integer("product_error", "chips", chips, 1, 1_000_000)
    check_number("product_error", "weight_deviation", weight_deviation, 1e-6, 1e6)
    check_number("product_error", "input_range", input_range, 1e-6, 1e6)
    if at is None:
        crossbar = crossbar.without(
            *(one.name for one in device_noises(crossbar.device) if one.name != "programming_noise")
        )
        at = crossbar.device.first_reading
    settings: dict[str, Any] = {"input_range": input_range, "adc_bound": adc_bound, "compensated": drift_compensation}
    errors = []
    for chip in range(chips):
        sample = _Sample(size, vectors, weight_deviation, derive_seed(seed, "product error", chip))
        errors.append(sample.error(crossbar, at, **settings))
    spread = float(np.std(errors, ddof=1) / np.sqrt(chips)) if chips > 1 else float("nan")
    return ProductError(float(np.mean(errors)), spread, chips)


class _Sample:
    """The weights, inputs and seed of one chip."""

    def __init__(self, size: int, vectors: int, weight_deviation: float, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng(seed)
        self.weights = np.clip(rng.normal(0.0, weight_deviation, (size, size)), -1.0, 1.0).astype("float32")
        self.inputs = rng.uniform(-1.0, 1.0, (vectors, size)).astype("float32")

    def error(
        self, crossbar: Crossbar, at: str | float, *, input_range: float, adc_bound: float | None, compensated: bool
    ) -> float:
        state = program(crossbar, self.weights, seed=derive_seed(self.seed, "program"))
        now = read(crossbar, state, at, seed=derive_seed(self.seed, "read"))
        scales: dict[str, Any] = {}
        rule = crossbar.drift_compensation
        if rule is not None and compensated:
            first = read(crossbar, state, crossbar.device.first_reading, seed=derive_seed(self.seed, "reference"))
            responses = [ops.convert_to_numpy(rule.response(one)).reshape(1, -1) for one in (first, now)]
            output_scale, input_scale = rule.correction(*responses)
            scales = {"output_scale": output_scale[0] if output_scale.size > 1 else output_scale[0, 0]}
            scales["input_scale"] = None if input_scale is None else input_scale[0]
        outputs = forward(
            crossbar,
            self.inputs,
            now,
            input_range=input_range,
            adc_bound=adc_bound,
            seed=derive_seed(self.seed, "products"),
            periphery=draw_periphery(crossbar, self.weights.shape, derive_seed(self.seed, "chip")),
            straight_through=False,
            **scales,
        )
        exact = self.inputs.astype("float64") @ self.weights.astype("float64")
        difference = exact - ops.convert_to_numpy(outputs)
        return float(np.linalg.norm(difference, axis=1).mean() / np.linalg.norm(exact, axis=1).mean())
