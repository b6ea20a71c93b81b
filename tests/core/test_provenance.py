"""Provenance: hashes that files already hold, versions, and the commit of a checkout."""

from __future__ import annotations

import hashlib
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analognets._version import __version__
from analognets.core import provenance
from analognets.core.provenance import environment, installed_version, json_sha256, package_versions, sha256_of
from analognets.deploy.studies.sweep import point_key
from analognets.training import Recipe


def test_parts_are_hashed_one_after_the_other() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    whole = hashlib.sha256("name(3, 2)µ".encode() + np.ascontiguousarray(array.T).tobytes() + b"end").hexdigest()
    assert sha256_of("name", f"{array.T.shape}", "µ", array.T, b"end") == whole
    assert sha256_of() == hashlib.sha256().hexdigest()


def test_plain_data_are_hashed_whatever_the_order_of_keys() -> None:
    assert json_sha256({"b": 1, "a": [2.5, None]}) == json_sha256({"a": [2.5, None], "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_sha256([math.inf])
    assert json_sha256([math.inf], finite=False) == sha256_of("[Infinity]")


def test_stored_fingerprints_never_change() -> None:
    assert point_key({"b": 1, "a": [2.5, None, "x"]}) == "879b6b4485df6fc92170"
    found = Recipe.from_dict({"name": "kws", "model": "m", "dataset": "d"}).fingerprint()
    assert found == "b6673e9cd82d447c3dd520e9f770182ed67a7a8097dd8391c9a7600efbd8dae6"


def test_versions_of_what_is_installed() -> None:
    assert package_versions(("numpy", "no-such-package")) == {"analognets": __version__, "numpy": np.__version__}
    assert installed_version("no-such-package") is None
    assert set(environment()) == {"python", "platform", "versions", "git_commit"}


def test_the_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    file = tmp_path / "code.py"
    file.write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(file))
    assert provenance.git_commit() is None
    git("init", "-q")
    assert provenance.git_commit() is None
    git("add", ".")
    git("commit", "-qm", "first")
    assert provenance.git_commit() == git("rev-parse", "HEAD")
    file.write_text("2")
    assert provenance.git_commit() == git("rev-parse", "HEAD") + "+"
