"""A few malformed inputs for each reader of data: one sentence or good data, no raw error, no wrong data, no hang."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from analognets.errors import AnalogNetsError, DataWarning

spec = importlib.util.spec_from_file_location("readers_data", Path(__file__).with_name("readers_data.py"))
assert spec is not None and spec.loader is not None
readers = importlib.util.module_from_spec(spec)
sys.modules["readers_data"] = readers
spec.loader.exec_module(readers)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", readers.READERS, ids=lambda reader: reader.name)
def test_malformed_inputs(reader: readers.Reader, tmp_path: Path) -> None:
    trials = 4 if "folder" in reader.name else 25
    for trial in range(trials):
        folder = tmp_path / str(trial)
        folder.mkdir()
        path = reader.make_input(np.random.default_rng([trial, 7]), folder)
        with warnings.catch_warnings(), contextlib.suppress(AnalogNetsError):
            warnings.simplefilter("ignore", DataWarning)
            reader.read(path)
