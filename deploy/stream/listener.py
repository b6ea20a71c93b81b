"""Listening: blocks of samples in, detections with times out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.datasets.audio_blocks import RecordingBlocks
from analognets.datasets.resampling import Resampler
from analognets.deploy.chips.chips import Chips
from analognets.deploy.stream.blocks import samples_of
from analognets.deploy.stream.detector import Detection, Detector, DetectorSettings
from analognets.deploy.stream.frontend import StreamingMFCC, check_mfcc
from analognets.deploy.stream.network import StreamNetwork, network_for
from analognets.errors import DataError, InvalidArgumentError, check_number
from analognets.zoo.trained import TrainedNetwork, open_trained

__all__ = ["EVERY", "Listener", "listen", "stream_frontend"]

EVERY = 0.1
"""Seconds from one inference to the next, by default."""


def stream_frontend(trained: TrainedNetwork, every: float = EVERY, frontend: Any = None) -> StreamingMFCC:
    """Return the streaming front end of a trained network, with windows of the length that the network takes.

    Args:
        trained: from `open_trained`.
        every: seconds from one window to the next; rounded to whole frames, one at least.
        frontend: in place of the network's own.

    Raises:
        ConversionError: it has no MFCC front end.
        InvalidArgumentError: `every` is not above 0, or leaves gaps between windows.

    Examples:
        >>> trained = analognets.zoo.trained.open_trained("analognet_kws.hwa_8bit")
        >>> streaming = stream_frontend(trained, every=0.1)
        >>> streaming.step, streaming.frames
        (0.1, 49)
    """
    layer = check_mfcc(trained.frontend if frontend is None else frontend, f"the {trained.kind} '{trained.name}'")
    shape = getattr(trained.model, "input_shape", None)
    frames = shape[1] if isinstance(shape, tuple) and len(shape) == 4 else None
    second = layer.sample_rate
    if frames is None or second >= layer.window_length and layer.frames(second) == frames:
        samples = max(second, layer.window_length)
    else:
        samples = layer.window_length + (frames - 1) * layer.hop_length
    most = layer.frames(samples) * layer.hop_length / layer.sample_rate
    check_number("a stream", "every", every, 1e-3, most, unit="s")
    apart = max(1, round(every * layer.sample_rate / layer.hop_length))
    return StreamingMFCC(layer, samples=samples, every=apart)


class Listener:
    """Takes a stream block by block and returns what is heard; nothing of it depends on where the blocks end.

    Args:
        network: see `analognets.deploy.stream.network.network_for`.
        frontend: makes its features.
        classes: names of its outputs.
        settings: of the detector; None: the defaults.
        rate: samples a second of the stream, 1,000 to 768,000; None: the front end's. Another rate is converted.

    Raises:
        InvalidArgumentError: a setting is not allowed.
        DataError: the rate can't be converted.

    Examples:
        >>> from analognets.deploy.stream import network_for, stream_frontend
        >>> trained = analognets.zoo.trained.open_trained("analognet_kws.hwa_8bit")
        >>> listener = Listener(network_for(trained, "digital"), stream_frontend(trained), trained.classes)
        >>> listener.push(np.zeros(24_000, "int16")), listener.seconds
        ([], 1.5)
    """

    def __init__(
        self,
        network: StreamNetwork,
        frontend: StreamingMFCC,
        classes: Sequence[str],
        settings: DetectorSettings | None = None,
        *,
        rate: int | None = None,
    ) -> None:
        self.network = network
        self.frontend = frontend
        self.detector = Detector(classes, frontend.step, settings)
        wanted = frontend.frontend.sample_rate
        self.rate = wanted if rate is None else rate
        self._resampler = Resampler(self.rate, wanted)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard, as before the first block."""
        self.frontend.reset()
        self.detector.reset()
        self._resampler.reset()
        self.windows = 0
        self._blocks = 0

    @property
    def seconds(self) -> float:
        """How much of the stream was heard, at the front end."""
        return self.frontend.seen / self.frontend.frontend.sample_rate

    def push(self, block: Any) -> list[Detection]:
        """Return what is detected in the next block.

        Args:
            block: mono samples, floats in [-1, 1] or int16, of any number.

        Raises:
            InvalidArgumentError: it is no such block.
            DataError: it holds NaN, or numbers far over full scale.
        """
        samples = samples_of(block, self._blocks)
        self._blocks += 1
        return self._hear(self._resampler.push(samples))

    def finish(self) -> list[Detection]:
        """Return what is detected in the last samples of a stream that ends.

        Raises:
            DataError: the stream was shorter than one window.
        """
        found = self._hear(self._resampler.finish())
        if not self.windows:
            needed = self.frontend.samples / self.frontend.frontend.sample_rate
            raise DataError(
                f"A stream must be at least one window of {needed:g} s long. Received: {self.seconds:.3g} s. Record "
                "more, or put silence behind it."
            )
        return found

    def _hear(self, samples: np.ndarray) -> list[Detection]:
        windows = self.frontend.push(samples)
        posteriors = self.network.posteriors(windows.features, self.windows)
        self.windows += len(posteriors)
        return self.detector.push(posteriors, windows.times)

    def listen(self, blocks: Iterable[Any]) -> Iterator[Detection]:
        """Yield detections as they come, until the blocks end; starts anew.

        Args:
            blocks: as `push` takes them.

        Raises:
            InvalidArgumentError: `blocks` is no iterable, or as `push`.
            DataError: as `push` and `finish`.
        """
        if isinstance(blocks, np.ndarray):
            blocks = [blocks]
        if isinstance(blocks, (str, bytes)) or not isinstance(blocks, Iterable):
            raise InvalidArgumentError(
                f"A stream must be an iterable of blocks of samples. Received: {type(blocks).__name__}."
            )
        return self._listen(blocks)

    def _listen(self, blocks: Iterable[Any]) -> Iterator[Detection]:
        self.reset()
        for block in blocks:
            yield from self.push(block)
        yield from self.finish()


def listen(
    source: Any,
    stream: Any,
    *,
    on: str | None = None,
    at: str | float = "25s",
    seed: int = 0,
    chip: int = 0,
    chips: Chips | None = None,
    settings: DetectorSettings | None = None,
    every: float = EVERY,
    rate: int | None = None,
    compensation: str | None = None,
    frontend: Any = None,
    classes: Sequence[str] | None = None,
) -> Iterator[Detection]:
    """Yield the words that a trained network hears in a stream, with their times, as they come.

        for detection in an.deploy.stream.listen("analognet_kws.hwa_8bit", "party.wav", at="1d"):
            print(detection.time, detection.word, detection.score)

    Args:
        source: what `open_trained` takes: a preset, the folder of a run, a model.
        stream: path of a recording of any length; a `RecordingBlocks` or `Microphone`; an array; or an iterable of
            blocks of mono samples, floats in [-1, 1] or int16.
        on: "chip", "digital" or "float"; None: a chip if the network was trained for hardware, else digital.
        at: time since the chip was programmed, such as "1d", or seconds.
        seed: of the chips, >= 0.
        chip: which chip of that seed, or of `chips`, from 0.
        chips: programmed chips of this network, with what they have stored; None: new ones.
        settings: of the detector: threshold, smoothing, suppression; None: the defaults.
        every: seconds from one inference to the next; rounded to whole frames.
        rate: samples a second of the stream; None: what it says itself, else the front end's. Others are converted.
        compensation: name of a drift compensation in place of the hardware's.
        frontend: an `MFCC`, for a model without one.
        classes: names of the outputs, for a model without them.

    Raises:
        ConversionError: the network has no MFCC front end, names no classes, or does not run where it should.
        DataError: the recording can't be read, or its rate can't be converted; while listening: the stream ends before
            its first window is full, or a block holds NaN.
        InvalidArgumentError: an option is not allowed; while listening: a block is no mono block.

    Examples:
        >>> silence = np.zeros(32_000, "int16")
        >>> [found.word for found in listen("analognet_kws.hwa_8bit", silence, on="digital")]
        []
    """
    trained = open_trained(source)
    front = stream_frontend(trained, every, frontend)
    blocks = _blocks(stream, front.frontend.sample_rate)
    given = _rate(blocks, rate)
    options: dict[str, Any] = {"at": at, "seed": seed, "chip": chip, "chips": chips, "compensation": compensation}
    names = tuple(trained.classes if classes is None else classes)
    network = network_for(trained, on, classes=names, **options)
    return Listener(network, front, names, settings, rate=given).listen(blocks)


def _rate(blocks: Any, rate: int | None) -> int | None:
    """Return samples a second of blocks: what they say themselves, else what is given."""
    own = getattr(blocks, "rate", None)
    if own is None or rate in (None, own, getattr(blocks, "found", own)):
        return rate if own is None else int(own)
    raise InvalidArgumentError(
        f"The stream says its own rate, {getattr(blocks, 'found', own):,} samples a second. Received: rate={rate!r}. "
        "Leave `rate` out."
    )


def _blocks(stream: Any, rate: int) -> Any:
    return RecordingBlocks(Path(stream), rate, seconds=10.0) if isinstance(stream, (str, os.PathLike)) else stream
