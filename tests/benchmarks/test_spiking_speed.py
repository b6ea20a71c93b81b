"""Going from spike to spike gives what the dense loop over time steps gives, which the speed is measured against."""

from __future__ import annotations

import numpy as np
import pytest

from analognets.spiking import FloatRows, MemristorRows, WinnerTakeAll, WinnerTakeAllRules
from benchmarks.spiking_speed import DenseLoop


@pytest.mark.parametrize("dt", [0.1, 1.0])
@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize(
    ("kind", "membrane", "threshold"),
    [("float64", 100.0, 1.5), ("memristor", 100.0, 1.5), ("float64", 0.02, 0.6)],  # the last fades by e^50 in 1 ms
)
def test_going_from_spike_to_spike_is_the_dense_loop(dt, learn, kind, membrane, threshold) -> None:
    rules = WinnerTakeAllRules(
        dt=dt, membrane=membrane, threshold=threshold, threshold_step=0.1, threshold_decay=5000.0
    )
    layers = []
    for make in (WinnerTakeAll, DenseLoop):
        rows = FloatRows((12, 64), dtype="float64") if kind == "float64" else MemristorRows((12, 64))
        layers.append(make(rows, rules))
    rng = np.random.default_rng(0)
    pictures = (rng.random((20, 64)) * (rng.random((20, 64)) < 0.25)).astype("float32")
    event, dense = (layer.present(pictures, learn=learn) for layer in layers)
    assert event.sum() > 40
    np.testing.assert_array_equal(event, dense)
    np.testing.assert_allclose(layers[0].rows.weights, layers[1].rows.weights, atol=1e-4)
    np.testing.assert_allclose(layers[0].theta, layers[1].theta, rtol=1e-5)
