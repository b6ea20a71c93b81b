"""Weights in the devices of a crossbar: programmed into pairs, read back at any later time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from analognets.crossbar.hardware import Crossbar
from analognets.crossbar.mapping import Tiling, conductances_to_weights, weights_to_conductances
from analognets.crossbar.nonidealities import StuckDevices
from analognets.crossbar.nonideality import draw_uniform
from analognets.devices import State

__all__ = [
    "program",
    "program_with",
    "programming_draws",
    "read",
    "read_conductances_with",
    "read_draws",
    "read_with",
    "tile_responses",
]

PINNED = "pinned"
"""Name of the array of a state that says what devices hold which can't be programmed: uS, -1 for all others."""


def programming_draws(crossbar: Crossbar, kernel_shape: tuple[int, ...], seed: Any) -> dict[str, Any]:
    """Return the draws that programming a kernel needs; those of the device are the device's own.

    Args:
        crossbar: the hardware.
        kernel_shape: (..., inputs, outputs).
        seed: whole number >= 0, or a SeedGenerator where each call must draw anew, as in training.

    Examples:
        >>> draws = programming_draws(analognets.crossbar.get("aon_cim_8bit"), (4, 3), seed=0)
        >>> {name: tuple(array.shape) for name, array in draws.items()}
        {'drift': (2, 4, 3), 'programming': (2, 4, 3)}
    """
    shape = (2, *kernel_shape)
    draws = _of_device(crossbar.device.programming_draws, shape, seed)
    for one in _stuck(crossbar):
        for part in ("place", "value"):
            draws[f"{one.name} {part}"] = draw_uniform(shape, seed, f"{one.name} {part}")
    return draws


def read_draws(crossbar: Crossbar, kernel_shape: tuple[int, ...], seed: Any) -> dict[str, Any]:
    """Return the draws that one reading of a kernel's pairs needs; arguments as for `programming_draws`.

    Examples:
        >>> draws = read_draws(analognets.crossbar.get("aon_cim_8bit"), (4, 3), seed=0)
        >>> {name: tuple(array.shape) for name, array in draws.items()}
        {'read': (2, 4, 3)}
    """
    return _of_device(crossbar.device.read_draws, (2, *kernel_shape), seed)


def _of_device(draw: Callable[[tuple[int, ...], int], dict[str, Any]], shape: tuple[int, ...], seed: Any) -> Any:
    """Return a device's standard-normal draws; devices know whole numbers, a generator renews what they draw."""
    if not isinstance(seed, keras.random.SeedGenerator):
        return dict(draw(shape, seed))
    wanted = draw(shape, 0)
    return {name: keras.random.normal(one.shape, dtype="float32", seed=seed) for name, one in wanted.items()}


def program_with(crossbar: Crossbar, weights: Any, weight_scale: Any, draws: Mapping[str, Any]) -> State:
    """Return the state of a kernel programmed with the given draws; see `program`.

    Examples:
        >>> hardware = analognets.crossbar.Crossbar(device="ideal")
        >>> draws = programming_draws(hardware, (1, 2), seed=0)
        >>> program_with(hardware, np.array([[0.5, -1.0]]), 1.0, draws)["conductance"].numpy().tolist()
        [[[12.5, 0.0]], [[0.0, 25.0]]]
    """
    device = crossbar.device
    targets = weights_to_conductances(weights, weight_scale, device.g_max)
    state = dict(device.program_with(targets, draws))
    pinned = None
    for one in _stuck(crossbar):
        held = one.values(draws[f"{one.name} place"], draws[f"{one.name} value"]) * device.g_max
        pinned = held if pinned is None else ops.where(held < 0, pinned, held)
    if crossbar.inactive_device == "off":
        pinned = -1.0 if pinned is None else pinned
        pinned = ops.where(targets > 0, pinned, ops.zeros_like(targets))
    if pinned is not None:
        state[PINNED] = pinned
    return state


def read_conductances_with(crossbar: Crossbar, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
    """Return the conductances in uS of a kernel's pairs at `time`, shape (2, *kernel shape), with the given draws.

    Examples:
        >>> hardware = analognets.crossbar.get("aon_cim_8bit")
        >>> state = program(hardware, np.array([[0.5, -1.0]]), seed=0)
        >>> print(read_conductances_with(hardware, state, "1d", read_draws(hardware, (1, 2), seed=1)).shape)
        (2, 1, 2)
    """
    conductances = crossbar.device.read_with(state, time, draws)
    if PINNED in state:
        pinned = ops.convert_to_tensor(state[PINNED], dtype="float32")
        conductances = ops.where(pinned >= 0, pinned, conductances)
    return conductances


def read_with(crossbar: Crossbar, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
    """Return what a kernel's devices hold at `time`, in [-1, 1] up to noise, with the given draws; see `read`.

    Examples:
        >>> hardware = analognets.crossbar.Crossbar(device="ideal")
        >>> state = program(hardware, np.array([[0.5, -1.0]]), seed=0)
        >>> read_with(hardware, state, "1d", read_draws(hardware, (1, 2), seed=1)).numpy().tolist()
        [[0.5, -1.0]]
    """
    conductances = read_conductances_with(crossbar, state, time, draws)
    return conductances_to_weights(conductances, 1.0, crossbar.device.g_max)


def tile_responses(crossbar: Crossbar, tiling: Tiling, kernel: Any) -> Any:
    """Return what the drift compensation reads out of the tiles of a kernel; ones where there is none.

    Args:
        crossbar: the hardware.
        tiling: of the kernel.
        kernel: W / gamma as read, shape (..., inputs, outputs).

    Returns:
        Shape (row blocks, column blocks), or (row blocks, columns) if the rule reads one number per column.

    Examples:
        >>> tiling = analognets.crossbar.Tiling((8, 4), rows=4, cols=4)
        >>> hardware = analognets.crossbar.get("aon_cim_8bit")
        >>> tile_responses(hardware, tiling, np.full((8, 4), 0.25, "float32")).numpy().tolist()
        [[0.25], [0.25]]
    """
    rule = crossbar.drift_compensation
    if rule is None:
        return ops.ones(tiling.shape)
    rows: list[list[Any]] = [[] for _ in tiling.row_blocks]
    for row_block, _, (inputs, outputs) in tiling.blocks():
        tile = kernel[..., inputs, outputs]
        response = rule.response(ops.reshape(tile, (-1, tile.shape[-1])))
        rows[row_block].append(ops.reshape(response, (-1,)))
    return ops.stack([ops.concatenate(row, axis=0) for row in rows])


def program(crossbar: Crossbar, weights: Any, *, weight_scale: Any = 1.0, seed: int) -> State:
    """Programme a kernel into pairs of devices.

    G+ = g_max max(w, 0),  G- = g_max max(-w, 0),  w = clip(W / gamma, -1, 1),  each with the noise of its device;
    stuck devices and, with inactive_device="off", those with target 0 keep what they have for ever.

    Args:
        crossbar: the hardware.
        weights: W, shape (..., inputs, outputs).
        weight_scale: gamma > 0, a scalar or one number per column.
        seed: whole number >= 0; one seed gives one chip bit for bit.

    Returns:
        The device's state, each array with a leading axis of 2 for the pair, and `pinned` (uS, -1 where a device is
        free) if there are devices that can't be programmed.

    Raises:
        InvalidArgumentError: the seed is not valid.

    Examples:
        >>> hardware = analognets.crossbar.get("aon_cim_8bit")
        >>> state = program(hardware, np.array([[0.5, -1.0]]), seed=0)
        >>> sorted(state), tuple(state["conductance"].shape)
        (['conductance', 'drift_exponent', 'read_noise_amplitude'], (2, 1, 2))

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 7, 13, 21, 22 (verified).
    """
    return program_with(crossbar, weights, weight_scale, programming_draws(crossbar, tuple(weights.shape), seed))


def read(
    crossbar: Crossbar, state: Mapping[str, Any], time: Any, *, weight_scale: Any = 1.0, seed: int | None = None
) -> Any:
    """Return the weights that a programmed kernel stands for at `time`.

    W(t) = gamma (G+(t) - G-(t)) / g_max

    Args:
        crossbar: the hardware.
        state: what `program` returned, or the same arrays from a file.
        time: seconds since programming, a text such as "1d", or a scalar tensor of seconds.
        weight_scale: gamma > 0 as in `program`.
        seed: whole number >= 0 for the noise of this reading; not needed where the device has none.

    Raises:
        InvalidArgumentError: the time is negative, a needed seed is missing or the state is of another kind.

    Examples:
        >>> hardware = analognets.crossbar.get("aon_cim_8bit")
        >>> state = program(hardware, np.full((100, 100), 0.5), seed=0)
        >>> [round(float(np.mean(read(hardware, state, at, seed=1))), 2) for at in ("25s", "1d", "1y")]
        [0.5, 0.33, 0.25]
    """
    crossbar.device.check_state(state)
    draws = crossbar.device.read_draws(crossbar.device.shape_of(state), seed)
    return read_with(crossbar, state, time, draws) * ops.cast(weight_scale, "float32")


def _stuck(crossbar: Crossbar) -> list[StuckDevices]:
    return [one for one in crossbar.nonidealities if isinstance(one, StuckDevices) and one.active]
