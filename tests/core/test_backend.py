from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import keras
import pytest

from analognets.core.backend import check_backend, check_configured, configured_backend, in_steps
from analognets.errors import InvalidArgumentError, MissingExtraError


def test_a_backend_that_can_not_do_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_backend("Chips run")
    assert in_steps() is False
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    check_backend("Chips run")
    assert in_steps() == "auto"
    with pytest.raises(
        InvalidArgumentError,
        match="Files are written on Keras' backend tensorflow alone. Received: backend 'jax'.*Do it by hand.",
    ):
        check_backend("Files are written", "tensorflow", instead="Do it by hand.")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InvalidArgumentError, match="KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before"):
        check_backend("Chips run")


def test_the_backend_is_known_before_keras_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert configured_backend() == keras.backend.backend()
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert configured_backend() == "tensorflow"
    for text, name in (('{"backend": "jax"}', "jax"), ("[1]", "tensorflow"), ("{", "tensorflow")):
        (tmp_path / "keras.json").write_text(text)
        assert configured_backend() == name
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(InvalidArgumentError, match="analognets runs on .* Received: backend 'torch'"):
        check_configured()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'analognets\[jax\]'"):
        check_configured()
