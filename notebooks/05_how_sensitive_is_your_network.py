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
# # 05 How sensitive is your network?
#
# An analog crossbar is wrong in many small ways: converters round, devices are programmed inexactly, read with noise
# and drift, wires lose voltage. Which of these hurts a network most, how much of each it bears, and which of its layers
# are the weak ones, can be measured without training it again. The crossbar is that of Rasch et al. (Nat. Commun.
# 14:5282, 2023), the questions are theirs too. The networks are bundled presets trained for that crossbar; the words to
# recognise are made by espeak-ng (`pip install 'analognets[speech]'`), so only differences tell something here. Set
# `ANALOGNETS_FAST=1` for a run that shows every step and proves nothing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from IPython.display import display

import analognets as an
from analognets.crossbar import product_error
from analognets.deploy.studies import sensitivity

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
folder = Path(tempfile.mkdtemp())
crossbar = an.crossbar.get("aimc_standard")

# %% [markdown]
# ## What the crossbar does wrong
# Each non-ideality is a small object with one strength, in the order in which it acts. Any of them can be switched off,
# scaled or set.

# %%
for name, strength in crossbar.strengths().items():
    print(f"{name:18} {strength:g}")

# %% [markdown]
# The standard test multiplies random inputs with random weights on one full tile. Its error is about 15 % an hour after
# programming; what each effect adds shows when it is left out.

# %%
test = {"at": "1h", "vectors": 100 if FAST else 1000, "chips": 1 if FAST else 4}
rows = [("as it is", product_error(crossbar, **test).error)]
for name in ("programming_noise", "read_noise", "drift", "short_term_noise", "ir_drop", "output_noise"):
    rows.append((f"without {name}", product_error(crossbar.without(name), **test).error))
rows.append(("IR drop x 11.7", product_error(crossbar.scaled("ir_drop", 11.7), **test).error))
display(pd.DataFrame(rows, columns=["crossbar", "product error"]).set_index("crossbar").round(4))

# %% [markdown]
# ## One effect, stronger and stronger
# The chips are the same at all strengths: only the effect grows. On the command line: `analognets sweep PRESET
# --nonideality output_noise --values 0.04,0.1,0.2,0.4,0.8`. Each measured chip is a file of its own, so that an
# interrupted sweep goes on where it stopped.

# %%
networks = ["gru_kws.hwa_standard"] if FAST else ["resnet8_kws.hwa_standard", "gru_kws.hwa_standard"]
common = {
    "data": "synthetic",
    "data_options": {"clips_per_class": 20 if FAST else 100},
    "limit": 48 if FAST else 400,
    "chips": 2 if FAST else 8,
    "at": "1h",
}
table = sensitivity.sweep_nonideality(
    networks, "output_noise", [0.04, 0.8] if FAST else [0.04, 0.1, 0.2, 0.4, 0.8], folder / "sweep", **common
)
summary = sensitivity.summarize_sweep(table)
display(summary[["network", "value", "accuracy", "standard_error", "normalized"]].round(3))
display(sensitivity.curve_figure(summary))

# %% [markdown]
# ## Equal error: the same product error for all
# Is noise at the ADC worse than noise of the weights? To compare them, each effect alone is raised until the product
# error of the standard test is 20 %; then every network is measured with it. `analognets sensitivity PRESET ...
# --method equal_error` does the same.

# %%
effects = ["output_noise", "adc_bits", "device_noise"] if FAST else None
first = sensitivity.equal_error_study(networks, folder / "study", nonidealities=effects, **common)
display(first[["network", "nonideality", "standard", "strength", "accuracy", "loss"]].round(3))
display(sensitivity.heat_map(first))

# %% [markdown]
# ## Thresholds: how much of it is too much
# The strength at which a network has lost one percent of its normalised accuracy.

# %%
effects = ["output_noise"] if FAST else ["output_noise", "adc_bits", "dac_bits", "device_noise", "short_term_noise"]
second = sensitivity.threshold_study(networks, folder / "study", nonidealities=effects, **common)
display(second[["network", "nonideality", "standard", "threshold", "beyond", "sensitivity"]].round(3))

# %% [markdown]
# ## Which layers are the weak ones?
# Fifteen times the device noise in one layer and none elsewhere ranks the layers. Then layer by layer, the weakest
# first, device noise is taken away until the network is as good as its float twin.

# %%
layers = sensitivity.layer_study(networks[:1], folder / "study", **common)
display(layers.ranking[["layer", "rank", "weights", "normalized"]].round(3))
display(layers.exemption[["exempt", "layer", "share", "normalized", "enough"]].round(3))
display(sensitivity.layer_figure(layers))

# %% [markdown]
# A layer that can't be spared its noise can stay digital: convert with `exempt=`, or say so in a recipe
# (`hardware_aware.exempt`), and train again.

# %%
weakest = layers.ranking.iloc[0]["layer"]
print(f"analog = an.to_analog(model, hardware='aimc_standard', exempt=[{weakest!r}])")
