"""The product on one tile against IBM's aihwkit, where it is installed; same weights, same inputs.

pytest -m parity tests/crossbar; on the torch or JAX backend of Keras too.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from keras import ops

from analognets import crossbar
from analognets.crossbar import forward, product_error

pytestmark = pytest.mark.parity
STANDARD = crossbar.get("aimc_standard")
STILL = STANDARD.without("short_term_noise", "output_noise", "ir_drop")
ROWS, COLUMNS, VECTORS = 200, 40, 300


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs aihwkit and torch")


@pytest.fixture(scope="module")
def theirs(torch):
    """Return a function that runs a tile of aihwkit: settings of IOParameters, inputs, weights (inputs, outputs)."""
    pytest.importorskip("aihwkit", reason="needs aihwkit", exc_type=ImportError)
    from aihwkit.nn import AnalogLinear
    from aihwkit.simulator.configs import InferenceRPUConfig
    from aihwkit.simulator.parameters import BoundManagementType, NoiseManagementType

    def run(inputs, weights, **settings):
        config = InferenceRPUConfig()
        config.mapping.weight_scaling_omega = 0.0
        config.mapping.digital_bias = False
        plain = {
            "bound_management": BoundManagementType.NONE, "noise_management": NoiseManagementType.NONE,
            "inp_bound": 1.0, "inp_res": 1 / 254, "out_bound": 10.0, "out_res": 1 / 254, "out_noise": 0.0,
        }  # fmt: skip
        for name, value in {**plain, **settings}.items():
            setattr(config.forward, name, value)
        layer = AnalogLinear(weights.shape[0], weights.shape[1], bias=False, rpu_config=config)
        layer.set_weights(torch.tensor(weights.T.copy()), None)
        layer.eval()
        with torch.no_grad():
            return layer(torch.tensor(inputs)).numpy()

    return run


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    weights = np.clip(rng.normal(0, 0.3, (ROWS, COLUMNS)), -1, 1).astype("float32")
    return rng.uniform(-1.1, 1.1, (VECTORS, ROWS)).astype("float32"), weights


def ours(hardware, inputs, weights, **settings):
    return ops.convert_to_numpy(forward(hardware, inputs, weights, **settings))


def same_codes(found, wanted, step):
    """All but the outputs that lie at a tie of the ADC, or see an input that lies at one of the DAC, agree."""
    difference = np.abs(found - wanted)
    assert np.mean(difference > 1e-4) < 0.01
    assert difference.max() < 1.01 * step


@pytest.mark.parametrize(("dac", "adc"), [(8, 8), (7, 9), (4, 5)])
def test_converters(theirs, dac, adc) -> None:
    x, w = arrays()
    wanted = theirs(x, w, inp_res=1 / (2**dac - 2), out_res=1 / (2**adc - 2))
    same_codes(ours(STILL.replace(dac_bits=dac, adc_bits=adc), x, w), wanted, 20 / (2**adc - 2))


@pytest.mark.parametrize("factor", [1.0, 11.7])
def test_ir_drop(theirs, factor) -> None:
    x, w = arrays(1)
    wanted = theirs(x, w, ir_drop=factor, inp_res=-1, out_res=-1, out_bound=0.0)
    hardware = STILL.replace(adc_bits=None).with_strength("ir_drop", factor).replace(dac_bits=16)
    found = ours(hardware, x, w)
    change = wanted - ours(hardware.without("ir_drop"), x, w)
    assert np.abs(change).max() > 0.01 * factor
    assert np.abs(found - wanted).max() < 0.01 * np.abs(change).max()


def test_adc_nonlinearity(theirs) -> None:
    """aihwkit gives mu times the bound, and where the slope is 1 as a share of the bound."""
    x, w = arrays(2)
    wanted = theirs(x, w, inp_res=-1, out_res=-1, out_bound=10.0, out_nonlinearity=2.5, slope_calibration=0.2)
    hardware = STILL.replace(dac_bits=16, adc_bits=16).with_nonideality("adc_nonlinearity", curvature=0.25)
    assert np.abs(ours(hardware, x, w) - wanted).max() < 2e-3


@pytest.mark.parametrize("law", ["pcm", "constant"])
def test_noise_has_the_same_variance(theirs, law) -> None:
    from aihwkit.simulator.parameters import WeightNoiseType

    kind = WeightNoiseType.PCM_READ if law == "pcm" else WeightNoiseType.ADDITIVE_CONSTANT
    x, w = arrays(3)
    x = np.repeat(x[:1], 4000, axis=0)
    wanted = theirs(x, w, out_noise=0.04, w_noise=0.0175, w_noise_type=kind, out_res=-1)
    hardware = STILL.replace(adc_bits=16).with_strength("output_noise", 0.04)
    found = ours(hardware.with_nonideality("short_term_noise", law=law), x, w, seed=1)
    ratio = found.std(0) / wanted.std(0)
    assert np.all(np.abs(ratio - 1) < 5 / math.sqrt(len(x)))
    assert abs(ratio.mean() - 1) < 5 / math.sqrt(len(x) * COLUMNS)


def test_product_error_of_a_whole_tile(theirs, torch) -> None:
    """Programming, drift, read noise, compensation, all of the product: with both devices of a pair programmed."""
    from aihwkit.inference import GlobalDriftCompensation, PCMLikeNoiseModel
    from aihwkit.nn import AnalogLinear
    from aihwkit.simulator.presets import StandardHWATrainingPreset

    rng = np.random.default_rng(0)
    w = np.clip(rng.normal(0, 0.246, (512, 512)), -1, 1).astype("float32")
    x = rng.uniform(-1, 1, (500, 512)).astype("float32")
    exact = x.astype("float64") @ w
    config = StandardHWATrainingPreset()
    config.mapping.weight_scaling_omega = 0.0
    config.mapping.weight_scaling_columnwise = False
    config.mapping.learn_out_scaling = False
    config.pre_post.input_range.enable = False
    config.noise_model = PCMLikeNoiseModel(g_max=25.0)
    config.drift_compensation = GlobalDriftCompensation()
    layer = AnalogLinear(512, 512, bias=False, rpu_config=config)
    layer.set_weights(torch.tensor(w.T.copy()), None)
    layer.eval()
    layer.program_analog_weights()
    both = STANDARD.replace(inactive_device="programmed")
    for seconds in (1.0, 3600.0, 86_400.0):
        layer.drift_analog_weights(seconds)
        with torch.no_grad():
            outputs = layer(torch.tensor(x)).numpy()
        wanted = np.linalg.norm(exact - outputs, axis=1).mean() / np.linalg.norm(exact, axis=1).mean()
        assert 100 * product_error(both, at=seconds, vectors=500, chips=2).error == pytest.approx(100 * wanted, abs=0.3)
