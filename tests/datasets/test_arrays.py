"""Arrays in .npz files: what can't be data is refused in one sentence, and sizes are known before they are unpacked."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.datasets.arrays import check_labelled, read_labelled
from analognets.errors import DataError

X, Y = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), np.arange(6) % 3


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"inputs": X, "labels": Y, **arrays})
    return path


def test_good_arrays_come_as_they_are(tmp_path: Path) -> None:
    for labels in (Y, Y[:, None], np.eye(3)[Y].astype(int), Y.astype(np.uint8), np.tile(Y[:, None], 5)):
        x, y = read_labelled(save(tmp_path / "x.npz", labels=labels), classes=3)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, labels)
        assert y.dtype == labels.dtype
    assert read_labelled(save(tmp_path / "x.npz", labels=Y.astype(float)))[1].dtype == np.int64


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs": np.where(X > 1, np.nan, X)}, "must hold finite inputs. Received: NaN or infinity in . of 6"),
        ({"inputs": np.where(X > 1, np.inf, X)}, "must hold finite inputs"),
        ({"labels": Y - 1}, "labels from 0 to 2. Received: -1 to 1"),
        ({"labels": Y + 1}, "labels from 0 to 2. Received: 1 to 3"),
        ({"labels": np.full(6, 10**6)}, "Received: 1000000 to 1000000"),
        ({"labels": Y + 0.5}, "whole numbers. Received: float64 such as 0.5"),
        ({"labels": np.full(6, np.nan)}, "whole numbers"),
        ({"labels": np.array(list("abcabc"))}, "`labels` of .* must hold numbers. Received: <U1"),
        ({"labels": Y[:5]}, "as many labels as inputs"),
        ({"labels": np.array(3)}, "as many labels as inputs"),
        ({"inputs": np.array(1.0), "labels": np.array(3)}, "as many labels as inputs"),
        ({"inputs": X[:0], "labels": Y[:0]}, "at least one"),
        ({"inputs": np.array([None] * 6, object)}, "must be a .npz file with the arrays `inputs`, `labels`"),
    ],
)
def test_what_can_not_be_data_is_refused(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_labelled(save(tmp_path / "x.npz", **arrays), classes=3)


def test_missing_special_and_foreign_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "text.npz").write_text("no arrays")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "other.npz", x=X)
    for name in ("pipe", "text", "empty", "other", "gone"):
        with pytest.raises(DataError, match="`inputs`, `labels`"):
            read_labelled(tmp_path / f"{name}.npz")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1 << 28,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", head.getvalue() + bytes(1 << 28))
        archive.writestr("labels.npy", b"")
    with pytest.raises(DataError, match="would unpack to 268,435,.* bytes"):
        read_labelled(tmp_path / "x.npz")
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("inputs.npy", head.getvalue())
    with pytest.raises(DataError, match="its head says float64"):
        read_labelled(tmp_path / "x.npz")


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_changed_bytes_never_give_a_raw_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes
) -> None:
    path = save(tmp_path_factory.mktemp("npz") / "x.npz")
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : place + len(junk)] = junk
    path.write_bytes(data)
    try:
        x, y = read_labelled(path, classes=3)
    except DataError:
        return
    assert len(x) == len(y) and np.isfinite(x).all()


def test_where_is_said() -> None:
    with pytest.raises(DataError, match="^`data` must hold labels from 0 to 1"):
        check_labelled(X, Y, "`data`", classes=2)
