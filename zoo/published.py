"""Model files that MLPerf Tiny published: where they are looked for, and by which sha256 they are known."""

from __future__ import annotations

import os
from pathlib import Path

from analognets.core.files import file_sha256
from analognets.datasets.clip_cache import cache_folder
from analognets.datasets.download import download
from analognets.errors import DataError, UnknownNameError

__all__ = ["FOLDER", "LICENCE", "PUBLISHED", "SOURCE", "is_official", "published_file"]

COMMIT = "1afd2c9820f795965a6134facd0b4dfae41ef23f"
SOURCE = f"https://github.com/mlcommons/tiny at {COMMIT[:12]}, benchmark/training"
LICENCE = "Apache-2.0"
FOLDER = "mlperf_tiny_models"
"""Name of a folder of these files, in the data folder and in the cache."""
ADDRESS = f"https://raw.githubusercontent.com/mlcommons/tiny/{COMMIT}/benchmark/training"


def _one(folder: str, sha256: str) -> tuple[str, dict[str, str]]:
    return f"{folder}/trained_models", {"": sha256}


PUBLISHED: dict[str, tuple[str, dict[str, str]]] = {
    "pretrainedResnet.h5": _one(
        "image_classification", "5f938a8eea605438cc7360aa13c987bc6d7bd0c8d931b2917361ae7ae4eeda2f"
    ),
    "pretrainedResnet_quant.tflite": _one(
        "image_classification", "3c002613d1b2475eb51dd78dfb85a546c8ae658dee71cf6ade43b022fe205415"
    ),
    "kws_ref_model": (
        "keyword_spotting/trained_models",
        {
            "saved_model.pb": "80665dd19eeb03d1152fdc098b5635261731b23478d09f6ff2166da799f98138",
            "variables/variables.index": "3f21dd9ea6736e20e70c5ed2f40ed9d8a7d12b98316ac0e4ab8f4eb7e303d738",
            "variables/variables.data-00000-of-00001": (
                "5ebfddd34e85a2d35e87e27a8a803353534019bb460907b16db5fa72d757e8c5"
            ),
        },
    ),
    "kws_ref_model.tflite": _one(
        "keyword_spotting", "aeea436800704fce17b17292e4412630ad856e9d777c044c64ef748a880bd0ae"
    ),
    "vww_96.h5": _one("visual_wake_words", "af9111d50e6e85b2f2123345e0316ef1c384865ebf6b06340ddac7e66017450f"),
    "vww_96_int8.tflite": _one("visual_wake_words", "597a384c8c2c8a1276f04702f25013b7838f2f814f1ca7c174d295b73e3d6b7b"),
    "ad01.h5": _one("anomaly_detection", "651a62de1b7facd68d1269373992a2d09ffd28e6a816935d4834fcc558bde512"),
    "ad01_int8.tflite": _one("anomaly_detection", "87cf24194ef93d1d9b11a591d805526b98008e351655d29883c825c9c106ba24"),
    "str_ww_ref_model.h5": _one(
        "streaming_wakeword", "b0f267a8ba0bcb911c1098229c32fac21996e4191c9c60d1fda80adaa70a8add"
    ),
    "str_ww_ref_model.tflite": _one(
        "streaming_wakeword", "3af8550895ba7d5c584277102b5075c52dcfa63ba9d2b2240f37c4e6abd5dd2b"
    ),
}
"""Name: the folder in the repository, and the sha256 of each file; a SavedModel is a folder of several."""


def published_file(name: str, folder: Path | str | None = None) -> Path:
    """Return the path of a published model file.

    Without a folder it is looked for in `mlperf_tiny_models` of ANALOGNETS_DATA, then in the cache, and else downloaded
    to the cache from the project's repository, where its sha256 is checked.

    Args:
        name: of the file, such as "pretrainedResnet.h5".
        folder: that holds it; nothing else is looked at then.

    Raises:
        UnknownNameError: MLPerf Tiny has no such file.
        DataError: the folder lacks it, or it can't be downloaded.
        ChecksumError: what came is another file.
    """
    if name not in PUBLISHED:
        raise UnknownNameError("model file of MLPerf Tiny", name, PUBLISHED)
    if folder is not None:
        path = Path(folder).expanduser() / name
        if not os.path.exists(path):
            raise DataError(
                f"The folder '{folder}' holds no '{name}', a model file of MLPerf Tiny. Take it from {SOURCE}/"
                f"{PUBLISHED[name][0]}."
            )
        return path
    named = os.environ.get("ANALOGNETS_DATA")
    places = [Path(named).expanduser() / FOLDER] if named else []
    for place in [*places, cache_folder(None) / FOLDER]:
        if is_official(place / name):
            return place / name
    return _downloaded(name, cache_folder(None) / FOLDER)


def is_official(path: Path) -> bool:
    """Whether a file, or each file of a SavedModel, is there and is the published one."""
    return path.name in PUBLISHED and all(
        os.path.isfile(part) and file_sha256(part) == wanted for part, wanted in _parts(path)
    )


def _parts(path: Path) -> list[tuple[Path, str]]:
    return [(path / part if part else path, sha256) for part, sha256 in PUBLISHED[path.name][1].items()]


def _downloaded(name: str, folder: Path) -> Path:
    place, parts = PUBLISHED[name]
    for part, sha256 in parts.items():
        target = (folder / name / part).parent if part else folder
        address = f"{ADDRESS}/{place}/{name}/{part}" if part else f"{ADDRESS}/{place}/{name}"
        advice = f"Fetch '{name}' from {SOURCE}/{place}, and put it into {folder} or give its path as `weights`."
        download(address, target, sha256=sha256, advice=advice)
    return folder / name
