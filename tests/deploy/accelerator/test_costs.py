"""Time and energy: laws that hold for any model, sums by hand, and the published figures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.deploy.accelerator import Accelerator, LayerWork, Workload, cost, load_accelerator
from analognets.deploy.accelerator.energy import TERMS
from analognets.errors import InvalidArgumentError

AON_CIM = load_accelerator("aon_cim")
layers = st.lists(
    st.tuples(st.sampled_from([1, 9]), st.integers(1, 200), st.integers(1, 300), st.integers(1, 50)),
    min_size=1,
    max_size=5,
)


def network(shapes: list[tuple[int, int, int, int]], times: int = 1) -> Workload:
    return Workload(
        "random",
        tuple(
            LayerWork(
                f"l{number}",
                "Conv2D",
                (window, inputs, outputs),
                window * inputs * outputs,
                times * positions,
                inputs,
                1,
                1,
            )
            for number, (window, inputs, outputs, positions) in enumerate(shapes)
        ),
    )


def constants(chip: Accelerator, **values: float) -> Accelerator:
    """Return the accelerator with only these energy constants."""
    energy = chip.model_dump()["energy"]
    for name, item in energy.items():
        item["value"] = values.get(name, 0.0)
    return chip.replace(energy=energy)


@settings(max_examples=15, deadline=None)
@given(layers, st.integers(2, 7), st.booleans())
def test_laws_of_any_network(shapes: list[tuple[int, int, int, int]], bits: int, overlapped: bool) -> None:
    whole = cost(network(shapes), bits=bits, overlapped=overlapped)
    starts = [layer.time.start_ns for layer in whole.layers]
    ends = [layer.time.end_ns for layer in whole.layers]
    assert starts == [0.0, *ends[:-1]], "one layer after the other"
    alone = [cost(network([shape]), bits=bits, overlapped=overlapped) for shape in shapes]
    assert whole.latency_us == pytest.approx(sum(one.latency_us for one in alone))
    assert whole.energy_uj == pytest.approx(sum(one.energy_uj for one in alone))
    assert whole.energy_uj == pytest.approx(sum(whole.energy_terms_uj.values()))
    assert whole.operations == sum(one.operations for one in alone)
    assert whole.tops == pytest.approx(whole.operations / whole.latency_us * 1e-6)
    assert whole.tops_per_watt == pytest.approx(whole.tops / (whole.power_mw * 1e-3))
    assert whole.tops <= AON_CIM.peak_tops(bits)
    thrice = cost(network(shapes, times=3), bits=bits, overlapped=overlapped)
    assert thrice.latency_us == pytest.approx(3 * whole.latency_us)
    assert thrice.energy_uj == pytest.approx(3 * whole.energy_uj)
    assert thrice.passes == 3 * whole.passes
    finer = cost(network(shapes), bits=bits + 1, overlapped=overlapped)
    assert finer.latency_us >= whole.latency_us and finer.energy_uj > whole.energy_uj, "more bits are never cheaper"


def test_energy_of_one_layer_by_hand() -> None:
    chip = constants(AON_CIM, static=2, row=3, adc=5, cell=7, control=11, result=13, sram=17, mac=19)
    work = Workload("one", (LayerWork("l", "Conv2D", (9, 10, 200), 18_000, 6, 30, 1, 1),))
    found = cost(work, chip, bits=6).layers[0].energy_pj
    time = 2 * 6 * 34  # 200 columns are two passes of 128 ADCs
    assert found == pytest.approx(
        {
            "static": 2 * time,  # mW ns
            "row": 3e-3 * 90 * time,  # uW ns
            "adc": 5e-3 * 200 * 6 * 34,  # each column is converted once
            "cell": 7e-6 * 90 * 200 * 6 * 34,
            "control": 11 * 12,
            "result": 13 * 200 * 6,
            "sram": 17 * (30 + 200) * 6 * 6 / 8,
            "mac": 0,
        }
    )


def test_energy_of_a_digital_layer_by_hand() -> None:
    chip = constants(AON_CIM, static=2, row=3, adc=5, cell=7, control=11, result=13, sram=17, mac=19)
    digital = LayerWork("dw", "DepthwiseConv2D", (9, 10, 10), 90, 6, 30, 1, 1, why_digital="by request")
    analog = LayerWork("a", "Dense", (4, 4), 16, 1, 4, 4, 4)
    of_model = cost(Workload("two", (digital, analog)), chip, bits=8)
    assert of_model.layers[0].energy_pj == pytest.approx(
        dict.fromkeys(TERMS, 0) | {"mac": 19 * 90 * 6, "result": 13 * 10 * 6, "sram": 17 * (30 + 10) * 6}
    )
    assert of_model.layers[0].time.time_ns == math.ceil(540 / 128) / 0.8
    assert of_model.layers[0].time.passes == 0
    assert of_model.passes == 1


def test_gating_saves_what_is_not_used(product: Callable[..., LayerWork]) -> None:
    part, full = Workload("part", (product("l", 100, 50),)), Workload("full", (product("l", 1024, 128),))
    gates = {name: AON_CIM.replace(gating={"rows": rows, "cols": cols}) for name, rows, cols in (
        ("both", True, True), ("rows", True, False), ("cols", False, True), ("none", False, False))}  # fmt: skip
    found = {name: cost(part, chip, bits=8).energy_terms_uj for name, chip in gates.items()}
    assert found["none"]["row"] == pytest.approx(found["rows"]["row"] * 1024 / 100)
    assert found["none"]["adc"] == pytest.approx(found["cols"]["adc"] * 128 / 50)
    assert found["rows"]["adc"] == found["none"]["adc"] and found["cols"]["row"] == found["none"]["row"]
    assert len({cost(full, chip, bits=8).energy_uj for chip in gates.values()}) == 1


def test_the_array_waits_for_a_slow_pipeline(product: Callable[..., LayerWork]) -> None:
    work = Workload("one", (product("l", 1000, 100, positions=10),))
    chip = AON_CIM
    digital = chip.model_dump()["digital"]
    digital["lanes"]["value"] = 1
    slow = chip.replace(digital=digital)
    array, pipeline = 10 * 130, 10 * (1000 + 100) / 0.8
    assert cost(work, chip, bits=8).latency_us == pytest.approx(1.3)
    assert cost(work, slow, bits=8).latency_us == pytest.approx(pipeline / 1e3)
    in_sequence = cost(work, slow, bits=8, overlapped=False)
    assert in_sequence.latency_us == pytest.approx((array + pipeline) / 1e3)
    assert in_sequence.layers[0].time.stall_ns == pytest.approx(pipeline)
    waiting = in_sequence.energy_terms_uj["static"] - cost(work, chip, bits=8).energy_terms_uj["static"]
    assert waiting == pytest.approx(chip.energy.static.value * pipeline / 1e6)


def test_arrays_at_once_save_time_and_no_energy(product: Callable[..., LayerWork]) -> None:
    work = Workload("tall", (product("l", 400, 50),))
    tiles = AON_CIM.replace(array={"rows": 100, "cols": 50}, adcs=50, arrays=4)
    one, all_ = (cost(work, tiles.replace(arrays_at_once=way), bits=8) for way in ("one", "all"))
    assert one.latency_us == pytest.approx(4 * all_.latency_us)
    assert one.energy_uj == pytest.approx(all_.energy_uj)
    assert one.passes == all_.passes == 4


@pytest.mark.parametrize(("bits", "tops"), [(8, 2.016), (6, 7.710), (4, 26.21)])
def test_peak_throughput_follows_from_array_converters_and_pass_time(bits: int, tops: float) -> None:
    assert AON_CIM.peak_tops(bits) == pytest.approx(tops, rel=5e-4)
    assert AON_CIM.pass_ns(bits) == {8: 130, 6: 34, 4: 10}[bits]


@pytest.mark.parametrize(
    ("name", "speed", "efficiency"), [("analognet_kws", 0.01, 0.03), ("analognet_vww", 0.05, 0.05)]
)
def test_published_figures(
    name: str, speed: float, efficiency: float, kws: Workload, vww: Workload, published: dict[str, Any]
) -> None:
    figures, work = published["models"][name], {"analognet_kws": kws, "analognet_vww": vww}[name]
    at_8 = cost(work, bits=8)
    assert at_8.utilisation == pytest.approx(figures["utilisation"]["value"], abs=0.005)
    assert at_8.passes == pytest.approx(figures["passes"]["value"], rel=speed)
    assert at_8.inferences_per_second == pytest.approx(figures["inferences_per_second"]["value"], rel=speed)
    for figure in figures["tops_per_watt"]:
        assert cost(work, bits=figure["bits"]).tops_per_watt == pytest.approx(figure["value"], rel=efficiency)


def test_a_cost_is_data_and_text(kws: Workload) -> None:
    of_model = cost(kws, "aon_cim", bits=4)
    free = cost(kws, constants(AON_CIM), bits=4)
    assert free.tops_per_watt == math.inf
    assert json.loads(json.dumps(free.to_dict(), allow_nan=False))["tops_per_watt"] is None
    data = json.loads(json.dumps(of_model.to_dict(), allow_nan=False))
    assert data["tops_per_watt"] == of_model.tops_per_watt
    assert sum(layer["energy_uj"] for layer in data["layers"]) == pytest.approx(of_model.energy_uj)
    assert data["constants"]["energy.row"]["unit"] == "uW"
    assert "at 4 bit" in str(of_model) and "calibrated" in str(of_model)
    assert of_model.activation_kb == pytest.approx((490 * 84 + 125 * 112) / 2 / 1024)
    with pytest.raises(dataclasses.FrozenInstanceError):
        of_model.bits = 8


def test_bits_come_from_the_analog_model(make: Callable[..., Any], nets: Any) -> None:
    assert cost(make(dac_bits=6, adc_bits=6)).bits == 6
    assert cost(make(adc_bits=6)).bits == cost(make(dac_bits=6)).bits == 8, "the wider converter sets the pass"
    assert cost(nets.small_net()).bits == 8


def test_bits_the_converters_do_not_have(kws: Workload) -> None:
    with pytest.raises(
        InvalidArgumentError, match="`bits` of accelerator 'aon_cim' must be a whole number from 2 to 8"
    ):
        cost(kws, bits=9)


def test_activations_that_do_not_fit_are_said(kws: Workload) -> None:
    sram = AON_CIM.model_dump()["sram"]
    small = cost(kws, AON_CIM.replace(sram={**sram, "value": 20.0}), bits=8)
    assert "Activations take 53.9 kB and the SRAM has 20 kB" in small.statement
    assert small.to_dict()["statement"] == small.statement
    assert "Activations" not in cost(kws, bits=8).statement


def test_factors_on_inputs_are_digital_products() -> None:
    """One product for each number that is fetched; time, cells and passes stay."""
    import keras

    from analognets.conversion import to_analog
    from analognets.crossbar import get

    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3), keras.layers.Flatten()])
    plain.add(keras.layers.Dense(4))
    costs = {
        rule: cost(to_analog(plain, get("aon_cim_8bit").replace(drift_compensation=rule)))
        for rule in ("global", "input")
    }
    fetched = sum(layer.work.positions * layer.work.fresh for layer in costs["input"].layers)
    assert fetched == 36 * 9 + 180, "of the convolution's window of three columns only one is new"
    more = costs["input"].energy_terms_uj["mac"] - costs["global"].energy_terms_uj["mac"]
    assert more == pytest.approx(fetched * AON_CIM.energy.mac.value * TERMS["mac"] * 1e-6)
    assert costs["input"].latency_us == costs["global"].latency_us
    assert costs["input"].statement.endswith(f"before the DACs: {fetched:,} digital products.")
    assert "digital products." not in costs["global"].statement


def test_the_width_of_a_cost_is_that_of_the_crossbar() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 4)), keras.layers.DepthwiseConv2D(3, name="dw"), keras.layers.Conv2D(4, 1, name="pw")]
    )
    found = cost(model, bits={"dw": 8, "pw": 4}, depthwise="digital")
    assert found.bits == 4
