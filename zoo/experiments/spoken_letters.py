"""What the letters experiment is made of: sounds of spoken letters, and pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analognets.datasets.audio_io import read_wav, resample
from analognets.datasets.espeak import Utterance, speak
from analognets.errors import DataError, InvalidArgumentError

__all__ = ["letter_picture", "recorded", "spoken"]

FONT = "DejaVuSansMono-Bold.ttf"
"""Comes with Matplotlib."""


def spoken(
    letter: str, *, voice: str = "en-us", words_per_minute: int = 110, duration: float, sample_rate: int
) -> np.ndarray:
    """Return a letter spoken by espeak-ng, stretched to the length of the window, float32.

    Silence before and after is cut off; the rest is stretched by a phase vocoder (librosa), because a spoken letter
    takes about half a second and the experiment's window 1.25 s. Both are our reconstruction.

    Args:
        letter: what is said.
        voice: of espeak-ng.
        words_per_minute: 80 to 450.
        duration: of the window in ms.
        sample_rate: of the result in Hz.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        DataError: espeak-ng said nothing.
    """
    import librosa

    sound, rate = next(iter(speak([Utterance(voice, letter, words_per_minute, 50, 50)])))
    sound = resample(sound, rate, sample_rate)
    peak = float(np.abs(sound).max(initial=0.0))
    heard = np.flatnonzero(np.abs(sound) > 0.02 * peak)
    if peak < 1e-3 or len(heard) < sample_rate // 50:
        raise DataError(f"espeak-ng said nothing for {letter!r} with the voice {voice!r}. Choose another voice.")
    sound, wanted = sound[heard[0] : heard[-1] + 1], round(duration * sample_rate / 1000)
    stretched = librosa.effects.time_stretch(sound, rate=len(sound) / (wanted * 1.01))
    return librosa.util.fix_length(stretched, size=wanted)


def recorded(path: str | Path, *, sample_rate: int) -> np.ndarray:
    """Return a recording as mono int16; the encoder says if it is too short or silent.

    Raises:
        DataError: the file is missing or no audio.
    """
    return read_wav(path, sample_rate)[0]


def letter_picture(letter: str, shape: tuple[int, int]) -> np.ndarray:
    """Return a picture of a letter, bright on dark, 0 to 1, filling all but a margin of one pixel.

    Args:
        letter: what is drawn, in Matplotlib's DejaVu Sans Mono Bold.
        shape: rows and columns, each 3 or more.

    Raises:
        DataError: there is nothing to be seen.
        InvalidArgumentError: the shape has no room within the margin.

    Examples:
        >>> picture = letter_picture("I", (7, 6))
        >>> picture.shape, bool(picture.max() <= 1)
        ((7, 6), True)
    """
    if min(shape) < 3:
        raise InvalidArgumentError(
            f"Pictures of letters need 3 rows and columns or more, one each for a margin. Received: {tuple(shape)}."
        )
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONT), 400)
    canvas = Image.new("L", (800, 800))
    ImageDraw.Draw(canvas).text((200, 200), letter, fill=255, font=font)
    box = canvas.getbbox()
    if box is None:
        raise DataError(f"Nothing is to be seen of the letter {letter!r}. Choose one that the font has.")
    rows, columns = shape
    inner = canvas.crop(box).resize((columns - 2, rows - 2), Image.Resampling.BOX)
    return np.pad(np.asarray(inner, dtype="float64") / 255, 1)
