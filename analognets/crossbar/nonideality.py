"""What every non-ideality of the analog product is: a small frozen object with one strength."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras

from analognets.devices import derive_seed
from analognets.devices.base import seeded_normal, seeded_uniform
from analognets.devices.strengths import Strength, is_off
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["Column", "NonIdeality", "Term", "draw_normal", "draw_uniform"]


DEVIATIONS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
"""What strengths are scanned with unless a class says otherwise: standard deviations in the units of the crossbar."""


class Term(NamedTuple):
    """One plain product that a non-ideality needs besides the main one: `kernel` times a function of the inputs.

    Args:
        inputs: "signed": x; "magnitude": |x|; "square": x^2; "negative": max(-x, 0), with x in [-1, 1].
        kernel: array of the kernel's shape (..., inputs, outputs), or with one output for all.
    """

    inputs: str
    kernel: Any


class Column(NamedTuple):
    """How numbers that belong to columns lie in outputs of `rank` axes.

    Args:
        rank: number of axes of the outputs.
        axis: the axis of the columns.
    """

    rank: int
    axis: int

    def along(self, vector: Any) -> Any:
        """Return a vector with one number per column in a shape that broadcasts with the outputs."""
        shape = [1] * self.rank
        shape[self.axis] = -1
        return keras.ops.reshape(vector, shape)


def _stream(seed: Any, stream: str) -> Any:
    if seed is None:
        raise InvalidArgumentError(
            f"A product with {stream} needs a seed. Received: seed=None. Pass a whole number, or a "
            "keras.random.SeedGenerator where each call must draw anew."
        )
    return seed if isinstance(seed, keras.random.SeedGenerator) else derive_seed(seed, stream)


def draw_normal(shape: Any, seed: Any, stream: str) -> Any:
    """Return float32 standard-normal draws: the named stream of a whole number, or the next ones of a SeedGenerator.

    Raises:
        InvalidArgumentError: `seed` is None or no whole number.
    """
    return seeded_normal(shape, _stream(seed, stream))


def draw_uniform(shape: Any, seed: Any, stream: str) -> Any:
    """Return float32 draws uniform in [0, 1): the named stream of a whole number, or the next of a SeedGenerator.

    Raises:
        InvalidArgumentError: `seed` is None or no whole number.
    """
    return seeded_uniform(shape, _stream(seed, stream))


@dataclasses.dataclass(frozen=True)
class NonIdeality(abc.ABC):
    """One way in which the analog product F departs from sum_j w_ij x_j; frozen settings, no data.

    All figures are in the units of the crossbar: inputs in [-1, 1] after the DAC, weights in [-1, 1] with 1 at g_max,
    outputs as they reach the ADC. `forward` calls, for each non-ideality in the order of the crossbar's list:

        x = input_disturbance(x),  z = z + offset(products of terms),  z = response(z),  z = z + sqrt(variance) * N

    What the periphery of a tile is made with (`periphery_shape`) is drawn once per chip, as standard-normal numbers;
    what differs at each product is drawn anew. At strength 0 it is not there.

    In a sweep the strength is a float32 scalar tensor while these methods run (`analognets.devices.strengths`), so they
    compute with it and never ask whether it is true.

    A subclass says about itself, as class attributes:

        name            what it is called in lists, sweeps and tables
        variants        where one class has several names: the settings that each name stands for
        strength_field  the setting that is its strength
        bounds          the range of each setting
        title, unit     what its strength is, for axes and tables; settings of a variant in braces
        scan            strengths that a sweep tries where the hardware does not have it, from weak to strong

    Examples:
        >>> kind = analognets.crossbar.get_nonideality("output_noise", strength=0.1)
        >>> kind.name, kind.strength, kind.scaled(2.0).strength
        ('output_noise', 0.1, 0.2)
    """

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    strength_field: ClassVar[str] = "deviation"
    title: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    scan: ClassVar[Sequence[float]] = DEVIATIONS
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"deviation": (0.0, 1e3)}

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            object.__setattr__(self, name, check_number(type(self).__name__, name, getattr(self, name), low, high))

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What it is called in lists, sweeps and tables."""

    @property
    def strength(self) -> Strength:
        """Its main setting, `strength_field`; at 0 the non-ideality is off."""
        return getattr(self, self.strength_field)

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        return not is_off(self.strength)

    def replace(self, **settings: Any) -> NonIdeality:
        """Return a copy with some settings changed.

        Raises:
            InvalidArgumentError: there is no such setting, or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in settings:
            if name not in known:
                raise InvalidArgumentError(f"{self.name} has the settings {', '.join(known)}. Received: {name!r}.")
        return dataclasses.replace(self, **settings)

    def scaled(self, factor: float) -> NonIdeality:
        """Return a copy with the strength times `factor` >= 0.

        Raises:
            InvalidArgumentError: the factor is negative or the strength gets out of range.
        """
        factor = check_number(self.name, "factor", factor, 0.0)
        return self.replace(**{self.strength_field: self.strength * factor})

    def periphery_shape(self, kernel_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape of the standard-normal numbers that the periphery of a tile is made with, or None."""
        return None

    def input_disturbance(self, shape: Any, seed: Any) -> Any:
        """Return what is added to the inputs after the DAC, or None."""
        return None

    def terms(self, kernel: Any, periphery: Any) -> Sequence[Term]:
        """Return the products it needs besides the main one.

        Args:
            kernel: w in [-1, 1], shape (..., inputs, outputs).
            periphery: the numbers of `periphery_shape`, or None.
        """
        return ()

    def offset(self, products: Sequence[Any]) -> Any:
        """Return what is added to the outputs, from the products of `terms`, or None."""
        return None

    def variance(self, products: Sequence[Any]) -> Any:
        """Return the variance of the noise it adds to the outputs at each product, from the products of `terms`."""
        return 0.0

    def response(self, outputs: Any, periphery: Any, column: Column) -> Any:
        """Return what the outputs become, or None if they stay.

        Args:
            outputs: z, as it reaches this stage.
            periphery: the numbers of `periphery_shape`, or None.
            column: where the columns lie in `outputs`.
        """
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal object."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NonIdeality:
        """Build the non-ideality from `get_config`'s data."""
        return cls(**config)
