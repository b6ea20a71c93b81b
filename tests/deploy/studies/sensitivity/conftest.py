"""A network on the standard crossbar that knows its own labels, and studies of it that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from analognets import crossbar as crossbars
from analognets.conversion import to_analog
from analognets.deploy.studies.sensitivity import sweep_nonideality
from analognets.layers import calibrate

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def standard() -> crossbars.Crossbar:
    return crossbars.get("aimc_standard")


@pytest.fixture(scope="session")
def build(samples: np.ndarray, nets: SimpleNamespace) -> Callable[..., keras.Model]:
    """Return a function that makes the calibrated network, of float weights that depend on the seed alone."""

    def build(hardware: Any = "aimc_standard", seed: int = 0) -> keras.Model:
        model = to_analog(nets.small_net(seed), hardware)
        calibrate(model, samples)
        return model

    return build


@pytest.fixture(scope="session")
def data(samples: np.ndarray, nets: SimpleNamespace) -> Data:
    """Return inputs and what the float network makes of them, so that its accuracy is 100 %."""
    return samples, nets.small_net().predict(samples, verbose=0).argmax(-1)


@pytest.fixture(scope="session")
def swept(build: Callable[..., keras.Model], data: Data, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return a small sweep: its table, its folder and its network."""
    folder = Path(tmp_path_factory.mktemp("sweep"))
    model = build()
    table: pd.DataFrame = sweep_nonideality(model, "output_noise", [0.04, 0.0, 3.0], folder, data=data, chips=3)
    return SimpleNamespace(table=table, folder=folder, model=model)
