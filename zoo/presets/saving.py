"""Writing a preset from a finished run or from any Keras network."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets.core.files import file_sha256, new_folder, write_atomically
from analognets.core.provenance import git_commit, package_versions
from analognets.errors import InvalidArgumentError, PresetError, check_choice
from analognets.training.recipe import Recipe
from analognets.training.run import Run
from analognets.zoo.presets.architecture import (
    build,
    describe,
    hardware_by_layer,
    layers_on_chip,
    set_variables,
    variables_of,
)
from analognets.zoo.presets.cards import write_card
from analognets.zoo.presets.files import (
    CARD,
    FORMAT,
    GOLDEN,
    INDEX,
    PLAIN_NAME,
    RECIPE,
    RESULTS,
    WEIGHTS,
    Accuracy,
    PresetRecord,
    StoredFile,
    pack,
    read_file,
    read_tensors,
)
from analognets.zoo.presets.golden import make_golden
from analognets.zoo.presets.preset import Preset, predict, series
from analognets.zoo.presets.safe_config import from_config, to_config
from analognets.zoo.trained import TrainedRun, digital_twin, open_trained

__all__ = [
    "RESULT_COLUMNS",
    "check_place",
    "check_saveable",
    "direct_mapping_results",
    "rewrite_card",
    "save_to_preset",
]

RESULT_COLUMNS = (
    *("condition", "at", "seconds", "drift_compensation", "mean", "std", "chips", "loss", "float_accuracy"),
    *("low", "high", "loss_low", "loss_high", "digital_accuracy"),
    *("digital_loss", "digital_loss_low", "digital_loss_high"),
    *("bound", "bound_share"),
)
"""`loss` is against the float network, `digital_loss` against the same weights run digitally; low and high are the ends
of 95 % intervals; at least the share `bound_share` of all chips has the accuracy `bound` with 95 % confidence."""
SAID_OF_DATA = ("name", "version", "homepage", "licence", "citation", "statement", "synthetic", "clips")
REBUILT = 1e-5


@dataclasses.dataclass(frozen=True)
class PresetContent:
    """What a preset is made from; see `save_to_preset` for the meaning of each."""

    model: keras.Model
    recipe: Recipe | None
    classes: list[str]
    frontend: Any
    data: dict[str, Any]
    origin: dict[str, Any]
    results: dict[str, pd.DataFrame]


def save_to_preset(
    source: Any,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    description: str = "",
    statement: str = "",
    classes: tuple[str, ...] | list[str] | None = None,
    frontend: Any = None,
    data: Mapping[str, Any] | None = None,
    results: Mapping[str, pd.DataFrame] | None = None,
    test_data: tuple[Any, Any] | None = None,
    precision: str = "float16",
    examples: Any = None,
    custom_objects: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Preset:
    """Write a preset from a finished run or from any functional or Sequential Keras network, analog or not.

    It is read back before it takes its place: what can't be loaded again is not saved.

    Args:
        source: a `Run`, the path of a run folder, or a built Keras network.
        folder: new folder for it; a name ending in .zip gives one file for a web server.
        name: letters, digits, ".", "_" and "-"; the folder's name by default.
        description: one sentence for the model card.
        statement: what must be said about its data, put before what the data's loader says.
        classes: class names in the order of the outputs; a run knows its own.
        frontend: the layer that makes features from raw data; a run knows its own.
        data: name, licence, citation, statement ... of the data; a run knows its own.
        results: tables of `analognets.deploy.summarize` by condition ("hardware-aware", "direct mapping"); a run's
            results/summary.csv is taken by itself.
        test_data: (features, labels) of the test split, to measure the digital accuracy of what is saved.
        precision: "float16" or "float32", of kernels; all other variables are float32 always.
        examples: inputs for the golden values; by default they are made.
        custom_objects: layers by name that are neither Keras's nor ours; loading will need them too.
        overwrite: replace a preset that is there.

    Raises:
        PresetError: the network can't be rebuilt safely (subclassed, Lambda layers), or the place is taken.
        RunError: the run is not finished.
        InvalidArgumentError: an argument is not allowed.

    Examples:
        >>> preset = save_to_preset(analog, "my.preset", classes=["a", "b", "c", "d"], data={"name": "made up"})
        >>> preset.name, preset.is_analog
        ('my.preset', True)
        >>> analognets.zoo.from_preset("./my.preset").output_shape
        (None, 4)
    """
    check_choice("save_to_preset", "precision", precision, ("float16", "float32"))
    target = Path(folder)
    name = name or target.name.removesuffix(".zip")
    if not PLAIN_NAME.fullmatch(name):
        raise InvalidArgumentError(f"`name` of a preset takes letters, digits, '.', '_' and '-'. Received: {name!r}.")
    check_place(target, overwrite)
    is_run = isinstance(source, (Run, str, os.PathLike))
    what = _from_run(source if isinstance(source, Run) else Path(source)) if is_run else _from_model(source)
    what = _changed(what, classes, frontend, data, statement, results)
    archive = target.suffix == ".zip"
    place = _put_archive if archive else None
    with new_folder(target, "files of the preset", PresetError, overwrite=overwrite, index=INDEX, place=place) as draft:
        _write(draft, what, name, description, precision, examples, test_data, custom_objects)
        Preset.open(draft)
    return Preset.open(_unpacked(target) if archive else target, custom_objects=custom_objects)


def check_place(target: Path, overwrite: bool) -> None:
    """Raise a PresetError if something is there already that may not be replaced."""
    if not (os.path.exists(target) or os.path.islink(target)):
        return
    ours = target.suffix == ".zip" if os.path.isfile(target) else os.path.isfile(target / INDEX)
    if not (overwrite and ours):
        way = "Say overwrite=True (--overwrite) to replace it." if ours else "Choose a new folder."
        raise PresetError(f"Nothing is overwritten unasked. Received: '{target}', which exists. {way}")


def _put_archive(draft: Path, target: Path) -> None:
    write_atomically(target, lambda part: pack(draft, part), error=PresetError)


def _unpacked(archive: Path) -> Path:
    from analognets.zoo.presets.handles import locate

    return locate(archive).path


def check_saveable(run: Run) -> Run:
    """Return a run that a preset can be made from.

    Raises:
        PresetError: it is not finished.
    """
    if not run.finished:
        raise PresetError(f"A preset is made from a finished run. Received: '{run.path}' (status: {run.status}).")
    return run


def _from_run(source: Run | Path) -> PresetContent:
    """Collect what a finished run knows."""
    trained = open_trained(source, unfinished=True)
    if not isinstance(trained, TrainedRun):
        raise PresetError(f"A preset is made from a run or a Keras model. Received: the {trained.kind} '{source}'.")
    run = check_saveable(trained.run)
    chain = _float_runs(trained)
    recipe = trained.recipe.replace({"float": chain[0].recipe.to_dict()["float"], "teacher": None})
    origin = {"recipe": recipe.name, "recipe_fingerprint": recipe.fingerprint(), **trained.origin}
    if len(chain) > 1:
        origin["float_training"] = "; then ".join(map(_float_words, chain))
    summary = run.path / "results" / "summary.csv"
    return PresetContent(
        model=trained.model,
        recipe=recipe,
        classes=list(trained.classes),
        frontend=trained.frontend,
        data={key: trained.data[key] for key in SAID_OF_DATA if trained.data.get(key)},
        origin=origin,
        results={"hardware-aware": _summary(summary)} if summary.is_file() else {},
    )


def _summary(path: Path) -> pd.DataFrame:
    """Return the drift table of a run, if it is what a card says of it: of the test split and the network as trained.

    Raises:
        PresetError: it was measured otherwise.
    """
    table = pd.read_csv(path)
    other = "split" in table and set(table["split"]) != {"test"} or "batch_norm" in table and table["batch_norm"].any()
    other = other or "adabs" in table and bool(table["adabs"].any())
    if other or "compensation" in table and table["compensation"].notna().any():
        raise PresetError(
            f"'{path}' was not measured on the test split with the network as trained. Run `analognets evaluate "
            f"{path.parents[1]}` again before saving."
        )
    return table.drop(columns=["split", "batch_norm", "compensation", "adabs"], errors="ignore")


def _float_runs(trained: TrainedRun) -> list[Run]:
    """Return the runs that trained the float network, each of which went on from the one before (--float-from)."""
    chain = [trained.run] if trained.recipe.float_stage.epochs else []
    before, seen = trained.data.get("float_from"), {str(trained.run.path)}
    while before and str(before) not in seen and os.path.isfile(Path(before) / "run.json"):
        seen.add(str(before))
        run = Run.open(before)
        chain += [run] if run.recipe.float_stage.epochs else []
        before = run.record["data"].get("float_from")
    return chain[::-1] or [trained.run]


def _float_words(run: Run) -> str:
    """Return in words how a run trained the float network; teachers are not named, for they lie on one machine."""
    stage, teachers = run.recipe.float_stage, run.recipe.teacher or []
    words = f"{stage.epochs} epochs from learning rate {stage.learning_rate:g}"
    if stage.distillation is None:
        return words
    count = 1 if isinstance(teachers, str) else len(teachers)
    soft = f"temperature {stage.distillation.temperature:g}, soft share {stage.distillation.soft_share:g}"
    return f"{words}, distilled from {count} network{'s' if count > 1 else ''} ({soft})"


def direct_mapping_results(run: Run, folder: str | Path) -> pd.DataFrame:
    """Return the results of a run that mapped the float network of another one as it is, for its preset.

    Args:
        run: that trained the float network.
        folder: of the evaluated run that mapped it without training for hardware.

    Raises:
        PresetError: that run trained it, has another float network, or was not evaluated.
        RunError: there is no run.
    """
    other = Run.open(folder)
    stage = other.recipe.hardware_aware
    summary = other.path / "results" / "summary.csv"
    if stage is None or stage.epochs or not summary.is_file():
        raise PresetError(
            f"--direct-mapping takes an evaluated run with hardware_aware.epochs=0. Received: '{folder}'."
        )
    ours, theirs = run.float_model().get_weights(), other.float_model().get_weights()
    if len(ours) != len(theirs) or not all(np.array_equal(one, two) for one, two in zip(ours, theirs, strict=True)):
        raise PresetError(
            f"'{folder}' mapped another float network than that of '{run.path}', so it says nothing of it."
        )
    return pd.read_csv(summary)


def _from_model(source: Any) -> PresetContent:
    if not isinstance(source, keras.Model):
        raise InvalidArgumentError(f"`source` must be a run, its folder, or a Keras model. Received: {source!r}.")
    if not source.built:
        raise PresetError(f"Model '{source.name}' is not built yet, so it has no weights. Call it once on data.")
    versions = package_versions(("keras", "tensorflow"))
    return PresetContent(source, None, [], None, {}, {"versions": versions, "git_commit": git_commit()}, {})


def _changed(
    what: PresetContent, classes: Any, frontend: Any, data: Mapping[str, Any] | None, statement: str, results: Any
) -> PresetContent:
    """Return the source with what the caller said put over what the run knew."""
    facts = dict(what.data if data is None else data)
    if statement:
        facts["statement"] = " ".join(text for text in (statement, facts.get("statement")) if text)
    return dataclasses.replace(
        what,
        classes=what.classes if classes is None else list(classes),
        frontend=what.frontend if frontend is None else frontend,
        data=facts,
        results={**what.results, **(results or {})},
    )


def _write(
    draft: Path,
    what: PresetContent,
    name: str,
    description: str,
    precision: str,
    examples: Any,
    test_data: tuple[Any, Any] | None,
    custom_objects: Mapping[str, Any] | None,
) -> None:
    """Write all files of a preset into a folder."""
    from safetensors.numpy import save_file

    layers = layers_on_chip(what.model)
    stage = what.recipe.hardware_aware if what.recipe and layers else None
    record = PresetRecord(
        format=FORMAT,
        name=name,
        description=description,
        architecture=describe(what.model, what.recipe, custom_objects),
        classes=what.classes,
        frontend=_plain(to_config(what.frontend)) if what.frontend is not None else None,
        hardware=_plain(to_config(layers[0].crossbar)) if layers else None,
        hardware_by_layer=hardware_by_layer(layers),
        weight_noise=stage.weight_noise if stage else 0.0,
        exempt=list(stage.exempt) if stage else [],
        calibrated=bool(layers) and all(layer.calibrated for layer in layers),
        parameters=int(sum(np.prod(variable.shape, dtype=int) for variable in what.model.weights)),
        precision={"kernels": precision, "others": "float32"},
        data=_plain(what.data),
        origin=_plain(what.origin),
        files={},
    )
    if what.recipe is not None:
        (draft / RECIPE).write_text(what.recipe.to_yaml(), "utf-8")
    save_file(variables_of(what.model, precision), draft / WEIGHTS)
    frontend = None
    if record.frontend is not None:
        frontend = from_config(record.frontend, where="The front end", custom_objects=custom_objects)
    model = build(record, what.recipe, where=f"Preset '{name}'", custom_objects=custom_objects)
    set_variables(model, read_tensors(draft / WEIGHTS), where=f"Preset '{name}'")
    golden = make_golden(model, frontend, examples)
    _check_rebuilt(what, record, golden, custom_objects)
    save_file(golden, draft / GOLDEN)
    accuracy, results = _results(what.results, model, test_data)
    (draft / RESULTS).write_text(results.to_csv(index=False), "utf-8")
    _write_card_and_index(draft, record.model_copy(update={"accuracy": accuracy}), results)


def _write_card_and_index(draft: Path, record: PresetRecord, results: pd.DataFrame) -> None:
    """Write the model card beside the other files, and what preset.json says of all of them."""
    (draft / CARD).write_text(write_card(record, results), "utf-8")
    for path in draft.iterdir():
        path.chmod(0o644)
    files = {path.name: StoredFile(sha256=file_sha256(path), bytes=path.stat().st_size) for path in draft.iterdir()}
    record = record.model_copy(update={"files": dict(sorted(files.items()))})
    (draft / INDEX).write_text(json.dumps(record.model_dump(), indent=1, allow_nan=False) + "\n", "utf-8")


def rewrite_card(folder: str | os.PathLike[str]) -> Preset:
    """Write the model card of a preset anew, as this version writes it; weights, golden values and results stay.

    The sha256 of its preset.json changes, as it names that of the card.

    Args:
        folder: of the preset.

    Raises:
        PresetError: there is no intact preset, or other files lie beside it, which would be lost.
    """
    target = Path(folder)
    preset = Preset.open(target)
    names = {INDEX, *preset.record.files}
    others = sorted({path.name for path in target.iterdir()} - names)
    if others:
        raise PresetError(
            f"A card is written anew where a preset lies alone. Received: '{target}', which also holds {others[0]!r}. "
            "Move what is not of the preset elsewhere, or copy the preset with `analognets zoo download --to`."
        )
    with new_folder(target, "files of the preset", PresetError, overwrite=True, index=INDEX) as draft:
        for name in sorted(names - {INDEX, CARD}):
            (draft / name).write_bytes(read_file(target, name, stored=preset.record.files[name]))
        _write_card_and_index(draft, preset.record, preset.results)
    return Preset.open(target)


def _plain(value: Any) -> Any:
    """Return a config as JSON would give it back."""
    return json.loads(json.dumps(value, allow_nan=False))


def _check_rebuilt(
    what: PresetContent,
    record: PresetRecord,
    golden: Mapping[str, np.ndarray],
    custom_objects: Mapping[str, Any] | None,
) -> None:
    """Raise unless the network built from the description computes the same as the one given."""
    twin = build(record, what.recipe, where=f"Preset '{record.name}'", custom_objects=custom_objects)
    set_variables(twin, variables_of(what.model, "float32"), where=f"Preset '{record.name}'")
    inputs = series(golden, "inputs")
    for one, other in zip(predict(what.model, inputs), predict(twin, inputs), strict=True):
        gap = float(np.abs(one - other).max()) / max(1.0, float(np.abs(one).max()))
        if not gap <= REBUILT:
            raise PresetError(
                f"The network rebuilt from the description of '{record.name}' computes something else (outputs differ "
                f"by {gap:.2g}), so it is not saved. Does a layer keep a state that is no variable?"
            )


def _results(
    tables: Mapping[str, pd.DataFrame], model: keras.Model, test_data: tuple[Any, Any] | None
) -> tuple[Accuracy, pd.DataFrame]:
    """Return the accuracies and the content of results.csv."""
    parts, digital, samples = [], None, None
    if test_data is not None:
        inputs, labels = test_data
        outputs = np.asarray(digital_twin(model).predict(inputs, batch_size=250, verbose=0))
        digital, samples = float(np.mean(outputs.argmax(-1) == np.asarray(labels).reshape(-1))), len(outputs)
        parts.append(pd.DataFrame([{"condition": "digital", "mean": digital}]))
    parts += [table.assign(condition=condition) for condition, table in tables.items()]
    if not parts:
        return Accuracy(), pd.DataFrame(columns=list(RESULT_COLUMNS))
    rows = [row for part in parts for row in part.to_dict("records")]
    merged = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    known = merged["float_accuracy"].dropna()
    reference = float(known.iloc[0]) if len(known) else digital
    return Accuracy(digital=digital, reference=reference, samples=samples), merged
