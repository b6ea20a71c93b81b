"""Names, serialization, stored state, compiled functions and what wrong input is told."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from safetensors.numpy import load_file, save_file

from analognets import devices
from analognets.errors import InvalidArgumentError, UnknownNameError

ALL = [
    devices.IdealDevice(g_max=30),
    devices.PCM(),
    devices.PCM(12.5, drift_scale=2, t_0=20, drift_clock="since_programming", read_noise_log_divisor=1.0),
    devices.PCM(read_noise="coherent", coherent_knots=[60, 3600.0]),
    devices.PCM(programming_fit=(0.3, 1), programming_fit_g_max=20.0, read_noise_fit=[0.01, 0.5, 0.3]),
    devices.PCM.like_aihwkit(),
    devices.PCM14nm(),
    devices.PCM14nm(devices_per_polarity=1, t_0=20.0, read_noise="coherent"),
]
NUMBERS = [f"{type(device).__name__}-{i}" for i, device in enumerate(ALL)]


def pair(device, seed=0):
    return np.random.default_rng(seed).uniform(0, device.g_max, (2, 8, 9)).astype("float32")


@pytest.mark.parametrize("device", ALL, ids=NUMBERS)
def test_serialization_round_trip(device) -> None:
    data = json.loads(json.dumps(devices.serialize(device)))
    again = devices.deserialize(data)
    assert again == device
    assert type(again) is type(device)
    assert hash(again) == hash(device)
    assert data["registered_name"] == f"analognets>{type(device).__name__}"
    assert type(device).from_config(json.loads(json.dumps(device.get_config()))) == device
    assert devices.get(data) == device
    assert devices.get(device) is device


def test_names() -> None:
    assert {"ideal", "pcm", "pcm_14nm", "reram"} <= {*devices.list_devices()}
    assert devices.get("pcm") == devices.PCM()
    assert devices.get("pcm_14nm") == devices.PCM14nm()
    assert devices.get("ideal") == devices.IdealDevice()
    assert len({*ALL}) == len(ALL)
    assert devices.PCM() != devices.PCM(g_max=20.0)


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        devices.PCM().g_max = 20.0


@pytest.mark.parametrize("device", ALL, ids=NUMBERS)
def test_a_stored_chip_is_read_again_as_it_was(tmp_path, device) -> None:
    state = device.program(pair(device), seed=3)
    save_file({name: ops.convert_to_numpy(values) for name, values in state.items()}, tmp_path / "chip.safetensors")
    stored = load_file(tmp_path / "chip.safetensors")
    again = devices.get(json.loads(json.dumps(devices.serialize(device))))
    for i, time in enumerate(("25s", "1h", "1y")):
        np.testing.assert_array_equal(again.read(stored, time, seed=i), device.read(state, time, seed=i))


def test_state_grows_only_with_coherent_noise() -> None:
    names = {"conductance", "drift_exponent", "read_noise_amplitude"}
    assert set(devices.PCM().program(np.ones(3), 0)) == names
    coherent = devices.PCM(read_noise="coherent", coherent_knots=(25, 3600))
    state = coherent.program(np.ones((4, 3)), 0)
    assert set(state) == names | {"read_noise_path"}
    assert state["read_noise_path"].shape == (2, 4, 3)


def test_one_chip_can_be_read_with_a_source_switched_off() -> None:
    device, still = devices.PCM(), devices.PCM(drift_scale=0, read_noise_scale=0)
    state = device.program(pair(device), 0)
    np.testing.assert_array_equal(still.read({"conductance": state["conductance"]}, "1y"), state["conductance"])


def test_ideal_device_keeps_its_targets() -> None:
    device = devices.IdealDevice(g_max=25.0)
    g = pair(device)
    np.testing.assert_array_equal(device.read(device.program(g, 0), "1y"), g)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_arithmetic_stays_in_float32(policy) -> None:
    before = keras.config.dtype_policy(), keras.config.floatx()
    device = devices.PCM(read_noise="coherent")
    g = pair(device)
    wanted = device.read(device.program(g, 1), "1d")
    try:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx("float64" if policy == "float64" else before[1])
        state = device.program(g.astype("float64"), 1)
        readings = [device.read(state, "1d"), device.read(state, ops.convert_to_tensor(86_400.0, "float32"))]
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_floatx(before[1])
    assert {keras.backend.standardize_dtype(values.dtype) for values in state.values()} == {"float32"}
    for reading in readings:
        np.testing.assert_allclose(reading, wanted, rtol=2e-6)
        assert keras.backend.standardize_dtype(reading.dtype) == "float32"


@pytest.mark.parametrize("device", ALL[1:], ids=NUMBERS[1:])
def test_compiled_functions_are_traced_once(device) -> None:
    program, read = tf.function(device.program_with), tf.function(device.read_with)
    g = tf.constant(pair(device))
    for seed in range(3):
        draws = device.programming_draws(g.shape, seed)
        state = program(g, draws)
        for name, values in device.program(g, seed).items():
            np.testing.assert_allclose(state[name], values, rtol=1e-5, atol=1e-6)
        for time in (0.0, 25.0, 86_400.0):
            got = read(state, tf.constant(time), device.read_draws(g.shape, seed))
            np.testing.assert_allclose(got, device.read(state, time, seed), rtol=2e-5, atol=2e-5)
    assert program.experimental_get_tracing_count() == 1
    assert read.experimental_get_tracing_count() == 1


def test_program_and_read_run_inside_of_a_compiled_function() -> None:
    device = devices.PCM()
    g = tf.constant(pair(device))
    run = tf.function(lambda g: device.read(device.program(g, 5), "1d", seed=6))
    np.testing.assert_allclose(run(g), device.read(device.program(g, 5), "1d", seed=6), rtol=1e-5, atol=1e-6)


def test_float_rounding_of_targets_is_tolerated() -> None:
    exact = devices.PCM(programming_noise_scale=0)
    state = exact.program(np.array([-1e-6, 25.0 * (1 + 1e-6)]), 0)
    np.testing.assert_array_equal(state["conductance"], np.array([0, 25], "float32"))
    assert exact.program(np.zeros((0, 3)), 0)["conductance"].shape == (0, 3)


@pytest.mark.parametrize(
    "targets, received",
    [([-0.1, 1.0], "from -0.1 to 1 uS"), ([0.0, 25.1], "from 0 to 25.1 uS"), ([math.nan, 1.0], "from nan to nan uS")],
)
def test_targets_out_of_range(targets, received) -> None:
    with pytest.raises(
        InvalidArgumentError, match=rf"must lie in \[0, 25\] uS. Received: values {received}. Scale the"
    ):
        devices.PCM().program(targets, 0)


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        (devices.PCM, {"g_max": 0}, "`g_max` of PCM must be a number from 1e-06 to 1e\\+06 uS. Received: g_max=0"),
        (devices.PCM, {"g_max": "25"}, "Received: g_max='25'"),
        (devices.PCM, {"t_0": 0.0}, "`t_0` of PCM must be a number .* s. Received: t_0=0.0"),
        (devices.PCM, {"t_read": -1e-9}, "`t_read` of PCM"),
        (devices.PCM, {"drift_scale": -1}, "`drift_scale` of PCM must be a number from 0 to 1000. Received: .*-1"),
        (devices.PCM, {"read_noise_scale": math.nan}, "`read_noise_scale` of PCM"),
        (devices.PCM, {"programming_noise_scale": -0.1}, "`programming_noise_scale` of PCM"),
        (devices.PCM, {"drift_clock": "utc"}, "must be one of 'absolute', 'since_programming'. Received: .*'utc'"),
        (devices.PCM, {"read_noise": "pink"}, "must be one of 'independent', 'coherent'"),
        (devices.PCM, {"read_noise_reference": "drifted"}, "must be one of 'target', 'programmed'"),
        (devices.PCM, {"read_noise_log_divisor": 3}, "must be one of 2.0, 1.0. Received: read_noise_log_divisor=3"),
        (devices.PCM, {"coherent_knots": (25, 25)}, "`coherent_knots` of PCM must be rising times"),
        (devices.PCM, {"coherent_knots": ()}, "`coherent_knots` of PCM must be rising times"),
        (devices.PCM, {"drift_mean_fit": (0.1, 0.2)}, "`drift_mean_fit` of PCM must hold 4 numbers"),
        (devices.PCM, {"programming_fit": ()}, "`programming_fit` of PCM must hold 1 to 20 numbers"),
        (devices.PCM14nm, {"g_max": 25.0}, "`g_max` of PCM14nm must be a number from 1e-06 to 20.7 uS"),
        (devices.PCM14nm, {"devices_per_polarity": 3}, "must be a whole number from 1 to 2. Received: .*=3"),
        (devices.IdealDevice, {"g_max": -1}, "`g_max` of IdealDevice"),
    ],
)
def test_settings_out_of_range(kind, settings, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        kind(**settings)


def test_wrong_seeds_and_times() -> None:
    device = devices.PCM()
    with pytest.raises(InvalidArgumentError, match="`seed` of devices must be a whole number .* Received: seed=-1"):
        device.program(np.ones(2), -1)
    state = device.program(np.ones(2), 0)
    with pytest.raises(
        InvalidArgumentError, match="needs a seed. Received: seed=None. Pass seed=0 .*read_noise='coherent'"
    ):
        device.read(state, "1h")
    with pytest.raises(InvalidArgumentError, match="A duration must be .* Received: '1 fortnight'"):
        device.read(state, "1 fortnight", seed=0)
    with pytest.raises(InvalidArgumentError, match="Received: -1"):
        devices.IdealDevice().read(state, -1)


def test_states_of_another_kind() -> None:
    state = devices.IdealDevice().program(np.ones(2), 0)
    with pytest.raises(InvalidArgumentError, match="does not fit PCM: it lacks drift_exponent, read_noise_amplitude"):
        devices.PCM().read(state, 0, seed=0)
    with pytest.raises(InvalidArgumentError, match="it lacks read_noise_path. Received: conductance, drift_exponent"):
        devices.PCM(read_noise="coherent").read(devices.PCM().program(np.ones(2), 0), 0)
    coherent = devices.PCM(read_noise="coherent", coherent_knots=(25, 3600))
    with pytest.raises(InvalidArgumentError, match="its read-noise path has 2 pieces, the device 7 knots"):
        devices.PCM(read_noise="coherent").read(coherent.program(np.ones(2), 0), 0)
    with pytest.raises(InvalidArgumentError, match="it lacks conductance. Received: an empty state"):
        devices.IdealDevice().read({}, 0)


def test_unknown_devices() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown device. Did you mean 'pcm_14nm'\? Known: .*pcm, pcm_14nm,"):
        devices.get("pcm14nm")
    with pytest.raises(InvalidArgumentError, match="A device must be a Device object, one of the names .* Received: 3"):
        devices.get(3)
    with pytest.raises(InvalidArgumentError, match="not a serialized device. Received: {'g_max': 25.0}"):
        devices.get({"g_max": 25.0})
    with pytest.raises(InvalidArgumentError, match="not a serialized device"):
        devices.deserialize(keras.saving.serialize_keras_object(devices.GlobalDriftCompensation()))
