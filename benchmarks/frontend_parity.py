"""Agreement of the MFCC front end with MLPerf Tiny's published int8 features and with librosa.

python -m benchmarks.frontend_parity FEATURES.npz CLIPS [--clips 747]

FEATURES.npz holds `mfcc` (clips, 49, 10) int8 and `clip`, the path of each clip below the folder CLIPS (.wav or .flac).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from analognets.datasets.frontend import MFCC
from benchmarks._measure import report

# Input quantisation of MLPerf Tiny's keyword-spotting model; its int8 features are cut off towards zero, not rounded.
SCALE, ZERO_POINT = 0.5847029, 83


def read_clips(folder: Path, names: list[str]) -> np.ndarray:
    """Return int16 clips of 16,000 samples, padded with zeros at the end."""
    import soundfile

    clips = np.zeros((len(names), 16000), np.int16)
    for clip, name in zip(clips, names, strict=True):
        path = folder / name
        samples, _ = soundfile.read(path if path.exists() else path.with_suffix(".wav"), dtype="int16")
        clip[: len(samples)] = samples[: len(clip)]
    return clips


def mlperf_parity(features: Path, folder: Path, clips: int | None = None) -> dict[str, Any]:
    """Return the shares of int8 feature values that are equal and that differ by one step at most."""
    with np.load(features) as stored:
        expected, names = stored["mfcc"][:clips].astype(int), [str(name) for name in stored["clip"][:clips]]
    found = np.asarray(MFCC.from_preset("mlperf_tiny")(read_clips(folder, names)))[..., 0]
    found = np.clip(np.trunc(found / SCALE + ZERO_POINT), -128, 127).astype(int)
    steps = np.abs(found - expected)
    return {
        "clips": len(names),
        "values": int(steps.size),
        "exact": float((steps == 0).mean()),
        "within_one_step": float((steps <= 1).mean()),
        "largest_difference_steps": int(steps.max()),
        "clips_exact": float((steps == 0).all(axis=(1, 2)).mean()),
    }


def librosa_parity(clips: np.ndarray) -> float:
    """Return the largest difference between the preset arm_40ms and the same definition computed with librosa."""
    import librosa
    import scipy.fft

    audio = clips.astype(np.float32) / 32768
    spectrum = np.abs(librosa.stft(audio, n_fft=640, hop_length=320, window="hann", center=False))
    matrix = librosa.filters.mel(sr=16000, n_fft=640, n_mels=40, fmin=20, fmax=4000, htk=True, norm=None)
    bands = np.log(np.einsum("mf,cft->ctm", matrix, spectrum) + 1e-6)
    expected = scipy.fft.dct(bands, norm="ortho", axis=-1)[..., :10]
    return float(np.abs(np.asarray(MFCC()(clips))[..., 0] - expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=None)
    options = parser.parse_args()
    with np.load(options.features) as stored:
        names = [str(name) for name in stored["clip"][: options.clips]]
    report(
        {
            "benchmark": "frontend_parity",
            "mlperf_tiny": mlperf_parity(options.features, options.folder, options.clips),
            "arm_40ms": {
                "clips": len(names),
                "largest_difference_from_librosa": librosa_parity(read_clips(options.folder, names)),
            },
        }
    )


if __name__ == "__main__":
    main()
