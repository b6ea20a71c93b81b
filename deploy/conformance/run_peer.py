"""Run a conformance bundle with another simulator: python run_peer.py aihwkit|lightning|crosssim [FOLDER].

Needs NumPy and that simulator, nothing else; writes FOLDER/results/TOOL.npz. What a simulator can't do is skipped
with a reason. The folder is the one this script lies in unless another is named.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PEERS", "run"]

AIHWKIT_LAW = {
    "drift_mean": (-0.0155, 0.0244, 0.049, 0.1),
    "drift_spread": (-0.0125, -0.0059, 0.008, 0.045),
    "read_noise": (0.0088, 0.65, 0.2),
}
"""Constants of a bundle's law that PCMLikeNoiseModel has fixed."""
NO_LAW = "it has no programming noise, drift and read noise of this law"


def aihwkit(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Run aihwkit: TorchInferenceRPUConfig with PCMLikeNoiseModel."""
    import torch
    from aihwkit.inference import PCMLikeNoiseModel
    from aihwkit.nn import AnalogLinear
    from aihwkit.simulator.configs import TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    law, quantiser = case["law"], case["quantiser"]
    weights = torch.tensor(arrays["weights"].T.copy())
    inputs = torch.tensor(arrays["inputs"])
    torch.manual_seed(0)

    def layer(converters: bool, **noise: float) -> Any:
        config = TorchInferenceRPUConfig()
        config.mapping.max_input_size = config.mapping.max_output_size = 0
        config.mapping.weight_scaling_omega = 0.0
        config.mapping.digital_bias = True
        config.drift_compensation = None
        config.forward.is_perfect = not converters
        config.forward.inp_noise = config.forward.out_noise = config.forward.w_noise = 0.0
        config.forward.bound_management = BoundManagementType.NONE
        config.forward.noise_management = NoiseManagementType.NONE
        config.forward.inp_bound, config.forward.out_bound = quantiser["dac_range"], quantiser["adc_range"]
        config.forward.inp_res = 1.0 / (2 ** quantiser["dac_bits"] - 2)
        config.forward.out_res = 1.0 / (2 ** quantiser["adc_bits"] - 2)
        config.noise_model = PCMLikeNoiseModel(
            g_max=law["g_max"], t_0=law["t_0"], t_read=law["t_read"], prog_coeff=list(law["programming"]), **noise
        )
        made = AnalogLinear(weights.shape[1], weights.shape[0], bias=False, rpu_config=config)
        made.set_weights(weights)
        made.eval()
        return made

    def product(converters: bool) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(layer(converters)(inputs).numpy())

    def read(made: Any) -> np.ndarray:
        tile = next(iter(made.analog_tiles()))
        return np.asarray(tile.tile.get_weights().detach().numpy().T.copy())

    found = {"product_ideal": product(False), "product_quantised": product(True)}
    if any(not np.allclose(law[name], values) for name, values in AIHWKIT_LAW.items()):
        return found, dict.fromkeys(law_names(case), "its drift and read noise have constants that can't be set")
    chips: dict[str, list[np.ndarray]] = {}
    for _ in range(case["chips"]):
        for quantity, scale in (("drifted", 0.0), ("read", 1.0)):
            made = layer(False, read_noise_scale=scale)
            made.program_analog_weights()
            if quantity == "drifted":
                tile = next(iter(made.analog_tiles()))
                programmed = tile.programmed_weights
                chips.setdefault("weights_programmed", []).append(np.asarray(programmed.detach().cpu().numpy().T))
            for number, seconds in enumerate(case["times"]):
                made.drift_analog_weights(seconds)
                chips.setdefault(f"weights_{quantity}_{number}", []).append(read(made))
    return {**found, **{name: np.stack(values) for name, values in chips.items()}}, {}


def lightning(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Run aihwkit-lightning, which has converters but no devices."""
    import torch
    from aihwkit_lightning.nn import AnalogLinear
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig

    quantiser = case["quantiser"]
    rows, cols = arrays["weights"].shape

    def product(converters: bool) -> np.ndarray:
        config = TorchInferenceRPUConfig()
        config.forward.out_noise = 0.0
        config.forward.inp_res = config.forward.out_res = config.forward.out_bound = -1
        config.pre_post.input_range.enable = converters
        if converters:
            config.forward.inp_res = 1.0 / (2 ** quantiser["dac_bits"] - 2)
            config.forward.out_res = 1.0 / (2 ** quantiser["adc_bits"] - 2)
            config.forward.out_bound = quantiser["adc_range"] / quantiser["dac_range"]  # in input ranges, weights of 1
        made = AnalogLinear(rows, cols, bias=False, rpu_config=config)
        with torch.no_grad():
            made.weight.copy_(torch.tensor(arrays["weights"].T.copy()))
            if converters:
                made.input_range.fill_(quantiser["dac_range"])
            return np.asarray(made.eval()(torch.tensor(arrays["inputs"])).numpy())

    found = {"product_ideal": product(False), "product_quantised": product(True)}
    return found, dict.fromkeys(law_names(case), NO_LAW)


def crosssim(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Run CrossSim, whose PCM device programmes by another law and does not drift."""
    from simulator import AnalogCore, CrossSimParameters

    quantiser = case["quantiser"]
    weights, inputs = arrays["weights"].T.astype(np.float64), arrays["inputs"].astype(np.float64)

    def product(converters: bool) -> np.ndarray:
        params = CrossSimParameters()
        params.xbar.device.infinite_on_off_ratio = True  # the device that is not used has no conductance
        if converters:
            params.core.mapping.weights.min, params.core.mapping.weights.max = -1.0, 1.0
            params.xbar.adc.mvm.model = "SignMagnitudeADC"  # makes a new `mvm`
            limits, dac, adc = params.core.mapping.inputs.mvm, params.xbar.dac.mvm, params.xbar.adc.mvm
            limits.min, limits.max = -quantiser["dac_range"], quantiser["dac_range"]
            dac.model, dac.bits, dac.signed = "SignMagnitudeDAC", quantiser["dac_bits"], True
            adc.bits, adc.signed = quantiser["adc_bits"], True
            full_scale = quantiser["adc_range"] / quantiser["dac_range"]  # in input ranges, weights of 1
            adc.adc_range_option, adc.calibrated_range = "CALIBRATED", [-full_scale, full_scale]
        core = AnalogCore(weights, params=params)
        return np.stack([core.matvec(row) for row in inputs])

    found = {"product_ideal": product(False), "product_quantised": product(True)}
    return found, dict.fromkeys(law_names(case), NO_LAW)


PEERS = {
    "aihwkit": ("aihwkit", "aihwkit", aihwkit),
    "lightning": ("aihwkit_lightning", "aihwkit-lightning", lightning),
    "crosssim": ("simulator", "CrossSim", crosssim),
}
"""Module to look for, distribution whose version is told, and what runs it."""


def law_names(case: dict[str, Any]) -> list[str]:
    """Return the names of the arrays that need the device law."""
    times = range(len(case["times"]))
    return ["weights_programmed", *(f"weights_{quantity}_{k}" for quantity in ("drifted", "read") for k in times)]


def run(tool: str, folder: Path) -> Path:
    """Run a bundle with a simulator and return the file of its results.

    Args:
        tool: a key of `PEERS`.
        folder: of the bundle.

    Raises:
        ImportError: it is not installed.
    """
    module, distribution, function = PEERS[tool]
    importlib.import_module(module)
    case = json.loads((folder / "conformance.json").read_text("utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    found, skipped = function(case, arrays)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    target = folder / "results" / f"{tool}.npz"
    target.parent.mkdir(exist_ok=True)
    texts = {"skipped": np.array(json.dumps(skipped)), "version": np.array(version), "bundle": np.array(case["sha256"])}
    content: dict[str, Any] = {**{name: values.astype(np.float32) for name, values in found.items()}, **texts}
    np.savez_compressed(target, **content)
    return target


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in PEERS:
        sys.exit(__doc__)
    print(run(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).resolve().parent))
