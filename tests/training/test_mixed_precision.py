"""Training on devices: what the optimizer promises about chi, pulses, weights and resuming."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets import devices
from analognets.conversion import to_analog
from analognets.errors import ConversionError, InvalidArgumentError, MissingExtraError, RunError
from analognets.training.checkpoints import Checkpoints
from analognets.training.in_memory import DeviceLog, MixedPrecision

LINEAR = devices.PulsedLinear(g_max=40.0, step=0.5)


def built(shape=(30, 20), base=None, *, value=None, **settings):
    """Return an optimizer over one kernel and one bias, and both variables."""
    rng = np.random.default_rng(0)
    value = rng.normal(0, 0.1, shape) if value is None else value
    kernel = keras.Variable(value.astype("float32"), name="kernel")
    bias = keras.Variable(np.zeros(shape[-1], "float32"), name="bias")
    settings = {"device": LINEAR, "weight_range": 1.0, "refresh_every": None, "read_every": None, **settings}
    optimizer = MixedPrecision(keras.optimizers.SGD(1.0) if base is None else base, **settings)
    optimizer.build([kernel, bias])
    return optimizer, kernel, bias


def gradients(shape=(30, 20), count=5, size=0.05, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.normal(0, size, shape).astype("float32"), np.ones(shape[-1], "float32")) for _ in range(count)]


def signed_pulses(optimizer):
    array = optimizer.synapses[0]
    halves = array.state["pulses"].numpy().astype("int64").reshape(2, array.copies, *array.shape).sum(1)
    return halves[0] - halves[1]


@pytest.mark.parametrize("shape", [(30, 20), (3, 3, 2, 4)])
def test_chi_is_conserved_exactly(shape) -> None:
    optimizer, kernel, bias = built(shape, device=devices.PulsedPCM(), weight_range=1.0, epsilon=0.0961)
    array, moved = optimizer.synapses[0], 0
    for gradient in gradients(shape, size=0.2):
        chi, before = array.chi.numpy(), signed_pulses(optimizer)
        optimizer.apply([tf.constant(part) for part in gradient], [kernel, bias])
        pulses = signed_pulses(optimizer) - before
        wanted = (chi - gradient[0]).astype("float64")
        np.testing.assert_array_equal(array.chi.numpy().astype("float64") + pulses * array.epsilon, wanted)
        assert np.abs(array.chi.numpy()).max() < array.epsilon
        moved += np.count_nonzero(pulses)
    assert moved > 20


@pytest.mark.usefixtures("op_by_op")
def test_a_seed_gives_the_same_weights_whatever_the_variables_are_called() -> None:
    found = []
    for name in ("one", "another"):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name=name), keras.layers.Dense(2)])
        model.compile(MixedPrecision("sgd", seed=5, read_every=2, refresh_every=2), "mse", jit_compile=False)
        model.fit(np.ones((8, 6), "float32"), np.ones((8, 2), "float32"), batch_size=2, verbose=0, shuffle=False)
        found.append([*model.get_weights(), *model.optimizer.read(1e4, seed=1, compensate=True).values()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_linear_device_follows_chi() -> None:
    optimizer, kernel, bias = built(epsilon="auto")
    array = optimizer.synapses[0]
    assert array.epsilon == pytest.approx(array.scale * LINEAR.step, rel=1e-4)
    start = kernel.numpy() + array.chi.numpy()
    steps = gradients(count=20)
    for gradient in steps:
        optimizer.apply([tf.constant(part) for part in gradient], [kernel, bias])
    exact = start - np.sum([kernel_gradient for kernel_gradient, _ in steps], axis=0)
    np.testing.assert_allclose(kernel.numpy() + array.chi.numpy(), exact, atol=2e-4)
    np.testing.assert_allclose(bias.numpy(), -20.0, rtol=1e-6)
    np.testing.assert_allclose(optimizer.read()[array.path], kernel.numpy(), atol=1e-6)


def test_what_is_over_the_limit_of_pulses_waits_in_chi() -> None:
    optimizer, kernel, bias = built(max_pulses=2, value=np.zeros((30, 20)))
    array = optimizer.synapses[0]
    optimizer.apply([tf.fill((30, 20), -7.25 * array.epsilon), tf.zeros(20)], [kernel, bias])
    assert np.all(signed_pulses(optimizer) == 2)
    np.testing.assert_allclose(array.chi.numpy(), 5.25 * array.epsilon, rtol=1e-5)


def test_devices_of_a_synapse_take_turns() -> None:
    optimizer, kernel, bias = built(devices_per_polarity=4, value=np.zeros((30, 20)))
    array = optimizer.synapses[0]
    assert array.epsilon == pytest.approx(built()[0].synapses[0].epsilon / 4, rel=1e-4)
    for pulses in (1, 2, 3):
        optimizer.apply([tf.fill((30, 20), -(pulses + 1e-3) * array.epsilon), tf.zeros(20)], [kernel, bias])
    plus = array.state["pulses"].numpy().reshape(2, 4, 600)[0]
    np.testing.assert_array_equal(plus, np.repeat([[2], [2], [1], [1]], 600, axis=1))


def test_without_accumulation_the_update_is_right_in_the_mean() -> None:
    optimizer, kernel, bias = built((100, 100), accumulate=False, value=np.zeros((100, 100)))
    array = optimizer.synapses[0]
    optimizer.apply([tf.fill((100, 100), -0.3 * array.epsilon), tf.zeros(100)], [kernel, bias])
    share = signed_pulses(optimizer).mean()
    assert share == pytest.approx(0.3, abs=5 * np.sqrt(0.3 * 0.7 / 10_000))
    assert not array.chi.numpy().any()


def test_refresh_frees_pairs_and_keeps_their_difference() -> None:
    optimizer, kernel, bias = built(refresh_every=1, refresh_above=8.0, refresh_below=6.0, refresh_pulses=12)
    array = optimizer.synapses[0]
    g = np.full((2, 600), 9.0, "float32")
    g[1] = 9.0 - 0.5 * np.repeat([0, 4, 10, 14], 150)  # of the last kind the difference is too large
    array.state["conductance"].assign(g.reshape(-1))
    array.chi.assign(np.zeros(array.shape))
    optimizer.apply([tf.zeros((30, 20)), tf.zeros(20)], [kernel, bias])
    after = array.state["conductance"].numpy().reshape(2, 600)
    np.testing.assert_allclose(after[0] - after[1], g[0] - g[1], atol=1e-5)
    np.testing.assert_allclose(after[0, 450:], 9.0)
    assert after[:, :450].max() < 5.2
    found = optimizer.statistics()[array.path]
    assert (found["refreshed_pairs"], found["resets"]) == (450, 900)
    np.testing.assert_allclose(kernel.numpy().reshape(-1)[:450], (g[0] - g[1])[:450] * array.scale, atol=1e-5)


def test_weight_decay_pulls_weights_and_not_chi() -> None:
    base = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer, kernel, bias = built(base=base, value=np.full((30, 20), 0.8))
    before = kernel.numpy().mean()
    for _ in range(5):
        optimizer.apply([tf.zeros((30, 20)), tf.zeros(20)], [kernel, bias])
    assert kernel.numpy().mean() + optimizer.synapses[0].chi.numpy().mean() == pytest.approx(before * 0.95**5, rel=0.02)


def test_drift_lowers_readings_and_compensation_returns_them() -> None:
    optimizer, kernel, _ = built(device=devices.PulsedPCM(), value=np.full((30, 20), 0.7))
    path, now = optimizer.synapses[0].path, kernel.numpy().mean()
    later = optimizer.read("30d")[path].mean()
    assert later == pytest.approx(now * (2_592_000 / 38.6) ** -0.04, rel=0.02)
    assert optimizer.read("30d", compensate=True)[path].mean() == pytest.approx(now, rel=0.02)


# ---- in fit


def images():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    inputs = rng.normal(0, 0.3, (96, 6, 6, 1))
    inputs[np.arange(96), labels * 2] += 1.0
    return inputs.astype("float32"), labels


NETWORKS = {
    "dense": lambda: [keras.layers.Flatten(), keras.layers.Dense(16, "relu")],
    "conv": lambda: [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Flatten()],
    "lstm": lambda: [keras.layers.Reshape((6, 6)), keras.layers.LSTM(8)],
}  # fmt: skip


def network(kind="dense", base="adam", **settings):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 1)), *NETWORKS[kind](), keras.layers.Dense(3)])
    base = keras.optimizers.Adam(0.02) if base == "adam" else base
    settings = {
        "device": devices.PulsedPCM(),
        "refresh_every": 7,
        "read_every": 5,
        "seconds_per_step": 10.0,
        **settings,
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(MixedPrecision(base, **settings), loss, metrics=["accuracy"], jit_compile=False)
    return model


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_learn_on_devices(kind) -> None:
    model = network(kind)
    history = model.fit(*images(), epochs=6, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] > 0.7
    chosen = {array.path for array in model.optimizer.synapses}
    assert chosen == {v.path for v in model.trainable_variables if v.path.endswith("kernel")}
    found = model.optimizer.statistics()
    assert all(entry["set_pulses"] > 0 for entry in found.values())


def test_a_saved_training_goes_on_bit_for_bit(tmp_path) -> None:
    data = images()
    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    straight = network()
    straight.fit(*data, epochs=2, **options)
    straight.save(tmp_path / "half.keras")
    checkpoints = Checkpoints(tmp_path, fingerprint="x")
    checkpoints.save([*straight.variables, *straight.optimizer.variables], stage="float", epoch=2, rows=2)
    straight.fit(*data, epochs=2, **options)
    revived = keras.models.load_model(tmp_path / "half.keras")
    other = network(seed=9)
    other.optimizer.build(other.trainable_variables)
    checkpoints.restore(checkpoints.latest().now, [*other.variables, *other.optimizer.variables])
    for model in (revived, other):
        model.fit(*data, epochs=2, **options)
        for wanted, found in zip(straight.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
        for wanted, found in zip(straight.optimizer.variables, model.optimizer.variables, strict=True):
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def test_the_step_is_traced_once() -> None:
    traces = []

    class Counted(keras.losses.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            traces.append(1)
            return super().call(y_true, y_pred)

    counts = []
    for optimizer in ("sgd", MixedPrecision("sgd", refresh_every=3, read_every=2)):
        traces.clear()
        model = network()
        model.compile(optimizer, Counted(from_logits=True), jit_compile=False)
        model.fit(*images(), epochs=3, batch_size=16, verbose=0)
        counts.append(len(traces))
    assert counts[0] == counts[1]


def test_two_optimizers_in_a_step_of_ones_own() -> None:
    maker, judge = (keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]) for _ in range(2))
    optimizers = [MixedPrecision(keras.optimizers.SGD(0.5), seed=seed, weight_range=2.0) for seed in (0, 1)]

    @tf.function
    def step(noise):
        with tf.GradientTape(persistent=True) as tape:
            made = maker(noise)
            losses = [tf.reduce_mean((judge(made) - 1.0) ** 2), tf.reduce_mean(judge(made) ** 2)]
        for model, optimizer, loss in zip((maker, judge), optimizers, losses, strict=True):
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(30):
        step(tf.ones((8, 4)))
    for model, optimizer in zip((maker, judge), optimizers, strict=True):
        assert int(optimizer.iterations) == 30
        assert [array.variable for array in optimizer.synapses] == [model.layers[0].kernel]
        assert optimizer.statistics()[model.layers[0].kernel.path]["set_pulses"] > 0


def test_the_configuration_survives() -> None:
    optimizer = MixedPrecision(
        keras.optimizers.Adam(0.01, clipnorm=1.0), device=devices.PulsedStepPCM(), epsilon=0.05, variables=["a/*", "b"],
        devices_per_polarity=3, refresh_every=None, seed=4, accumulate=False, initial_conductance=1.0,
    )  # fmt: skip
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert isinstance(again, MixedPrecision)
    assert again.get_config() == optimizer.get_config()
    assert again.rules == optimizer.rules
    assert again.device == optimizer.device
    again.learning_rate = 0.5
    assert float(again.base.learning_rate) == 0.5


@pytest.mark.usefixtures("op_by_op")
def test_the_log_tells_what_happened(tmp_path) -> None:
    model, table = network(), tmp_path / "devices.csv"
    history = model.fit(*images(), epochs=2, batch_size=16, verbose=0, callbacks=[DeviceLog(table)])
    lines = table.read_text("utf-8").splitlines()
    assert len(lines) == 1 + 2 * len(model.optimizer.synapses)
    assert history.history["device_pulses_per_weight"][0] > 0
    total = sum(int(line.split(",")[3]) for line in lines[1:])
    assert total == sum(entry["set_pulses"] for entry in model.optimizer.statistics().values())
    entry = next(iter(model.optimizer.statistics().values()))
    assert sum(entry["g_plus"]) == entry["synapses"]
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(ConversionError, match="Compile the model with MixedPrecision"):
        plain.fit(np.ones((4, 4)), np.ones(4), verbose=0, callbacks=[DeviceLog()])


@pytest.mark.usefixtures("op_by_op")
def test_tensorboard_gets_the_columns(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    model = network()
    model.fit(*images(), epochs=1, batch_size=32, verbose=0, callbacks=[DeviceLog(log_dir=tmp_path)])
    assert list(tmp_path.glob("events*"))


def test_tensorboard_is_asked_for_where_it_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"analognets\[tensorboard\]"):
        DeviceLog(log_dir=tmp_path)


@pytest.mark.usefixtures("op_by_op")
def test_a_checkpoint_of_other_devices_is_refused(tmp_path) -> None:
    optimizer, _, _ = built()
    store: dict = {}
    optimizer.save_own_variables(store)
    for other in ({"device": devices.PulsedLinear(g_max=30)}, {"devices_per_polarity": 2}):
        with pytest.raises(RunError, match="checkpoint is of other devices"):
            built(**other)[0].load_own_variables(store)
    built()[0].load_own_variables(store)
    models = [network(), network(device=devices.PulsedStepPCM())]
    models[0].fit(*images(), epochs=1, batch_size=64, verbose=0)
    models[0].save_weights(tmp_path / "one.weights.h5")
    models[1].optimizer.build(models[1].trainable_variables)
    with pytest.raises(ValueError, match="checkpoint is of other devices. Received: .*PulsedPCM.*; this optimizer has"):
        models[1].load_weights(tmp_path / "one.weights.h5")


@pytest.mark.parametrize(("name", "other"), [("epsilon", 0.5), ("weight_range", 2.0)])
def test_a_checkpoint_of_another_scale_is_refused_unless_it_is_left_open(name, other) -> None:
    optimizer, _, _ = built(epsilon=0.25)
    store: dict = {}
    optimizer.save_own_variables(store)
    wrong = built(**{"epsilon": 0.25, name: other})[0]
    with pytest.raises(RunError, match=f"has another {name} for 'kernel'. Received: (0.25|1) in the checkpoint"):
        wrong.load_own_variables(store)
    free = built(**{"epsilon": 0.25, name: "auto"})[0]
    free.load_own_variables(store)
    assert (free.synapses[0].scale, free.synapses[0].epsilon) == (optimizer.synapses[0].scale, 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0}, "`epsilon` of MixedPrecision"),
        ({"epsilon": -0.1}, "`epsilon` of MixedPrecision"),
        ({"device": "pcm"}, "must take pulses"),
        ({"device": "pulsed_pcn"}, "Did you mean 'pulsed_pcm'"),
        ({"devices_per_polarity": 0}, "`devices_per_polarity`"),
        ({"conductance_range": 50.0}, "`conductance_range`"),
        ({"refresh_every": 0}, "`refresh_every`"),
        ({"base": keras.optimizers.SGD(use_ema=True)}, "can't average weights"),
        ({"weight_range": 0.001}, "The devices can't hold 'kernel'.*Use weight_range of at least"),
        ({"variables": ["nothing*"]}, "No variable is on devices"),
        ({"variables": 5}, "`variables` of MixedPrecision must be 'kernels', 'all' or a list"),
        ({"initial_conductance": 39.0}, "`initial_conductance` of MixedPrecision must be a number from 0 to 19.95"),
        ({"base": MixedPrecision("sgd")}, "must be another Keras optimizer.*Received: MixedPrecision"),
    ],
)
def test_what_is_wrong_is_said(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        built(**settings)


def test_memory_is_less_than_six_floats_a_synapse_and_pair() -> None:
    for copies in (1, 4):
        optimizer, kernel, _ = built(
            (100, 60), devices_per_polarity=copies, device=devices.PulsedPCM(), weight_range=1.0
        )
        held = sum(variable.numpy().nbytes for variable in optimizer._variables)
        assert held < 6 * 4 * copies * 6000


def test_only_touched_synapses_change() -> None:
    optimizer, kernel, bias = built(device=devices.PulsedPCM(), epsilon=0.1)
    array = optimizer.synapses[0]
    array.chi.assign(np.zeros(array.shape))
    before = {name: values.numpy() for name, values in array.state.items()}
    weights, gradient = kernel.numpy(), np.zeros((30, 20), "float32")
    gradient[4, 7], gradient[21, 0] = 0.5, -0.5
    optimizer.apply([tf.constant(gradient), tf.zeros(20)], [kernel, bias])
    assert {tuple(place) for place in np.argwhere(kernel.numpy() != weights)} == {(4, 7), (21, 0)}
    for name, values in array.state.items():
        changed = np.flatnonzero(values.numpy() != before[name])
        assert set(changed % 600) <= {4 * 20 + 7, 21 * 20}
    assert array.state["conductance"].numpy()[21 * 20] > before["conductance"][21 * 20] - 1e-6


@pytest.mark.parametrize("feedback", [False, True])
def test_chi_takes_what_a_refresh_misses_if_it_shall(feedback) -> None:
    optimizer, kernel, bias = built(
        value=np.zeros((30, 20)), refresh_every=1, refresh_above=5.0, refresh_below=30.0, refresh_feedback=feedback,
        device=devices.PulsedLinear(g_max=40.0, step=3.0), conductance_range=8.0,
    )  # fmt: skip
    array = optimizer.synapses[0]
    array.state["conductance"].assign(np.repeat([9.0, 7.0], 600).astype("float32"))  # 2 uS, to be written in 3 uS steps
    array.chi.assign(np.zeros(array.shape))
    array.read_all(tf.constant(0.0))
    before = kernel.numpy()
    optimizer.apply([tf.zeros((30, 20)), tf.zeros(20)], [kernel, bias])
    np.testing.assert_allclose(kernel.numpy(), 3 * array.scale, rtol=1e-5)
    np.testing.assert_allclose(array.chi.numpy(), before - kernel.numpy() if feedback else 0.0, atol=1e-6)


def test_the_automatic_range_goes_by_the_spread_of_the_weights() -> None:
    spread = built()[1].numpy().std()
    for sigma in (4.0, 8.0):
        optimizer, _, _ = built(weight_range="auto", weight_range_sigma=sigma)
        array = optimizer.synapses[0]
        assert array.scale * optimizer.rules.conductance_range == pytest.approx(sigma * spread, rel=0.05)


def test_constraints_are_refused() -> None:
    layer = keras.layers.Dense(2, kernel_constraint="non_neg")
    layer.build((None, 3))
    with pytest.raises(InvalidArgumentError, match="has a constraint"):
        MixedPrecision("sgd").build(layer.trainable_variables)


def test_steps_are_not_gathered_twice() -> None:
    with pytest.raises(InvalidArgumentError, match="takes a step with each batch.*gradient_accumulation_steps=4"):
        MixedPrecision(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4))


def test_weights_on_devices_are_not_clipped_to_a_frozen_range() -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="logits")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    frozen, free = to_analog(net, calibrate_on=inputs), to_analog(net)
    for analog in (frozen, free):
        analog.compile(MixedPrecision(keras.optimizers.SGD(0.1)), loss, jit_compile=False)
    with pytest.raises(InvalidArgumentError, match="clipped to a frozen W_max.*Received: W_max 0.*Learn on devices fi"):
        frozen.fit(inputs, np.arange(40) % 3, verbose=0)
    free.fit(inputs, np.arange(40) % 3, verbose=0)


def test_weights_that_are_set_later_are_written_at_that_time() -> None:
    device = devices.PulsedLinear(g_max=40.0, step=0.01, drift_exponent=0.05, t_0=30.0)
    optimizer, kernel, bias = built(device=device, seconds_per_step=1e5)
    for gradient in gradients(count=4):
        optimizer.apply([tf.constant(part) for part in gradient], [kernel, bias])
    wanted = np.random.default_rng(7).normal(0, 0.1, (30, 20)).astype("float32")
    kernel.assign(wanted)
    optimizer.program()
    np.testing.assert_allclose(kernel.numpy(), wanted, atol=1e-5)
    (now,) = optimizer.read().values()
    np.testing.assert_allclose(now, wanted, atol=1e-5)
    (later,) = optimizer.read(optimizer.time + 30.0 * np.e).values()
    np.testing.assert_allclose(later, wanted * np.exp(-0.05), atol=1e-5)


def test_weights_beyond_the_devices_are_refused_later_too() -> None:
    optimizer, kernel, _ = built()
    kernel.assign(np.full((30, 20), 3.0, "float32"))
    with pytest.raises(InvalidArgumentError, match="can't hold 'kernel': its weights reach 3"):
        optimizer.program()


@pytest.mark.parametrize("name", sorted(
    name for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    and name not in ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
))  # fmt: skip
def test_every_optimizer_moves_fine_devices_as_digital_weights_or_is_refused(name) -> None:
    def base():
        return getattr(keras.optimizers, name)(0.02)

    value = np.random.default_rng(0).normal(0, 0.1, (30, 20))
    fine = devices.PulsedLinear(g_max=40.0, step=0.02)
    try:
        optimizer, kernel, bias = built(base=base(), device=fine, max_pulses=255, value=value)
    except InvalidArgumentError as error:
        assert "must go by gradients alone" in str(error) and name in ("Adafactor", "Ftrl", "Lamb", "ScheduleFreeAdamW")
        return
    digital, wanted = base(), keras.Variable(value.astype("float32"), name="kernel")
    other = keras.Variable(np.zeros(20, "float32"), name="bias")
    digital.build([wanted, other])
    for gradient in gradients(count=4):
        optimizer.apply([tf.constant(part) for part in gradient], [kernel, bias])
        digital.apply([tf.constant(part) for part in gradient], [wanted, other])
    moved = np.abs(wanted.numpy() - value).max()
    np.testing.assert_allclose(kernel.numpy(), wanted.numpy(), atol=0.01 * moved + 2 * optimizer.synapses[0].epsilon)


@pytest.mark.parametrize("scaled", [False, True])
def test_what_is_spared_from_weight_decay_is_spared_on_devices(scaled) -> None:
    def base():
        rule = keras.optimizers.AdamW(0.01, weight_decay=2.0)
        rule.exclude_from_weight_decay(var_names=["bias"])
        return keras.optimizers.LossScaleOptimizer(rule) if scaled else rule

    optimizer, kernel, bias = built(base=base(), device=devices.PulsedLinear(g_max=40.0, step=0.02), max_pulses=255)
    digital, wanted = base(), [keras.Variable(one.numpy(), name=one.name) for one in (kernel, bias)]
    digital.build(wanted)
    for gradient in gradients(count=6):
        for rule, variables in ((optimizer, [kernel, bias]), (digital, wanted)):
            rule.apply(
                [tf.constant(part) * (float(digital.dynamic_scale.numpy()) if scaled else 1.0) for part in gradient],
                variables,
            )
    np.testing.assert_allclose(bias.numpy(), wanted[1].numpy(), rtol=1e-5)
    np.testing.assert_allclose(kernel.numpy(), wanted[0].numpy(), atol=5e-3)


def test_a_log_before_the_checkpoint_counts_the_pulses_of_each_epoch(tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8)).astype("float32"), rng.normal(size=(64, 4)).astype("float32")

    def trained(folder, *epochs):
        for count in epochs:
            keras.utils.set_random_seed(0)
            net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="d")])
            net.compile(MixedPrecision(keras.optimizers.SGD(0.05), device="pulsed_pcm"), "mse", jit_compile=False)
            kept = keras.callbacks.BackupAndRestore(tmp_path / folder, delete_checkpoint=False)
            log = DeviceLog(tmp_path / f"{folder}.csv")
            net.fit(x, y, batch_size=8, epochs=count, shuffle=False, verbose=0, callbacks=[log, kept])
        return [line.split(",")[2:4] for line in (tmp_path / f"{folder}.csv").read_text("utf-8").splitlines()]

    assert trained("interrupted", 2, 4) == trained("whole", 4)
