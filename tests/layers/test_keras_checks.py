"""The analog layers under Keras' own layer checks, on TensorFlow here and on JAX in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAME = "layers_keras_checks"
spec = importlib.util.spec_from_file_location(NAME, HERE / "keras_checks.py")
assert spec is not None and spec.loader is not None
checks = sys.modules[NAME] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checks)


@pytest.mark.filterwarnings("ignore:.*build()")
@pytest.mark.parametrize(("name", "check"), checks.PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_layers_keep_the_rules_of_keras(name, check) -> None:
    check(name)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: pip install jax")
def test_layers_keep_the_rules_of_keras_on_jax() -> None:
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # compilation is nearly all that it waits for
    environment = {**os.environ, **quick, "KERAS_BACKEND": "jax", "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "keras_checks.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "on jax" in done.stdout
