"""Run the product on the Keras backend that the environment names and compare with plain NumPy; 0 if all agrees."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import keras
import numpy as np
from keras import ops

from analognets import crossbar
from analognets.crossbar import draw_periphery, forward, list_nonidealities

spec = importlib.util.spec_from_file_location("numpy_reference", Path(__file__).with_name("numpy_reference.py"))
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

standard = crossbar.get("aimc_standard")
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (50, 40)).astype("float32")
w = rng.uniform(-1, 1, (40, 6)).astype("float32")


def number(values):
    return ops.convert_to_numpy(values)


still = standard.without("short_term_noise", "output_noise", "dac_bits", "adc_bits").scaled("ir_drop", 10)
still = still.with_nonideality("adc_nonlinearity", spread=0.2).with_strength("polarity_asymmetry", 0.1)
chip = {name: number(values) for name, values in draw_periphery(still, w.shape, 1).items()}
found = number(forward(still, x, w, periphery=chip, weight_scale=np.full(6, 1.5, "float32"), straight_through=False))
wanted = reference.forward(
    x.astype("float64"), w.astype("float64"), gamma=1.5, ir=10.0, curvature=0.25, spread=0.2,
    zeta=chip["adc_nonlinearity"].astype("float64"), asymmetry=0.1,
    phases=chip["polarity_asymmetry"].astype("float64"),
)  # fmt: skip
np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())

noisy = standard.without("dac_bits", "adc_bits", "ir_drop").scaled("short_term_noise", 10)
noise = number(forward(noisy, np.repeat(x[:1], 4000, axis=0), w, seed=3)) - (x[:1] @ w)
deviation = reference.noise_deviation(x[:1].astype("float64"), w.astype("float64"), output=0.04, short_term=0.175)
if not np.all(np.abs(noise.std(0) / deviation - 1) < 5 / math.sqrt(8000)):
    raise SystemExit(f"noise of {noise.std(0)}, predicted {deviation}")

for name in list_nonidealities():
    standard = standard.with_strength(name, 0.01)
generator = keras.random.SeedGenerator(1)
first, second = (number(forward(standard, x, w, seed=generator)) for _ in range(2))
if not np.any(first != second):
    raise SystemExit("a SeedGenerator gave the same noise twice")
print(f"crossbars agree on {keras.backend.backend()}")
