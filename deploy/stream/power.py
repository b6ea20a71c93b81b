"""Mean power of an accelerator that listens: inferences at a steady rate, and idling between them."""

from __future__ import annotations

import dataclasses
from typing import Any

from analognets.deploy.accelerator.constants import Constant
from analognets.deploy.accelerator.costs import Cost, with_range
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["NOT_COUNTED", "DutyCycle", "duty_cycle"]

NOT_COUNTED = (
    "Not counted: the microphone with its converter, the MFCC front end, softmax, smoothing and detector, waking up, "
    "and leakage while gated."
)


@dataclasses.dataclass(frozen=True)
class DutyCycle:
    """What listening takes on an accelerator; made by `duty_cycle`.

    Args:
        accelerator: its name.
        bits: of the converters.
        energy_uj: of one inference.
        latency_us: of one inference.
        inferences_per_second: how often the network runs.
        idle_uw: power between inferences, while gated.
        static_uw: power of the common parts of an array that is not gated; 0 if the energy law has no such term.
        energy_range_uj: least and largest energy of one inference that the published figures allow; None if not known.
        power_ungated_range_uw: the same of the mean power with the array's common parts left on.

    Examples:
        >>> cost = analognets.deploy.cost(model, bits=8)
        >>> cycle = analognets.deploy.stream.duty_cycle(cost, 10.0)
        >>> cycle.inferences_per_second, 0 < cycle.duty < 1
        (10.0, True)
    """

    accelerator: str
    bits: int
    energy_uj: float
    latency_us: float
    inferences_per_second: float
    idle_uw: float
    static_uw: float
    energy_range_uj: tuple[float, float] | None = None
    power_ungated_range_uw: tuple[float, float] | None = None

    @property
    def duty(self) -> float:
        """Share of the time in which the accelerator works."""
        return self.latency_us * self.inferences_per_second / 1e6

    @property
    def power_uw(self) -> float:
        """Mean power in uW with gating: P = E f + P_idle (1 - duty)."""
        return self._power_uw(self.energy_uj)

    @property
    def power_range_uw(self) -> tuple[float, float] | None:
        """Least and largest mean power in uW with gating that the published figures allow; None if not known."""
        if self.energy_range_uj is None:
            return None
        low, high = self.energy_range_uj
        return self._power_uw(low), self._power_uw(high)

    def _power_uw(self, energy_uj: float) -> float:
        return energy_uj * self.inferences_per_second + self.idle_uw * (1 - self.duty)

    @property
    def power_ungated_uw(self) -> float:
        """Mean power in uW where the common parts of the array stay on, all that the cost model knows of idling."""
        return self.power_uw + self.static_uw * (1 - self.duty)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        powers = {"duty": self.duty, "power_uw": self.power_uw, "power_ungated_uw": self.power_ungated_uw}
        ends = {
            f"{name}_{end}_{unit}": None if pair is None else pair[place]
            for name, unit, pair in (
                ("energy", "uj", self.energy_range_uj),
                ("power", "uw", self.power_range_uw),
                ("power_ungated", "uw", self.power_ungated_range_uw),
            )
            for place, end in enumerate(("low", "high"))
        }
        own = {name: value for name, value in dataclasses.asdict(self).items() if "_range_" not in name}
        return {**own, **powers, **ends, "not_counted": NOT_COUNTED}

    def __str__(self) -> str:
        ungated = f", {self.power_ungated_uw:,.0f} uW with the array's common parts left on" if self.static_uw else ""
        power = with_range(self.power_uw, self.power_range_uw, ".1f", "uW mean power")
        return (
            f"{self.accelerator} at {self.bits} bit: {self.energy_uj:.2f} uJ x {self.inferences_per_second:g}/s = "
            f"{power} (duty cycle {100 * self.duty:.3f} %, {self.idle_uw:g} uW between "
            f"inferences{ungated}). {NOT_COUNTED}"
        )


def duty_cycle(cost: Cost, inferences_per_second: float, *, idle_uw: float = 0.0) -> DutyCycle:
    """Return the mean power of an accelerator that runs a network at a steady rate.

    Devices keep their state without power, so between inferences the array can be switched off; what is left then is no
    part of the cost model and is given as `idle_uw`.

    Args:
        cost: of one inference, from `analognets.deploy.cost`.
        inferences_per_second: above 0, at most what the accelerator can do.
        idle_uw: power between inferences in uW, 0 to 1e9.

    Raises:
        InvalidArgumentError: the accelerator is too slow for that rate, or a number is out of range.

    Examples:
        >>> found = duty_cycle(analognets.deploy.cost(model, bits=8), 10.0, idle_uw=1.0)
        >>> found.power_uw > 1.0
        True

    Source: our reconstruction.
    """
    rate = check_number("duty_cycle", "inferences_per_second", inferences_per_second, 1e-6, 1e9)
    check_number("duty_cycle", "idle_uw", idle_uw, 0, 1e9, unit="uW")
    if rate > cost.inferences_per_second:
        raise InvalidArgumentError(
            f"{cost.accelerator.name} does {cost.inferences_per_second:,.0f} inferences a second of this network. "
            f"Received: {rate:,g}. Run the network less often."
        )
    static = getattr(cost.accelerator.energy, "static", None)
    static_uw = 1e3 * static.value if isinstance(static, Constant) else 0.0
    own = (cost.accelerator.name, cost.bits, cost.energy_uj, cost.latency_us, rate, float(idle_uw), static_uw)
    found = DutyCycle(*own, cost.energy_range_uj)
    always = {term: count * rate / 1e6 for term, count in cost.events.items()}  # uW for a constant of 1
    always["static"] += 1e3 * (1 - found.duty)
    ends = cost.constant_set.bounds_pj(always)
    idle = found.idle_uw * (1 - found.duty)
    return dataclasses.replace(found, power_ungated_range_uw=None if ends is None else (ends[0] + idle, ends[1] + idle))
