"""Configs of Keras 2 said in the words of Keras 3, with the same meaning; what can't be said is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from analognets.errors import ConversionError
from analognets.layers.keras2 import hard_sigmoid_v2

__all__ = ["Translator", "is_model_kind"]

ANY: Any = object()
"""A value of an argument that says how something is computed, not what."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "adjustment": (None,),
    "causal": (False,),
    "experimental_autocast": ANY,
    "experimental_run_tf_function": ANY,
    "filters": (None,),
    "force_generator": ANY,
    "fused": ANY,
    "groups": (1,),
    "implementation": ANY,
    "input_dtype": ANY,
    "input_length": ANY,
    "noise_shape": (None,),
    "num_constants": (0, None),
    "ragged": (False,),
    "renorm": (False,),
    "renorm_clipping": ANY,
    "renorm_momentum": ANY,
    "rng_type": ANY,
    "robust_masking": (False,),
    "softmax_robust_masking": (False,),
    "sparse": (False,),
    "stateful": (False,),
    "time_major": (False,),
    "trainable": ANY,
    "type_spec": (None,),
    "unit_forget_bias": ANY,
    "use_resource": ANY,
    "virtual_batch_size": (None,),
}
"""Arguments that Keras 2 wrote and Keras 3 lacks, with the values at which the layer computes the same without."""
NEUTRAL_OF: dict[str, dict[str, tuple[Any, ...]]] = {
    kind: dict.fromkeys(("kernel_initializer", "kernel_regularizer", "kernel_constraint"), ANY)
    for kind in ("SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D")
} | {
    "MultiHeadAttention": dict.fromkeys(("query_shape", "key_shape", "value_shape"), ANY),
    "Attention": {},
    "AdditiveAttention": {"score_mode": ANY},
}
"""Such arguments of one class: a separable convolution of Keras 2 has no `kernel` that they could mean."""
RENAMED: dict[str, dict[str, str]] = {"LeakyReLU": {"alpha": "negative_slope"}}
ALIASES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D",
    "Convolution2DTranspose": "Conv2DTranspose", "SeparableConvolution2D": "SeparableConv2D",
    "BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization",
    "LSTMV2": "LSTM", "GRUV2": "GRU", "DenseV2": "Dense", "SyncBatchNormalization": "BatchNormalization",
}  # fmt: skip
OLD_DEFAULTS: dict[str, dict[str, Any]] = {
    "GRU": {"reset_after": False},
    "GRUCell": {"reset_after": False},
    "ConvLSTM1D": {"recurrent_activation": "hard_sigmoid"},
    "ConvLSTM2D": {"recurrent_activation": "hard_sigmoid"},
    "ConvLSTM3D": {"recurrent_activation": "hard_sigmoid"},
    "LeakyReLU": {"alpha": 0.3},
}
"""What an argument meant that an old file leaves out, where Keras 3 would take another value."""
CHANGED: dict[str, Callable[[Any], Any]] = {"hard_sigmoid": hard_sigmoid_v2}
"""Activations whose formula changed between Keras 2 and 3, as Keras 2 had them."""
REFUSED = {
    "RandomCrop": "Keras 2 cuts pictures to size when it infers, Keras 3 leaves them as they are. Rebuild the model "
    "with keras.layers.Resizing(height, width, crop_to_aspect_ratio=True) in its place",
}
"""Layers that compute something else in Keras 3, whatever their arguments."""
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    (kind, "interpolation"): ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area")
    for kind in ("Resizing", "UpSampling2D")
} | {("SeparableConv1D", "padding"): ("valid", "same")}
"""Values of an argument that Keras 3 computes as Keras 2 did; it refuses others late or not at all."""
MODELS = ("Functional", "Model", "Sequential")
INNER = ("layer", "backward_layer", "forward_layer", "cell", "cells")
OBJECTS = ("_initializer", "_regularizer", "_constraint")


def is_model_kind(name: Any) -> bool:
    """Whether a class name is that of a Keras model made of layers in its config."""
    return name in MODELS


class Translator:
    """One pass over the config of a model.

    Args:
        source: the file, for messages.
        old: whether Keras 2 wrote it.
        custom: classes and functions by the names that the file uses.

    Attributes:
        old_names: the names in the file of the layers that got another one, by the new one.
    """

    def __init__(self, source: str, old: bool, custom: Mapping[str, Any]) -> None:
        self.source = source
        self.old = old
        self.custom = {**keras.saving.get_custom_objects(), **custom}
        self.old_names: dict[str, str] = {}

    def model(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config of a model as Keras 3 reads it."""
        return self.layer(plain(config))

    def layer(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the entry of a layer, or of a model inside of a model."""
        kind, inside = str(item["class_name"]), item.get("config")
        if self.is_custom(item):
            if self.old and isinstance(inside, dict):
                item = {**item, "config": self.with_old_functions(kind, inside)}
            return item
        kind = ALIASES.get(kind, kind)
        if kind == "ThresholdedReLU" and isinstance(inside, dict):
            kind, inside = "ReLU", {"threshold" if key == "theta" else key: value for key, value in inside.items()}
        if isinstance(inside, list):  # a Sequential of Keras 2.1
            inside = {"name": "sequential", "layers": inside}
        if not isinstance(inside, dict):
            raise ConversionError(f"A layer ({kind}) of the model in '{self.source}' has no config.")
        if kind in MODELS and "layers" in inside:
            return self.nested(kind, item, inside)
        if not isinstance(getattr(keras.layers, kind, None), type):
            return item
        if not self.old:
            inside = self.tidied(kind, self.wrapped(inside))
        if "module" in item and not self.old:
            return {**item, "config": inside}
        rest = {key: value for key, value in item.items() if key not in ("build_config", "compile_config")}
        config = self.arguments(kind, inside) if self.old else inside
        return {**rest, "module": "keras.layers", "class_name": kind, "registered_name": None, "config": config}

    def is_custom(self, item: dict[str, Any]) -> bool:
        """Whether a class is one that the reader of the file, or a package, has given."""
        names = (item["class_name"], item.get("registered_name"))
        return any(isinstance(name, str) and name in self.custom for name in names)

    def wrapped(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a layer's config with the layers inside of it translated."""
        made = dict(config)
        for key in INNER:
            value = made.get(key)
            if isinstance(value, dict) and "class_name" in value:
                made[key] = self.layer(value)
            elif isinstance(value, list):
                made[key] = [self.layer(one) if isinstance(one, dict) and "class_name" in one else one for one in value]
        return made

    def tidied(self, kind: str, config: dict[str, Any]) -> dict[str, Any]:
        """Return a Keras 3 config without what Keras 2 wrote and Keras 3 lacks, where that says nothing."""
        accepted = arguments_of(getattr(keras.layers, kind))
        return {key: value for key, value in config.items() if key in accepted or not is_neutral(kind, key, value)}

    def arguments(self, kind: str, config: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a Keras 2 layer as those of its Keras 3 class.

        Raises:
            ConversionError: one says something that Keras 3 can't.
        """
        name = config.get("name", "?")
        if kind in REFUSED:
            raise ConversionError(f"Layer '{name}' ({kind}) of the model in '{self.source}': {REFUSED[kind]}.")
        made = {**OLD_DEFAULTS.get(kind, {}), **self.wrapped(config)}
        for before, after in RENAMED.get(kind, {}).items():
            value = made.pop(before, None)
            if value is not None:
                made.setdefault(after, value)
        if kind == "InputLayer" and "batch_input_shape" in made:
            made["batch_shape"] = made.pop("batch_input_shape")
        made.pop("batch_input_shape", None)
        if isinstance(made.get("dtype"), dict):
            made["dtype"] = policy_name(made["dtype"])
        if isinstance(made.get("name"), str):
            made["name"] = self.renamed(made["name"])
        if kind == "BatchNormalization" and isinstance(made.get("axis"), list) and len(made["axis"]) == 1:
            made["axis"] = made["axis"][0]
        made = self.with_old_functions(kind, made)
        accepted = arguments_of(getattr(keras.layers, kind))
        for key in [key for key in made if key not in accepted]:
            self.check_neutral(name, kind, key, made.pop(key))
        for key, value in made.items():
            choices = CHOICES.get((kind, key))
            if choices and value not in choices:
                raise ConversionError(
                    f"Layer '{name}' ({kind}) of the model in '{self.source}' computes what Keras 3 can't; {key} may "
                    f"be {', '.join(choices)}. Received: {key}={value!r}. Rebuild this layer in Python in another way."
                )
            if key.endswith(OBJECTS) and isinstance(value, dict) and isinstance(value.get("config"), dict):
                made[key] = {**value, "config": {k: v for k, v in value["config"].items() if k != "dtype"}}
        return made

    def check_neutral(self, name: str, kind: str, key: str, value: Any) -> None:
        """Raise a ConversionError if an argument that is left out says something."""
        if value is None or is_neutral(kind, key, value):
            return
        allowed = " or ".join(repr(one) for one in NEUTRAL.get(key, (None,)))
        raise ConversionError(
            f"Layer '{name}' ({kind}) of the model in '{self.source}' has an argument of Keras 2 that Keras 3 does not "
            f"know; only {key}={allowed} can be left out. Received: {key}={value!r}. Rebuild this layer in Python in "
            f"another way and load the weights, or give a class of your own as custom_objects={{'{kind}': ...}}."
        )

    def with_old_functions(self, kind: str, config: dict[str, Any]) -> dict[str, Any]:
        """Return a config whose activations are those of Keras 2, by whichever way they are written.

        Raises:
            ConversionError: an activation is not known.
        """
        made = dict(config)
        for key, value in config.items():
            if not key.endswith("activation"):
                continue
            name = value.get("config") if isinstance(value, dict) and value.get("class_name") == "function" else value
            if isinstance(value, dict) and "class_name" not in value:
                raise ConversionError(
                    f"`{key}` of layer '{config.get('name', '?')}' ({kind}) of the model in '{self.source}' is Python "
                    "code in a file, which is not run. Build the model in Python and load its weights."
                )
            if isinstance(value, dict) and not isinstance(name, str):
                made[key] = self.layer(value)
            if not isinstance(name, str):
                continue
            if self.known_function(name):
                made[key] = {"module": "builtins", "class_name": "function", "config": self.known_function(name),
                             "registered_name": "function"}  # fmt: skip
            elif name in CHANGED:
                made[key] = keras.activations.serialize(CHANGED[name])
            elif isinstance(getattr(keras.layers, name, None), type):  # "LeakyReLU" as an activation
                made[key] = self.layer({"class_name": name, "config": {}})
            else:
                self.check_activation(config.get("name", "?"), kind, key, name)
                made[key] = name
        return made

    def known_function(self, name: str) -> str | None:
        """Return the name under which a function is given or registered, if it is."""
        if callable(self.custom.get(name)):
            return name
        return next((known for known in self.custom if known.endswith(f">{name}")), None)

    def check_activation(self, layer: str, kind: str, key: str, name: str) -> None:
        """Raise unless Keras 3 has an activation of that name."""
        try:
            keras.activations.get(name)
        except (ValueError, TypeError):
            raise ConversionError(
                f"Layer '{layer}' ({kind}) of the model in '{self.source}' has a function that Keras does not know. "
                f"Received: {key}={name!r}. Give it as custom_objects={{'{name}': ...}}."
            ) from None

    def renamed(self, name: str) -> str:
        """Return a name without "/", which Keras 3 does not allow in one."""
        new = name.replace("/", "_")
        if new != name:
            self.old_names[new] = name
        return new

    def nested(self, kind: str, item: dict[str, Any], inside: dict[str, Any]) -> dict[str, Any]:
        """Return the entry of a model with its layers."""
        layers = [entry for entry in inside["layers"] if isinstance(entry, dict)]
        config: dict[str, Any] = {**inside, "layers": [self.layer(entry) for entry in layers]}
        if self.old:
            config.pop("build_config", None)
            if isinstance(config.get("dtype"), dict):
                config["dtype"] = policy_name(config["dtype"])
            if isinstance(config.get("name"), str):
                config["name"] = self.renamed(config["name"])
            if kind == "Sequential":
                config["layers"] = [*missing_input(layers), *config["layers"]]
            else:
                self.graph(config, layers)
        if "module" in item and not self.old:
            return {**item, "config": config}
        rest = {key: value for key, value in item.items() if key not in ("build_config", "compile_config")}
        kind = "Sequential" if kind == "Sequential" else "Model"
        return {**rest, "module": "keras", "class_name": kind, "registered_name": None, "config": config}

    def graph(self, config: dict[str, Any], old: list[dict[str, Any]]) -> None:
        """Translate the calls of a functional model, which count those of nested models from 1 in Keras 2."""
        first = {str(entry.get("name")): first_call(entry, old, config) for entry in old}
        kinds = {str(entry.get("name")): entry["class_name"] for entry in old}
        names = {name: self.renamed(name) for name in first}

        def place(value: Any, out: bool = False) -> list[Any]:
            name, node, tensor = value[:3]
            if out and kinds.get(name) in ("Functional", "Model"):
                node += 1  # Keras 3 still counts from 1 here
            return [names.get(name, name), node - first.get(name, 0), tensor]

        for entry in config["layers"]:
            nodes = entry.get("inbound_nodes") or []
            entry["inbound_nodes"] = [call_of(entry["class_name"], node, place) for node in nodes]
            if "name" in entry:
                entry["name"] = names.get(entry["name"], entry["name"])
        for key in ("input_layers", "output_layers"):
            made = mapped(config[key], lambda value: place(value, True))
            config[key] = made[0] if isinstance(made, list) and len(made) == 1 and not is_place(made) else made


def is_neutral(kind: str, key: str, value: Any) -> bool:
    """Whether an argument that Keras 3 lacks says nothing at this value."""
    silent = NEUTRAL_OF.get(kind, {}).get(key, NEUTRAL.get(key, ()))
    return silent is ANY or any(type(value) is type(one) and value == one for one in silent)


def plain(value: Any) -> Any:
    """Return a config with the tuples and shapes that Keras 2 marked as such written as lists."""
    if isinstance(value, dict):
        if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
            return [plain(one) for one in value["items"]]
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def policy_name(policy: dict[str, Any]) -> Any:
    """Return the name of a dtype policy that Keras 2 wrote with its loss scale."""
    config = policy.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else policy


def arguments_of(kind: type) -> set[str]:
    """Return the names of the arguments that a Keras class takes, those of its bases included."""
    names: set[str] = set()
    for one in kind.__mro__:
        if "__init__" not in vars(one):
            continue
        parameters = inspect.signature(one.__init__).parameters.values()  # type: ignore[misc]
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names - {"self", "args"}


def missing_input(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the input of a Sequential that is only told by its first layer."""
    first = layers[0].get("config") if layers else None
    if not isinstance(first, dict) or layers[0]["class_name"] == "InputLayer" or "batch_input_shape" not in first:
        return []
    shape = first["batch_input_shape"]
    if shape is None or layers[0]["class_name"] in MODELS:
        return []
    kind = "float32" if layers[0]["class_name"] != "Embedding" else "int32"
    config = {"batch_shape": shape, "dtype": kind, "name": f"{str(first.get('name')).replace('/', '_')}_input"}
    return [{"module": "keras.layers", "class_name": "InputLayer", "registered_name": None, "config": config}]


def is_place(value: Any) -> bool:
    """Whether a value names an output of a layer's call: [layer, call, output]."""
    return isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a structure of places with each changed."""
    if is_place(value):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(one, change) for key, one in value.items()}
    return [mapped(one, change) for one in value] if isinstance(value, list) else value


def places_in(value: Any) -> list[Any]:
    """Return all places in a structure."""
    found: list[Any] = []
    mapped(value, lambda one: found.append(one))
    return found


def first_call(entry: dict[str, Any], layers: list[dict[str, Any]], config: dict[str, Any]) -> int:
    """Return the number that Keras 2 gave the first call of a layer: 1 for a model, which has one of its own."""
    if not is_model_kind(entry["class_name"]):
        return 0
    everywhere = [*(one.get("inbound_nodes") for one in layers), config.get("output_layers")]
    used = {place[1] for place in places_in(everywhere) if place[0] == entry.get("name")}
    calls = len(entry.get("inbound_nodes") or [])
    inside = entry.get("config")
    held = inside.get("layers") if isinstance(inside, dict) else inside
    starts = isinstance(held, list) and held and isinstance(held[0], dict) and held[0].get("class_name") == "InputLayer"
    if 0 in used:
        return 0
    return 1 if calls in used or entry["class_name"] != "Sequential" or starts else 0


def call_of(kind: str, node: Any, place: Callable[[Any], list[Any]]) -> Any:
    """Return one call of a layer as Keras 3 writes it."""
    if isinstance(node, dict):
        return node
    kwargs: dict[str, Any] = {}
    for one in places_in(node):
        if len(one) == 4 and isinstance(one[3], dict):
            kwargs |= one[3]
    tensors = mapped(node, lambda one: tensor(place(one)))
    if isinstance(tensors, list) and len(tensors) == 1:
        tensors = tensors[0]
    kwargs = {key: mapped(value, lambda one: tensor(place(one))) for key, value in kwargs.items() if value is not None}
    layer = getattr(keras.layers, kind, None)
    recurrent = isinstance(layer, type) and issubclass(layer, (keras.layers.RNN, keras.layers.Bidirectional))
    if recurrent and isinstance(tensors, list):
        tensors, kwargs = tensors[0], {**kwargs, "initial_state": tensors[1:]}
    return {"args": [tensors], "kwargs": kwargs}


def tensor(place: list[Any]) -> dict[str, Any]:
    """Return an output of a layer as Keras 3 writes it; only where it comes from is read."""
    return {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": place}}
