"""How the margins of samples move with the weights: gradients through the converters, times what devices vary by."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.crossbar import tile_responses
from analognets.deploy.chips.compiled import compiled
from analognets.deploy.studies.ageing.margins import Scores
from analognets.deploy.studies.ageing.mean_network import LayerLaw, compensating
from analognets.layers.kept_state import kept_state
from analognets.layers.noise_realization import NoiseRealization

__all__ = ["Anchor", "Linear"]

WIDTH = 1 << 13
NUMBERS = 1 << 24
"""Most numbers of the derivatives that are multiplied with the deviations of chips at once."""


@dataclasses.dataclass(frozen=True)
class Anchor:
    """The mean network of one time.

    Args:
        time: its number in the laws.
        reads: what its layers multiply by, of `mean_reads`.
    """

    time: int
    reads: Sequence[NoiseRealization]


class Linear:
    """Derivatives of the margins of samples to what each device may hold, around the mean network of one time.

    They serve other times too: with drift compensation the mean network hardly changes but for the factors.

    Args:
        model: calibrated analog model.
        laws: of its analog layers.
        scores: how margins follow from outputs.
        anchor: the mean network that derivatives are taken at; another one may take its place.
        drift_compensation: whether it is on.
        width: numbers that a derivative is kept in; more weights than that are folded to them with random signs, which
            keeps scalar products up to an error of about 1 / sqrt(width) of the lengths.
        seed: of the signs.
    """

    def __init__(
        self,
        model: keras.Model,
        laws: Sequence[LayerLaw],
        scores: Scores,
        anchor: Anchor,
        *,
        drift_compensation: bool = True,
        width: int = WIDTH,
        seed: int = 0,
    ) -> None:
        self.model, self.laws, self.scores, self.anchor = model, list(laws), scores, anchor
        self.on = drift_compensation
        self.weights = sum(law.weights.size for law in laws)
        self.width = min(width, 2 * self.weights)
        self.padding = -2 * self.weights % self.width
        signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0], np.float32), 2 * self.weights)
        self.signs = np.ones_like(signs) if self.width == 2 * self.weights else signs
        self._seeds = [keras.random.SeedGenerator(0) for _ in self.laws]
        self._function = compiled(self._derivatives, model, own=[one.state for one in self._seeds])

    def features(
        self,
        inputs: Any,
        truth: np.ndarray,
        rivals: np.ndarray,
        wanted: np.ndarray,
        times: Sequence[Anchor],
        deviations: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors whose scalar products are the covariances of the margins, and what single chips differ by.

        Args:
            inputs: array of samples, or a structure of arrays.
            truth: class of each.
            rivals: classes that each is compared with, (samples, rivals).
            wanted: of which margins derivatives are taken, (samples, rivals); others count as constant.
            times: the mean networks at the times whose variances are wanted.
            deviations: of the weights of some chips from the mean ones, (chips, weights), see `deviation`.

        Returns:
            (times, samples, rivals, width), and by how much the margins of each chip differ from those of the mean
            network to first order, (chips, samples, rivals).
        """
        factors = ops.stack([self._factors(one) for one in times])
        at = self._at_mean()
        vectors = np.zeros((len(times), *wanted.shape, self.width), np.float32)
        dots = np.zeros((len(deviations), *wanted.shape), np.float32)
        for generator, mean in zip(self._seeds, self.anchor.reads, strict=True):
            generator.state.assign(np.array([mean.seed, 0], generator.state.dtype))
        with kept_state(self.model):
            pairs, size = np.argwhere(wanted), max(1, NUMBERS // self.weights)
            for first in range(0, len(pairs), size):
                block, gradients = pairs[first : first + size], []
                for n, rival in block:
                    one = keras.tree.map_structure(lambda leaf, n=n: ops.convert_to_tensor(leaf[n : n + 1]), inputs)
                    classes = ops.convert_to_tensor(np.array([truth[n], rivals[n, rival]], "int32"))
                    found = self._function(one, classes, at, factors)
                    vectors[:, n, rival], gradient = (ops.convert_to_numpy(part) for part in found)
                    gradients.append(gradient)
                dots[:, block[:, 0], block[:, 1]] = deviations @ np.stack(gradients).T
        return vectors, dots

    def deviation(self, there: Anchor, read: Sequence[NoiseRealization]) -> np.ndarray:
        """Return what the weights of a chip differ by from the mean ones, with the compensation of both, as a vector.

        Args:
            there: the mean network of a time.
            read: what the chip returned at that time.
        """
        parts = []
        for law, mean, one, ratio in zip(self.laws, there.reads, read, self._ratios(there), strict=True):
            own = compensating(law.layer, one) / compensating(law.layer, mean) if self.on else 1.0
            held = ops.convert_to_numpy(one.kernel) / law.gamma * own
            parts.append(((held - law.mean(there.time)) * ratio).ravel())
        return np.concatenate(parts).astype(np.float32)

    def _ratios(self, there: Anchor) -> list[Any]:
        """Return what weights of a time count by at the anchor: in proportion to the drift compensations."""
        pairs = zip(self.laws, self.anchor.reads, there.reads, strict=True)
        return [compensating(law.layer, b) / compensating(law.layer, a) if self.on else 1.0 for law, a, b in pairs]

    def _at_mean(self) -> list[dict[str, Any]]:
        """Return what each layer multiplies by in the mean network, as arguments of the compiled function."""
        found = []
        for law, mean in zip(self.laws, self.anchor.reads, strict=True):
            scales = mean.scales if self.on else np.ones_like(mean.scales)
            inputs = mean.input_scales if self.on or mean.input_scales is None else np.ones_like(mean.input_scales)
            numbers = {"now": law.mean(self.anchor.time), "first": law.first_mean, "scales": scales, "inputs": inputs}
            one = {
                name: None if one is None else ops.convert_to_tensor(one, "float32") for name, one in numbers.items()
            }
            found.append({**one, "periphery": keras.tree.map_structure(ops.convert_to_tensor, mean.periphery)})
        return found

    def _factors(self, there: Anchor) -> Any:
        """Return what the derivatives to both readings are multiplied by at a time, (3, weights)."""
        parts = []
        for law, ratio in zip(self.laws, self._ratios(there), strict=True):
            now, first, rest = law.factors(there.time)
            parts.append(np.stack([(now * ratio).ravel(), first.ravel(), rest.ravel()]))
        return ops.convert_to_tensor(np.concatenate(parts, axis=1).astype(np.float32))

    def _derivatives(self, inputs: Any, classes: Any, at: list[dict[str, Any]], factors: Any) -> Any:
        import tensorflow as tf

        leaves = [[one["now"], one["scales"], *([] if one["inputs"] is None else [one["inputs"]])] for one in at]
        with tf.GradientTape() as tape, contextlib.ExitStack() as stack:
            tape.watch(leaves)
            for law, one, seed in zip(self.laws, at, self._seeds, strict=True):
                stack.enter_context(law.layer.fixed_noise(_realization(law, one, seed)))
            margin = self.scores.margins(self.model(inputs, training=False), classes)[0]
        found = tape.gradient(margin, leaves, unconnected_gradients="zero")
        with tf.GradientTape(persistent=True) as rules:
            rules.watch([[one["now"], one["first"]] for one in at])
            followed = [self._following(law, one) for law, one in zip(self.laws, at, strict=True)]
        plain = [one[0] for one in found]
        more = [
            self._more(rules, one, follow, grads[1:]) for one, follow, grads in zip(at, followed, found, strict=True)
        ]
        now = _flat([a + b for a, (b, _) in zip(plain, more, strict=True)])
        first = _flat([b for _, b in more])
        vectors = [self._folded(now * one[0] + first * one[1], first * one[2]) for one in tf.unstack(factors)]
        return ops.stack(vectors), _flat(plain)

    def _following(self, law: LayerLaw, one: dict[str, Any]) -> list[Any]:
        """Return the drift compensation as a function of the weights, around what chips have on average."""
        crossbar, tiling = law.layer.crossbar, law.layer.tiling
        rule = crossbar.drift_compensation
        if not self.on or rule is None:
            return []
        before, after = (tile_responses(crossbar, tiling, one[name]) for name in ("first", "now"))
        followed = [_around(ops.broadcast_to(rule.scale(before, after), ops.shape(one["scales"])), one["scales"])]
        return (
            followed if one["inputs"] is None else [*followed, _around(rule.input_scale(before, after), one["inputs"])]
        )

    def _more(self, tape: Any, one: dict[str, Any], followed: list[Any], gradients: list[Any]) -> tuple[Any, Any]:
        """Return the derivatives to both readings by way of the drift compensation."""
        if not followed:
            return ops.zeros_like(one["now"]), ops.zeros_like(one["now"])
        now, first = tape.gradient(
            followed, [one["now"], one["first"]], output_gradients=gradients, unconnected_gradients="zero"
        )
        return now, first

    def _folded(self, *parts: Any) -> Any:
        vector = ops.concatenate(parts) * self.signs
        return ops.sum(ops.reshape(ops.pad(vector, [[0, self.padding]]), (-1, self.width)), axis=0)


def _realization(law: LayerLaw, one: dict[str, Any], seed: Any) -> NoiseRealization:
    """Return what a layer multiplies by in the mean network."""
    fixed = {"scales": one["scales"], "input_scales": one["inputs"], "periphery": one["periphery"]}
    return NoiseRealization(one["now"] * law.gamma, seed=seed, **fixed)


def _around(factor: Any, mean: Any) -> Any:
    """Return a factor whose value is the mean and whose relative change is its own."""
    return mean * factor / ops.stop_gradient(factor)


def _flat(arrays: Sequence[Any]) -> Any:
    return ops.concatenate([ops.reshape(one, (-1,)) for one in arrays])
