"""The analog layers under Keras' own layer checks, on TensorFlow here and on JAX in a process of its own."""

from __future__ import annotations

import importlib.util
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


@pytest.mark.slow
def test_layers_keep_the_rules_of_keras_on_jax(on_backend) -> None:
    assert "on jax" in on_backend("jax", HERE / "keras_checks.py")
