"""The evaluation on running audio: its figures are those of a plain pass, thresholds come from validation audio."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from analognets.datasets.base import Split, TaskData
from analognets.datasets.running_audio import RunningAudio
from analognets.deploy.stream import DetectorSettings, Listener, duty_cycle, stream_figure, write_stream_evaluation
from analognets.deploy.stream.listener import stream_frontend
from analognets.deploy.stream.network import network_for
from analognets.deploy.stream.report import FILES, alarm_ends, summary_rows, word_rows
from analognets.deploy.stream.scoring import THRESHOLDS, Truth, match
from analognets.deploy.stream.study import StreamEvaluation, stream_evaluation
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.zoo.trained import TrainedNetwork

SETTINGS = DetectorSettings(smoothing=0.3, suppression=2.0)


def clip_data(classes: tuple[str, ...]) -> TaskData:
    """Return loud clips, half of them quieter, and silence."""
    rng = np.random.default_rng(3)
    labels = np.array([1] * 8 + [0] * 4 + [2] * 4, np.int32)
    loud = np.where(labels == 1, np.where(np.arange(16) % 2, 0.1, 0.004), np.where(labels == 2, 0.003, 3e-5))
    inputs = (32768 * loud[:, None] * rng.normal(size=(16, 16_000))).clip(-32768, 32767).astype(np.int16)
    split = Split(inputs, labels, tuple(f"clip{number}" for number in range(16)))
    return TaskData("toy", split, split, split, classes)


class Trained(TrainedNetwork):
    """The network of the fixture with its front end."""

    def __init__(self, model: keras.Model, frontend: Any, classes: tuple[str, ...]) -> None:
        super().__init__("toy", lambda: model)
        self.classes = classes
        self.frontend = frontend


@pytest.fixture(scope="module")
def trained(toy: Any, toy_chips: Any) -> Trained:
    return Trained(toy_chips.model, toy.frontend, toy.classes)


OPTIONS: dict[str, Any] = {"hours": 0.02, "validation_hours": 0.03, "seed": 1, "settings": SETTINGS}


@pytest.fixture(scope="module")
def found(trained: Trained, toy: Any) -> StreamEvaluation:
    data = clip_data(toy.classes)
    return stream_evaluation(trained, data, at=["25s", "1y"], chips=2, target=40.0, noise_rms=(1e-4, 1e-3), **OPTIONS)


def test_readings_are_those_of_a_listener(found: StreamEvaluation, trained: Trained, toy: Any) -> None:
    assert [(one.network, one.chip, one.at) for one in found.readings] == [
        ("digital", None, None),
        *(("chip", chip, at) for chip in (0, 1) for at in ("25s", "1y")),
    ]
    audio = RunningAudio(clip_data(toy.classes), hours=0.02, seed=1, noise_rms=(1e-4, 1e-3))
    assert found.words == audio.words and found.seconds == 72.0
    truth = Truth.of(audio.words, toy.classes, 0.02)
    assert 0 < len(truth.labels) < len(audio.words)
    for reading in (found.readings[0], found.readings[4]):
        chip = reading.chip or 0
        network = network_for(trained, reading.network, at=reading.at or 0, seed=1, chip=chip)
        settings = DetectorSettings(reading.threshold, smoothing=0.3, suppression=2.0)
        listener = Listener(network, stream_frontend(trained), toy.classes, settings)
        heard = list(listener.listen(audio.blocks()))
        hits, false = match(np.array([one.time for one in heard]), np.array([one.label for one in heard]), truth)
        row = reading.row(toy.classes)
        assert row["false_alarms"] == false.sum()
        assert row["false_alarms_per_hour"] == pytest.approx(false.sum() / 0.02)
        assert row["miss_rate"] == row["miss_rate loud"] == pytest.approx(1 - hits.mean())
        assert row["words"] == len(hits)


def test_thresholds_meet_the_target_on_validation_audio(trained: Trained, toy: Any, found: StreamEvaluation) -> None:
    options = {**OPTIONS, "noise_rms": (1e-4, 1e-3), "split": "validation", "hours": 0.03}
    data = clip_data(toy.classes)
    same = stream_evaluation(trained, data, at=["25s"], chips=2, target=40.0, **options)
    assert [one.threshold for one in same.readings] == [found.readings[0].threshold, *[found.readings[1].threshold] * 2]
    sweeps = [one.sweep for one in same.readings[1:]]
    alarms = np.mean([sweep.false_alarms_per_hour for sweep in sweeps], axis=0)
    place = sweeps[0].at(same.readings[1].threshold)
    assert found.reached and np.all(alarms[place:] <= 40)
    assert place == 0 or alarms[place - 1] > 40


def test_a_target_out_of_reach_is_told(toy: Any) -> None:
    keras.utils.set_random_seed(0)
    always = keras.Sequential([keras.Input((49, 10, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    always.layers[-1].set_weights([np.zeros((490, 3)), np.array([0.0, 50.0, 0.0])])
    one = stream_evaluation(Trained(always, toy.frontend, toy.classes), clip_data(toy.classes), target=0.01, **OPTIONS)
    assert not one.reached and [reading.threshold for reading in one.readings] == [THRESHOLDS[-1]]
    assert [row["title"] for row in summary_rows(one)] == ["same weights, digital"]


def test_files(found: StreamEvaluation, trained: Trained, tmp_path: Path) -> None:
    import analognets as an

    power = duty_cycle(an.deploy.cost(trained.model, "aon_cim"), 10)
    record = write_stream_evaluation(tmp_path / "new" / "out", found, power)
    folder = tmp_path / "new" / "out"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    stored = json.loads((folder / "stream.json").read_text("utf-8"))
    assert {key: stored[key] for key in record} == json.loads(json.dumps(record))
    assert stored["power"]["power_uw"] == power.power_uw and "versions" in stored
    table = pd.read_csv(folder / "stream.csv")
    assert len(table) == 5
    assert table["false_alarms_per_hour"].iloc[1] == pytest.approx(table["false_alarms"].iloc[1] / 0.02)
    assert len(pd.read_csv(folder / "det.csv")) == 5 * len(THRESHOLDS)
    with (folder / "words.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found.words)
    picture = (folder / "stream.svg").read_bytes()
    stream_figure(found, folder / "stream.svg")
    assert (folder / "stream.svg").read_bytes() == picture and b"<svg" in picture
    rows = summary_rows(found)
    assert [row["title"] for row in rows] == ["same weights, digital", "25s", "1y"]
    assert rows[1]["chips"] == 2 and rows[1]["miss_rate_std"] is not None and rows[0]["miss_rate_std"] is None
    for row in rows:
        for name in ("miss_rate", "false_alarms_per_hour"):
            assert row[f"{name}_low"] is None or row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert alarm_ends([0]) == (0.0, pytest.approx(3.688879)) and alarm_ends([10, 10])[0] == pytest.approx(4.795389)
    low, high = alarm_ends([4, 16])
    assert low == 0.0 and high > 10 + 12.7062 * 6 and alarm_ends([10])[1] == pytest.approx(18.390356)
    (word,) = word_rows(found)
    assert word["ends"]["25s"] == pytest.approx([rows[1]["miss_rate_low"], rows[1]["miss_rate_high"]])
    assert word["word"] == "loud" and word["25s"] == pytest.approx(rows[1]["miss_rate"])
    assert 0 < found.ratio < 5


def test_wrong_settings(trained: Trained, toy: Any) -> None:
    data = clip_data(toy.classes)
    with pytest.raises(InvalidArgumentError, match="A duration must be seconds"):
        stream_evaluation(trained, data, at=["soon"])
    with pytest.raises(InvalidArgumentError, match="`target` of stream_evaluation must be a number from 0.001 to 1e"):
        stream_evaluation(trained, data, target=0)
    with pytest.raises(InvalidArgumentError, match="`hours` of RunningAudio must be a number from 0.002 to 1000"):
        stream_evaluation(trained, data, hours=0)
    with pytest.raises(ConversionError, match="MFCC front end"):
        stream_evaluation(Trained(toy.model, None, toy.classes), data)
