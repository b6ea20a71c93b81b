"""Speak words with libespeak-ng in a process of its own: `python espeak_worker.py LIBRARY DATA < jobs.json`.

The library keeps state from one word to the next, so only a fresh process says the same list of words in the same way
again; and should it crash, only this process ends. Nothing but the standard library is imported.

Input: a JSON list of [voice, text, rate, pitch, range]. Output for each: the number of samples as a little-endian int32
(-1 if the voice is not known, -2 if speaking failed), then that many int16 samples.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys

__all__ = ["main"]

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_RATE, _PITCH, _RANGE = 1, 3, 4
_UTF8 = 1


def main(library: str, data: str) -> int:
    """Say every word on standard input; see the module's text. Returns the exit code."""
    jobs = json.load(sys.stdin)
    out = sys.stdout.buffer
    speech = ctypes.CDLL(library)
    unsigned, pointer = ctypes.c_uint, ctypes.c_void_p
    speech.espeak_Synth.argtypes = (
        ctypes.c_char_p, ctypes.c_size_t, unsigned, ctypes.c_int, unsigned, unsigned, pointer, pointer,
    )  # fmt: skip
    rate = speech.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
    if rate <= 0:
        sys.stderr.write(f"espeak_Initialize returned {rate}")
        return 1
    heard = bytearray()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            heard.extend(ctypes.string_at(samples, 2 * count))
        return 0

    speech.espeak_SetSynthCallback(collect)
    out.write(struct.pack("<i", rate))
    seed = getattr(speech, "espeak_ng_SetRandSeed", lambda value: 0)  # breath is drawn from the clock otherwise
    for number, (voice, text, speed, pitch, spread) in enumerate(jobs):
        heard.clear()
        seed(number + 1)
        failed = -1 if speech.espeak_SetVoiceByName(voice.encode()) else 0
        for parameter, value in ((_RATE, speed), (_PITCH, pitch), (_RANGE, spread)):
            speech.espeak_SetParameter(parameter, int(value), 0)
        spoken = text.encode() + b"\0"
        if not failed and speech.espeak_Synth(spoken, len(spoken), 0, 1, 0, _UTF8, None, None):
            failed = -2
        speech.espeak_Synchronize()
        out.write(struct.pack("<i", failed or len(heard) // 2))
        if not failed:
            out.write(heard)
        out.flush()
    speech.espeak_Terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
