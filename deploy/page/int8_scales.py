"""The scales with which a network computes in 8-bit whole numbers, out of the .tflite file that `to_litert` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analognets.core.files import read_plain
from analognets.deploy.export.litert_file import operator_name, schema
from analognets.errors import ConversionError

__all__ = ["int8_scales"]

PRODUCTS = ("CONV_2D", "FULLY_CONNECTED")


def int8_scales(path: Path) -> dict[str, Any]:
    """Return the scales of inputs, weights and outputs of each product in an int8 file.

    real = scale * (stored - zero_point);  scales of weights are one number for each column, their zero point is 0.

    Args:
        path: a file of `to_litert` with convolutions, at most one mean over height and width, and dense layers.

    Raises:
        ConversionError: it has other operators.

    Examples:
        >>> found = analognets.deploy.to_litert(model, "net.tflite", x)
        >>> sorted(int8_scales(found.path))
        ['input', 'layers', 'pool']
    """
    form = schema()
    model = form.ModelT.InitFromPackedBuf(read_plain(path, "file", error=ConversionError), 0)
    graph = model.subgraphs[0]
    steps = list(_steps(form, model, graph))
    names = [name for name, _ in steps]
    if any(name not in (*PRODUCTS, "MEAN") for name in names) or names.count("MEAN") > 1:
        raise ConversionError(
            "The lab page computes convolutions, one average pool and dense layers in 8 bit. Received: operators "
            f"{', '.join(dict.fromkeys(names))} in '{path}'."
        )

    def scale(position: int) -> dict[str, Any]:
        found = graph.tensors[position].quantization
        return {"scale": float(found.scale[0]), "zero_point": int(found.zeroPoint[0])}

    products = [operator for name, operator in steps if name in PRODUCTS]
    means = [operator for name, operator in steps if name == "MEAN"]
    return {
        "input": scale(int(graph.inputs[0])),
        "pool": scale(int(means[0].outputs[0])) if means else None,
        "layers": [
            {
                "output": scale(int(operator.outputs[0])),
                "weights": [float(one) for one in graph.tensors[int(operator.inputs[1])].quantization.scale],
            }
            for operator in products
        ],
    }


def _steps(form: Any, model: Any, graph: Any) -> Iterator[tuple[str, Any]]:
    for operator in graph.operators or ():
        yield operator_name(form, model, operator), operator
