# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 Always on
#
# A keyword spotter never sees clips. It hears a stream, most of it no word at all, and is judged by false alarms per
# hour and by the words it misses. Here a bundled network listens on a simulated chip, its threshold is chosen on
# validation audio, and hours of test audio show what drift does to it. The words are made by espeak-ng
# (`pip install 'analognets[speech]'`), so only the differences tell something; give your own folder of Speech Commands
# for figures that count. Set `ANALOGNETS_FAST=1` for a run that shows every step and proves nothing.

# %%
# %matplotlib inline
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import soundfile
from IPython.display import display

import analognets as an
from analognets.datasets.running_audio import RunningAudio
from analognets.deploy.stream.report import summary_rows
from analognets.zoo.trained import open_trained

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
folder = Path(tempfile.mkdtemp())
trained = open_trained("analognet_kws.hwa_8bit")
task = trained.task("synthetic", options={"clips_per_class": 40 if FAST else 180}, calibrate=False)

# %% [markdown]
# ## Running audio
# Clips of the test split stand at known times in background noise. One seed is one sound, made piece by piece.

# %%
audio = RunningAudio(task.data, hours=0.01, seed=1, words_per_minute=20)
with soundfile.SoundFile(folder / "stream.wav", "w", samplerate=16_000, channels=1) as file:
    for block in audio.blocks():
        file.write(block)
said = [(word.begin, task.data.classes[word.label]) for word in audio.words]
print(f"{audio.seconds:.0f} s, {len(said)} clips:", ", ".join(f"{begin:.1f} {name}" for begin, name in said))

# %% [markdown]
# ## The streaming front end
# Each frame is computed once, and every window equals what the front end of the training makes of the same samples.

# %%
sound = soundfile.read(folder / "stream.wav", dtype="float32")[0]
front = an.deploy.stream.stream_frontend(trained)
parts = [front.push(block) for block in np.array_split(sound, 100)]
windows = np.concatenate([part.features for part in parts])
hop = front.every * front.frontend.hop_length
clips = np.stack([sound[number * hop :][: front.samples] for number in range(len(windows))])
gap = np.abs(windows - np.asarray(front.frontend(clips))).max()
print(f"{len(windows)} windows, {front.computed} frames; largest difference from the clip front end: {gap:.1e}")

# %% [markdown]
# ## Listening
# The stream may be a recording of any length and rate, a microphone (`an.deploy.stream.Microphone()`, extra
# `microphone`) or any generator of blocks. The network runs on a chip a day after programming. On the command line:
# `analognets listen analognet_kws.hwa_8bit --wav stream.wav --at 1d`, or without `--wav` for the microphone.

# %%
settings = an.deploy.stream.DetectorSettings(threshold=0.5)
heard = list(an.deploy.stream.listen(trained, folder / "stream.wav", at="1d", settings=settings))
for one in heard:
    truth = [name for begin, name in said if begin <= one.time <= begin + 1.75]
    print(f"{one.time:6.2f} s  {one.word:6} {one.score:.2f}   said: {', '.join(truth) or 'nothing'}")

# %% [markdown]
# ## False alarms and misses over drift time
# One threshold for all words is chosen on audio of the validation split, right after programming, and stays. A word
# counts as heard if it is named from the start of its clip until 0.75 s after its end; all other detections are false
# alarms. `analognets stream-eval analognet_kws.hwa_8bit --data DIR --hours 1` does the same.

# %%
found = an.deploy.stream.stream_evaluation(
    trained,
    task.data,
    hours=0.02 if FAST else 0.5,
    at=["25s", "1d", "1y"],
    chips=2 if FAST else 3,
    target=200 if FAST else 20,
)
columns = ["title", "threshold", "false_alarms_per_hour", "miss_rate", "words"]
display(pd.DataFrame(summary_rows(found))[columns].round(3))
print(f"on each chip at each time: {found.ratio:.3f} of the time of the audio")
display(an.deploy.stream.stream_figure(found))

# %% [markdown]
# ## Mean power
# The array works for a thousandth of the time and keeps its weights without power.

# %%
cost = an.deploy.cost(trained.model, "aon_cim")
for rate in (5, 10, 20):
    print(an.deploy.stream.duty_cycle(cost, rate))

# %% [markdown]
# ## The same detector on a microcontroller
# An export for TFLM brings smoothing, thresholds and suppression as C++ that decides as the Python code does, bit for
# bit. With a compiler at hand, here is the proof on what the network said about the stream above.

# %%
posteriors = an.deploy.stream.network_for(trained, "digital").posteriors(windows)
detector = an.deploy.stream.Detector(trained.classes, front.step, settings)
wanted = [(round(one.time), one.label) for one in detector.push(posteriors, np.arange(len(posteriors)))]
network = trained.float_model()
facts = an.deploy.to_litert(network, folder / "kws.tflite", windows[:200])
export = an.deploy.export.detector_text.DetectorExport(detector)
made = an.deploy.to_tflm(facts, folder / "firmware", name="kws", classes=trained.classes, detector=export)
print(", ".join(made.files))
main = """
#include <cstdio>
#include "kws_detector.h"
int main() {
  KwsDetector detector;
  float row[kKwsDetectorClasses];
  for (int place = 0; std::fread(row, sizeof row, 1, stdin) == 1; ++place) {
    const int label = detector.Update(row);
    if (label >= 0) std::printf("%d %d\\n", place, label);
  }
}
"""
if shutil.which("g++") is None:
    print("no g++ here: the comparison is left out")
else:
    (folder / "firmware" / "main.cc").write_text(main)
    command = ["g++", "-o", "main", "main.cc", "kws_detector.cc"]
    subprocess.run(command, cwd=folder / "firmware", check=True)
    answer = subprocess.run(folder / "firmware" / "main", input=posteriors.tobytes(), capture_output=True, check=True)
    lines = [tuple(map(int, line.split())) for line in answer.stdout.splitlines()]
    print(f"C++ and Python: {len(lines)} and {len(wanted)} detections, equal: {lines == wanted}")
