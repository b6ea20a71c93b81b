"""What looks wrong in a user's folder is told once a kind, with counts and examples; what is right is not told."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from analognets.datasets.audio_folder import load_audio_folder
from analognets.datasets.audio_io import loudest, read_recording
from analognets.datasets.base import TaskData
from analognets.datasets.contents import is_saturated, is_silent
from analognets.datasets.image_folder import load_image_folder
from analognets.datasets.notes import KINDS, Notes, readable
from analognets.errors import DataError, DataWarning, InvalidArgumentError

RATE = 16_000


def sound(seed: int, seconds: float = 1.0, loudness: float = 0.1) -> np.ndarray:
    """Return noise that swells and falls, as float in [-1, 1]."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    return loudness * np.clip(rng.normal(size=samples), -3, 3) / 3 * np.hanning(samples)


def clean(root: Path, words: str = "ab", count: int = 10) -> Path:
    for number, word in enumerate(words):
        (root / word).mkdir(parents=True)
        for i in range(count):
            soundfile.write(os.fsencode(root / word / f"{i}.wav"), sound(1000 * number + i), RATE)
    return root


def told(root: Path, **options: Any) -> tuple[TaskData, list[str]]:
    """Return the data and the warnings; each of them is a note, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_audio_folder(root, **{"cache": False, **options})
    assert all(one.category is DataWarning and one.filename == __file__ for one in caught)
    texts = [str(one.message) for one in caught]
    assert set(texts) <= set(data.info.notes)
    return data, texts


def test_a_clean_folder_says_nothing(tmp_path: Path) -> None:
    data, texts = told(clean(tmp_path / "x"))
    assert texts == [] and data.info.notes == ()


def spoil(kind: str, root: Path, i: int) -> None:
    """Make the i-th clip of class b faulty."""
    path = root / "b" / f"{i}.wav"
    good = sound(1000 + i)
    numbers = np.rint(32768 * good).astype(np.int32)
    scales = {"int32": (numbers, "PCM_32"), "float32": (numbers.astype(float), "FLOAT")}
    if kind in ("int32", "float32", "float64"):
        import scipy.io.wavfile

        values = {"int32": numbers, "float32": numbers.astype(np.float32), "float64": numbers.astype(np.float64)}
        scipy.io.wavfile.write(path, RATE, values[kind])
        return
    made = {
        "over": (20 * good, "FLOAT"),
        "saturated": (np.clip(60 * good, -1, 1), "PCM_16"),
        "clipped low": (np.clip(60 * good, -1, 1) * 0.4, "PCM_16"),
        "dead": (np.zeros(RATE), "PCM_16"),
        "offset": (np.full(RATE, 0.2), "PCM_16"),
        "last bit": (np.sign(good) / 32768, "PCM_16"),
        "24 bit": (numbers / 2**23, "PCM_24"),
        "short": (good[:500], "PCM_16"),
        "sentence": (np.concatenate([sound(i, 3), sound(i + 50, 3)]), "PCM_16"),
        **scales,
    }[kind]
    soundfile.write(path, made[0], RATE, subtype=made[1])


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("int32", "hold int16 values in wider numbers"),
        ("float32", "hold int16 values in wider numbers"),
        ("float64", "hold int16 values in wider numbers"),
        ("over", "over full scale, which were saturated"),
        ("saturated", "are saturated"),
        ("clipped low", "are saturated"),
        ("dead", "next to no sound"),
        ("offset", "next to no sound"),
        ("last bit", "next to no sound"),
        ("24 bit", "next to no sound"),
        ("short", "shorter than 0.1 s"),
        ("sentence", "over a tenth of the sound lies outside"),
    ],
)
@pytest.mark.parametrize("cache", [False, True], ids=["read", "cached"])
def test_each_kind_is_told_once_with_count_and_example(tmp_path: Path, kind: str, says: str, cache: bool) -> None:
    root = clean(tmp_path / "x")
    for i in (2, 5, 7):
        spoil(kind, root, i)
    for _ in range(1 + cache):
        data, texts = told(root, cache=cache, cache_dir=tmp_path / "cache")
        found = [text for text in texts if says in text]
        assert len(found) == 1 and "3 clips" in found[0] and "b/2.wav" in found[0]
    if kind in ("int32", "float32", "float64"):
        names = {name: row for part in data.splits.values() for name, row in zip(part.names, part.inputs, strict=True)}
        wanted = np.rint(32768 * sound(1002))
        np.testing.assert_allclose(names["b/2.wav"], wanted, atol=1)


def test_float_of_unknown_scale_is_refused_or_skipped(tmp_path: Path) -> None:
    root = clean(tmp_path / "x")
    soundfile.write(root / "b" / "2.wav", sound(5) * 1e7, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"b/2.wav holds float samples of unknown scale.*Received: up to"):
        load_audio_folder(root, cache=False)
    data, _ = told(root, on_corrupt="skip")
    assert any("skipped: b/2.wav" in note for note in data.info.notes)


def test_overshoot_of_resampled_int16_values_is_in_their_unit(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", 33_000.5 * np.sin(np.arange(RATE) / 9), RATE, subtype="FLOAT")
    found = read_recording(tmp_path / "x.wav")
    assert set(found.remarks) == {"unit"} and found.samples.max() == 32767


def test_silence_is_no_fault_where_it_is_the_class(tmp_path: Path) -> None:
    root = clean(tmp_path / "x")
    (root / "_silence_").mkdir()
    for i in range(6):
        soundfile.write(root / "_silence_" / f"{i}.wav", np.zeros(RATE), RATE)
    assert told(root, silence=True)[1] == []


def test_other_formats_loose_files_and_links_are_told(tmp_path: Path) -> None:
    root = clean(tmp_path / "x")
    soundfile.write(root / "a" / "z.ogg", sound(1), RATE)
    (root / "b" / "z.mp3").write_bytes(b"?")
    (root / "b" / ".hidden").write_bytes(b"?")
    (root / "README.md").write_text("mine")
    soundfile.write(root / "loose.wav", sound(1), RATE)
    other = clean(tmp_path / "other")
    (root / "a" / "more").symlink_to(other / "a")
    (root / "gone").symlink_to(tmp_path / "nowhere")
    _, texts = told(root)
    assert [text.partition(".")[0] for text in texts] == [
        "2 files were left out, for they are no ",
        "1 clips stand in no class folder and were left out: loose",
        "2 links to folders were not entered: a/more, gone",
    ]
    assert "a/z.ogg, b/z.mp3." in texts[0]


def test_copies_across_splits_and_classes_are_told(tmp_path: Path) -> None:
    root = tmp_path / "x"
    for split in ("train", "validation", "test"):
        clean(root / split, count=4)
        for word in "ab":
            for i in range(4):
                seed = 50 * "train validation test".split().index(split) + 10 * "ab".index(word) + i
                soundfile.write(root / split / word / f"{i}.wav", sound(seed), RATE)
    (root / "test" / "a" / "3.wav").write_bytes((root / "train" / "a" / "1.wav").read_bytes())
    (root / "train" / "b" / "2.wav").write_bytes((root / "train" / "a" / "0.wav").read_bytes())
    _, texts = told(root)
    assert len(texts) == 2
    assert "1 clips stand in more than one split" in texts[0] and "a/train/1.wav = a/test/3.wav" in texts[0]
    assert "1 clips stand in more than one class: a/train/0.wav = b/train/2.wav" in texts[1]


def picture(i: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8))


def test_pictures_are_looked_at_too(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(8):
            picture(10 * number + i).save(tmp_path / name / f"{i}.png")
    picture(3).save(tmp_path / "b" / "copy.png")
    Image.new("RGB", (12, 12), (9, 9, 9)).save(tmp_path / "a" / "blank.png")
    picture(99).save(tmp_path / "a" / "left.webp")
    with pytest.warns(DataWarning) as caught:
        data = load_image_folder(tmp_path, cache=False)
    texts = [str(one.message) for one in caught]
    assert {one.filename for one in caught} == {__file__}
    assert any("1 files were left out" in text and "a/left.webp" in text for text in texts)
    assert any("1 pictures stand in more than one class: a/3.png = b/copy.png" in text for text in texts)
    assert any("1 pictures are of one colour all over, such as a/blank.png" in text for text in texts)
    assert set(texts) <= set(data.info.notes)


def test_a_long_clip_is_cut_where_the_sound_is(tmp_path: Path) -> None:
    root = clean(tmp_path / "x")
    word = sound(7, 0.4, 0.5)
    for i, start in enumerate((0.0, 2.3, 8.9, 9.6)):
        long = np.random.default_rng(i).normal(0, 1e-4, 10 * RATE)
        place = round(start * RATE)
        long[place : place + len(word)] += word
        soundfile.write(root / "b" / f"{i}.wav", long, RATE)
    data, texts = told(root)
    assert texts == [] and any("4 clips are longer than 1 s; the loudest second was kept" in n for n in data.info.notes)
    whole = np.sum((32768 * word) ** 2)
    for part in data.splits.values():
        for name, row in zip(part.names, part.inputs.astype(float), strict=True):
            if name in {f"b/{i}.wav" for i in range(4)}:
                assert np.sum(row**2) > 0.99 * whole
    cut, texts = told(root, on_long="middle")
    assert "Of 4 clips, over a tenth of the sound lies outside of the middle second" in texts[-2] + texts[-1] + texts[0]
    with pytest.raises(DataError, match=r"b/\d.wav must be at most 1 s long. Received: 10.00 s"):
        load_audio_folder(root, cache=False, on_long="error")
    kept, _ = told(root, on_long="error", on_corrupt="skip")
    assert sum(map(len, kept.splits.values())) == 16
    with pytest.raises(InvalidArgumentError, match="`on_long`"):
        load_audio_folder(root, cache=False, on_long="first")


@given(arrays.arrays(np.int16, st.integers(5, 60), elements=st.integers(-99, 99)), st.integers(1, 5))
def test_no_second_is_louder_than_the_one_that_is_kept(samples: np.ndarray, length: int) -> None:
    start = loudest(samples, length)
    heard = (samples.astype(int) - int(np.median(samples))) ** 2
    energies = [heard[i : i + length].sum() for i in range(len(samples) - length + 1)]
    assert 0 <= start <= len(samples) - length
    assert energies[start] >= 0.99 * max(energies)


def test_a_steady_sound_is_cut_in_its_middle() -> None:
    assert loudest(np.full(101, 7, np.int16), 11) == 45
    assert loudest(np.tile([3000, -3000], 500).astype(np.int16), 100) == 450


@given(st.floats(0.02, 1.0), st.floats(30, 7000))
def test_a_sine_wave_is_neither_silent_nor_saturated(loudness: float, frequency: float) -> None:
    wave = np.rint(32767 * loudness * np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE + 0.3)).astype(np.int16)
    if len(np.unique(wave)) > 1000:  # some frequencies meet a few values only
        assert not is_silent(wave[None]).any() and not is_saturated(wave[None]).any()


@given(st.floats(1.3, 50), st.integers(0, 5))
def test_what_is_cut_off_is_saturated(gain: float, seed: int) -> None:
    wave = np.clip(32768 * gain * np.sin(np.arange(RATE) * (0.05 + 0.07 * seed)), -32768, 32767).astype(np.int16)
    assert is_saturated(wave[None]).all()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = clean(tmp_path / "x")
    odd = os.fsdecode(os.fsencode(root / "b") + b"/caf\xe9\n\x1b.wav")
    soundfile.write(os.fsencode(odd), np.zeros(RATE), RATE)
    data, texts = told(root, cache=True, cache_dir=tmp_path / "cache")
    assert any(r"b/caf\xe9\n\x1b.wav" in text for text in texts)
    assert all(note.isprintable() and note.encode() for note in data.info.notes)
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    soundfile.write(os.fsencode(root) + b"/caf\xe9/1.wav", sound(3), RATE)
    with pytest.raises(DataError, match=r"class folder must be UTF-8.*Received: 'caf\\xe9'.*Rename it"):
        load_audio_folder(root, cache=False)


def test_a_root_that_is_no_text(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xf6in"))
    data, _ = told(clean(root), cache=True, cache_dir=tmp_path / "cache")
    assert data.name == r"m\xf6in" and data.info.statement.encode()


@given(st.text())
def test_readable_is_printable_and_keeps_plain_names(name: str) -> None:
    assert readable(name).isprintable() and readable(name).encode() is not None
    assert readable(readable(name)) == readable(name)
    if name.isprintable():
        assert readable(name) == name


def test_every_kind_has_its_words() -> None:
    notes = Notes("clips", cut="loudest", endings=".wav")
    for kind in KINDS:
        notes.extend(kind, [f"{i}" for i in range(9)])
    sentences = notes.sentences()
    assert len(sentences) == len(KINDS) and all("9" in one and one.endswith(".") for one in sentences)
    assert set(notes.sentences(warning=True)) | set(notes.sentences(warning=False)) == set(sentences)


def test_special_files_never_hang(tmp_path: Path) -> None:
    root = clean(tmp_path / "x")
    os.mkfifo(root / "a" / "pipe.wav")
    (root / "b" / "zero.wav").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="pipe.wav: it is no regular file"):
        load_audio_folder(root, cache=False)
    data, _ = told(root, on_corrupt="skip")
    assert any("2 clips can't be read and were skipped: " in note for note in data.info.notes)
    for name in "ab":
        (tmp_path / "p" / name).mkdir(parents=True)
        for i in range(6):
            picture(i + 10 * "ab".index(name)).save(tmp_path / "p" / name / f"{i}.png")
    os.mkfifo(tmp_path / "p" / "a" / "pipe.png")
    with pytest.raises(DataError, match="pipe.png: it is no regular file"):
        load_image_folder(tmp_path / "p", cache=False)
    assert len(load_image_folder(tmp_path / "p", cache=False, on_corrupt="skip").info.notes) == 1


def test_a_square_wave_of_full_scale_in_floats_is_as_loud_as_it_says(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.sign(np.sin(np.arange(RATE) / 9)), RATE, subtype="FLOAT")
    found = read_recording(tmp_path / "x.wav")
    assert np.abs(found.samples.astype(int)).max() >= 32_767 and "unit" not in found.remarks
