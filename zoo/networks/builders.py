"""What the functions that build networks have besides being functions: the presets that come with the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from analognets.zoo.presets.files import read_record
from analognets.zoo.presets.handles import bundled
from analognets.zoo.presets.registry import bits

__all__ = ["Builder", "Presets", "builder"]

P = ParamSpec("P")
Built = TypeVar("Built", covariant=True)


class Presets(Mapping[str, dict[str, Any]]):
    """The bundled presets of one network by name, in the shape that KerasHub's `presets` have.

    Each is a dict with "metadata": description, params (number of variables), bits of the converters (None: digital),
    accuracy of the digital network on the test split, data.

    Args:
        network: name of the function that builds it.

    Examples:
        >>> from analognets.zoo import analognet_kws
        >>> analognet_kws.presets["analognet_kws.hwa_8bit"]["metadata"]["bits"]
        8
    """

    def __init__(self, network: str) -> None:
        self.network = network

    @cached_property
    def _found(self) -> dict[str, dict[str, Any]]:
        records = {name: read_record(folder, verify=False) for name, folder in bundled().items()}
        return {
            name: {
                "metadata": {
                    "description": record.description,
                    "params": record.parameters,
                    "bits": bits(record),
                    "accuracy": record.accuracy.digital,
                    "data": record.data.get("name"),
                }
            }
            for name, record in records.items()
            if record.architecture.kind == "zoo" and record.architecture.name == self.network
        }

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Presets({self._found!r})"


class Builder(Protocol[P, Built]):
    """A function that builds a network, with its `presets`."""

    __name__: str
    presets: Presets

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Built:
        """Build the network."""
        ...


def builder(function: Callable[P, Built]) -> Builder[P, Built]:
    """Give a function that builds a network its `presets`; a decorator that returns the function itself.

    Args:
        function: of the package's zoo; presets name it.
    """
    found = cast("Builder[P, Built]", function)
    found.presets = Presets(found.__name__)
    return found
