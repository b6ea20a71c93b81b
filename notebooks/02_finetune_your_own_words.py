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
# # 02 Fine-tune your own words
#
# A pretrained keyword spotter learns words of your own in a minute or two, and is programmed into simulated chips. The
# words are spoken by espeak-ng, so everything works offline; the figures say nothing about real voices. With your own
# recordings, skip the first part: all that is needed is one folder of wav files for each word. On the command line:
#
#     analognets finetune analognet_kws.hwa_8bit --data my_words
#
# Set `ANALOGNETS_FAST=1` for a short run that shows every step and proves nothing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from scipy.io import wavfile

import analognets as an
from analognets.datasets.audio_io import to_int16
from analognets.datasets.espeak import Utterance, speak, split_voices
from analognets.zoo.tasks import prepare

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
PRESET = "analognet_kws.hwa_8bit"
WORDS = ["coffee", "curtain", "radio", "window"]
folder = Path(tempfile.mkdtemp()) / "my_words"

# %% [markdown]
# ## Record words
# Each voice says each word a few times, at another rate and pitch. No timbre is heard in two of the folders `train`,
# `validation` and `test`. (Without these three, `DIR/<word>/*.wav`, the clips are split by a hash of the speaker, if
# files are named `<speaker>_nohash_<n>.wav`, and else of the file's name.)

# %%
rng = np.random.default_rng(0)
takes = 2 if FAST else 6
for split, voices in split_voices(20 if FAST else 60, seed=0).items():
    plan = [(word, voice, take) for voice in voices for word in WORDS for take in range(takes)]
    said = speak(
        [Utterance(voice, word, *map(int, rng.integers([120, 30, 30], [200, 70, 80]))) for word, voice, _ in plan]
    )
    for (word, voice, take), (sound, rate) in zip(plan, said, strict=True):
        (folder / split / word).mkdir(parents=True, exist_ok=True)
        wavfile.write(folder / split / word / f"{voice}_nohash_{take}.wav", rate, to_int16(sound))
clips = len([*folder.glob("train/*/*.wav")])
print(f"{clips} training clips of {', '.join(WORDS)}")

# %% [markdown]
# ## From the preset's recipe to one of your own
# The recipe keeps the front end and the augmentation of the preset, replaces the last layer, and names the preset's
# weights by their checksum. `silence` is made from noise.

# %%
preset = an.zoo.load_preset(PRESET)
print(f"{preset.name} knows: {', '.join(preset.classes)}")
recipe = an.zoo.finetune_recipe(
    PRESET,
    classes=[*WORDS, "silence"],
    samples=clips,
    dataset={"name": "audio_folder", "options": {"silence": True}},
    epochs=2 if FAST else None,
    hardware_aware_epochs=1 if FAST else None,
)
print(recipe.to_yaml().partition("frontend:")[0])

# %% [markdown]
# ## Train: float, then with converters and weight noise

# %%
task = prepare(recipe, data_dir=folder)
print(task.data.info.statement)
run = an.training.Run.create(folder.parent / "finetuned", recipe)
result = an.training.train(run, model=task.model, data=task.training)
pd.DataFrame(result.metrics)[["stage", "epoch", "accuracy", "val_accuracy"]].tail()

# %% [markdown]
# ## Evaluate on chips
# Each chip is programmed once and read at several ages.

# %%
inputs, labels = task.features("test")
chips = an.deploy.program(result.analog_model, chips=2 if FAST else 10, seed=0)
table = chips.evaluate((inputs, labels), at=["25s", "1d", "1y"])
float_accuracy = (result.float_model.predict(inputs, verbose=0).argmax(-1) == labels).mean()
print(f"{len(labels)} test clips, float accuracy {float_accuracy:.3f}")
an.deploy.summarize(table, float_accuracy)

# %% [markdown]
# ## Which words are mixed up?
# Rows are what was said, columns what chip 0 heard a day after programming.

# %%
heard = chips.predict(inputs, chip=0, at="1d").argmax(-1)
names = np.array(task.data.classes)
confusion = pd.crosstab(names[labels], names[heard], rownames=["said"], colnames=["heard"])
confusion.reindex(index=names, columns=names, fill_value=0)

# %% [markdown]
# ## Keep it
# A preset holds network, front end, classes, recipe and model card in one folder that others can open.

# %%
mine = an.zoo.save_to_preset(run.path, folder.parent / "my_words.hwa_8bit")
print(mine, mine.check_golden().passed)
