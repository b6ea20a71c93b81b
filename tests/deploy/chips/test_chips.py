"""Programmed chips: seeds, stored state, drift, compensation, tables."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import stats

from analognets.conversion import to_analog
from analognets.deploy.chips.chips import Chips, program, summarize
from analognets.deploy.evaluation import accuracy
from analognets.devices import PCM, PCM14nm
from analognets.errors import ConversionError, InvalidArgumentError, NotCalibratedError


@pytest.fixture(scope="module")
def model(make):
    return make("pcm")


@pytest.fixture(scope="module")
def labels(model, samples):
    return model.predict(samples, verbose=0).argmax(1)


def states(chips: Chips, chip: int) -> list[dict[str, np.ndarray]]:
    return [layer.state for layer in chips.chips[chip].layers]


def assert_same_chip(one: list[dict[str, np.ndarray]], two: list[dict[str, np.ndarray]]) -> None:
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_one_seed_is_one_chip_however_many_there_are(model) -> None:
    few, many = program(model, 2, seed=5), program(model, 4, seed=5)
    for chip in range(2):
        assert_same_chip(states(few, chip), states(many, chip))
        assert few.chips[chip].seed == many.chips[chip].seed
    assert len(many) == 4 and [chip.number for chip in many] == [0, 1, 2, 3]


def test_many_layers_raise_no_warning_of_retracing(make, samples, caplog) -> None:
    for rows in (100, 110):
        program(make("pcm", rows=rows), 2).predict(samples[:5], mode="plain")
    assert "retracing" not in caplog.text


def test_chips_and_seeds_and_layers_are_independent(model) -> None:
    chips, others = program(model, 2, seed=5), program(model, 1, seed=6)
    first = states(chips, 0)[1]["conductance"]
    for other in (states(chips, 1)[1]["conductance"], states(others, 0)[1]["conductance"]):
        assert not np.array_equal(first, other)
    targets = [np.sort(np.abs(layer.crossbar_kernel().numpy()).ravel()) for layer in chips.layers]
    assert len({len(t) for t in targets}) == len(targets)
    errors = [
        (states(chips, 0)[0]["drift_exponent"]).ravel()[:72],
        (states(chips, 0)[1]["drift_exponent"]).ravel()[:72],
        (states(chips, 1)[0]["drift_exponent"]).ravel()[:72],
    ]
    for i in range(3):
        for j in range(i):
            assert abs(stats.pearsonr(errors[i], errors[j])[0]) < 0.6


def test_both_devices_of_a_pair_are_kept_and_drift_on_their_own(model) -> None:
    chips = program(model, 1)
    layer, state = chips.layers[1], states(chips, 0)[1]
    assert state["conductance"].shape == (2, *layer.crossbar_shape())
    assert state["drift_exponent"].shape == (2, *layer.crossbar_shape())
    kernel = layer.crossbar_kernel().numpy()
    idle = state["conductance"][1][kernel > 0]
    assert np.mean(idle > 0) > 0.3, "the device with target 0 is programmed with noise too"
    spread = state["drift_exponent"]
    assert np.corrcoef(spread[0].ravel(), spread[1].ravel())[0, 1] < 0.5
    assert spread.std() > 0


def test_readings_do_not_depend_on_their_order(model) -> None:
    times = ["25s", "1h", "1d"]
    forth, back = program(model, 1).chips[0], program(model, 1).chips[0]
    layers = program(model, 1).layers
    one = {time: forth.read(layers, time) for time in times}
    two = {time: back.read(layers, time) for time in reversed(times)}
    for time in times:
        for a, b in zip(one[time], two[time], strict=True):
            np.testing.assert_array_equal(a.kernel, b.kernel)
            np.testing.assert_array_equal(a.scales, b.scales)
    same_time = forth.read(layers, 3600)
    np.testing.assert_array_equal(same_time[0].kernel, one["1h"][0].kernel)
    assert not np.array_equal(forth.read(layers, 3601.0)[0].kernel, one["1h"][0].kernel), "read noise is drawn anew"


def test_programmed_weights_are_the_models_with_the_noise_of_the_device(make) -> None:
    device = PCM(read_noise_scale=0)
    chips = program(make(device), 12)
    relative = []
    for chip in chips:
        for layer, read in zip(chips.layers, chip.read(chips.layers, "25s"), strict=True):
            relative.append((np.asarray(read.kernel) - layer.crossbar_kernel().numpy()).ravel() / layer.weight_range())
    error = np.concatenate(relative)
    bound = 4 * error.std() / np.sqrt(len(error))
    assert abs(error.mean()) < bound + 2e-3
    assert 0.015 < error.std() < 0.05, "some 1 to 4 % of g_max, and half a normal of 1 % from the idle device"


@pytest.mark.parametrize("device", [PCM(), PCM14nm(), PCM(drift_clock="since_programming")])
def test_drift_compensation_brings_the_weights_back(make, device) -> None:
    """Paired over chips and layers: the error after a day is smaller with compensation."""
    chips = program(make(device), 8)
    with_it, without = [], []
    for chip in chips:
        for layer, read in zip(chips.layers, chip.read(chips.layers, "1d"), strict=True):
            wanted, kernel = layer.crossbar_kernel().numpy(), np.asarray(read.kernel)
            assert np.all(read.scales > 1)
            without.append(np.sqrt(np.mean((kernel - wanted) ** 2)))
            with_it.append(np.sqrt(np.mean((kernel * layer.tiling.expand(read.scales) - wanted) ** 2)))
    gain = np.array(without) - np.array(with_it)
    low = gain.mean() - stats.t.ppf(0.999, len(gain) - 1) * stats.sem(gain)
    assert low > 0


def test_compensation_scales_are_the_mean_decay(make, quiet_pcm) -> None:
    chips = program(make(quiet_pcm), 3)
    for chip in chips:
        for read in chip.read(chips.layers, 25):
            np.testing.assert_allclose(read.scales, 1, rtol=1e-6)
        decay = (86_400 / 25) ** 0.055
        for read in chip.read(chips.layers, "1d"):
            np.testing.assert_allclose(read.scales, decay, rtol=0.12)


def test_compensation_helps_the_accuracy_after_a_month(model, samples, labels) -> None:
    table = program(model, 10).evaluate((samples, labels), at="30d", drift_compensation="both")
    wide = table.pivot(index="chip", columns="drift_compensation", values="accuracy")
    difference = wide[True] - wide[False]
    assert difference.mean() - 3 * difference.sem() > 0


def test_without_compensation_in_the_hardware_nothing_is_scaled(make, samples) -> None:
    chips = program(make("pcm", drift_compensation=None), 1)
    assert all(np.all(read.scales == 1) for read in chips.chips[0].read(chips.layers, "1y"))
    on, off = (chips.predict(samples, at="1y", drift_compensation=choice) for choice in (True, False))
    np.testing.assert_array_equal(on, off)


def test_other_device_settings_read_the_same_chip(make, samples) -> None:
    model = make("pcm")
    chips = program(model, 1)
    noisy = chips.chips[0].read(chips.layers, "1d")[0].kernel
    for layer in chips.layers:
        layer.crossbar = layer.crossbar.replace(device=PCM(read_noise_scale=0))
    quiet = chips.chips[0].read(chips.layers, "1d")[0].kernel
    assert not np.array_equal(noisy, quiet)


def test_the_table(model, samples, labels) -> None:
    done = []
    table = program(model, 2, seed=9).evaluate(
        (samples, labels),
        at=["25s", 3600, "1d"],
        drift_compensation="both",
        progress=lambda number, total: done.append((number, total)),
    )
    assert list(table.columns) == ["chip", "seed", "at", "seconds", "drift_compensation", "accuracy"]
    assert len(table) == 2 * 3 * 2
    assert table["at"].unique().tolist() == ["25s", "1h", "1d"]
    assert table["seconds"].unique().tolist() == [25.0, 3600.0, 86400.0]
    assert table["accuracy"].between(0, 1).all()
    assert done == [(i, 6) for i in range(1, 7)]
    dataset = tf.data.Dataset.from_tensor_slices((samples, labels)).batch(64)
    again = program(model, 2, seed=9).evaluate(dataset, at=["25s", "1h", "1d"], drift_compensation="both")
    pd.testing.assert_frame_equal(table, again)


def test_summary() -> None:
    rows = [
        (chip, 0, at, seconds, mode, value)
        for chip, value in enumerate([0.8, 0.9, 1.0])
        for at, seconds in (("1d", 86400.0), ("25s", 25.0))
        for mode in (False, True)
    ]
    table = pd.DataFrame(rows, columns=["chip", "seed", "at", "seconds", "drift_compensation", "accuracy"])
    summary = summarize(table, float_accuracy=0.95)
    assert summary["at"].tolist() == ["25s", "1d", "25s", "1d"]
    assert summary["drift_compensation"].tolist() == [True, True, False, False]
    np.testing.assert_allclose(summary["mean"], 0.9)
    np.testing.assert_allclose(summary["std"], 0.1)
    np.testing.assert_allclose(summary["loss"], 5.0)
    assert (summary["chips"] == 3).all()
    assert "loss" not in summarize(table)
    np.testing.assert_allclose(summary["high"] - summary["mean"], 4.302653 * 0.1 / 3**0.5, rtol=1e-6)
    assert summary["bound"].isna().all(), "three chips are a bound for a third of all chips only"
    six = summarize(pd.concat([table, table.assign(accuracy=0.95)]))
    np.testing.assert_allclose(six["bound_share"], 0.05 ** (1 / 6))
    np.testing.assert_allclose(six["bound"], 0.8)
    assert summarize(table.assign(accuracy=np.nan))[["low", "bound"]].isna().all(axis=None)


def test_accuracy_of_every_shape_of_labels() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    for labels in (np.array([1, 0, 0]), np.array([[1], [0], [0]]), np.array([[0, 1], [1, 0], [1, 0]])):
        assert accuracy(labels, outputs) == pytest.approx(2 / 3)
    assert accuracy(np.array([1, 0, 1]), np.array([[0.9], [0.2], [0.1]])) == pytest.approx(2 / 3)
    assert accuracy(np.array([[1], [0], [1]]), np.array([[0.9], [0.2], [0.1]])) == pytest.approx(2 / 3)


def test_what_can_not_be_programmed_is_one_sentence(model, nets) -> None:
    with pytest.raises(ConversionError, match="has no analog layer"):
        program(nets.small_net())
    with pytest.raises(
        NotCalibratedError, match=r"Layer 'conv_1' of model 'small_net' has no converter ranges yet\. Call"
    ):
        program(to_analog(nets.small_net()))
    with pytest.raises(InvalidArgumentError, match="`chips` of program must be a whole number from 1"):
        program(model, 0)
    with pytest.raises(InvalidArgumentError, match="`seed` of program must be"):
        program(model, 1, seed=-1)


def test_what_can_not_be_evaluated_is_one_sentence(model, samples, labels) -> None:
    chips = program(model, 1)
    with pytest.raises(InvalidArgumentError, match="as many labels as inputs"):
        chips.evaluate((samples, labels[:3]))
    with pytest.raises(InvalidArgumentError, match="at least one batch"):
        chips.evaluate([])
    for data in (samples, [samples, labels, labels], 3):
        with pytest.raises(InvalidArgumentError, match=r"must be \(inputs, labels\) arrays or batches"):
            chips.evaluate(data)
    with pytest.raises(InvalidArgumentError, match="A duration must be seconds"):
        chips.evaluate((samples, labels), at=["1 fortnight"])
    with pytest.raises(
        InvalidArgumentError, match="`drift_compensation` of evaluate must be one of True, False, 'both'"
    ):
        chips.evaluate((samples, labels), drift_compensation="yes")
    with pytest.raises(InvalidArgumentError, match="`chip` of predict must be a whole number from 0 to 0"):
        chips.predict(samples, chip=1)


def norms(model: keras.Model) -> list[np.ndarray]:
    found = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    return [np.concatenate([norm.moving_mean.numpy(), norm.moving_variance.numpy()]) for norm in found]


@pytest.mark.parametrize("mode", ["plain", "fused"])
def test_batch_norm_calibration_restores_the_statistics(model, samples, labels, mode) -> None:
    before, momenta = norms(model), [layer.momentum for layer in model.layers if hasattr(layer, "momentum")]
    chips = program(model, 1)
    seen = []

    def metric(labels: np.ndarray, outputs: np.ndarray) -> float:
        seen.append(norms(model))
        return accuracy(labels, outputs)

    settings = {"at": ["1y"], "drift_compensation": False, "mode": mode, "metric": metric}
    plain = chips.evaluate((samples, labels), **settings)
    calibrated = chips.evaluate((samples, labels), **settings, batch_norm_calibration=samples)
    np.testing.assert_array_equal(seen[0][0], before[0])
    assert not np.allclose(seen[1][0], before[0]), "the statistics are those of the drifted chip while it is measured"
    assert plain["accuracy"].item() != calibrated["accuracy"].item()

    def failing(labels: np.ndarray, outputs: np.ndarray) -> float:
        raise RuntimeError("metric failed")

    with pytest.raises(RuntimeError, match="metric failed"):
        chips.evaluate((samples, labels), at=["1y"], batch_norm_calibration=samples, metric=failing)
    with pytest.raises(ValueError, match="incompatible with the layer"):
        chips.evaluate((samples, labels), at=["1y"], batch_norm_calibration=samples[..., :1])
    for now, old in zip(norms(model), before, strict=True):
        np.testing.assert_array_equal(now, old)
    assert [layer.momentum for layer in model.layers if hasattr(layer, "momentum")] == momenta


def test_batch_norm_statistics_on_a_chip_are_those_of_its_products(make, samples, quiet_pcm) -> None:
    """After calibration the normalised outputs have mean beta and deviation gamma on the calibration data."""
    model = make(quiet_pcm)
    chips = program(model, 1)
    from analognets.deploy.chips.batch_norm import restored_statistics
    from analognets.deploy.chips.loading import compensated

    reads = chips.chips[0].read(chips.layers, "1d")
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    probe = keras.Model(model.input, norm.output)
    with restored_statistics(model, chips.layers, reads, True, samples):
        with chips.layers[0].fixed_noise(compensated(chips.layers[0], reads[0], True)):
            outputs = probe(samples, training=False).numpy()
    np.testing.assert_allclose(outputs.mean((0, 1, 2)), norm.beta.numpy(), atol=1e-4)
    np.testing.assert_allclose(outputs.std((0, 1, 2)), norm.gamma.numpy(), rtol=5e-3)


def test_a_time_given_twice_is_one_reading(model, samples, labels) -> None:
    chips = program(model, 3)
    once, twice = (chips.evaluate((samples, labels), at=at) for at in (["1d"], ["1d", "24h", 86400]))
    assert once.equals(twice)
    assert chips.decide((samples, labels), at=["1d", "24h"]).summary()["chips"].tolist() == [3]


def test_padding_is_not_counted_as_right_or_wrong() -> None:
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((7,)),
            layers.Embedding(5, 6, mask_zero=True),
            layers.GRU(8, return_sequences=True),
            layers.Dense(3),
        ]
    )
    words = np.random.default_rng(0).integers(0, 5, (20, 7))
    chips = program(to_analog(net, calibrate_on=words), 1)
    data = words, np.zeros((20, 7), int)
    for call in (chips.evaluate, chips.decide):
        with pytest.raises(InvalidArgumentError, match="would count their padding.*metric="):
            call(data)
    assert chips.evaluate(data, at="1d", metric=lambda labels, outputs: outputs.shape[1])["accuracy"].tolist() == [7]
