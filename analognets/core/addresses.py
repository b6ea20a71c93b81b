"""Web addresses without what is nobody's business: passwords, tokens, and where a signed link leads."""

from __future__ import annotations

import re

__all__ = ["public_url"]

_CHECKSUM = re.compile(r"sha256=[0-9a-fA-F]{64}")
_LOGIN = re.compile(r"://[^/?#\s]*@")


def public_url(address: object) -> str:
    """Return an address as it may be shown and stored: without user, password, query and any fragment but a sha256.

    A text that is no address with a host stays as it is, so handles of every kind can pass through. Addresses in
    the path of another one lose their logins too.

    Args:
        address: such as "https://me:secret@host/x.zip?token=1#sha256=...".
    """
    text = str(address)
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    place, _, fragment = rest.partition("#")
    place, _, query = place.partition("?")
    host, slash, path = place.partition("/")
    # A login stands in front of the first "/"; a revision of the Hub, as in "user/name@revision", behind it.
    host = host.rpartition("@")[2]
    kept = f"#{fragment}" if _CHECKSUM.fullmatch(fragment) else ""
    return f"{scheme}://{host}{slash}{_LOGIN.sub('://', path)}{'?...' if query else ''}{kept}"
