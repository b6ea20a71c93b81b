"""The letters experiment: spoken letters become spike pictures of the same letters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from analognets.core.files import read_json, write_atomically, write_json
from analognets.core.provenance import git_commit, sha256_of
from analognets.devices import get as get_device
from analognets.errors import AnalogNetsError, RecipeError
from analognets.spiking.encoders import Cochlea, PixelCode
from analognets.spiking.neuron import LIF
from analognets.spiking.scoring import chance_share
from analognets.spiking.supervised import Presentation, SpikeTimeTrainer
from analognets.synapses.settings import SynapseRules
from analognets.synapses.weights import FloatSynapses, MemristorSynapses, PulsedSynapses
from analognets.units import parse_duration
from analognets.zoo.experiments.spiking_recipe import LettersRecipe, LettersRun
from analognets.zoo.experiments.spoken_letters import letter_picture, recorded, spoken

__all__ = ["LettersTask", "prepare_letters", "train_letters"]

Report = Callable[[int, dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class LettersTask:
    """A recipe with its objects.

    Args:
        recipe: what it was made from.
        pixels: the code of the pictures.
        pictures: of the letters.
        patterns: input and wanted spikes of each letter.
        trainer: neurons and synapses.
    """

    recipe: LettersRecipe
    pixels: PixelCode
    pictures: dict[str, np.ndarray]
    patterns: tuple[Presentation, ...]
    trainer: SpikeTimeTrainer

    def data_record(self) -> dict[str, Any]:
        """Return what run.json says about the data."""
        times = [times for pattern in self.patterns for times in (pattern.inputs.times, pattern.target.times)]
        return {
            "name": f"letters {sha256_of(*times)[:16]}",
            "classes": list(self.recipe.letters),
            "sounds": {k: self.recipe.wav.get(k, "espeak-ng, stretched to the window") for k in self.recipe.letters},
            "input_spikes": [len(pattern.inputs) for pattern in self.patterns],
            "target_spikes": [len(pattern.target) for pattern in self.patterns],
            "devices": self.trainer.synapses.device_count,
        }


def _settings(kind: type, options: dict[str, Any], key: str) -> Any:
    """Return an object of recipe options, lists as tuples."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise RecipeError(f"An option of `{key}` does not exist: {error}.") from error


def make_synapses(recipe: LettersRecipe, shape: tuple[int, int]) -> Any:
    """Return the synapses of a recipe.

    Raises:
        RecipeError: an option does not exist.
    """
    section, seed = recipe.synapses, recipe.seed
    if section.kind == "float":
        return FloatSynapses(shape, spread=section.spread, seed=seed)
    if section.kind == "memristor":
        device = get_device("cu_sio2_memristor", **section.device)
        try:
            return MemristorSynapses(shape, device=device, spread=section.spread, seed=seed, **section.rules)  # type: ignore[arg-type]
        except TypeError as error:
            raise RecipeError(f"An option of `synapses.rules` does not exist: {error}.") from error
    rules = _settings(SynapseRules, section.rules, "synapses.rules")
    return PulsedSynapses(
        shape, device=get_device("pulsed_pcm", **section.device), rules=rules, spread=section.spread, seed=seed
    )


def prepare_letters(recipe: LettersRecipe) -> LettersTask:
    """Speak or read the letters, draw them, and make neurons and synapses.

    Raises:
        RecipeError: an option does not exist.
        DataError: a recording can't be read.
        InvalidArgumentError: a sound is silent or shorter than the window, or a setting is out of range.
    """
    cochlea = _settings(Cochlea, recipe.cochlea, "cochlea")
    pixels = _settings(PixelCode, recipe.pixels, "pixels")
    unknown = sorted({*recipe.wav} - {*recipe.letters})
    if unknown:
        raise RecipeError(f"`wav` names a letter that is not in `letters`. Received: {', '.join(unknown)}.")
    neurons = _settings(LIF, recipe.neuron, "neuron")
    synapses = make_synapses(recipe, (cochlea.channels, pixels.shape[0] * pixels.shape[1]))
    patterns, pictures = [], {}
    for number, letter in enumerate(recipe.letters):
        try:
            if letter in recipe.wav:
                sound = recorded(recipe.wav[letter], sample_rate=cochlea.sample_rate)
            else:
                made = {"voice": recipe.voice, "words_per_minute": recipe.words_per_minute}
                sound = spoken(letter, duration=cochlea.duration, sample_rate=cochlea.sample_rate, **made)  # type: ignore[arg-type]
            inputs = cochlea.encode(sound, seed=recipe.seed + 1000 * number)
        except AnalogNetsError as error:
            error.add_note(f"This is the sound of the letter {letter!r}.")
            raise
        pictures[letter] = letter_picture(letter, pixels.shape)
        target = pixels.encode(pictures[letter], seed=recipe.seed + 1000 * number)
        patterns.append(Presentation(letter, inputs, target))
    trainer = SpikeTimeTrainer(
        patterns,
        synapses,
        neurons=neurons,
        rate=recipe.learning_rate,
        rate_decay=recipe.learning_rate_decay,
        seconds_per_presentation=recipe.seconds_per_presentation,
        seed=recipe.seed,
    )
    return LettersTask(recipe, pixels, pictures, tuple(patterns), trainer)


def train_letters(run: LettersRun, task: LettersTask, report: Report | None = None) -> dict[str, Any]:
    """Train in a run folder, from its last checkpoint on, and write results and figures.

    Args:
        run: the folder; unfinished.
        task: from `prepare_letters` with the run's recipe.
        report: called with (epoch, metrics) after each epoch.

    Returns:
        What stands in results/letters.json.

    Raises:
        RunError: the run is finished, in use, or was started with other data.
    """
    recipe, trainer = task.recipe, task.trainer
    with run.session(task.data_record()):
        checkpoints, variables = run.checkpoints, trainer.synapses.variables
        last, done, rows = checkpoints.latest(), 0, []
        if last is not None:
            checkpoints.restore(last.now, variables)
            done = last.epoch
            rows = run.metrics()[: last.rows]
        for epoch in range(done, recipe.epochs):
            metrics = {"stage": "spikes", "epoch": epoch + 1, **trainer.epoch(epoch)}
            rows.append(metrics)
            if report is not None:
                report(epoch + 1, metrics)
            if (epoch + 1) % recipe.checkpoint_every == 0 or epoch + 1 == recipe.epochs:
                run.write_metrics(rows)
                checkpoints.save(variables, stage="spikes", epoch=epoch + 1, rows=len(rows))
        result = evaluate_letters(task, rows)
        write_results(run, task, result)
    return result


def evaluate_letters(task: LettersTask, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of a trained task: the curve, and what is left at later times with and without scaling."""
    recipe, trainer = task.recipe, task.trainer
    end = trainer.time(recipe.epochs)
    trainer.synapses.mark(end, seed=recipe.seed)
    table = []
    for time in recipe.times:
        seconds = parse_duration(time)
        for scaled in (False, True):
            for reading in range(recipe.readings):
                found = trainer.evaluate(end + seconds, scaled=scaled, seed=recipe.seed + 1 + reading)
                table.append({"seconds": seconds, "scaled": scaled, "reading": reading, **found})
    observed = trainer.observe(end, seed=recipe.seed + 1)
    chance = [chance_share(p.target, o, 25.0) for p, o in zip(task.patterns, observed, strict=True)]
    return {
        "experiment": "letters",
        "recipe": recipe.to_dict(),
        "git_commit": git_commit(),
        "data": task.data_record(),
        "devices": trainer.synapses.device_count,
        "training_seconds_on_devices": end,
        "last_epoch": rows[-1],
        "chance_25": float(np.mean(chance)),
        "curve": rows,
        "after": table,
    }


def write_results(run: LettersRun, task: LettersTask, result: dict[str, Any]) -> None:
    """Write results/: letters.json, after.csv and the figures."""
    import pandas as pd

    from analognets.spiking import figures

    folder = run.results
    write_json(folder / "letters.json", result)
    table = pd.DataFrame(result["after"])
    write_atomically(folder / "after.csv", table.to_csv(index=False))
    end = task.trainer.time(task.recipe.epochs)
    observed = task.trainer.observe(end, seed=task.recipe.seed + 1)
    names = [pattern.name for pattern in task.patterns]
    figures.raster_figure([p.inputs for p in task.patterns], names, folder / "inputs.png", title="Input spikes")
    figures.pictures_figure(
        [task.pixels.decode(p.target) for p in task.patterns],
        [task.pixels.decode(spikes) for spikes in observed],
        names,
        folder / "pictures.png",
    )
    pairs = [(p.target, spikes) for p, spikes in zip(task.patterns, observed, strict=True)]
    figures.outputs_figure(pairs, names, folder / "outputs.png")
    figures.curve_figure(pd.DataFrame(result["curve"]), folder / "curve.png")
    figures.drift_figure(table, folder / "drift.png")


def load_result(run: LettersRun) -> dict[str, Any]:
    """Return what results/letters.json of a finished run holds."""
    return read_json(run.path / "results" / "letters.json", "result of a run")
