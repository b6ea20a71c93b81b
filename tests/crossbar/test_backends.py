from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_product_runs_on_other_backends(on_backend, backend) -> None:
    assert f"crossbars agree on {backend}" in on_backend(backend, HERE / "run_on_backend.py")
