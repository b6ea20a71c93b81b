"""What the study of topologies says in words follows from its figures, whichever way they come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import results_topologies, sensitivity_study

EFFECTS = ("output_noise", "adc_bits", "device_noise", "ir_drop")


def losses(**by_topology: tuple[float, ...]) -> pd.DataFrame:
    rows = [
        {"topology": name, "nonideality": effect, "loss": loss, "status": "ok"}
        for name, values in by_topology.items()
        for effect, loss in zip(EFFECTS, values, strict=True)
    ]
    return pd.DataFrame([*rows, {**rows[0], "nonideality": "dac_bits", "loss": None, "status": "failed"}])


def test_noise_on_signals_is_compared_with_noise_of_weights() -> None:
    found = sensitivity_study.claim_signals(losses(cnn=(0.3, 0.1, 0.1, 0.0), rnn=(0.05, 0.03, 0.01, 0.01)))
    assert found["answer"] == "yes" and found["mean_loss"]["inputs_and_outputs"]["cnn"] == pytest.approx(0.2)
    assert next(iter(found["effects_by_mean_loss"])) == "output_noise"
    found = sensitivity_study.claim_signals(losses(cnn=(0.3, 0.1, 0.1, 0.0), rnn=(0.01, 0.01, 0.05, 0.03)))
    assert found["answer"] == "no" and found["holds_for"] == {"cnn": True, "rnn": False, "all": True}


@pytest.mark.parametrize(("rnn", "answer"), [(0.1, "yes"), (0.9, "no")])
def test_the_recurrent_network_must_be_the_most_robust_by_both_methods(rnn: float, answer: str) -> None:
    first = losses(cnn=(0.3, 0.1, 0.1, 0.0), rnn=(0.05, 0.03, 0.01, 0.01))
    second = pd.DataFrame({"topology": ["cnn", "rnn"], "sensitivity": [0.5, rnn]})
    assert sensitivity_study.claim_recurrent(first, second)["answer"] == answer


def exemption(*rows: tuple[str, int, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["topology", "exempt", "normalized"])
    return table.assign(share=table["exempt"] / 20, enough=table["normalized"] >= 0.99)


def test_few_layers_must_be_enough_for_those_that_need_it() -> None:
    good = exemption(("rnn", 0, 1.0), ("rnn", 3, 1.0), ("cnn", 0, 0.97), ("cnn", 1, 0.98), ("cnn", 2, 0.99))
    found = sensitivity_study.claim_layers(good)
    assert found["answer"] == "yes"
    assert found["networks"]["cnn"]["layers_to_exempt"] == 2
    assert found["networks"]["cnn"]["share_of_weights"] == pytest.approx(0.1)
    assert sensitivity_study.claim_layers(exemption(("cnn", 0, 0.97), ("cnn", 9, 0.98)))["answer"] == "no"
    assert sensitivity_study.claim_layers(exemption(("cnn", 0, 0.97), ("cnn", 9, 0.99)))["answer"] == "no"
    assert sensitivity_study.claim_layers(exemption(("cnn", 0, 0.995)))["answer"] == "no network needs it"


def topologies() -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for topology, base in (("cnn", 0.85), ("rnn", 0.9)):
        for variant, gain in (("direct_mapping", 0.0), ("no_noise", 0.02), ("device", 0.03 if base < 0.9 else 0.01)):
            for at, seconds in (("1h", 3600), ("1y", 3e7)):
                star = 0.99 if variant == "device" and topology == "cnn" else 0.98
                rows.append(
                    {"topology": topology, "variant": variant, "at": at, "seconds": seconds, "mean": base + gain,
                     "standard_error": 0.001, "float_accuracy": 0.91, "normalized_accuracy": star, "chips": 15,
                     "classes": 12}
                )  # fmt: skip
    return pd.DataFrame(rows).assign(gaussian=0)


def test_the_order_of_trainings_is_said_as_it_is() -> None:
    table = topologies()
    gaussian = table[table["variant"] == "device"].assign(variant="gaussian")
    text = results_topologies.order(pd.concat([table, gaussian], ignore_index=True))
    assert "holds after 1h for: CNN; after 1y for: CNN." in text
    assert "reached by" not in text, "without intervals that count the test clips nothing is claimed of A*"
    assert (
        "| CNN | hardware-aware, noise of the devices | 91.00 | 88.00 ± 0.21 | 88.00 ± 0.21 | 99.0 ± 0.3 | 99.0 ± 0.3 |"
        in (results_topologies.accuracy_table(table))
    )


def test_the_part_grows_with_its_results(tmp_path: Path) -> None:
    assert results_topologies.parts(tmp_path) == []
    first = losses(cnn=(0.3, 0.1, 0.1, 0.0), rnn=(0.05, 0.03, 0.01, 0.01))
    second = pd.DataFrame({"topology": ["cnn", "rnn"], "sensitivity": [0.5, 0.2]})
    result = {
        "chips": 15,
        "chips_method_2_and_layers": 5,
        "test_clips_limit": 636,
        "claims": [
            sensitivity_study.claim_signals(first),
            sensitivity_study.claim_recurrent(first, second),
            sensitivity_study.claim_layers(exemption(("cnn", 0, 0.97), ("cnn", 2, 0.99), ("rnn", 0, 1.0))),
        ],
    }
    (tmp_path / "sensitivity.json").write_text(json.dumps(result))
    (tmp_path / "topologies.json").write_text(json.dumps([{"data": {"clips": {"test": 1272}}}]))
    text = "\n".join(results_topologies.parts(tmp_path))
    assert "636 of 1272 test clips" in text
    assert "**Yes**: mean loss 12.0 % against 3.0 %" in text
    assert "CNN A* 97.0 % as it is, 99.0 % with 2 exempt layers (10.0 % of weights); GRU A* 100.0 % as it is" in text


def test_a_choice_is_told_with_its_intervals() -> None:
    rows = [
        {"topology": "cnn", "variant": variant, "at": "1h", "mean": mean, "loss": 100 * (0.92 - mean)}
        for variant, mean in (("device", 0.91), ("wide_ranges", 0.9))
    ]
    table = pd.DataFrame(rows).assign(loss_low=lambda t: t["loss"] - 0.5, loss_high=lambda t: t["loss"] + 0.5)
    text = results_topologies.choice(table)
    assert "| narrow, free input ranges (the recipe) | 1h | 91.00 | +1.00 ± 0.50 |" in text
    assert "| wide input ranges | 1h | 90.00 | +2.00 ± 0.50 |" in text
