"""What it costs an accelerator to measure its batch-norm statistics (AdaBS)."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import keras

from analognets.conversion.support import COMPOSITE_CLASS
from analognets.deploy.accelerator.constants import Constant
from analognets.deploy.accelerator.costs import Cost, cost, with_range
from analognets.deploy.accelerator.energy import TERMS
from analognets.deploy.accelerator.workload import layers_by_path
from analognets.errors import ConversionError, InvalidArgumentError, check_integer

__all__ = ["AdaBSCost", "adabs_cost"]

BYTES = 4
"""Of a sum, and of a stored mean or variance: float32."""
STEPS = 3
"""Operations a number: its square, and an addition to each of two sums."""


@dataclasses.dataclass(frozen=True)
class AdaBSCost:
    """What a calibration of all batch-norms costs; made by `adabs_cost`.

    Args:
        samples: how many pass, once for each batch-norm.
        channels: of each batch-norm.
        numbers: that each batch-norm sees of one sample.
        energy_uj: of the whole calibration: passes up to each batch-norm, and the squares as digital products.
        seconds: how long it takes, samples one after the other.
        inferences: how many inferences draw as much energy.
        energy_range_uj: least and largest energy that the accelerator's published figures allow; None if not known.

    Examples:
        >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
        >>> found = adabs_cost(net, samples=100)
        >>> found.samples, found.channels
        (100, (4,))
    """

    samples: int
    channels: tuple[int, ...]
    numbers: tuple[int, ...]
    energy_uj: float
    seconds: float
    inferences: float
    energy_range_uj: tuple[float, float] | None = None

    @property
    def state_bytes(self) -> int:
        """Memory while it runs: two sums for each channel of the widest batch-norm."""
        return 2 * BYTES * max(self.channels)

    @property
    def stored_bytes(self) -> int:
        """Memory for the result: mean and variance of each channel."""
        return 2 * BYTES * sum(self.channels)

    @property
    def operations(self) -> int:
        """Digital operations of one sample: a square and two additions for each number."""
        return STEPS * sum(self.numbers)

    def __str__(self) -> str:
        energy = with_range(self.energy_uj, self.energy_range_uj, unit="uJ")
        return (
            f"AdaBS with {self.samples} samples: {energy}, as much as "
            f"{self.inferences:,.0f} inferences, in {1e3 * self.seconds:.3g} ms, "
            f"{self.operations:,} digital operations a sample, {self.state_bytes:,} "
            f"bytes of sums, {self.stored_bytes:,} bytes stored"
        )


def adabs_cost(model: keras.Model, samples: int = 100, accelerator: Any = "aon_cim", **settings: Any) -> AdaBSCost:
    """Return what it costs a chip to measure the statistics of its batch-norms, see `Chips.calibrate`.

    E = samples x sum_k (energy of the layers up to batch-norm k + numbers_k x energy of a digital product)

    Each batch-norm takes a pass of its own, because those before it must have their new statistics. Additions count in
    the digital pipeline's results.

    Args:
        model: a built functional or Sequential model with batch-norm, plain or analog; its layers are taken in their
            order in it.
        samples: how many, at least 2.
        accelerator: as `cost` takes it.
        **settings: of `cost`: bits, depthwise, digital, overlapped, input_shape.

    Raises:
        ConversionError: the model has no batch-norm, or no product for a crossbar.
        InvalidArgumentError: `samples` is out of range, or the size of what a batch-norm sees is not known.

    Examples:
        >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
        >>> found = adabs_cost(net, samples=100)
        >>> round(found.inferences), found.stored_bytes
        (100, 32)

    Source: our reconstruction; constants of the accelerator.
    """
    check_integer("adabs_cost", "samples", samples, 2, 10**9)
    one = cost(model, accelerator, **settings)
    norms = _behind(model, one)
    if not norms:
        raise ConversionError(f"AdaBS needs a network with batch-norm. Received: model '{model.name}', which has none.")
    square = getattr(one.accelerator.energy, "mac", None)
    square_pj = square.value if isinstance(square, Constant) else 0.0
    numbers = tuple(_numbers(norm, model) for norm, _ in norms)
    total_pj = sum(sum(layer.total_pj for layer in one.layers[:place]) for _, place in norms)
    total_pj += square_pj * sum(numbers)
    counts = dict.fromkeys(TERMS, 0.0) | {"mac": TERMS["mac"] * sum(numbers)}
    for _, place in norms:
        for layer in one.layers[:place]:
            counts = {term: counts[term] + count for term, count in one.events_of(layer).items()}
    ends = one.constant_set.bounds_pj(counts)
    seconds = sum(one.layers[place - 1].time.end_ns for _, place in norms if place) / 1e9
    return AdaBSCost(
        samples=samples,
        channels=tuple(int(norm.moving_mean.shape[0]) for norm, _ in norms),
        numbers=numbers,
        energy_uj=samples * total_pj / 1e6,
        seconds=samples * seconds,
        inferences=samples * total_pj / 1e6 / one.energy_uj if one.energy_uj else math.nan,
        energy_range_uj=None if ends is None else (samples * ends[0] / 1e6, samples * ends[1] / 1e6),
    )


def _behind(model: keras.Model, one: Cost) -> list[tuple[Any, int]]:
    """Return each batch-norm of a model, and how many products come before it."""
    paths = Counter(layer.work.path for layer in one.layers)
    inside = Counter(layer.work.path.rpartition("/")[0] for layer in one.layers)
    found, before = [], 0
    for path, layer in layers_by_path(model).items():
        before += inside[path] if type(layer) in COMPOSITE_CLASS else paths[path]
        if isinstance(layer, keras.layers.BatchNormalization):
            found.append((layer, before))
    return found


def _numbers(norm: Any, model: keras.Model) -> int:
    """Return how many numbers of one sample a batch-norm sees."""
    try:
        shape = tuple(norm.output.shape)[1:]
    except (AttributeError, ValueError):
        shape = (None,)
    if None in shape:
        raise InvalidArgumentError(
            f"The cost of AdaBS needs the size of what each batch-norm sees. Received: model '{model.name}', where that"
            f" of '{norm.name}' is not known. Give a functional or Sequential model with a fixed input shape."
        )
    return math.prod(shape)
