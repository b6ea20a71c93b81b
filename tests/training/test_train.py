from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from scipy import stats

import analognets as an
from analognets.conversion import to_analog
from analognets.errors import ConversionError, InvalidArgumentError, RecipeError, RunError, UnknownNameError
from analognets.layers import analog_layers, freeze_weight_range
from analognets.training import Progress, Run, TrainingData, train, training_report
from analognets.training.stages import clip_weights
from analognets.training.validation import evaluate_noisy, noisy_weights


@pytest.fixture(scope="module")
def reference(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return an uninterrupted run: its result, its progress messages, and what equal runs must agree on."""
    path = tmp_path_factory.mktemp("reference")
    events: list[Progress] = []
    result = train(Run.create(path, toy.recipe()), model=toy.model, data=toy.data(), progress=events.append)
    return {"path": path, "result": result, "events": events, "outcome": toy.outcome(path)}


def stop_at(moment: Callable[[Progress], bool], error: BaseException) -> Callable[[Progress], None]:
    def report(event: Progress) -> None:
        if moment(event):
            raise error

    return report


def test_a_run_ends_with_two_models_and_one_line_an_epoch(reference: dict[str, Any], toy: ModuleType) -> None:
    run = Run.open(reference["path"])
    assert run.finished
    assert [(row["stage"], row["epoch"]) for row in run.metrics()] == [
        ("float", 0), ("float", 1), ("hardware_aware", 0), ("hardware_aware", 1)
    ]  # fmt: skip
    assert run.metrics() == reference["result"].metrics
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} <= run.metrics()[0].keys()
    assert run.record["data"] == {"statement": "toy data"}
    assert reference["outcome"]["float"] == toy.digest(reference["result"].float_model)
    assert reference["outcome"]["analog"] == toy.digest(reference["result"].analog_model)


def test_stored_models_evaluate_as_in_training(reference: dict[str, Any], toy: ModuleType) -> None:
    run = Run.open(reference["path"])
    for model, row in ((run.float_model(), run.metrics()[1]), (run.analog_model(), run.metrics()[3])):
        scores = model.evaluate(toy.data().validation, verbose=0, return_dict=True)
        assert scores["accuracy"] == pytest.approx(row["val_accuracy"])
    assert all(layer.calibrated for layer in analog_layers(run.analog_model()))


def test_the_metrics_hold_the_ranges_of_the_converters(reference: dict[str, Any]) -> None:
    run = Run.open(reference["path"])
    assert not [key for key in run.metrics()[1] if key.startswith(("input_range", "adc_gain"))]
    row, layers = run.metrics()[3], analog_layers(run.analog_model())
    for layer in layers:
        assert row[f"input_range/{layer.name}"] == pytest.approx(float(np.mean(layer.input_range)))
    assert row["adc_gain"] == pytest.approx(float(layers[0].adc_gain.gain))


def test_the_report_shows_the_curves(reference: dict[str, Any]) -> None:
    run = Run.open(reference["path"])
    report = training_report(run)
    [picture], [table] = report.figures, report.tables
    labels = [axes.get_ylabel() for axes in picture.figure.axes]
    assert labels == ["loss", "accuracy in %", "range of the DACs, alpha", "gain S of the ADCs"]
    lines = picture.figure.axes[0].lines
    assert list(lines[0].get_ydata()) == [row["loss"] for row in run.metrics()[:2]]
    assert len(table.rows) == 4 and table.columns[-2:] == ["gain S", "learning rate"]
    last = f"validation {100 * run.metrics()[3]['val_accuracy']:.2f} %"
    assert f"Stage 2, hardware-aware: accuracy {last} after 2 epochs." in report.answer
    assert (report.statement, report.facts["seed"], report.facts["data"]) == ("toy data", 3, "not known")
    assert report.html() == training_report(run).html()


def test_code_of_the_page_on_trackers_runs(
    reference: dict[str, Any], toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow and Weights & Biases are stood in for: their callbacks are Keras callbacks, their loggers take numbers."""
    logged: list[Any] = []

    class Callback(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logged.append({name: float(value) for name, value in logs.items()})

    def log_metrics(found: dict[str, float], step: int) -> None:
        logged.append({"step": step, **found})

    modules: dict[str, dict[str, Any]] = {
        "mlflow": {"start_run": contextlib.nullcontext, "log_metrics": log_metrics, "log_params": logged.append},
        "mlflow.keras": {"MlflowCallback": Callback},
        "wandb": {"init": lambda project: None, "finish": lambda: None},
        "wandb.integration": {},
        "wandb.integration.keras": {"WandbMetricsLogger": Callback},
    }
    for name, members in modules.items():
        monkeypatch.setitem(sys.modules, name, module := ModuleType(name))
        module.__dict__.update(members, __path__=[])
    sys.modules["mlflow"].keras = sys.modules["mlflow.keras"]  # type: ignore[attr-defined]
    sys.modules["mlflow"].log_artifact = lambda path: logged.append(Path(path).read_text("utf-8"))  # type: ignore[attr-defined]
    page = (Path(__file__).parents[2] / "docs" / "howto" / "track-experiments.md").read_text("utf-8")
    model = toy.model()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs, labels = toy.arrays()
    given = {"an": an, "model": model, "build": toy.model, "data": toy.data(), "inputs": inputs, "labels": labels}
    given["run"] = Run.create(tmp_path, toy.recipe(float__epochs=1, hardware_aware__epochs=1))
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "track-experiments.md", "exec"), given)
    fits, [first, second, parameters, report] = logged[:4], logged[4:]
    assert all(np.isfinite(found["loss"]) for found in fits)
    assert first["step"] == 0 and "float/val_accuracy" in first and "hardware_aware/adc_gain" in second
    assert parameters == {"recipe": "toy", "seed": 3} and "How well did toy learn" in report


def test_stage_2_keeps_the_frozen_range_of_stage_1(reference: dict[str, Any]) -> None:
    result = reference["result"]
    for layer in analog_layers(result.analog_model):
        kernel = result.float_model.get_layer(layer.name).kernel.numpy()
        limit = min(2 * np.std(kernel), np.abs(kernel).max())
        assert float(layer.w_max.value) == pytest.approx(limit, rel=1e-6)
        assert np.abs(layer.kernel_variable.numpy()).max() <= float(layer.w_max.value)
        assert float(layer.noise_scale.value) == 1.0


def test_progress_tells_every_epoch_and_batch(reference: dict[str, Any]) -> None:
    kinds = [event.kind for event in reference["events"]]
    assert kinds == [*(["stage"] + (["epoch"] + ["batch"] * 4 + ["epoch_end"]) * 2) * 2, "finished"]
    batches = [event for event in reference["events"] if event.kind == "batch"]
    assert [event.batch for event in batches[:4]] == [1, 2, 3, 4]
    assert {event.batches for event in batches} == {4}


@pytest.mark.parametrize(("stage", "epoch", "batch"), [("float", 0, 2), ("hardware_aware", 1, 4)])
def test_ctrl_c_leaves_a_run_that_ends_the_same(
    reference: dict[str, Any], toy: ModuleType, tmp_path: Path, stage: str, epoch: int, batch: int
) -> None:
    def now(event: Progress) -> bool:
        return (event.kind, event.stage, event.epoch, event.batch) == ("batch", stage, epoch, batch)

    run = Run.create(tmp_path, toy.recipe())
    with pytest.raises(KeyboardInterrupt):
        train(run, model=toy.model, data=toy.data(), progress=stop_at(now, KeyboardInterrupt()))
    assert Run.open(tmp_path).status == "interrupted"
    events: list[Progress] = []
    train(Run.create(tmp_path, toy.recipe()), model=toy.model, data=toy.data(), progress=events.append)
    assert (events[0].stage, events[0].epoch) == (stage, epoch)
    assert toy.outcome(tmp_path) == reference["outcome"]


def test_a_damaged_checkpoint_costs_an_epoch_and_nothing_else(
    reference: dict[str, Any], toy: ModuleType, tmp_path: Path
) -> None:
    run = Run.create(tmp_path, toy.recipe())
    with pytest.raises(ZeroDivisionError):
        moment = stop_at(
            lambda e: (e.kind, e.stage, e.epoch) == ("epoch_end", "hardware_aware", 0), ZeroDivisionError()
        )
        train(run, model=toy.model, data=toy.data(), progress=moment)
    assert Run.open(tmp_path).status == "failed"
    newest = json.loads((tmp_path / "state.json").read_text())["checkpoints"][0]["now"]["file"]
    (tmp_path / "checkpoints" / newest).write_bytes(b"cut short")
    events: list[Progress] = []
    train(Run.open(tmp_path), model=toy.model, data=toy.data(), progress=events.append)
    assert (events[0].kind, newest in events[0].message) == ("notice", True)
    assert toy.outcome(tmp_path) == reference["outcome"]


def test_the_best_epoch_is_kept(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(float__epochs=4, float__select="best", float__learning_rate=0.3, hardware_aware=None)
    result = train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data())
    scores = [row["val_accuracy"] for row in result.metrics]
    assert scores[-1] < max(scores), "pick a learning rate that is bad enough"
    found = result.float_model.evaluate(toy.data().validation, verbose=0, return_dict=True)["accuracy"]
    assert found == pytest.approx(max(scores))
    assert result.analog_model is None
    assert not (tmp_path / "analog.keras").exists()


def test_ablations_are_settings_of_the_recipe(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(
        float__epochs=1, float__weight_clip_sigma=None, hardware_aware__epochs=0, hardware_aware__weight_noise=0.0,
        hardware_aware__hardware__adc_gain="per_layer", hardware_aware__hardware__adc_bits=6,
        hardware_aware__weight_range_sigma=None,
    )  # fmt: skip
    result = train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data(calibration=None, validation=None))
    layers = analog_layers(result.analog_model)
    assert {(layer.weight_noise, layer.crossbar.adc_bits, layer.crossbar.dac_bits) for layer in layers} == {(0.0, 6, 8)}
    assert layers[0].adc_gain is not layers[1].adc_gain
    for layer in layers:
        kernel = result.float_model.get_layer(layer.name).kernel.numpy()
        assert np.array_equal(layer.kernel_variable.numpy(), kernel)
        assert float(layer.w_max.value) == pytest.approx(np.abs(kernel).max())
        assert layer.calibrated
    assert "val_loss" not in result.metrics[0]


def test_no_learning_rate_for_ranges_keeps_them_as_calibrated(toy: ModuleType, tmp_path: Path) -> None:
    found = []
    for epochs in (0, 1):
        recipe = toy.recipe(
            float__epochs=0, hardware_aware__epochs=epochs, hardware_aware__range_learning_rate_scale=0.0
        )
        data = toy.data(validation=None)
        analog = train(Run.create(tmp_path / str(epochs), recipe), model=toy.model, data=data).analog_model
        ranges = [float(layer.input_range.value) for layer in analog_layers(analog)]
        found.append((ranges, float(analog_layers(analog)[0].adc_gain.gain.value), toy.digest(analog)))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] != found[1][2]


def test_noisy_validation_is_the_mean_of_noisy_copies(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(float__epochs=1, hardware_aware__epochs=1, hardware_aware__noisy_validation=2)
    result = train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data())
    assert 0 <= result.metrics[-1]["val_noisy_accuracy"] <= 1
    before, validation = toy.digest(result.analog_model), toy.data().validation
    quiet = evaluate_noisy(result.analog_model, validation, copies=1, eta=0.0, seed=0)["val_noisy_accuracy"]
    assert quiet == pytest.approx(result.metrics[-1]["val_accuracy"])
    evaluate_noisy(result.analog_model, validation, copies=1, eta=0.1, seed=0)
    assert toy.digest(result.analog_model) == before


def test_noise_of_noisy_copies_is_not_clipped(toy: ModuleType) -> None:
    analog = to_analog(toy.model(), "aon_cim_8bit")
    freeze_weight_range(analog, sigma=1.0)
    layer = analog_layers(analog)[0]
    clean, edge = layer.kernel_variable.numpy(), float(layer.w_max.value)
    with noisy_weights(analog, 0.3, np.random.default_rng(0)):
        noise = (np.asarray(layer.realization(training=False).kernel) - np.clip(clean, -edge, edge)) / edge
    assert np.abs(noise).max() > 0.3
    ends = 0.3 * np.sqrt(stats.chi2.ppf([1e-4, 1 - 1e-4], noise.size) / noise.size)
    assert ends[0] < np.sqrt(np.mean(noise**2)) < ends[1]
    np.testing.assert_array_equal(layer.kernel_variable.numpy(), clean)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_epochs_before(toy: ModuleType, tmp_path: Path) -> None:
    def batches(epoch: int) -> Any:
        made = toy.train_batches(epoch)
        return made.map(lambda x, y: (x * np.float32("nan"), y)) if epoch == 1 else made

    run = Run.create(tmp_path, toy.recipe())
    with pytest.raises(RunError, match=r"loss of stage 'float' is not finite any more in epoch 1. Lower `float.learn"):
        train(run, model=toy.model, data=dataclasses.replace(toy.data(), train_batches=batches))
    assert len(run.metrics()) == 1
    assert run.checkpoints.latest().epoch == 1


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ({"hardware_aware__hardware": "aon_cim_9bit"}, UnknownNameError, "Did you mean 'aon_cim_"),
        ({"hardware_aware__exempt": ["convv"]}, UnknownNameError, "Did you mean 'conv'"),
        ({"hardware_aware__exempt": ["conv", "logits"]}, ConversionError, "has no layer to convert"),
        ({"hardware_aware__hardware__device": "pmc"}, UnknownNameError, "Did you mean 'pcm'"),
    ],
)
def test_what_stage_2_can_not_do_is_known_before_stage_1(
    toy: ModuleType, tmp_path: Path, override: dict[str, Any], error: type, message: str
) -> None:
    run = Run.create(tmp_path, toy.recipe(**override))
    with pytest.raises(error, match=message):
        train(run, model=toy.model, data=toy.data())
    assert run.metrics() == []


def test_a_class_that_can_not_be_copied_is_known_before_stage_1(toy: ModuleType, tmp_path: Path) -> None:
    class Scaled(keras.layers.Layer):
        def __init__(self, factor: float) -> None:
            super().__init__(name="scaled")
            self.factor = factor

        def call(self, inputs: Any) -> Any:
            return self.factor * inputs

        def get_config(self) -> dict[str, Any]:
            return {}

    def model() -> keras.Model:
        plain = toy.model()
        return keras.Model(plain.inputs, Scaled(2.0)(plain.outputs[0]))

    run = Run.create(tmp_path, toy.recipe())
    with pytest.raises(ConversionError, match=r"'scaled' \(Scaled\) can't be rebuilt from its config. Give the class"):
        train(run, model=model, data=toy.data())
    assert run.metrics() == []


def test_a_run_converts_its_model_once(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[keras.Model] = []

    def counted(*args: Any, **kwargs: Any) -> keras.Model:
        made.append(to_analog(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("analognets.training.stages.to_analog", counted)
    result = train(Run.create(tmp_path, toy.recipe()), model=toy.model, data=toy.data())
    assert made == [result.analog_model]


def test_data_of_unknown_or_no_length_is_refused(toy: ModuleType, tmp_path: Path) -> None:
    run = Run.create(tmp_path, toy.recipe())
    for batches in (lambda epoch: toy.train_batches(epoch).repeat(), lambda epoch: toy.train_batches(epoch).take(0)):
        with pytest.raises(InvalidArgumentError, match="must be known and at least 1.*Set `steps_per_epoch`"):
            train(run, model=toy.model, data=TrainingData(batches))


def test_a_model_that_is_not_built_is_refused(toy: ModuleType, tmp_path: Path) -> None:
    unbuilt = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(InvalidArgumentError, match="must be built"):
        train(Run.create(tmp_path, toy.recipe()), model=unbuilt, data=toy.data())


def test_another_model_can_not_go_on_with_a_run(toy: ModuleType, tmp_path: Path) -> None:
    run = Run.create(tmp_path, toy.recipe())
    with pytest.raises(KeyboardInterrupt):
        train(
            run, model=toy.model, data=toy.data(),
            progress=stop_at(lambda e: e.kind == "epoch_end", KeyboardInterrupt()),
        )  # fmt: skip
    other = keras.Sequential([keras.Input((6, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(RunError, match="was made by another model"):
        train(run, model=other, data=toy.data())
    assert len(run.metrics()) == 1


def test_infinite_data_with_given_steps(toy: ModuleType, tmp_path: Path) -> None:
    data = TrainingData(lambda epoch: toy.train_batches(epoch).repeat(), steps_per_epoch=3)
    events: list[Progress] = []
    recipe = toy.recipe(float__epochs=1, hardware_aware=None)
    train(Run.create(tmp_path, recipe), model=toy.model, data=data, progress=events.append)
    assert [event.batch for event in events if event.kind == "batch"] == [1, 2, 3]


def test_clipping_holds_after_every_step_and_ends_on_request(toy: ModuleType) -> None:
    model = toy.model()
    undo = clip_weights(model, sigma=1.5, exempt=("logits",))
    conv, logits = model.get_layer("conv").kernel, model.get_layer("logits").kernel
    optimizer = keras.optimizers.SGD(0.5)
    gradients = [keras.random.normal(v.shape, seed=index) for index, v in enumerate(model.trainable_variables)]
    steps = {id(v): 0.5 * gradient.numpy() for v, gradient in zip(model.trainable_variables, gradients, strict=True)}
    before, free = logits.numpy() - steps[id(logits)], conv.numpy() - steps[id(conv)]
    optimizer.apply(gradients, model.trainable_variables)
    limit = 1.5 * free.std()
    assert np.abs(free).max() > limit
    assert np.allclose(conv.numpy(), np.clip(free, -limit, limit), atol=1e-6)
    assert np.allclose(logits.numpy(), before, atol=1e-6)
    undo()
    assert conv.constraint is None
    assert to_analog(model).get_layer("conv").kernel_constraint is None


@pytest.mark.parametrize(
    "settings",
    [
        {"exempt": ("d",)},
        {"exempt": ("block",)},
        {"exempt": ("block/d",)},
        {"hardware": {"default": "aon_cim_8bit", "d": "digital"}},
    ],
)
def test_what_stays_digital_is_not_clipped(settings: dict[str, Any]) -> None:
    block = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, name="d")], name="block")
    net = keras.Sequential([keras.Input((8,)), block, keras.layers.Dense(2, name="o")])
    clip_weights(net, sigma=2.0, **settings)
    assert block.get_layer("d").kernel.constraint is None
    assert net.get_layer("o").kernel.constraint is not None


def test_one_trace_a_stage(toy: ModuleType, tmp_path: Path) -> None:
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, inputs: Any, training: bool = False) -> Any:
            if training:
                traces.append(1)
            return inputs

    def model() -> keras.Model:
        inner = toy.model()
        return keras.Model(inner.input, Counting()(inner.output))

    counts = []
    for epochs in (1, 3):
        traces.clear()
        recipe = toy.recipe(float__epochs=epochs, hardware_aware=None)
        train(Run.create(tmp_path / str(epochs), recipe), model=model, data=toy.data(validation=None))
        counts.append(len(traces))
    assert counts[0] == counts[1]


def test_remapping_sets_the_range_of_weights_that_shrank_anew(toy: ModuleType, tmp_path: Path) -> None:
    settings = {"hardware_aware__weight_range_sigma": None, "hardware_aware__epochs": 3}
    settings |= {"hardware_aware__optimizer": "sgd", "hardware_aware__learning_rate": 0.1}
    settings |= {"hardware_aware__weight_decay": 1.0, "hardware_aware__schedule": "constant"}

    def slack(name: str, **more: object) -> float:
        run = Run.create(tmp_path / name, toy.recipe(**settings, **more))
        layers = analog_layers(train(run, model=toy.model, data=toy.data()).analog_model)
        return max(float(np.max(layer.w_max) / np.abs(np.asarray(layer.kernel_variable)).max()) for layer in layers)

    assert slack("remapped", hardware_aware__remap_every=1) < slack("kept") * 0.95
    with pytest.raises(RecipeError, match="remap_every"):
        toy.recipe(hardware_aware__remap_every=-1)


def test_layers_train_on_hardware_of_their_own(toy: ModuleType, tmp_path: Path) -> None:
    name = next(layer.name for layer in toy.model().layers if layer.weights)
    other = {"preset": "aon_cim_8bit", "layers": {name: {"adc_bits": 4, "dac_bits": 4}}}
    recipe = toy.recipe(hardware_aware__hardware=other)
    assert type(recipe).from_dict(recipe.to_dict()) == recipe
    assert recipe.hardware_aware.hardware.described() == f"aon_cim_8bit, {name}: dac_bits 4 adc_bits 4"
    done = train(Run.create(tmp_path / "run", recipe), model=toy.model, data=toy.data())
    for model in (done.analog_model, Run.open(tmp_path / "run").analog_model()):
        bits = {layer.name: layer.crossbar.adc_bits for layer in analog_layers(model)}
        assert bits[name] == 4 and set(bits.values()) == {4, 8}
    with pytest.raises(RecipeError, match="a mapping of layer names to 'digital'"):
        toy.recipe(hardware_aware__hardware={"layers": {"a": {"adc_bits": 40}}})
    with pytest.raises(RecipeError, match="hardware without `layers`"):
        toy.recipe(on_device={"hardware": {"layers": {"a": "digital"}}})


def test_a_training_that_ends_within_the_ramp_leaves_all_of_the_noise_to_the_next(
    toy: ModuleType, tmp_path: Path
) -> None:
    recipe = toy.recipe(float__epochs=1, hardware_aware__epochs=2, hardware_aware__noise_ramp_epochs=10)
    for select in ("last", "best"):
        one = recipe.replace({"hardware_aware.select": select})
        analog = train(Run.create(tmp_path / select, one), model=toy.model, data=toy.data()).analog_model
        assert [float(layer.noise_scale.value) for layer in analog_layers(analog)] == [1.0] * len(analog_layers(analog))


def test_the_best_epoch_needs_validation(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(float__select="best")
    with pytest.raises(InvalidArgumentError, match="`float.select: best` .*Received: no validation data"):
        train(Run.create(tmp_path, recipe), model=toy.model, data=toy.data(validation=None))
