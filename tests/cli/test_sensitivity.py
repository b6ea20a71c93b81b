"""`analognets sensitivity`: both methods and the layers, on a small network in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the file of an analog network, and one of inputs with what its float network makes of them."""
    import keras

    from analognets.conversion import to_analog
    from analognets.layers import calibrate

    folder = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12,)), keras.layers.Dense(16, "relu", name="first"), keras.layers.Dense(4, name="last")]
    net = keras.Sequential(layers, name="net")
    inputs = np.random.default_rng(0).normal(size=(120, 12)).astype("float32")
    np.savez(folder / "data.npz", inputs=inputs, labels=net.predict(inputs, verbose=0).argmax(-1))
    analog = to_analog(net, "aimc_standard")
    calibrate(analog, inputs)
    analog.save(folder / "net.keras")
    return folder / "net.keras", folder / "data.npz"


@pytest.mark.parametrize(("method", "name"), [("equal_error", "equal_error"), ("2", "threshold")])
def test_both_methods(call: Call, files: tuple[Path, Path], tmp_path: Path, method: str, name: str) -> None:
    words = ("--data", files[1], "--out", tmp_path / "out", "--nonidealities", "output_noise,adc_bits", "--chips", 2)
    answer = call("sensitivity", files[0], "--method", method, *words)
    assert answer.code == 0, answer.err
    assert "output_noise" in answer.out and "adc_bits" in answer.out
    table = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
    assert list(table["nonideality"]) == ["output_noise", "adc_bits"]
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5_000
    page = (tmp_path / "out" / f"{name}.html").read_text("utf-8")
    assert page.count('<svg role="img"') == 1 and "<td>output_noise</td>" in page
    again = call("sensitivity", files[0], "--method", method, *words, "--json")
    assert [row["nonideality"] for row in json.loads(again.out)["rows"]] == ["output_noise", "adc_bits"]


def test_layers(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("--data", files[1], "--out", tmp_path / "out", "--chips", 2)
    answer = call("sensitivity", files[0], "--method", "layers", *words, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    ranking = pd.DataFrame(result["ranking"])
    assert list(ranking["rank"]) == [1, 2] and ranking["share"].sum() == pytest.approx(1)
    assert {row["exempt"] for row in result["exemption"]} >= {0, 2}
    assert (tmp_path / "out" / "layers.png").stat().st_size > 5_000
    assert "Which layers bear device noise least" in (tmp_path / "out" / "layers.html").read_text("utf-8")
    shown = call("sensitivity", files[0], "--method", "layers", *words)
    assert "Device noise x 15 in one layer" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nonidealities", "ir_dorp"), "Did you mean 'ir_drop'"),
        (("--chips", "1", "--at", "never"), "never"),
    ],
)
def test_wrong_values_write_nothing(call: Call, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    answer = call("sensitivity", "analognet_kws.hwa_8bit", *words, "--out", tmp_path / "out")
    assert answer.code == 1
    assert message in answer.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "3"), "'3' is not one of"),
        (("--method", "layers", "--nonidealities", "drift"), "--method layers is about device noise alone"),
        (("--error", "5"), "--error is a share from 0.001 to 1. Received: 5. For 20 % give 0.2."),
        (("--error", "0"), "--error is a share from 0.001 to 1. Received: 0."),
        (("--at", " "), "--at takes times such as"),
    ],
)
def test_wrong_usage(call: Call, words: tuple[str, ...], message: str) -> None:
    answer = call("sensitivity", "analognet_kws.hwa_8bit", *words)
    assert answer.code == 2
    assert message in " ".join(answer.err.replace("│", " ").split())
