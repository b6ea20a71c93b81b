"""A trained network in a folder, with everything needed to use it, judge it and make it again."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.core.files import recover
from analognets.errors import PresetError, RecipeError, reason
from analognets.training.recipe import Recipe
from analognets.zoo.presets.files import (
    CARD,
    GOLDEN,
    RECIPE,
    RESULTS,
    WEIGHTS,
    PresetRecord,
    read_file,
    read_record,
    tensors_in,
)

if TYPE_CHECKING:
    import keras
    import pandas as pd

__all__ = ["GoldenCheck", "Preset", "predict", "series"]


@dataclasses.dataclass(frozen=True)
class GoldenCheck:
    """How far a preset is from its golden values here and now; see `Preset.check_golden`.

    Args:
        features: largest difference of the front end's features; None without a front end.
        outputs: largest difference of the network's outputs.
        tolerance: what is allowed for both.
    """

    features: float | None
    outputs: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both differences are within the tolerance."""
        return max(self.features or 0.0, self.outputs) <= self.tolerance


@dataclasses.dataclass(frozen=True, eq=False)
class Preset:
    """A trained network in a folder; made by `load_preset`.

        preset.json          architecture, front end, classes, hardware, accuracy, data, origin, sha256 of the others
        weights.safetensors  variables; kernels in float16
        recipe.yaml          the recipe that made it (not for networks from elsewhere)
        results.csv          accuracy on simulated chips over time since programming
        README.md            model card
        golden.safetensors   some inputs, their features and outputs

    Args:
        path: the folder.
        record: the content of preset.json.
        root: where links of its files may lead to; None: nowhere.
        custom_objects: classes by name that its network needs and the caller vouches for.
    """

    path: Path
    record: PresetRecord
    root: Path | None = None
    custom_objects: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        root: Path | None = None,
        custom_objects: Mapping[str, Any] | None = None,
        sha256: str | None = None,
    ) -> Preset:
        """Check a preset's folder and open it; nothing of it is run.

        Args:
            path: the folder.
            root: where links of its files may lead to; None: nowhere.
            custom_objects: classes by name that its network needs and the caller vouches for.
            sha256: of preset.json, which names the sha256 of all other files.

        Raises:
            PresetError: something is missing, changed or unsafe.
            ChecksumError: preset.json has another sha256.
        """
        path = Path(path)
        recover(Path(os.path.abspath(path)))
        return cls(path, read_record(path, root=root, sha256=sha256), root, dict(custom_objects or {}))

    def __repr__(self) -> str:
        return f"Preset('{self.name}', path='{self.path}')"

    @property
    def name(self) -> str:
        """Such as "analognet_kws.hwa_8bit"."""
        return self.record.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; the position is the label."""
        return tuple(self.record.classes)

    @property
    def data(self) -> dict[str, Any]:
        """What it was trained and measured on: name, licence, citation, statement, clips."""
        return dict(self.record.data)

    @property
    def is_analog(self) -> bool:
        """Whether the network has analog layers, ready to be programmed into chips."""
        return self.record.hardware is not None

    def _content(self, name: str) -> bytes:
        """Return the content of a file, which is checked again: it may have been changed since it was opened."""
        return read_file(self.path, name, root=self.root, stored=self.record.files.get(name))

    def _text(self, name: str) -> str:
        try:
            return self._content(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise PresetError(f"'{self.path / name}' can't be read: {error}.") from error

    @property
    def card(self) -> str:
        """The model card, as Markdown."""
        return self._text(CARD)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe that made it; None for a network from elsewhere."""
        if RECIPE not in self.record.files:
            return None
        try:
            return Recipe.from_yaml(self._text(RECIPE), source=f"'{self.path / RECIPE}'")
        except RecipeError as error:
            raise PresetError(f"The recipe of preset '{self.name}' can't be read: {error}") from error

    @functools.cached_property
    def results(self) -> pd.DataFrame:
        """Accuracy over time since programming: one row a condition and time; losses in points."""
        import pandas as pd

        try:
            return pd.read_csv(io.StringIO(self._text(RESULTS)))
        except (ValueError, OverflowError, MemoryError) as error:
            raise PresetError(f"'{self.path / RESULTS}' can't be read: {reason(error)}.") from error

    @functools.cached_property
    def golden(self) -> dict[str, np.ndarray]:
        """Inputs ("raw/0": int16 or uint8, if there is a front end; "inputs/0": features, ...) and "outputs/0", ..."""
        return tensors_in(self._content(GOLDEN), self.path / GOLDEN)

    @functools.cached_property
    def frontend(self) -> Any:
        """The layer that makes features from raw data (int16 sound, uint8 pictures), or None."""
        if self.record.frontend is None:
            return None
        import keras

        from analognets.zoo.presets.safe_config import from_config

        where = f"The front end of preset '{self.name}'"
        layer = from_config(self.record.frontend, where=where, custom_objects=self.custom_objects)
        if not isinstance(layer, keras.layers.Layer):
            raise PresetError(f"{where} must be a Keras layer. Received: {type(layer).__name__}.")
        return layer

    def model(self) -> keras.Model:
        """Build the network with its trained weights, anew at each call.

        Analog networks are calibrated: give them to `analognets.deploy.program`. `analognets.to_digital` makes plain
        Keras networks of them. The output is the last layer's, in the order of `classes`.

        Raises:
            PresetError: the weights don't fit, or the network's description is refused.
        """
        from analognets.zoo.presets.architecture import build, check_size, set_variables

        where = f"Preset '{self.name}' in '{self.path}'"
        arrays = tensors_in(self._content(WEIGHTS), self.path / WEIGHTS)
        recipe, held = self.recipe, sum(array.size * 4 for array in arrays.values())
        check_size(self.record, recipe, held, where=where, custom_objects=self.custom_objects)
        model = build(self.record, recipe, where=where, custom_objects=self.custom_objects)
        set_variables(model, arrays, where=where)
        return model

    def check_golden(self, model: keras.Model | None = None, *, tolerance: float = 1e-5) -> GoldenCheck:
        """Compare front end and network with the golden values.

        Differences count relative to the largest golden value, if that is above 1.

        Args:
            model: the network, if it is at hand already.
            tolerance: largest difference that passes, above 0.

        Raises:
            PresetError: the golden values don't fit the network.
        """
        golden = self.golden
        inputs = series(golden, "inputs")
        found = predict(self.model() if model is None else model, inputs)
        outputs = _distance(self, found, series(golden, "outputs"))
        features = None
        if self.frontend is not None and "raw/0" in golden:
            [made] = predict(self.frontend, [golden["raw/0"]])
            features = _distance(self, [made], inputs)
        return GoldenCheck(features, outputs, tolerance)


def predict(model: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a network or layer with any number of inputs and outputs."""
    import keras

    outputs = model(inputs[0] if len(inputs) == 1 else inputs, training=False)
    return [keras.ops.convert_to_numpy(item) for item in keras.tree.flatten(outputs)]


def series(arrays: Mapping[str, np.ndarray], kind: str) -> list[np.ndarray]:
    """Return the golden arrays of a kind, such as "inputs", in the order of their numbers."""
    named = {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
    return [named[number] for number in sorted(named, key=int)]


def _distance(preset: Preset, found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    if not wanted or [item.shape for item in found] != [item.shape for item in wanted]:
        raise PresetError(
            f"The golden values of preset '{preset.name}' do not fit it. Received shapes "
            f"{[item.shape for item in wanted]} instead of {[item.shape for item in found]}."
        )
    gaps = [np.abs(one - other).max() / max(1.0, np.abs(other).max()) for one, other in zip(found, wanted, strict=True)]
    return float(max(gaps))
