"""Listening: a stream of sound through front end, network and detector; long audio, false alarms and misses.

Everything loads on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "blocks": ["Microphone", "RecordingBlocks"],
        "detector": ["Detection", "Detector", "DetectorSettings"],
        "frontend": ["StreamingMFCC", "Windows"],
        "listener": ["Listener", "listen", "stream_frontend"],
        "network": ["network_for"],
        "power": ["DutyCycle", "duty_cycle"],
        "report": ["stream_figure", "write_stream_evaluation"],
        "scoring": ["Truth", "match"],
        "study": ["StreamEvaluation", "stream_evaluation"],
    },
)
