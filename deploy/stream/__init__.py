"""Listening: a stream of sound through front end, network and detector; long audio, false alarms and misses."""

from analognets.datasets.audio_blocks import RecordingBlocks
from analognets.deploy.stream.blocks import Microphone
from analognets.deploy.stream.detector import Detection, Detector, DetectorSettings
from analognets.deploy.stream.frontend import StreamingMFCC, Windows
from analognets.deploy.stream.listener import Listener, listen, stream_frontend
from analognets.deploy.stream.network import network_for

__all__ = [
    "Detection",
    "Detector",
    "DetectorSettings",
    "Listener",
    "Microphone",
    "RecordingBlocks",
    "StreamingMFCC",
    "Windows",
    "listen",
    "network_for",
    "stream_frontend",
]
