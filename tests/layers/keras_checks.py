"""What Keras' own tests ask of a layer, stated for the analog layers on whichever backend runs.

`test_keras_checks.py` runs it on TensorFlow, and as a script it runs on the backend that KERAS_BACKEND names.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets import layers as an
from analognets.layers import AnalogBlock, AnalogLayer

L = keras.layers
RNG = np.random.default_rng(0)
POLICIES = ("float32", "mixed_bfloat16", "bfloat16", "float64")


@keras.saving.register_keras_serializable(package="keras_checks")
class Residual(L.Layer):
    """A block of one's own, whose analog layer stands between digital ones."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._self_dense = an.AnalogDense(6, name="inner", dtype=self.dtype_policy)
        self.norm = L.LayerNormalization(name="norm", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self._self_dense.build(input_shape)
        self.norm.build(input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self.norm(inputs + self._self_dense(inputs))


@dataclasses.dataclass(frozen=True)
class Case:
    """One analog layer under its checks.

    Args:
        make: makes the layer with a dtype policy.
        twin: makes the Keras layer that it stands for; None: there is none.
        shape: of one sample.
        arguments: how often the inputs are given.
        masked: whether inputs may have a mask.
    """

    make: Callable[[Any], Any]
    twin: Callable[[], Any] | None
    shape: tuple[int, ...]
    arguments: int = 1
    masked: bool = False

    def data(self, dtype: str = "float32") -> list[np.ndarray]:
        return [RNG.normal(size=(4, *self.shape)).astype(dtype)] * self.arguments


def case(kind: str, shape: tuple[int, ...], *, arguments: int = 1, masked: bool = False, **settings: Any) -> Case:
    analog, digital = getattr(an, f"Analog{kind}"), getattr(L, kind)
    name = kind.lower()
    return Case(
        lambda dtype, **own: analog(**settings, **own, name=name, dtype=dtype),
        lambda: digital(**settings, name=name),
        shape,
        arguments,
        masked,
    )


SEQUENCE = (5, 6)
NO_QR: dict[str, Any] = {"recurrent_initializer": "glorot_uniform"}
"""Keras' orthogonal initializer can't make weights in bfloat16."""
CASES: dict[str, Case] = {
    "dense": case("Dense", (6,), units=4, activation="relu", kernel_regularizer="l2"),
    "dense of sequences": case("Dense", SEQUENCE, units=4, use_bias=False, masked=True),
    "einsum": case("EinsumDense", SEQUENCE, equation="abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de"),
    "conv 1d": case("Conv1D", SEQUENCE, filters=4, kernel_size=2, padding="causal", activation="relu"),
    "conv 2d": case("Conv2D", (6, 6, 4), filters=4, kernel_size=3, groups=2, strides=2, padding="same"),
    "conv 3d": case("Conv3D", (4, 4, 4, 2), filters=3, kernel_size=2),
    "depthwise 1d": case("DepthwiseConv1D", SEQUENCE, kernel_size=2, depth_multiplier=2),
    "depthwise 2d": case("DepthwiseConv2D", (6, 6, 3), kernel_size=3, use_bias=False),
    "separable 1d": case("SeparableConv1D", SEQUENCE, filters=4, kernel_size=2, activation="tanh"),
    "separable 2d": case("SeparableConv2D", (6, 6, 3), filters=4, kernel_size=2, use_bias=False),
    "simple rnn": case("SimpleRNN", SEQUENCE, units=4, masked=True, **NO_QR),
    "lstm": case("LSTM", SEQUENCE, units=4, return_sequences=True, masked=True, **NO_QR),
    "gru": case("GRU", SEQUENCE, units=4, reset_after=False, masked=True, **NO_QR),
    "attention": case("MultiHeadAttention", SEQUENCE, arguments=2, num_heads=2, key_dim=3, masked=True),
    "grouped attention": case(
        "GroupQueryAttention", SEQUENCE, arguments=2, num_query_heads=4, num_key_value_heads=2, head_dim=3
    ),
    "cell": Case(
        lambda dtype, **own: an.AnalogRNN(
            an.AnalogGRUCell(4, **NO_QR, **own, name="cell", dtype=dtype), name="r", dtype=dtype
        ),
        lambda: L.RNN(L.GRUCell(4, name="cell"), name="r"),
        SEQUENCE,
        masked=True,
    ),
    "both ways": Case(
        lambda dtype, **own: an.AnalogBidirectional(
            an.AnalogLSTM(4, **NO_QR, **own, name="l", dtype=dtype), name="b", dtype=dtype
        ),
        lambda: L.Bidirectional(L.LSTM(4, name="l"), name="b"),
        SEQUENCE,
        masked=True,
    ),
    "over time": Case(
        lambda dtype, **own: an.AnalogTimeDistributed(
            an.AnalogDense(4, **own, name="d", dtype=dtype), name="t", dtype=dtype
        ),
        lambda: L.TimeDistributed(L.Dense(4, name="d"), name="t"),
        SEQUENCE,
        masked=True,
    ),
    "block": Case(
        lambda dtype, **own: AnalogBlock(Residual(name="block", dtype=dtype), dtype=dtype), None, SEQUENCE[1:]
    ),
}
ON_TILES = {"crossbar": "aimc_standard"}
HARDWARE: dict[str, dict[str, Any]] = {name: {} for name in CASES} | {
    f"{name} on tiles": ON_TILES for name in ("dense", "conv 2d", "gru", "attention")
}


def made(name: str, dtype: Any = "float32", *, calibrated: bool = True) -> Any:
    """Return the layer of a case, built, with the converters on."""
    found = CASES[name.removesuffix(" on tiles")]
    layer, data = found.make(dtype, **HARDWARE[name]), found.data()
    layer(*(symbols(data) if is_jax() else data))  # JAX would compile each operation, only to build
    for inner in layer._flatten_layers():
        if isinstance(inner, AnalogLayer):
            inner.calibrated = calibrated
            inner.input_range.assign(inner.input_range * 2.5)
    return layer


def symbols(data: list[np.ndarray], batch: int | None = 4) -> list[keras.KerasTensor]:
    """Return inputs without values."""
    return [keras.KerasTensor((batch, *one.shape[1:]), "float32") for one in data]


def computed(layer: Any, data: list[np.ndarray]) -> Any:
    """Return the outputs of a layer; in one piece on JAX, which would compile each operation by itself."""
    if not is_jax():
        return layer(*data)
    import jax

    def call(values: list[Any], data: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))):
            return layer(*data)

    return jax.jit(call)([one.value for one in layer.variables], data)


def number(values: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(values, "float32"))


def check_config(name: str) -> None:
    """A config makes the layer again, is the same for equal layers, and is plain data."""
    found = CASES[name.removesuffix(" on tiles")]
    one, other = (found.make("float32", **HARDWARE[name]) for _ in range(2))
    config = one.get_config()
    text = json.dumps(config)
    assert text == json.dumps(other.get_config()), "two equal layers differ"
    again = type(one).from_config(copy.deepcopy(config))  # Keras' wrappers take their layer out of the config
    assert again.get_config() == config, "the round trip changes the config"
    assert json.dumps(type(one).from_config(json.loads(text)).get_config()) == text


def check_shapes(name: str) -> None:
    """What a layer says of its outputs is what comes."""
    found = CASES[name.removesuffix(" on tiles")]
    for dtype in POLICIES[: 3 if is_jax() else 4]:  # JAX has no float64 unless asked for
        layer = made(name, dtype)
        data = found.data()
        spec, outputs = layer(*symbols(data)), computed(layer, data)
        assert len(spec.shape) == len(outputs.shape)
        assert all(said in (None, size) for said, size in zip(spec.shape, outputs.shape, strict=True)), spec.shape
        assert spec.dtype == keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype, dtype
        assert np.isfinite(number(outputs)).all()
        for variable in layer.trainable_variables:
            converter = variable.name in ("input_range", "gain")
            assert variable.dtype == ("float32" if converter else layer.variable_dtype), variable.path
        unknown = layer(*symbols(data, batch=None))
        assert tuple(unknown.shape)[1:] == tuple(spec.shape)[1:]


def check_twin(name: str) -> None:
    """Without converters the layer is Keras' layer: same outputs, masks and attributes of weights."""
    found = CASES[name.removesuffix(" on tiles")]
    if found.twin is None:
        return
    layer, twin = made(name, calibrated=False), found.twin()
    data = found.data()
    twin(*data)
    assert layer.supports_masking == twin.supports_masking
    kernels = ("kernel", "bias", "depthwise_kernel", "pointwise_kernel")
    held = [key for key in kernels if isinstance(getattr(twin, key, None), keras.Variable)]
    for key in held:
        assert tuple(getattr(layer, key).shape) == tuple(getattr(twin, key).shape)
        getattr(twin, key).assign(getattr(layer, key))
    if held:
        np.testing.assert_allclose(number(layer(*data)), number(twin(*data)), rtol=1e-4, atol=1e-5)
    if not found.masked:
        return
    mask = keras.ops.convert_to_tensor(np.arange(5) < np.array([[5], [3], [2], [4]]))
    inputs = data[0] if found.arguments == 1 else data
    masks = mask if found.arguments == 1 else [mask, mask]
    before, after = (one.compute_mask(inputs, masks) for one in (twin, layer))
    assert (before is None) == (after is None)
    if before is not None:
        np.testing.assert_array_equal(*[number(keras.tree.flatten(one)[0]) for one in (before, after)])


def network(name: str) -> keras.Model:
    """Return a model around the layer of a case."""
    found = CASES[name.removesuffix(" on tiles")]
    inputs = keras.Input(found.shape)
    outputs = made(name)(*[inputs] * found.arguments)
    return keras.Model(inputs, L.Flatten()(outputs))


def check_model(name: str) -> None:
    """Saved, cloned, compiled and trained as any other layer."""
    found = CASES[name.removesuffix(" on tiles")]
    keras.utils.set_random_seed(0)
    model, data = network(name), found.data()[0]
    wanted = model.predict(data, verbose=0)
    np.testing.assert_allclose(number(model(data)), wanted, rtol=1e-3, atol=1e-3)
    if keras.backend.backend() == "tensorflow":
        model.compile("sgd", "mse", jit_compile=True)
        np.testing.assert_allclose(model.predict(data, verbose=0), wanted, rtol=1e-2, atol=1e-2)
    before = [number(variable) for variable in model.trainable_variables]
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile="auto" if is_jax() else False)
    history = model.fit(data, np.ones_like(wanted), epochs=2, batch_size=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    after = [number(variable) for variable in model.trainable_variables]
    kernels = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True) if a.ndim > 1]
    assert all(kernels), "a kernel was not trained"
    wanted = number(model(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
        model.save_weights(Path(folder) / "m.weights.h5")
        clone = keras.models.clone_model(model)
        clone.load_weights(Path(folder) / "m.weights.h5")
    np.testing.assert_array_equal(number(loaded(data)), wanted)
    np.testing.assert_array_equal(number(clone(data)), wanted)
    slots = [number(variable) for variable in loaded.optimizer.variables]
    for one, other in zip(slots, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, number(other))
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(number(clone(data)), wanted)


def is_jax() -> bool:
    return keras.backend.backend() == "jax"


CHECKS = (check_config, check_shapes, check_twin, check_model)
PAIRS = [
    (name, check)
    for name in HARDWARE
    for check in CHECKS
    if check is not check_model or not HARDWARE[name] or name == "dense on tiles"
]
"""Layers and their checks. On tiles test_realistic_crossbar, test_recurrent and test_attention train the others."""


def main() -> None:
    faults = []
    for name, check in PAIRS:
        try:
            check(name)
        except Exception as error:
            faults.append(f"{check.__name__} of {name}: {type(error).__name__}: {str(error)[:300]}")
    assert not faults, "\n".join(faults)
    print(f"layers keep Keras' rules on {keras.backend.backend()}")


if __name__ == "__main__":
    main()
