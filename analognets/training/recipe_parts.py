"""Parts of recipes: the kinds of values, and the sections that more than one stage has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field, JsonValue

from analognets.core.checked import Section, is_none
from analognets.units import parse_duration

if TYPE_CHECKING:
    from analognets.crossbar import Crossbar, HardwareByLayer

__all__ = ["FrontEnd", "Hardware", "Named", "OnDevice"]

Count = Annotated[int, Field(ge=0, le=100_000)]
Positive = Annotated[int, Field(ge=1, le=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(ge=0.1, le=100)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Bits = Annotated[
    Annotated[int, Field(ge=2, le=16)] | Literal["ideal"] | None,
    Field(description="a whole number of bits from 2 to 16, 'ideal', or null for the preset's own"),
]
Strategy = Annotated[
    Annotated[str, Field(pattern=r"^(mirrored(:[1-9][0-9]{0,3})?|multi_worker)$")] | None,
    Field(description="'mirrored', 'mirrored:N' for N devices, 'multi_worker', or null for one device"),
]
PositiveNumber = Annotated[float, Field(gt=0, le=1e9)]
Conductance = Annotated[float, Field(ge=0, le=1e6)]
Options = Annotated[dict[str, JsonValue], Field(description="a mapping of option names to values")]


def is_empty(value: Any) -> bool:
    """Whether a value holds nothing; such values are left out of plain data."""
    return not value


def _is_duration(value: str | float) -> str | float:
    parse_duration(value)
    return value


Duration = Annotated[str | float, AfterValidator(_is_duration), Field(description="a duration such as '1d' or '1y'")]
Durations = Annotated[list[str | float], AfterValidator(lambda values: [_is_duration(one) for one in values])]


class Named(Section):
    """Something that a registry knows by name; plain text is short for the name alone.

    Args:
        name: of the model or data set.
        options: keyword arguments for it.
    """

    name: Annotated[str, Field(min_length=1, description="a name")]
    options: Options = {}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class FrontEnd(Section):
    """The feature extraction before the network.

    Args:
        preset: name of the front end's preset; plain text for the whole section means this.
        options: keyword arguments that change the preset.
    """

    preset: Annotated[str, Field(min_length=1, description="the name of a preset")] = "arm_40ms"
    options: Options = {}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value


class HardwareSettings(Section):
    """What is changed in a crossbar; null keeps its own value.

    Args:
        preset: name of a hardware preset to begin with; plain text for the whole section means this.
        rows: word lines of a tile.
        cols: bit lines of a tile.
        dac_bits: DAC resolution, 2 to 16 bits, or "ideal".
        adc_bits: ADC resolution, 2 to 16 bits, or "ideal".
        adc_gain: "shared", one S for the chip, or "per_layer".
        device: name or config of the memory cell.
        drift_compensation: "global", "column", "input", "none", or the config of another rule.
    """

    preset: Annotated[str | None, Field(min_length=1, description="the name of a hardware preset")] = None
    rows: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    cols: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    dac_bits: Bits = None
    adc_bits: Bits = None
    adc_gain: Literal["shared", "per_layer"] | None = None
    device: Annotated[
        str | dict[str, JsonValue] | None, Field(description="the name or config of a device, or null")
    ] = None
    # Left out of a recipe's plain data where it is not used, so that older recipes keep their fingerprints.
    drift_compensation: Annotated[
        str | dict[str, JsonValue] | None,
        Field(description="'global', 'column', 'input', 'none', a config or null", exclude_if=is_none),
    ] = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value

    def crossbar(self, base: Crossbar | None = None) -> Crossbar:
        """Return the crossbar itself.

        Args:
            base: what is changed where no preset is named.

        Raises:
            UnknownNameError: there is no such preset.
        """
        from analognets.crossbar import changed_as_in_recipes

        return changed_as_in_recipes({"preset": self.preset, **self.given()}, base)

    def given(self) -> dict[str, Any]:
        """Return the settings that differ from the preset, as they are written."""
        names = [name for name in HardwareSettings.model_fields if name != "preset"]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from the preset, as `Crossbar.replace` takes them."""
        from analognets.crossbar import changes_as_in_recipes

        return changes_as_in_recipes(self.given())


BY_LAYER = "a mapping of layer names to 'digital', the name of a preset, or settings as those beside `layers`"


class Hardware(HardwareSettings):
    """The analog chip: a preset and what is changed in it, for all layers or for single ones.

    Args:
        preset: name of the hardware preset; plain text for the whole section means this.
        layers: by name or path of a layer, block or product: what is changed there in addition, or "digital". With a
            preset of its own nothing of the section's other settings counts there.
        rows, cols, dac_bits, ...: as in `HardwareSettings`.
    """

    preset: Annotated[str, Field(min_length=1, description="the name of a hardware preset")] = "aon_cim_8bit"
    layers: Annotated[
        dict[str, Literal["digital"] | HardwareSettings],
        Field(description=BY_LAYER, exclude_if=is_empty),
    ] = {}

    def described(self) -> str:
        """Return the preset and all that is changed, on one line."""
        whole = [self.preset, *(f"{name} {value}" for name, value in self.changes().items())]
        for name, one in self.layers.items():
            own = one if isinstance(one, str) else " ".join(f"{key} {value}" for key, value in one.changes().items())
            preset = "" if isinstance(one, str) or one.preset is None else f"{one.preset} "
            whole.append(f"{name}: {preset}{own}".strip())
        return ", ".join(whole)

    def by_layer(self) -> HardwareByLayer:
        """Return the crossbar of each layer, as `to_analog` takes it.

        Raises:
            UnknownNameError: there is no such preset.
        """
        from analognets.crossbar import HardwareByLayer

        default = self.crossbar()
        layers = {name: None if isinstance(one, str) else one.crossbar(default) for name, one in self.layers.items()}
        return HardwareByLayer(default, layers)


def _is_one(value: Hardware) -> Hardware:
    if value.layers:
        raise ValueError("learning on devices has the same hardware for all layers")
    return value


OneHardware = Annotated[Hardware, AfterValidator(_is_one), Field(description="hardware without `layers`")]


class OnDevice(Section):
    """Learning on the devices, in place of both stages: the rule of `float` moves chi instead of weights.

    Args:
        enabled: whether it is done; `analognets train --on-device` sets it.
        hardware: the chip that the trained arrays are evaluated on; its device is the one below.
        device: name or config of a pulsed device.
        epsilon, variables, devices_per_polarity, ...: as in `MixedPrecision`.

    Source: Nandakumar et al., arXiv 2001.11773.
    """

    enabled: bool = False
    hardware: OneHardware = Hardware()
    device: Annotated[str | dict[str, JsonValue], Field(description="the name or config of a pulsed device")] = (
        "pulsed_pcm"
    )
    epsilon: PositiveNumber | Literal["auto"] = "auto"
    variables: Annotated[str | list[str], Field(description="'kernels', 'all' or a list of path patterns")] = "kernels"
    devices_per_polarity: Annotated[int, Field(ge=1, le=64)] = 1
    weight_range: PositiveNumber | Literal["auto"] = "auto"
    # Left out of plain data where they are not used, so that older recipes keep their fingerprints.
    refresh_feedback: Annotated[bool, Field(exclude_if=(False).__eq__)] = False
    weight_range_sigma: Annotated[float, Field(ge=1e-3, le=1e3, exclude_if=(8.0).__eq__)] = 8.0
    conductance_range: PositiveNumber | None = None
    initial_conductance: Conductance = 0.0
    refresh_every: Positive | None = 100
    refresh_above: Conductance | None = None
    refresh_below: Conductance | None = None
    refresh_pulses: Annotated[int, Field(ge=1, le=20)] = 5
    read_every: Positive | None = 100
    seconds_per_step: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    max_pulses: Annotated[int, Field(ge=1, le=255)] = 10
    accumulate: bool = True

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `MixedPrecision`."""
        return self.model_dump(exclude={"enabled", "hardware"})
