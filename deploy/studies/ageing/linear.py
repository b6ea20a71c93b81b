"""How the margins of samples move with the weights: gradients through the converters, times what devices vary by."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
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

__all__ = ["Linear"]

WIDTH = 1 << 13


class Linear:
    """Derivatives of the margins of samples to what each device may hold, around the mean network of one time.

    Args:
        model: calibrated analog model.
        laws: of its analog layers.
        scores: how margins follow from outputs.
        mean: the mean network, of `mean_reads`.
        time: its number in the laws.
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
        mean: Sequence[NoiseRealization],
        time: int,
        *,
        drift_compensation: bool = True,
        width: int = WIDTH,
        seed: int = 0,
    ) -> None:
        self.model, self.laws, self.scores, self.mean, self.time = model, list(laws), scores, list(mean), time
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
        times: Mapping[int, Sequence[NoiseRealization]],
        deviations: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors whose scalar products are the covariances of the margins, and what single chips differ by.

        Args:
            inputs: array of samples, or a structure of arrays.
            truth: class of each.
            rivals: classes that each is compared with, (samples, rivals).
            times: the mean networks at the times whose variances are wanted, by their numbers in the laws.
            deviations: of the weights of some chips from the mean ones, (chips, weights), see `deviation`.

        Returns:
            (times, samples, rivals, width), and by how much the margins of each chip differ from those of the mean
            network to first order, (chips, samples, rivals).
        """
        shared = [self._at_mean(), [self._factors(*one) for one in times.items()], ops.convert_to_tensor(deviations)]
        found = []
        for generator, mean in zip(self._seeds, self.mean, strict=True):
            generator.state.assign(np.array([mean.seed, 0], generator.state.dtype))
        with kept_state(self.model):
            for number in range(len(truth)):
                one = keras.tree.map_structure(lambda leaf, n=number: ops.convert_to_tensor(leaf[n : n + 1]), inputs)
                classes = ops.convert_to_tensor(np.array([truth[number], *rivals[number]], "int32"))
                found.append([ops.convert_to_numpy(part) for part in self._function(one, classes, *shared)])
        vectors, dots = (np.stack(parts, axis=1) for parts in zip(*found, strict=True))
        return vectors, dots

    def deviation(self, read: Sequence[NoiseRealization]) -> np.ndarray:
        """Return what the weights of a chip differ by from the mean ones, with the compensation of both, as a vector.

        Args:
            read: what the chip returned at the time of the mean network.
        """
        parts = []
        for law, mean, one in zip(self.laws, self.mean, read, strict=True):
            ratio = compensating(law.layer, one) / compensating(law.layer, mean) if self.on else 1.0
            parts.append((ops.convert_to_numpy(one.kernel) / law.gamma * ratio - law.mean(self.time)).ravel())
        return np.concatenate(parts).astype(np.float32)

    def _at_mean(self) -> list[dict[str, Any]]:
        """Return what each layer multiplies by in the mean network, as arguments of the compiled function."""
        found = []
        for law, mean in zip(self.laws, self.mean, strict=True):
            scales = mean.scales if self.on else np.ones_like(mean.scales)
            inputs = mean.input_scales if self.on or mean.input_scales is None else np.ones_like(mean.input_scales)
            numbers = {"now": law.mean(self.time), "first": law.first_mean, "scales": scales, "inputs": inputs}
            found.append(
                {name: None if one is None else ops.convert_to_tensor(one, "float32") for name, one in numbers.items()}
            )
        return found

    def _factors(self, time: int, means: Sequence[NoiseRealization]) -> Any:
        """Return what the derivatives to both readings are multiplied by at a time, (3, weights).

        A weight counts in proportion to the drift compensation of its time, which changes more than all else.
        """
        parts = []
        for law, here, there in zip(self.laws, self.mean, means, strict=True):
            now, first, rest = law.factors(time)
            ratio = compensating(law.layer, there) / compensating(law.layer, here) if self.on else 1.0
            parts.append(np.stack([(now * ratio).ravel(), first.ravel(), rest.ravel()]))
        return ops.convert_to_tensor(np.concatenate(parts, axis=1).astype(np.float32))

    def _derivatives(
        self, inputs: Any, classes: Any, at: list[dict[str, Any]], factors: list[Any], deviations: Any
    ) -> Any:
        import tensorflow as tf

        leaves = [[one["now"], one["scales"], *([] if one["inputs"] is None else [one["inputs"]])] for one in at]
        with tf.GradientTape(persistent=True) as tape, contextlib.ExitStack() as stack:
            tape.watch(leaves)
            for law, one, mean, seed in zip(self.laws, at, self.mean, self._seeds, strict=True):
                stack.enter_context(law.layer.fixed_noise(_realization(law, one, mean, seed)))
            margins = tf.unstack(self.scores.margins(self.model(inputs, training=False), classes))
        with tf.GradientTape(persistent=True) as rules:
            rules.watch([[one["now"], one["first"]] for one in at])
            followed = [self._following(law, one) for law, one in zip(self.laws, at, strict=True)]
        vectors, dots = [], []
        for margin in margins:
            found = tape.gradient(margin, leaves, unconnected_gradients="zero")
            plain = [one[0] for one in found]
            dots.append(tf.linalg.matvec(deviations, _flat(plain)))
            more = [
                self._more(rules, one, follow, grads[1:])
                for one, follow, grads in zip(at, followed, found, strict=True)
            ]
            now = _flat([a + b for a, (b, _) in zip(plain, more, strict=True)])
            first = _flat([b for _, b in more])
            vectors.append(ops.stack([self._folded(now * one[0] + first * one[1], first * one[2]) for one in factors]))
        return ops.stack(vectors, axis=1), ops.stack(dots, axis=1)

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


def _realization(law: LayerLaw, one: dict[str, Any], mean: NoiseRealization, seed: Any) -> NoiseRealization:
    """Return what a layer multiplies by in the mean network."""
    fixed = {"scales": one["scales"], "input_scales": one["inputs"], "periphery": mean.periphery}
    return NoiseRealization(one["now"] * law.gamma, seed=seed, **fixed)


def _around(factor: Any, mean: Any) -> Any:
    """Return a factor whose value is the mean and whose relative change is its own."""
    return mean * factor / ops.stop_gradient(factor)


def _flat(arrays: Sequence[Any]) -> Any:
    return ops.concatenate([ops.reshape(one, (-1,)) for one in arrays])
