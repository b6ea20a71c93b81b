"""A headless browser on the lab page, with a fake microphone and camera."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from analognets.deploy.page.files import page_data
from analognets.deploy.page.server import LabServer
from analognets.zoo.presets.files import GOLDEN, read_tensors
from analognets.zoo.presets.handles import bundled

NUMBERS = "const values = new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """Return the path of the browser; the test is skipped where there is none."""
    pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    found = os.environ.get("ANALOGNETS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium: install it, or name it in ANALOGNETS_CHROMIUM")
    return found


def sound_or_picture(name: str) -> np.ndarray:
    """Return a sound (int16) or picture (uint8) of the page."""
    one = next(one for one in page_data()["samples"] if one["name"] == name)
    content = gzip.decompress(base64.b85decode(one["data"]))
    return np.frombuffer(content, "<i2" if one["family"] == "words" else np.uint8).reshape(one["shape"])


@pytest.fixture(scope="session")
def sample() -> Callable[[str], np.ndarray]:
    """Return the function that reads a sound or picture of the page."""
    return sound_or_picture


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Return a function for raw data, inputs and outputs of a preset, which Keras computed."""

    def read(name: str) -> dict[str, np.ndarray]:
        tensors = read_tensors(bundled()[name] / GOLDEN)
        return {key.partition("/")[0]: values for key, values in tensors.items()}

    return read


def processor_seconds() -> float:
    """Return the processor time of all processes below this one: unlike the clock, it is the same on a busy machine."""
    parents, used = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            facts = (entry / "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
            parents[int(entry.name)] = int(facts[1])
            used[int(entry.name)] = (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")

    def is_below(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return sum(seconds for process, seconds in used.items() if process != os.getpid() and is_below(process))


def as_text(values: np.ndarray) -> str:
    """Return float32 numbers as base64, which passes to the browser much faster than a list."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


class Lab:
    """The page in a browser."""

    def __init__(self, browser: Any, url: str, **settings: Any) -> None:
        settings = {"viewport": {"width": 1280, "height": 900}, **settings}
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        start = processor_seconds()
        self.page.goto(url)
        self.page.evaluate("analognetsLab.ready")
        self.processor_seconds = processor_seconds() - start
        self.processor = processor_seconds

    def settled(self) -> str:
        """Wait until all chips have answered and return what the page says."""
        self.page.evaluate("analognetsLab.idle()")
        return self.page.inner_text("#said")

    def alert(self) -> str:
        """Wait for the sentence about what went wrong, and return it."""
        self.page.evaluate("analognetsLab.idle()")
        assert self.page.is_visible("#alert")
        return self.page.inner_text("#alert")

    def features(self, family: str, raw: np.ndarray) -> np.ndarray:
        """Return what the page's front end makes of one sound or picture."""
        values = as_text(raw / 32768 if family == "words" else raw)
        code = f"""async ([family, text, shape]) => {{ {NUMBERS}
            return Array.from((await analognetsLab.ask('features', {{family, values, shape}})).values); }}"""
        return np.array(self.page.evaluate(code, [family, values, list(raw.shape)]))

    def outputs(self, kind: str, name: str, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs of a network, "float" or "int8"."""
        code = f"""async ([kind, name, text, count]) => {{ {NUMBERS}
            await analognetsLab.load(name);
            return Array.from((await analognetsLab.ask(kind, {{name, inputs: values, count}})).outputs); }}"""
        found = self.page.evaluate(code, [kind, name, as_text(inputs), len(inputs)])
        return np.array(found).reshape(len(inputs), -1)

    def chips(self, name: str, inputs: np.ndarray, count: int, **settings: Any) -> np.ndarray:
        """Return the outputs of so many chips under the page's settings, changed by keyword."""
        code = f"""async ([name, text, count, chips, changed]) => {{ {NUMBERS}
            await analognetsLab.load(name);
            const settings = {{...analognetsLab.settings(), ...changed}};
            const found = [];
            for (let chip = 1000; chip < 1000 + chips; chip++) {{
              const request = {{name, chip, inputs: values, count, settings}};
              found.push(Array.from((await analognetsLab.ask('chip', request)).outputs));
            }}
            return found; }}"""
        bits = page_data()["presets"][name]["crossbar"]["adc_bits"]
        changed = {"dacBits": bits, "adcBits": bits, **settings}
        found = self.page.evaluate(code, [name, as_text(inputs), len(inputs), count, changed])
        return np.array(found).reshape(count, len(inputs), -1)


@pytest.fixture(scope="module")
def server() -> Iterator[LabServer]:
    with LabServer(0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose microphone hears "yes", a second of silence, "yes" ..."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    spoken = tmp_path_factory.mktemp("microphone") / "yes.wav"
    word = np.concatenate([sound_or_picture("yes"), np.zeros(16000, np.int16)])
    soundfile.write(spoken, np.tile(word, 3), 16000)
    flags = [
        *("--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        f"--use-file-for-fake-audio-capture={spoken}",
    ]
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="module")
def open_lab(browser: Any) -> Callable[..., Lab]:
    """Return a function that opens the page at an address in a context of its own."""
    return lambda url, **settings: Lab(browser, url, **settings)


@pytest.fixture(scope="module")
def lab(browser: Any, server: LabServer) -> Iterator[Lab]:
    """The page."""
    made = Lab(browser, server.url)
    assert "25 of 25 chips say what the float network says" in made.settled()
    made.page.evaluate("analognetsLab.page.chips = 3")  # which is quicker
    yield made
    made.context.close()


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    """What Python computed for the page to compare with: `make page`."""
    return json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
