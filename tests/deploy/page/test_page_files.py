"""The lab page without a browser: its files, what Python tells it, its server and its command."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import importlib.util
import io
import json
import socket
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analognets.cli import app
from analognets.deploy.page.description import describe, describe_frontend, tensors_of
from analognets.deploy.page.files import page_data, page_file, page_files, page_presets, write_page
from analognets.deploy.page.packing import pack, pack_tensors
from analognets.deploy.page.server import LabServer
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError
from analognets.zoo.trained import TrainedNetwork, open_trained

ROOT = Path(__file__).resolve().parents[3]
BUILT = ROOT / "deploy/page/built"


def command(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        app.main(list(words))
    return int(stop.value.code or 0), out.getvalue(), err.getvalue()


def test_script_was_built_from_the_sources_that_are_here() -> None:
    facts = json.loads((BUILT / "built_from.json").read_text("utf-8"))
    here = ["build.mjs", "package-lock.json", "package.json", "tsconfig.json"]
    here += sorted(f"source/{path.name}" for path in (ROOT / "web/source").iterdir())
    found = hashlib.sha256()
    for name in sorted(here):
        found.update(f"{name}\n".encode() + (ROOT / "web" / name).read_bytes() + b"\n")
    assert (facts["files"], facts["sha256"]) == (sorted(here), found.hexdigest()), "run: make page"


@pytest.mark.parametrize("name", ["analognet_kws.hwa_8bit", "analognet_vww.float"])
def test_page_is_told_what_the_package_has_now(name: str) -> None:
    told = page_data()["presets"][name]
    trained = open_trained(name)
    keys = ("family", "title", "reference")
    now = describe(trained, name=name, **{key: told[key] for key in keys})
    assert json.loads(json.dumps({**now, "int8": told["int8"]})) == told
    front = page_data()["frontends"][told["family"]]
    assert json.loads(json.dumps(describe_frontend(trained.frontend))) == front


def test_weights_are_those_of_the_preset_in_half_precision() -> None:
    name = "analognet_kws.hwa_8bit"
    text = page_file(f"weights/{name}.js").decode()
    packed = json.loads(text[text.index("{}") + 3 : text.rindex(")")])[name]
    tensors = tensors_of(open_trained(name).model)
    assert packed == pack_tensors(tensors)
    kernels = [values.dtype for key, values in tensors.items() if key.endswith("kernel")]
    assert len(kernels) == 6 and set(kernels) == {np.dtype("float16")}


@given(arrays.arrays(np.float16, st.integers(0, 40)))
def test_packed_numbers_come_back(values: np.ndarray) -> None:
    content = gzip.decompress(base64.b85decode(pack_tensors({"one": values})))
    halves = np.frombuffer(content, np.uint8).reshape(2, -1).T
    assert np.ascontiguousarray(halves).tobytes() == values.tobytes()
    assert pack(content) == pack(content)


def test_written_page_is_complete_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    index = write_page(tmp_path / "site")
    written = {path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*") if path.is_file()}
    assert written == set(page_files())
    assert "http" not in index.read_text("utf-8").replace('http-equiv="', "")
    assert sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file()) < 5_000_000
    assert sum(path.stat().st_size for path in BUILT.iterdir()) < 1_000_000  # what the wheel has more


def other_networks() -> list[Any]:
    inputs = keras.Input((8, 8, 1))
    branch = keras.layers.Conv2D(2, 3, padding="same")(inputs)
    forked = keras.Model(inputs, keras.layers.Add()([branch, keras.layers.Conv2D(2, 3, padding="same")(branch)]))
    strange = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, activation="tanh")])
    sequence = keras.Sequential([keras.Input((8, 2)), keras.layers.LSTM(2)])
    behind = {
        "batch-norm behind a ReLU": [keras.layers.ReLU(), keras.layers.BatchNormalization()],
        "two batch-norms": [keras.layers.BatchNormalization(), keras.layers.BatchNormalization()],
        "ReLU6": [keras.layers.ReLU(max_value=6)],
        "leaky": [keras.layers.ReLU(negative_slope=0.1)],
        "batch-norm behind a pool": [keras.layers.GlobalAveragePooling2D(), keras.layers.BatchNormalization()],
    }
    odd = [keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), *rest]) for rest in behind.values()]
    return [forked, strange, sequence, *odd]


@pytest.mark.parametrize("number", range(8))
def test_network_that_the_page_cannot_compute_is_refused(number: int) -> None:
    model = other_networks()[number]
    with pytest.raises(ConversionError, match="The lab page computes"):
        describe(TrainedNetwork("mine", lambda: model), name="mine", family="mine", title="", reference="mine")


def test_other_front_end_is_refused() -> None:
    from analognets.datasets.frontend import MFCC

    with pytest.raises(ConversionError, match="front ends MFCC"):
        describe_frontend(MFCC.from_preset("mlperf_tiny"))


def test_unknown_preset_is_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match="preset of the lab page"):
        page_file("data.js", start="analognet_kws.hwa_7bit")
    code, _, said = command("lab", "analognet_kws.hwa_7bit", "--no-browser")
    assert code == 1 and said.count("\n") <= 2 and "analognet_kws.hwa_8bit" in said


def test_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidArgumentError, match=f"taken by another program. Received: port={port}"):
            LabServer(port)
        code, _, said = command("lab", "--port", str(port), "--no-browser")
    assert code == 1 and "--port 0" in said


def test_server_gives_the_page_to_this_machine_only() -> None:
    with LabServer(0, start="analognet_vww.float") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def get(path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
            with contextlib.closing(connection):
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return answer, answer.read()

        answer, content = get("/")
        assert answer.status == 200 and content == page_file("index.html")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert b'"start":"analognet_vww.float"' in get("/data.js")[1]
        answer, content = get("/lab.js", "HEAD")
        assert content == b"" and int(answer.headers["Content-Length"]) == len(page_file("lab.js"))
        assert [get(path)[0].status for path in ("/../pyproject.toml", "/nothing", "/weights/x.js")] == [404] * 3
        assert get("/", Host="elsewhere.example:80")[0].status == 403
        server.shutdown()


def test_command_writes_the_page(tmp_path: Path) -> None:
    code, out, _ = command("lab", "--out", str(tmp_path / "site"))
    assert code == 0 and out.strip().endswith("index.html") and (tmp_path / "site/lab.js").is_file()
    (tmp_path / "file").write_text("")
    code, _, said = command("lab", "--out", str(tmp_path / "file"))
    assert code == 1 and said.startswith("Error:") and "Unexpected" not in said


def test_page_needs_no_tensorflow() -> None:
    names = ("analognets.deploy.page.files", "analognets.deploy.page.server")
    for name in names:
        source = Path(importlib.util.find_spec(name).origin).read_text("utf-8")
        assert "keras" not in source and "description" not in source
    assert page_presets()[0] == "analognet_kws.hwa_8bit"
