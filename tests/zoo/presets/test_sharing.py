"""Presets for others: what the Hugging Face Hub reads of a card, and uploading, tried on a server of this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analognets as an
from analognets.errors import MissingExtraError, PresetError
from analognets.zoo.presets.cards import write_card
from analognets.zoo.presets.handles import bundled
from analognets.zoo.presets.saving import rewrite_card
from analognets.zoo.presets.uploading import upload_preset

DAY = 86_400


@pytest.fixture
def token(hub_server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    return hub_server.TOKEN


@pytest.mark.parametrize("name", sorted(bundled()))
def test_the_hub_reads_the_results_out_of_a_card(name: str) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs analognets[hub]")
    preset = an.zoo.load_preset(name)
    card = hub.ModelCard(write_card(preset.record, preset.results))
    data = card.data.to_dict()
    assert card.data.library_name == "keras" and card.data.license == "apache-2.0" and card.data.model_name == name
    assert data["pipeline_tag"] == (
        "image-classification" if "vww" in name or "cifar10" in name else "audio-classification"
    )
    assert (data.get("datasets") == ["google/speech_commands"]) == (preset.data["name"] == "speech_commands")
    results = card.data.eval_results
    assert len(results) == len(preset.results)
    assert {result.metric_type for result in results} == {"accuracy"}
    assert {result.dataset_split for result in results} == {"test"}
    assert all(f"{preset.record.accuracy.samples:,}" in result.dataset_name for result in results)
    assert results[0].metric_value == round(preset.record.accuracy.digital, 4)
    for result, (_, row) in zip(results[1:], preset.results.iloc[1:].iterrows(), strict=True):
        assert result.metric_value == pytest.approx(row["mean"], abs=1e-4)
        assert result.metric_args["seconds"] == row["seconds"] and result.metric_args["chips"] == row["chips"]
        assert row["at"] in result.metric_name
        assert ("without drift" in result.metric_name) == (str(row["drift_compensation"]) != "True")


@pytest.mark.parametrize("name", sorted(bundled()))
def test_bundled_cards_are_those_that_this_version_writes(name: str) -> None:
    preset = an.zoo.load_preset(name)
    wanted = write_card(preset.record, preset.results)
    assert preset.card == wanted, f"write it anew: analognets zoo card zoo/presets/bundled/{name}"


def test_a_card_of_something_else_claims_nothing(saved: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs analognets[hub]")
    preset = an.zoo.load_preset(saved)
    assert not {"model-index", "metrics", "pipeline_tag", "datasets"} & set(hub.ModelCard(preset.card).data.to_dict())
    facts = {"name": "no: [one]\n- x", "weights_licence": "CC BY 4.0", "synthetic": True}
    accuracy = preset.record.accuracy.model_copy(update={"digital": 0.5, "samples": 8})
    record = preset.record.model_copy(update={"data": facts, "accuracy": accuracy})
    table = pd.DataFrame([{"condition": "direct mapping", "at": "1d", "seconds": DAY, "mean": 0.25, "chips": 2}])
    data = hub.ModelCard(write_card(record, table.assign(drift_compensation=False, std=0.1))).data
    assert (data.license, data.license_name) == ("other", "cc-by-4.0")
    digital, mapped = data.eval_results
    assert digital.dataset_name == "no: [one]\n- x: 8 synthetic test samples, see Data" and digital.task_type == "other"
    assert mapped.metric_name == (
        "Accuracy 1d after programming, mapped to simulated chips without hardware-aware training, without drift "
        "compensation"
    )


def test_a_card_is_written_anew_and_the_rest_stays(preset_copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in preset_copy.iterdir()}
    rewrite_card(preset_copy)
    assert {path.name: path.read_bytes() for path in preset_copy.iterdir()} == before, "nothing had changed"
    record = json.loads(before["preset.json"])
    (preset_copy / "preset.json").write_text(json.dumps({**record, "description": "Said later."}), "utf-8")
    preset = rewrite_card(preset_copy)
    assert "Said later." in preset.card and preset.check_golden().passed
    after = {path.name: path.read_bytes() for path in preset_copy.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"README.md", "preset.json"}
    (preset_copy / ".git").mkdir()
    with pytest.raises(PresetError, match=r"also holds '\.git'"):
        rewrite_card(preset_copy)


def test_a_preset_goes_to_the_hub_and_comes_back(hub: Any, saved: Path, token: str) -> None:
    hub.root.rmdir()
    done = upload_preset(saved, "hf://someone/nets", private=True)
    made = hub.made[0]
    assert made["name"] == "nets" and (made.get("visibility") == "private" or made.get("private") is True)
    [commit] = hub.commits
    assert commit[0]["value"]["summary"] == "Preset tiny.analog"
    assert hub.cards == [(saved / "README.md").read_text("utf-8")], "the Hub was asked whether it can read the card"
    assert done.handle == f"hf://someone/nets@{hub.commit}" and done.url.endswith(hub.commit)
    again = an.zoo.load_preset(done.handle, sha256=done.sha256)
    assert again.record == an.zoo.load_preset(saved).record and again.check_golden().passed


def test_nothing_on_the_hub_is_overwritten_unasked(hub: Any, saved: Path, token: str, tmp_path: Path) -> None:
    (hub.root / "README.md").write_text("mine")
    (hub.root / "recipe.yaml").write_text("mine")
    (hub.root / "notes.txt").write_text("mine")
    with pytest.raises(PresetError, match=r"overwritten unasked.*holds README\.md, recipe\.yaml\. .*--overwrite"):
        upload_preset(saved, "someone/nets")
    folder = upload_preset(saved, "hf://someone/nets@main/tiny")
    assert folder.handle.endswith(f"@{hub.commit}/tiny") and (hub.root / "README.md").read_text() == "mine"
    hub.moved = True
    with pytest.raises(PresetError, match="tiny.analog can't be uploaded to hf://someone/nets: "):
        upload_preset(saved, "hf://someone/nets", overwrite=True)
    hub.moved = False
    upload_preset(saved, "hf://someone/nets", overwrite=True, message="Anew")
    assert hub.commits[-1][0]["value"]["summary"] == "Anew"
    there = {path.name for path in hub.root.iterdir() if path.is_file()}
    assert there == {"notes.txt", *(path.name for path in saved.iterdir())}, "its old recipe is not of the new preset"


def test_an_upload_that_can_not_be_is_one_sentence(
    hub: Any, saved: Path, preset_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PresetError, match=r"needs a token .* Received: no token\. Log in with `hf auth login`"):
        upload_preset(saved, "hf://someone/nets")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PresetError, match="may the token write to that repository") as caught:
        upload_preset(saved, "hf://someone/nets")
    assert "hf_wrong" not in str(caught.value) and not hub.commits
    for place in ("nets", "hf://a/b/../c", "https://host/x"):
        with pytest.raises(PresetError, match=r"looks like hf://user/repo"):
            upload_preset(saved, place)
    (preset_copy / "weights.safetensors").write_bytes(b"spoilt")
    with pytest.raises(PresetError, match="is not the file that was saved"):
        upload_preset(preset_copy, "hf://someone/nets")
    monkeypatch.setenv("ANALOGNETS_OFFLINE", "1")
    with pytest.raises(PresetError, match="ANALOGNETS_OFFLINE forbids"):
        upload_preset(saved, "hf://someone/nets")
    monkeypatch.delenv("ANALOGNETS_OFFLINE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"analognets\[hub\]"):
        upload_preset(saved, "hf://someone/nets")


def test_every_network_shows_its_presets() -> None:
    found = {
        name: getattr(an.zoo, name).presets
        for name in an.zoo.__all__
        if getattr(getattr(an.zoo, name), "__module__", "").startswith("analognets.zoo.networks.")
        and not name.startswith("load_")
    }
    assert len(found) >= 25 and {name for each in found.values() for name in each} == set(bundled())
    table = an.zoo.list_models()
    for presets in found.values():
        for name, info in presets.items():
            assert info["metadata"]["params"] == table.loc[name, "parameters"] and info["metadata"]["description"]
            assert info["metadata"]["accuracy"] == table.loc[name, "accuracy"]
    assert "analognet_kws.hwa_8bit" in an.zoo.analognet_kws.presets
    assert not an.zoo.resnet18.presets and "nothing" not in an.zoo.resnet18.presets
