"""Non-idealities as data: list, switch off, scale, store; and the laws of the single ones."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from analognets import crossbar
from analognets.crossbar import (
    ADCNonlinearity,
    Crossbar,
    IRDrop,
    NonIdeality,
    OutputNoise,
    ShortTermNoise,
    StuckDevices,
    forward,
    get_nonideality,
    list_nonidealities,
)
from analognets.devices import PCM, ReRAM
from analognets.errors import InvalidArgumentError

STANDARD = crossbar.get("aimc_standard")
BARE = Crossbar(device="ideal", dac_bits=None, adc_bits=None)
FEW = settings(max_examples=40, deadline=None, derandomize=True)


def test_the_standard_crossbar_is_that_of_the_paper() -> None:
    assert STANDARD.strengths() == {
        "dac_bits": 8, "adc_bits": 8, "programming_noise": 1.0, "drift": 1.0, "read_noise": 1.0,
        "ir_drop": 1.0, "short_term_noise": 0.0175, "output_noise": 0.04,
    }  # fmt: skip
    assert (STANDARD.rows, STANDARD.cols, STANDARD.adc_bound) == (512, 512, 10.0)
    assert (STANDARD.weight_scale, STANDARD.input_range, STANDARD.inactive_device) == ("column", "tile", "off")
    assert STANDARD.device == PCM.like_aihwkit()
    assert STANDARD.nonideality("ir_drop") == IRDrop(1.0, 0.35, 5.0, (0.5, -0.2, 0.05))
    assert "2302.08469" in STANDARD.source
    reram = crossbar.get("aimc_reram")
    assert reram.device == ReRAM()
    assert reram.drift_compensation is None
    assert reram.nonideality("short_term_noise") == ShortTermNoise(0.01, law="constant")


@pytest.mark.parametrize("name", list_nonidealities())
def test_serialization_round_trip(name) -> None:
    one = get_nonideality(name, strength=0.25)
    assert one.name == name
    assert one.strength == 0.25
    assert one.active and not one.scaled(0).active
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(one)))
    assert data["registered_name"] == f"analognets>{type(one).__name__}"
    assert get_nonideality(data) == one
    assert get_nonideality(one) is one
    hardware = STANDARD.with_nonideality(one)
    for config in (hardware.get_config(), keras.saving.serialize_keras_object(hardware)):
        assert crossbar.get(json.loads(json.dumps(config))) == hardware
    assert hash(hardware) == hash(STANDARD.with_strength(name, 0.25))


def test_they_are_kept_in_the_order_in_which_they_act() -> None:
    hardware = BARE
    for name in reversed(list_nonidealities()):
        hardware = hardware.with_strength(name, 0.1)
    assert [one.name for one in hardware.nonidealities] == list_nonidealities()
    twice = (OutputNoise(), IRDrop(), OutputNoise(0.1))
    with pytest.raises(InvalidArgumentError, match="each non-ideality once. Received twice: output_noise"):
        Crossbar(nonidealities=twice)
    assert Crossbar(nonidealities=[OutputNoise(), IRDrop()]) == Crossbar(nonidealities=(IRDrop(), OutputNoise()))


def test_switching_scaling_setting() -> None:
    assert STANDARD.without("ir_drop", "output_noise").strengths().keys() == {
        "dac_bits", "adc_bits", "programming_noise", "drift", "read_noise", "short_term_noise",
    }  # fmt: skip
    assert STANDARD.without("adc_bits", "drift").strengths()["drift"] == 0
    assert STANDARD.without("adc_bits").adc_bits is None
    assert STANDARD.scaled("ir_drop", 11.7).nonideality("ir_drop").factor == 11.7
    assert STANDARD.scaled("read_noise", 3).device == PCM.like_aihwkit(read_noise_scale=3.0)
    noisy = STANDARD.scaled("device_noise", 2).strengths()
    assert (noisy["programming_noise"], noisy["drift"], noisy["read_noise"]) == (2, 1, 2)
    quiet = STANDARD.without("device_noise").strengths()
    assert (quiet["programming_noise"], quiet["drift"], quiet["read_noise"]) == (0, 0, 0)
    assert STANDARD.with_strength("adc_bits", 5).adc_bits == 5
    assert STANDARD.with_strength("drift", 0.5).device.drift_scale == 0.5
    assert STANDARD.with_strength("stuck_at_zero", 0.01).nonidealities[0] == StuckDevices(0.01, "zero")
    shaped = STANDARD.with_strength("adc_nonlinearity.spread", 0.4)
    assert shaped.nonideality("adc_nonlinearity") == ADCNonlinearity(0.25, 0.4)
    assert shaped.with_strength("adc_nonlinearity", 0.1).nonideality("adc_nonlinearity") == ADCNonlinearity(0.1, 0.4)
    assert STANDARD.scaled("stuck_at_zero", 3) == STANDARD == STANDARD.without("stuck_at_zero")
    both = STANDARD.with_strength("stuck_at_zero", 0.1).with_strength("stuck_at_random", 0.2)
    assert both.without("stuck_at_zero").strengths()["stuck_at_random"] == 0.2
    assert both.without("stuck_at_zero", "stuck_at_random") == STANDARD
    assert STANDARD.strengths()["ir_drop"] == 1.0, "a crossbar is never changed"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda c: c.without("ir_dorp"), "Unknown non-ideality. Did you mean 'ir_drop'\\?"),
        (lambda c: c.with_strength("outputnoise", 1), "Unknown non-ideality. Did you mean 'output_noise'\\?"),
        (lambda c: c.with_strength("ir_drop.factr", 1), "ir_drop has the settings factor, .* Received: 'factr'"),
        (lambda c: c.with_strength("input_noise.factor", 1), "Unknown setting of input_noise"),
        (lambda c: c.scaled("adc_bits", 2), "Bits can't be scaled. Received: 'adc_bits'. Use with_strength"),
        (lambda c: c.scaled("ir_drop", -1), "`factor` of scaled must be a number of at least 0"),
        (lambda c: c.with_strength("stuck_at_zero", 1.5), "`share` of StuckDevices must be a number from 0 to 1"),
        (lambda c: c.with_strength("output_noise", "x"), "`deviation` of OutputNoise must be a number"),
        (lambda c: c.with_strength("adc_bits", 40), "`adc_bits` of Crossbar must be a whole number from 2 to 16"),
        (lambda c: c.replace(device="ideal").with_strength("drift", 2), "IdealDevice has nothing that could be scaled"),
        (lambda c: c.replace(device="reram").scaled("drift", 2), "ReRAM has programming_noise. Received: 'drift'"),
        (lambda c: c.replace(adc_bound=None), "needs `adc_bound` with adc_gain='fixed', and only then"),
        (lambda c: c.replace(adc_gain="shared"), "Received: adc_gain='shared', adc_bound=10.0"),
        (lambda c: c.replace(adc_bound=-1), "`adc_bound` of Crossbar must be a number from 1e-06"),
        (
            lambda c: c.replace(weight_scale="row"),
            "`weight_scale` of Crossbar must be one of 'layer', 'tile', 'column'",
        ),
        (lambda c: c.replace(inactive_device="gone"), "`inactive_device` of Crossbar must be one of"),
        (lambda c: c.replace(nonidealities=(3,)), "A non-ideality must be one of input_noise, .* Received: 3"),
        (lambda c: get_nonideality("input_noise"), "The non-ideality input_noise needs `deviation`. Received: {}"),
        (lambda c: StuckDevices(0.1, "one"), "`at` of StuckDevices must be one of 'zero', 'g_max', 'random'"),
        (lambda c: ShortTermNoise(law="pmc"), "`law` of ShortTermNoise must be one of 'pcm', 'constant'"),
        (lambda c: IRDrop(polynomial=()), "`polynomial` of IRDrop must hold at least one number"),
    ],
)
def test_what_is_wrong_is_one_sentence(call, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(STANDARD)


def test_a_kind_of_ones_own() -> None:
    class Offset(NonIdeality):
        name = "my_offset"
        deviation = 0.5

        def response(self, outputs, chip, column):
            return outputs + self.deviation

    hardware = BARE.with_nonideality(Offset())
    y = forward(hardware, np.ones((1, 2), "float32"), np.ones((2, 1), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(y), [[2.5]])
    assert hardware.without("my_offset") == BARE


def outputs(hardware, x, w):
    return ops.convert_to_numpy(forward(hardware, np.asarray(x, "float32"), np.asarray(w, "float32")))


@FEW
@given(st.integers(2, 200), st.floats(0.05, 0.9), st.floats(1.05, 1.5))
def test_ir_drop_grows_faster_than_the_conductance(rows, weight, more) -> None:
    """All inputs and weights of one sign: the output falls short, and its relative loss grows with the conductance."""
    x, drop = np.ones((1, rows)), BARE.with_strength("ir_drop", 1.0)
    losses = []
    for w in (weight, min(weight * more, 1.0)):
        exact = rows * w
        losses.append((exact - outputs(drop, x, np.full((rows, 1), w))[0, 0]) / exact)
    assert 0 <= losses[0] < losses[1] + 1e-6
    assert losses[1] > 0 or rows < 5


def test_ir_drop_is_zero_next_to_the_read_out_and_largest_far_away() -> None:
    rows = 128
    drop = BARE.with_strength("ir_drop", 5.0)
    one = np.eye(rows)
    w = np.full((rows, 1), 0.8)
    loss = 0.8 - outputs(drop, one, w)[:, 0]
    assert loss[0] == 0
    assert np.all(np.diff(loss) > 0)
    assert np.all(outputs(drop, np.ones((1, 1)), np.full((1, 3), 0.8)) == np.float32(0.8))


def test_ir_drop_is_odd_in_the_inputs_and_proportional_to_its_factor() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.uniform(-1, 1, (5, 60)), rng.uniform(-1, 1, (60, 7))
    drops = [outputs(BARE.with_strength("ir_drop", f), x, w) - outputs(BARE, x, w) for f in (1, 20)]
    np.testing.assert_allclose(20 * drops[0], drops[1], rtol=2e-2, atol=2e-4)
    np.testing.assert_array_equal(outputs(BARE.with_strength("ir_drop", 20), -x, w), -outputs(
        BARE.with_strength("ir_drop", 20), x, w))  # fmt: skip


def test_the_s_shape_has_slope_one_where_it_is_set_and_the_published_figures() -> None:
    """mu = 1/4 gives the prefactor 2.25 and saturates at 9."""
    shape = BARE.with_nonideality("adc_nonlinearity")

    def s(z):
        return outputs(shape.replace(rows=1 << 20), np.full((1, 1), z), np.ones((1, 1)))[0, 0]

    assert s(1e6) == pytest.approx(9.0, rel=1e-4)
    assert s(1e-3) / 1e-3 == pytest.approx(2.25, rel=1e-3)
    assert (s(2.01) - s(1.99)) / 0.02 == pytest.approx(1.0, rel=1e-3)
    assert s(-3.0) == -s(3.0)


def test_only_negative_inputs_see_the_asymmetry() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.uniform(0, 1, (5, 60)).astype("float32"), rng.uniform(-1, 1, (60, 7)).astype("float32")
    hardware = BARE.with_strength("polarity_asymmetry", 0.3)
    np.testing.assert_allclose(forward(hardware, x, w, seed=1), forward(BARE, x, w), rtol=1e-6)
    np.testing.assert_allclose(forward(hardware, x, w, seed=1, nonnegative=True), forward(BARE, x, w), rtol=1e-6)
    ratio = ops.convert_to_numpy(forward(hardware, -np.eye(60, dtype="float32"), w, seed=1)) / -w
    assert ratio.std() == pytest.approx(0.3, rel=5 / np.sqrt(2 * w.size))
    assert ratio.mean() == pytest.approx(1.0, abs=5 * 0.3 / np.sqrt(w.size))
