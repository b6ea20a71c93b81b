"""aihwkit for the benchmarks that run beside it: its hardware, its networks, threads, and what is said without it."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import Any

NEEDED = (
    "This benchmark needs aihwkit and torch beside analognets. Install both in this environment (aihwkit's wheel "
    "also needs the library OpenBLAS){}. Received: {}."
)


def set_threads(threads: int) -> None:
    """Give every library the same number of threads; those of torch and aihwkit read it when they are loaded."""
    import tensorflow as tf

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def find_peer(parser: argparse.ArgumentParser, otherwise: str = "") -> dict[str, str]:
    """Return the versions of aihwkit and torch, or end with one sentence and status 2.

    Args:
        parser: ends the program.
        otherwise: what can be done without them.
    """
    try:
        import aihwkit.simulator.rpu_base  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        parser.error(NEEDED.format(otherwise, error))
    return {name: importlib.metadata.version(name) for name in ("aihwkit", "torch")}


def pcm_8bit(*, rows: int = 512, cols: int = 512, out_bound: float = 12.0, in_torch: bool = True) -> Any:
    """Return 8-bit converters and PCM with global drift compensation, and nothing else.

    Args:
        rows: of a tile, 0: as many as a layer has.
        cols: likewise.
        out_bound: of the ADC, in products of the largest input and weight.
        in_torch: tiles in PyTorch; else those in C++.
    """
    from aihwkit.inference import GlobalDriftCompensation, PCMLikeNoiseModel
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightNoiseType

    found = TorchInferenceRPUConfig() if in_torch else InferenceRPUConfig()
    found.mapping.max_input_size, found.mapping.max_output_size = rows, cols
    found.mapping.weight_scaling_omega = 1.0
    found.mapping.digital_bias = True
    forward = found.forward
    forward.inp_res = forward.out_res = 1 / (2**8 - 2)
    forward.inp_bound, forward.out_bound = 1.0, out_bound
    forward.out_noise = forward.w_noise = 0.0
    forward.w_noise_type = WeightNoiseType.NONE
    forward.noise_management, forward.bound_management = NoiseManagementType.NONE, BoundManagementType.NONE
    found.pre_post.input_range.enable = True
    found.noise_model = PCMLikeNoiseModel(g_max=25.0)
    found.drift_compensation = GlobalDriftCompensation()
    return found


def standard() -> Any:
    """Return the standard hardware of Rasch et al. 2023 as aihwkit's preset has it."""
    from aihwkit.simulator.presets import StandardHWATrainingPreset

    return StandardHWATrainingPreset()


def with_weight_noise(config: Any, deviation: float) -> Any:
    """Return a configuration whose weights are noisy in training, in shares of the largest one."""
    from aihwkit.simulator.parameters.enums import WeightModifierType

    config.modifier.type = WeightModifierType.ADD_NORMAL
    config.modifier.std_dev = deviation
    config.modifier.rel_to_actual_wmax = True
    return config


def rebuilt(folder: Path, config: Any, ranges: dict[str, float]) -> Any:
    """Return the torch module of a folder that `to_aihwkit` wrote, with the input ranges that were trained.

    Args:
        folder: with rebuild.py.
        config: of its tiles.
        ranges: of inputs, by the layer's name.
    """
    loader = importlib.machinery.SourceFileLoader("rebuild", str(folder / "rebuild.py"))
    script = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("rebuild", loader, origin=loader.path))
    script.__file__ = loader.path
    loader.exec_module(script)
    module = script.build(config)
    for number, part in module.parts.items():
        if not hasattr(part, "analog_tiles"):
            continue
        for tile in part.analog_tiles():
            tile.input_range.data.fill_(ranges[module.layers[int(number)]["name"]])
            tile.input_range_update_idx.data.fill_(config.pre_post.input_range.init_from_data)
    return module


class Chip:
    """A module on tiles: programmed anew, drifted, read.

    Args:
        module: of `rebuilt`.
        batch: samples at once.
    """

    def __init__(self, module: Any, batch: int = 100) -> None:
        import torch

        self.torch, self.module, self.batch = torch, module.eval(), batch

    def program(self, seed: int) -> None:
        """Programme the weights."""
        from aihwkit.inference.utils import program_analog_weights

        self.torch.manual_seed(seed)
        program_analog_weights(self.module, None)

    def outputs(self, inputs: Any, seconds: float | None = None) -> Any:
        """Return what it answers at a time since programming; None: as it is."""
        from aihwkit.inference.utils import drift_analog_weights

        if seconds is not None:
            drift_analog_weights(self.module, seconds)
        with self.torch.no_grad():
            parts = self.torch.from_numpy(inputs).split(self.batch)
            return self.torch.cat([self.module(part) for part in parts]).numpy()
