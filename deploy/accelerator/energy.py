"""What each layer draws: counts of physical events times the energy of one."""

from __future__ import annotations

import math

from analognets.deploy.accelerator.design import Accelerator
from analognets.deploy.accelerator.placement import Placement
from analognets.deploy.accelerator.schedule import LayerTime
from analognets.deploy.accelerator.workload import LayerWork

__all__ = ["TERMS", "energy", "events"]

TERMS = {"static": 1.0, "row": 1e-3, "adc": 1e-3, "cell": 1e-6, "control": 1.0, "result": 1.0, "sram": 1.0, "mac": 1.0}
"""The terms of the energy, and the pJ of one event for a constant of 1: mW ns is 1 pJ, uW ns 1e-3, nW ns 1e-6."""


def events(layer: LayerWork, time: LayerTime, placement: Placement, bits: int) -> dict[str, float]:
    """Return how often each energy constant is spent on a layer in one inference.

    While a pass lasts, T = T_CiM(bits):

        static   array time, waiting for the digital pipeline included
        row      T x driven rows: those of the block, or all of the array if rows are not gated
        adc      T x running ADCs: one a column of the block, or all if columns are not gated
        cell     T x conducting cells: rows x columns of the block that are converted

    and once for each event: control (a pass), result (an ADC result), sram (a byte fetched or written, bits / 8 of a
    byte for a number), mac (a digital product).

    Args:
        layer: the product.
        time: when it runs.
        placement: where its blocks lie.
        bits: of the converters, and of the numbers in the SRAM.

    Source: our reconstruction.
    """
    chip = placement.accelerator
    blocks = placement.of(layer.name)
    pass_ns = chip.pass_ns(bits)
    rows = adcs = cells = results = 0
    for block in blocks:
        passes = math.ceil(block.cols / chip.adcs)
        rows += passes * (block.rows if chip.gating.rows else chip.array.rows)
        adcs += block.cols if chip.gating.cols else passes * chip.adcs
        cells += block.cells
        results += block.cols
    if not layer.analog:
        results = layer.cols
    return {
        "static": time.array_ns + (time.stall_ns if layer.analog else 0.0),
        "row": layer.positions * rows * pass_ns,
        "adc": layer.positions * adcs * pass_ns,
        "cell": layer.positions * cells * pass_ns,
        "control": float(time.passes),
        "result": float(layer.positions * results),
        "sram": layer.positions * (layer.fresh + results) * bits / 8,
        "mac": 0.0 if layer.analog else float(layer.positions * layer.weights),
    }


def energy(counts: dict[str, float], accelerator: Accelerator) -> dict[str, float]:
    """Return the energy of each term in pJ.

    Args:
        counts: from `events`.
        accelerator: whose constants are used.
    """
    return {term: counts[term] * getattr(accelerator.energy, term).value * scale for term, scale in TERMS.items()}
