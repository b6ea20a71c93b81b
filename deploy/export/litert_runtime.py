"""Running .tflite files with LiteRT, as a microcontroller would: one sample at a time, integers in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.deploy.export.litert_file import LiteRTFile, TensorFacts, plain_kernels_fail, read_content, read_litert
from analognets.errors import DataError, InvalidArgumentError, MissingExtraError, check_choice, check_integer

__all__ = ["KERNELS", "Interpreter"]

KERNELS = {"optimized": "BUILTIN", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""What computes: XNNPACK, LiteRT's own quick kernels, or its plain ones.

TFLM equals the plain ones bit for bit in convolutions and means; its dense layers and softmax round otherwise now and
then, by one step.
"""


class Runner:
    """A .tflite file in an interpreter of LiteRT's or TensorFlow's.

    Args:
        content: of the file.
        library: module with the classes Interpreter and OpResolverType.
        kernels: see `Interpreter`.
        threads: 1 to 64.

    Raises:
        RuntimeError or ValueError: of the library, which can't run the file.
        DataError: the file is broken.
    """

    def __init__(self, content: bytes, library: Any, *, kernels: str, threads: int = 1) -> None:
        self.file: LiteRTFile = read_litert(content)
        self.kernels = "builtin" if kernels == "reference" and plain_kernels_fail(content) else kernels
        try:
            self._litert = self._opened(library, content, threads)
        except ValueError:
            if self.kernels != "reference":
                raise
            self.kernels = "builtin"  # some operators have no plain kernel
            self._litert = self._opened(library, content, threads)
        self._litert.allocate_tensors()
        found = self._litert.get_input_details(), self._litert.get_output_details()
        self._inputs = [found[0][tensor.position]["index"] for tensor in self.file.inputs]
        self._outputs = [found[1][tensor.position]["index"] for tensor in self.file.outputs]

    def _opened(self, library: Any, content: bytes, threads: int) -> Any:
        return library.Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=library.OpResolverType[KERNELS[self.kernels]],
        )

    def quantize(self, features: Any) -> list[np.ndarray]:
        """Return features as the file takes them: q = round(x / scale) + zero_point, kept within the integers.

        Args:
            features: array (samples, ...), or a list or dict of them if there are several inputs.

        Raises:
            InvalidArgumentError: number or shape of the arrays does not fit.
        """
        arrays = as_list(features, [tensor.name for tensor in self.file.inputs])
        return [quantized(array, facts) for array, facts in zip(arrays, self.file.inputs, strict=True)]

    def predict(self, features: Any, *, progress: Callable[[int, int], None] | None = None) -> Any:
        """Return the outputs as real numbers, float32 (samples, ...); a list if there are several outputs.

        Args:
            features: as in `quantize`.
            progress: called with (done, total) after each sample.

        Raises:
            InvalidArgumentError: number or shape of the arrays does not fit.
        """
        raw = self.run(self.quantize(features), progress=progress)
        outputs = [dequantized(array, facts) for array, facts in zip(raw, self.file.outputs, strict=True)]
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, arrays: list[np.ndarray], *, progress: Callable[[int, int], None] | None = None) -> list[np.ndarray]:
        """Return the outputs as the file gives them (int8 as a rule) for inputs as it takes them."""
        count = len(arrays[0])
        found: list[list[np.ndarray]] = [[] for _ in self._outputs]
        for sample in range(count):
            for array, index in zip(arrays, self._inputs, strict=True):
                self._litert.set_tensor(index, array[sample : sample + 1])
            self._litert.invoke()
            for outputs, index in zip(found, self._outputs, strict=True):
                outputs.append(self._litert.get_tensor(index))
            if progress is not None:
                progress(sample + 1, count)
        return [np.concatenate(outputs) for outputs in found]


class Interpreter(Runner):
    """A .tflite file ready to run; needs `pip install 'analognets[litert]'`.

    Args:
        model: path of a .tflite file, or its bytes.
        kernels: "optimized" (XNNPACK, quickest), "builtin" (without XNNPACK) or "reference" (as TFLM's, in place of
            which "builtin" is taken for the few files that they can't run; the attribute `kernels` says which).
        threads: 1 to 64.

    Raises:
        MissingExtraError: LiteRT is not installed.
        DataError: the file is missing or broken, or needs operators that LiteRT doesn't have.
        InvalidArgumentError: an option is not allowed.

    Examples:
        >>> interpreter = Interpreter(tflite)
        >>> interpreter.predict(x).shape, round(interpreter.accuracy(x, y), 2)
        ((40, 4), 1.0)
    """

    def __init__(self, model: str | Path | bytes, *, kernels: str = "reference", threads: int = 1) -> None:
        check_choice("Interpreter", "kernels", kernels, KERNELS)
        check_integer("Interpreter", "threads", threads, 1, 64)
        try:
            from ai_edge_litert import interpreter as litert
        except ImportError as error:
            raise MissingExtraError("Running .tflite files", "litert") from error
        content = read_content(model)
        try:
            super().__init__(content, litert, kernels=kernels, threads=threads)
        except (RuntimeError, ValueError) as error:
            where = "The bytes given" if isinstance(model, bytes) else f"'{model}'"
            raise DataError(
                f"{where} can't be run by LiteRT: {error} Export it again with built-in operators."
            ) from error

    def accuracy(self, features: Any, labels: Any, *, progress: Callable[[int, int], None] | None = None) -> float:
        """Return the share of samples whose largest output is the label."""
        from analognets.deploy.evaluation import accuracy

        return accuracy(np.asarray(labels), self.predict(features, progress=progress))


def as_list(features: Any, names: Sequence[str]) -> list[np.ndarray]:
    """Return the arrays for inputs of these names: from one array, a list in their order, or a dict.

    Raises:
        InvalidArgumentError: there are more or fewer, or samples differ in number.
    """
    if isinstance(features, Mapping):
        if set(features) != set(names):
            raise InvalidArgumentError(f"Features by name need the inputs {', '.join(names)}. Received: {[*features]}.")
        features = [features[name] for name in names]
    arrays = [np.asarray(array) for array in (features if isinstance(features, (list, tuple)) else [features])]
    lengths = [len(array) if array.ndim else 0 for array in arrays]
    if len(arrays) != len(names) or len({*lengths}) != 1 or not lengths[0]:
        raise InvalidArgumentError(
            f"Features must be one array for each of the inputs {', '.join(names)}, all of as many samples, at least "
            f"one. Received: arrays of shape {', '.join(str(array.shape) for array in arrays)}."
        )
    return arrays


def quantized(array: np.ndarray, facts: TensorFacts) -> np.ndarray:
    """Return real numbers as an input's integers; an array of the input's type passes unchanged.

    Raises:
        InvalidArgumentError: the samples have another shape, or numbers that the input can't take.
    """
    if array.shape[1:] != facts.shape[1:]:
        raise InvalidArgumentError(
            f"Input '{facts.name}' takes samples of shape {facts.shape[1:]}. Received: samples of shape "
            f"{array.shape[1:]}."
        )
    kind = np.dtype(facts.dtype)
    if array.dtype == kind:
        return array
    if array.dtype.kind not in "fiub" or np.isnan(array).any():
        raise InvalidArgumentError(
            f"Input '{facts.name}' takes numbers. Received: an array of type {array.dtype}"
            f"{' with NaN' if array.dtype.kind == 'f' else ''}."
        )
    if facts.scale is not None and facts.zero_point is not None:
        limits = np.iinfo(kind)
        steps = np.rint(array.astype(np.float32) / np.float32(facts.scale)) + facts.zero_point
        return np.clip(steps, limits.min, limits.max).astype(kind)
    with np.errstate(invalid="ignore"):
        made = array.astype(kind)
    if kind.kind != "f" and not np.array_equal(made, array):
        raise InvalidArgumentError(
            f"Input '{facts.name}' takes whole numbers of type {kind}. Received: numbers from {array.min():g} to "
            f"{array.max():g}, of type {array.dtype}."
        )
    return made


def dequantized(array: np.ndarray, facts: TensorFacts) -> np.ndarray:
    """Return an output's integers as real numbers."""
    real = array.astype(np.float32)
    if facts.scale is None or facts.zero_point is None:
        return real
    return (real - np.float32(facts.zero_point)) * np.float32(facts.scale)
