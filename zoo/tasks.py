"""From the names in a recipe to the objects of a training: model, data, front end."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

from analognets.core.config import names_a_file, yaml_names
from analognets.datasets.registry import for_folder, is_generated, stand_in
from analognets.errors import AnalogNetsError, InvalidArgumentError, RecipeError, UnknownNameError
from analognets.training.recipe import Recipe, load_recipe

__all__ = [
    "MODELS",
    "Task",
    "build_model",
    "check_fits",
    "evenly",
    "find_recipe",
    "list_recipes",
    "plain_networks",
    "prepare",
    "register_model",
    "with_data",
]

MODELS = {
    "analognet_kws": "analognets.zoo.networks.kws",
    "analognet_vww": "analognets.zoo.networks.vww",
    "bert_tiny": "analognets.zoo.networks.bert",
    "ds_cnn": "analognets.zoo.networks.baselines",
    "finetuned": "analognets.zoo.finetune",
    "gru_kws": "analognets.zoo.networks.kws_models",
    "keyword_transformer": "analognets.zoo.networks.kws_models",
    "lstm_kws": "analognets.zoo.networks.kws_models",
    "micronet_kws_m": "analognets.zoo.networks.baselines",
    "micronet_kws_s": "analognets.zoo.networks.baselines",
    "minilm": "analognets.zoo.networks.bert",
    "mlperf_ds_cnn": "analognets.zoo.networks.mlperf_tiny",
    "mlperf_mobilenet": "analognets.zoo.networks.mlperf_tiny",
    "mlperf_resnet8": "analognets.zoo.networks.mlperf_tiny",
    "mnist_cnn": "analognets.zoo.networks.digits",
    "mnist_gan": "analognets.zoo.networks.gan",
    "mnist_mlp": "analognets.zoo.networks.digits",
    "mobilenet_v1_025": "analognets.zoo.networks.baselines",
    "resnet15_kws": "analognets.zoo.networks.kws_models",
    "resnet32": "analognets.zoo.networks.resnet",
    "resnet8_kws": "analognets.zoo.networks.kws_models",
}
"""Networks that a recipe can name, and the module of each."""

SAMPLING = ("balance", "word_power", "steps", "mixup", "synthetic_speech")
"""What a recipe can say about how clips are drawn: arguments of `train_batches`, and `synthetic_speech`: the share of
synthetic clips in each class, as one number or by class, and options of their loader."""

SHARES = ("balance", "word_power")
"""Those of them that say how often each class and word comes."""

SYNTHETIC = "synthetic"
"""What a user says in the place of a folder for generated data."""

CALIBRATION_CLIPS = 1000
"""Most training clips or pictures that the converter ranges are set with, spread evenly over all of them."""


def register_model(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a network known by its function's name, so that recipes can name it; usable as a decorator.

    Args:
        function: function of (input_shape, *, classes, **options) at the top of a module, which returns a Keras model.

    Raises:
        InvalidArgumentError: it does not stand at the top of its module, or another network has its name.

    Examples:
        >>> def tiny(input_shape, *, classes, width=8):
        ...     inputs = keras.Input(input_shape)
        ...     x = keras.layers.Dense(width, activation="relu")(keras.layers.Flatten()(inputs))
        ...     return keras.Model(inputs, keras.layers.Dense(classes)(x))
        >>> register_model(tiny)((49, 10, 1), classes=12).output_shape
        (None, 12)
    """
    name, module = function.__name__, function.__module__
    if function.__qualname__ != name or MODELS.get(name, module) != module:
        raise InvalidArgumentError(
            f"A network is a function at the top of a module, with a name that no other network has. Received: "
            f"{function.__qualname__} of {module}."
        )
    MODELS[name] = module
    return function


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return yaml_names(resources.files("analognets.zoo") / "recipes")


def find_recipe(name: str, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """Read a recipe by its name or from a YAML file, and apply dotted overrides.

    Args:
        name: name of a packaged recipe ("-" counts as "_"), or the path of a file (anything with a "/" or ending in
            .yaml).
        overrides: such as "hardware_aware.epochs=2".

    Raises:
        UnknownNameError: no packaged recipe has that name.
        RecipeError: the file can't be read, or holds something that is not allowed.

    Examples:
        >>> recipe = find_recipe("kws", ["hardware_aware.epochs=2"])
        >>> recipe.model.name, recipe.hardware_aware.epochs
        ('analognet_kws', 2)
    """
    if names_a_file(name):
        return load_recipe(Path(name), overrides)
    name = name.replace("-", "_")
    if name not in list_recipes():
        raise UnknownNameError("recipe", name, list_recipes(), "A file is given by its path, such as ./mine.yaml.")
    return load_recipe(resources.files("analognets.zoo") / "recipes" / f"{name}.yaml", overrides)


def build_model(recipe: Recipe, *, classes: int, input_shape: tuple[int, ...]) -> Any:
    """Build the recipe's network.

    Raises:
        UnknownNameError: there is no such network.
        RecipeError: it does not take the recipe's options.
    """
    if recipe.model.name not in MODELS:
        raise UnknownNameError("model", recipe.model.name, MODELS)
    function = getattr(importlib.import_module(MODELS[recipe.model.name]), recipe.model.name)
    try:
        return function(input_shape, classes=classes, **recipe.model.options)
    except AnalogNetsError:
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"`model.options` does not fit '{recipe.model.name}': {error}.") from error


def plain_networks() -> dict[str, Callable[..., Any]]:
    """Return the builders of those networks of `MODELS` that need no options, by name."""
    builders = {name: getattr(importlib.import_module(module), name, None) for name, module in MODELS.items()}
    return {
        name: builder
        for name, builder in builders.items()
        if builder is not None
        and all(item.default is not item.empty for item in inspect.signature(builder).parameters.values())
    }


def check_fits(recipe: Recipe, network: Any) -> None:
    """Plan a network's conversion, or put it on devices once, as the recipe will, to find early what does not fit.

    Raises:
        AnalogNetsError: recipe, network and hardware do not fit.
    """
    from analognets.conversion import plan
    from analognets.training.optimizers import make_optimizer
    from analognets.training.stages import on_devices

    stage = recipe.hardware_aware
    if stage is not None:
        plan(network, stage.hardware.by_layer(), exempt=stage.exempt).check()
    if recipe.learns_on_devices:
        make_optimizer(recipe.float_stage, network.trainable_variables, steps_per_epoch=1, wrap=on_devices(recipe))


def with_data(recipe: Recipe, data: str | None, options: Mapping[str, Any] | None = None) -> Recipe:
    """Return a recipe on the data that a user puts in the place of its own.

    Args:
        recipe: what was, or will be, trained.
        data: "synthetic" for the generated data set of the same task; a folder, read as the recorded data set of the
            task; None: the recipe's data set. Options of another data set don't fit and go.
        options: further options of the data set's loader.

    Examples:
        >>> with_data(find_recipe("kws"), "synthetic").dataset.name
        'synthetic_speech'
    """
    if data is not None:
        name = (stand_in if data == SYNTHETIC else for_folder)(recipe.dataset.name)
        recipe = recipe if name == recipe.dataset.name else recipe.replace({"dataset": name})
    if options:
        merged = {**recipe.dataset.options, **options}
        recipe = recipe.replace({"dataset": {"name": recipe.dataset.name, "options": merged}})
    return recipe


def evenly(count: int, limit: int | None) -> list[int] | None:
    """Return which of `count` samples to take if at most `limit` are wanted, spread evenly; None for all of them."""
    if limit is None or limit >= count:
        return None
    return [number * count // limit for number in range(limit)]


@dataclasses.dataclass(frozen=True)
class Task:
    """A recipe with its objects: words in clips of sound, or what pictures show.

    Args:
        recipe: what it was made from.
        data: the data set, an `analognets.datasets.base.TaskData`.
        frontend: the `MFCC` or `Image` layer.
        model: builds the untrained network.
        training: the `TrainingData` that `analognets.training.train` takes.
    """

    recipe: Recipe
    data: Any
    frontend: Any
    model: Callable[[], Any]
    training: Any

    @property
    def samples(self) -> str:
        """What the data set is counted in: "clips" or "pictures"."""
        return "pictures" if self.data.kind == "image" else "clips"

    def features(self, split: str, limit: int | None = None) -> tuple[Any, Any]:
        """Return (features, labels) of "train", "validation" or "test", without augmentation.

        Args:
            split: which samples.
            limit: most of them, spread evenly; None: all.
        """
        from analognets.datasets.pipeline import features

        samples = self.data.splits[split]
        chosen = evenly(len(samples), limit)
        return features(samples if chosen is None else samples.select(chosen), self.frontend)

    def typical(self, count: int, seed: int = 0) -> Any:
        """Return features of training samples as a device in use meets them, without augmentation and labels.

        They are drawn in the shares of the classes that the recipe's batches have: statistics of a network that was
        trained on even shares don't fit samples of which a third are of one class.

        Args:
            count: how many, at least 1; with more than there are of a class some come again.
            seed: of the draw.
        """
        from analognets.datasets.pipeline import features, sample_epoch

        shares: dict[str, Any] = {name: self.recipe.sampling[name] for name in SHARES if name in self.recipe.sampling}
        order, _ = sample_epoch(self.data, batch_size=count, steps=1, seed=seed, **shares)
        return features(self.data.splits["train"].select(order[0]), self.frontend)[0]


def data_record(data: Any) -> dict[str, Any]:
    """Return what run.json says about the data."""
    record = {key: value for key, value in dataclasses.asdict(data.info).items() if value not in ("", ())}
    return {**record, "clips": {name: len(split) for name, split in data.splits.items()}, "classes": list(data.classes)}


def check_frontend(recipe: Recipe, frontend: Any, kind: str) -> None:
    """Raise a RecipeError unless a recipe's front end takes what its data set holds.

    Args:
        recipe: names both.
        frontend: made of the recipe.
        kind: what it takes, "audio" or "image".
    """
    from analognets.datasets.base import SAMPLE_RATE
    from analognets.datasets.registry import dataset_kind

    if kind == "audio" and getattr(frontend, "sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise RecipeError(
            f"Clips of data sets have {SAMPLE_RATE} samples a second, whatever their files have, and so must the front "
            f"end take them. Received: sample_rate {frontend.sample_rate} in `frontend`. Leave it out."
        )
    if dataset_kind(recipe.dataset.name) not in (kind, None):
        raise RecipeError(
            f"The front end '{recipe.frontend.preset}' takes {kind}, and the data set '{recipe.dataset.name}' holds "
            f"{dataset_kind(recipe.dataset.name)}. Set `frontend` to one that fits, such as "
            f"{'rgb_96' if kind == 'audio' else 'arm_40ms'}."
        )


def prepare(
    recipe: Recipe,
    *,
    data_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    calibrate: bool = True,
    skip_corrupt: bool = False,
    **options: Any,
) -> Task:
    """Load the recipe's data and make all objects of its training.

    Args:
        recipe: from `find_recipe`.
        data_dir: where the data set lies; None or "synthetic": where its loader looks by itself.
        progress: called with (done, total) while clips are read or made.
        calibrate: False leaves out the training features that set converter ranges, for evaluations.
        skip_corrupt: leave out what can't be read, if the data set is read from files.
        **options: further options of the data set's loader.

    Raises:
        UnknownNameError: the recipe names something that does not exist.
        RecipeError: an option does not fit.
        DataError: the data can't be read.

    Examples:
        >>> task = prepare(find_recipe("kws"), data_dir=speech)
        >>> features, labels = task.features("test")
        >>> task.samples, features.shape
        ('clips', (12, 49, 10, 1))
    """
    from analognets.datasets.augment import Augmentation
    from analognets.datasets.frontends import frontend as make_frontend
    from analognets.datasets.frontends import frontend_kind
    from analognets.datasets.image_augment import ImageAugmentation
    from analognets.datasets.pipeline import check_pipeline, eval_batches, features, train_batches
    from analognets.datasets.registry import load_dataset
    from analognets.training.progress import TrainingData

    check_pipeline()
    try:
        frontend = make_frontend(recipe.frontend.preset, **cast(dict[str, Any], recipe.frontend.options))
        kind = frontend_kind(frontend)
        change = ImageAugmentation if kind == "image" else Augmentation
        augmentation = change(**cast(dict[str, Any], recipe.augmentation))
    except AnalogNetsError:
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"An option of `frontend` or `augmentation` does not exist: {error}.") from error
    check_frontend(recipe, frontend, kind)
    for name in recipe.sampling:
        if name not in SAMPLING:
            raise UnknownNameError("option of `sampling`", name, SAMPLING)
    if skip_corrupt and not is_generated(recipe.dataset.name):
        options["on_corrupt"] = "skip"
    data_dir = None if data_dir == SYNTHETIC else data_dir
    data = load_dataset(recipe.dataset.name, data_dir, progress=progress, **{**recipe.dataset.options, **options})
    settings: dict[str, Any] = {"augmentation": augmentation, "batch_size": recipe.batch_size, **recipe.sampling}
    spoken = settings.pop("synthetic_speech", None)
    if spoken is not None:
        spoken = dict(spoken) if isinstance(spoken, Mapping) and "share" in spoken else {"share": spoken}
        share = spoken.pop("share")
        settings["extra"] = (load_dataset("synthetic_speech", None, progress=progress, **spoken), share)
    calibration = data.train.select(slice(None, None, max(1, math.ceil(len(data.train) / CALIBRATION_CLIPS))))
    training = TrainingData(
        train_batches=lambda epoch: train_batches(data, frontend, seed=recipe.seed, epoch=epoch, **settings),
        validation=eval_batches(data.validation, frontend, batch_size=recipe.batch_size),
        calibration=features(calibration, frontend)[0] if calibrate else None,
        info=data_record(data),
    )
    shape = cast(tuple[int, ...], frontend.compute_output_shape(data.train.inputs.shape)[1:])

    def model() -> Any:
        return build_model(recipe, classes=len(data.classes), input_shape=shape)

    return Task(recipe, data, frontend, model, training)
