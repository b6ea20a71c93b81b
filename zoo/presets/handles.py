"""Handles of presets: a bundled name, a folder or .zip, the address of a .zip, or a repository of the Hub."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from analognets.core.addresses import public_url
from analognets.core.files import recover
from analognets.core.provenance import sha256_of
from analognets.datasets.clip_cache import cache_folder
from analognets.datasets.download import download, is_offline
from analognets.errors import ChecksumError, InvalidArgumentError, MissingExtraError, PresetError, UnknownNameError
from analognets.zoo.presets.files import (
    CARD,
    GOLDEN,
    INDEX,
    MAX_PRESET,
    PLAIN_NAME,
    RECIPE,
    RESULTS,
    WEIGHTS,
    archived_index,
    read_archive,
    read_record,
    unpack,
)

__all__ = ["Location", "bundled", "locate"]

NAMES = (INDEX, WEIGHTS, GOLDEN, RECIPE, RESULTS, CARD)
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<folder>[^@]*))?")


@dataclasses.dataclass(frozen=True)
class Location:
    """Where a preset lies on this machine.

    Args:
        path: its folder.
        root: where links of its files may lead to; None: nowhere.
        sha256: of the archive it came in, if it came in one.
        index: sha256 that its preset.json must have, or None.
    """

    path: Path
    root: Path | None = None
    sha256: str | None = None
    index: str | None = None


def bundled() -> dict[str, Path]:
    """Return the folders of the presets that come with the package, by name."""
    folder = Path(str(resources.files("analognets.zoo") / "presets" / "bundled"))
    if not folder.is_dir():
        return {}
    return {item.name: item for item in sorted(folder.iterdir()) if (item / INDEX).is_file()}


def locate(
    handle: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    offline: bool = False,
    allow_unverified: bool = False,
    cache_dir: Path | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Location:
    """Return where the preset of a handle lies, downloaded into the cache if need be.

    Args:
        handle: a bundled name; the path of a folder or .zip; `https://host/x.zip#sha256=...`; or
            `hf://user/repo@revision[/folder]`.
        sha256: of the .zip, or of preset.json (which names the sha256 of all other files) for hf:// and folders.
        offline: use the cache only; also by ANALOGNETS_OFFLINE=1.
        allow_unverified: take an https:// archive without a sha256. Its files are still checked as any preset's, but
            nobody vouches that they are the ones their author published.
        cache_dir: None for $ANALOGNETS_CACHE or the system's cache folder.
        progress: called with the bytes received so far.

    Raises:
        UnknownNameError: no bundled preset has that name.
        PresetError: the handle is malformed or unverified, or there is no preset.
        ChecksumError: what came is not what was asked for.
        DataError: it can't be downloaded.
        MissingExtraError: hf:// needs huggingface_hub.
    """
    text = os.fspath(handle)
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise InvalidArgumentError(f"`sha256` must be 64 hexadecimal digits. Received: {sha256!r}.")
    cache = cache_folder(cache_dir) / "presets"
    offline = offline or is_offline()
    if text.startswith("hf://"):
        return dataclasses.replace(_from_hub(text, cache, offline), index=sha256)
    if "://" in text:
        return _from_web(text, sha256, cache, offline, allow_unverified, progress)
    known = bundled()
    if text in known and isinstance(handle, str):
        return Location(known[text], index=sha256)
    path = Path(text).expanduser()
    recover(Path(os.path.abspath(path)))
    if os.path.isfile(path):
        return _from_archive(path, sha256, cache)
    if os.path.isdir(path):
        return Location(path, index=sha256)
    if isinstance(handle, str) and PLAIN_NAME.fullmatch(text) and not text.endswith(".zip"):
        hint = "Or give the path of a preset's folder, https://...zip#sha256=..., or hf://user/repo@revision."
        raise UnknownNameError("preset", text, known, hint)
    raise PresetError(f"There is no preset '{text}': no such folder or file. Bundled ones: {', '.join(known)}.")


def _from_archive(path: Path, sha256: str | None, cache: Path) -> Location:
    """Unpack a .zip into the cache, once for each content."""
    content = read_archive(path)
    found = sha256_of(content)
    if sha256 is not None and found != sha256.lower():
        raise ChecksumError(f"'{path}' must have the sha256 {sha256}. Received: {found}.")
    return _unpacked(path, content, found, cache / found[:32])


def _unpacked(archive: Path, content: bytes, found: str, folder: Path) -> Location:
    """Return the folder with what is in an archive, unpacked unless that very content is there already."""
    index = archived_index(archive, content)
    if not _holds(folder, index):
        unpack(archive, folder, content=content)
    return Location(folder, sha256=found, index=sha256_of(index))


def _holds(folder: Path, index: bytes) -> bool:
    """Whether a folder holds the intact preset with this preset.json; anything else in its place is removed."""
    if not os.path.lexists(folder):
        return False
    try:
        if not folder.is_symlink():
            read_record(folder, sha256=sha256_of(index))
            return True
    except (PresetError, ChecksumError):
        pass
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)
    return False


def _from_web(
    handle: str,
    sha256: str | None,
    cache: Path,
    offline: bool,
    allow_unverified: bool,
    progress: Callable[[int], None] | None,
) -> Location:
    shown = public_url(handle)
    site = shown.partition("#")[0]
    try:
        parts = urlsplit(handle)
    except ValueError as error:
        raise PresetError(f"The address {shown!r} is malformed: {error}.") from None
    url = handle.partition("#")[0]
    named = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment)
    if parts.scheme not in ("https", "http") or not parts.path.endswith(".zip") or bool(parts.fragment) != bool(named):
        raise PresetError(
            f"The address of a preset looks like https://host/name.zip#sha256=<64 digits>. Received: {shown!r}."
        )
    wanted = (sha256 or (named[1] if named else "")).lower()
    if sha256 and named and named[1].lower() != wanted:
        raise PresetError(f"`sha256` and the address name different checksums. Received: {sha256!r} and {named[1]!r}.")
    if not wanted and (not allow_unverified or parts.scheme != "https"):
        raise PresetError(
            f"A preset from the web needs its sha256, so that you get what its author published: {site}#sha256=... "
            "`analognets zoo save` prints it. To take whatever the server sends over https, pass "
            "allow_unverified=True (--allow-unverified)."
        )
    key = wanted[:32] if wanted else f"unverified-{sha256_of(url)[:32]}"
    # The archive is kept: only its own sha256 says that what was unpacked from it is what was asked for.
    kept = cache / f"{key}.zip"
    if os.path.lexists(kept):
        with contextlib.suppress(PresetError):
            content = read_archive(kept)
            if not wanted or sha256_of(content) == wanted:
                return _unpacked(kept, content, sha256_of(content), cache / key)
        kept.unlink(missing_ok=True)
    if offline:
        raise PresetError(f"{site} is not in the cache ({cache}), and offline nothing is downloaded. Go online once.")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", parts.path.rpartition("/")[2])[-60:]
    archive = download(
        url,
        cache / "downloads",
        sha256=wanted or None,
        file_name=f"{key[:16]}-{name}",
        limit=MAX_PRESET,
        report=progress,
    )
    try:
        content = read_archive(archive)
        found = sha256_of(content)
        if wanted and found != wanted:
            raise ChecksumError(f"{site} must have the sha256 {wanted}. Received: {found}.")
        location = _unpacked(archive, content, found, cache / key)
        os.replace(archive, kept)
    finally:
        archive.unlink(missing_ok=True)
    return location


def _from_hub(handle: str, cache: Path, offline: bool) -> Location:
    """Fetch the files of a preset from the Hugging Face Hub, whose client resumes and caches by itself."""
    match, shown = HUB.fullmatch(handle), public_url(handle)
    folder = (match["folder"] or "").strip("/") if match else ""
    if match is None or ".." in folder.split("/"):
        raise PresetError(f"A preset on the Hub looks like hf://user/repo@revision[/folder]. Received: {shown!r}.")
    if match["revision"] is None:
        raise PresetError(
            f"Name the revision, so that you get the same preset tomorrow: {shown}@<commit> (a tag or branch works "
            f"too, but may move). Received: {shown!r}."
        )
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("hf:// handles", "hub") from None
    prefix = f"{folder}/" if folder else ""
    try:
        snapshot = huggingface_hub.snapshot_download(
            match["repo"],
            revision=match["revision"],
            allow_patterns=[prefix + name for name in NAMES],
            cache_dir=cache / "hub",
            local_files_only=offline,
        )
    except Exception as error:  # its client has errors of its own for each of: no repository, no network, no access
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        way = " Offline, only what was downloaded before is there." if offline else ""
        raise PresetError(f"{shown} can't be had: {reason}{way}") from error
    repository = Path(snapshot).parents[1]
    return Location(Path(snapshot) / folder, root=repository)
