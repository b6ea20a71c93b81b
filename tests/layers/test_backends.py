"""The core rooms on the JAX and torch backends of Keras, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layers_run_on_other_backends(backend) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install {backend}")
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "run_on_backend.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"layers agree on {backend}" in done.stdout
