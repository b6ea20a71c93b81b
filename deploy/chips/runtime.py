"""Running a model with the weights read from a chip: one compiled function, weights exchanged between calls."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from analognets.core.processor import multiplies_bfloat16
from analognets.crossbar.forward import pays_in_one_pass
from analognets.deploy.chips.bfloat16 import (
    CHECKED_SAMPLES,
    LARGEST_CHANGE,
    STEP_SAMPLES,
    changed_decisions,
    largest_difference,
    largest_difference_of_layers,
    why_not_bfloat16,
)
from analognets.deploy.chips.compiled import compiled
from analognets.deploy.chips.loading import compensated, load_twin
from analognets.deploy.evaluation import samples_in
from analognets.errors import InvalidArgumentError, check_choice, check_integer
from analognets.layers import AnalogLayer, analog_layers
from analognets.layers.kept_state import kept_state
from analognets.layers.noise_realization import NoiseRealization

if TYPE_CHECKING:
    from analognets.deploy.chips.fused import FusedTwin

__all__ = ["PRECISIONS", "Runner"]

PRECISIONS = ("float32", "bfloat16", "auto")

NOISY_BATCH = 50
"""Samples of a call where products have noise: it is drawn for so many at once, in the order of the samples."""
PASS_SAMPLES = 1000
"""Samples from which it pays to compile one pass behind the products; the first so many tell whether it agrees."""


def padded(piece: Any, size: int) -> Any:
    """Return a batch as a tensor of `size` samples, the last one repeated as often as needed."""
    missing = size - len(piece)
    if missing:
        piece = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)])
    return ops.convert_to_tensor(piece)


def part_of(inputs: Any, first: int, count: int) -> Any:
    """Return some samples of an array, or of each of a structure of arrays."""
    return keras.tree.map_structure(lambda leaf: leaf[first : first + count], inputs)


def rebatched(batches: Iterable[Any], size: int) -> Iterator[Any]:
    """Yield the samples of batches of any size in batches of one size; the last one may be smaller."""
    rest: Any = None
    for batch in batches:
        if rest is not None:
            batch = keras.tree.map_structure(lambda *parts: np.concatenate(parts), rest, batch)
        count = samples_in(batch)
        whole = count - count % size
        yield from (part_of(batch, first, size) for first in range(0, whole, size))
        rest = part_of(batch, whole, size) if whole < count else None
    if rest is not None:
        yield rest


def output_shape(layer: AnalogLayer) -> tuple[Any, ...]:
    """Return the shape of a layer's outputs; () if it is none of a functional model, or is called in several places."""
    try:
        return tuple(layer.output.shape)
    except (AttributeError, ValueError):
        return ()


def twin_of(model: keras.Model, precision: str) -> tuple[FusedTwin | None, str]:
    """Return the fused twin of a model that is proven to compute what the layers do, or None and why there is none."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        return None, f"Keras runs on '{backend}' and not on 'tensorflow'"
    from analognets.deploy.chips.proof import proven_twin

    return proven_twin(model, precision)


class Runner:
    """Computes a model's outputs with programmed weights, without retracing from chip to chip.

    Each reading starts from the state that the model has then (of stateful recurrent layers, counters, statistics), and
    leaves it as it was. The noise of a product depends on chip, time and the number of the sample, not on `batch_size`.

    On hardware whose products have noise, `PASS_SAMPLES` samples or more are computed in one pass behind the products
    where there are layers with many outputs. It rounds differently, so the first time both forms run as many samples,
    and it is taken if no more than 0.1 points of the decisions differ.

    Args:
        model: a model with calibrated analog layers.
        mode: "auto", "fused" (ADC, batch-norm, ReLU and the next DAC as one pass; functional models) or "plain" (the
            layers as they are; any model). "auto" is fused where that is proven equal on a random batch, see
            `analognets.deploy.chips.proof`; `mode` says which it is, `note` why not fused. On JAX all are plain.
        precision: "float32"; "bfloat16" for the products behind the converters (faster where the processor has bfloat16
            arithmetic; about one ADC step of difference; in fused mode, and in plain mode on hardware with
            non-idealities); or "auto", which is "bfloat16" where that is possible, the processor multiplies bfloat16,
            and the first reading allows it: both precisions run it, no product may differ by more than an ADC step, nor
            the accuracy (of samples without labels, the share of other decisions) by more than 0.1 points. Else it is
            "float32", and `precision_note` says why.
        batch_size: largest number of samples per call; batches are made equal, the last one is padded. A model with a
            batch size of its own keeps that, and hardware whose products have noise computes 50 samples a call.

    Raises:
        InvalidArgumentError: the model can't be run fused but `mode` asks for it.
    """

    def __init__(
        self, model: keras.Model, *, mode: str = "auto", precision: str = "float32", batch_size: int = 100
    ) -> None:
        check_choice("Runner", "mode", mode, ("auto", "fused", "plain"))
        check_choice("Runner", "precision", precision, PRECISIONS)
        self.model = model
        self.layers = analog_layers(model)
        self.batch_size = check_integer("Runner", "batch_size", batch_size, 1, 1 << 20)
        self.twin: FusedTwin | None
        self.precision = "float32" if precision == "auto" else precision
        self.twin, self.note = (None, "") if mode == "plain" else twin_of(model, self.precision)
        if self.twin is None and (mode == "fused" or precision == "bfloat16" and not self._has_rough_tiles):
            raise InvalidArgumentError(
                "Fused evaluation needs a functional or Sequential model, not nested, in float32 policy, whose analog "
                "layers have finite converters, no split rows and no activation but ReLU, and that it computes as the "
                f"layers do. Received: model '{model.name}', mode={mode!r}, precision={precision!r}, "
                f"where {self.note}. "
                "Use mode='plain'."
            )
        self._weights: list[Any] = []
        self._seeds = [keras.random.SeedGenerator(0) for _ in self.layers]
        self._starts = [0 for _ in self.layers]
        self._function = compiled(self._run, model, own=[one.state for one in self._seeds])
        self.precision_note = ""
        self._rough: Runner | None = self._in_bfloat16() if precision == "auto" else None
        self._one_pass = False
        self._may_pass = self._has_large_tiles
        self._passing: Runner | None = None
        self._changes_state: bool | None = None
        sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0] is not None}
        self._fixed_size = min(sizes, default=None)

    def _run(self, inputs: Any, weights: list[Any]) -> Any:
        if self.twin is not None:
            return self.twin.model(inputs, training=False)
        with contextlib.ExitStack() as stack:
            for layer, arrays, seed in zip(self.layers, weights, self._seeds, strict=True):
                rough = self.precision == "bfloat16"
                now = NoiseRealization(**arrays, seed=seed, bfloat16=rough, one_pass=self._one_pass)
                stack.enter_context(layer.fixed_noise(now))
            return self.model(inputs, training=False)

    def _in_bfloat16(self) -> Runner | None:
        """Return this runner with products in bfloat16 where that may be faster, to be judged by the first reading."""
        if self.twin is None and not self._has_rough_tiles:
            self.precision_note = f"products stay float32: {self.note or 'the layers are run as they are'}"
        elif not multiplies_bfloat16():
            self.precision_note = "products stay float32: the processor does not multiply bfloat16 faster"
        else:
            return type(self)(self.model, mode=self.mode, precision="bfloat16", batch_size=self.batch_size)
        return None

    @property
    def _has_rough_tiles(self) -> bool:
        """Whether there are tiles that multiply in bfloat16 if they are asked to."""
        return keras.backend.backend() == "tensorflow" and any(not layer.crossbar.plain for layer in self.layers)

    @property
    def _has_large_tiles(self) -> bool:
        """Whether there are tiles with so many outputs that one pass behind the products may pay."""
        noisy = [layer for layer in self.layers if not layer.crossbar.plain]
        return self.twin is None and self._has_rough_tiles and any(pays_in_one_pass(output_shape(one)) for one in noisy)

    def _in_one_pass(self, inputs: Any) -> Runner | None:
        """Return the runner that computes so many samples in one pass behind the products, or None for this one."""
        if not self._may_pass or self.precision != "float32" or samples_in(inputs) < PASS_SAMPLES:
            return None
        tried = self._passing is not None
        other = self._passing or type(self)(self.model, mode="plain", batch_size=self.batch_size)
        other._one_pass, other._weights, other._starts = True, self._weights, self._starts
        if not tried:
            self._passing, some = other, part_of(inputs, 0, PASS_SAMPLES)
            self._may_pass = changed_decisions(self._together(some), other._together(some)) <= LARGEST_CHANGE
        return other if self._may_pass else None

    def _settle(self, inputs: Any, labels: Any = None) -> None:
        """Take bfloat16 for good, or float32, by what both make of samples."""
        rough, self._rough = self._rough, None
        if rough is None:
            return
        inputs, labels = (None if one is None else part_of(one, 0, CHECKED_SAMPLES) for one in (inputs, labels))
        some = part_of(inputs, 0, STEP_SAMPLES)
        if self.twin is not None:
            steps = largest_difference(self.twin, some)
        else:
            steps = largest_difference_of_layers(self.model, self.layers, self._realizations(), some)
        why = why_not_bfloat16(steps, labels, self.predict(inputs), rough.predict(inputs))
        if why:
            self.precision_note = f"products stay float32: {why}"
        else:
            self.precision, self.twin, self._function = rough.precision, rough.twin, rough._function
            self._seeds = rough._seeds

    def _realizations(self) -> list[NoiseRealization]:
        """Return what the layers multiply by, as loaded."""
        return [NoiseRealization(**arrays, seed=0) for arrays in self._weights]

    @property
    def mode(self) -> str:
        """The way the model is run: "fused" or "plain"."""
        return "plain" if self.twin is None else "fused"

    def load(self, reads: Sequence[NoiseRealization], *, drift_compensation: bool = True, refresh: bool = True) -> None:
        """Take the weights of one chip at one time.

        Args:
            reads: what `Chip.read` returned, one for each analog layer.
            drift_compensation: scale each tile back to its level after programming.
            refresh: take the model's present digital numbers too; False if they are those of the last call.
        """
        if self.twin is not None:
            load_twin(self.twin, self.layers, reads, drift_compensation, refresh=refresh)
            if self._rough is not None:
                self._rough.load(reads, drift_compensation=drift_compensation)
            return
        if self._rough is not None:
            self._rough.load(reads, drift_compensation=drift_compensation)
        pairs = zip(self.layers, reads, strict=True)
        self._weights = [compensated(layer, read, drift_compensation).arrays for layer, read in pairs]
        self._starts = [read.seed for read in reads]

    def predict(self, inputs: Any, labels: Any = None) -> Any:
        """Return the model's outputs for all samples of an array, or of a list, tuple or dict of arrays.

        The outputs come in the structure of the model's outputs.

        Args:
            inputs: the samples.
            labels: if they are known; what precision="auto" judges the first reading by.

        Raises:
            InvalidArgumentError: there is no sample, or the inputs differ in their number of samples.
        """
        if self._rough is not None and samples_in(inputs):
            self._settle(inputs, labels)
        return (self._in_one_pass(inputs) or self)._together(inputs)

    def _together(self, inputs: Any) -> Any:
        pieces = list(self.batches(inputs))
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pieces)

    def batches(self, inputs: Any) -> Iterator[Any]:
        """Yield the outputs batch by batch; every call has the same shape.

        Raises:
            InvalidArgumentError: there is no sample, or the inputs differ in their number of samples.
        """
        count = samples_in(inputs)
        if count == 0:
            shapes = [np.shape(leaf) for leaf in keras.tree.flatten(inputs)]
            raise InvalidArgumentError(
                f"A prediction needs at least one sample. Received: shape {', '.join(map(str, shapes))}."
            )
        parts = -(-count // self.batch_size)
        size = self._size_of_calls(-(-count // parts))
        yield from self._calls((part_of(inputs, first, size) for first in range(0, count, size)), size)

    def batches_of(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the outputs for inputs that come in batches of any size; few of them are in memory at once."""
        size = self._size_of_calls(self.batch_size)
        pieces = rebatched(batches, size)
        first = next(pieces, None) if self._rough is not None else None
        if first is not None:
            self._settle(first)
            pieces = itertools.chain([first], pieces)
        yield from self._calls(pieces, size)

    def _calls(self, pieces: Iterable[Any], size: int) -> Iterator[Any]:
        """Yield the outputs for pieces of at most `size` samples."""
        with self._undisturbed():
            for piece in pieces:
                kept = samples_in(piece)
                outputs = self._function(
                    keras.tree.map_structure(lambda leaf: padded(leaf, size), piece), self._weights
                )
                yield keras.tree.map_structure(lambda leaf, n=kept: ops.convert_to_numpy(leaf)[:n], outputs)

    def _size_of_calls(self, wanted: int) -> int:
        """Return the samples of each call: the model's own batch size, that of noisy hardware, or what is wanted."""
        if self._fixed_size is not None:
            return self._fixed_size
        return NOISY_BATCH if any(not layer.crossbar.plain for layer in self.layers) else wanted

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """While active, calls may change states, counters and seeds; each reading starts from those of the model."""
        for generator, start in zip(self._seeds, self._starts, strict=True):
            generator.state.assign(np.array([start, 0], generator.state.dtype))
        if self._changes_state is False:
            yield
            return
        with kept_state(self.model):
            yield
        if self._changes_state is None:
            self._changes_state = self._function.writes

    @property
    def traces(self) -> int:
        """How often the function has been traced."""
        return self._function.traces
