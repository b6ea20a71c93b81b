"""When each layer runs: passes of the array and the work of the digital pipeline, layer after layer."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping

from analognets.deploy.accelerator.placement import Placement
from analognets.deploy.accelerator.workload import LayerWork

__all__ = ["LayerTime", "schedule"]


@dataclasses.dataclass(frozen=True)
class LayerTime:
    """The time of one layer in one inference, in nanoseconds.

    Args:
        layer: its name.
        passes: passes over all its blocks.
        array_ns: passes x T_CiM: how long arrays are busy, added up.
        analog_ns: how long it takes; less than `array_ns` if arrays work at once.
        digital_ns: how long the digital pipeline takes.
        start_ns: when it starts.
        time_ns: how long it takes in all: the longer of both if they overlap, else their sum.

    Examples:
        >>> first, second = analognets.deploy.accelerator.schedule(analognets.deploy.place(model), bits=8)
        >>> first.layer, first.passes, first.end_ns == second.start_ns
        ('hidden', 1, True)
    """

    layer: str
    passes: int
    array_ns: float
    analog_ns: float
    digital_ns: float
    start_ns: float
    time_ns: float

    @property
    def stall_ns(self) -> float:
        """How long the array waits for the digital pipeline."""
        return self.time_ns - self.analog_ns

    @property
    def end_ns(self) -> float:
        """When the layer is done."""
        return self.start_ns + self.time_ns


def schedule(
    placement: Placement, bits: int | Mapping[str, int], *, overlapped: bool | None = None
) -> tuple[LayerTime, ...]:
    """Return the times of all layers, each starting when the one before is done.

    A pass drives the rows of one block and converts as many of its columns as there are ADCs, so a layer takes

        passes = positions x sum over its blocks of ceil(columns / ADCs),  time = passes x T_CiM(bits)

    where blocks on different arrays run at once if the accelerator can. The digital pipeline takes, per position,
    ceil(fetched numbers / lanes) + ceil(results / lanes) cycles; filling it at the start of a layer is not counted.

    Args:
        placement: of the model.
        bits: of the converters: of all layers, or by the name of each.
        overlapped: whether the pipeline works while the array does; None: as the accelerator says.

    Raises:
        InvalidArgumentError: the accelerator has no such precision.

    Examples:
        >>> [time.layer for time in schedule(analognets.deploy.place(model), bits=8)]
        ['hidden', 'logits']

    Source: our reconstruction of AON-CiM (AnalogNets, arXiv 2111.06503): layer-serial (verified), T_CiM of 130, 34 and
    10 ns at 8, 6 and 4 bit (from memory).
    """
    design = placement.accelerator
    if overlapped is None:
        overlapped = design.digital.overlapped
    times: list[LayerTime] = []
    for layer in placement.workload.layers:
        passes, steps = _steps(layer, placement)
        pass_ns = design.pass_ns(bits if isinstance(bits, int) else bits[layer.name])
        analog = steps * pass_ns
        digital = _digital_cycles(layer, placement) / design.digital.clock.value
        times.append(
            LayerTime(
                layer=layer.name,
                passes=passes,
                array_ns=passes * pass_ns,
                analog_ns=analog,
                digital_ns=digital,
                start_ns=times[-1].end_ns if times else 0.0,
                time_ns=max(analog, digital) if overlapped else analog + digital,
            )
        )
    return tuple(times)


def _steps(layer: LayerWork, placement: Placement) -> tuple[int, int]:
    """Return the passes of a layer, and how many of them follow each other."""
    adcs = placement.accelerator.adcs
    on_array: Counter[int] = Counter()
    for block in placement.of(layer.name):
        on_array[block.array] += layer.positions * math.ceil(block.cols / adcs)
    passes = sum(on_array.values())
    at_once = placement.accelerator.arrays_at_once == "all"
    return passes, max(on_array.values(), default=0) if at_once else passes


def _digital_cycles(layer: LayerWork, placement: Placement) -> float:
    digital = placement.accelerator.digital
    if not layer.analog:
        return math.ceil(layer.positions * layer.weights / digital.macs.value)
    results = sum(block.cols for block in placement.of(layer.name))
    return layer.positions * (math.ceil(layer.fresh / digital.lanes.value) + math.ceil(results / digital.lanes.value))
