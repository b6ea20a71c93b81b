"""The precision of a stage's steps: the network stays float32, and "auto" goes by the processor."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from analognets.core import processor
from analognets.training import Run, precision, train


def test_steps_in_bfloat16_leave_float32_networks(toy: ModuleType, tmp_path: Path) -> None:
    stages = {"float__precision": "mixed_bfloat16", "hardware_aware__precision": "mixed_bfloat16"}
    found = train(Run.create(tmp_path / "half", toy.recipe(**stages)), model=toy.model, data=toy.data())
    plain = train(Run.create(tmp_path / "plain", toy.recipe()), model=toy.model, data=toy.data())
    for one in (found.float_model, found.analog_model):
        assert {layer.dtype_policy.name for layer in one._flatten_layers()} == {"float32"}
    inputs = toy.arrays()[0]
    assert found.float_model.predict(inputs, verbose=0).dtype == np.float32
    assert toy.digest(found.float_model) != toy.digest(plain.float_model)
    pairs = zip(found.float_model.get_weights(), plain.float_model.get_weights(), strict=True)
    assert max(float(np.abs(a - b).max()) for a, b in pairs) < 0.2


@pytest.mark.parametrize("fast", [True, False])
def test_auto_goes_by_the_processor(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: fast)
    heard: list[str] = []
    options = {"model": toy.model, "data": toy.data()}
    run = Run.create(tmp_path / "auto", toy.recipe(float__precision="auto", hardware_aware=None))
    found = train(run, **options, progress=lambda event: heard.append(event.message))
    name = "mixed_bfloat16" if fast else "float32"
    assert f"Steps are computed in {name}." in heard
    fixed = toy.recipe(float__precision=name, hardware_aware=None)
    assert toy.digest(found.float_model) == toy.digest(
        train(Run.create(tmp_path / "own", fixed), **options).float_model
    )
    assert run.recipe.to_dict()["float"]["precision"] == "auto"


@pytest.mark.parametrize(("slower", "expected"), [("float32", True), ("bfloat16", False)])
def test_instructions_that_are_slower_are_not_used(
    monkeypatch: pytest.MonkeyPatch, slower: str, expected: bool
) -> None:
    binding = pytest.importorskip("llvmlite.binding")
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: {"avx512bf16": True})
    monkeypatch.setattr(processor, "product_seconds", lambda kind: 2.0 if kind == slower else 1.0)
    assert processor.processor_multiplies_bfloat16() is expected


def test_products_are_timed_inside_graphs_too() -> None:
    import tensorflow as tf

    found: list[float] = []
    tf.function(lambda: found.append(processor.product_seconds("float32", size=32, times=2)))()
    assert len(found) == 1 and found[0] > 0


def test_the_processor_answers() -> None:
    assert precision.multiplies_bfloat16() in (True, False)
    assert precision.resolved("auto") in ("float32", "mixed_bfloat16")


@pytest.mark.parametrize(
    ("gpus", "expected"), [([(8, 0)], True), ([(9, 0), (7, 5)], False), ([(0, 0)], False), ([], None)]
)
def test_with_gpus_auto_goes_by_them(
    monkeypatch: pytest.MonkeyPatch, gpus: list[tuple[int, int]], expected: bool | None
) -> None:
    monkeypatch.setattr(processor, "gpu_capabilities", lambda: gpus)
    answer = processor.multiplies_bfloat16.__wrapped__()
    assert answer is (processor.processor_multiplies_bfloat16() if expected is None else expected)
