"""The non-idealities by name, and the order in which they act."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, dataclass_transform

import keras

from analognets.crossbar.nonideality import NonIdeality
from analognets.errors import InvalidArgumentError, UnknownNameError, reading_config, shortened

__all__ = ["get_nonideality", "in_order", "list_nonidealities", "register_nonideality", "registered_kind"]

_KINDS: dict[str, tuple[type[NonIdeality], Mapping[str, Any]]] = {}


@dataclass_transform(frozen_default=True)
def register_nonideality(package: str = "Custom") -> Callable[[type], type]:
    """Return a decorator that makes a `NonIdeality` a frozen dataclass, known by its name and to Keras' files.

    It acts after those that are registered already. From then on it can be named in `Crossbar.with_strength`, in
    sweeps and studies, and on the command line of a program that has registered it.

    Args:
        package: what Keras puts in front of the class's name in files.

    Raises:
        InvalidArgumentError: it is no class of that kind, or another class has its name.

    Examples:
        >>> from typing import ClassVar
        >>> @register_nonideality("my_lab")
        ... class Crosstalk(NonIdeality):
        ...     deviation: float
        ...     name: ClassVar[str] = "crosstalk"
        >>> get_nonideality("crosstalk", strength=0.1).strength
        0.1
    """

    def register(kind: type) -> type:
        if not issubclass(kind, NonIdeality):
            raise InvalidArgumentError(f"A non-ideality must be a class derived from NonIdeality. Received: {kind!r}.")
        kind = dataclasses.dataclass(frozen=True)(kind)
        variants: Mapping[str, Mapping[str, Any]] = kind.variants or {kind.name: {}}  # type: ignore[dict-item]
        for name, settings in variants.items():
            other = _KINDS.get(name, (kind, {}))[0]
            if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
                raise InvalidArgumentError(
                    f"The non-ideality {name} is {other.__qualname__} of {other.__module__}. Received: "
                    f"{kind.__qualname__} of {kind.__module__}. Give it another name."
                )
            _KINDS[name] = kind, settings
        return keras.saving.register_keras_serializable(package=package)(kind)

    return register


def list_nonidealities() -> list[str]:
    """Return the names of all non-idealities in the order in which they act.

    Examples:
        >>> list_nonidealities()[-3:]
        ['output_noise', 'adc_gain_spread', 'adc_offset_spread']
    """
    return list(_KINDS)


def registered_kind(name: str) -> tuple[type[NonIdeality], Mapping[str, Any]]:
    """Return the class of a name of `list_nonidealities`, and the settings that the name stands for."""
    return _KINDS[name]


@reading_config("a non-ideality")
def get_nonideality(identifier: Any, **settings: Any) -> NonIdeality:
    """Return a non-ideality from an object, a name with settings or a config.

    Args:
        identifier: a `NonIdeality`; a name such as "ir_drop"; or what Keras serialized.
        **settings: arguments of the named kind; `strength` stands for its main one.

    Raises:
        UnknownNameError: no non-ideality has that name, or it has no such setting.
        InvalidArgumentError: the identifier is none of these, or a setting is missing or out of range.

    Examples:
        >>> get_nonideality("ir_drop", strength=2.0)
        IRDrop(factor=2.0, wire_resistance=0.35, conductance=5.0, polynomial=(0.5, -0.2, 0.05))
    """
    if isinstance(identifier, str):
        if identifier not in _KINDS:
            raise UnknownNameError("non-ideality", identifier, _KINDS)
        kind, fixed = _KINDS[identifier]
        if "strength" in settings:
            settings[kind.strength_field] = settings.pop("strength")
        fields = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in fixed}
        for name in settings:
            if name not in fields:
                raise UnknownNameError(f"setting of {identifier}", name, fields)
        for name, default in fields.items():
            if default is dataclasses.MISSING and name not in settings:
                raise InvalidArgumentError(f"The non-ideality {identifier} needs `{name}`. Received: {settings}.")
        return kind(**settings, **fixed)
    found = identifier
    if isinstance(identifier, dict) and "class_name" in identifier:
        with contextlib.suppress(TypeError):  # Keras does not know the class, or the class not the settings
            found = keras.saving.deserialize_keras_object(identifier)
    if not isinstance(found, NonIdeality):
        raise InvalidArgumentError(
            f"A non-ideality must be one of {', '.join(_KINDS)}, an object or a config. Received: "
            f"{shortened(identifier)}."
        )
    return found


def in_order(nonidealities: Iterable[NonIdeality]) -> tuple[NonIdeality, ...]:
    """Return non-idealities in the order in which they act.

    input noise, stuck devices, product, IR drop, short-term noise, ADC non-linearity, polarity asymmetry, output noise,
    gain and offset of the ADC. A kind of one's own acts after these.

    Raises:
        InvalidArgumentError: one is there twice.

    Source: the order of aihwkit's forward pass (verified); gain and offset are ours.
    """
    found = list(nonidealities)
    names = [nonideality.name for nonideality in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidArgumentError(f"A crossbar has each non-ideality once. Received twice: {', '.join(twice)}.")
    order = list_nonidealities()
    return tuple(sorted(found, key=lambda one: order.index(one.name) if one.name in order else len(order)))
