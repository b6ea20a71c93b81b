"""What the devices of a stored chip can hold: shapes, kinds and bounds of its numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from analognets.core.stored_arrays import blocks_of
from analognets.crossbar.cells import PINNED
from analognets.deploy.chips.programming import ProgrammedLayer, pair_shapes, peripheries
from analognets.devices import Device
from analognets.errors import AnalogNetsError, ChipFileError
from analognets.layers import AnalogLayer

__all__ = ["check_stored", "highest_conductance"]

SIGMAS = 10.0
"""So many standard deviations above what devices are programmed to, none of them lies."""
NO_LAW = 100.0
"""Largest conductance, in g_max, of a device without a law for its spread."""
ANY = 1e12
"""Bound of numbers that have none of their own, such as times of pulses."""
ROUNDING = 1e-4


def highest_conductance(device: Device) -> float:
    """Return the largest conductance in uS that a single programmed device can have, with its noise."""
    single: Device = getattr(device, "device", device)
    with contextlib.suppress(AnalogNetsError):
        g = ops.convert_to_tensor(np.linspace(0.0, 1.0, 65, dtype=np.float32))
        spread = float(ops.max(ops.convert_to_tensor(single.first_deviation(g))))
        return (2.0 + SIGMAS * spread) * single.g_max
    return NO_LAW * single.g_max


def check_stored(layer: AnalogLayer, stored: ProgrammedLayer, where: str) -> None:
    """Raise unless a layer read from a file holds what its devices, converters and tiles can hold.

    Args:
        layer: it was programmed from.
        stored: as read.
        where: "layer 'a' in 'chips/chip_0000.safetensors'", for messages.

    Raises:
        ChipFileError: an array has another shape or kind, is not finite or out of range.
    """
    device = layer.crossbar.device
    [pair] = pair_shapes([layer])
    high = highest_conductance(device)
    pinned = (-max(1.0, device.g_max), device.g_max)  # negative where a device is free
    bounds = {"conductance": (0.0, high), "target": (0.0, high), "pulses": (0.0, ANY), PINNED: pinned}
    try:
        device.check_state(stored.state)
        shape = device.shape_of(stored.state)
    except AnalogNetsError as error:
        raise ChipFileError(f"The devices of {where} can't be read. {error}") from error
    copies = stored.state["conductance"].shape[: -len(pair)]
    if shape != pair or any(value.shape[-len(pair) :] != pair for value in stored.state.values()) or copies not in (
        (), (getattr(device, "copies", None),)
    ):  # fmt: skip
        found = ", ".join(f"{name} {value.shape}" for name, value in sorted(stored.state.items()))
        raise ChipFileError(f"The devices of {where} must have the shape {pair}. Received: {found}.")
    for name, value in stored.state.items():
        _check(value, f"`{name}` of {where}", *bounds.get(name, (-ANY, ANY)))
    rows, cols = layer.tiling.shape
    _check(stored.reference, f"The reference of {where}", 0.0, ANY, shapes=[(rows, cols), (rows, pair[-1])])
    _check_weight_max(layer, stored.weight_max, where)
    _check_periphery(layer, stored.periphery, where)


def _check(value: Any, what: str, low: float, high: float, *, shapes: Sequence[tuple[int, ...]] | None = None) -> None:
    begin = what[0].upper() + what[1:]
    if value.dtype != np.float32 or (shapes is not None and value.shape not in shapes):
        wanted = "" if shapes is None else f" of shape {' or '.join(map(str, dict.fromkeys(shapes)))}"
        raise ChipFileError(f"{begin} must be float32{wanted}. Received: {value.dtype} of shape {value.shape}.")
    if not value.size:
        return
    blocks = [(one.min(), one.max(), int((~np.isfinite(one)).sum())) for one in blocks_of(value)]
    lowest, highest = np.min([one[0] for one in blocks]), np.max([one[1] for one in blocks])
    odd = sum(one[2] for one in blocks)
    if odd or not (lowest >= low and highest <= high):
        raise ChipFileError(
            f"{begin} must lie from {low:g} to {high:g}. Received: {lowest:g} to {highest:g}, {odd} of them not finite."
        )


def _check_weight_max(layer: AnalogLayer, stored: Any, where: str) -> None:
    wanted = np.asarray(ops.convert_to_numpy(layer.weight_range()), np.float64)
    found = np.asarray(stored, np.float64)
    same = found.size == wanted.size and (found.shape == wanted.shape or found.size == 1)
    if not (same and np.allclose(found.reshape(wanted.shape), wanted, rtol=ROUNDING, atol=0.0)):
        raise ChipFileError(
            f"The weight range of {where} must be that of the model, {_short(wanted)}. Received: {_short(found)}. Load "
            "the model the chips were programmed from."
        )


def _short(values: np.ndarray) -> str:
    if not values.size:
        return "nothing"
    return f"{float(values):g}" if values.ndim == 0 else f"numbers up to {values.max():g} of shape {values.shape}"


def _check_periphery(layer: AnalogLayer, stored: Sequence[dict[str, np.ndarray]], where: str) -> None:
    wanted = peripheries(layer, 0)  # the shapes are the same for any seed
    for block, (drawn, found) in enumerate(zip(wanted, stored, strict=True)):
        if set(drawn) != set(found):
            raise ChipFileError(
                f"The periphery of {where} must have {', '.join(sorted(drawn)) or 'nothing'}. Received: "
                f"{', '.join(sorted(found)) or 'nothing'} in row block {block}."
            )
        for name, value in found.items():
            _check(value, f"`{name}` of {where}", -ANY, ANY, shapes=[drawn[name].shape])
