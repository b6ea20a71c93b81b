"""The streaming front end: every window is what the clip front end makes of the same samples, each frame made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.datasets.audio_io import read_wav
from analognets.datasets.frontend import MFCC
from analognets.datasets.image_frontend import Image
from analognets.deploy.stream import StreamingMFCC
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.zoo.trained import open_trained

RNG = np.random.default_rng(0)
LOUDNESS = np.repeat(10.0 ** RNG.uniform(-4, -0.3, 20), 2400)
SOUND = np.clip(LOUDNESS * RNG.normal(size=len(LOUDNESS)), -1, 1).astype(np.float32)


def clips(frontend: MFCC, sound: np.ndarray, stream: StreamingMFCC) -> np.ndarray:
    """Return what the front end makes of each window as a clip."""
    hop = stream.every * frontend.hop_length
    starts = range(0, len(sound) - stream.samples + 1, hop)
    return np.asarray(frontend(np.stack([sound[start : start + stream.samples] for start in starts])))


def streamed(stream: StreamingMFCC, sound: np.ndarray, cuts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    parts = [stream.push(block) for block in np.split(sound, cuts)]
    return np.concatenate([part.features for part in parts]), np.concatenate([part.times for part in parts])


def preset_frontend() -> MFCC:
    return open_trained("analognet_kws.hwa_8bit").frontend


FRONTENDS = {
    "preset": preset_frontend,
    "arm_40ms": MFCC,
    "mlperf_tiny": lambda: MFCC.from_preset("mlperf_tiny"),
    "single": lambda: MFCC(fft_precision="single", std=(2.0,) * 10),
    "gaps between frames": lambda: MFCC(window_length=256, hop_length=700),
}


@pytest.mark.parametrize("kind", FRONTENDS)
@pytest.mark.parametrize("every", [1, 5])
def test_windows_equal_clips(kind: str, every: int) -> None:
    frontend = FRONTENDS[kind]()
    stream = StreamingMFCC(frontend, every=every)
    cuts = np.sort(np.random.default_rng(every).integers(0, len(SOUND), 40)).tolist()
    found, times = streamed(stream, SOUND, cuts)
    np.testing.assert_allclose(found, clips(frontend, SOUND, stream), atol=1e-5, rtol=1e-6)
    step = every * frontend.hop_length / 16_000
    np.testing.assert_allclose(times, 1 + step * np.arange(len(found)))
    assert stream.step == step
    assert stream.computed == frontend.frames(len(SOUND)) or frontend.normalize == "max"


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=12), st.sampled_from([1, 3, 49]), st.booleans())
@settings(max_examples=10)
def test_blocks_don_t_matter(blocks: list[int], every: int, divided: bool) -> None:
    frontend = MFCC.from_preset("mlperf_tiny" if divided else "arm_40ms")
    sound = SOUND[: sum(blocks)]
    stream = StreamingMFCC(frontend, every=every)
    found, _ = streamed(stream, sound, np.cumsum(blocks)[:-1].tolist())
    stream.reset()
    once = stream.push(sound)
    assert found.shape == once.features.shape == (max(0, (len(sound) - 16_000) // (320 * every) + 1), 49, 10, 1)
    np.testing.assert_allclose(found, once.features, atol=1e-5, rtol=1e-6)


def test_real_speech(speech_commands_dir: Path) -> None:
    folder = speech_commands_dir / "speech_commands_v0.02" / "yes"
    sound = np.concatenate([read_wav(path)[0] for path in sorted(folder.iterdir())[:6]]).astype(np.float32) / 32768
    for frontend in (preset_frontend(), MFCC.from_preset("mlperf_tiny")):
        stream = StreamingMFCC(frontend, every=2)
        found, _ = streamed(stream, sound, list(range(0, len(sound), 1600)))
        np.testing.assert_allclose(found, clips(frontend, sound, stream), atol=1e-5, rtol=1e-6)


def test_frames_are_made_anew_only_where_the_largest_sample_changes() -> None:
    stream = StreamingMFCC(MFCC.from_preset("mlperf_tiny"), every=5)
    sound = SOUND.copy()
    sound[20_000::8_000] = 1.5  # one in each window
    stream.push(sound)
    windows = (len(sound) - 16_000) // 1600 + 1
    assert stream.computed < 0.35 * windows * 49


def test_what_has_no_streaming_front_end() -> None:
    for other in (None, Image.from_preset("rgb_96")):
        with pytest.raises(ConversionError, match=r"network with an MFCC front end, for sound. Received: (none|a f)"):
            StreamingMFCC(other)
    with pytest.raises(InvalidArgumentError, match=r"at least one frame of 640 samples. Received: samples=600"):
        StreamingMFCC(MFCC(), samples=600)
    with pytest.raises(InvalidArgumentError, match=r"`every` of StreamingMFCC must be a whole number from 1 to 49"):
        StreamingMFCC(MFCC(), every=50)
