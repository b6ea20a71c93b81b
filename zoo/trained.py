"""What commands work on: the folder of a run, or the handle of a preset."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from analognets.errors import ConversionError, RunError

__all__ = ["TrainedPreset", "open_trained"]


class TrainedPreset:
    """A preset that answers what commands ask of a finished `Run`.

    Args:
        preset: an `analognets.zoo.presets.preset.Preset` that a run was saved to.
        chips: whether it must have an analog network, to be programmed into chips.

    Raises:
        ConversionError: it has no analog network, or no recipe that says which data it takes.
    """

    finished = True
    digital_name = "This preset's weights, digital"

    def __init__(self, preset: Any, *, chips: bool = True) -> None:
        if chips and not preset.is_analog:
            raise ConversionError(
                f"The preset '{preset.name}' is a digital network, with nothing to programme into chips. Use one that "
                "was trained for hardware (`analognets zoo list`), or make it analog in Python: "
                "an.to_analog(an.zoo.from_preset(...), 'aon_cim_8bit')."
            )
        self.recipe = preset.recipe
        if self.recipe is None or chips and self.recipe.hardware_aware is None:
            raise ConversionError(
                f"The preset '{preset.name}' holds no recipe, so it is not known which data it takes. Evaluate it in "
                "Python: an.deploy.program(an.zoo.from_preset(...), chips=25).evaluate(test_data)."
            )
        self.preset = preset
        self.path = preset.path
        self.record = {
            "data": {"classes": list(preset.classes)},
            "git_commit": preset.record.origin.get("git_commit"),
            "versions": preset.record.origin.get("versions") or {"analognets": "unknown"},
        }

    @property
    def results(self) -> Path:
        """Where results go: never into the preset."""
        return Path("results") / str(self.preset.name)

    def analog_model(self) -> Any:
        """Return the calibrated analog network."""
        return self.preset.model()

    def float_model(self) -> Any:
        """Return the same weights as a plain Keras network."""
        from analognets.conversion import to_digital

        model = self.preset.model()
        return to_digital(model) if self.preset.is_analog else model


def open_trained(text: str | Path, *, chips: bool = True) -> Any:
    """Return the `Run` in a folder, or the preset of a handle as a `TrainedPreset`.

    Args:
        text: folder or handle.
        chips: whether a preset must have an analog network.

    Raises:
        RunError: there is neither.
        ConversionError: the preset can't be programmed into chips.
    """
    from analognets.training.run import Run
    from analognets.zoo.presets.files import INDEX
    from analognets.zoo.presets.handles import bundled

    path = Path(text)
    if (path / "run.json").exists():
        _refuse_spikes(path)
        return Run.open(path)
    if "://" in str(text) or str(text) in bundled() or (path / INDEX).exists() or path.is_file():
        from analognets.zoo.presets.registry import load_preset

        return TrainedPreset(load_preset(str(text)), chips=chips)
    try:
        return Run.open(path)
    except RunError as error:
        close = [] if path.exists() else difflib.get_close_matches(str(text), bundled(), n=1)
        guess = f" Did you mean '{close[0]}'?" if close else ""
        error.add_note(f"A preset can be named here too; `analognets zoo list` shows the bundled ones.{guess}")
        raise


def _refuse_spikes(path: Path) -> None:
    """Raise if a run is one of spikes, which no chip of the accelerator runs."""
    from analognets.zoo.experiments.spiking_recipe import is_spiking

    if is_spiking(str(path / "recipe.yaml")):
        raise ConversionError(
            f"'{path}' is a run of spiking neurons, with no network for the accelerator. Its devices were read at "
            f"later times at the end of the training: see '{path / 'results'}'."
        )
