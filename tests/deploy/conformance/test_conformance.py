"""Conformance bundles: the moments are right, each departure is found and named, ideal settings raise no alarm."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.deploy.conformance import Bundle, Law, ReferenceRunner, Rules, judge, observe, open_bundle, write_bundle
from analognets.deploy.conformance.law import RULES, draw_weights, weight_moments
from analognets.deploy.conformance.run_peer import PEERS, law_names
from analognets.deploy.conformance.runners import Observations
from analognets.errors import AnalogNetsError, ChipFileError, InvalidArgumentError, UnknownNameError

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "facts" / "pcm_reference.json"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_bundle(tmp_path_factory.mktemp("conformance") / "bundle"))


@pytest.mark.parametrize(
    "departure",
    [
        {},
        {"read_noise_reference": "programmed"},
        {"pair": "collapsed"},
        {"pair": "collapsed", "read_noise_reference": "programmed"},
        {"dac": "none", "adc": "unclipped", "drift_clock": "absolute"},
    ],
    ids=lambda one: "+".join(one) or "none",
)
def test_each_departure_is_found_and_named(bundle: Bundle, departure: dict[str, str]) -> None:
    verdict = judge(bundle, ReferenceRunner(Rules(**departure))(bundle))  # type: ignore[arg-type]
    assert {one.rule: one.found for one in verdict.departures} == departure, str(verdict)
    assert verdict.conforms == (not departure)
    assert not verdict.unexplained
    named = {rule for one in verdict.differences for rule in one.rule.split(" and ")}
    assert named == set(departure), "each departure has a difference of its own, and no difference another cause"
    assert json.loads(json.dumps(verdict.to_dict()))["statement"] == str(verdict)
    for rule, choice in departure.items():
        assert f"({rule}): '{choice}' instead of '{RULES[rule][0]}'" in str(verdict)


def test_ideal_settings_raise_no_alarm(bundle: Bundle) -> None:
    verdict = judge(bundle, ReferenceRunner(ideal=True)(bundle))
    assert verdict.conforms and verdict.compared == 1
    assert "Not compared: 8 (ideal settings" in str(verdict)


def test_our_own_devices_conform(bundle: Bundle) -> None:
    verdict = judge(bundle, observe(bundle, "analognets"))
    assert verdict.conforms and verdict.compared > 100, str(verdict)


def test_what_no_rule_explains_is_said_to_be_so(bundle: Bundle) -> None:
    found = ReferenceRunner()(bundle)
    arrays = dict(found.arrays)
    arrays["weights_programmed"] = 1.05 * arrays["weights_programmed"]
    arrays["product_quantised"] = arrays["product_quantised"] + 1
    arrays["product_ideal"] = 1.01 * arrays["product_ideal"]
    verdict = judge(bundle, Observations("odd", "1", arrays, {}))
    assert not verdict.departures and verdict.differences == verdict.unexplained
    assert "no rule explains them" in str(verdict)
    assert {one.what.split(",")[0] for one in verdict.differences} >= {"product_ideal", "product_quantised"}


def test_moments_are_those_of_aihwkit_and_of_the_documented_law() -> None:
    if not REFERENCE.exists():
        pytest.skip("needs ../shared/facts/pcm_reference.json: draws of aihwkit itself")
    rows = json.loads(REFERENCE.read_text("utf-8"))["single_device"]
    law, as_run, seen = Law(), Rules(read_noise_reference="programmed"), 0
    off = {row["time"]: row for row in rows if row["g_target_uS"] == 0}
    for row in rows:
        partner = off[row["time"]]  # the device of the pair with target 0
        if row["t_s"] == 0:
            continue
        for quantity, read in (("drift", False), ("read", True)):
            mean, std = weight_moments(law, as_run, row["g_target_uS"], row["t_s"], read=read)
            wanted = row[f"{quantity}_mean_exact"] - partner[f"{quantity}_mean_exact"]
            assert mean == pytest.approx(wanted, abs=2e-4)
            assert std == pytest.approx(
                np.hypot(row[f"{quantity}_std_exact"], partner[f"{quantity}_std_exact"]), rel=2e-3
            )
            seen += 1
    assert seen > 50


@pytest.mark.parametrize("pair", ["kept", "collapsed"])
def test_moments_are_those_of_draws(pair: str) -> None:
    law, rng = Law(), np.random.default_rng(1)
    rules = Rules(pair=pair, read_noise_reference="programmed", drift_clock="absolute")  # type: ignore[arg-type]
    for level in (0.0, 1.0, 20.0):
        targets = np.full(200_000, level)
        targets[0] = 25.0
        drawn = draw_weights(law, rules, targets, 86_400.0, read=True, rng=rng)[1:]
        top = 1.0 if level == 20.0 else 1.02  # about what one full weight, or a device above 20 uS, is programmed to
        mean, std = weight_moments(law, rules, level, 86_400.0, read=True, top=top)
        assert drawn.mean() == pytest.approx(mean, abs=0.01)
        assert drawn.std() == pytest.approx(std, rel=0.03)


def test_results_of_another_simulator(
    bundle: Bundle, tmp_path: Path, write_results: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aihwkit_lightning", None)  # as where it is not installed
    theirs = write_results(bundle, tmp_path / "own", "other", Rules(pair="collapsed"))
    verdict = judge(theirs, observe(theirs, "other"))
    assert (verdict.tool, verdict.version) == ("other", "2.0")
    assert [one.rule for one in verdict.departures] == ["pair"]
    with pytest.raises(UnknownNameError, match="Unknown simulator. Did you mean 'aihwkit'"):
        observe(bundle, "aihwkitt")
    with pytest.raises(AnalogNetsError, match="lightning is not installed here.*run_peer.py lightning"):
        observe(bundle, "lightning")
    (theirs.folder / "results" / "broken.npz").write_bytes(b"no archive")
    with pytest.raises(ChipFileError, match="is no file of results of a conformance bundle"):
        observe(theirs, "broken")
    np.savez(theirs.folder / "results" / "old.npz", bundle=np.array("0" * 64))
    with pytest.raises(ChipFileError, match="holds results of another bundle than .* Run old again"):
        observe(theirs, "old")


@pytest.mark.parametrize("tool", PEERS)
def test_converters_of_other_simulators_are_ours(bundle: Bundle, tmp_path: Path, tool: str) -> None:
    pytest.importorskip(PEERS[tool][0], reason=f"needs {PEERS[tool][1]}", exc_type=ImportError)
    shutil.copytree(bundle.folder, tmp_path / "own")
    own = open_bundle(tmp_path / "own")
    found = observe(own, tool)
    assert found.version != "unknown"
    verdict = judge(own, found)
    assert {"product_ideal", "product_quantised"} <= found.arrays.keys()
    assert not [one for one in verdict.differences if one.what.startswith("product") or one.rule == "unexplained"]


@pytest.fixture
def write_results() -> Callable[..., Bundle]:
    def write(bundle: Bundle, folder: Path, name: str, rules: Rules) -> Bundle:
        shutil.copytree(bundle.folder, folder)
        (folder / "results").mkdir(exist_ok=True)
        found = ReferenceRunner(rules)(bundle).arrays
        np.savez(folder / "results" / f"{name}.npz", **found, version=np.array("2.0"), skipped=np.array("{}"))
        return open_bundle(folder)

    return write


def test_what_results_must_be(bundle: Bundle) -> None:
    found = ReferenceRunner(ideal=True)(bundle)

    def said(arrays: dict[str, Any], skipped: dict[str, str], message: str) -> None:
        with pytest.raises(ChipFileError, match=message):
            judge(bundle, Observations("t", "1", arrays, skipped))

    said({}, found.skipped, "lack 'product_ideal', and don't say why")
    said({"product_ideal": np.zeros(3)}, found.skipped, "must be numbers of shape .64, 128.")
    said({"product_ideal": np.full((64, 128), np.nan)}, found.skipped, "must hold finite numbers")
    said({**found.arrays, "more": np.zeros(1)}, found.skipped, "hold 'more', which is nothing the bundle asks for")
    assert set(law_names(bundle.case.model_dump())) < set(found.skipped)


def test_what_a_bundle_must_be(bundle: Bundle, tmp_path: Path) -> None:
    schema = json.loads((bundle.folder / "conformance.schema.json").read_text("utf-8"))
    import jsonschema

    index = json.loads((bundle.folder / "conformance.json").read_text("utf-8"))
    jsonschema.validate(index, schema)
    compile((bundle.folder / "run_peer.py").read_text("utf-8"), "run_peer.py", "exec")
    with pytest.raises(ChipFileError, match="analognets conformance write FOLDER"):
        open_bundle(tmp_path)
    with pytest.raises(InvalidArgumentError, match="`chips` of write_bundle"):
        write_bundle(tmp_path / "b", chips=0)
    copied = Path(shutil.copytree(bundle.folder, tmp_path / "copy"))
    (copied / "arrays.npz").write_bytes(b"x")
    with pytest.raises(ChipFileError, match="was changed since the bundle was written"):
        open_bundle(copied)
    (copied / "conformance.json").write_text(json.dumps({**index, "chips": 0}), "utf-8")
    with pytest.raises(ChipFileError, match="is not valid: `chips`.*conformance.schema.json"):
        open_bundle(copied)
