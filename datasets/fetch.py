"""Download archives with a checksum and a progress hook, and unpack them so that a half-done job never looks done."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analognets.core.addresses import public_url
from analognets.core.files import make_folder, new_folder, open_plain
from analognets.datasets.download import download
from analognets.errors import DataError, reason

__all__ = ["Archive", "fetch", "install", "unpack"]

_UNPACKED_RATIO = 1.6


@dataclass(frozen=True)
class Archive:
    """A .tar.gz or .zip on the web.

    Args:
        url: address.
        sha256: checksum of the file, in hexadecimal.
        bytes: size of the file.
        folder: name of the folder to unpack into; if all members of a .zip stand in a folder of that name, it is the
            same one.
    """

    url: str
    sha256: str
    bytes: int
    folder: str

    @property
    def file_name(self) -> str:
        """Last part of the address."""
        return self.url.rpartition("/")[2]


def fetch(archive: Archive, folder: Path | str, *, report: Callable[[int], None] | None = None) -> Path:
    """Return the path of the archive in `folder`, downloaded unless a file with its sha256 is there already.

    Args:
        archive: what to fetch.
        folder: where to; made if needed.
        report: called with the number of bytes received so far.

    Raises:
        ChecksumError: what came does not have the archive's sha256; nothing is kept of it.
        DataError: the address can't be reached, or the transfer broke off; the next call goes on from there.
    """
    return download(
        archive.url,
        folder,
        sha256=archive.sha256,
        report=report,
        advice="Check the network and try again, or fetch it elsewhere and unpack it into a folder named "
        f"{archive.folder}.",
    )


def unpack(path: Path, target: Path, *, name: str = "") -> None:
    """Unpack a .tar.gz or .zip into the new folder `target`, which appears only when all of it is there.

    Members that would be written elsewhere, links to elsewhere and devices are refused (tarfile's "data" filter,
    and the same for .zip). If all members of a .zip stand in one folder named as `target`, that level is left out.

    Args:
        path: archive.
        target: folder to make; must not exist.
        name: what to call the archive in a message.

    Raises:
        DataError: the archive is broken or holds a member that is refused.
    """
    shown, hint = public_url(name or path), f"Delete {path} and fetch it again."
    open_plain(path, "archive", limit=1 << 40, error=DataError, hint=hint).close()
    make_folder(target.parent, error=DataError)
    inside = Path()

    def place(draft: Path, target: Path) -> None:
        (draft / inside).rename(target)

    with new_folder(target, "files of the archive", DataError, place=place) as draft:
        try:
            if zipfile.is_zipfile(path):
                inside = _unzip(path, draft, target.name)
            else:
                _untar(path, draft)
            (draft / inside).chmod(0o755)
        except Exception as error:  # tarfile, zipfile and the decoders below them each have errors of their own
            raise DataError(f"Can't unpack {shown}: {reason(error)}. {hint}") from error


def _untar(path: Path, draft: Path) -> None:
    room, total = shutil.disk_usage(draft).free, 0
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            total += member.size
            _check_room(total, room)
            _extract(archive, member, draft)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, draft: Path) -> None:
    """Unpack a member by tarfile's "data" filter; Python before 3.11.4 has none and gets files and folders only."""
    if hasattr(tarfile, "data_filter"):
        archive.extract(member, draft, filter="data")
        return
    if not (member.isfile() or member.isdir()):
        raise tarfile.TarError(
            f"the member {member.name!r} is neither a file nor a folder, which needs Python 3.11.4 or later"
        )
    if member.name.startswith("/") or ".." in Path(member.name).parts:
        raise tarfile.TarError(f"the member {member.name!r} would be written elsewhere")
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    member.mode = 0o755 if member.isdir() else (member.mode | 0o600) & 0o755
    archive.extract(member, draft)


def _check_room(size: int, room: int) -> None:
    if size > room:
        raise OSError(f"it holds {size:,} bytes or more, and there is room for {room:,}")


def _unzip(path: Path, draft: Path, folder: str) -> Path:
    """Unpack and return where the members stand: at the top, or in the only folder if it is named `folder`."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = Path(name.replace("\\", "/")).parts
            if "\0" in name or name.startswith("/") or ".." in parts or ":" in name:
                raise zipfile.BadZipFile(f"the member {name!r} would be written elsewhere")
        _check_room(sum(member.file_size for member in archive.infolist()), shutil.disk_usage(draft).free)
        archive.extractall(draft)
        tops = {name.split("/")[0] for name in archive.namelist()}
    return Path(folder if tops == {folder} and (draft / folder).is_dir() else "")


def install(archives: Sequence[Archive], target: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Fetch and unpack each archive into its own folder of `target`, unless that folder is there.

    Args:
        archives: what to fetch.
        target: folder of the folders.
        progress: called with (bytes done, bytes in all).

    Raises:
        ChecksumError: an archive is not what it should be.
        DataError: no network, no room on the disk, or an archive that can't be unpacked.
    """
    missing = [archive for archive in archives if not (target / archive.folder).is_dir()]
    if not missing:
        return
    make_folder(target, "cache folder", error=DataError)
    total = sum(archive.bytes for archive in missing)
    needed, free = int(total * (1 + _UNPACKED_RATIO)), shutil.disk_usage(target).free
    if free < needed:
        raise DataError(
            f"Downloading and unpacking needs about {needed / 1e9:.1f} GB in {target}. Received: {free / 1e9:.1f} GB. "
            "Make room, or name another folder with ANALOGNETS_CACHE."
        )
    done = 0
    for archive in missing:
        before = done

        def report(received: int, before: int = before, size: int = archive.bytes) -> None:
            if progress:
                progress(before + min(received, size), total)

        path = fetch(archive, target / "downloads", report=report)
        unpack(path, target / archive.folder, name=archive.url)
        path.unlink(missing_ok=True)
        done += archive.bytes
        report(archive.bytes)
