"""The page in a browser computes what Keras, LiteRT and the simulated chips compute, and everybody can use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analognets.deploy.page.files import page_data, write_page

PRESETS = page_data()["presets"]
ANALOG = [name for name, preset in PRESETS.items() if preset["crossbar"]]
FLOAT = [name for name, preset in PRESETS.items() if not preset["crossbar"]]
YEAR = 31_536_000.0
EXACT = {"programmingNoise": 0, "readNoise": 0, "stuck": 0, "time": 25.0}


@pytest.mark.parametrize("name", FLOAT)
def test_float_network_and_front_end_equal_keras(lab: Any, golden: Any, name: str) -> None:
    known = golden(name)
    np.testing.assert_allclose(lab.outputs("float", name, known["inputs"]), known["outputs"], atol=1e-4)
    features = lab.features(PRESETS[name]["family"], known["raw"][0])
    np.testing.assert_allclose(features, known["inputs"][0].ravel(), atol=1e-4)


@pytest.mark.parametrize("name", FLOAT)
def test_int8_network_equals_litert(lab: Any, vectors: Any, sample: Any, name: str) -> None:
    family = PRESETS[name]["family"]
    names = [one["name"] for one in page_data()["samples"] if one["family"] == family]
    raw = [sample(one) for one in (names if family == "words" else names[::-1])]
    inputs = np.stack([lab.features(family, one) for one in raw]).astype(np.float32)
    step = PRESETS[name]["int8"]["layers"][-1]["output"]["scale"]
    expected = np.array(vectors[name]["int8"])[: len(raw)]
    difference = np.abs(lab.outputs("int8", name, inputs) - expected) / step
    assert difference.mean() < 0.2 and difference.max() <= 2.01  # rounding of inputs and of BN-folded weights


@pytest.mark.parametrize("name", ANALOG)
def test_chip_without_noise_equals_the_network_with_its_converters(lab: Any, golden: Any, name: str) -> None:
    known = golden(name)
    found = lab.chips(name, known["inputs"], 1, **EXACT)[0]
    spread = np.abs(known["outputs"]).max()
    assert np.abs(found - known["outputs"]).max() < 0.02 * spread  # a step of a converter, where a tie is rounded
    assert np.median(np.abs(found - known["outputs"])) < 1e-3 * spread


@pytest.mark.parametrize(("name", "case"), [("analognet_kws.hwa_8bit", 1), ("analognet_kws.hwa_8bit", 3)])
def test_chips_have_the_moments_of_the_python_chips(
    lab: Any, vectors: Any, sample: Any, name: str, case: int
) -> None:
    known = vectors[name]["analog"][case]
    names = [one["name"] for one in page_data()["samples"] if one["family"] == PRESETS[name]["family"]]
    inputs = np.stack([lab.features(PRESETS[name]["family"], sample(one)) for one in names[:3]])
    seconds = {"25s": 25.0, "30d": 30 * 86400.0, "1y": YEAR}[known["at"]]
    draws = 200
    found = lab.chips(name, inputs, draws, time=seconds, compensation=known["compensation"], stuck=known["stuck"])
    mean, std = np.array(known["mean"]), np.array(known["std"])
    error = std * np.sqrt(1 / draws + 1 / known["draws"])
    assert np.abs((found.mean(0) - mean) / error).max() < 4.5
    ratio = found.std(0, ddof=1) / std
    assert 0.75 < ratio.min() and ratio.max() < 1.33
    assert abs(np.log(ratio).mean()) < 0.06


def test_page_is_there_in_three_seconds_and_an_inference_takes_fifty_milliseconds(
    open_lab: Any, server: Any
) -> None:
    took = []
    for _ in range(2):
        start = time.perf_counter()
        fresh = open_lab(server.url)
        took.append(time.perf_counter() - start)
        answers = [fresh.page.evaluate("analognetsLab.state.ms") for _ in range(1)]
        fresh.settled()
        answers.append(fresh.page.evaluate("analognetsLab.state.ms"))
        fresh.context.close()
    assert min(took) < 3
    code = """async () => { const all = [];
        for (const kind of ['float', 'int8']) for (let i = 0; i < 5; i++)
          all.push((await analognetsLab.ask(kind, {name: 'analognet_kws.float', inputs: analognetsLab.state.features, count: 1})).ms);
        return all; }"""
    fresh = open_lab(server.url)
    fresh.settled()
    times = fresh.page.evaluate(code)
    assert min(times[:5]) < 50 and min(times[5:]) < 50
    assert fresh.page.evaluate("analognetsLab.state.ms.chip") < 100
    fresh.context.close()


def test_nothing_comes_from_elsewhere_and_the_network_may_be_off(open_lab: Any, server: Any) -> None:
    fresh = open_lab(server.url)
    fresh.settled()
    fresh.context.set_offline(True)
    fresh.page.select_option("#clip", label="no")
    assert 'Float: "no"' in fresh.settled()
    local = (server.url, "blob:", "data:")
    assert fresh.requests and all(address.startswith(local) for address in fresh.requests)
    assert fresh.errors == []
    fresh.context.close()


def test_page_opens_as_a_file(open_lab: Any, tmp_path: Path) -> None:
    index = write_page(tmp_path / "site", start="analognet_vww.hwa_8bit")
    fresh = open_lab(index.as_uri())
    assert "person" in fresh.settled()
    assert fresh.errors == []
    whole = sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file())
    assert whole < 5_000_000
    fresh.context.close()
