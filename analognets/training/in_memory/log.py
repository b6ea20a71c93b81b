"""A Keras callback that writes down what happens to the devices."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.files import write_atomically
from analognets.errors import ConversionError, MissingExtraError
from analognets.training.in_memory.mixed_precision import MixedPrecision

__all__ = ["DeviceLog"]

COLUMNS = (
    "epoch", "variable", "pulses_per_weight", "set_pulses", "resets", "refreshed_pairs", "saturated_pairs",
    "epsilon", "next_step_mean", "next_step_spread", "pending",
)  # fmt: skip


class DeviceLog(keras.callbacks.Callback):
    """Log the devices after every epoch: pulses, refreshes, saturated pairs, granularity and conductances.

    `pulses_per_weight`, `set_pulses`, `resets` and `refreshed_pairs` are those of the epoch. The means over all
    variables also go into the epoch's logs (`device_pulses_per_weight`, `device_saturated_pairs`), so that `History`,
    `CSVLogger` and `TensorBoard` callbacks that come later show them.

    Args:
        csv_file: a table with a row for each epoch and variable; epochs that stand in it stay. None: no table.
        log_dir: folder for TensorBoard: the columns as scalars and histograms of G+ and G-. None: none.

    Raises:
        MissingExtraError: `log_dir` without the tensorboard package.
        ConversionError: in `fit`, if the model's optimizer is not `MixedPrecision`.

    Examples:
        >>> net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="logits")])
        >>> optimizer = analognets.training.in_memory.MixedPrecision(device="pulsed_pcm", seed=0)
        >>> net.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        >>> history = net.fit(x, y, verbose=0, callbacks=[DeviceLog("devices.csv")])
        >>> sorted(history.history)
        ['device_pulses_per_weight', 'device_saturated_pairs', 'loss']
    """

    def __init__(self, csv_file: str | Path | None = None, *, log_dir: str | Path | None = None) -> None:
        super().__init__()
        self.csv_file = None if csv_file is None else Path(csv_file)
        if log_dir is not None and importlib.util.find_spec("tensorboard") is None:
            raise MissingExtraError("`log_dir` of DeviceLog", "tensorboard")
        self.log_dir = log_dir
        self._before: dict[str, dict[str, Any]] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        if not isinstance(self.model.optimizer, MixedPrecision):
            raise ConversionError(
                "DeviceLog needs a model that is trained on devices. Received: the optimizer "
                f"{type(self.model.optimizer).__name__}. Compile the model with MixedPrecision."
            )
        self._before = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self._before:  # what another callback restores at the start of training is there by now
            self._before = self.model.optimizer.statistics()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = self.model.optimizer.statistics()
        rows = []
        for path, found in now.items():
            row = {name: found[name] for name in COLUMNS if name in found}
            for name in ("pulses_per_weight", "set_pulses", "resets", "refreshed_pairs"):
                row[name] = found[name] - self._before.get(path, {}).get(name, 0)
            rows.append({"epoch": epoch, "variable": path, **row})
        self._before = now
        if logs is not None:
            weights = np.array([found["synapses"] for found in now.values()], dtype=float)
            for name in ("pulses_per_weight", "saturated_pairs"):
                logs[f"device_{name}"] = float(np.average([row[name] for row in rows], weights=weights))
        if self.csv_file is not None:
            self._write(self.csv_file, rows, epoch)
        if self.log_dir is not None:
            self._summarize(rows, epoch)

    def _write(self, table: Path, rows: list[dict[str, Any]], epoch: int) -> None:
        kept: list[dict[str, Any]] = []
        if table.is_file():
            with table.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows([*kept, *rows])
        write_atomically(table, text.getvalue())

    def _summarize(self, rows: list[dict[str, Any]], epoch: int) -> None:
        import tensorflow as tf

        if not hasattr(self, "_writer"):
            self._writer = tf.summary.create_file_writer(str(self.log_dir))
        with self._writer.as_default(step=epoch):
            for row in rows:
                for name in COLUMNS[2:]:
                    tf.summary.scalar(f"devices/{row['variable']}/{name}", row[name])
            for array in self.model.optimizer.synapses:
                halves = np.split(array.state["conductance"].numpy(), 2)
                for name, values in zip(("g_plus", "g_minus"), halves, strict=True):
                    tf.summary.histogram(f"devices/{array.path}/{name}", values)
        self._writer.flush()
