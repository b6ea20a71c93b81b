from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analognets.deploy.accelerator import Accelerator, LayerWork, Workload, load_accelerator, workload

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def product() -> Callable[..., LayerWork]:
    """Return a function that makes a layer from the shape of its kernel."""

    def product(name: str, *kernel: int, positions: int = 1, **settings: Any) -> LayerWork:
        rows = math.prod(kernel[:-1])
        defaults = {"weights": math.prod(kernel), "fresh": rows, "inputs": rows, "outputs": positions * kernel[-1]}
        return LayerWork(name=name, kind="Dense", kernel=kernel, positions=positions, **{**defaults, **settings})

    return product


@pytest.fixture(scope="session")
def aon_cim() -> Accelerator:
    return load_accelerator("aon_cim")


@pytest.fixture(scope="session")
def kws() -> Workload:
    from analognets.zoo.networks.kws import analognet_kws

    return workload(analognet_kws())


@pytest.fixture(scope="session")
def vww() -> Workload:
    from analognets.zoo.networks.vww import analognet_vww

    return workload(analognet_vww())


@pytest.fixture(scope="session")
def published() -> dict[str, Any]:
    """Return the published figures that the benchmarks compare with."""
    path = ROOT / "benchmarks" / "published" / "accelerators.yaml"
    if not path.is_file():
        pytest.skip("needs the checkout: benchmarks/published is not installed")
    return yaml.safe_load(path.read_text("utf-8"))
