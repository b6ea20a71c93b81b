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
# # 04 From model to chip
#
# What becomes of a trained network on a real accelerator: where each weight lies, when each layer runs, what an
# inference costs, what the devices hold, which files a lab needs to programme them, and which chip would be a better
# one. The network is a bundled preset, so nothing is trained, and everything works offline; the words to recognise are
# made by espeak-ng (`pip install 'analognets[speech]'`). Set `ANALOGNETS_FAST=1` for a run that shows every step and
# proves nothing.

# %%
# %matplotlib inline
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from IPython.display import display

import analognets as an
from analognets.deploy.accelerator import figures, list_accelerators, load_accelerator
from analognets.deploy.accelerator.costs import with_range
from analognets.deploy.lab.recording import record_simulated

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
folder = Path(tempfile.mkdtemp())
preset = an.zoo.load_preset("analognet_kws.hwa_8bit")
model = preset.model()

# %% [markdown]
# ## Where each weight lies
# A convolution becomes a block of (kernel positions x input channels) rows and one column an output. AON-CiM has one
# array of 1024 x 512 cells, so all blocks have to fit side by side.

# %%
placement = an.deploy.place(model, "aon_cim")
print(placement)
display(figures.floorplan_figure(placement))

# %% [markdown]
# ## When each layer runs, and what it costs
# The array takes one layer after another: it drives the rows of a block and converts 128 columns in one pass. The
# digital pipeline works meanwhile. Every constant behind these figures carries its unit, its origin and whether it is
# verified, from memory, or calibrated on published totals.

# %%
cost = an.deploy.cost(model, "aon_cim", bits=8)
print(cost)
display(figures.timeline_figure(cost))

# %%
columns = ["layer", "rows", "cols", "positions", "passes", "time_us", "energy_uj", "energy_low_uj", "energy_high_uj"]
cost.table()[columns].round(3)

# %%
display(figures.energy_figure(cost))

# %% [markdown]
# Fewer bits make passes shorter, because the converters count. In brackets stands the range of the energy: what all
# constants that meet the chip's published figures allow. Other chips are YAML files; add your own.

# %%
for name in list_accelerators():
    chip = load_accelerator(name)
    for bits in [count for count in (8, 6, 4) if chip.min_bits <= count <= chip.max_bits]:
        other = an.deploy.cost(model, chip, bits=bits)
        energy = with_range(other.energy_uj, other.energy_range_uj, ".2f", "uJ")
        efficiency = with_range(other.tops_per_watt, other.tops_per_watt_range, ".2f", "TOPS/W")
        print(f"{name} {bits} bit: {other.inferences_per_second:,.0f} inferences/s, {energy}, {efficiency},")
        print(f"    {100 * other.utilisation:.1f} % of {other.placement.arrays} array(s)")

# %% [markdown]
# ## What the devices hold
# Each weight is the difference of two conductances. Programming is not exact, and later they drift. A day after
# programming this is what the array looks like:

# %%
chips = an.deploy.program(model, chips=2 if FAST else 5, seed=0)
display(figures.conductance_figure(placement, chips, at="1d"))

# %% [markdown]
# ## Hand-over to a lab
# `export_targets` writes all that a lab needs to programme real devices: target conductances of both devices of each
# pair, tile by tile as placed, converter settings, digital scales, drift-compensation read-outs and the schedule, as
# .npy files and JSON with a published schema.

# %%
targets = chips.export_targets(folder / "targets")
index = json.loads((targets / "index.json").read_text())
tile, layer = index["tiles"][1], index["layers"][1]
print(sorted(path.name for path in targets.iterdir()))
print("chip:", index["chip"])
print("tile:", {key: tile[key] for key in ("name", "file", "array", "row", "col", "rows", "cols")})
print("layer:", {key: layer[key] for key in ("name", "weight_max", "dac", "adc", "followed_by")})
values = np.load(targets / tile["file"])
print(f"{tile['file']}: {values.shape}, {values.min():.2f} to {values.max():.2f} uS")

# %% [markdown]
# A lab would now programme and measure. Here the device model plays the lab: its readings after a day go into the same
# folder, and come back as chips that compute with exactly the conductances that were read.

# %%
record_simulated(targets, chips, at="1d")
lab = an.deploy.Chips.import_measured(targets, model)
inputs = preset.golden["inputs/0"]
gap = np.abs(lab.predict(inputs, at="1d") - chips.predict(inputs, at="1d")).max()
print(f"{len(lab)} measured chips; largest difference from the chips that were measured: {gap:.2g}")

# %% [markdown]
# ## Which chip would be better?
# `explore` (on the command line `analognets explore`) measures accuracy after a day on every combination, in parallel
# if asked to, and goes on where it was interrupted. Bits and arrays reuse the weights; where they change the
# arithmetic, the converter ranges are set anew. The words here are synthetic, so only the differences tell something.
# The line joins what no other chip beats in accuracy and efficiency.

# %%
table = an.deploy.explore(
    "analognet_kws.hwa_8bit",
    folder / "exploration",
    bits=[8, 4] if FAST else [8, 6, 5, 4],
    arrays=[(1024, 512)] if FAST else [(1024, 512), (512, 512), (256, 256)],
    adcs=[128, 32] if FAST else [256, 128, 64, 32],
    data="synthetic",
    data_options={"clips_per_class": 20 if FAST else 150},
    limit=24 if FAST else 300,
    chips=2 if FAST else 5,
)
columns = ["bits", "rows", "cols", "adcs", "accuracy", "tops_per_watt", "energy_uj", "inferences_per_second"]
ends = ["tops_per_watt_low", "tops_per_watt_high"]
display(table[[*columns, *ends, "area_mm2", "utilisation", "pareto"]].round(3))
display(an.deploy.pareto_figure(table, title="AnalogNet-KWS on variants of AON-CiM, synthetic words"))
