"""The non-idealities of the realistic crossbar of Rasch et al. 2023."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from keras import ops

from analognets.crossbar.nonideality import Column, NonIdeality, Term, draw_normal
from analognets.crossbar.registry import register_nonideality
from analognets.devices.strengths import as_factor
from analognets.errors import InvalidArgumentError, check_choice, check_number

__all__ = [
    "ADCGainSpread",
    "ADCNonlinearity",
    "ADCOffsetSpread",
    "InputNoise",
    "IRDrop",
    "OutputNoise",
    "PolarityAsymmetry",
    "ShortTermNoise",
    "StuckDevices",
]


SHARES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2)
PLACES = ("zero", "g_max", "random")

# They are registered, and so act, in the order in which they stand here.


@register_nonideality("analognets")
class InputNoise(NonIdeality):
    """Gaussian noise on the inputs, between DAC and array: x' = x + sigma * N, anew at each product.

    Args:
        deviation: sigma >= 0, inputs being in [-1, 1]. Not in the standard model (0).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> noise = InputNoise(deviation=0.1)
        >>> hardware = analognets.crossbar.Crossbar(dac_bits=None, adc_bits=None, nonidealities=[noise])
        >>> outputs = analognets.crossbar.forward(hardware, np.zeros((10_000, 1)), np.ones((1, 1)), seed=0)
        >>> print(np.std(outputs).round(2))
        0.1

    Source: aihwkit, `inp_noise` of IOParameters (verified).
    """

    deviation: float
    name: ClassVar[str] = "input_noise"
    title: ClassVar[str] = "noise of the inputs"
    unit: ClassVar[str] = "full scale 1"

    def input_disturbance(self, shape: Any, seed: Any) -> Any:
        """Return sigma * N."""
        return self.deviation * draw_normal(shape, seed, self.name)


@register_nonideality("analognets")
class StuckDevices(NonIdeality):
    """Devices that can't be programmed: with probability p, G = 0, G = g_max or G uniform in [0, g_max], for ever.

    Which devices these are is part of the programmed chip (`analognets.crossbar.program`); on one chip, those of a
    small share are also among those of a larger one. It acts on the single devices of a pair, and only on the active
    one where the crossbar has `inactive_device="off"`.

    Args:
        share: p from 0 to 1.
        at: "zero", "g_max" or "random".

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> stuck = StuckDevices(share=0.1, at="zero")
        >>> hardware = analognets.crossbar.Crossbar(device="ideal", nonidealities=[stuck])
        >>> state = analognets.crossbar.program(hardware, np.ones((100, 100)), seed=0)
        >>> print(np.mean(analognets.crossbar.read(hardware, state, "1d") == 0).round(2))
        0.1

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), sensitivity analysis (verified).
    """

    share: float
    at: str = "zero"
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {f"stuck_at_{at}": {"at": at} for at in PLACES}
    strength_field: ClassVar[str] = "share"
    title: ClassVar[str] = "share of devices stuck at {at}"
    scan: ClassVar[Sequence[float]] = SHARES
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"share": (0.0, 1.0)}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("StuckDevices", "at", self.at, PLACES)

    @property
    def name(self) -> str:
        """stuck_at_zero, stuck_at_g_max or stuck_at_random."""
        return f"stuck_at_{self.at}"

    def values(self, place: Any, value: Any) -> Any:
        """Return G / g_max of stuck devices and -1 for the others, from two arrays of numbers uniform in [0, 1)."""
        level = {"zero": ops.zeros_like(value), "g_max": ops.ones_like(value), "random": value}[self.at]
        return ops.where(place < self.share, level, -1.0)


@register_nonideality("analognets")
class IRDrop(NonIdeality):
    """Voltage lost along the wires: the more current a column carries, the less arrives from its far rows.

        z_i' = z_i - f * c_i * sum_j w_ij x_j (1 - (1 - j/n)^2)
        c = 0.05 a^3 - 0.2 a^2 + 0.5 a,   a_i = R_w * g * n * sum_j |w_ij| |x_j|

    n is the number of rows in use, j = 0 the row next to the read-out.

    Args:
        factor: f >= 0; 1 is the standard model.
        wire_resistance: R_w of one cell's piece of wire in Ohm, >= 0.
        conductance: g in uS that weights of 1 have here, >= 0. The paper has 5 uS in this place (and 25 uS as g_max of
            its noise model); so has aihwkit.
        polynomial: coefficients of a, a^2, a^3.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> hardware = analognets.crossbar.Crossbar(dac_bits=None, adc_bits=None, nonidealities=[IRDrop()])
        >>> x, w = np.ones((1, 512)), np.full((512, 1), 0.25)
        >>> print(np.round(x @ w, 2), np.round(analognets.crossbar.forward(hardware, x, w), 2))
        [[128.]] [[123.33]]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 16 to 18 (verified); the position weight also in aihwkit
    (verified). The authors say that it under-estimates the drop about 5 x for correlated inputs.
    """

    factor: float = 1.0
    wire_resistance: float = 0.35
    conductance: float = 5.0
    polynomial: Sequence[float] = (0.5, -0.2, 0.05)
    name: ClassVar[str] = "ir_drop"
    title: ClassVar[str] = "IR drop"
    unit: ClassVar[str] = "1 as published"
    strength_field: ClassVar[str] = "factor"
    bounds: ClassVar[dict[str, tuple[float, float]]] = {
        "factor": (0.0, 1e4),
        "wire_resistance": (0.0, 1e6),
        "conductance": (0.0, 1e6),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        values = tuple(check_number("IRDrop", "polynomial", value) for value in self.polynomial)
        if not values:
            raise InvalidArgumentError("`polynomial` of IRDrop must hold at least one number. Received: none.")
        object.__setattr__(self, "polynomial", values)

    def terms(self, kernel: Any, periphery: Any) -> Sequence[Term]:
        """Return a_i and sum_j w_ij x_j (1 - (1 - j/n)^2)."""
        shape = kernel.shape[:-1]
        rows = math.prod(shape)
        position = 1.0 - (1.0 - np.arange(rows) / rows) ** 2
        position = ops.convert_to_tensor(position.reshape(*shape, 1), dtype=kernel.dtype)
        load = self.wire_resistance * self.conductance * 1e-6 * rows
        weights = kernel * (position * as_factor(-self.factor, kernel.dtype))
        return Term("magnitude", ops.abs(kernel) * load), Term("signed", weights)

    def offset(self, products: Sequence[Any]) -> Any:
        """Return -f * c(a) * weighted sum; -f is in the kernel of the sum."""
        load, weighted = products
        share = self.polynomial[-1]
        for coefficient in reversed(self.polynomial[:-1]):
            share = share * load + coefficient
        return (share * load) * weighted


@register_nonideality("analognets")
class ShortTermNoise(NonIdeality):
    """Noise of the devices within one product, anew at each, as it arrives at the outputs.

        law "pcm":       sd_i = sigma * sqrt( sum_j |w_ij| x_j^2 )
        law "constant":  sd   = sigma * sqrt( sum_j x_j^2 )

    Args:
        deviation: sigma >= 0 as a share of g_max; 0.0175 is the standard model, 0.01 with law "constant" that of ReRAM.
        law: how the noise of a device goes with its conductance: "pcm" (variance in proportion) or "constant".

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> noise = ShortTermNoise(deviation=0.01, law="constant")
        >>> hardware = analognets.crossbar.Crossbar(dac_bits=None, adc_bits=None, nonidealities=[noise])
        >>> outputs = analognets.crossbar.forward(hardware, np.ones((10_000, 4)), np.ones((4, 1)), seed=0)
        >>> print(np.std(outputs).round(3))
        0.02

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 14 (verified); "constant" as ADDITIVE_CONSTANT of aihwkit
    (verified). Exact: a weighted sum of independent Gaussian numbers is Gaussian.
    """

    deviation: float = 0.0175
    law: str = "pcm"
    name: ClassVar[str] = "short_term_noise"
    title: ClassVar[str] = "short-term noise of a weight"
    unit: ClassVar[str] = "g_max is 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("ShortTermNoise", "law", self.law, ("pcm", "constant"))

    def terms(self, kernel: Any, periphery: Any) -> Sequence[Term]:
        """Return the variance, sigma^2 folded in."""
        cells = ops.abs(kernel) if self.law == "pcm" else ops.ones_like(kernel[..., :1])
        return (Term("square", cells * as_factor(self.deviation**2, kernel.dtype)),)

    def variance(self, products: Sequence[Any]) -> Any:
        """Return the variance of each output."""
        return products[0]


class _PerColumn(NonIdeality):
    """What has one number per column."""

    def periphery_shape(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return (outputs,)."""
        return kernel_shape[-1:]


@register_nonideality("analognets")
class ADCNonlinearity(_PerColumn):
    """S-shaped response of the ADC, different in each column.

        z' = P z / (1 + |zeta_i z|),   zeta_i = mu (1 + sigma N_i),   P = (1 + z_1 * mean_k |zeta_k|)^2

    Args:
        curvature: mu >= 0, 1/4 in the sensitivity analysis, 0 in the standard model.
        spread: sigma >= 0, the relative spread over columns.
        slope_one_at: z_1 >= 0, the output at which the mean slope is 1; 0 makes it the slope at zero.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> hardware = analognets.crossbar.Crossbar(
        ...     dac_bits=None, adc_bits=None, nonidealities=[ADCNonlinearity(curvature=0.25, spread=0.0)]
        ... )
        >>> weights = np.array([[0.5, 1.0], [0.5, 1.0]])
        >>> print(np.round(analognets.crossbar.forward(hardware, np.ones((1, 2)), weights, seed=0), 3))
        [[1.8 3. ]]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 19; that the bracket of P is squared is our reading, which
    aihwkit's `slope_calibration` supports (verified).
    """

    curvature: float = 0.25
    spread: float = 0.0
    slope_one_at: float = 2.0
    name: ClassVar[str] = "adc_nonlinearity"
    title: ClassVar[str] = "curvature of the ADC"
    strength_field: ClassVar[str] = "curvature"
    bounds: ClassVar[dict[str, tuple[float, float]]] = {
        "curvature": (0.0, 1e3),
        "spread": (0.0, 1e3),
        "slope_one_at": (0.0, 1e3),
    }

    def periphery_shape(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return (outputs,), or None if all columns are alike."""
        return kernel_shape[-1:] if self.spread else None

    def response(self, outputs: Any, periphery: Any, column: Column) -> Any:
        """Return P z / (1 + |zeta z|)."""
        differences = self.spread * periphery if self.spread else ops.zeros(outputs.shape[column.axis])
        zeta = ops.abs(self.curvature * (1.0 + differences))
        prefactor = ops.square(1.0 + self.slope_one_at * ops.mean(zeta))
        zeta = ops.cast(column.along(zeta), outputs.dtype)
        return ops.cast(prefactor, outputs.dtype) * outputs / (1.0 + zeta * ops.abs(outputs))


@register_nonideality("analognets")
class PolarityAsymmetry(NonIdeality):
    """Devices that read differently for negative inputs, which have a phase of their own.

        z_i' = z_i - sum_j a_ij w_ij max(-x_j, 0),   a_ij = sigma N_ij

    Added behind the non-linearity of the ADC, as aihwkit orders it. Inputs that are never negative don't see it.

    Args:
        deviation: sigma >= 0. Not in the standard model (0).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> asymmetry = PolarityAsymmetry(deviation=0.1)
        >>> hardware = analognets.crossbar.Crossbar(dac_bits=None, adc_bits=None, nonidealities=[asymmetry])
        >>> x, w = np.array([[1.0, 1.0], [-1.0, -1.0]]), np.ones((2, 1))
        >>> (analognets.crossbar.forward(hardware, x, w, seed=0).numpy() == x @ w).tolist()
        [[True], [False]]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), sensitivity analysis (verified).
    """

    deviation: float
    name: ClassVar[str] = "polarity_asymmetry"
    title: ClassVar[str] = "asymmetry of the polarities"

    def periphery_shape(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the kernel."""
        return kernel_shape

    def terms(self, kernel: Any, periphery: Any) -> Sequence[Term]:
        """Return sum_j a_ij w_ij max(-x_j, 0)."""
        return (Term("negative", kernel * ops.cast(periphery * self.deviation, kernel.dtype)),)

    def offset(self, products: Sequence[Any]) -> Any:
        """Return what the negative phase gets too much, with its sign."""
        return -products[0]


@register_nonideality("analognets")
class OutputNoise(NonIdeality):
    """Gaussian noise at the ADC, anew at each product: z' = z + sigma * N.

    Args:
        deviation: sigma >= 0 in units of the outputs; 0.04 is the standard model, half a step of an 8-bit ADC with the
            bound 10.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> noise = OutputNoise(deviation=0.04)
        >>> hardware = analognets.crossbar.Crossbar(dac_bits=None, adc_bits=None, nonidealities=[noise])
        >>> outputs = analognets.crossbar.forward(hardware, np.zeros((10_000, 1)), np.ones((1, 1)), seed=0)
        >>> print(np.std(outputs).round(2))
        0.04

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 2 (verified).
    """

    deviation: float = 0.04
    name: ClassVar[str] = "output_noise"
    title: ClassVar[str] = "noise of the outputs"
    unit: ClassVar[str] = "1 is a full input on a full weight"

    def variance(self, products: Sequence[Any]) -> Any:
        """Return sigma^2."""
        return self.deviation**2


@register_nonideality("analognets")
class ADCGainSpread(_PerColumn):
    """ADCs of different gain: z' = z (1 + sigma N_i).

    Args:
        deviation: sigma >= 0. Not in the standard model (0).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> hardware = analognets.crossbar.get("aimc_standard").with_nonideality(ADCGainSpread(deviation=0.02))
        >>> hardware.nonideality("adc_gain_spread")
        ADCGainSpread(deviation=0.02)

    Source: ours; the paper has no such term.
    """

    deviation: float
    name: ClassVar[str] = "adc_gain_spread"
    title: ClassVar[str] = "spread of the ADC gain"

    def response(self, outputs: Any, periphery: Any, column: Column) -> Any:
        """Return z (1 + sigma N_i)."""
        return outputs * ops.cast(column.along(1.0 + self.deviation * periphery), outputs.dtype)


@register_nonideality("analognets")
class ADCOffsetSpread(_PerColumn):
    """ADCs of different offset: z' = z + sigma N_i.

    Args:
        deviation: sigma >= 0 in units of the outputs. Not in the standard model (0).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> hardware = analognets.crossbar.get("aimc_standard").with_nonideality(ADCOffsetSpread(deviation=0.1))
        >>> hardware.strengths()["adc_offset_spread"]
        0.1

    Source: ours; the paper has no such term.
    """

    deviation: float
    name: ClassVar[str] = "adc_offset_spread"
    title: ClassVar[str] = "spread of the ADC offset"

    def response(self, outputs: Any, periphery: Any, column: Column) -> Any:
        """Return z + sigma N_i."""
        return outputs + ops.cast(column.along(self.deviation * periphery), outputs.dtype)
