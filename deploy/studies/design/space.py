"""The space of a design: all settings of its knobs, the hardware that each stands for, and where a search begins."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.crossbar import Crossbar
from analognets.deploy.studies.design.knobs import Candidate, ConverterBits, Knob, LayerPlace
from analognets.errors import InvalidArgumentError

if TYPE_CHECKING:
    import optuna

__all__ = ["Space", "crossbars_of", "described"]

FIRST = (8, 6, 4)
"""Uniform bits that come first, where they are among the values."""
DIGITAL = "digital"
Settings = dict[str, Any]


class Space:
    """The settings of some knobs.

    Args:
        start: the hardware of the training.
        knobs: with names of their own.

    Raises:
        InvalidArgumentError: there is no knob, two share a name, or one has no value.
    """

    def __init__(self, start: Candidate, knobs: Sequence[Knob]) -> None:
        self.start, self.knobs = start, list(knobs)
        names = [knob.name for knob in self.knobs]
        empty = [knob.name for knob in self.knobs if not knob.values]
        if not names or len(set(names)) < len(names) or empty:
            raise InvalidArgumentError(
                "A design needs something to choose: knobs with names of their own and at least one value each. "
                f"Received: {names or 'none'}."
            )

    @property
    def size(self) -> int:
        """How many settings there are."""
        return math.prod(len(knob.values) for knob in self.knobs)

    @property
    def grid(self) -> int:
        """How many of them differ in accuracy: the evaluations of a full grid."""
        return math.prod(len(knob.values) for knob in self.knobs if knob.touches_accuracy)

    def describe(self) -> dict[str, list[Any]]:
        """Return the values of each knob by its name."""
        return {knob.name: list(knob.values) for knob in self.knobs}

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return how Optuna draws each knob: evenly spaced whole numbers as such, all else as categories."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        found: dict[str, Any] = {}
        for knob in self.knobs:
            whole = all(isinstance(value, int) and not isinstance(value, bool) for value in knob.values)
            steps = set(np.diff(sorted(knob.values)).tolist()) if whole else set()
            if len(steps) == 1:
                found[knob.name] = IntDistribution(min(knob.values), max(knob.values), step=steps.pop())
            else:
                found[knob.name] = CategoricalDistribution(knob.values)
        return found

    def candidate(self, settings: Mapping[str, Any]) -> Candidate:
        """Return the hardware of some settings, one for each knob.

        Raises:
            AnalogNetsError: there is no such hardware.
        """
        found = self.start
        for knob in self.knobs:
            found = knob.turned(found, settings[knob.name])
        return found

    def point(self, candidate: Candidate) -> str:
        """Return in what each layer differs from the training's, as JSON: what accuracy depends on."""
        return described(self.start.layers, candidate.layers)

    def starting(self, **changes: Any) -> Settings:
        """Return the settings of the training, or as near as the values are, with some changed."""
        return {knob.name: changes.get(knob.name, knob.start) for knob in self.knobs}

    def uniform(self, bits: int) -> Settings | None:
        """Return the settings with the same bits in all converters; None where a knob lacks them."""
        own = [knob for knob in self.knobs if isinstance(knob, ConverterBits)]
        if not own or any(bits not in knob.values for knob in own):
            return None
        return self.starting(**{knob.name: bits for knob in own})

    def uniforms(self) -> dict[int, Settings]:
        """Return all uniform settings by their bits: 8, 6 and 4 first, then from many to few."""
        widths = {value for knob in self.knobs if isinstance(knob, ConverterBits) for value in knob.values}
        order = [bits for bits in FIRST if bits in widths] + sorted(widths - {*FIRST}, reverse=True)
        return {bits: found for bits in order if (found := self.uniform(bits)) is not None}

    def label(self, settings: Mapping[str, Any]) -> str:
        """Return settings in short, such as "6 bit, adcs 64" or "bits 5 6 6 4, adcs 64"."""
        words = []
        for kind in ("bits", "dac_bits", "adc_bits"):
            own = [settings[knob.name] for knob in self.knobs if isinstance(knob, ConverterBits) and knob.kind == kind]
            words += [f"{kind} {' '.join(map(str, own))}"] if own else []
        if words and len(found := set(" ".join(words).split()) - {"bits", "dac_bits", "adc_bits"}) == 1:
            words = [f"{found.pop()} bit"]
        left = [knob.layer for knob in self.knobs if isinstance(knob, LayerPlace) and settings[knob.name] == DIGITAL]
        words += [f"{' '.join(left)} digital"] if left else []
        rest = [knob for knob in self.knobs if not isinstance(knob, (ConverterBits, LayerPlace))]
        return ", ".join([*words, *(f"{knob.name} {settings[knob.name]}" for knob in rest)])

    def first(self, most: int) -> Iterator[tuple[str, Settings]]:
        """Yield what a search begins with, by its kind: uniform hardware, then that with a single layer coarser.

        Args:
            most: of those with a single layer coarser.
        """
        uniform = self.uniforms()
        for bits, settings in uniform.items():
            yield f"uniform {bits} bit", settings
        if not uniform:
            yield "as trained", self.starting()
            return
        widths = sorted(uniform)
        middle, coarse = widths[len(widths) // 2], widths[0]
        layers = list(dict.fromkeys(knob.layer for knob in self.knobs if isinstance(knob, ConverterBits)))
        if middle == coarse or len(layers) < 2 or len(layers) > most:
            return
        for layer in layers:
            own = [knob for knob in self.knobs if isinstance(knob, ConverterBits) and knob.layer == layer]
            yield f"{layer} coarser", {**uniform[middle], **{knob.name: coarse for knob in own}}


def described(start: Mapping[str, Crossbar | None], layers: Mapping[str, Crossbar | None]) -> str:
    """Return what differs between the crossbars of layers, as JSON; "digital" for one that has none."""
    found: dict[str, Any] = {}
    for name, one in layers.items():
        own = start[name]
        if one is None:
            found[name] = DIGITAL
        elif own is None or one != own:
            before = {} if own is None else own.get_config()
            config = one.get_config()
            found[name] = {key: value for key, value in config.items() if key not in before or before[key] != value}
    return json.dumps(found, sort_keys=True)


def crossbars_of(start: Mapping[str, Crossbar | None], text: str) -> dict[str, Crossbar | None]:
    """Return the crossbars that `described` tells.

    Args:
        start: those of the training.
        text: from `described`.
    """
    found: dict[str, Crossbar | None] = dict(start)
    for name, changes in json.loads(text).items():
        own = start[name]
        before = {} if own is None else own.get_config()
        found[name] = None if changes == DIGITAL else Crossbar.from_config({**before, **changes})
    return found
