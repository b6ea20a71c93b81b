"""Listening: a stream of sound through front end, network and detector; long audio, false alarms and misses."""

from analognets.deploy.stream.blocks import Microphone, samples_of
from analognets.deploy.stream.frontend import StreamingMFCC, Windows

__all__ = ["Microphone", "StreamingMFCC", "Windows", "samples_of"]
