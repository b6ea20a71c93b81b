"""The non-idealities by name, and the order in which they act."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras

from analognets.crossbar import nonidealities as kinds
from analognets.crossbar.nonideality import NonIdeality
from analognets.errors import InvalidArgumentError, UnknownNameError

__all__ = ["get_nonideality", "in_order", "list_nonidealities"]

_KINDS: dict[str, tuple[type[NonIdeality], dict[str, Any]]] = {
    "input_noise": (kinds.InputNoise, {}),
    "stuck_at_zero": (kinds.StuckDevices, {"at": "zero"}),
    "stuck_at_g_max": (kinds.StuckDevices, {"at": "g_max"}),
    "stuck_at_random": (kinds.StuckDevices, {"at": "random"}),
    "ir_drop": (kinds.IRDrop, {}),
    "short_term_noise": (kinds.ShortTermNoise, {}),
    "adc_nonlinearity": (kinds.ADCNonlinearity, {}),
    "polarity_asymmetry": (kinds.PolarityAsymmetry, {}),
    "output_noise": (kinds.OutputNoise, {}),
    "adc_gain_spread": (kinds.ADCGainSpread, {}),
    "adc_offset_spread": (kinds.ADCOffsetSpread, {}),
}


def list_nonidealities() -> list[str]:
    """Return the names of all non-idealities in the order in which they act."""
    return list(_KINDS)


def get_nonideality(identifier: Any, **settings: Any) -> NonIdeality:
    """Return a non-ideality from an object, a name with settings or a config.

    Args:
        identifier: a `NonIdeality`; a name such as "ir_drop"; or what Keras serialized.
        **settings: arguments of the named kind; `strength` stands for its main one.

    Raises:
        UnknownNameError: no non-ideality has that name, or it has no such setting.
        InvalidArgumentError: the identifier is none of these, or a setting is missing or out of range.
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
        found = keras.saving.deserialize_keras_object(identifier)
    if not isinstance(found, NonIdeality):
        raise InvalidArgumentError(
            f"A non-ideality must be one of {', '.join(_KINDS)}, an object or a config. Received: {identifier!r}."
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
