"""Learning rules that this file alone defines: one trains spiking neurons on devices, the other a dense network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets import devices
from analognets.errors import InvalidArgumentError
from analognets.spiking import (
    LIF,
    LearningRule,
    Presentation,
    PulsedSynapses,
    SpikeTimeTrainer,
    SpikeTrains,
    SynapseRules,
)
from analognets.synapses import UpdateRule
from analognets.training import MixedPrecision

DT = 0.5


class ReSuMe(LearningRule):
    """Remote supervised learning: wanted spikes strengthen inputs by their traces, observed ones weaken them."""

    def directions(self, inputs):
        decay, trace = np.exp(-self.dt / 5.0), np.zeros(inputs.n_channels)
        rows = []
        for now in inputs.to_dense(self.dt):
            trace = trace * decay + now
            rows.append(trace)
        return np.array(rows, "float32")

    def moments(self, target, observed):
        return target.to_dense(self.dt) - (observed > 0)


def pattern(inputs=60, outputs=4, duration=300.0):
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, duration, rng.poisson(9))) for _ in range(inputs)]
    wanted = [np.sort(rng.uniform(40, duration, 3)) for _ in range(outputs)]
    return Presentation("x", SpikeTrains.from_lists(trains, duration), SpikeTrains.from_lists(wanted, duration))


def test_a_spiking_layer_learns_on_pulsed_devices_by_a_rule_from_outside() -> None:
    synapses = PulsedSynapses((60, 4), rules=SynapseRules(weight_range=12_000.0))
    rule = ReSuMe(dt=DT, rate=200.0)
    trainer = SpikeTimeTrainer([pattern()], synapses, neurons=LIF(dt=DT), rule=rule, rate_decay=0.98)
    curve = [trainer.epoch(number) for number in range(60)]
    assert curve[0]["tolerance_25"] < 0.3
    assert np.mean([row["tolerance_25"] for row in curve[-5:]]) > 0.7
    assert synapses.pulses > 0
    assert trainer.rule.rate == pytest.approx(200.0 * 0.98**59)
    assert rule.rate == 200.0, "the caller's own rule is left as it is"


def test_a_rule_of_another_time_step_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must have the neurons' time step of 0.5 ms. Received: a rule with"):
        SpikeTimeTrainer([pattern()], PulsedSynapses((60, 4)), neurons=LIF(dt=DT), rule=ReSuMe(dt=0.25))


class OnePulse(UpdateRule):
    """One pulse in the direction of what has gathered, from half a step on; what is over or under stays in chi."""

    least = 0.5
    keeps_rest = True

    def size(self, change, uniform):
        return tf.ones_like(change)


class ByOnePulse(MixedPrecision):
    """Trains by `OnePulse`."""

    def update_rule(self):
        return OnePulse(most=1)


def test_a_dense_network_learns_on_devices_by_a_rule_from_outside() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    inputs = (rng.normal(0, 0.3, (96, 6)) + 2 * np.eye(6)[labels]).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(12, "relu"), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = ByOnePulse(keras.optimizers.Adam(0.02), device=devices.PulsedPCM(), refresh_every=7, read_every=5)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    history = model.fit(inputs, labels, epochs=8, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] > 0.8
    for array in optimizer.synapses:
        assert array.report()["set_pulses"] > 0
        assert np.abs(array.chi.numpy()).max() < 20 * array.epsilon


def test_what_the_rule_gives_is_what_the_devices_get() -> None:
    kernel = keras.Variable(np.zeros((4, 5), "float32"), name="kernel")
    linear = devices.PulsedLinear(g_max=40.0, step=0.5)
    optimizer = ByOnePulse(keras.optimizers.SGD(1.0), device=linear, weight_range=1.0)
    optimizer.build([kernel])
    array, wanted = optimizer.synapses[0], np.zeros((4, 5), "float32")
    wanted[0], wanted[1], wanted[2] = 0.4, 0.6, -3.0
    optimizer.apply([tf.constant(-wanted * array.epsilon)], [kernel])
    pulses = np.zeros((4, 5))
    pulses[1], pulses[2] = 1, -1
    np.testing.assert_allclose(kernel.numpy() / array.epsilon, pulses, atol=1e-3)
    np.testing.assert_allclose(array.chi.numpy() / array.epsilon, wanted - pulses, atol=1e-3)
