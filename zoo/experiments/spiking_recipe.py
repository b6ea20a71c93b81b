"""Recipes of the spiking experiments: spoken letters to pictures, and digits without labels."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from analognets.core.checked import Section
from analognets.core.config import names_a_file, read_yaml, yaml_names
from analognets.errors import RecipeError, UnknownNameError
from analognets.training.recipe_base import BaseRecipe
from analognets.training.recipe_parts import Durations, Options
from analognets.training.run import Run

__all__ = [
    "DigitsRecipe",
    "DigitsRun",
    "LettersRecipe",
    "LettersRun",
    "find_spiking_recipe",
    "is_spiking",
    "list_spiking_recipes",
]

Rate = Annotated[float, Field(gt=0, le=1e9)]
Times = Annotated[Durations, Field(min_length=1, description="a list of durations such as '1h', or of seconds")]


class Synapses(Section):
    """What holds the weights.

    Args:
        kind: "float", "pcm" (pulsed PCM pairs) or "memristor" (Cu/SiO2/W).
        device: settings of the device, such as {drift_exponent: 0.0}.
        rules: settings of how weights lie in devices; for "pcm" those of `SynapseRules`.
        spread: standard deviation of the initial weights in pA.
    """

    kind: Literal["float", "pcm", "memristor"] = "pcm"
    device: Options = {}
    rules: Options = {}
    spread: Annotated[float, Field(ge=0, le=1e9)] = 100.0


class LettersRecipe(BaseRecipe):
    """Spoken letters in, spike pictures of the same letters out.

    Args:
        task: always "letters".
        letters: what is spoken and drawn.
        voice: of espeak-ng, such as "en-us+m3".
        words_per_minute: how fast it speaks, 80 to 450.
        wav: recordings in place of spoken letters: letter -> path of a wav at least as long as the window.
        cochlea: settings of `Cochlea`.
        pixels: settings of `PixelCode`.
        neuron: settings of `LIF`.
        synapses: what holds the weights.
        epochs: how often every letter is presented, at least 1.
        learning_rate: of NormAD, in pA.
        learning_rate_decay: factor an epoch, above 0 and up to 1.
        seconds_per_presentation: time that passes on the devices' clock with each.
        checkpoint_every: epochs between checkpoints.
        times: after training, at which the devices are read again.
        readings: how many at each of these times.
    """

    task: Literal["letters"]
    letters: Annotated[list[str], Field(min_length=1, description="a list of different letters")] = ["I", "B", "M"]
    voice: str = "en-us"
    words_per_minute: Annotated[int, Field(ge=80, le=450)] = 110
    wav: Annotated[dict[str, str], Field(description="a mapping of letters to paths")] = {}
    cochlea: Options = {}
    pixels: Options = {}
    neuron: Options = {}
    synapses: Synapses = Synapses()
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 100
    learning_rate: Rate = 1500.0
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.98
    seconds_per_presentation: Rate = 1.25
    checkpoint_every: Annotated[int, Field(ge=1, le=100_000)] = 10
    times: Times = [0.0, 100.0, 1e3, 1e4, 1e5, 4e5]
    readings: Annotated[int, Field(ge=1, le=1000)] = 5

    @field_validator("letters")
    @classmethod
    def _are_different(cls, letters: list[str]) -> list[str]:
        if len(set(letters)) < len(letters):
            raise ValueError("each letter once")
        return letters


class DigitsRecipe(BaseRecipe):
    """MNIST learned without labels by spike timing.

    Args:
        task: always "stdp-mnist".
        neurons: of the winner-take-all layer.
        kind: of synapses: "memristor" or "float".
        device: settings of the memristor, whose tau_potentiation is the learning window; for "float", of `FloatRows`.
        rules: settings of `WinnerTakeAllRules`.
        epochs: passes over the training pictures, at least 1.
        train_pictures: how many of the training pictures are learned from, or null for all.
        label_pictures: how many of them the neurons' labels come from.
        test_pictures: how many of the test pictures are classified, or null for all.
        block: pictures between checkpoints.
    """

    task: Literal["stdp-mnist"]
    neurons: Annotated[int, Field(ge=2, le=100_000)] = 100
    kind: Literal["memristor", "float"] = "memristor"
    device: Options = {}
    rules: Options = {}
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    train_pictures: Annotated[int, Field(ge=10, le=60_000)] | None = None
    label_pictures: Annotated[int, Field(ge=10, le=60_000)] = 20_000
    test_pictures: Annotated[int, Field(ge=10, le=10_000)] | None = None
    block: Annotated[int, Field(ge=1, le=1_000_000)] = 5000


class LettersRun(Run):
    """A run folder of the letters experiment.

    Examples:
        >>> made = LettersRun.create("letters", find_spiking_recipe("letters"))
        >>> made.status, LettersRun.open("letters").finished
        ('unfinished', False)
    """

    recipe_class = LettersRecipe


class DigitsRun(Run):
    """A run folder of the digits experiment."""

    recipe_class = DigitsRecipe


KINDS: dict[str, type[LettersRun] | type[DigitsRun]] = {"letters": LettersRun, "stdp-mnist": DigitsRun}
"""Kind of run of each task, as recipes name it."""


def list_spiking_recipes() -> list[str]:
    """Return the names of the packaged recipes: also what `analognets train` takes."""
    folder = resources.files("analognets.zoo") / "recipes" / "spiking"
    return yaml_names(folder)


def find_spiking_recipe(name: str, overrides: list[str] | tuple[str, ...] = ()) -> LettersRecipe | DigitsRecipe:
    """Read a spiking recipe by its name or from a YAML file, and apply dotted overrides.

    Args:
        name: of a packaged recipe ("_" counts as "-"), or the path of a file (anything with a "/" or ending in .yaml).
        overrides: such as "epochs=2".

    Raises:
        UnknownNameError: there is no such recipe, or it names no task that is known.
        RecipeError: the file can't be read, or holds something that is not allowed.

    Examples:
        >>> recipe = find_spiking_recipe("letters")
        >>> recipe.name
        'letters'
    """
    if names_a_file(name):
        source = Path(name)
    elif name.replace("_", "-") in list_spiking_recipes():
        file = f"{name.replace('_', '-')}.yaml"
        source = resources.files("analognets.zoo") / "recipes" / "spiking" / file  # type: ignore[assignment]
    else:
        raise UnknownNameError("spiking recipe", name, list_spiking_recipes(), "A file is given by its path.")
    task = task_of(source)
    if task not in KINDS:
        raise UnknownNameError("task of a spiking recipe", str(task), KINDS)
    return KINDS[task].recipe_class.load(source, overrides)


def is_spiking(name: str) -> bool:
    """Whether a name or file given to `train` is a recipe of a spiking experiment."""
    if names_a_file(name):
        return task_of(name) in KINDS
    return name.replace("_", "-") in list_spiking_recipes()


def task_of(source: Path | str) -> str | None:
    """Return what the key `task` of a recipe file says, None if there is no such key or no such file."""
    try:
        data = read_yaml(source, error=RecipeError)
    except RecipeError:
        return None
    task = data.get("task") if isinstance(data, dict) else None
    return task if isinstance(task, str) else None
