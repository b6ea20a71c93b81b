from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def crossbar_reference() -> ModuleType:
    """Return the realistic crossbar in plain NumPy."""
    spec = importlib.util.spec_from_file_location("crossbar_numpy", Path(__file__).with_name("numpy_reference.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
