from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analognets.datasets.base import KWS_CLASSES, check_disjoint
from analognets.datasets.speech_commands import SilenceRule, UnknownRule, load_speech_commands
from analognets.datasets.speech_layout import WORDS, official_split
from analognets.errors import DataError, InvalidArgumentError, UnknownNameError

Tree = Callable[..., Path]


def counts(split, classes=KWS_CLASSES) -> dict[str, int]:
    return dict(zip(classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True))


def test_the_part_with_a_test_archive(speech_tree: Tree) -> None:
    data = load_speech_commands(speech_tree(), cache=False)
    assert data.classes == KWS_CLASSES
    assert counts(data.train) == {**dict.fromkeys(KWS_CLASSES[:10], 3), "silence": 3, "unknown": 3}
    assert counts(data.validation) == dict.fromkeys(KWS_CLASSES, 1)
    assert counts(data.test) == dict.fromkeys(KWS_CLASSES, 1)
    assert set(data.train.speakers) == {"aa01", "aa02", "aa03", ""}
    assert all(split.inputs.shape == (len(split), 16_000) for split in data.splits.values())
    assert all(split.inputs.dtype == np.int16 for split in data.splits.values())
    assert "separate test archive" in data.info.statement
    assert "0 are heard in the test split" in data.info.statement
    assert data.info.notes == () and not data.info.synthetic
    check_disjoint(data)


def test_every_clip_is_the_sound_of_its_name(speech_tree: Tree) -> None:
    import soundfile

    root = speech_tree()
    data = load_speech_commands(root, cache=False)
    for name, sound in zip(data.train.names, data.train.inputs, strict=True):
        if not name.startswith("_silence_"):
            stored, _ = soundfile.read(root / "speech_commands_v0.02" / name, dtype="int16")
            np.testing.assert_array_equal(sound, stored)


def test_the_complete_data_set_without_an_archive_uses_the_list(speech_tree: Tree) -> None:
    data = load_speech_commands(speech_tree(archive=False, listed=True), cache=False)
    assert counts(data.test) == dict.fromkeys(KWS_CLASSES, 1)
    assert set(data.test.speakers) == {"cc01", ""}
    assert "testing_list.txt" in data.info.statement
    check_disjoint(data)


def test_with_list_and_archive_the_archive_is_the_12_class_test(speech_tree: Tree) -> None:
    root = speech_tree(listed=True)
    data = load_speech_commands(root, cache=False)
    assert "_silence_/7.wav" in data.test.names and "cat/cc01_nohash_0.wav" in data.test.names
    assert "cc01" not in data.train.speakers
    wide = load_speech_commands(root, classes=35, cache=False)
    assert len(wide.test) == 13 and "testing_list.txt" in wide.info.statement


def test_35_classes(speech_tree: Tree) -> None:
    data = load_speech_commands(speech_tree(), classes=35, cache=False)
    assert data.classes == WORDS and len(WORDS) == 35
    assert counts(data.train, WORDS)["bed"] == 3 and counts(data.train, WORDS)["down"] == 3
    assert len(data.test) == 11 and "_silence_/7.wav" not in data.test.names
    for split in data.splits.values():
        assert [WORDS[i] for i in split.labels] == [name.split("/")[0] for name in split.names]
    assert any("no clip of" in note and "marvin" in note for note in data.info.notes)


def test_the_folder_may_be_the_training_archive_itself(speech_tree: Tree) -> None:
    root = speech_tree()
    one, other = (load_speech_commands(place, cache=False) for place in (root, root / "speech_commands_v0.02"))
    np.testing.assert_array_equal(one.test.inputs, other.test.inputs)
    assert one.train.names == other.train.names


def test_same_seed_same_data_other_seed_other_silence(speech_tree: Tree) -> None:
    root = speech_tree()
    one, again, other = (load_speech_commands(root, seed=seed, cache=False) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.train.inputs, again.train.inputs)
    assert one.train.names == again.train.names
    silent = one.train.labels == 10
    assert not np.array_equal(one.train.inputs[silent], other.train.inputs[other.train.labels == 10])


def test_rules_decide_how_much(speech_tree: Tree) -> None:
    root = speech_tree()
    data = load_speech_commands(root, silence={"fraction": 0.5}, unknown=UnknownRule(None), cache=False)
    assert counts(data.train)["silence"] == 15 and counts(data.train)["unknown"] == 9
    none = load_speech_commands(root, silence=SilenceRule(0), unknown=UnknownRule(0), cache=False)
    assert counts(none.train)["silence"] == 0 and any("silence, unknown" in note for note in none.info.notes)
    with pytest.raises(UnknownNameError, match="Did you mean 'fraction'"):
        load_speech_commands(root, silence={"fractoin": 0.5}, cache=False)


def test_background_holds_only_what_training_may_hear(speech_tree: Tree) -> None:
    data = load_speech_commands(speech_tree(), silence={"train_share": 0.5}, cache=False)
    assert [len(sound) for sound in data.background] == [8 * 16_000] * 2
    assert all(sound.dtype == np.float32 and np.abs(sound).max() <= 1 for sound in data.background)


def test_a_clip_of_the_test_archive_in_training_is_an_error(speech_tree: Tree) -> None:
    root = speech_tree()
    name = "yes/cc01_nohash_0.wav"
    shutil.copy(root / "speech_commands_test_set_v0.02" / name, root / "speech_commands_v0.02" / name)
    with pytest.raises(DataError, match=f"1 clips of the test split stand in the train split too, such as '{name}'"):
        load_speech_commands(root, cache=False)
    data = load_speech_commands(root, on_overlap="drop", cache=False)
    assert name not in data.train.names and name in data.test.names
    assert any("left out of train" in note for note in data.info.notes)


def test_an_unknown_word_of_the_test_archive_is_recognised_in_training(speech_tree: Tree) -> None:
    root = speech_tree()
    shutil.copy(
        root / "speech_commands_test_set_v0.02" / "_unknown_" / "cat_cc01_nohash_0.wav",
        root / "speech_commands_v0.02" / "cat" / "cc01_nohash_0.wav",
    )
    with pytest.raises(DataError, match="cat/cc01_nohash_0.wav"):
        load_speech_commands(root, cache=False)


def test_a_speaker_in_two_splits_is_noted(speech_tree: Tree) -> None:
    root = speech_tree()
    with (root / "speech_commands_v0.02" / "validation_list.txt").open("a") as lines:
        lines.write("yes/aa01_nohash_0.wav\n")
    data = load_speech_commands(root, cache=False)
    assert any("1 speakers are heard both in train and in validation" in note for note in data.info.notes)
    with pytest.raises(DataError, match="speakers are heard both in the train and in the validation split"):
        check_disjoint(data)


def test_a_listed_clip_that_is_missing(speech_tree: Tree) -> None:
    root = speech_tree()
    (root / "speech_commands_v0.02" / "yes" / "bb01_nohash_0.wav").unlink()
    with pytest.raises(DataError, match=r"1 clips of validation_list.txt are not in .*yes/bb01_nohash_0.wav"):
        load_speech_commands(root, cache=False)
    data = load_speech_commands(root, on_corrupt="skip", cache=False)
    assert any("validation_list.txt" in note for note in data.info.notes)


def test_a_corrupt_clip_is_named_and_skipped_only_on_request(speech_tree: Tree) -> None:
    root = speech_tree()
    broken = root / "speech_commands_v0.02" / "yes" / "aa02_nohash_0.wav"
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"aa02_nohash_0.wav is cut short"):
        load_speech_commands(root, cache=False)
    data = load_speech_commands(root, on_corrupt="skip", cache=False)
    assert "yes/aa02_nohash_0.wav" not in data.train.names
    assert counts(data.train)["yes"] == 2
    assert any("1 clips can't be read and were skipped: " in note and "aa02" in note for note in data.info.notes)
    for name, sound in zip(data.train.names[:8], data.train.inputs[:8], strict=True):
        assert sound.any(), name


def test_a_clip_of_another_rate_is_resampled_with_a_note(speech_tree: Tree) -> None:
    from scipy.io import wavfile

    root = speech_tree()
    wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.int16)
    wavfile.write(root / "speech_commands_v0.02" / "yes" / "aa01_nohash_0.wav", 8000, wave)
    data = load_speech_commands(root, cache=False)
    assert any("1 clips were resampled to 16000 Hz" in note and "(8000 Hz)" in note for note in data.info.notes)


@pytest.mark.parametrize("gone", ["validation_list.txt", "testing_list.txt", "_background_noise_"])
def test_what_is_missing_is_named(speech_tree: Tree, gone: str) -> None:
    root = speech_tree()
    path = root / "speech_commands_v0.02" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=gone):
        load_speech_commands(root, cache=False)


def test_a_missing_folder_says_what_is_expected_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds speech_commands_v0.02/ .*does not exist.*data prepare"):
        load_speech_commands(tmp_path / "nowhere")
    with pytest.raises(DataError, match="which holds no such folder"):
        load_speech_commands(tmp_path)
    with pytest.raises(DataError, match="is not downloaded"):
        load_speech_commands(cache_dir=tmp_path)


@pytest.mark.parametrize(("option", "value"), [("classes", 10), ("seed", -1), ("on_corrupt", "ignore")])
def test_bad_arguments(speech_tree: Tree, option: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{option}` of load_speech_commands"):
        load_speech_commands(speech_tree(), **{option: value})


def test_the_cache_gives_the_same_and_sees_changes(speech_tree: Tree, tmp_path: Path) -> None:
    root, cache = speech_tree(), tmp_path / "cache"
    seen: list[tuple[int, int]] = []
    first = load_speech_commands(root, cache_dir=cache, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == max(done for done, _ in seen) and seen == sorted(seen)
    stored = sorted(path.name for path in (cache / "clips").iterdir())
    again = load_speech_commands(root, cache_dir=cache)
    assert sorted(path.name for path in (cache / "clips").iterdir()) == stored
    for one, other in zip(first.splits.values(), again.splits.values(), strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
    changed = root / "speech_commands_v0.02" / "yes" / "aa01_nohash_0.wav"
    changed.write_bytes(changed.read_bytes()[:-2] + b"\x11\x22")
    fresh = load_speech_commands(root, cache_dir=cache)
    at = fresh.train.names.index("yes/aa01_nohash_0.wav")
    assert fresh.train.inputs[at, -1] == 0x2211


def test_official_rule_of_the_hash() -> None:
    shares = np.array([official_split(f"{i:08x}") for i in range(4000)])
    for name, share in (("validation", 0.1), ("test", 0.1), ("train", 0.8)):
        assert abs(np.mean(shares == name) - share) < 5 * np.sqrt(share * (1 - share) / 4000)


def test_real_data(speech_commands_dir: Path, tmp_path: Path) -> None:
    data = load_speech_commands(speech_commands_dir, cache_dir=tmp_path)
    check_disjoint(data)
    assert all(count > 0 for split in data.splits.values() for count in counts(split).values())
    assert data.info.notes == ()
    words = {name: split.select(split.labels != 10) for name, split in data.splits.items()}
    sounds = {name: {clip.tobytes() for clip in split.inputs} for name, split in words.items()}
    assert not sounds["train"] & sounds["test"] and not sounds["validation"] & sounds["test"]
    assert all(official_split(speaker) == "test" for speaker in set(data.test.speakers) - {""})

    def loudness(split):
        clips = split.inputs[split.labels == 10] / 32768
        return np.sqrt(np.mean(clips**2, axis=1))

    there, made = loudness(data.test), loudness(data.train)
    inside = (there >= made.min()) & (there <= made.max())
    assert inside.mean() > 0.95
