"""AdaBS as a stored calibration: laws of the statistics, which one counts, files, interrupts, refusals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import analognets.deploy.chips.calibration_files as calibration_files
from analognets.conversion import to_analog
from analognets.deploy.chips import calibrator
from analognets.deploy.chips.batch_norm import batch_norms
from analognets.deploy.chips.calibrations import Calibration, Calibrations
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.chips.loading import compensated
from analognets.devices import IdealDevice
from analognets.errors import ChipFileError, ConversionError, InvalidArgumentError
from analognets.layers import analog_layers, calibrate, set_hardware

Make = Callable[..., keras.Model]


@pytest.fixture(scope="module")
def chips(make: Make) -> Chips:
    return program(make("pcm"), 2, seed=4)


@pytest.fixture(scope="module")
def calibrated(chips: Chips, samples: np.ndarray) -> Chips:
    """Return the same chips, calibrated after an hour and after a month."""
    made = Chips(chips.model, chips.chips, chips.seed)
    made.calibrate(samples[:60], at=["1h", "30d"])
    return made


@keras.saving.register_keras_serializable(package="tests_calibrations")
class Fixed(keras.Model):
    """A model whose batch-norm never looks at its inputs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flat, self.head = keras.layers.Flatten(), keras.layers.Dense(3, name="head")
        self.norm = keras.layers.BatchNormalization(name="norm")

    def call(self, inputs: Any) -> Any:
        return self.norm(self.head(self.flat(inputs)), training=False)


def fixed() -> keras.Model:
    model = Fixed()
    model(np.zeros((1, 7, 5, 2), np.float32))
    return model


def drawn(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 7, 5, 2)).astype("float32")


def away(one: Calibration, other: Calibration) -> float:
    """Return how far two calibrations are from each other, in standard deviations of the second."""
    means = [(a - b) / np.sqrt(v) for a, b, v in zip(one.means, other.means, other.variances, strict=True)]
    spreads = [a / b - 1 for a, b in zip(one.variances, other.variances, strict=True)]
    return float(np.sqrt(np.mean(np.concatenate([*means, *spreads]) ** 2)))


def test_ideal_devices_give_the_statistics_back_and_more_clips_give_smaller_errors(make: Make) -> None:
    """The error of n clips is that of sampling: it falls as 1 / sqrt(n)."""
    chips = program(make(IdealDevice(), dac_bits=None, adc_bits=None), 1)
    [trained] = chips.calibrate(drawn(8000, 0), at="1h")
    counts = (25, 100, 400, 1600)
    errors = [
        np.mean([away(chips.calibrate(drawn(count, seed), at="1d")[0], trained) for seed in range(1, 5)])
        for count in counts
    ]
    assert all(few > many for few, many in zip(errors, errors[1:], strict=False))
    np.testing.assert_allclose(errors * np.sqrt(counts), errors[0] * np.sqrt(counts[0]), rtol=0.35)
    for norm, mean, variance in zip(batch_norms(chips.model), trained.means, trained.variances, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
    inputs = drawn(50, 9)
    held, own = (chips.predict(inputs, at="1d", adabs=adabs, mode="plain") for adabs in (True, False))
    assert np.abs(held - own).mean() < 0.05 * np.abs(own).mean()


@pytest.mark.parametrize("device", ["pcm", IdealDevice()])
def test_a_device_needs_only_running_sums_layer_after_layer(make: Make, samples: np.ndarray, device: Any) -> None:
    """Clip by clip, two sums a channel, one batch-norm after the other."""
    chips = program(make(device), 1)
    [found] = chips.calibrate(samples[:30], at="1d")
    reads = chips.chips[0].read(chips.layers, "1d")
    model = keras.models.clone_model(chips.model)
    model.set_weights(chips.model.get_weights())
    layers = analog_layers(model)
    for layer, other in zip(layers, chips.layers, strict=True):
        layer.calibrated, layer.nonnegative = other.calibrated, other.nonnegative
    for index, norm in enumerate(batch_norms(model)):
        before = keras.Model(model.input, norm.input)
        count, total, squares = 0, 0.0, 0.0
        with contextlib.ExitStack() as stack:
            for layer, read in zip(layers, reads, strict=True):
                stack.enter_context(layer.fixed_noise(compensated(layer, read, True)))
            for clip in samples[:30]:
                numbers = np.asarray(before(clip[None], training=False), np.float64).reshape(-1, norm.gamma.shape[0])
                count, total, squares = count + len(numbers), total + numbers.sum(0), squares + (numbers**2).sum(0)
        mean = total / count
        np.testing.assert_allclose(found.means[index], mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.variances[index], squares / count - mean**2, rtol=1e-3, atol=1e-5)
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(squares / count - mean**2)


@pytest.mark.parametrize("rule", ["global", "column", "input"])
def test_it_helps_beside_each_drift_compensation(
    make: Make, nets: SimpleNamespace, samples: np.ndarray, rule: str
) -> None:
    def trained() -> keras.Model:
        model = nets.small_net()
        for norm in batch_norms(model):
            norm.momentum = 0.0
        model(drawn(1000, 1), training=True)
        return model

    chips = program(make("pcm", net=trained, drift_compensation=rule), 3)
    wanted = np.asarray(chips.model(samples, training=False))
    chips.calibrate(drawn(400, 3), at="1y")
    errors = [
        np.mean([np.abs(chips.predict(samples, chip=i, at="1y", adabs=adabs) - wanted).mean() for i in range(3)])
        for adabs in (True, False)
    ]
    assert errors[0] < errors[1]


def test_plain_and_fused_agree_within_a_converter_step(
    calibrated: Chips, nets: SimpleNamespace, samples: np.ndarray
) -> None:
    step = nets.adc_step(calibrated.model)
    plain, fused = (calibrated.predict(samples, at="30d", mode=mode) for mode in ("plain", "fused"))
    difference = np.abs(plain - fused).max(axis=1)
    assert np.mean(difference < 1e-4) > 0.9 and difference.max() < 3 * step
    assert np.abs(plain - calibrated.predict(samples, at="30d", mode="plain", adabs=False)).max() > 2 * step


@pytest.mark.parametrize("mode", ["plain", "fused"])
def test_the_latest_one_up_to_then_counts(calibrated: Chips, chips: Chips, samples: np.ndarray, mode: str) -> None:
    labels = np.arange(len(samples)) % 3
    old = [norm.moving_mean.numpy() for norm in batch_norms(chips.model)]
    outputs: dict[Any, list[np.ndarray]] = {}

    def keep(name: str) -> Callable[[Any, Any], float]:
        return lambda labels, found: outputs.setdefault(name, []).append(found) or 0.0

    times = ["25s", "1h", "30d", "1y", "26s"]
    both = {"at": times, "drift_compensation": "both", "mode": mode}
    calibrated.evaluate((samples, labels), **both, metric=keep("stored"))
    chips.evaluate((samples, labels), **both, metric=keep("trained"))
    calibrated.evaluate((samples, labels), **both, adabs=False, metric=keep("switched off"))
    anew = {"at": ["1h", "30d"], "mode": mode, "batch_norm_calibration": samples[:60]}
    chips.evaluate((samples, labels), **anew, metric=keep("anew"))
    np.testing.assert_array_equal(outputs["trained"], outputs["switched off"])
    stored, trained, anew_outputs = (
        np.reshape(outputs[name], (2, -1, *outputs[name][0].shape)) for name in ("stored", "trained", "anew")
    )
    np.testing.assert_array_equal(stored[:, 1::2], trained[:, 1::2], "none without drift compensation")
    np.testing.assert_array_equal(stored[:, [0, 8]], trained[:, [0, 8]], "none before the first")
    np.testing.assert_array_equal(stored[:, [2, 4]], anew_outputs)
    assert not np.array_equal(stored[:, 6], trained[:, 6]), "the last one stays in use"
    np.testing.assert_array_equal(calibrated.predict(samples, chip=1, at="1y", mode=mode), stored[1, 6])
    for norm, mean in zip(batch_norms(chips.model), old, strict=True):
        np.testing.assert_array_equal(norm.moving_mean.numpy(), mean)


@given(st.lists(st.tuples(st.floats(0, 1e9), st.booleans()), max_size=8), st.floats(0, 1e9), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_rule_for_any_times(made: list[tuple[float, bool]], asked: float, mode: bool) -> None:
    nothing = {"chip": 0, "samples": 2, "names": (), "means": (), "variances": (), "inputs": "", "model": ""}
    known = Calibrations()
    for seconds, on in made:
        known.add(Calibration(seconds=seconds, drift_compensation=on, **nothing))
    past = [seconds for seconds, on in made if on == mode and seconds <= asked * (1 + 1e-6)]
    found = known.at(0, asked, mode)
    assert (found and found.seconds) == (max(past) if past else None)
    assert len(known) == len(set(made)) and known.at(1, asked, mode) is None


def test_labels_are_not_used_and_one_seed_is_one_calibration(chips: Chips, samples: np.ndarray) -> None:
    labels = np.zeros(len(samples))
    found = []
    for given_samples in (samples, (samples, labels), [samples[:120], samples[120:]]):
        made = program(chips.model, 1, seed=4).calibrate(given_samples, at="1d", drift_compensation="both")
        assert [one.drift_compensation for one in made] == [True, False]
        found.append(made)
    for made in found[1:]:
        for one, other in zip(found[0], made, strict=True):
            np.testing.assert_array_equal(one.means[1], other.means[1])
            np.testing.assert_array_equal(one.variances[1], other.variances[1])
    assert found[0][0].samples == 200 and found[0][0].bytes == 8 * (4 + 5)


def test_stored_calibrations_come_back_bit_for_bit(calibrated: Chips, samples: np.ndarray, tmp_path: Path) -> None:
    calibrated.save(tmp_path / "chips")
    assert sorted(path.name for path in tmp_path.joinpath("chips").glob("cal*")) == [
        "calibration_0000.safetensors",
        "calibration_0001.safetensors",
    ]
    again = Chips.load(tmp_path / "chips", calibrated.model)
    assert again.calibrations.table().equals(calibrated.calibrations.table())
    assert again.calibrations.table()["at"].tolist() == ["1h", "30d"] * 2
    for at in ("25s", "1d", "1y"):
        np.testing.assert_array_equal(again.predict(samples, at=at), calibrated.predict(samples, at=at))


@pytest.mark.parametrize("stored", [True, False])
def test_an_interrupted_calibration_goes_on(
    chips: Chips, samples: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    folder = tmp_path / "chips" if stored else None
    made = Chips(chips.model, chips.chips, chips.seed)
    if stored:
        made.save(folder)
    measured: list[int] = []
    estimate = calibrator.estimated_statistics

    def counted(*arguments: Any) -> Any:
        measured.append(1)
        return estimate(*arguments)

    def interrupt(done: int, total: int) -> None:
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(calibrator, "estimated_statistics", counted)
    times = {"at": ["1h", "1d"], "folder": folder}
    with pytest.raises(KeyboardInterrupt):
        made.calibrate(samples[:40], **times, progress=interrupt)
    if stored:  # another process goes on, with chips that it programmed anew
        made = program(chips.model, 2, seed=chips.seed)
    found = made.calibrate(samples[:40], **times)
    assert len(measured) == 4 and [(one.chip, one.seconds) for one in found] == [
        (chip, seconds) for chip in (0, 1) for seconds in (3600.0, 86400.0)
    ]
    whole = Chips(chips.model, chips.chips, chips.seed).calibrate(samples[:40], at=["1h", "1d"])
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(one.means), np.concatenate(other.means))
    if stored:
        assert Chips.load(folder, chips.model).calibrations.table().equals(made.calibrations.table())
    made.calibrate(samples[:41], **times)
    assert len(measured) == 4 + 4 + 4, "other samples, another calibration"


def test_calibrations_of_other_chips_models_or_hands_are_refused(
    calibrated: Chips, samples: np.ndarray, tmp_path: Path
) -> None:
    folder, model = tmp_path / "chips", calibrated.model
    calibrated.save(folder)
    first, second = (folder / f"calibration_000{number}.safetensors" for number in (0, 1))
    whole = first.read_bytes()

    def refuses(content: bytes, match: str) -> None:
        first.write_bytes(content)
        with pytest.raises(ChipFileError, match=match):
            Chips.load(folder, model)

    refuses(second.read_bytes(), r"must be the calibration of the chip beside it, chip 0\. Received: that of another")
    refuses(whole[:-1], "must hold .* bytes of numbers")
    refuses(whole[:-1] + bytes([whole[-1] ^ 1]), "was changed since it was written|NaN")
    refuses(b"", "is no safetensors file")
    with safe_open(second, "numpy") as file:
        record = json.loads(file.metadata()["calibrations"])
    arrays = load_file(second)

    def written(**changes: Any) -> bytes:
        changed = {**record, "chip": 0, **changes}
        changed["sha256"] = calibration_files._sha256(changed, arrays)
        save_file(arrays, first, metadata={"calibrations": json.dumps(changed)})
        return first.read_bytes()

    refuses(written(), "another chip")
    refuses(written(format=2), "has calibration format 2, this version reads 1")
    refuses(written(entries=[]), "is not a calibration: `entries`")
    devices = calibration_files.devices_sha256(calibrated.chips[0])
    refuses(written(devices=devices, norms=["a"]), "must be of the 2 batch-norms of model 'small_net'")
    arrays["0/0/variance"] = -arrays["0/0/variance"]
    refuses(written(devices=devices), "must not be negative")
    del arrays["0/0/variance"]
    refuses(written(devices=devices), "must be float32 of shape .4,.*Received: nothing")
    first.write_bytes(whole)
    program(model, 2, seed=77).save(tmp_path / "others")
    with pytest.raises(ChipFileError, match="which holds other chips. Save these chips to a new folder first"):
        calibrated.calibrate(samples, folder=tmp_path / "others")


def test_another_compensation_or_range_makes_them_useless(make: Make, samples: np.ndarray) -> None:
    chips = program(make("pcm"), 1)
    chips.calibrate(samples, at="1d")
    set_hardware(chips.model, chips.layers[0].crossbar.replace(drift_compensation="input"))
    for call in (chips.predict, lambda x, **how: chips.evaluate((x, np.zeros(len(x), int)), **how)):
        with pytest.raises(InvalidArgumentError, match="must be of model 'small_net' as it is.*give adabs=False"):
            call(samples, at="1y")
        call(samples, at="1y", adabs=False)
    chips.calibrate(samples, at="1h")
    chips.predict(samples, at="1y")
    assert chips.calibrations.table()["at"].tolist() == ["1h"]


def siamese() -> keras.Model:
    """Return a network that calls one batch-norm for each of two inputs."""
    dense, norm = keras.layers.Dense(6), keras.layers.BatchNormalization(name="shared")
    inputs = [keras.Input((4,)), keras.Input((4,))]
    joined = keras.layers.Concatenate()([norm(dense(one)) for one in inputs])
    return keras.Model(inputs, keras.layers.Dense(2)(joined))


def by_step() -> keras.Model:
    """Return a network that calls a batch-norm for each of 60 steps."""
    norm = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="stepwise"))
    return keras.Sequential([keras.Input((60, 4)), keras.layers.Dense(6), norm, keras.layers.Flatten()])


@pytest.mark.parametrize(("build", "name"), [(siamese, "shared"), (by_step, "stepwise")])
def test_batch_norms_that_are_called_several_times_are_refused(build: Callable[[], keras.Model], name: str) -> None:
    draw = np.random.default_rng(0)
    net = build()
    inputs = [draw.normal(size=(20, *one.shape[1:])).astype("float32") for one in net.inputs]
    given = inputs if len(inputs) > 1 else inputs[0]
    chips = program(to_analog(net, calibrate_on=given), 1)
    for call in (
        lambda: chips.calibrate(given),
        lambda: chips.evaluate((given, np.zeros(20, int)), metric=lambda *_: 0.0, batch_norm_calibration=given),
    ):
        with pytest.raises(InvalidArgumentError, match=f"batch-norm '{name}'.*which is called several times"):
            call()


def test_a_network_of_a_fixed_batch_size_is_calibrated() -> None:
    net = keras.Sequential(
        [keras.Input((6, 8), batch_size=4), keras.layers.LSTM(3, stateful=True), keras.layers.BatchNormalization()]
    )
    inputs = np.random.default_rng(0).normal(size=(4, 6, 8)).astype("float32")
    analog = to_analog(net)
    calibrate(analog, inputs, batch_size=4)
    assert len(program(analog, 1).calibrate(inputs)) == 1


def test_random_changes_of_training_are_off_or_refused() -> None:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(300, 9, 5)).astype("float32")

    def found(dropout: float) -> Calibration:
        keras.utils.set_random_seed(1)
        net = keras.Sequential(
            [
                keras.Input((9, 5)),
                keras.layers.GRU(6, dropout=dropout, recurrent_dropout=dropout),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(3),
            ]
        )
        analog = to_analog(net, calibrate_on=inputs)
        cells = [layer for layer in analog._flatten_layers() if getattr(layer, "recurrent_dropout", 0)]
        [one] = program(analog, 1).calibrate(inputs)
        assert all(cell.recurrent_dropout == dropout for cell in cells), "afterwards the model is as it was"
        return one

    bare, dropped = found(0.0), found(0.5)
    np.testing.assert_array_equal(bare.variances[0], dropped.variances[0])
    pictures = draw.normal(size=(20, 6, 6, 3)).astype("float32")
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.RandomRotation(0.2, name="turn"),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
        ]
    )
    with pytest.raises(InvalidArgumentError, match=r"layer 'turn' \(RandomRotation\).*draws at random in training"):
        program(to_analog(net, calibrate_on=pictures), 1).calibrate(pictures)


def test_what_can_not_be_calibrated_is_one_sentence(make: Make, chips: Chips, samples: np.ndarray) -> None:
    bad = samples[:5].copy()
    bad[3, 0] = np.nan
    for wrong, match in (
        (samples[:1], "needs at least 2 samples, because one has no variance. Received: 1"),
        (bad, "finite numbers. Received: NaN or infinity in 1 of 5 samples"),
        (samples[..., :1], r"of the shape that model 'small_net' takes, \(None, 7, 5, 2\). Received: shape \(200, 7"),
        ("clips", "Received: str"),
    ):
        with pytest.raises(InvalidArgumentError, match=match):
            chips.calibrate(wrong)
    with pytest.raises(InvalidArgumentError, match="needs at least 2 samples"):
        chips.evaluate((samples, np.zeros(200, int)), at="1d", batch_norm_calibration=samples[:1])
    with pytest.raises(InvalidArgumentError, match="`drift_compensation` of calibrate"):
        chips.calibrate(samples, drift_compensation="on")
    with pytest.raises(ChipFileError, match="holds no chips"):
        chips.calibrate(samples, folder="nowhere")
    plain = keras.Sequential([keras.Input((7, 5, 2)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ConversionError, match="needs a network with batch-norm. Received: model .*, which has none"):
        program(make("pcm", net=lambda: plain), 1).calibrate(samples)


def test_frozen_batch_norms_are_measured_and_others_named(make: Make, samples: np.ndarray) -> None:
    free, frozen = make("pcm"), make("pcm")
    for norm in batch_norms(frozen):
        norm.trainable = False
        norm.gamma.trainable = True
    found = [program(model, 1).calibrate(samples)[0] for model in (free, frozen)]
    np.testing.assert_array_equal(*(one.means[1] for one in found))
    for norm in batch_norms(frozen):
        assert (norm.trainable, norm.gamma.trainable, norm.beta.trainable) == (False, True, False)

    with pytest.raises(InvalidArgumentError, match="batch-norm 'norm' of model .* called with training=False"):
        program(make("pcm", net=fixed), 1).calibrate(samples)
