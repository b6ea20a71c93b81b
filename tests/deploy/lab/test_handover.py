"""Hand-over to a chip: targets out, measured conductances in, and what is said about files that don't fit."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from analognets.conversion import to_analog
from analognets.core.files import file_sha256
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.lab import format as form
from analognets.deploy.lab.orientation import check_orientation
from analognets.deploy.lab.plain import read_plain_readings
from analognets.deploy.lab.recording import record_measurement, record_simulated
from analognets.devices import PCM14nm
from analognets.errors import ChipFileError, ConversionError, DataWarning, InvalidArgumentError, UnknownNameError
from analognets.layers import analog_layers


@pytest.fixture(scope="module")
def nets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_nets", Path(__file__).parents[1] / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def chips(make: Callable[..., keras.Model]) -> Chips:
    """Return two chips whose layers are cut in both directions."""
    return program(make("pcm", rows=20, cols=3), 2, seed=3)


@pytest.fixture(scope="module")
def exported(chips: Chips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chips.export_targets(tmp_path_factory.mktemp("handover") / "targets")


@pytest.fixture(scope="module")
def simulated(chips: Chips, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("lab") / "measured"))
    record_simulated(folder, chips, at="1d")
    return folder


@pytest.fixture
def targets(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "targets"))


@pytest.fixture
def measured(simulated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(simulated, tmp_path / "measured"))


def index_of(folder: Path, name: str = "index.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text("utf-8"))


def change(folder: Path, edit: Callable[[dict[str, Any]], None], name: str = "index.json") -> None:
    index = index_of(folder, name)
    edit(index)
    (folder / name).write_text(json.dumps(index), "utf-8")


def never_measured(folder: Path, chips: Chips) -> Chips:
    """Return the one chip of a folder without measurements, of which it warns."""
    with pytest.warns(DataWarning, match=r"holds no measured\.json: the chip has its targets exactly"):
        return Chips.import_measured(folder, chips.model)


def test_targets_come_back_as_the_very_model(chips: Chips, exported: Path, samples: np.ndarray) -> None:
    ideal = never_measured(exported, chips)
    assert len(ideal) == 1
    wanted = chips.model.predict(samples, verbose=0)
    np.testing.assert_array_equal(ideal.predict(samples, at=0), wanted)
    for layer, read in zip(chips.layers, ideal.chips[0].read(chips.layers, 0), strict=True):
        np.testing.assert_array_equal(np.asarray(read.kernel), np.asarray(layer.crossbar_kernel()))
        assert (read.scales == 1).all()


def test_a_measured_chip_computes_as_the_chip_that_was_measured(
    chips: Chips, simulated: Path, samples: np.ndarray
) -> None:
    labels = chips.model.predict(samples, verbose=0).argmax(1)
    lab = Chips.import_measured(simulated, chips.model)
    ours, theirs = (made.evaluate((samples, labels), at="1d", drift_compensation="both") for made in (chips, lab))
    columns = ["chip", "seconds", "drift_compensation", "accuracy"]
    assert ours[columns].equals(theirs[columns])
    assert not np.array_equal(lab.predict(samples, chip=0, at="1d"), lab.predict(samples, chip=1, at="1d"))
    for one, other in zip(chips.chips[1].read(chips.layers, "1d"), lab.chips[1].read(chips.layers, "1d"), strict=True):
        np.testing.assert_allclose(np.asarray(one.kernel), np.asarray(other.kernel), atol=1e-6)
        np.testing.assert_allclose(one.scales, other.scales, rtol=1e-5)


def test_devices_that_are_off_are_measured_so(make: Callable[..., keras.Model], tmp_path: Path) -> None:
    chips = program(make("pcm", inactive_device="off"), 1, seed=3)
    record_simulated(chips.export_targets(tmp_path / "targets"), chips, at="1d")
    [lab] = Chips.import_measured(tmp_path / "targets", chips.model)
    for stored, measured in zip(chips.chips[0].layers, lab.readings[0].conductances, strict=True):
        off = stored.state["pinned"] == 0
        assert 0.4 < off.mean() < 0.6
        assert not measured[off].any()
    for one, other in zip(chips.chips[0].read(chips.layers, "1d"), lab.read(chips.layers, "1d"), strict=True):
        np.testing.assert_allclose(np.asarray(one.kernel), np.asarray(other.kernel), atol=1e-6)


def test_later_than_measured_devices_drift_on_as_the_mean_device(chips: Chips, simulated: Path) -> None:
    lab = Chips.import_measured(simulated, chips.model).chips[0]
    with pytest.raises(InvalidArgumentError, match="first measured 1d after programming.*Ask for at=86400 or later"):
        lab.read(chips.layers, "1h")
    layer, measured = chips.layers[2], lab.readings[0].conductances[2]
    device = layer.crossbar.device
    later = np.asarray(lab.read(chips.layers, "100d")[2].kernel)
    g = measured / device.g_max
    exponent = np.asarray(device.drift_moments(g, np.log(np.maximum(g, 1e-9)))[0])
    wanted = measured * 100.0**-exponent
    weights = (wanted[0] - wanted[1]) * lab.layers[2].weight_max / device.g_max
    np.testing.assert_allclose(later, weights, rtol=1e-3, atol=1e-6)
    assert np.abs(later).sum() < np.abs(np.asarray(lab.read(chips.layers, "1d")[2].kernel)).sum()


def test_several_readings_and_references(chips: Chips, simulated: Path, exported: Path, targets: Path) -> None:
    tiles = {tile["name"]: np.load(targets / tile["file"]) for tile in index_of(targets)["tiles"]}
    weaker = {name: 0.5 * values for name, values in tiles.items()}
    record_measurement(targets, tiles, seconds=25.0, chip=7)
    record_measurement(targets, weaker, seconds=3600.0, chip=7)
    [lab] = Chips.import_measured(targets, chips.model)
    assert (lab.number, [reading.seconds for reading in lab.readings]) == (7, [25.0, 3600.0])
    early, late = lab.read(chips.layers, "25s"), lab.read(chips.layers, "1h")
    for one, other in zip(early, late, strict=True):
        np.testing.assert_allclose(0.5 * np.asarray(one.kernel), np.asarray(other.kernel), rtol=1e-6)
        np.testing.assert_allclose(one.scales, 1.0, rtol=1e-5)
        np.testing.assert_allclose(other.scales, 2.0, rtol=1e-3)
    with pytest.raises(ChipFileError, match="reading of chip 7 at 25 s already"):
        record_measurement(targets, tiles, seconds=25.0, chip=7)
    record_measurement(targets, weaker, seconds=60.0, chip=8, reference="first_reading")
    other = Chips.import_measured(targets, chips.model).chips[1]
    assert all(np.allclose(read.scales, 1.0) for read in other.read(chips.layers, 60))


def test_both_indexes_follow_the_published_schema(simulated: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `dev`")
    schema = json.loads((simulated / form.SCHEMA).read_text("utf-8"))
    assert schema == form.json_schema(), "write it anew: handover_format.write_schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in ("index.json", "measured.json"):
        validator.validate(index_of(simulated, name))
        spoilt = {**index_of(simulated, name), "format": 2}
        assert not validator.is_valid(spoilt)


def test_tiles_hold_every_weight_once_within_the_bounds(chips: Chips, exported: Path) -> None:
    index = index_of(exported)
    cells = 0
    for tile in index["tiles"]:
        values = np.load(exported / tile["file"])
        assert values.shape == (2, 1, tile["rows"], tile["cols"])
        assert 0 <= values.min() and values.max() <= index["chip"]["g_max_us"] * (1 + 1e-12)
        assert (values.min(axis=0) == 0).all(), "one device of each pair rests"
        assert tile["row"] + tile["rows"] <= index["chip"]["rows"] == 20
        assert tile["col"] + tile["cols"] <= index["chip"]["cols"] == 3
        cells += tile["rows"] * tile["cols"]
    assert cells == sum(layer.crossbar_kernel().shape.num_elements() for layer in chips.layers)
    assert len({(tile["array"], tile["row"], tile["col"]) for tile in index["tiles"]}) == len(index["tiles"])


def test_settings_are_those_of_the_layers(chips: Chips, exported: Path) -> None:
    index = index_of(exported)
    digital = load_file(exported / "digital.safetensors")
    for layer, entry in zip(chips.layers, index["layers"], strict=True):
        assert entry["dac"]["range"] == pytest.approx(float(layer.input_range.value))
        assert entry["adc"]["range"] == pytest.approx(float(layer.adc_range()))
        assert entry["adc"]["step"] == pytest.approx(float(layer.adc_range()) / 127)
        unit = entry["dac"]["range"] * entry["weight_max"]
        assert entry["adc"]["full_scale_us"] == pytest.approx(25 * entry["adc"]["range"] / unit, rel=1e-5)
        if layer.use_bias:
            np.testing.assert_array_equal(digital[entry["bias"]], layer.bias.numpy())
        else:
            assert entry["bias"] is None
    assert index["layers"][0]["followed_by"][0].startswith("batch_normalization")
    assert {name: list(value.shape) for name, value in digital.items()} == index["digital"]["variables"]
    assert [step["layer"] for step in index["schedule"]] == [layer.name for layer in chips.layers]
    for before, after in zip(index["schedule"], index["schedule"][1:], strict=False):
        assert after["start_ns"] == pytest.approx(before["start_ns"] + before["time_ns"])
    passes = index["schedule"][0]["positions"] * len(index["schedule"][0]["tiles"])
    assert index["schedule"][0]["passes"] == passes


def test_a_reader_of_the_files_computes_what_the_network_does(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    inputs = draw.normal(size=(40, 6)).astype("float32")
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="relu", bias_initializer="ones")])
    analog = to_analog(net, "aon_cim_8bit", calibrate_on=inputs)
    [layer] = analog_layers(analog)
    plain = index_of(program(analog, 1).export_targets(tmp_path / "plain"))["layers"][0]
    assert plain["activation"] == "relu" and "adapter" not in plain
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(draw.normal(size=(2, 3)))
    folder = program(analog, 1).export_targets(tmp_path / "lora")
    index, digital = index_of(folder), load_file(folder / "digital.safetensors")
    [entry] = index["layers"]
    values = np.load(folder / index["tiles"][0]["file"])[:, 0]
    kernel = (values[0] - values[1]) * entry["weight_max"] / index["chip"]["g_max_us"]

    def converted(x: np.ndarray, converter: dict[str, float]) -> np.ndarray:
        return converter["step"] * np.round(np.clip(x, -converter["range"], converter["range"]) / converter["step"])

    results = converted(converted(inputs, entry["dac"]) @ kernel, entry["adc"])
    adapter = entry["adapter"]
    results += adapter["scale"] * inputs @ digital[adapter["a"]] @ digital[adapter["b"]]
    outputs = {"relu": lambda y: np.maximum(y, 0.0)}[entry["activation"]](results + digital[entry["bias"]])
    np.testing.assert_allclose(outputs, analog.predict(inputs, verbose=0), atol=1e-4)


def test_several_devices_share_a_polarity(make: Callable[..., keras.Model], tmp_path: Path) -> None:
    made = program(make(PCM14nm()), 1)
    made.export_targets(tmp_path / "two")
    tile = index_of(tmp_path / "two")["tiles"][0]
    values = np.load(tmp_path / "two" / tile["file"])
    assert values.shape[1] == 2
    np.testing.assert_array_equal(values[:, 0], values[:, 1])
    with pytest.warns(DataWarning, match="holds no measured"):
        [ideal] = Chips.import_measured(tmp_path / "two", made.model)
    kernel = np.asarray(ideal.read(made.layers, 0)[0].kernel)
    np.testing.assert_array_equal(kernel, np.asarray(made.layers[0].crossbar_kernel()))


def spoil(folder: Path, number: int, values: Callable[[np.ndarray], Any], kind: str = "index.json") -> None:
    """Change a tile's file, and its checksum in the index with it."""

    def edit(index: dict[str, Any]) -> None:
        name = index_of(folder)["tiles"][number]["name"]
        entry = index["tiles"][number] if kind == "index.json" else index["chips"][0]["readings"][0]["tiles"][name]
        path = folder / entry["file"]
        np.save(path, values(np.load(path)))
        entry["sha256"] = file_sha256(path)

    change(folder, edit, kind)


@pytest.mark.parametrize("kind", ["index.json", "measured.json"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda g: np.where(g > 0, np.nan, g), "must hold finite conductances"),
        (lambda g: g - 1, "must lie from 0 to"),
        (lambda g: g + 60, "must lie from 0 to"),
        (lambda g: g[:, :, :-1], r"must be numbers of shape \(2, 1, "),
        (lambda g: g.astype("complex64"), "must be numbers of shape"),
    ],
)
def test_conductances_out_of_range_are_refused_with_the_name_of_the_tile(
    chips: Chips, measured: Path, kind: str, values: Callable[[np.ndarray], Any], message: str
) -> None:
    if kind == "index.json":
        (measured / "measured.json").unlink()
    spoil(measured, 2, values, kind)
    name = index_of(measured)["tiles"][2]["name"]
    with pytest.raises(ChipFileError, match=f"ile '{name}'.*{message}"):
        Chips.import_measured(measured, chips.model)


def test_changed_and_missing_files_are_refused_with_the_name_of_the_tile(chips: Chips, measured: Path) -> None:
    tile = index_of(measured)["tiles"][1]["name"]
    path = measured / index_of(measured, "measured.json")["chips"][0]["readings"][0]["tiles"][tile]["file"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ChipFileError, match=f"tile '{tile}'.*sha256 differs"):
        Chips.import_measured(measured, chips.model)
    path.unlink()
    with pytest.raises(ChipFileError, match=f"Tile '{tile}' is missing"):
        Chips.import_measured(measured, chips.model)
    change(measured, lambda index: index["chips"][0]["readings"][0]["tiles"].pop(tile), "measured.json")
    with pytest.raises(ChipFileError, match=f"Tile '{tile}' of chip 0 at 86400 s is missing"):
        Chips.import_measured(measured, chips.model)


@pytest.mark.parametrize("file", ["../outside.npy", "/etc/passwd", "tiles/../../outside.npy", "link.npy"])
def test_no_file_outside_of_the_folder_is_opened(chips: Chips, targets: Path, file: str) -> None:
    np.save(targets.parent / "outside.npy", np.zeros(3))
    (targets / "link.npy").symlink_to(targets.parent / "outside.npy")
    change(targets, lambda index: index["tiles"][0].update(file=file))
    with pytest.raises(ChipFileError, match="file of tile 'conv_1/0' leads out of"):
        Chips.import_measured(targets, chips.model)


def test_no_pickle_is_opened(chips: Chips, targets: Path) -> None:
    spoil(targets, 0, lambda g: np.array([{"code": 1}], dtype=object))
    with pytest.raises(ChipFileError, match="file of tile 'conv_1/0'.*is no .npy file of numbers"):
        Chips.import_measured(targets, chips.model)


def test_tiles_that_overlap_or_are_left_out_are_refused(chips: Chips, targets: Path, exported: Path) -> None:
    change(targets, lambda index: index["tiles"].pop(0))
    with pytest.raises(ChipFileError, match="Tiles of layer 'conv_1' are missing"):
        Chips.import_measured(targets, chips.model)
    change(targets, lambda index: index["tiles"].append(dict(index_of(exported)["tiles"][0], outputs=[40, 42])))
    with pytest.raises(ChipFileError, match="Tile 'conv_1/0' does not fit into layer 'conv_1'"):
        Chips.import_measured(targets, chips.model)


def test_another_model_or_other_converters_are_refused(
    chips: Chips, exported: Path, make: Callable[..., keras.Model], nets: ModuleType
) -> None:
    other = make("pcm", rows=20, cols=3, net=lambda: nets.small_net(seed=5))
    with pytest.raises(ChipFileError, match="are of other weights"):
        Chips.import_measured(exported, other)
    same = make("pcm", rows=20, cols=3)
    analog_layers(same)[1].input_range.assign(9.0)
    with pytest.raises(ChipFileError, match="Layer 'conv_2' of model .* has other converters"):
        Chips.import_measured(exported, same)


def test_what_an_index_must_be(chips: Chips, targets: Path, tmp_path: Path) -> None:
    with pytest.raises(ChipFileError, match=r"index.json' can't be read.*chips.export_targets"):
        Chips.import_measured(tmp_path / "nowhere", chips.model)
    change(targets, lambda index: index["chip"].update(g_max_us=-1))
    with pytest.raises(ChipFileError, match="`chip.g_max_us`: Input should be greater than 0.*handover.schema.json"):
        Chips.import_measured(targets, chips.model)
    (targets / "index.json").write_text("{", "utf-8")
    with pytest.raises(ChipFileError, match="is not valid"):
        Chips.import_measured(targets, chips.model)


def test_nothing_is_overwritten_unasked_and_measurements_never(chips: Chips, targets: Path, measured: Path) -> None:
    before = sorted(path.name for path in targets.rglob("*"))
    with pytest.raises(ChipFileError, match="Say overwrite=True"):
        chips.export_targets(targets)
    chips.export_targets(targets, overwrite=True)
    assert sorted(path.name for path in targets.rglob("*")) == before
    with pytest.raises(ChipFileError, match="holds measurements, which are never overwritten"):
        chips.export_targets(measured, overwrite=True)
    (targets.parent / "mine").mkdir()
    with pytest.raises(ChipFileError, match="Only exported targets are overwritten"):
        chips.export_targets(targets.parent / "mine", overwrite=True)
    with pytest.raises(ChipFileError, match="keep the folder they were imported from"):
        never_measured(targets, chips).save(targets.parent / "saved")
    assert sorted(path.name for path in targets.parent.iterdir()) == ["measured", "mine", "targets"]


def test_a_wrong_measurement_leaves_nothing_behind(chips: Chips, targets: Path) -> None:
    tiles = {tile["name"]: np.load(targets / tile["file"]) for tile in index_of(targets)["tiles"]}
    before = sorted(targets.rglob("*"))
    with pytest.raises(ChipFileError, match="Tile 'conv_2/0' must be numbers of shape"):
        record_measurement(targets, {**tiles, "conv_2/0": np.zeros(3)}, seconds=1.0)
    with pytest.raises(ChipFileError, match="Give conductances in uS, not in S"):
        record_measurement(targets, {name: 1e-6 * values for name, values in tiles.items()}, seconds=1.0)
    with pytest.raises(UnknownNameError, match="Unknown tile. Did you mean 'conv_1/0'"):
        record_measurement(targets, {**tiles, "conv_1/00": tiles["conv_1/0"]}, seconds=1.0)
    with pytest.raises(UnknownNameError, match="Unknown tile. Known: conv_1/0, .* Received: 'tile'"):
        record_measurement(targets, {"tile": tiles["conv_1/0"]}, seconds=1.0)
    with pytest.raises(InvalidArgumentError, match="`reference` of record_measurement must be"):
        record_measurement(targets, tiles, seconds=1.0, reference="programming")
    with pytest.raises(InvalidArgumentError, match="`seconds` of record_measurement"):
        record_measurement(targets, tiles, seconds=-1.0)
    assert [path for path in sorted(targets.rglob("*")) if path.name != "measured"] == before
    with pytest.warns(DataWarning, match="holds no measured"):
        [ideal] = Chips.import_measured(targets, chips.model)
    assert ideal.number == 0


def test_an_accelerator_with_other_row_blocks_is_refused(chips: Chips, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"'conv_2' is computed in 2 row blocks .* lies in 1 on 'aon_cim'"):
        chips.export_targets(tmp_path / "other", accelerator="aon_cim")
    assert not list(tmp_path.iterdir())


def test_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    layers = keras.layers
    block = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")], name="block")
    model = keras.Sequential([keras.Input((4,)), block, layers.Dense(3, name="same")])
    analog = to_analog(model, Crossbar(dac_bits=None, adc_bits=None))
    for layer in analog_layers(analog):
        layer.calibrated = True
    with pytest.raises(ConversionError, match="need names of their own"):
        program(analog, 1).export_targets(tmp_path / "x")


@pytest.fixture(scope="module")
def aged(simulated: Path) -> dict[str, np.ndarray]:
    """Return the tiles of chip 0 as read after a day, by name, (2, 1, rows, columns) in uS."""
    tiles = index_of(simulated, "measured.json")["chips"][0]["readings"][0]["tiles"]
    return {name: np.load(simulated / tile["file"]) for name, tile in tiles.items()}


def write_arrays(folder: Path, tiles: dict[str, np.ndarray], kind: str) -> Path:
    """Write tiles as a lab may: a file per tile, two per tile, or one table."""
    folder.mkdir(parents=True)
    lines = ["tile,row,col,g_plus_nS,g_minus_nS,time_s"]
    for name, values in tiles.items():
        stem = folder / name.replace("/", "_")
        if kind == "npy":
            np.save(f"{stem}.npy", values)
            continue
        plus, minus = values.sum(axis=1)
        if kind == "csv":
            np.savetxt(f"{stem}.csv", np.concatenate([plus, minus]), delimiter=",")
        elif kind == "pair":
            np.savetxt(f"{stem}_plus.csv", 1e-6 * plus, delimiter=";")
            np.savetxt(f"{stem}_minus.csv", 1e-6 * minus)
        lines += [f"{name},{r},{c},{1e3 * plus[r, c]},{1e3 * minus[r, c]},86400" for r, c in np.ndindex(plus.shape)]
    if kind == "table":
        (folder / "cells.csv").write_text("\n".join(lines), "utf-8")
        return folder / "cells.csv"
    return folder


def test_plain_arrays_give_the_chip_that_was_measured(
    chips: Chips, simulated: Path, aged: dict[str, np.ndarray], tmp_path: Path
) -> None:
    wanted = Chips.import_measured(simulated, chips.model).chips[0].read(chips.layers, "1d")
    ways: list[tuple[str, dict[str, Any]]] = [
        ("npy", {"seconds": "1d"}), ("csv", {"seconds": 86_400}), ("pair", {"seconds": "1d", "unit": "S"}),
        ("table", {}),
    ]  # fmt: skip
    for kind, options in ways:
        source = write_arrays(tmp_path / kind, aged, kind)
        [lab] = Chips.import_measured(source, chips.model, **options)
        for one, other in zip(lab.read(chips.layers, "1d"), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(one.kernel), np.asarray(other.kernel), atol=1e-6)
    table = (tmp_path / "table" / "cells.csv").read_text("utf-8")
    days = {"time_h": "24", "time [min]": "1440", "t_ms": "86400000", "time_d": "1", "Time_S": "86400"}
    for name, day in (days | {"time since programming (s)": "86400"}).items():
        text = table.replace("time_s", name).replace(",86400", f",{day}")
        (tmp_path / "table" / "other.csv").write_text(text, "utf-8")
        [lab] = Chips.import_measured(tmp_path / "table" / "other.csv", chips.model)
        assert [reading.seconds for reading in lab.readings] == [86_400], name
    (tmp_path / "table" / "other.csv").write_text(table.replace("time_s", "T_C"), "utf-8")
    [lab] = Chips.import_measured(tmp_path / "table" / "other.csv", chips.model, seconds="1d")
    assert [reading.seconds for reading in lab.readings] == [86_400], "a temperature is no time"
    (tmp_path / "table" / "other.csv").write_text(table.replace("time_s", "time_weeks"), "utf-8")
    with pytest.raises(ChipFileError, match="'time_weeks' of .* must have a unit of time: ms, s, min"):
        Chips.import_measured(tmp_path / "table" / "other.csv", chips.model)
    for number in (2, 5):
        write_arrays(tmp_path / "several" / f"chip_{number}_1d", aged, "npy")
    several = Chips.import_measured(tmp_path / "several", chips.model, reference="first_reading")
    assert [chip.number for chip in several] == [2, 5]
    assert (several.chips[0].read(chips.layers, "1d")[0].scales == 1).all()


def twins() -> tuple[Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return an index of two tiles of 20 x 8 with their targets, and the same as PCM after a day."""
    rng = np.random.default_rng(3)
    names = ["dense/0", "dense/1"]
    tiles = [SimpleNamespace(name=name, rows=20, cols=8, file=f"tiles/{name[-1]}.npy") for name in names]
    weights = {name: np.clip(rng.normal(0, 12.5, (20, 8)), -25, 25) for name in names}
    targets = {name: np.stack([np.maximum(w, 0), np.maximum(-w, 0)])[:, None] for name, w in weights.items()}
    read = {name: np.maximum(0.66 * v + rng.normal(0, 0.8, v.shape), 0) for name, v in targets.items()}
    return SimpleNamespace(chip=SimpleNamespace(g_max_us=25.0, devices_per_polarity=1), tiles=tiles), targets, read


def without_row(values: np.ndarray, place: int) -> np.ndarray:
    """Return a tile whose rows behind one moved up, the last one doubled."""
    return np.concatenate([np.delete(values, place, axis=2), values[:, :, -1:]], axis=2)


WRONG = {
    "has its polarities swapped": lambda v: v[::-1],
    "is transposed: its columns": lambda v: np.ascontiguousarray(v.swapaxes(2, 3)).reshape(v.shape),
    "is transposed and has its pol": lambda v: np.ascontiguousarray(v[::-1].swapaxes(2, 3)).reshape(v.shape),
    "rows in reverse order": lambda v: v[:, :, ::-1],
    "columns in reverse order": lambda v: v[..., ::-1],
    "misses 1 row at its start": lambda v: without_row(v, 0),
    "misses 1 row from row 9 on": lambda v: without_row(v, 9),
    "unit of tile .* seems to be nS, not uS": lambda v: 1e3 * v,
    "unit of tile .* seems to be S, not uS": lambda v: 1e-6 * v,
    "seems to hold resistances": lambda v: 1e3 / np.maximum(v, 1e-3),
    "is transposed: it has 20 rows .word lines. and 8 columns": lambda v: v.swapaxes(2, 3),
    "misses 1 of its 20 rows. Received: 19 rows": lambda v: v[:, :, 1:],
    "misses 2 of its 20 rows: rows 4, 7 hold no numbers": lambda v: np.where(
        np.isin(np.arange(20), (4, 7))[:, None], np.nan, v
    ),
    "misses 2 conductances, the first at row 3, column 1": lambda v: np.where(
        (np.arange(20) == 3)[:, None] & (np.arange(8) == 1), np.nan, v
    ),
    "must be numbers of shape": lambda v: v[0],
}


def test_what_is_wrong_with_plain_arrays_is_said(tmp_path: Path, exported: Path, aged: dict[str, np.ndarray]) -> None:
    index, targets, read = twins()
    name, other = targets
    for number, (said, change) in enumerate(WRONG.items()):
        source = write_arrays(tmp_path / str(number), {**read, name: change(read[name])}, "npy")
        with pytest.raises(ChipFileError, match=said):
            for reading in read_plain_readings(source, index, targets):
                check_orientation(index, targets, reading.tiles, "chip 0 at 1 s")
    check_orientation(index, targets, read, "chip 0 at 1 s")
    with pytest.raises(ChipFileError, match=f"Tile '{name}' of chip 0 at 1 s holds what belongs to tile '{other}'"):
        check_orientation(index, targets, {name: read[other], other: read[name]}, "chip 0 at 1 s")
    dead = read[name].copy()
    dead[:, :, 5] = 0
    with pytest.warns(DataWarning, match=f"Row 5 of tile '{name}' of chip 0 at 1 s read 0 in every device"):
        check_orientation(index, targets, {**read, name: dead}, "chip 0 at 1 s")
    noise = np.random.default_rng(0).uniform(0, 20, dead.shape)
    with pytest.warns(DataWarning, match="hardly follows its targets"):
        check_orientation(index, targets, {**read, name: noise}, "chip 0 at 1 s")
    swapped = next(tile for tile, values in aged.items() if values.size >= 60)
    with pytest.raises(ChipFileError, match="has its polarities swapped"):
        handed = Path(shutil.copytree(exported, tmp_path / "handed"))
        record_measurement(handed, {**aged, swapped: aged[swapped][::-1]}, seconds=1.0)


CELLS = st.lists(
    st.tuples(
        st.integers(0, 20), st.integers(0, 8), st.sampled_from(["1", "", "-1", "inf", "1e400", "nan", "x", "1e9"])
    ),
    max_size=6,
).map(lambda rows: "row,col,g_plus_uS,g_minus_uS\n" + "\n".join(f"{r},{c},{g},1" for r, c, g in rows))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | CELLS.map(str.encode), npy=st.booleans())
def test_any_content_is_read_or_refused(tmp_path: Path, content: bytes, npy: bool) -> None:
    index, targets, read = twins()
    index.tiles = index.tiles[:1]
    path = tmp_path / f"cells.{'npy' if npy else 'csv'}"
    path.write_bytes(content)
    with contextlib.suppress(ChipFileError):
        read_plain_readings(path, index, targets)
    whole = np.concatenate([[0.0, -1.0, np.inf, 1e300][len(content) % 4] * np.ones(1), np.ravel(read["dense/0"])[1:]])
    np.save(tmp_path / "cells.npy", whole.reshape(2, 20, 8))
    with contextlib.suppress(ChipFileError):
        [reading] = read_plain_readings(tmp_path / "cells.npy", index, targets)
        assert (reading.tiles["dense/0"] >= 0).all()


def test_what_is_wrong_with_files_of_plain_arrays(
    chips: Chips, exported: Path, aged: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder = write_arrays(tmp_path / "npy", aged, "npy")
    with pytest.raises(InvalidArgumentError, match="When were the arrays in .* read"):
        Chips.import_measured(folder, chips.model)
    with pytest.raises(InvalidArgumentError, match="`unit` of measured arrays must be one of 'S'"):
        Chips.import_measured(folder, chips.model, seconds=1, unit="A")
    with pytest.raises(InvalidArgumentError, match="`seconds` is for plain arrays"):
        Chips.import_measured(exported, chips.model, seconds=1)
    index = form.read_index(exported)
    targets = {tile.name: np.load(exported / tile.file) for tile in index.tiles}
    table = write_arrays(tmp_path / "table", aged, "table")
    text = table.read_text("utf-8")

    def said(content: str | bytes, message: str, file: str = "table/cells.csv") -> None:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ChipFileError, match=message):
            read_plain_readings((tmp_path / file) if file.startswith("table") else folder, index, targets)

    lines = text.splitlines()
    said("\n".join(lines[:-1]), "misses 1 of its|misses 2 conductances")
    said("\n".join([*lines, lines[-1]]), "stands more than once")
    said(text.replace("g_plus_nS", "g_plus_mS"), "The unit of tile .* seems to be nS, not mS")
    said(text.replace("g_plus_nS", "current_nA"), "has no column for plus. Needed: tile, row, col, g_plus_uS")
    said(text.replace("conv_1/0", "conv_9/0"), "names a tile 'conv_9_0' that does not exist")
    said(text.replace("86400", "-1"), "must hold times since programming")
    said(text.replace("conv_1/0,0,0,", "conv_1/0,0,x,"), "must hold numbers. Received: 'x' in row 2")
    said(lines[0], "must have 6 values. Received: no rows")
    said("1,2\n3,4", "One array is no measurement of")
    said(b"\xff\xfe", "is no UTF-8 text")
    said(b"not numpy", "is no .npy file of numbers", "npy/conv_1_0.npy")
    (folder / "conv_1_0.npy").unlink()
    said("1,2\n3", "must be equally long. Received: 2 numbers in row 1, and 1 in another", "npy/conv_1_0.csv")
    said("1,2\n3,y", "must hold numbers only", "npy/conv_1_0.csv")
    (folder / "conv_1_0.csv").unlink()
    np.save(folder / "conv_77_0.npy", np.zeros(3))
    with pytest.raises(ChipFileError, match="Tile 'conv_1/0' is missing in .* Needed: one of conv_1_0.npy"):
        read_plain_readings(folder, index, targets)
    np.save(folder / "conv_1_0.npy", aged["conv_1/0"])
    with pytest.raises(ChipFileError, match="conv_77_0.npy' is of no tile. Tiles are: conv_1_0"):
        read_plain_readings(folder, index, targets)
