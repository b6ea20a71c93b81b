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
# # 08 Four bits for a year
#
# A converter with 4 bits has seven levels on each side of zero. Devices drift, so the products of a layer get smaller,
# and a year later most of those seven levels are not used any more. This notebook shows what that does to a bundled
# preset, and what helps: a factor after the ADC, a factor before the DAC, and batch-norms that the chip calibrates
# itself on clips without labels. The words to recognise are made by espeak-ng (`pip install 'analognets[speech]'`), so
# only the differences tell something; set `DATA` to a folder of Speech Commands for real ones. Set `ANALOGNETS_FAST=1`
# for a run that shows every step and proves nothing.

# %%
# %matplotlib inline
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib import pyplot

import analognets as an
from analognets.deploy.accelerator import adabs_cost
from analognets.layers import analog_layers, set_hardware
from analognets.units import format_duration

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
DATA = "synthetic"
preset = an.zoo.load_preset("analognet_kws.hwa_4bit")
recipe = an.zoo.tasks.with_data(preset.recipe, DATA, {"clips_per_class": 20 if FAST else 150})
task = an.zoo.tasks.prepare(recipe, data_dir=DATA, calibrate=False)
test = task.features("test", 48 if FAST else 400)
heard = task.features("train", 60 if FAST else 500)[0]  # features alone: no labels from here on
print(task.data.info.statement)

# %% [markdown]
# ## The signal shrinks in front of the ADC
# The full scale of the ADCs is one number for all layers, fixed when the network was trained. Here is one layer of one
# chip: how often each ADC level comes up right after programming, and after a year.

# %%
model = preset.model()
chips = an.deploy.program(model, chips=2 if FAST else 5, seed=0)
layer, times = analog_layers(model)[0], ["25s", "1y"]
levels = 2 ** (layer.crossbar.adc_bits - 1) - 1
step = float(layer.adc_range()) / levels

figure, axes = pyplot.subplots(figsize=(6, 3))
used = {}
for place, at in enumerate(times):
    weights = chips.chips[0].read(chips.layers, at)[0].kernel
    products = np.asarray(layer.programmed_product(test[0], weights)) / step
    codes = np.clip(np.round(products), -levels, levels).ravel().astype(int)
    share = np.bincount(codes + levels, minlength=2 * levels + 1) / len(codes)
    used[at] = float(np.exp(-np.sum(share[share > 0] * np.log(share[share > 0]))))
    axes.bar(np.arange(-levels, levels + 1) + 0.4 * (place - 0.5), 100 * share, 0.4, label=at)
axes.set(xlabel="ADC level", ylabel="share in %", title=f"{layer.name}, {layer.crossbar.adc_bits}-bit ADC")
axes.legend()
pyplot.show()
print("levels in use (perplexity): " + ", ".join(f"{used[at]:.2f} at {at}" for at in times))

# %% [markdown]
# ## A factor after the ADC, or before the DAC
# Drift compensation reads each tile now and then and knows by how much it has decayed. The usual rule ("global")
# multiplies the results of the ADC by that factor; "column" does it column by column. The levels are lost by then. The
# rule "input" multiplies the inputs before the DAC instead: the ADC then sees the signal as it was, at the same gain.
# Inputs beyond the range of the DAC are clipped, which is the price.

# %%
AT = ["25s", "1d", "1y"] if FAST else ["25s", "1h", "1d", "30d", "1y"]
by_rule = {}
for rule in ("global", "column", "input"):
    other = preset.model()
    set_hardware(other, analog_layers(other)[0].crossbar.replace(drift_compensation=rule))
    by_rule[rule] = an.deploy.program(other, chips=2 if FAST else 5, seed=0)
table = pd.concat([made.evaluate(test, at=AT).assign(rule=rule, adabs=False) for rule, made in by_rule.items()])
display(
    table.pivot_table(index="rule", columns="seconds", values="accuracy", sort=False).rename(columns=format_duration)
)

# %% [markdown]
# ## Batch-norms that the chip calibrates itself
# Drift also moves the mean and the variance of each channel in front of its batch-norm. A device can measure both: it
# runs some clips that it has heard, adds up numbers and squares, layer after layer, and puts the results into its
# digital scales (AdaBS). It needs no labels. `calibrate` does that for each chip at each time and keeps the result;
# from then on `evaluate` and `predict` use the latest calibration up to the time asked for, and `save` stores them
# beside the chips.

# %%
for rule, made in by_rule.items():
    made.calibrate(heard, at=AT[1:])
    table = pd.concat([table, made.evaluate(test, at=AT).assign(rule=f"{rule} + AdaBS", adabs=True)])
display(by_rule["input"].calibrations.table().head())

figure, axes = pyplot.subplots(figsize=(6, 3.5))
for rule, part in table.groupby("rule", sort=False):
    mean = 100 * part.groupby("seconds")["accuracy"].mean()
    axes.semilogx(mean.index, mean, "--o" if part["adabs"].iloc[0] else "-o", ms=3, label=rule)
axes.set_xticks([float(one) for one in mean.index], [format_duration(one) for one in mean.index])
axes.set(xlabel="time since programming", ylabel="accuracy in %", title="4 bits, synthetic words")
axes.legend(fontsize="small")
pyplot.show()
last = table[table["at"] == "1y"].groupby("rule", sort=False)["accuracy"].mean()
print("after a year: " + ", ".join(f"{rule} {100 * value:.1f} %" for rule, value in last.items()))

# %% [markdown]
# ## How many clips, and what they cost
# Few clips give noisy statistics, and noisy statistics cost accuracy where the trained ones still fit. How many are
# enough depends on the drift compensation beside it. `benchmarks/adabs_study.py` measures this on real speech.

# %%
counts = [5, 20, 60] if FAST else [10, 25, 50, 100, 250, 500]
figure, axes = pyplot.subplots(figsize=(6, 3))
for rule in ("global", "input"):
    made, curve = by_rule[rule], []
    for count in counts:
        made.calibrate(heard[:: len(heard) // count][:count], at="1y")
        curve.append(100 * made.evaluate(test, at="1y")["accuracy"].mean())
    line = axes.semilogx(counts, curve, "-o", ms=3, label=f"{rule} + AdaBS")[0]
    axes.axhline(100 * last[rule], color=line.get_color(), ls="--", lw=1)
axes.set(xlabel="clips without labels", ylabel="accuracy in %", title="After a year (dashed: statistics as trained)")
axes.legend(fontsize="small")
pyplot.show()

# %% [markdown]
# Both are cheap. The factor before the DAC is a digital product for each number that is fetched; a calibration is some
# passes over the clips, once in a while.

# %%
cost = an.deploy.cost(by_rule["input"].model, "aon_cim", bits=4)
print(f"{cost.energy_uj:.2f} uJ an inference. {cost.statement.split('. ')[-1]}")
print(adabs_cost(preset.model(), 100, "aon_cim", bits=4))
