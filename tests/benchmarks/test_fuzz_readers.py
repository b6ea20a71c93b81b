"""A few malformed inputs for each reader: one sentence or what is right; no raw error, wrong data or hang."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from analognets.errors import AnalogNetsError
from benchmarks.fuzz import READERS, Reader

FEWER = ("folder", "run", "preset", "chips", "hand-over", "keras", "h5")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_malformed_inputs(reader: Reader, tmp_path: Path) -> None:
    for trial in range(6 if any(word in reader.name for word in FEWER) else 25):
        folder = tmp_path / str(trial)
        folder.mkdir()
        with warnings.catch_warnings(), contextlib.suppress(AnalogNetsError):
            warnings.simplefilter("ignore")
            reader.read(reader.make_input(np.random.default_rng([trial, 14]), folder))
