"""What goes into a training and what it tells while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Progress", "TrainingData"]


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The data of a run.

    Args:
        train_batches: from the number of an epoch, counted through both stages, to a dataset of (inputs, integer
            labels), of tf.data or a `keras.utils.PyDataset`; the same number must give the same batches.
        steps_per_epoch: batches in an epoch; None asks the dataset.
        validation: dataset of (inputs, labels), or None.
        calibration: inputs (array, or dataset of batches) that set the converter ranges; None takes the training
            batches of epoch 0.
        info: what run.json says about the data, as JSON.
    """

    train_batches: Callable[[int], Any]
    steps_per_epoch: int | None = None
    validation: Any = None
    calibration: Any = None
    info: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a training tells whoever shows it.

    Args:
        kind: "stage" (begins or goes on), "epoch" (begins), "batch", "epoch_end", "notice", "finished".
        stage: "float", "hardware_aware" or "".
        epoch: index of the running epoch; for "stage" the first one to do.
        epochs: of the stage.
        batch: batches done in this epoch.
        batches: in an epoch.
        metrics: of the epoch that ended.
        message: one sentence for people, or "".
    """

    kind: str
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    batch: int = 0
    batches: int = 0
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    message: str = ""
