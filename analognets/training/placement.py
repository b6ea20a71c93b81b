"""Where a training runs: on one device, on several of this machine, or on several machines (`tf.distribute`)."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from analognets.conversion import same_model
from analognets.errors import InvalidArgumentError, RunError, cut
from analognets.training.cluster import is_chief, task_of_cluster

__all__ = ["TrainingPlacement", "grow_memory", "placement_of"]

NAMES = "'mirrored', 'mirrored:N' for N devices, 'multi_worker', or 'none'"
LOST = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError")
"""What TensorFlow raises on a worker when another one is gone."""


def grow_memory() -> None:
    """Let TensorFlow take memory of GPUs as it needs it, and not all at once; without GPUs nothing happens."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError, ValueError):  # TensorFlow uses the GPU already
            tf.config.experimental.set_memory_growth(gpu, True)


def placement_of(strategy: Any) -> TrainingPlacement:
    """Return where a training runs.

    Args:
        strategy: None or "none": one device; "mirrored": all GPUs of this machine, or all logical CPU devices;
            "mirrored:N": N of them, logical CPU devices being made where TensorFlow has not begun yet;
            "multi_worker": the workers of the environment variable TF_CONFIG; or a `tf.distribute.Strategy` or
            `TrainingPlacement`.

    Raises:
        InvalidArgumentError: there is no such strategy, TF_CONFIG is missing or broken, or TensorFlow has begun.
    """
    if isinstance(strategy, TrainingPlacement):
        return strategy
    if strategy is None or strategy == "none":
        return TrainingPlacement(None)
    if keras.backend.backend() != "tensorflow":
        raise InvalidArgumentError(
            f"A strategy needs the backend TensorFlow. Received: strategy={strategy!r} under "
            f"KERAS_BACKEND={keras.backend.backend()}. Leave the strategy out."
        )
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.Strategy):
        return TrainingPlacement(strategy)
    found = re.fullmatch(r"mirrored(?::([1-9][0-9]{0,3}))?|multi_worker", strategy) if _is_text(strategy) else None
    if found is None:
        raise InvalidArgumentError(f"There is no such strategy; there are {NAMES}. Received: {strategy!r}.")
    grow_memory()
    if strategy == "multi_worker":
        return TrainingPlacement(_multi_worker())
    return TrainingPlacement(_mirrored(tuple(_devices(int(found[1]))) if found[1] else None))


@functools.cache
def _mirrored(devices: tuple[str, ...] | None) -> Any:
    """Return the strategy over devices, one for a process: two of them would mix up each other's sums on CPUs."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _devices(count: int) -> list[str]:
    """Return the names of so many GPUs, or logical CPU devices where there are no GPUs."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU" and count > 1:
        with contextlib.suppress(RuntimeError):  # too late; whether there are enough is seen below
            first = tf.config.list_physical_devices("CPU")[0]
            if len(tf.config.get_logical_device_configuration(first) or []) < count:
                tf.config.set_logical_device_configuration(first, [tf.config.LogicalDeviceConfiguration()] * count)
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(found) < count:
        raise InvalidArgumentError(
            f"The strategy 'mirrored:{count}' needs {count} devices. Received: {len(found)} of kind {kind}"
            + (", and TensorFlow has begun, so that no more can be made. " if kind == "CPU" else ". ")
            + "Name fewer, or name the strategy before anything is computed."
        )
    return found[:count]


@functools.cache
def _multi_worker() -> Any:
    import tensorflow as tf

    task_of_cluster()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise InvalidArgumentError(
            f"The workers of TF_CONFIG can't be joined: {cut(str(error), 300)} Name the strategy before anything is "
            "computed, and addresses that all workers reach."
        ) from error


class TrainingPlacement:
    """Where a training runs, and what differs there: copies of the network, parts of the batches, who writes files.

    Args:
        strategy: a `tf.distribute.Strategy`; None: one device and nothing differs.
    """

    def __init__(self, strategy: Any = None) -> None:
        self.strategy = strategy
        self.replicas, self.workers, self.is_chief = 1, 1, True
        if strategy is None:
            return
        import tensorflow as tf

        self.replicas = int(strategy.num_replicas_in_sync)
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and strategy.cluster_resolver.task_type:
            resolver = strategy.cluster_resolver
            cluster = resolver.cluster_spec().as_dict()
            self.workers = sum(len(hosts) for kind, hosts in cluster.items() if kind in ("chief", "worker"))
            self.is_chief = is_chief(cluster, resolver.task_type, resolver.task_id)

    def scope(self) -> Any:
        """Return the context in which what is trained is made and compiled."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def copy(self, net: keras.Model) -> keras.Model:
        """Return a copy of a network that lies on all devices; on one device the network itself.

        Batch-norms of the copy take the statistics of the whole batch and not of a replica's part.
        """
        if self.strategy is None:
            return net
        with self.scope():
            copy = same_model(net)
        for layer in copy._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        return copy

    def give_back(self, copy: keras.Model, net: keras.Model) -> None:
        """Put the weights of a copy into the network that it was made of."""
        if copy is net:
            return
        for source, target in zip(copy.weights, net.weights, strict=True):
            target.assign(keras.ops.convert_to_numpy(source.value))

    def batches(self, dataset: Any) -> Any:
        """Return a dataset of batches as `fit` takes it: each replica has an equal part of each batch.

        What is left of a batch that the replicas can't share equally is left out: fewer samples than replicas. A last
        batch with fewer samples than replicas is filled up with its own.

        Raises:
            InvalidArgumentError: batches have fewer samples than there are replicas.
        """
        if self.strategy is None:
            return dataset
        if not hasattr(dataset, "element_spec"):
            raise InvalidArgumentError(
                f"Under a strategy the training batches must be a tf.data.Dataset. Received: {type(dataset).__name__}."
            )
        import tensorflow as tf

        count = self.replicas
        size = tf.nest.flatten(dataset.element_spec)[0].shape[0]
        if size is not None and size < count:
            raise InvalidArgumentError(
                f"A batch must have a sample for each of the {count} replicas of the strategy. Received: batches of "
                f"{size}. Make `batch_size` larger, or name fewer devices."
            )

        def parts(*element: Any) -> Any:
            samples = tf.shape(tf.nest.flatten(element)[0])[0]
            size = tf.maximum(samples // count, 1)
            taken = tf.reshape(tf.range(size * count) % samples, [count, size])
            return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda x: tf.gather(x, taken), element))

        split = dataset.flat_map(parts)

        def of_worker(context: Any) -> Any:
            local = count // context.num_input_pipelines
            first = local * context.input_pipeline_id
            if local == count:
                return split
            mine = split.enumerate().filter(lambda i, _: (i % count >= first) & (i % count < first + local))
            return mine.map(lambda _, element: element)

        return self.strategy.distribute_datasets_from_function(of_worker)

    def fit(
        self,
        net: keras.Model,
        dataset: Any,
        *,
        epoch: int,
        steps: int,
        whole: int | None,
        callbacks: list[keras.callbacks.Callback],
    ) -> dict[str, float]:
        """Train one epoch and return its loss and metrics.

        Args:
            net: what was copied and compiled here.
            dataset: of whole batches.
            epoch: its number.
            steps: batches in it.
            whole: batches in it where the data go on after them; else None. On one device alone.
            callbacks: as for `keras.Model.fit`.
        """
        options: dict[str, Any] = {"shuffle": False, "verbose": 0, "callbacks": callbacks}
        options |= {"epochs": epoch + 1, "initial_epoch": epoch}
        if self.strategy is None:
            history = net.fit(dataset, steps_per_epoch=whole, **options).history
        elif self.workers == 1:
            history = net.fit(self.batches(dataset), steps_per_epoch=steps, **options).history
        else:
            history = {key: [value] for key, value in self._fit_together(net, dataset, epoch, steps, callbacks).items()}
        return {key: float(values[-1]) for key, values in history.items()}

    def _fit_together(
        self, net: keras.Model, dataset: Any, epoch: int, steps: int, callbacks: list[keras.callbacks.Callback]
    ) -> dict[str, Any]:
        """Do what `fit` does, which in Keras 3 fails where it averages numbers over several workers."""
        if net.train_function is None:
            self._make_metrics(net, next(iter(dataset)))
            net.train_function = self._step_of(net)
        told = keras.callbacks.CallbackList(callbacks, model=net, epochs=epoch + 1, steps=steps)
        iterator = iter(self.batches(dataset))
        told.on_train_begin()
        net.reset_metrics()
        told.on_epoch_begin(epoch)
        for step in range(steps):
            told.on_train_batch_begin(step)
            net.train_function(iterator)
            told.on_train_batch_end(step)
        logs = dict(net.get_metrics_result())
        told.on_epoch_end(epoch, logs)
        told.on_train_end(logs)
        return logs

    def _make_metrics(self, net: keras.Model, batch: Any) -> None:
        """Let loss and metrics make their variables, and leave the values of all variables as they are."""
        inputs, labels, weight = keras.utils.unpack_x_y_sample_weight(batch)
        with self.scope(), keras.StatelessScope():
            outputs = net(inputs, training=False)
            net.compute_loss(x=inputs, y=labels, y_pred=outputs, sample_weight=weight, training=False)
            net.compute_metrics(inputs, labels, outputs, weight)

    def _step_of(self, net: keras.Model) -> Any:
        """Return the compiled function that trains one step on the next batch of an iterator."""
        import tensorflow as tf

        strategy = self.strategy
        own = tf.function(net.train_step, jit_compile=True, autograph=False) if net.jit_compile else net.train_step

        def step(iterator: Any) -> None:
            strategy.run(own, args=(iterator.get_next(),))

        return tf.function(step, autograph=False, reduce_retracing=True)

    def agree(self, numbers: Sequence[int] = (0,)) -> list[int]:
        """Return the chief's numbers on all workers; each waits for the others here."""
        if self.workers == 1:
            return list(numbers)
        import tensorflow as tf

        strategy = self.strategy

        def common(values: Any) -> Any:
            context = tf.distribute.get_replica_context()
            own = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), values.dtype)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values * own)

        @tf.function
        def run(values: Any) -> Any:
            return strategy.run(common, args=(values,))

        result = strategy.experimental_local_results(run(tf.constant(list(numbers), tf.int32)))[0]
        return [int(number) for number in result.numpy()]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While active, what TensorFlow raises when a worker is gone becomes one sentence.

        Raises:
            RunError: another worker died or can't be reached.
        """
        try:
            yield
        except Exception as error:
            if self.workers == 1 or type(error).__name__ not in LOST:
                raise
            raise RunError(
                "Another worker of the training died or can't be reached. Finished epochs are kept: give the same "
                "command on all workers to go on."
            ) from error
