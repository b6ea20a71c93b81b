"""The presets that come with the package, and opening one by its handle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.zoo.presets.files import RESULTS, WEIGHTS, PresetRecord, read_record
from analognets.zoo.presets.handles import bundled, locate

if TYPE_CHECKING:
    import pandas as pd

    from analognets.zoo.presets.preset import Preset

__all__ = ["COLUMNS", "from_preset", "list_models", "load_preset"]

ENDS = ("accuracy_low", "accuracy_high", "accuracy_1d_low", "accuracy_1d_high", "loss_1d_low", "loss_1d_high")
COLUMNS = ("family", "bits", "parameters", "accuracy", "accuracy_1d", "loss_1d", "bytes", "data", *ENDS)
DAY = 86_400


def list_models() -> pd.DataFrame:
    """Return a table of the bundled presets; its index holds the names that `from_preset` takes.

    Columns: family; bits of the converters (none: a digital network); parameters; accuracy of the digital network on
    the test split; accuracy_1d, the mean on simulated chips a day after programming; loss_1d, in points against the
    float network it came from; bytes of the weights; data it was trained on; and NAME_low and NAME_high, the ends of
    95 % intervals: of accuracy_1d and loss_1d over chips and samples by speaker, or, where no more was stored, of
    accuracy_1d over chips; of accuracy over samples one by one.

    Examples:
        >>> table = list_models()
        >>> table.loc["analognet_kws.hwa_8bit", "family"], "accuracy_1d" in table
        ('analognet_kws', True)
    """
    import pandas as pd

    rows = {name: _row(folder) for name, folder in bundled().items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS)).rename_axis("name")
    return table.astype({"bits": "Int64"})


def _row(folder: Path) -> list[Any]:
    import pandas as pd

    from analognets.metrics import known_ends, share_interval

    record = read_record(folder, verify=False)
    results = pd.read_csv(folder / RESULTS)
    day = results[(results["condition"] == "hardware-aware") & (results["seconds"] == DAY)]
    day = day[day["drift_compensation"].astype(str) == "True"]
    aged = (day["mean"].iloc[0], day["loss"].iloc[0]) if len(day) else (None, None)
    size = record.files[WEIGHTS].bytes
    family = record.name.partition(".")[0]
    accuracy = record.accuracy
    ends: tuple[float | None, float | None] = (None, None)
    if accuracy.digital is not None and accuracy.samples:
        ends = share_interval(accuracy.digital, accuracy.samples)
    first = day.iloc[0].to_dict() if len(day) else {}
    more = (*known_ends(first), first.get("loss_low"), first.get("loss_high")) if first else (None,) * 4
    row = [family, bits(record), record.parameters, accuracy.digital, *aged, size, record.data.get("name", "")]
    return [*row, *ends, *more]


def bits(record: PresetRecord) -> int | None:
    """Return the resolution of a preset's ADCs; None for a digital network, ideal converters or several of them."""
    if record.hardware_by_layer:
        return None
    config = (record.hardware or {}).get("config")
    found = config.get("adc_bits") if isinstance(config, dict) else None
    return found if isinstance(found, int) else None


def load_preset(
    handle: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    offline: bool = False,
    allow_unverified: bool = False,
    cache_dir: Path | str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Preset:
    """Open a preset: network, front end, classes, recipe, results and model card.

    Loading never runs code of the preset: its network is built from layers of Keras and analognets, its numbers come
    from safetensors files, and every file must have the sha256 that preset.json names.

    Args:
        handle: a bundled name (see `list_models`); the path of a folder or .zip; `https://host/x.zip#sha256=...`; or
            `hf://user/repo@revision[/folder]`, which needs `pip install 'analognets[hub]'`.
        sha256: of the .zip, or of preset.json for hf:// and folders.
        offline: use the cache only; also by ANALOGNETS_OFFLINE=1.
        allow_unverified: take an https:// archive without a sha256.
        cache_dir: None for $ANALOGNETS_CACHE or the system's cache folder.
        custom_objects: layers by name that are neither Keras's nor ours, if you have and trust them.
        progress: called with the bytes received so far.

    Raises:
        UnknownNameError: no bundled preset has that name.
        PresetError: the preset is missing, damaged or unsafe.
        ChecksumError: what came is not what was asked for.
        DataError: it can't be downloaded.
        MissingExtraError: hf:// needs huggingface_hub.

    Examples:
        >>> load_preset("analognet_kws.float").classes[:3]
        ('down', 'go', 'left')
    """
    place = locate(
        handle,
        sha256=sha256,
        offline=offline,
        allow_unverified=allow_unverified,
        cache_dir=cache_dir,
        progress=progress,
    )
    from analognets.zoo.presets.preset import Preset

    return Preset.open(place.path, root=place.root, custom_objects=custom_objects, sha256=place.index)


def from_preset(handle: str | os.PathLike[str], **options: Any) -> Any:
    """Return the trained Keras network of a preset.

    Analog ones are calibrated and ready for `analognets.deploy.program`; `analognets.to_digital` gives the plain
    network. Inputs are features: `load_preset(handle).frontend` makes them from sound or pictures.

    Args:
        handle: as of `load_preset`, such as "analognet_kws.hwa_8bit".
        **options: further arguments of `load_preset`.

    Raises:
        UnknownNameError: no bundled preset has that name.
        PresetError: the preset is missing, damaged or unsafe.

    Examples:
        >>> net = from_preset("analognet_kws.hwa_8bit")
        >>> net.output_shape, len(analognets.layers.analog_layers(net))
        ((None, 12), 6)
    """
    return load_preset(handle, **options).model()
