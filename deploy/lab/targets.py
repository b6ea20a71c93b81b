"""Lab export: target conductances of a model, and all settings, as open files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors.numpy import save_file

from analognets._version import __version__
from analognets.core.files import file_sha256, new_folder, write_json
from analognets.crossbar import Crossbar, steps, tile_responses
from analognets.deploy.accelerator.design import Accelerator, load_accelerator
from analognets.deploy.accelerator.placement import Block, Placement, place
from analognets.deploy.accelerator.schedule import schedule
from analognets.deploy.chips.origin import model_fingerprint
from analognets.deploy.lab import format as form
from analognets.errors import ChipFileError, ConversionError, NotCalibratedError
from analognets.layers import AnalogLayer, analog_layers

__all__ = ["export_targets", "layer_targets", "matching_accelerator", "tile_part"]

OF_THE_CHIP = ("rows", "cols", "device", "drift_compensation")
"""What all layers have alike, since the index says it once."""
GLOBAL_RULE = "analognets>GlobalDriftCompensation"
"""The rule whose settings the index names one by one, as before there were others."""
GLOBAL_STATEMENT = "Drift compensation: results of a tile x (read-out right after programming / read-out now)."
ABOUT = [
    "Each tile is a .npy file of float64: (G+ and G-, devices of a polarity, rows, columns), conductances in uS.",
    "The devices of a polarity share its conductance in equal parts; the weight is the difference of the sums.",
    "Row r of a tile is kernel position r // inputs (last axis fastest) and input channel r % inputs of the tile's.",
    "DAC: level = round(clip(x, -range, range) / step). A full input on a full weight counts weight_max x DAC range.",
    "ADC: result = step x round(clip(y, -range, range) / step), y = sum of weight x input over the rows of a tile.",
    "Results of row blocks are summed, then `adapter` and bias are added, then `activation` and the layers of "
    "`followed_by` run, all digitally.",
    GLOBAL_STATEMENT,
    "Measured conductances come back in files of the same shapes, named in measured.json; see handover.schema.json.",
]
STAYS = (
    "Biases, batch-norms, converter ranges and digital layers stay in the network's file; these are copies for a "
    "reader without Keras. Only the kernels of `layers` are on the chip."
)


def matching_accelerator(hardware: Crossbar, accelerator: Any = None) -> Accelerator:
    """Return the accelerator, or for None one like `aon_cim` whose arrays are as large as the crossbar's tiles."""
    if accelerator is not None:
        return load_accelerator(accelerator)
    chip = load_accelerator("aon_cim")
    if (chip.array.rows, chip.array.cols) == (hardware.rows, hardware.cols):
        return chip
    return chip.replace(
        name=f"{chip.name}_{hardware.rows}x{hardware.cols}",
        array={"rows": hardware.rows, "cols": hardware.cols},
        adcs=min(chip.adcs, hardware.cols),
    )


def layer_targets(layer: AnalogLayer) -> np.ndarray:
    """Return the target conductances of a layer in uS, shape (2, *crossbar_shape), float64.

    G+ = g_max * max(w, 0) / W_max,  G- = g_max * max(-w, 0) / W_max, as `weights_to_conductances`, in double precision
    so that reading them back gives the very weights.
    """
    g_max = layer.crossbar.device.g_max
    weights = np.asarray(keras.ops.convert_to_numpy(layer.crossbar_kernel()), np.float64)
    scaled = np.clip(weights * (g_max / float(layer.weight_range())), -g_max, g_max)
    return np.stack([np.maximum(scaled, 0.0), np.maximum(-scaled, 0.0)])


def tile_part(conductances: np.ndarray, tile: Any, devices: int) -> np.ndarray:
    """Cut a tile (or block) out of a layer's (2, ..., inputs, outputs), shared out over the devices of a polarity."""
    part = conductances[..., slice(*tile.inputs), slice(*tile.outputs)].reshape(2, 1, tile.rows, tile.cols)
    return np.repeat(part / devices, devices, axis=1)


def export_targets(model: keras.Model, folder: Any, *, accelerator: Any = None, overwrite: bool = False) -> Path:
    """Write the target conductances and all settings that a lab needs; see `Chips.export_targets`.

    Examples:
        >>> folder = export_targets(analog, "targets")
        >>> sorted(path.name for path in folder.iterdir())
        ['digital.safetensors', 'handover.schema.json', 'index.json', 'tiles']
    """
    target, layers = Path(folder), analog_layers(model)
    check_layers(layers)
    placement = place(model, matching_accelerator(layers[0].crossbar, accelerator))
    check_placement(layers, placement)
    check_target(target, overwrite)
    with new_folder(target, "exported targets", ChipFileError, overwrite=overwrite, index=form.INDEX) as draft:
        (draft / "tiles").mkdir()
        tiles = write_tiles(draft, layers, placement.blocks)
        rule = compensation_section(layers[0].crossbar)
        told = isinstance(rule, form.CompensationRule)  # by a statement of its own
        index = form.Handover(
            format=1,
            analognets=__version__,
            model=model.name,
            fingerprint=model_fingerprint(model),
            chip=chip_section(layers[0].crossbar, placement),
            layers=[layer_section(layer) for layer in layers],
            tiles=tiles,
            schedule=schedule_section(placement, tiles),
            drift_compensation=rule,
            digital=write_digital(draft, model, layers),
            statement=placement.statement,
            about=[line for line in ABOUT if not (told and line == GLOBAL_STATEMENT)],
        )
        (draft / form.SCHEMA).write_text(form.schema_text(), "utf-8")
        write_json(draft / form.INDEX, index.model_dump(mode="json"), error=ChipFileError)
    return target


def check_target(target: Path, overwrite: bool) -> None:
    """Raise if the folder holds measurements, which are never replaced, or another program's index.json."""
    if os.path.exists(target / form.MEASURED):
        raise ChipFileError(f"'{target}' holds measurements, which are never overwritten. Choose another folder.")
    if overwrite and os.path.isfile(target / form.INDEX):
        form.read_index(target)


def check_layers(layers: Sequence[AnalogLayer]) -> None:
    """Raise if the layers can't be told apart, differ in their hardware or are not calibrated."""
    names = [layer.name for layer in layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConversionError(f"Analog layers need names of their own to be exported. Received twice: {twice}.")
    first = layers[0].crossbar
    for layer in layers:
        if not layer.calibrated:
            raise NotCalibratedError(
                f"Layer '{layer.name}' has no converter ranges yet. Call "
                "analognets.layers.calibrate(model, data) first."
            )
        if not layer.crossbar.plain:
            raise ConversionError(
                f"Targets are exported for hardware with one range a layer, such as 'aon_cim_8bit'. Received: "
                f"'{layer.crossbar.name}' at layer '{layer.name}'. Save the chips with Chips.save instead."
            )
        if any(getattr(layer.crossbar, name) != getattr(first, name) for name in OF_THE_CHIP):
            raise ConversionError(f"All analog layers must be on one kind of chip. Received another at '{layer.name}'.")


def check_placement(layers: Sequence[AnalogLayer], placement: Placement) -> None:
    """Raise unless the blocks of every layer are cut along its rows as the network computes them."""
    array = placement.accelerator.array
    for layer in layers:
        blocks = placement.of(layer.name)
        if not blocks:
            raise ConversionError(f"Layer '{layer.name}' lies on no array: {placement.statement}")
        if {block.inputs for block in blocks} != set(layer.tiling.row_blocks):
            hardware = layer.crossbar
            raise ConversionError(
                f"Layer '{layer.name}' is computed in {layer.tiling.shape[0]} row blocks (tiles of {hardware.rows} x "
                f"{hardware.cols}), but lies in {len({block.inputs for block in blocks})} on '"
                f"{placement.accelerator.name}' ({array.rows} x {array.cols}). Make the network for that chip: "
                f"to_analog(to_digital(model), crossbar.replace(rows={array.rows}, cols={array.cols})), or leave "
                "`accelerator` out."
            )


def write_tiles(folder: Path, layers: Sequence[AnalogLayer], blocks: Iterable[Block]) -> list[form.Tile]:
    """Write one .npy file a block and return what the index says about them."""
    by_name = {layer.name: (layer_targets(layer), devices_per_polarity(layer.crossbar)) for layer in layers}
    counts: dict[str, int] = {}
    tiles = []
    for number, block in enumerate(blocks):
        counts[block.layer] = part = counts.get(block.layer, -1) + 1
        file = f"tiles/{number:04d}_{re.sub(r'[^A-Za-z0-9_.-]', '_', block.layer)[:60]}.npy"
        np.save(folder / file, tile_part(by_name[block.layer][0], block, by_name[block.layer][1]), allow_pickle=False)
        tiles.append(
            form.Tile(
                name=f"{block.layer}/{part}",
                file=file,
                sha256=file_sha256(folder / file),
                **{
                    key: getattr(block, key)
                    for key in ("layer", "row_block", "array", "row", "col", "rows", "cols", "inputs", "outputs")
                },
            )
        )
    return tiles


def devices_per_polarity(hardware: Crossbar) -> int:
    """Return how many devices share the conductance of a polarity."""
    return int(getattr(hardware.device, "devices_per_polarity", 1))


def pass_bits(placement: Placement) -> dict[str, int] | None:
    """Return the precision that decides the time of a pass, by layer, or None if the accelerator does not have one."""
    chip, analog = placement.accelerator, placement.workload.analog
    found = {work.name: work.bits for work in analog if work.bits and chip.min_bits <= work.bits <= chip.max_bits}
    if len(found) < len(analog):
        return None
    return {work.name: found.get(work.name, chip.max_bits) for work in placement.workload.layers}


def chip_section(hardware: Crossbar, placement: Placement) -> form.Chip:
    """Return what the index says about the hardware."""
    chip = placement.accelerator
    widths = {work.bits for work in placement.workload.analog} if pass_bits(placement) else set()
    bits = widths.pop() if len(widths) == 1 else None
    return form.Chip(
        crossbar=hardware.name,
        accelerator=chip.name,
        device=type(hardware.device).__name__,
        g_max_us=float(hardware.device.g_max),
        devices_per_polarity=devices_per_polarity(hardware),
        rows=chip.array.rows,
        cols=chip.array.cols,
        arrays=placement.arrays,
        adcs=chip.adcs,
        pass_ns=None if bits is None else chip.pass_ns(bits),
    )


def layer_section(layer: AnalogLayer) -> form.Layer:
    """Return what the index says about a layer."""
    hardware = layer.crossbar
    dac_range, adc_range, gain = (
        float(keras.ops.convert_to_numpy(value))
        for value in (layer.input_range.value, layer.adc_range(), layer.adc_gain.gain.value)
    )
    targets = layer_targets(layer)
    kernel = ((targets[0] - targets[1]) / hardware.device.g_max).astype(np.float32)
    return form.Layer(
        name=layer.name,
        kind=type(layer).__name__.removeprefix("Analog"),
        kernel_shape=[int(size) for size in layer.crossbar_shape()],
        weight_max=float(layer.weight_range()),
        dac=form.Dac(bits=hardware.dac_bits, range=dac_range, step=step_of(dac_range, hardware.dac_bits)),
        adc=form.Adc(
            bits=hardware.adc_bits,
            range=adc_range,
            step=step_of(adc_range, hardware.adc_bits),
            gain=gain,
            full_scale_us=gain * float(hardware.device.g_max),
        ),
        row_blocks=list(layer.tiling.row_blocks),
        col_blocks=list(layer.tiling.col_blocks),
        target_readout=np.asarray(tile_responses(hardware, layer.tiling, kernel), float).tolist(),
        bias=variable_name(layer.bias) if layer.use_bias else None,
        followed_by=[node.operation.name for node in getattr(layer, "_outbound_nodes", ())],
        adapter=adapter_section(layer),
        activation=activation_name(layer),
    )


def adapter_section(layer: AnalogLayer) -> form.Adapter | None:
    """Return what the index says about the low-rank adapter of a layer, if it has one."""
    names = [variable_name(variable) for variable in layer.adapters().values()]
    return form.Adapter(a=names[0], b=names[1], scale=layer.lora_alpha / layer.lora_rank) if names else None


def activation_name(layer: AnalogLayer) -> str | None:
    """Return the name of the function that a layer applies behind its bias; None if that changes nothing."""
    function = getattr(layer, "activation", None)
    if function in (None, keras.activations.linear):
        return None
    return str(getattr(function, "__name__", type(function).__name__))


def step_of(full_scale: float, bits: int | None) -> float | None:
    """Return the step of a converter, or None of an ideal one."""
    return None if bits is None else full_scale / steps(bits)


def schedule_section(placement: Placement, tiles: Sequence[form.Tile]) -> list[form.Step]:
    """Return what the index says about the order and time of one inference."""
    bits = pass_bits(placement)
    times = {} if bits is None else {time.layer: time for time in schedule(placement, bits)}
    found = []
    for work in placement.workload.analog:
        time = times.get(work.name)
        found.append(
            form.Step(
                layer=work.name,
                tiles=[tile.name for tile in tiles if tile.layer == work.name],
                positions=work.positions,
                passes=placement.passes(work),
                start_ns=None if time is None else time.start_ns,
                time_ns=None if time is None else time.time_ns,
            )
        )
    return found


def compensation_section(hardware: Crossbar) -> form.Compensation | form.CompensationRule | None:
    """Return what the index says about drift compensation."""
    rule = hardware.drift_compensation
    if rule is None:
        return None
    seconds = float(hardware.device.first_reading)
    name, settings = keras.saving.get_registered_name(type(rule)), rule.get_config()
    if name == GLOBAL_RULE:
        return form.Compensation(**settings, reference_seconds=seconds)
    statement = (type(rule).__doc__ or name).split("\n")[0]
    return form.CompensationRule(rule=name, settings=settings, statement=statement, reference_seconds=seconds)


def variable_name(variable: Any) -> str:
    """Return the name of a variable in the digital file."""
    return str(variable.path)


def write_digital(folder: Path, model: keras.Model, layers: Sequence[AnalogLayer]) -> form.Digital:
    """Write all variables but the programmed kernels and return what the index says about them."""
    kernels = {id(layer.kernel_variable) for layer in layers}
    arrays: dict[str, np.ndarray] = {}
    for variable in model.variables:
        if id(variable) in kernels or "seed" in str(variable.dtype) or str(variable.dtype).startswith("uint"):
            continue
        name = variable_name(variable)
        while name in arrays:
            name += "'"
        arrays[name] = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value))
    file = "digital.safetensors"
    save_file(arrays, folder / file)
    shapes = {name: list(value.shape) for name, value in arrays.items()}
    return form.Digital(file=file, sha256=file_sha256(folder / file), variables=shapes, statement=STAYS)


def check_model(index: form.Handover, model: keras.Model, folder: Path) -> list[AnalogLayer]:
    """Return the analog layers of the network that the targets were made from.

    Raises:
        ChipFileError: the targets are of another network, or its converters were set anew since.
    """
    layers = analog_layers(model)
    names = [layer.name for layer in layers]
    if index.fingerprint != model_fingerprint(model) or [entry.name for entry in index.layers] != names:
        raise ChipFileError(
            f"The targets in '{folder}' are of other weights (network '{index.model}') than those of model "
            f"'{model.name}'. Load the model they were exported from, or export this one."
        )
    for layer, entry in zip(layers, index.layers, strict=True):
        now = layer_section(layer)
        pairs = [
            (now.weight_max, entry.weight_max),
            (now.dac.range, entry.dac.range),
            (now.adc.range, entry.adc.range),
        ]
        same = all(math.isclose(a, b, rel_tol=1e-5) for a, b in pairs) and (now.dac.bits, now.adc.bits) == (
            entry.dac.bits,
            entry.adc.bits,
        )
        device = layer.crossbar.device
        if not same or now.row_blocks != entry.row_blocks or not math.isclose(device.g_max, index.chip.g_max_us):
            raise ChipFileError(
                f"Layer '{layer.name}' of model '{model.name}' has other converters, tiles or conductances than when "
                f"the targets in '{folder}' were exported. Load the model as it was then, or export it again."
            )
    return layers


def check_fits(tile: form.Tile, shape: tuple[int, ...]) -> None:
    """Raise a ChipFileError unless a tile lies within its layer's kernel of that shape."""
    (first, end), (left, right) = tile.inputs, tile.outputs
    fits = 0 <= first < end <= shape[-2] and 0 <= left < right <= shape[-1]
    if not fits or (tile.rows, tile.cols) != (math.prod(shape[:-2]) * (end - first), right - left):
        raise ChipFileError(f"Tile '{tile.name}' does not fit into layer '{tile.layer}' of shape {shape}.")


def assembled(index: form.Handover, tiles: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the conductances of each layer, (2, *kernel shape), from its tiles.

    Raises:
        ChipFileError: tiles lie outside of a layer, overlap, or leave cells open.
    """
    made = []
    for entry in index.layers:
        shape = tuple(entry.kernel_shape)
        whole, count = np.zeros((2, *shape)), np.zeros(shape[-2:], int)
        for tile in index.tiles:
            if tile.layer != entry.name:
                continue
            check_fits(tile, shape)
            (first, end), (left, right) = tile.inputs, tile.outputs
            part = tiles[tile.name].sum(axis=1)
            whole[..., first:end, left:right] = part.reshape(2, *shape[:-2], end - first, right - left)
            count[first:end, left:right] += 1
        if (count != 1).any():
            wrong = "are missing" if (count == 0).any() else "overlap"
            raise ChipFileError(f"Tiles of layer '{entry.name}' {wrong}: each weight must lie in exactly one tile.")
        made.append(whole)
    return made
