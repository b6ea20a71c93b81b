"""The core rooms on the JAX and torch backends of Keras, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layers_run_on_other_backends(on_backend, backend) -> None:
    assert f"layers agree on {backend}" in on_backend(backend, HERE / "run_on_backend.py")
