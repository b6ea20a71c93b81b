from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """Return the module with the toy training, which a process that tests kill imports by name."""
    name = "training_toy"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "toy.py")
        if spec is None or spec.loader is None:
            pytest.fail("toy.py is missing")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
