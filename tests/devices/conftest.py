from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def numpy_reference() -> ModuleType:
    """Return the equations in plain NumPy."""
    spec = importlib.util.spec_from_file_location("devices_numpy_reference", HERE / "numpy_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def table() -> Callable[[str], np.ndarray]:
    """Return a reader of the committed reference tables."""

    def read(name: str) -> np.ndarray:
        lines = (HERE / name).read_text(encoding="utf-8").splitlines()
        return np.genfromtxt(lines[1:], delimiter=",", names=True)

    return read
