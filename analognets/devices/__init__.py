"""The physics of one memory cell: conductances in uS in, conductances out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from analognets.core.config import FILE_HINT, names_a_file
from analognets.core.seeds import derive_seed
from analognets.devices.base import Device, State
from analognets.devices.device_files import read_device_file, write_device_file
from analognets.devices.drift_compensation import (
    ArrayDriftCompensation,
    ColumnDriftCompensation,
    Correction,
    DriftCompensation,
    GlobalDriftCompensation,
    InputDriftCompensation,
    get_drift_compensation,
    list_drift_compensations,
)
from analognets.devices.fitted import FittedDevice
from analognets.devices.ideal import IdealDevice
from analognets.devices.memristor import CuSiO2Memristor
from analognets.devices.parallel import ParallelDevices
from analognets.devices.pcm import PCM
from analognets.devices.pcm_14nm import PCM14nm
from analognets.devices.pulsed import PulsedDevice, PulsedLinear
from analognets.devices.pulsed_fitted import PulsedFitted
from analognets.devices.pulsed_pcm import PulsedPCM, PulsedStepPCM
from analognets.devices.reram import ReRAM
from analognets.devices.strengths import is_off
from analognets.devices.tabulated import TabulatedDevice
from analognets.errors import InvalidArgumentError, UnknownNameError, reading_config, shortened

if TYPE_CHECKING:
    from analognets.devices.fitting.fit import DeviceFit
    from analognets.devices.fitting.pulses.fit import PulsedFit

__all__ = [
    "PCM",
    "ArrayDriftCompensation",
    "ColumnDriftCompensation",
    "Correction",
    "CuSiO2Memristor",
    "Device",
    "DriftCompensation",
    "FittedDevice",
    "GlobalDriftCompensation",
    "InputDriftCompensation",
    "IdealDevice",
    "PCM14nm",
    "ParallelDevices",
    "PulsedDevice",
    "PulsedFitted",
    "PulsedLinear",
    "PulsedPCM",
    "PulsedStepPCM",
    "ReRAM",
    "State",
    "TabulatedDevice",
    "derive_seed",
    "deserialize",
    "fit",
    "get",
    "get_drift_compensation",
    "is_off",
    "list_devices",
    "list_drift_compensations",
    "register_device",
    "save",
    "serialize",
]

_DEVICES: dict[str, type[Device]] = {"ideal": IdealDevice, "pcm": PCM, "pcm_14nm": PCM14nm, "reram": ReRAM}
_DEVICES |= {"fitted": FittedDevice, "tabulated": TabulatedDevice}
_DEVICES |= {"cu_sio2_memristor": CuSiO2Memristor}
_DEVICES |= {"pulsed_linear": PulsedLinear, "pulsed_pcm": PulsedPCM, "pulsed_step_pcm": PulsedStepPCM}
_DEVICES |= {"pulsed_fitted": PulsedFitted}


def register_device(name: str, package: str = "Custom") -> Callable[[type], type]:
    """Return a decorator that makes a `Device` known by a name, as in recipes, and to Keras' files.

    Args:
        name: of the device.
        package: what Keras puts in front of the class's name in files.

    Raises:
        InvalidArgumentError: what is decorated is no `Device`, or another class has its name.

    Examples:
        >>> import dataclasses
        >>> @register_device("leaky", package="Docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Leaky(IdealDevice):
        ...     '''A device of one's own.'''
        >>> get("leaky").g_max
        25.0
    """

    def register(kind: type) -> type:
        if not issubclass(kind, Device):
            raise InvalidArgumentError(f"A device must be a class derived from Device. Received: {kind!r}.")
        other = _DEVICES.get(name, kind)
        if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
            raise InvalidArgumentError(
                f"The device '{name}' is {other.__qualname__} of {other.__module__}. Received: {kind.__qualname__} of "
                f"{kind.__module__}. Give it another name."
            )
        _DEVICES[name] = kind
        return keras.saving.register_keras_serializable(package=package)(kind)

    return register


def list_devices() -> list[str]:
    """Return the names that `get` knows.

    Examples:
        >>> "pcm" in list_devices()
        True
    """
    return sorted(_DEVICES)


@reading_config("a device")
def get(identifier: Any, **settings: Any) -> Device:
    """Return a device from a name, a file, a config or a device.

    Args:
        identifier: "pcm", "pcm_14nm", "reram" or "ideal"; the path of a YAML file that `save` wrote, with a "/" or
            ending in .yaml; what `serialize` returned; or a `Device`, which is returned as it is.
        **settings: arguments of the named device; without them it has its default settings, or those of its file.

    Raises:
        UnknownNameError: no device has that name, or it has no such setting.
        InvalidArgumentError: the identifier is none of these, the file can't be read, or settings came without a name.

    Examples:
        >>> get("pcm", read_noise_scale=0.0).read_noise_scale
        0.0
    """
    if settings and not isinstance(identifier, str):
        raise InvalidArgumentError(
            "Settings of a device go with its name; change a device object with dataclasses.replace. "
            f"Received: {shortened(identifier)} with {', '.join(settings)}."
        )
    if isinstance(identifier, Device):
        return identifier
    if isinstance(identifier, str) and names_a_file(identifier):
        return _from_file(identifier, settings)
    if isinstance(identifier, str):
        if identifier not in _DEVICES:
            raise UnknownNameError("device", identifier, _DEVICES, FILE_HINT)
        kind = _DEVICES[identifier]
        known = [field.name for field in dataclasses.fields(kind) if field.init]
        for name in settings:
            if name not in known:
                raise UnknownNameError(f"setting of device '{identifier}'", name, known)
        return kind(**settings)
    if isinstance(identifier, dict):
        return deserialize(identifier)
    raise InvalidArgumentError(
        f"A device must be a Device object, one of the names {', '.join(list_devices())}, the path of a device "
        f"file, or a serialized device. Received: {shortened(identifier)}."
    )


def _from_file(path: str, settings: dict[str, Any]) -> Device:
    identifier, stored = read_device_file(path)
    if isinstance(identifier, dict):
        device = deserialize(identifier)
        return dataclasses.replace(device, **stored, **settings) if stored or settings else device
    if names_a_file(identifier):
        raise InvalidArgumentError(
            f"The device file '{path}' must name a device, not another file. Received: device: {identifier}."
        )
    return get(identifier, **{**stored, **settings})


def save(device: Device, path: str | os.PathLike[str]) -> None:
    """Write a device as a YAML file that `get` reads, and that hardware and recipes can name as their `device`.

    Args:
        device: any device.
        path: of the file, ending in .yaml.

    Raises:
        InvalidArgumentError: the path does not end in .yaml, or what is given is no device.
        RunError: the file can't be written.

    Examples:
        >>> save(PCM(read_noise_scale=0.5), "quiet.yaml")
        >>> get("quiet.yaml").read_noise_scale
        0.5
    """
    if not isinstance(device, Device) or not os.fspath(path).endswith((".yaml", ".yml")):
        raise InvalidArgumentError(
            "A device is saved as a YAML file; give a Device and a path that ends in .yaml. Received: "
            f"{type(device).__name__} and {shortened(os.fspath(path))}."
        )
    names = [name for name, kind in _DEVICES.items() if kind is type(device)]
    if names:
        write_device_file(path, names[0], device.get_config())
    else:
        write_device_file(path, serialize(device))


def serialize(device: Device) -> dict[str, Any]:
    """Return a device as plain data that JSON and YAML can hold.

    Examples:
        >>> serialize(IdealDevice(g_max=10.0))["config"]
        {'g_max': 10.0}
    """
    return keras.saving.serialize_keras_object(device)


@reading_config("a device")
def deserialize(config: dict[str, Any]) -> Device:
    """Return the device that `serialize` turned into plain data.

    Raises:
        InvalidArgumentError: the data is not that of a device.

    Examples:
        >>> deserialize(serialize(IdealDevice(g_max=10.0)))
        IdealDevice(g_max=10.0)
    """
    try:
        device = keras.saving.deserialize_keras_object(config) if "class_name" in config else None
    except TypeError:  # Keras does not know the class, or the class not the settings
        device = None
    if not isinstance(device, Device):
        raise InvalidArgumentError(
            f"The data is not a serialized device. Received: {shortened(config)}. Make it with "
            "analognets.devices.serialize; a class of your own is made known by analognets.devices.register_device."
        )
    return device


def fit(table: Any, **options: Any) -> DeviceFit | PulsedFit:
    """Return the device that measured cells are best described by, and how well its constants are known.

    Tables of targets, conductances and times give a `FittedDevice`, tables of pulse curves a `PulsedFitted`. See
    `analognets.devices.fitting.fit.fit_device`, which takes the same arguments.

    Examples:
        >>> fit(cells, replicates=20).laws["read_noise"]
        'power of g'
    """
    from analognets.devices.fitting.fit import fit_device

    return fit_device(table, **options)
