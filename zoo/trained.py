"""The one place that opens a trained network: the folder of a run, a preset, a model file, or a model in memory."""

from __future__ import annotations

import functools
import os
import shlex
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.core.addresses import public_url
from analognets.errors import ConversionError, DataError, RunError, UnknownNameError, check_choice
from analognets.training.recipe import Evaluation, Recipe
from analognets.training.run import Run, import_classes

if TYPE_CHECKING:
    import keras

    from analognets.zoo.presets.preset import Preset
    from analognets.zoo.tasks import Task

__all__ = ["TrainedNetwork", "TrainedPreset", "TrainedRun", "digital_twin", "open_trained", "resume_command"]

MODEL_FILES = (".keras", ".h5", ".hdf5", ".onnx")

WANTS = ("recipe", "analog", "chips")


class TrainedNetwork:
    """A trained network and what is known of it. This class serves models in files and in memory; runs know more.

    Args:
        name: to show.
        load: returns the model as it was trained: analog, if it was trained for hardware.
        handle: what `open_trained` finds it with again, from any folder and process; None: it is in memory only.

    Attributes:
        kind: "run", "preset" or "model".
        recipe: what trained it; None if that is not known.
        classes: names of its classes, as far as they are known.
        data: what is known of the data it was trained on: name, statement, folder, skip_corrupt ...
        origin: what is known of the training: seed, git_commit, finished, versions.
    """

    kind = "model"
    finished = True
    learned_on_devices = False
    """Whether its weights lie on devices already, which are one chip."""
    digital_name = "The same weights, digital"
    """What to call `float_model`."""
    instead = (
        "Measure it with `analognets evaluate` and --data FILE.npz, which holds `inputs` and `labels`, or in Python: "
        "an.deploy.program(model, chips=25).evaluate(test_data)."
    )
    """What to do with a network whose recipe is not known."""

    def __init__(self, name: str, load: Callable[[], keras.Model], handle: str | None = None) -> None:
        self.name = name
        self.handle = handle
        self.recipe: Recipe | None = None
        self.classes: tuple[str, ...] = ()
        self.data: dict[str, Any] = {}
        self.origin: dict[str, Any] = {}
        self._load = load

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.name}', handle={self.handle!r})"

    @functools.cached_property
    def model(self) -> keras.Model:
        """The model as it was trained: analog and calibrated if it was trained for hardware. Loaded once.

        Raises:
            RunError: the run has no such file, or it is broken.
            DataError: the file can't be read.
            PresetError: the preset is damaged or unsafe.
        """
        return self._load()

    @property
    def is_analog(self) -> bool:
        """Whether `model` has analog layers."""
        from analognets.layers import AnalogLayer

        return any(isinstance(layer, AnalogLayer) for layer in self.model._flatten_layers())

    def analog_model(self) -> keras.Model:
        """Return `model` if it is analog.

        Raises:
            ConversionError: it is not.
        """
        self.require("analog")
        return self.model

    def on_device_model(self) -> keras.Model:
        """Return the model with the devices it learned on; only a run has them.

        Raises:
            ConversionError: there are none.
            RunError: the file of the run is not there, or broken.
        """
        raise ConversionError(self._without_analog())

    def digital_model(self) -> keras.Model:
        """Return the plain Keras network with the weights of `model`."""
        return digital_twin(self.model)

    def float_model(self) -> keras.Model:
        """Return the float network: for a run that of stage 1, else `digital_model`."""
        return self.digital_model()

    def references(self) -> dict[str, Callable[[], keras.Model]]:
        """Return what chips are compared with, the first one foremost.

        Returns:
            "float": loads the network before training for hardware, if that is known; "digital": the same weights as on
            the chips, without converters.
        """
        return {"digital": self.digital_model}

    @functools.cached_property
    def frontend(self) -> Any:
        """The layer that makes features from raw data, or None."""
        return None

    @property
    def evaluation(self) -> Evaluation:
        """How it is measured unless told otherwise: as its recipe says."""
        return Evaluation() if self.recipe is None else self.recipe.evaluation

    @property
    def results(self) -> Path:
        """The folder for results of this network: that of the run, or `results/NAME` in the working directory."""
        return Path("results") / self.name

    def require(self, *wants: str) -> None:
        """Raise unless the network has what is wanted.

        Args:
            wants: "recipe": it is known which data it takes; "analog": it has an analog network; "chips": that, or the
                devices it learned on.

        Raises:
            ConversionError: it has not.
        """
        for want in wants:
            check_choice("open_trained", "wants", want, WANTS)
            if want == "recipe":
                self.known_recipe()
                continue
            if not self.is_analog and not (want == "chips" and self.learned_on_devices):
                raise ConversionError(self._without_analog())

    def known_recipe(self) -> Recipe:
        """Return the recipe, which says which data the network takes.

        Raises:
            ConversionError: there is none.
        """
        if self.recipe is None:
            raise ConversionError(
                f"The {self.kind} '{self.name}' holds no recipe, so it is not known which data it takes. {self.instead}"
            )
        return self.recipe

    def _without_analog(self) -> str:
        return (
            f"The {self.kind} '{self.name}' is a digital network, with nothing to programme into chips: it was not "
            "trained for hardware. Use one that was (`analognets zoo list`), or make it analog in Python: "
            "an.to_analog(model, 'aon_cim_8bit')."
        )

    def task(
        self,
        data: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        calibrate: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Task:
        """Load the data the network was trained on, or others in their place.

        Args:
            data: folder of real data, "synthetic", or None: from where the training had them.
            options: further options of the data set's loader.
            calibrate: False leaves out the training features that set converter ranges.
            progress: called with (done, total) while samples are read or made.

        Raises:
            ConversionError: there is no recipe.
            DataError: the folder is gone, or the data have other classes than the network was trained on.
        """
        from analognets.datasets.registry import for_folder, stand_in
        from analognets.zoo.tasks import prepare, with_data

        recipe = self.known_recipe()
        folder = self.data.get("folder") if data is None else data
        if data is None and folder is not None and not os.path.isdir(Path(folder)):
            raise DataError(
                f"The data this run was trained on were in '{folder}', which is gone. Name their new place with --data."
            )
        settings: dict[str, Any] = {"skip_corrupt": bool(self.data.get("skip_corrupt")), "calibrate": calibrate}
        try:
            task = prepare(with_data(recipe, data, options), data_dir=folder, progress=progress, **settings)
        except DataError as error:
            if folder is None:
                name = recipe.dataset.name
                made = " --data synthetic generates data instead." if for_folder(stand_in(name)) == name else ""
                error.add_note(f"It was trained on {name}: name its folder with --data DIR.{made}")
            raise
        if self.classes and list(task.data.classes) != list(self.classes):
            raise DataError(
                f"'{self.name}' was trained on other classes than those of {task.data.info.name}. Name the data it "
                "was trained on with --data."
            )
        return task


class TrainedRun(TrainedNetwork):
    """The network of a run.

    Args:
        run: from `Run.open`.
    """

    kind = "run"

    def __init__(self, run: Run) -> None:
        super().__init__(run.path.name or run.path.resolve().name, self._as_trained, str(run.path.resolve()))
        self.run = run
        self.recipe: Recipe = run.recipe
        self.data = run.record.get("data") or {}
        self.classes = tuple(self.data.get("classes") or ())
        self.origin = {key: run.record.get(key) for key in ("seed", "git_commit", "finished", "versions")}
        self.finished = run.finished
        self.learned_on_devices = run.recipe.learns_on_devices
        self.digital_name = "Weights as last read, digital" if self.learned_on_devices else "Float network, digital"

    def _as_trained(self) -> Any:
        return self.run.analog_model() if self.is_analog else self.run.float_model()

    @property
    def is_analog(self) -> bool:
        """Whether the recipe has a hardware-aware stage."""
        return self.recipe.hardware_aware is not None

    def float_model(self) -> keras.Model:
        """Load the network of stage 1, as it was before training for hardware.

        Raises:
            RunError: it is not there yet, or its file is broken.
        """
        return self.run.float_model()

    def references(self) -> dict[str, Callable[[], keras.Model]]:
        """Return what chips are compared with; weights that were learned on devices have no float network before."""
        digital = {"digital": self.float_model if self.learned_on_devices else self.digital_model}
        return digital if self.learned_on_devices else {"float": self.float_model, **digital}

    def on_device_model(self) -> keras.Model:
        """Load the network with the devices it learned on."""
        return self.run.on_device_model()

    @functools.cached_property
    def frontend(self) -> Any:
        """The layer that makes features from raw data."""
        from analognets.datasets.frontends import frontend

        options: dict[str, Any] = self.recipe.frontend.options
        return frontend(self.recipe.frontend.preset, **options)

    @property
    def results(self) -> Path:
        """The run's folder for results; made on first use."""
        return self.run.results

    def _without_analog(self) -> str:
        return (
            f"The run '{self.run.path}' has no analog network: its recipe leaves stage 2 out. Train that with "
            f"`analognets train --float-from {self.run.path}`."
        )

    def refuse_unfinished(self) -> None:
        """Raise a RunError that says how to go on, unless the run is finished."""
        if not self.finished:
            command = resume_command(
                self.run.path,
                data=self.data.get("folder"),
                float_from=self.data.get("float_from"),
                skip_corrupt=self.data.get("skip_corrupt", False),
            )
            status = self.run.status
            raise RunError(f"The run '{self.run.path}' is not finished (status: {status}). Go on with: {command}")


class TrainedPreset(TrainedNetwork):
    """The network of a preset.

    Args:
        preset: from `load_preset`.
        handle: what it was opened with.
    """

    kind = "preset"
    digital_name = "This preset's weights, digital"

    def __init__(self, preset: Preset, handle: str) -> None:
        super().__init__(preset.name, preset.model, handle)
        self.preset = preset
        self.recipe = preset.recipe
        self.data = preset.data
        self.classes = preset.classes
        origin = preset.record.origin
        self.origin = {**origin, "versions": origin.get("versions") or {"analognets": "unknown"}}

    @property
    def is_analog(self) -> bool:
        """Whether the preset has an analog network."""
        return self.preset.is_analog

    @functools.cached_property
    def frontend(self) -> Any:
        """The layer that makes features from raw data, or None."""
        return self.preset.frontend


def open_trained(
    source: Any,
    *,
    wants: Collection[str] = (),
    unfinished: bool = False,
    untrained: bool = False,
    instead: str | None = None,
) -> TrainedNetwork:
    """Open a trained network, whatever it lies in.

    Args:
        source: folder of a run, handle of a preset, path of a `.keras`, `.h5` or `.onnx` file, a `Run`, a `Preset`,
            or a Keras model.
        wants: what it must have: "recipe", "analog" or "chips", see `TrainedNetwork.require`.
        unfinished: take a run that is not finished, too.
        untrained: take the name of a network that needs no options, too; it gets fresh weights.
        instead: sentence on what to do with a network whose recipe is wanted and not known.

    Raises:
        RunError: there is nothing of that kind, or the run is not finished.
        UnknownNameError: no bundled preset has that name.
        PresetError: the preset is damaged or unsafe.
        DataError: a file can't be read, or a preset can't be downloaded.
        ConversionError: the network lacks what is wanted, or it is a run of spiking neurons, or no network at all.

    Examples:
        >>> trained = open_trained("analognet_kws.hwa_8bit")
        >>> trained.classes[:2], trained.analog_model().output_shape
        (('down', 'go'), (None, 12))
    """
    from analognets.zoo.presets.preset import Preset

    if isinstance(source, TrainedNetwork):
        found = source
    elif isinstance(source, Run):
        found = TrainedRun(source)
    elif isinstance(source, Preset):
        found = TrainedPreset(source, str(source.path.resolve()))
    elif isinstance(source, (str, Path)):
        found = _by_name(source, untrained)
    elif hasattr(source, "get_config"):
        found = TrainedNetwork(source.name, lambda: source)
    else:
        raise ConversionError(
            f"A trained network is given by a run, a preset, a model file or a Keras model. Received: {source!r}."
        )
    if isinstance(found, TrainedRun) and not unfinished:
        found.refuse_unfinished()
    if instead is not None:
        found.instead = instead
    found.require(*wants)
    return found


def _by_name(source: str | Path, untrained: bool) -> TrainedNetwork:
    """Open what a word of the command line, or a path, stands for."""
    from analognets.zoo.presets.files import INDEX, PLAIN_NAME
    from analognets.zoo.presets.handles import bundled
    from analognets.zoo.presets.registry import load_preset

    text, path = str(source), Path(source).expanduser()
    if os.path.exists(path / "run.json"):
        _refuse_spikes(path)
        return TrainedRun(Run.open(path))
    if path.suffix in MODEL_FILES:
        model = _read_file(path)
        return TrainedNetwork(model.name, lambda: model, str(path.resolve()))
    elsewhere = "://" in text or text in bundled()
    if elsewhere or os.path.exists(path / INDEX) or os.path.isfile(path):
        # Handles stand in recipes and reports, which are published; the cache finds a sha256 without a login.
        return TrainedPreset(load_preset(text), public_url(text) if elsewhere else str(path.resolve()))
    if os.path.isdir(path):
        raise RunError(f"'{path}' is neither a run nor a preset: it holds no 'run.json' and no '{INDEX}'.")
    if untrained:
        from analognets.zoo.tasks import plain_networks

        networks = plain_networks()
        if text in networks:
            return TrainedNetwork(text, networks[text])
        hint = "A run is given by its folder, a network of your own by its .keras file."
        raise UnknownNameError("network", text, [*networks, *bundled()], hint)
    if PLAIN_NAME.fullmatch(text) and not text.endswith(".zip"):
        raise UnknownNameError(
            "preset", text, bundled(), "A run is given by its folder, and there is none of this name."
        )
    error = RunError(
        f"There is no run in '{path}', which does not exist. Check the path, or train one with `analognets train`."
    )
    error.add_note("A preset can be named here too; `analognets zoo list` shows the bundled ones.")
    raise error


def _read_file(path: Path) -> Any:
    import analognets.layers  # noqa: F401  (registers the classes a model file names)
    from analognets.conversion import load_model

    if os.path.isfile(path) and zipfile.is_zipfile(path):
        import_classes(path)
    return load_model(path)


def _refuse_spikes(path: Path) -> None:
    """Raise if a run is one of spikes, which no chip of the accelerator runs."""
    from analognets.zoo.experiments.spiking_recipe import is_spiking

    if is_spiking(str(path / "recipe.yaml")):
        raise ConversionError(
            f"'{path}' is a run of spiking neurons, with no network for the accelerator. Its devices were read at "
            f"later times at the end of the training: see '{path / 'results'}'."
        )


def digital_twin(model: keras.Model) -> keras.Model:
    """Return a model with analog layers as a plain Keras network with the same weights; a plain one as it is."""
    from analognets.conversion import to_digital
    from analognets.layers import AnalogLayer

    return to_digital(model) if any(isinstance(layer, AnalogLayer) for layer in model._flatten_layers()) else model


def resume_command(
    folder: Path, *, data: str | None = None, float_from: Path | str | None = None, skip_corrupt: bool = False
) -> str:
    """Return the command that goes on with a run."""
    words = ["analognets", "train", "--recipe", str(folder / "recipe.yaml"), "--out", str(folder)]
    words += ["--data", data] if data else []
    words += ["--float-from", str(float_from)] if float_from else []
    words += ["--skip-corrupt"] if skip_corrupt else []
    return shlex.join(words)
