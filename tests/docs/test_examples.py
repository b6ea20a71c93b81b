"""The examples of docstrings that stand by themselves are run."""

from __future__ import annotations

import doctest
import importlib

import keras
import numpy as np
import pytest

import analognets

RUN = (
    "analognets.conversion.convert",
    "analognets.conversion.plan",
    "analognets.crossbar.hardware",
    "analognets.crossbar.mapping",
    "analognets.deploy.chips.chips",
    "analognets.devices",
    "analognets.metrics",
    "analognets.units",
)


@pytest.mark.parametrize("name", RUN)
def test_examples_give_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    given = {**vars(module), "keras": keras, "np": np, "analognets": analognets}
    failed, tried = doctest.testmod(module, globs=given, optionflags=doctest.ELLIPSIS)
    assert tried and not failed
