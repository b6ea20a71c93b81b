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
    "analognets.crossbar.converters",
    "analognets.crossbar.hardware",
    "analognets.crossbar.mapping",
    "analognets.deploy.accelerator.costs",
    "analognets.deploy.accelerator.placement",
    "analognets.deploy.chips.chips",
    "analognets.deploy.studies.ageing.predict",
    "analognets.deploy.studies.certify.certify",
    "analognets.devices",
    "analognets.devices.drift_compensation",
    "analognets.devices.pcm",
    "analognets.layers.attention",
    "analognets.layers.dense",
    "analognets.layers.einsum",
    "analognets.layers.recurrent",
    "analognets.metrics",
    "analognets.units",
    "analognets.zoo.networks.builders",
    "analognets.zoo.networks.kws",
    "analognets.zoo.presets.registry",
)


@pytest.mark.parametrize("name", RUN)
def test_examples_give_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    given = {**vars(module), "keras": keras, "np": np, "analognets": analognets}
    failed, tried = doctest.testmod(module, globs=given, optionflags=doctest.ELLIPSIS)
    assert tried and not failed
