"""A small analog network and its preset, shared by the tests of this folder."""

from __future__ import annotations

import http.server
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def tiny_network() -> Any:
    """Return a functional network with a shared layer and batch-norm, as a user may bring it."""
    import keras

    inputs = keras.Input((6, 5, 1), name="picture")
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    twice = keras.layers.Dense(4, activation="relu", name="twice")
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(twice(twice(x))), name="tiny")


@pytest.fixture(scope="session")
def analog() -> Any:
    """Return a calibrated analog network; not to be changed."""
    import keras
    import numpy as np

    from analognets.conversion import to_analog
    from analognets.layers import calibrate, freeze_weight_range

    keras.utils.set_random_seed(1)
    network = to_analog(tiny_network(), "aon_cim_6bit", weight_noise=0.05)
    network.get_layer("norm").moving_mean.assign([0.1, -0.2, 0.3, 0.0])
    freeze_weight_range(network)
    calibrate(network, np.random.default_rng(0).normal(size=(64, 6, 5, 1)).astype("float32"))
    return network


@pytest.fixture(scope="session")
def saved(analog: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the analog network's preset; not to be changed."""
    from analognets.zoo.presets.saving import save_to_preset

    folder = tmp_path_factory.mktemp("saved") / "tiny.analog"
    save_to_preset(analog, folder, classes=["a", "b", "c"], data={"name": "made up", "statement": "Noise."})
    return folder


@pytest.fixture
def preset_copy(saved: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "tiny.analog"))


@pytest.fixture(scope="session")
def hub_server() -> Any:
    """Return the module with a small Hugging Face Hub."""
    path = Path(__file__).parent / "presets" / "hub_server.py"
    spec = importlib.util.spec_from_file_location("hub_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub(hub_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve an empty repository someone/nets on this machine, which huggingface_hub takes for the Hub."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs analognets[hub]")
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ANALOGNETS_OFFLINE", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), hub_server.Hub) as running:
        running.root, running.commit, running.moved = tmp_path / "repo", hub_server.COMMIT, False  # type: ignore[attr-defined]
        running.served, running.commits, running.cards, running.made = [], [], [], []  # type: ignore[attr-defined]
        (tmp_path / "repo").mkdir()
        url = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()
