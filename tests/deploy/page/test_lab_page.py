"""The page in a browser computes what Keras, LiteRT and the simulated chips compute, and everybody can use it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from analognets.deploy.page.files import page_data, write_page
from analognets.units import parse_duration

PRESETS = page_data()["presets"]
ANALOG = [name for name, preset in PRESETS.items() if preset["crossbar"]]
FLOAT = [name for name, preset in PRESETS.items() if not preset["crossbar"]]
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
    assert difference.max() <= 3.01 and difference.mean() <= 1.01  # LiteRT rounds products with fixed-point factors


@pytest.mark.parametrize("name", ANALOG)
def test_chip_without_noise_equals_the_network_with_its_converters(lab: Any, golden: Any, name: str) -> None:
    known = golden(name)
    found = lab.chips(name, known["inputs"], 1, **EXACT)[0]
    spread = np.abs(known["outputs"]).max()
    assert np.abs(found - known["outputs"]).max() < 0.02 * spread  # a step of a converter, where a tie is rounded
    assert np.median(np.abs(found - known["outputs"])) < 1e-3 * spread


@pytest.mark.parametrize(("case", "draws", "count"), [(0, 40, 1), (1, 200, 1)])
def test_chips_have_the_moments_of_the_python_chips(
    lab: Any, vectors: Any, sample: Any, case: int, draws: int, count: int
) -> None:
    name, known = "analognet_kws.hwa_8bit", vectors["chips"][case]
    names = [one["name"] for one in page_data()["samples"] if one["family"] == PRESETS[name]["family"]]
    inputs = np.stack([lab.features(PRESETS[name]["family"], sample(one)) for one in names[:count]])
    seconds = parse_duration(known["at"])
    found = lab.chips(name, inputs, draws, time=seconds, compensation=known["compensation"], stuck=known["stuck"])
    mean, std = np.array(known["mean"])[:count], np.array(known["std"])[:count]
    error = std * np.sqrt(1 / draws + 1 / known["draws"])
    assert np.all(np.abs(found.mean(0) - mean) < 4.5 * error + 1e-3)
    # The largest output, and those that stand still, are at the bound of the last ADC: few draws tell their spread.
    moving = (std > 0.05) & (mean < mean.max(axis=-1, keepdims=True))
    spread = np.log(found.std(0, ddof=1)[moving] / std[moving])
    error = np.sqrt(0.5 / draws + 0.5 / known["draws"])  # of the logarithm of a standard deviation
    assert np.abs(spread).max() < 4.5 * error and abs(spread.mean()) < 2.5 * error


def test_page_is_there_in_three_seconds_and_an_inference_takes_fifty_milliseconds(lab: Any) -> None:
    code = """async (kind) => {
        const request = {name: 'analognet_kws.float', inputs: analognetsLab.state.features, count: 1};
        for (let i = 0; i < 20; i++) await analognetsLab.ask(kind, request); }"""
    for kind in ("float", "int8"):
        start = lab.processor()
        lab.page.evaluate(code, kind)
        assert (lab.processor() - start) / 20 < 0.05
    assert lab.processor_seconds < 3


def test_nothing_comes_from_elsewhere_and_the_network_may_be_off(lab: Any, server: Any) -> None:
    lab.context.set_offline(True)
    lab.page.select_option("#clip", label="no")
    assert 'Float: "no"' in lab.settled()
    lab.context.set_offline(False)
    assert lab.requests and all(address.startswith((server.url, "blob:", "data:")) for address in lab.requests)
    assert lab.errors == []


def test_page_opens_as_a_file(open_lab: Any, tmp_path: Path) -> None:
    index = write_page(tmp_path / "site", start="analognet_vww.hwa_8bit")
    fresh = open_lab(index.as_uri())
    assert fresh.page.inner_text("tr.first th") == "person"
    assert fresh.errors == []
    whole = sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file())
    assert whole < 5_000_000
    fresh.context.close()


def test_microphone_is_heard(lab: Any) -> None:
    lab.page.click("#speak")
    assert 'Float: "yes"' in lab.settled()
    assert lab.page.get_attribute("#spectrogram", "aria-label").startswith("Spectrogram of 1 s")


def test_keyboard_alone_ages_the_chips(lab: Any) -> None:
    page = lab.page
    page.select_option("#clip", label="yes")
    lab.settled()
    page.focus("#preset")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "time":
            break
    page.keyboard.press("End")
    assert "Chip 1 after 10 y" in lab.settled()
    assert page.get_attribute("#time", "aria-valuetext") == "10 y"
    now = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert now == "solid"
    aged = page.inner_text("#map-now-text"), page.inner_text("#map-first-text")
    assert float(aged[0].split()[-2]) < 0.7 * float(aged[1].split()[-2])
    page.keyboard.press("Home")
    assert "after 25 s" in lab.settled()


def test_controls_change_what_the_chips_say(lab: Any) -> None:
    page = lab.page
    page.select_option("#preset", "analognet_kws.hwa_4bit")
    lab.settled()
    assert page.input_value("#bits") == "4"
    energy, low, high = map(float, re.findall(r"\d+\.\d+", page.inner_text("#energy")))
    assert low < energy < high < 2
    page.evaluate("document.getElementById('stuck').value = 30")
    page.dispatch_event("#stuck", "input")
    page.select_option("#compensation", "none")
    page.click("text='10 y'")
    said = lab.settled()
    assert int(said.split(" of 3 chips")[0].split()[-1]) < 3
    page.select_option("#preset", "analognet_kws.float")
    assert "Chip" not in lab.settled()
    assert page.is_visible("#no-chip") and page.is_hidden("#chip-settings")
    page.select_option("#preset", "analognet_kws.hwa_8bit")
    lab.settled()


def test_pictures_come_from_a_file_and_the_camera(lab: Any, sample: Any, tmp_path: Path) -> None:
    page = lab.page
    page.select_option("#preset", "analognet_vww.hwa_8bit")
    assert 'Float: "person"' in lab.settled()
    Image.fromarray(sample("a drawn scene without a person")).save(tmp_path / "scene.png")
    page.set_input_files("#picture-file", tmp_path / "scene.png")
    assert 'Float: "non_person"' in lab.settled()
    page.click("#camera")
    assert "Float:" in lab.settled()
    assert "from the camera" in page.get_attribute("#seen", "aria-label")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.set_input_files("#picture-file", tmp_path / "broken.png")
    expected = "A picture must be a file that this browser can decode, such as .jpg or .png. Received: broken.png."
    assert lab.alert() == expected
    page.select_option("#preset", "analognet_kws.hwa_8bit")
    lab.settled()


def test_broken_sound_is_one_sentence(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVEfmt nothing")
    lab.page.set_input_files("#sound-file", tmp_path / "broken.wav")
    expected = "A sound must be a file that this browser can decode, such as .wav or .mp3. Received: broken.wav."
    assert lab.alert() == expected


def test_sound_file_is_heard(lab: Any, sample: Any, tmp_path: Path) -> None:
    quiet = np.zeros(12_000, np.int16)
    sound = np.repeat(np.concatenate([quiet, sample("stop"), quiet]), 3)  # 48 kHz, longer than a second
    soundfile.write(tmp_path / "stop.wav", sound, 48_000)
    lab.page.set_input_files("#sound-file", tmp_path / "stop.wav")
    assert 'Float: "stop"' in lab.settled()
    assert lab.page.is_hidden("#alert")


def test_refused_microphone_is_one_sentence(lab: Any) -> None:
    refuse = """name => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }"""
    for name, words in (
        ("NotAllowedError", "does not let this page use the microphone"),
        ("NotFoundError", "There is no"),
    ):
        lab.page.evaluate(refuse, name)
        lab.page.click("#speak")
        assert words in lab.alert()
        lab.settled()
    lab.page.evaluate("delete navigator.mediaDevices.getUserMedia")


CHECKS = Path(__file__).with_name("accessibility.js").read_text("utf-8")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_page_is_accessible(open_lab: Any, server: Any, scheme: str, width: int) -> None:
    look = {"color_scheme": scheme, "reduced_motion": "reduce", "viewport": {"width": width, "height": 800}}
    fresh = open_lab(server.url, **look)
    page = fresh.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(f"({CHECKS}).nameless()") == []
    assert page.evaluate(f"({CHECKS}).lowContrast()") == []
    assert page.evaluate("getComputedStyle(document.querySelector('.bar i')).transitionDuration") == "0s"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")
    fresh.context.close()
