"""What recipes of every kind have in common: a name and a seed, reading and writing, overrides."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from analognets.core.checked import Section, check
from analognets.core.config import parse_yaml, read_yaml, write_yaml
from analognets.core.provenance import json_sha256
from analognets.errors import RecipeError
from analognets.training.recipe_parts import Seed

__all__ = ["BaseRecipe", "split_override"]


class BaseRecipe(Section):
    """A recipe; a subclass adds the keys of its kind of training.

    Args:
        name: letters, digits, ".", "_" and "-".
        description: one sentence for people.
        seed: of everything random in the run.

    Raises:
        RecipeError: from the constructors `from_dict`, `from_yaml` and `load`.
    """

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, '.', '_' and '-' only")
    ]
    description: str = ""
    seed: Seed = 0

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "The recipe") -> Self:
        """Check plain data and return the recipe.

        Raises:
            RecipeError: a key is unknown or missing, or a value is not allowed; one sentence each.
        """
        recipe = check(cls, data, "recipe", source=source, error=RecipeError)
        try:
            recipe.fingerprint()
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"{source} holds a number that is not finite, or refers to itself: {error}.") from error
        return recipe

    @classmethod
    def from_yaml(cls, text: str, *, source: str = "The recipe") -> Self:
        """Read YAML 1.2 text and return the recipe.

        Raises:
            RecipeError: the text is not YAML, a key is unknown, or a value is not allowed.
        """
        return cls.from_dict(parse_yaml(text, source=source, error=RecipeError), source=source)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data, every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, every default written out; `from_yaml` reads it back equal."""
        return write_yaml(self.to_dict())

    def fingerprint(self) -> str:
        """Return the sha256 of the resolved recipe: equal recipes, equal fingerprints."""
        return json_sha256(self.to_dict())

    def replace(self, overrides: Iterable[str] | Mapping[str, Any]) -> Self:
        """Return a copy with some values changed.

        Args:
            overrides: texts such as "hardware_aware.epochs=2", values in YAML, or a mapping of dotted keys to values.

        Raises:
            RecipeError: an override has no "=", its key is unknown, or its value is not allowed.

        Examples:
            >>> from analognets.zoo.tasks import find_recipe
            >>> find_recipe("kws").replace(["hardware_aware.epochs=2", "seed=3"]).seed
            3
        """
        data = copy.deepcopy(self.to_dict())
        pairs = overrides.items() if isinstance(overrides, Mapping) else map(split_override, overrides)
        for key, value in pairs:
            _assign(data, key, copy.deepcopy(value))
        return self.from_dict(data, source=f"The recipe '{self.name}' with its overrides")

    @classmethod
    def load(cls, source: Any, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Self:
        """Read a recipe.

        Args:
            source: path of a YAML file (text or `Path`), a packaged resource, or an open text file.
            overrides: as in `replace`, applied in order.

        Raises:
            RecipeError: the file can't be read, or what it holds is not a recipe.
        """
        label = f"The recipe '{getattr(source, 'name', source) if hasattr(source, 'read') else source}'"
        recipe = cls.from_dict(read_yaml(source, source=label, error=RecipeError), source=label)
        return recipe.replace(overrides) if overrides else recipe


def split_override(text: str) -> tuple[str, Any]:
    """Return the dotted key and the value, read as YAML, of a text such as "hardware_aware.epochs=2".

    Raises:
        RecipeError: it has no "=" or no key, or its value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not (equals and key.strip()):
        raise RecipeError(
            f"An override is a dotted key, '=' and a value, such as hardware_aware.epochs=2. Received: {text!r}."
        )
    return key.strip(), parse_yaml(value, source=f"The value of the override {text!r}", error=RecipeError)


def _assign(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for depth, name in enumerate(parents, start=1):
        if data.get(name) is None:
            data[name] = {}
        data = data[name]
        if not isinstance(data, dict):
            raise RecipeError(
                f"`{'.'.join(parents[:depth])}` is one value and holds no keys of its own. Received: an override of "
                f"'{key}'."
            )
    data[last] = value
