from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analognets.datasets.audio_io import fit_length, read_clips, read_wav, resample, to_int16
from analognets.datasets.clip_cache import ClipCache, cache_folder
from analognets.errors import DataError, InvalidArgumentError


def wave(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for i in range(6):
        found.append(tmp_path / "wavs" / f"{i}.wav")
        found[-1].parent.mkdir(exist_ok=True)
        soundfile.write(found[-1], wave(300 + 100 * i, 16_000), 16_000, subtype="PCM_16")
    return found


def test_plain_wav_is_bit_equal_to_libsndfile(files: list[Path]) -> None:
    for path in files:
        samples, rate = read_wav(path)
        np.testing.assert_array_equal(samples, soundfile.read(path, dtype="int16")[0])
        assert rate == 16_000


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "PCM_U8"])
def test_other_encodings(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", wave(440, 16_000), 16_000, subtype=subtype)
    samples, _ = read_wav(tmp_path / "a.wav")
    assert np.abs(samples / 32768 - wave(440, 16_000)).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = wave(440, 16_000), wave(1000, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="PCM_16")
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav")[0] / 32768, (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_another_rate_keeps_the_tone(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", wave(1000, rate), rate, subtype="PCM_16")
    samples, found = read_wav(tmp_path / "a.wav")
    assert found == rate and len(samples) == 16_000
    middle = slice(1000, -1000)  # the filter rings at both ends
    np.testing.assert_allclose(samples[middle] / 32768, wave(1000, 16_000)[middle], atol=2e-3)


def test_resampling_removes_what_the_new_rate_can_not_hold() -> None:
    assert np.abs(resample(wave(15_000, 48_000).astype(np.float32), 48_000, 16_000)[500:-500]).max() < 0.01


@given(st.integers(1, 40), st.integers(1, 40))
def test_length_is_fitted_around_the_middle(found: int, wanted: int) -> None:
    fitted = fit_length(np.arange(1, found + 1), wanted)
    assert len(fitted) == wanted
    kept = fitted[fitted > 0]
    assert len(kept) == min(found, wanted)
    if len(kept):
        assert np.all(np.diff(kept) == 1)
        left = int(np.argmax(fitted > 0)) if found < wanted else int(kept[0]) - 1
        assert abs(2 * left - abs(found - wanted)) <= 1


def test_to_int16_saturates() -> None:
    np.testing.assert_array_equal(to_int16(np.array([-2, -1, 0, 0.5, 1, 2])), [-32768, -32768, 0, 16384, 32767, 32767])


def broken(kind: str) -> bytes:
    whole = io.BytesIO()
    soundfile.write(whole, wave(440, 16_000), 16_000, format="WAV", subtype="PCM_16")
    data = whole.getvalue()
    floats = io.BytesIO()
    soundfile.write(floats, np.full(100, np.nan), 16_000, format="WAV", subtype="FLOAT")
    return {
        "cut short": data[:20_000],
        "holds no samples": data[:40] + b"\0\0\0\0",
        "as audio": b"these are no sounds at all",
        "not finite": floats.getvalue(),
    }[kind]


@pytest.mark.parametrize("kind", ["cut short", "holds no samples", "as audio", "not finite"])
def test_broken_files_are_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "odd.wav").write_bytes(broken(kind))
    with pytest.raises(DataError, match=f"odd.wav.*{kind}"):
        read_wav(tmp_path / "odd.wav")


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(DataError, match="empty.wav"):
        read_wav(tmp_path / "empty.wav")
    with pytest.raises(DataError, match="none.wav: No such file"):
        read_wav(tmp_path / "none.wav")


def test_a_skipped_clip_leaves_the_others_in_place(files: list[Path], tmp_path: Path) -> None:
    whole = read_clips(files, root=tmp_path)
    files[2].write_bytes(b"RIFF")
    cache = ClipCache(tmp_path / "cache")
    for _ in range(2):  # read, then from the cache
        clips = read_clips(files, root=tmp_path, on_corrupt="skip", cache=cache)
        assert clips.kept.tolist() == [0, 1, 3, 4, 5]
        np.testing.assert_array_equal(clips.inputs, whole.inputs[clips.kept])
        assert clips.notes == ("1 clips can't be read and were skipped: wavs/2.wav.",)
    with pytest.raises(DataError, match="2.wav"):
        read_clips(files, root=tmp_path, cache=cache)


def test_a_cache_cut_short_is_made_anew(files: list[Path], tmp_path: Path) -> None:
    cache = ClipCache(tmp_path / "cache")
    first = read_clips(files, root=tmp_path, cache=cache).inputs.copy()
    (stored,) = (tmp_path / "cache").glob("*.npy")
    for damage in (stored.read_bytes()[:1000], b"", b"\x93NUMPY\x01\x00garbage"):
        stored.write_bytes(damage)
        np.testing.assert_array_equal(read_clips(files, root=tmp_path, cache=cache).inputs, first)
    assert not list((tmp_path / "cache").glob("*.part"))


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.sampled_from(["npy", "json"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_changed_byte_in_the_cache_is_found(
    files: list[Path], tmp_path: Path, place: float, change: int, kind: str
) -> None:
    cache = ClipCache(tmp_path / "cache")
    whole = read_clips(files, root=tmp_path, cache=cache).inputs.copy()
    (stored,) = (tmp_path / "cache").glob(f"*.{kind}")
    data = bytearray(stored.read_bytes())
    data[int(place * len(data))] ^= change
    stored.write_bytes(data)
    again = read_clips(files, root=tmp_path, cache=cache)
    np.testing.assert_array_equal(again.inputs, whole)
    # A byte of padding, or of a number's spelling, may change without a change of what is said.
    assert kind == "json" or place * len(data) < 130 or any("was changed or cut short since" in n for n in again.notes)
    assert read_clips(files, root=tmp_path, cache=cache).notes == ()


def test_a_cache_that_may_only_be_read_is_used(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ClipCache(tmp_path / "cache")
    read_clips(files, root=tmp_path, cache=cache)

    def refuse(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    again = read_clips(files, root=tmp_path, cache=cache)
    assert isinstance(again.inputs.base, np.memmap) and again.notes == ()


def test_an_error_while_reading_leaves_nothing_in_the_cache(files: list[Path], tmp_path: Path) -> None:
    files[3].write_bytes(b"no")
    with pytest.raises(DataError, match="3.wav"):
        read_clips(files, root=tmp_path, cache=ClipCache(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_can_not_be_written_is_noted(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    clips = read_clips(files, root=tmp_path, cache=ClipCache(tmp_path / "file" / "cache"))
    assert len(clips.inputs) == 6 and "were not cached" in clips.notes[0]


def test_the_cache_keeps_a_few(files: list[Path], tmp_path: Path) -> None:
    cache = ClipCache(tmp_path / "cache", keep=2)
    for number in range(1, 5):
        read_clips(files[:number], root=tmp_path, cache=cache)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == len(list((tmp_path / "cache").glob("*.json"))) == 2


def test_no_files_at_all(tmp_path: Path) -> None:
    assert read_clips([], root=tmp_path).inputs.shape == (0, 16_000)
    assert read_clips([], root=tmp_path, cache=ClipCache(tmp_path / "cache")).inputs.shape == (0, 16_000)


def test_bad_choice(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="`on_corrupt` of read_clips"):
        read_clips([], root=tmp_path, on_corrupt="maybe")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x"
    assert cache_folder(tmp_path / "y") == tmp_path / "y"
    monkeypatch.delenv("ANALOGNETS_CACHE")
    assert cache_folder().name == "analognets"
