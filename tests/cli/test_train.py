"""`analognets train`: what it leaves behind, what it refuses, and how it goes on after being stopped."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from analognets.cli.train import resolve
from analognets.training.run import Run

Call = Callable[..., Any]
TINY = ("--set", "batch_size=10", "--set", "sampling.steps=2", "--set", "model.options.widths=[4,4,4,4,4]")
ONE_EPOCH = ("--set", "float.epochs=1", "--set", "hardware_aware.epochs=1")


def digest(folder: Path) -> dict[str, str]:
    """Return the content of all files of a run, so that a change in any of them is seen."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_json_is_all_that_stands_on_stdout(first_training: tuple[Path, Any]) -> None:
    folder, answer = first_training
    found = json.loads(answer.out)
    assert (found["run"], found["status"], found["seed"]) == (str(folder), "finished", 0)
    assert set(found["stages"]) == {"float", "hardware_aware"}
    assert found["stages"]["float"]["epoch"] == 0


def test_progress_is_told_once_and_in_order(first_training: tuple[Path, Any]) -> None:
    lines = first_training[1].err.splitlines()
    # A slow machine also prints lines in between, at most one every ten seconds.
    assert len([line for line in lines if line.startswith("Stage") and "2/2 (100 %)" in line]) == 2
    assert all("epoch 1/1" in line for line in lines if line.startswith("Stage"))
    assert len([line for line in lines if line.startswith("Data: 100/100")]) == 1
    assert len([line for line in lines if line.startswith("Epoch 1/1: loss ")]) == 2
    assert lines[-1] == f"Finished: {first_training[0]}"
    assert not [line for line, following in zip(lines, lines[1:], strict=False) if line == following]


def test_the_run_says_where_the_data_were(first_training: tuple[Path, Any], speech: Path) -> None:
    data = json.loads((first_training[0] / "run.json").read_text("utf-8"))["data"]
    assert data["folder"] == str(speech.resolve())
    assert data["name"] == "speech_commands"
    assert data["synthetic"] is False
    assert len(data["classes"]) == 12


def test_a_finished_run_is_kept_unless_told_otherwise(trained: Path, speech: Path, call: Call) -> None:
    assert "How well did kws learn" in (trained / "report.html").read_text("utf-8")
    (trained / "report.html").write_text("mine")
    before = digest(trained)
    command = ("train", "kws", "--data", speech, *TINY, *ONE_EPOCH, "--out", trained)
    refused = call(*command)
    assert refused.code == 1
    assert "holds a finished run" in refused.error
    assert "--overwrite" in refused.error
    kept = call(*command, "--keep")
    assert kept.code == 0
    assert kept.out.splitlines()[-1] == f"Next: analognets evaluate {trained}"
    assert json.loads(call(*command, "--keep", "--json").out)["status"] == "finished"
    other = call(*command, "--keep", "--seed", 3)
    assert other.code == 1
    assert "holds a finished run" in other.error
    assert digest(trained) == before


@pytest.mark.parametrize(
    "wrong",
    [
        ("--data", "nowhere"),
        ("--set", "model=analognet_cws"),
        ("--set", "hardware_aware.exempt=[conv_9]"),
        ("--set", "hardware_aware.hardware=aon_cim_7bit"),
        ("--set", "augmentation.speeed=0.1"),
        ("--set", "sampling.balance={cat: 0.5}"),
        ("--float-from", "nowhere"),
    ],
    ids=lambda words: words[1],
)
def test_nothing_is_replaced_by_what_can_not_work(
    trained: Path, speech: Path, call: Call, wrong: tuple[str, str]
) -> None:
    before = digest(trained)
    answer = call("train", "kws", "--data", speech, *TINY, *ONE_EPOCH, "--out", trained, "--overwrite", *wrong)
    assert answer.code == 1
    assert answer.error
    assert answer.out == ""
    assert digest(trained) == before


@pytest.mark.usefixtures("op_by_op")
def test_float_from_trains_stage_2_alone_and_overwrite_replaces(
    trained: Path, first_training: tuple[Path, Any], speech: Path, call: Call
) -> None:
    answer = call(
        *("train", "kws", "--data", speech, *TINY, "--out", trained, "--overwrite", "--float-from", first_training[0]),
        *("--set", "hardware_aware.epochs=1", "--set", "hardware_aware.hardware.adc_bits=6"),
    )
    assert answer.code == 0, answer.err
    run, source = Run.open(trained), Run.open(first_training[0])
    assert [row["stage"] for row in run.metrics()] == ["hardware_aware"]
    assert run.recipe.hardware_aware.hardware.adc_bits == 6
    assert run.record["data"]["float_from"] == str(source.path.resolve())
    for new, old in zip(run.float_model().get_weights(), source.float_model().get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    same = call("train", "kws", "--data", speech, "--out", trained, "--float-from", trained, "--overwrite")
    assert same.code == 1
    assert "name the same folder" in same.error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("kws", "--set", "hardware_aware.weight_nois=0.1"), r"Did you mean 'hardware_aware.weight_noise'\?"),
        (("kws", "--set", "float.epochs"), "a dotted key, '=' and a value"),
        (("kws", "--set", "hardware_aware.hardware.adc_bits=1"), "whole number of bits from 2 to 16.*Received: 1"),
        (("kws", "--set", "hardware_aware.hardware.dac_bits=17"), "whole number of bits from 2 to 16.*Received: 17"),
        (("kvs",), "Unknown recipe. Did you mean 'kws'?"),
        (("kws", "--recipe", "./mine.yaml"), "mine.yaml' can't be read: No such file or directory"),
        (("kws", "--strategy", "mirored"), "strategy.*'mirrored', 'mirrored:N' for N devices.*Received: 'mirored'"),
        (("kws", "--data", "nowhere"), "Received: nowhere, which does not exist"),
        (("kws", "--float-from", "nowhere"), "There is no run in 'nowhere'"),
        (("kws", "--set", "sampling.stepps=3"), "Did you mean 'steps'"),
        (("kws", "--set", "dataset=speech_comands"), "Did you mean 'speech_commands'"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_wrong_input_is_one_sentence_and_leaves_no_folder(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call("train", *words, "--out", "run")
    assert (answer.code, answer.out) == (1, "")
    assert re.search(says, answer.error)
    assert not (tmp_path / "run").exists()


def test_no_layer_to_convert(call: Call, speech: Path, tmp_path: Path) -> None:
    exempt = "hardware_aware.exempt=[conv_1,conv_2,conv_3,conv_4,conv_5,logits]"
    answer = call("train", "kws", "--data", speech, *TINY, "--set", exempt, "--out", tmp_path / "run")
    assert answer.code == 1
    assert "has no layer to convert" in answer.error
    assert not (tmp_path / "run").exists()


def test_without_recordings_synthetic_speech_is_named(call: Call, tmp_path: Path) -> None:
    answer = call("train", "kws", "--out", tmp_path / "run")
    assert answer.code == 1
    assert "not downloaded" in answer.error
    assert "Hint: " in answer.err and "--data synthetic" in answer.err


def test_a_recipe_of_pictures_stays_on_its_data_set() -> None:
    from analognets.zoo.tasks import find_recipe, with_data

    own = find_recipe("vww", ["dataset={name: image_folder, options: {classes: [cat, dog]}}"])
    assert with_data(own, "somewhere") is own
    assert with_data(own, None) is own
    drawn = with_data(own, "synthetic")
    assert (drawn.dataset.name, drawn.dataset.options) == ("synthetic_persons", {})
    assert with_data(drawn, "somewhere").dataset.name == "visual_wake_words"
    odd = find_recipe("vww", ["dataset=nowhere"])
    assert with_data(odd, "synthetic") is odd


@pytest.mark.usefixtures("op_by_op")
def test_pictures_are_trained_on(call: Call, recordings: ModuleType, tmp_path: Path) -> None:
    root = recordings.build_pictures(tmp_path / "yard", {"person": 20, "non_person": 20}, (16, 16))
    tiny = ("--set", "batch_size=8", "--set", "sampling={steps: 1}", "--set", "frontend=rgb_32", *ONE_EPOCH)
    answer = call(
        *("train", "vww", "--data", root, *tiny, "--set", "model.options={}", "--set", "float.warmup_epochs=0"),
        *("--out", tmp_path / "run"),
    )
    assert answer.code == 0, answer.err
    assert "validation, " in answer.err and " test pictures" in answer.err
    data = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["data"]
    assert (data["name"], data["classes"]) == ("yard", ["non_person", "person"])


def test_without_pictures_drawn_ones_are_named(call: Call, tmp_path: Path) -> None:
    answer = call("train", "vww", "--out", tmp_path / "run")
    assert "needs a folder that holds person/ and non_person/" in answer.error
    assert "Hint: Without recordings, train on drawn pictures: --data synthetic" in answer.err


def test_a_foreign_folder_is_left_alone(call: Call, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for more in ((), ("--overwrite",)):
        answer = call("train", "kws", "--data", speech, *TINY, *ONE_EPOCH, "--out", tmp_path, *more)
        assert answer.code == 1
        assert "thesis.tex" in answer.error
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.tex"]


def test_usage_errors_exit_2(call: Call) -> None:
    assert call("train", "kws", "--seed", "three").code == 2
    assert call("train", "kws", "--nonsense").code == 2


@pytest.mark.parametrize(
    ("recipe", "data", "name"),
    [
        ("kws", "synthetic", "synthetic_speech"),
        ("kws_demo", "somewhere", "speech_commands"),
        ("kws", "somewhere", "speech_commands"),
        ("vww", "synthetic", "synthetic_persons"),
        ("vww", "somewhere", "visual_wake_words"),
    ],
)
def test_options_of_another_data_set_go_with_it(recipe: str, data: str, name: str) -> None:
    from analognets.zoo.tasks import find_recipe

    before, resolved = find_recipe(recipe), resolve(recipe, ["dataset.options.seed=4"], data, 7, None)
    kept = before.dataset.options if before.dataset.name == name else {}
    assert (resolved.dataset.name, resolved.dataset.options) == (name, {**kept, "seed": 4})
    assert resolved.seed == 7
    assert resolved.model == before.model


@pytest.mark.usefixtures("op_by_op")
def test_other_rates_and_broken_clips(
    call: Call, recordings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings.build_tree(tmp_path / "data")
    words = tmp_path / "data" / "speech_commands_v0.02"
    recordings.write(words / "yes" / "aa01_nohash_0.wav", recordings.tone("yes", 8000), 8000)
    (words / "no" / "aa02_nohash_0.wav").write_bytes((words / "no" / "aa02_nohash_0.wav").read_bytes()[:1000])
    monkeypatch.chdir(tmp_path)
    command = ("train", "kws", "--data", "data", *TINY, *ONE_EPOCH, "--out", "run")
    stopped = call(*command)
    assert stopped.code == 1
    assert "no/aa02_nohash_0.wav is cut short" in stopped.error
    assert not (tmp_path / "run").exists()
    skipped = call(*command, "--skip-corrupt")
    assert skipped.code == 0, skipped.err
    warnings = [line for line in skipped.err.splitlines() if line.startswith("Warning: ")]
    assert any("resampled to 16000 Hz" in line and "yes/aa01_nohash_0.wav (8000 Hz)" in line for line in warnings)
    assert any("skipped" in line and "no/aa02_nohash_0.wav" in line for line in warnings)
    again = call("evaluate", "run", "--chips", 1, "--at", "1d", "--json")
    assert again.code == 0, again.err


def start(words: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """Start a command and return once its training has finished an epoch."""
    command = [sys.executable, "-m", "analognets", *words]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        assert not any(noise in line for noise in ("cuda", "absl", "0000 00:", "WARNING")), line
        if line.startswith("Epoch "):
            return process
    pytest.fail("".join(seen))


@pytest.mark.slow
@pytest.mark.usefixtures("op_by_op")
def test_ctrl_c_and_kill_can_be_resumed(
    call: Call, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    epochs = ("--set", "float.epochs=16", "--set", "hardware_aware.epochs=0", "--set", "augmentation={}")
    sampling = ("--set", "sampling={steps: 1, balance: null}")
    words = ["train", "kws", "--data", str(speech), *TINY, *epochs, *sampling, "--out", "a run"]
    process = start(words, environment, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "WARNING" not in err
    resume = err.splitlines()[-1].removeprefix("Interrupted. Resume with: ")
    assert Run.open(tmp_path / "a run").status == "interrupted"

    process = start(shlex.split(resume)[1:], environment, tmp_path)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    done = len(Run.open("a run").metrics())
    assert 2 <= done < 16
    refused = call("evaluate", "a run")
    assert refused.code == 1
    assert "is not finished (status: unfinished)" in refused.error
    told = shlex.split(refused.error.partition("Go on with: ")[2])

    answer = call(*told[1:])
    assert answer.code == 0, answer.err
    assert f"Going on after epoch {done} of 16." in answer.err
    assert Run.open("a run").finished
    assert [row["epoch"] for row in Run.open("a run").metrics()] == [*range(16)]
    assert answer.out.splitlines()[-1] == "Next: analognets evaluate 'a run'"


def test_help_leaves_tensorflow_alone(environment: dict[str, str]) -> None:
    code = """
import sys
from analognets.cli import app
for words in (["--help"], ["train", "--help"], ["evaluate", "--help"], ["data", "info", "--help"]):
    try:
        app.main(words)
    except SystemExit as end:
        assert not end.code
print("heavy", sorted({"tensorflow", "keras", "pandas", "librosa"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["heavy []"]
