"""The supervised rule and the synapses it writes to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from analognets.devices import CuSiO2Memristor, PulsedLinear, PulsedPCM
from analognets.errors import InvalidArgumentError
from analognets.spiking import (
    LIF,
    FloatSynapses,
    MemristorSynapses,
    NormAD,
    Presentation,
    PulsedSynapses,
    SpikeTimeTrainer,
    SpikeTrains,
    SynapseRules,
    score_spikes,
)

DT = 0.5


def poisson(channels, duration, rate, seed):
    rng = np.random.default_rng(seed)
    return SpikeTrains.from_lists(
        [np.sort(rng.uniform(0, duration, rng.poisson(rate * duration / 1000))) for _ in range(channels)], duration
    )


def task(inputs=60, outputs=4, duration=300.0, patterns=2):
    made = []
    for number in range(patterns):
        rng = np.random.default_rng(number)
        target = SpikeTrains.from_lists([np.sort(rng.uniform(40, duration, 3)) for _ in range(outputs)], duration)
        made.append(Presentation(str(number), poisson(inputs, duration, 30.0, 100 + number), target))
    return made


def learned(synapses, epochs, patterns=None, **changes):
    settings_ = {"neurons": LIF(dt=DT), "rate": 1500.0, "rate_decay": 0.97, **changes}
    trainer = SpikeTimeTrainer(patterns or task(), synapses, **settings_)
    return trainer, [trainer.epoch(number) for number in range(epochs)]


def test_directions_are_the_normalised_convolution() -> None:
    dt, steps = 0.1, 300
    inputs = SpikeTrains.from_lists([[1.0, 9.0], [4.0], []], 30.0)
    t = dt * np.arange(1, steps + 1)  # the ends of the steps
    fine = 0.005 * np.arange(steps * 20)
    d = np.zeros((steps, 3))
    for channel, times in enumerate(inputs.lists()):
        c = sum(
            np.where(fine >= f, np.exp(-np.maximum(fine - f, 0) / 5.0) - np.exp(-np.maximum(fine - f, 0) / 1.25), 0.0)
            for f in times
        )
        d[:, channel] = np.convolve(c + np.zeros(len(fine)), np.exp(-fine / 1.0))[: len(fine)][19::20] * 0.005
    norm = np.linalg.norm(d, axis=1)
    found = NormAD(dt=dt).directions(inputs)
    busy = (t > 1.5) & (norm > 1e-2 * norm.max())
    np.testing.assert_allclose(found[busy], d[busy] / norm[busy, None], atol=0.01)
    assert not found[:9].any() and np.allclose(np.linalg.norm(found[15:], axis=1), 1, atol=1e-5)


def test_wrong_spikes_move_weights_against_themselves() -> None:
    rule = NormAD(dt=DT, rate=10.0)
    inputs = SpikeTrains.from_lists([[10.0], [30.0]], 50.0)
    directions = rule.directions(inputs)
    observed = np.zeros((100, 3))
    observed[65, 1] = observed[24, 2] = 1  # ends of steps: 33 ms, 12.5 ms
    target = SpikeTrains.from_lists([[12.0], [], [12.0]], 50.0)
    change = rule.update(directions, target, observed)
    np.testing.assert_allclose(change[:, 0], 10 * directions[24], atol=1e-6)
    np.testing.assert_allclose(change[:, 1], -10 * directions[65], atol=1e-6)
    assert change[0, 0] > 9.9 and change[1, 1] < -9
    assert not change[:, 2].any(), "a met target is no error"


def test_float_synapses_learn_all_spikes() -> None:
    trainer, curve = learned(FloatSynapses((60, 4)), 60)
    assert curve[0]["tolerance_25"] < 0.2 and curve[-1]["tolerance_25"] >= 0.95
    assert trainer.evaluate(0.0)["tolerance_25"] >= 0.95


def test_pcm_synapses_learn_and_forget_and_scaling_helps() -> None:
    synapses = PulsedSynapses((60, 4), rules=SynapseRules(weight_range=12_000.0))
    trainer, curve = learned(synapses, 60)
    assert curve[-1]["tolerance_25"] > 0.7 and synapses.pulses > 0
    end = trainer.time(60)
    synapses.mark(end, seed=0)
    found = {
        scaled: np.mean([trainer.evaluate(end + 4e5, scaled=scaled, seed=s)["tolerance_25"] for s in range(4)])
        for scaled in (False, True)
    }
    assert found[False] + 0.2 < found[True]


def test_trainings_are_reproducible_and_go_on_from_stored_synapses() -> None:
    def made():
        return PulsedSynapses((60, 4), seed=3)

    whole, rows = learned(made(), 4)
    first, _ = learned(made(), 2)
    second = made()
    for old, new in zip(first.synapses.variables, second.variables, strict=True):
        new.assign(old.value)
    again = SpikeTimeTrainer(task(), second, neurons=LIF(dt=DT), rate=1500.0, rate_decay=0.97)
    assert [again.epoch(2), again.epoch(3)] == rows[2:]
    np.testing.assert_array_equal(whole.synapses.read(9.0, seed=1), second.read(9.0, seed=1))


def quiet(**changes):
    return PulsedSynapses((3, 2), device=PulsedLinear(), spread=0.0, rules=SynapseRules(refresh_every=0, **changes))


def test_an_ideal_device_makes_the_wanted_change() -> None:
    synapses = quiet(granularity=0.01)
    change = np.array([[50.0, -80.0], [0.0, 120.0], [-20.0, 0.0]])
    assert synapses.update(change, 1.0, seed=0) == 4
    np.testing.assert_allclose(synapses.read(1.0, seed=0), change, atol=0.05)


def test_amplitudes_below_the_granularity_are_left_out_and_large_ones_cut() -> None:
    synapses = quiet(granularity=0.5, largest=2.0)
    step = synapses.scale * synapses.device.mean_step
    assert synapses.update(step * np.array([[0.4, 0.6], [5.0, 0.0], [0.0, 0.0]]), 1.0, seed=0) == 2
    np.testing.assert_allclose(synapses.read(1.0, seed=0) / step, [[0, 0.6], [2.0, 0], [0, 0]], atol=0.01)


def test_whole_pulses_keep_the_mean_or_round() -> None:
    step = quiet().scale * quiet().device.mean_step
    change = np.full((3, 2), 1.3 * step)
    nearest = quiet(programming="pulses", granularity=1.0, rounding="nearest", largest=5)
    assert nearest.update(change, 0.0, seed=0) == 6
    big = PulsedSynapses(
        (100, 50), device=PulsedLinear(), spread=0.0,
        rules=SynapseRules(refresh_every=0, programming="pulses", granularity=1.0, largest=5),
    )  # fmt: skip
    given = big.update(np.full((100, 50), 1.3 * step), 0.0, seed=0)
    assert abs(given / 5000 - 1.3) < 5 * np.sqrt(0.3 * 0.7 / 5000)
    np.testing.assert_allclose(big.read(0.0, seed=0).mean() / step, given / 5000, rtol=1e-3)


def test_devices_take_turns() -> None:
    synapses = quiet()
    for number in range(6):
        synapses.update(np.full((3, 2), 100.0), float(number), seed=number)
    assert synapses.state()["pulses"][0, :, 0].numpy().round(4).tolist() == pytest.approx(
        [2 * 100 / synapses.scale / synapses.device.mean_step] * 2
        + [100 / synapses.scale / synapses.device.mean_step] * 2,
        rel=1e-3,
    )
    assert not synapses.state()["pulses"][1].numpy().any(), "a rise never touches G-"


def test_every_device_drifts_from_its_own_last_pulse() -> None:
    device = dataclasses.replace(PulsedPCM(), read_noise_share=0.0, read_noise_floor=0.0)
    synapses = PulsedSynapses((4, 1), device=device, rules=SynapseRules(devices_per_polarity=1, refresh_every=0))
    synapses.update(np.array([[500.0], [0.0], [0.0], [0.0]]), 10_000.0, seed=0)
    now, later = (synapses.conductances(time, seed=0)[0, 0] for time in (10_000.0, 20_000.0))
    assert later[0] / now[0] == pytest.approx((10_000 / 38.6) ** -0.04, rel=1e-3)
    assert later[1] / now[1] == pytest.approx(2**-0.04, rel=1e-3)


def test_scaling_undoes_common_drift_exactly() -> None:
    device = dataclasses.replace(PulsedPCM(), read_noise_share=0.0, read_noise_floor=0.0)
    synapses = PulsedSynapses((20, 5), device=device, spread=2000.0)
    before = synapses.read(0.0, seed=0)
    with pytest.raises(InvalidArgumentError, match="needs a reference reading"):
        synapses.read(1.0, seed=0, scaled=True)
    synapses.mark(0.0, seed=0)
    np.testing.assert_allclose(synapses.read(4e5, seed=0, scaled=True), before, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(synapses.read(4e5, seed=0), before * (4e5 / 38.6) ** -0.04, rtol=1e-3, atol=0.1)


def test_full_synapses_are_rewritten_and_keep_their_weights() -> None:
    rules = SynapseRules(devices_per_polarity=2, refresh_every=0, largest=20.0, refresh_above=6.0)
    device = dataclasses.replace(PulsedLinear(), step=0.25)
    synapses = PulsedSynapses((30, 1), device=device, spread=0.0, rules=rules)
    for number in range(14):
        synapses.update(np.full((30, 1), 1000.0 if number % 2 else -1250.0), 0.0, seed=number)
    before = synapses.read(0.0, seed=0)
    assert synapses.conductances(0.0, seed=0).max() > 6
    assert synapses.refresh(1.0, seed=5) > 0
    assert synapses.conductances(1.0, seed=0).max() < 6
    np.testing.assert_allclose(synapses.read(1.0, seed=0), before, atol=synapses.scale * 0.25 * 2)


def test_the_published_number_of_devices() -> None:
    assert PulsedSynapses((132, 168)).device_count == 177_408


@pytest.mark.parametrize("voltage", [None, 0.18, 0.3])
def test_memristors_make_a_wanted_change_in_the_middle_of_their_range(voltage) -> None:
    device = CuSiO2Memristor(step_spread=0.0, device_spread=0.0, read_noise_share=0.0, write_spread=0.0)
    synapses = MemristorSynapses((3, 2), device=device, spread=0.0, voltage=voltage)
    change = np.array([[50.0, -80.0], [0.0, 120.0], [-20.0, 0.0]])
    assert synapses.update(change, 0.0, seed=0) == 4
    np.testing.assert_allclose(synapses.read(), change, rtol=1e-3, atol=0.05)
    for number in range(400):
        synapses.update(np.full((3, 2), 1e9), 0.0, seed=number)
    assert 0.99 * synapses.weight_range < synapses.read().min() <= synapses.read().max() <= synapses.weight_range + 1


def test_memristors_learn_precise_spike_times() -> None:
    synapses = MemristorSynapses((60, 4))
    trainer, curve = learned(synapses, 80, patterns=task(patterns=1), rate=1000.0)
    assert curve[0]["tolerance_5"] < 0.2 and np.mean([row["tolerance_5"] for row in curve[-5:]]) > 0.8
    observed = trainer.observe(0.0, seed=3)[0]
    assert score_spikes(trainer.patterns[0].target, observed, 5.0).false_share < 0.4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PulsedSynapses((2, 2), device="pcm"), "need a pulsed device, such as 'pulsed_pcm'. Received: PCM"),
        (lambda: SynapseRules(programming="laser"), "programming"),
        (
            lambda: MemristorSynapses((2, 2)).update(np.full((2, 2), np.nan), 0.0, seed=0),
            "must hold finite numbers only. Received: NaN or infinity",
        ),
        (
            lambda: PulsedSynapses((2, 2)).update(np.full((2, 2), np.nan), 0.0, seed=0),
            "must hold finite numbers only. Received: NaN or infinity",
        ),
        (
            lambda: SpikeTimeTrainer(task(), FloatSynapses((60, 4)), neurons=LIF(dt=0.7)),
            "must hold a whole number of steps. Received: neurons with dt=0.7 ms",
        ),
        (lambda: SynapseRules(granularity=0.0), "`granularity` of SynapseRules must be a number from"),
        (lambda: MemristorSynapses((2, 2), voltage=0.05), "must reach the device's threshold of 0.1 V"),
        (lambda: MemristorSynapses((2, 2), voltage=0.9), "`voltage` of CuSiO2Memristor must be a number from 0 to 0.5"),
        (
            lambda: SpikeTimeTrainer(task(), FloatSynapses((60, 5))),
            r"must have the shape \(60, 4\) \(inputs, outputs\)",
        ),
        (lambda: SpikeTimeTrainer([], FloatSynapses((60, 5))), "Received: no pattern"),
        (lambda: NormAD(dt=0.1).directions(SpikeTrains([], [], 3, 10.0)), "must hold at least one spike. Received: 3"),
        (
            lambda: Presentation("x", SpikeTrains([], [], 3, 10.0), SpikeTrains([1.0], [0], 3, 10.0)),
            "The input of 'x' must hold at least one spike",
        ),
        (
            lambda: Presentation("x", SpikeTrains([1.0], [0], 3, 20.0), SpikeTrains([1.0], [0], 3, 10.0)),
            "Input and target of 'x' must have one duration",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_a_rule_is_left_as_it_is() -> None:
    rule = NormAD(dt=DT, tau=1.0, rate=2000.0)
    curves = []
    for _ in range(2):
        trainer = SpikeTimeTrainer(task(), FloatSynapses((60, 4)), neurons=LIF(dt=DT), rule=rule, rate_decay=0.5)
        curves.append([trainer.epoch(number) for number in range(3)])
    assert rule.rate == 2000.0 and curves[0] == curves[1]
