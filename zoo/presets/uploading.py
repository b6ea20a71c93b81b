"""Putting a preset on the Hugging Face Hub: one commit with all of its files, and nothing is overwritten unasked."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from analognets.core.addresses import public_url
from analognets.core.provenance import sha256_of
from analognets.datasets.download import is_offline
from analognets.errors import AnalogNetsError, MissingExtraError, PresetError, reason
from analognets.zoo.presets.files import INDEX, read_file
from analognets.zoo.presets.handles import HUB, NAMES
from analognets.zoo.presets.preset import Preset
from analognets.zoo.presets.registry import load_preset

__all__ = ["UploadedPreset", "upload_preset"]


@dataclasses.dataclass(frozen=True)
class UploadedPreset:
    """A preset as it lies on the Hub.

    Args:
        handle: for `load_preset`, with the commit: "hf://user/repo@commit".
        sha256: of its preset.json, which names the sha256 of all other files.
        url: of the commit, for people.
    """

    handle: str
    sha256: str
    url: str


def upload_preset(
    source: str | os.PathLike[str], target: str, *, private: bool = False, overwrite: bool = False, message: str = ""
) -> UploadedPreset:
    """Put a preset into a repository of the Hugging Face Hub, which is made if there is none.

    The token is the one that Hugging Face's own client finds: of `hf auth login`, or in HF_TOKEN. All files go in one
    commit, which the Hub refuses if the repository changed in the meantime.

    Args:
        source: handle of a preset: a bundled name, a folder or a .zip.
        target: "hf://user/repo", with "@branch" for a branch that exists and "/folder" for a folder of the repository.
        private: make a new repository for invited people only; one that exists stays what it is.
        overwrite: replace the files of a preset that is there.
        message: of the commit; it names the preset by default.

    Raises:
        PresetError: the preset is damaged, the place is taken, there is no token, or the Hub refused.
        MissingExtraError: huggingface_hub is not installed.
    """
    match = HUB.fullmatch(target if "://" in target else f"hf://{target}")
    folder = (match["folder"] or "").strip("/") if match else ""
    if match is None or {"..", "."} & {*folder.split("/")}:
        raise PresetError(
            f"A place on the Hub looks like hf://user/repo[@branch][/folder]. Received: {public_url(target)!r}."
        )
    preset = load_preset(source)
    if is_offline():
        raise PresetError("Uploading needs the network, which ANALOGNETS_OFFLINE forbids. Unset it and upload again.")
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("Uploading to the Hugging Face Hub", "hub") from None
    place = f"hf://{match['repo']}{f'/{folder}' if folder else ''}"
    try:
        if huggingface_hub.get_token() is None:
            raise PresetError(
                "Uploading needs a token of the Hugging Face Hub that may write. Received: no token. Log in with "
                "`hf auth login`, or set HF_TOKEN."
            )
        branch = match["revision"] or huggingface_hub.constants.DEFAULT_REVISION
        commit = _commit(preset, match["repo"], branch, f"{folder}/" if folder else "", private, overwrite, message)
    except AnalogNetsError:
        raise
    except Exception as error:  # its client has errors of its own for each of: no access, no network, a changed branch
        raise PresetError(
            f"{preset.name} can't be uploaded to {place}: {reason(error)}. Is the network there, and may the token "
            "write to that repository? `hf auth whoami` says whose it is."
        ) from error
    handle = f"hf://{match['repo']}@{commit.oid}{f'/{folder}' if folder else ''}"
    return UploadedPreset(handle, sha256_of(read_file(preset.path, INDEX, root=preset.root)), commit.commit_url)


def _commit(
    preset: Preset, repository: str, branch: str, prefix: str, private: bool, overwrite: bool, message: str
) -> Any:
    """Commit all files of a preset at once, and return what the client says of the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    try:
        found = api.model_info(repository, revision=branch)
    except RepositoryNotFoundError:
        api.create_repo(repository, private=private or None)  # None: as its owner's account has it
        found = api.model_info(repository, revision=branch)
    there = {item.rfilename for item in found.siblings or ()} & {prefix + name for name in NAMES}
    if there and not overwrite:
        raise PresetError(
            f"Nothing is overwritten unasked. Received: hf://{repository}, which holds {', '.join(sorted(there))}. Say "
            "overwrite=True (--overwrite) to replace it, or name a new folder: hf://user/repo/folder."
        )
    names = (INDEX, *preset.record.files)
    stored = preset.record.files  # a file that changes while it is uploaded is refused
    contents = {name: read_file(preset.path, name, root=preset.root, stored=stored.get(name)) for name in names}
    operations: list[Any] = [CommitOperationAdd(prefix + name, content) for name, content in contents.items()]
    operations += [CommitOperationDelete(old) for old in sorted(there - {prefix + name for name in names})]
    message = message or f"Preset {preset.name}"
    return api.create_commit(
        repository, operations, commit_message=message, revision=branch, parent_commit=found.sha, repo_type="model"
    )
