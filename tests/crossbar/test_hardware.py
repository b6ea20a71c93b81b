"""The crossbar as frozen data: presets, configs, names."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import keras
import numpy as np
import pytest

from analognets import crossbar
from analognets.crossbar import Crossbar
from analognets.devices import PCM, GlobalDriftCompensation, IdealDevice, InputDriftCompensation, PCM14nm
from analognets.errors import InvalidArgumentError, UnknownNameError

CROSSBARS = [
    Crossbar(),
    Crossbar(rows=64, cols=32, device=IdealDevice(), dac_bits=None, adc_bits=None, drift_compensation=None),
    Crossbar(device=PCM14nm(devices_per_polarity=1), adc_gain="per_layer", adc_bits=5, name="mine", source="me"),
    Crossbar(drift_compensation=GlobalDriftCompensation(readout="all_ones")),
    Crossbar(drift_compensation="column"),
    *(Crossbar.from_preset(name) for name in crossbar.list_presets()),
]


def test_the_presets() -> None:
    names = ["aimc_reram", "aimc_standard", "aon_cim_4bit", "aon_cim_6bit", "aon_cim_8bit"]
    assert crossbar.list_presets() == names


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_a_preset_is_the_array_of_the_paper_and_cites_it(bits: int) -> None:
    hardware = Crossbar.from_preset(f"aon_cim_{bits}bit")
    assert (hardware.rows, hardware.cols, hardware.dac_bits, hardware.adc_bits) == (1024, 512, bits, bits)
    assert hardware.name == f"aon_cim_{bits}bit"
    assert hardware.device == PCM()
    assert hardware.adc_gain == "shared"
    rule = InputDriftCompensation if bits == 4 else GlobalDriftCompensation  # results/compensation.json
    assert hardware.drift_compensation == rule()
    assert "2111.06503" in hardware.source


@pytest.mark.parametrize("hardware", CROSSBARS)
def test_config_round_trips(hardware: Crossbar) -> None:
    config = json.loads(json.dumps(hardware.get_config()))
    assert Crossbar.from_config(config) == hardware
    assert crossbar.get(config) == hardware
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(hardware)))
    assert crossbar.get(serialized) == hardware


def test_numbers_of_numpy_become_plain_ones() -> None:
    hardware = Crossbar(rows=np.int64(8), cols=np.int32(4), dac_bits=np.int64(6))
    json.dumps(hardware.get_config())
    assert hardware == Crossbar(rows=8, cols=4, dac_bits=6)


def test_it_can_not_be_changed_but_replaced() -> None:
    hardware = Crossbar.from_preset("aon_cim_8bit")
    with pytest.raises(dataclasses.FrozenInstanceError):
        hardware.rows = 3  # type: ignore[misc]
    other = hardware.replace(adc_bits=6, device="ideal")
    assert (other.adc_bits, other.device, other.rows) == (6, IdealDevice(), 1024)
    assert hardware.adc_bits == 8
    with pytest.raises(UnknownNameError, match="Unknown crossbar setting. Did you mean 'adc_bits'"):
        hardware.replace(adc_bit=6)


def test_get_takes_names_configs_and_objects() -> None:
    hardware = Crossbar(rows=7)
    assert crossbar.get(hardware) is hardware
    assert crossbar.get("aon_cim_4bit").adc_bits == 4
    assert crossbar.get({"rows": 12}).rows == 12
    assert Crossbar(device="pcm").device == PCM()


@pytest.mark.parametrize("identifier", [None, 8, ["aon_cim_8bit"], keras.saving.serialize_keras_object(PCM())])
def test_what_is_no_hardware_is_one_sentence(identifier: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"Hardware must be a Crossbar, the name of a preset \(aimc_reram, aimc_standard"
    ):
        crossbar.get(identifier)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown hardware preset\. Did you mean 'aon_cim_8bit'\?"):
        crossbar.get("aon_cim_8bits")
    with pytest.raises(UnknownNameError, match="Did you mean 'rows'"):
        crossbar.get({"row": 12})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rows": 0}, "`rows` of Crossbar must be a whole number from 1"),
        ({"cols": 1.5}, "`cols` of Crossbar must be a whole number from 1"),
        ({"adc_bits": 1}, "`adc_bits` of Crossbar must be a whole number from 2 to 16. Received: adc_bits=1"),
        ({"dac_bits": 17}, "`dac_bits` of Crossbar must be a whole number from 2 to 16"),
        (
            {"adc_gain": "free"},
            "`adc_gain` of Crossbar must be one of 'shared', 'per_layer', 'fixed'. Received: adc_gain='free'",
        ),
        ({"drift_compensation": True}, "`drift_compensation` of Crossbar must be a GlobalDriftCompensation"),
        ({"drift_compensation": "globel"}, "Unknown drift compensation. Did you mean 'global'"),
        ({"device": "pmc"}, "Unknown device. Did you mean 'pcm'"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Crossbar(**settings)
