"""Physical constants of an accelerator: numbers with their unit, and where they come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from analognets.core.checked import Section

__all__ = [
    "Constant",
    "Gigahertz",
    "Kilobyte",
    "Microwatt",
    "Milliwatt",
    "Nanoseconds",
    "Nanowatt",
    "PerCycle",
    "Picojoule",
    "SquareMicrometre",
    "SquareMillimetre",
]


class Constant(Section):
    """A number with its unit and where it comes from.

    Args:
        value: the number, at least 0.
        unit: of the number.
        origin: a source, or how it was found.
        status: "verified" in a source that was opened, "memory": remembered, not checked, "derived" by arithmetic from
            others, "calibrated" on published totals, or an "assumption".

    Examples:
        >>> found = Constant(value=1.2, unit="pJ", origin="my chip's data sheet", status="verified")
        >>> found.value, found.status
        (1.2, 'verified')
    """

    value: Annotated[float, Field(ge=0, le=1e12)]
    unit: str
    origin: Annotated[str, Field(min_length=1, description="text that names a source")]
    status: Literal["verified", "memory", "derived", "calibrated", "assumption"]


def _in(unit: str) -> Any:
    """Return the type of a constant in this unit."""

    def check(constant: Constant) -> Constant:
        if constant.unit != unit:
            raise ValueError(f"unit must be {unit}")
        return constant

    description = f"a mapping with value, unit, origin and status whose unit is '{unit}'"
    return Annotated[Constant, AfterValidator(check), Field(description=description)]


Nanoseconds: Any = _in("ns")
Gigahertz: Any = _in("GHz")
PerCycle: Any = _in("1/cycle")
Milliwatt: Any = _in("mW")
Microwatt: Any = _in("uW")
Nanowatt: Any = _in("nW")
Picojoule: Any = _in("pJ")
SquareMicrometre: Any = _in("um^2")
SquareMillimetre: Any = _in("mm^2")
Kilobyte: Any = _in("kB")
