"""Programmed chips against the whole forward path in plain NumPy, double precision."""

from __future__ import annotations

import numpy as np
import pytest

from analognets.deploy.chips.chips import program

TIMES = (25.0, 86_400.0, 31_536_000.0)
SMALL_TILES = {"rows": 20, "cols": 3}  # conv_2 is cut into 2 row blocks, all layers but the last into 2 column blocks


def compare(outputs: np.ndarray, expected: np.ndarray, tied: np.ndarray, at_least: float) -> None:
    clear = ~tied
    assert clear.mean() > at_least, f"only {clear.mean():.0%} of the samples are away from converter edges"
    np.testing.assert_allclose(outputs[clear], expected[clear], rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("compensation", [True, False])
@pytest.mark.parametrize("seconds", TIMES)
@pytest.mark.parametrize(("mode", "settings"), [("plain", {}), ("fused", {}), ("plain", SMALL_TILES)])
def test_a_drifting_chip_computes_what_the_equations_say(
    make, numpy_reference, quiet_pcm, samples, mode, settings, seconds, compensation
) -> None:
    model = make(quiet_pcm, **settings)
    chips = program(model, 1, seed=3)
    if settings:
        assert [layer.tiling.shape for layer in chips.layers] == [(1, 2), (2, 2), (1, 2), (1, 1)]
    states = [layer.state for layer in chips.chips[0].layers]
    weights = [numpy_reference.drifted(state, seconds, quiet_pcm.t_0) / quiet_pcm.g_max for state in states]
    first = [numpy_reference.drifted(state, 0, quiet_pcm.t_0) / quiet_pcm.g_max for state in states]
    forward = numpy_reference.Forward(len(samples))
    expected = forward.model(model, samples, weights, first if compensation else [None] * len(first))
    outputs = chips.predict(samples, at=seconds, drift_compensation=compensation, mode=mode)
    compare(outputs, expected, forward.tied, at_least=0.2)


@pytest.mark.parametrize("bits", [4, 6])
def test_fewer_bits_and_read_noise(make, numpy_reference, samples, bits) -> None:
    model = make("pcm", dac_bits=bits, adc_bits=bits, drift_compensation=None)
    chips = program(model, 1, seed=4)
    reads = chips.chips[0].read(chips.layers, "1d")
    weights = [
        np.asarray(read.kernel) / layer.weight_max for read, layer in zip(reads, chips.chips[0].layers, strict=True)
    ]
    forward = numpy_reference.Forward(len(samples))
    expected = forward.model(model, samples, weights, [None] * len(weights))
    for mode in ("plain", "fused"):
        compare(chips.predict(samples, at="1d", mode=mode), expected, forward.tied, at_least=0.2)
