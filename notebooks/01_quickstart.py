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
# # 01 Quickstart: a keyword spotter on an analog chip
#
# A keyword spotter is trained for a phase-change-memory (PCM) chip, programmed into simulated chips, and watched as
# the chips age. The speech is made by espeak-ng, so everything works offline; its figures say nothing about real
# voices. Set `ANALOGNETS_FAST=1` for a run of about a minute that shows every step and proves nothing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import analognets as an
from analognets.zoo.tasks import find_recipe, prepare

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
overrides = [
    "dataset.options.clips_per_class=12",
    "sampling.steps=4",
    "float.epochs=2",
    "hardware_aware.epochs=1",
]
recipe = find_recipe("kws_demo", overrides if FAST else [])
task = prepare(recipe)
print(task.data.info.statement)

# %% [markdown]
# ## Two stages of training
# Stage 1 is plain Keras with clipped weights. Stage 2 makes the network analog: every product gets a DAC before and an
# ADC behind it, all ADCs share one gain, and fresh noise is added to the weights in each batch.

# %%
folder = Path(tempfile.mkdtemp()) / "quickstart"
run = an.training.Run.create(folder, recipe)
result = an.training.train(run, model=task.model, data=task.training)
print(result.analog_model.conversion_report)

# %% [markdown]
# ## Programme chips, and let them age
# One seed is one chip: its conductances are drawn once and stored. Both devices of each pair drift on their own.

# %%
chips = an.deploy.program(result.analog_model, chips=3 if FAST else 25, seed=0)
inputs, labels = task.features("test")
table = chips.evaluate((inputs, labels), at=["25s", "1h", "1d", "30d", "1y"], drift_compensation="both")
float_accuracy = (result.float_model.predict(inputs, verbose=0).argmax(-1) == labels).mean()
an.deploy.summarize(table, float_accuracy)

# %%
an.deploy.drift_figure(table, float_accuracy=float_accuracy, title="Synthetic speech, 8-bit converters")

# %% [markdown]
# ## Look inside a chip
# The first convolution's largest weight is held by one device of a pair; the other one was programmed to zero.

# %%
layer, programmed = chips.layers[0], chips.chips[0].layers[0]
device = layer.crossbar.device
pair = programmed.state["conductance"].reshape(2, -1)
largest = abs(pair[0] - pair[1]).argmax()
for time in ("25s", "1d", "1y"):
    plus, minus = device.read(programmed.state, time, seed=0).numpy().reshape(2, -1)[:, largest]
    print(f"{time:>4}: G+ = {plus:5.2f} uS, G- = {minus:5.2f} uS")

# %% [markdown]
# ## Your own Keras model
# `to_analog` takes any Keras model; `calibrate` sets the converter ranges from data.

# %%
mine = result.float_model
analog = an.to_analog(mine, hardware="aon_cim_6bit", weight_noise=0.05)
an.layers.freeze_weight_range(analog, sigma=2.0)
an.layers.calibrate(analog, task.training.calibration)
print(an.deploy.summarize(an.deploy.program(analog, chips=2).evaluate((inputs, labels), at=["1d"]), float_accuracy))
