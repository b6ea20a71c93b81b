"""Run the devices on the Keras backend that the environment names and compare with plain NumPy; 0 if all agrees."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import keras
import numpy as np
from keras import ops

from analognets import devices

spec = importlib.util.spec_from_file_location("numpy_reference", Path(__file__).with_name("numpy_reference.py"))
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def compiled(function):
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(function)
    if backend == "torch":
        import torch

        return torch.compile(function, backend="eager")
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def check_pcm() -> None:
    device = devices.PCM()
    g = np.random.default_rng(0).uniform(0, 25, (2, 30, 20)).astype("float32")
    draws, noise = device.programming_draws(g.shape, 1), device.read_draws(g.shape, 2)
    plain = {name: ops.convert_to_numpy(values).astype("float64") for name, values in {**draws, **noise}.items()}
    wanted = reference.program(g.astype("float64"), plain, reference.pcm_statistics, g_max=25.0, fit_g_max=25.0)
    names = ("conductance", "drift_exponent", "read_noise_amplitude")
    for state in (device.program(g, 1), compiled(device.program_with)(ops.convert_to_tensor(g), draws)):
        for name, values in zip(names, wanted, strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(state[name]), values, rtol=5e-6, atol=5e-6, err_msg=name)
    for time in (0.0, 25.0, 3600.0, 31_536_000.0):
        conductance = reference.read(*wanted, time, plain["read"], t_0=25.0, t_read=250e-9)
        tensor = ops.convert_to_tensor(time, dtype="float32")
        for got in (device.read(state, time, 2), compiled(device.read_with)(state, tensor, noise)):
            np.testing.assert_allclose(ops.convert_to_numpy(got), conductance, rtol=1e-5, atol=1e-5)


def check_others() -> None:
    others = (devices.PCM(read_noise="coherent"), devices.PCM14nm(), devices.PCM.like_aihwkit(), devices.IdealDevice())
    for device in others:
        g = np.random.default_rng(0).uniform(0, device.g_max, (2, 9, 4)).astype("float32")
        state = device.program(g, 1)
        stored = {name: ops.convert_to_numpy(values) for name, values in state.items()}
        first, second = (ops.convert_to_numpy(device.read(kept, "1d", 3)) for kept in (state, stored))
        np.testing.assert_array_equal(first, second)
        traced = compiled(device.read_with)(state, ops.convert_to_tensor(86_400.0), device.read_draws(g.shape, 3))
        np.testing.assert_allclose(first, ops.convert_to_numpy(traced), rtol=2e-5, atol=2e-5)
        try:
            device.program(g + device.g_max, 1)
        except ValueError as error:
            if "must lie in" not in str(error):
                raise
        else:
            raise SystemExit(f"{device} took targets above g_max")
    compensation = devices.GlobalDriftCompensation()
    alpha = compensation.scale(compensation.response(np.ones((3, 2))), compensation.response(np.full((3, 2), 0.5)))
    np.testing.assert_allclose(ops.convert_to_numpy(alpha), 2.0, rtol=1e-6)


check_pcm()
check_others()
print(f"devices agree on {keras.backend.backend()}")
