"""Published efficiencies that the energy constants of an accelerator are held to, as counted events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from analognets.core.checked import Section

__all__ = ["PRECISION", "PublishedFigure"]

PRECISION = 0.03
"""Relative precision of a published figure unless it says another: what the packaged constants meet all figures of
AnalogNets within; the paper's own two printings of them are up to 2 % apart."""


class PublishedFigure(Section):
    """An efficiency that energy constants c must give: |operations / sum(c x events) / figure - 1| <= precision.

    Args:
        name: of what ran: a network, or "full array".
        bits: at this precision of the converters.
        tops_per_watt: as published, above 0.
        precision: relative, above 0 and below 1.
        status: "verified" in a source that was opened, "memory": remembered, or "given": by who calibrated.
        scaled: the constants are those of another chip times one unknown factor, which all scaled figures share.
        operations: multiplications and additions of an inference.
        events: pJ of an inference for a constant of 1, by term (`analognets.deploy.accelerator.energy.TERMS`).
    """

    name: Annotated[str, Field(min_length=1)]
    bits: Annotated[int, Field(ge=1, le=64)]
    tops_per_watt: Annotated[float, Field(gt=0, le=1e9)]
    precision: Annotated[float, Field(gt=0, lt=1)] = PRECISION
    status: Literal["verified", "memory", "given"] = "given"
    scaled: bool = False
    operations: Annotated[int, Field(ge=1)]
    events: dict[str, Annotated[float, Field(ge=0)]]

    @property
    def energy_pj(self) -> tuple[float, float]:
        """Least and largest energy of an inference in pJ within the precision."""
        middle = self.operations / self.tops_per_watt
        return middle / (1 + self.precision), middle / (1 - self.precision)

    def __str__(self) -> str:
        return f"{self.tops_per_watt:g} TOPS/W of {self.name} at {self.bits} bit"
