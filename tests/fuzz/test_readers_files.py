"""A few malformed inputs for each reader of files: one sentence, or what is right; no raw error, wrong data or hang."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from analognets.errors import AnalogNetsError

spec = importlib.util.spec_from_file_location("readers_files", Path(__file__).with_name("readers_files.py"))
assert spec is not None and spec.loader is not None
readers = importlib.util.module_from_spec(spec)
sys.modules["readers_files"] = readers
spec.loader.exec_module(readers)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("reader", readers.READERS, ids=lambda reader: reader.name)
def test_malformed_inputs(reader: readers.data.Reader, tmp_path: Path) -> None:
    for trial in range(12):
        folder = tmp_path / str(trial)
        folder.mkdir()
        path = reader.make_input(np.random.default_rng([trial, 14]), folder)
        with warnings.catch_warnings(), contextlib.suppress(AnalogNetsError):
            warnings.simplefilter("ignore")
            reader.read(path)
