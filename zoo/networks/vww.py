"""Networks for visual wake words: is there a person in the picture?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["VWW_BLOCKS", "analognet_vww"]

VWW_BLOCKS = ((64, 32, 2), (64, 32, 1), (64, 32, 1), (80, 48, 2), (80, 48, 1), (112, 64, 2), (136, 64, 1), (112, 80, 2))
"""(expansion, projection, stride) of each fused inverted bottleneck of AnalogNet-VWW."""


@builder
def analognet_vww(
    input_shape: Sequence[int] = (100, 100, 3),
    *,
    classes: int = 2,
    stem: int = 32,
    blocks: Sequence[Sequence[int]] = VWW_BLOCKS,
    head: int = 128,
    dropout: float = 0.0,
    residual: bool = False,
    momentum: float = 0.95,
    name: str = "analognet_vww",
) -> keras.Model:
    """Build AnalogNet-VWW, our reconstruction: fused inverted bottlenecks, all layers on one 1024 x 512 array.

    conv 3x3 3->32 stride 2; eight blocks of an ordinary 3x3 convolution that widens and a 1x1 convolution that narrows
    again, as a plain chain; conv 1x1 80->128; average pool; dense 128->2: 354,144 weights,
    67.5 % of the array, and 7,220 array passes for 100 x 100 pixels. Batch-norm and ReLU stay digital.

    Why so: a depthwise layer would leave all but one cell in C idle and noisy, so expansion and depthwise filter of the
    inverted bottleneck are fused into one ordinary 3x3 convolution. No layer is a narrow bottleneck: a projection keeps
    at least 32 channels and 47 % of its expansion. Rows stay far below 1024 (at most 576), so that no layer is split,
    and columns within 128, one pass of the converters, but for one expansion (136). The 50 x 50 positions of the stem
    are paid for once. The chip has nothing that adds the outputs of two layers, so the chain is the main network; the
    variant with a sum around the blocks that keep their shape needs a digital adder and a buffer.

    Args:
        input_shape: (height, width, 3) of the pictures; the weights don't depend on it.
        classes: of pictures.
        stem: filters of the first convolution.
        blocks: (expansion, projection, stride) of each fused inverted bottleneck.
        head: filters of the last convolution, before the average pool.
        dropout: share of pooled features dropped in training, 0 to 1.
        residual: whether there is a sum around each block that keeps its shape, with a linear projection in all blocks;
            in the chain projections have a ReLU.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, 3), output logits (batch, classes).

    Examples:
        >>> net = analognet_vww((100, 100, 3), classes=2)
        >>> analognets.deploy.place(net).arrays
        1

    Source: AnalogNets (arXiv 2111.06503) gives utilisation, input size and inferences a second (from memory); its layer
    table could not be found, and this one is our reconstruction to meet them. That the chip has no cores for residual
    connections is of Garofalo et al., IEEE JETCAS 12(2), 2022 (verified). It has more operations than the
    remembered TOPS imply (results/accelerator_paper.json), so the published network is another one.
    """
    inputs = keras.Input(tuple(input_shape), name="image")

    def convolution(x: Any, filters: int, size: int, strides: int, label: str, relu: bool = True) -> Any:
        x = keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=label,
        )(x)
        x = keras.layers.BatchNormalization(momentum=momentum, name=f"{label}_norm")(x)
        return keras.layers.ReLU(name=f"{label}_relu")(x) if relu else x

    x = convolution(inputs, stem, 3, 2, "stem")
    for number, (expansion, projection, strides) in enumerate(blocks, start=1):
        before = x
        x = convolution(x, expansion, 3, strides, f"block_{number}_expand")
        x = convolution(x, projection, 1, 1, f"block_{number}_project", relu=not residual)
        if residual and before.shape == x.shape:
            x = keras.layers.Add(name=f"block_{number}_add")([before, x])
    x = convolution(x, head, 1, 1, "head")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)
