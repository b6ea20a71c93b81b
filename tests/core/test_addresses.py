"""Addresses without secrets: whatever stands in front of the host, behind the "?" or behind the "#"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.core.addresses import public_url

SHA = "0123456789abcdef" * 4
WORDS = st.text("abcXYZ019-_.~!$'()*,;:=+%", max_size=12)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/x.zip", "https://host/x.zip"),
        (f"https://host/x.zip#sha256={SHA}", f"https://host/x.zip#sha256={SHA}"),
        (f"http://me:SECRET@host:80/x.zip?token=SECRET#sha256={SHA}", f"http://host:80/x.zip?...#sha256={SHA}"),
        ("https://SECRET@host/x.zip", "https://host/x.zip"),
        ("https://me:SE@CRET@host/x.zip", "https://host/x.zip"),
        ("https://host?SECRET", "https://host?..."),
        ("https://host/x.zip#access=SECRET", "https://host/x.zip"),
        ("hf://user/repo@main/folder", "hf://user/repo@main/folder"),
        ("hf://SECRET@user/repo@main", "hf://user/repo@main"),
        ("hf://a/b,http://me:SECRET@host/x.zip", "hf://a/b,http://host/x.zip"),
        ("analognet_kws.hwa_8bit", "analognet_kws.hwa_8bit"),
        ("some/folder@2?x", "some/folder@2?x"),
    ],
)
def test_what_is_shown(address: str, shown: str) -> None:
    assert public_url(address) == shown


@given(WORDS, WORDS, WORDS, WORDS)
def test_no_secret_gets_through(user: str, word: str, query: str, fragment: str) -> None:
    mark = "S3CR3T"
    address = f"https://{user}:{mark}{word}@host/a/b.zip?{query}={mark}#{fragment}{mark}"
    shown = public_url(address)
    assert mark not in shown and shown == public_url(shown) == "https://host/a/b.zip?..."
