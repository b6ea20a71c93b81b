"""ResNet-50 with aihwkit: conversion, programming and one evaluation after a day; run by `large_networks --peer`.

python benchmarks/large_networks_peer.py SAMPLES BATCH

Needs aihwkit, torch and torchvision, not analognets. Converters of 8 bits, tiles of 512 x 512, PCM as aihwkit has it,
read at once after a day with global drift compensation. Its tiles in PyTorch: those in C++ refuse the tensors of
recent versions of PyTorch.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import torch
import torchvision
from aihwkit.inference import GlobalDriftCompensation, PCMLikeNoiseModel
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import TorchInferenceRPUConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._memory import Steps  # noqa: E402


def configuration() -> TorchInferenceRPUConfig:
    """Return the hardware."""
    found = TorchInferenceRPUConfig()
    found.mapping.max_input_size = found.mapping.max_output_size = 512
    found.forward.inp_res = found.forward.out_res = 1 / (2**8 - 2)
    found.forward.out_noise = 0.0
    found.noise_model = PCMLikeNoiseModel(g_max=25.0)
    found.drift_compensation = GlobalDriftCompensation()
    return found


def main() -> None:
    samples, batch = (int(one) for one in sys.argv[1:])
    steps = Steps()
    with steps("build"):
        plain = torchvision.models.resnet50(weights=None)
    steps.weights = 4 * sum(one.numel() for one in plain.parameters())
    with steps("to_analog"):
        analog = convert_to_analog(plain, configuration())
    del plain
    analog.eval()
    with steps("program"):
        analog.program_analog_weights()
    with steps("evaluate"), torch.no_grad():
        analog.drift_analog_weights(86_400.0)
        for index in range(samples // batch):
            torch.manual_seed(index)
            analog(torch.randn(batch, 3, 224, 224))
    versions = {name: importlib.metadata.version(name) for name in ("aihwkit", "torch", "torchvision")}
    about = {"title": "ResNet-50, 224 x 224", "weights": steps.weights // 4, "evaluated_on": samples}
    print(json.dumps({**about, "versions": versions, "threads": torch.get_num_threads(), "steps": steps.found}))


if __name__ == "__main__":
    main()
