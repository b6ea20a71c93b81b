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
# # 10 From a CSV to a certificate
#
# A lab has a table of measured cells and asks what a network would do on chips of them. This notebook goes all the
# way: table, device with uncertainty, hardware, a network over a year, and a sentence that says what is promised. The
# table is simulated here from hidden constants, so that you see whether the fit finds them; put your own CSV in its
# place. The words to recognise are made by espeak-ng (`pip install 'analognets[speech]'`), so accuracies mean little.
# Set `ANALOGNETS_FAST=1` for a run that shows every step and proves nothing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from IPython.display import Image, display
from matplotlib import pyplot

import analognets as an
from analognets.layers import set_hardware
from analognets.units import format_duration

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The table
# A row is a cell: the conductance that it was programmed to, and what it read later. Names of columns say the unit and
# the time. The hidden device has other constants than any device of the package, and one cell in a hundred is stuck.

# %%
hidden = {"g_max": 40.0, "noise": 0.7, "more_noise": 1.2, "nu": 0.035, "nu_spread": 0.012, "read": 0.008, "stuck": 0.01}
cells, times = 400 if FAST else 1500, [25.0, 300.0, 3600.0, 86_400.0]
random = np.random.default_rng(1)
g = random.uniform(0.02, 1.0, cells)
spread = hidden["noise"] + hidden["more_noise"] * g
programmed = np.maximum(hidden["g_max"] * g + spread * random.normal(size=cells), 0.0)
nu = np.abs(hidden["nu"] + hidden["nu_spread"] * random.normal(size=cells))
stuck = random.random(cells) < hidden["stuck"]
table = pd.DataFrame({"cell": np.arange(cells), "target_uS": hidden["g_max"] * g})
for time in times:
    noise = hidden["read"] * np.sqrt(np.log((time + 250e-9) / 500e-9)) * random.normal(size=cells)
    read = np.maximum(programmed * (time / 25.0) ** -nu * (1 + noise), 0.0)
    table[f"conductance_uS@{time:g}s"] = np.where(stuck, 0.2, read)
table.round(4).to_csv(folder / "cells.csv", index=False)
print((folder / "cells.csv").read_text()[:260], "...")

# %% [markdown]
# ## The device
# `fit` takes the simplest law that the data support, with 95 % intervals of all constants from a bootstrap, and says
# what the data can't tell. On the command line: `analognets device fit cells.csv --figures figures`.

# %%
found = an.devices.fit(folder / "cells.csv", g_max=40.0, source="lot 7", replicates=100 if FAST else 400)
told = found.constants[found.constants["told"]].drop(columns=["part", "told"])
truth = {"programming_fit[0]": "noise", "programming_fit[1]": "more_noise", "drift_mean_fit[1]": "nu"}
truth |= {"drift_spread_fit[1]": "nu_spread", "read_noise_fit[0]": "read", "stuck_shares[0]": "stuck"}
told["hidden"] = [hidden[truth[name]] if name in truth else "" for name in told.index]
display(told)
print(*found.verdict, sep="\n")

# %% [markdown]
# The laws with their bands, and measured against predicted quantiles: points on the line mean that the device does
# what the cells do, at every level and time.

# %%
for path in found.figures(folder / "figures"):
    display(Image(path))

# %% [markdown]
# ## The hardware
# The device is a file, with its source and uncertainty inside. A hardware file names it.

# %%
found.save(folder / "my_device.yaml")
chip = "rows: 1024\ncols: 512\ndac_bits: 8\nadc_bits: 8\ndevice: my_device.yaml\nsource: lot 7 on AON-CiM's array\n"
(folder / "my_chip.yaml").write_text(chip)
hardware = an.crossbar.get(str(folder / "my_chip.yaml"))
print(
    f"{hardware.name}: {hardware.rows} x {hardware.cols}, g_max {hardware.device.g_max:g} uS, {hardware.device.source}"
)

# %% [markdown]
# ## A network of the zoo over a year
# The network was trained for phase-change memory of the literature. Here it lies on chips of that, and on chips of the
# fitted device.

# %%
preset = an.zoo.load_preset("analognet_kws.hwa_8bit")
recipe = an.zoo.tasks.with_data(preset.recipe, "synthetic", {"clips_per_class": 20 if FAST else 150})
task = an.zoo.tasks.prepare(recipe, data_dir="synthetic", calibrate=False)
clips, labels = task.features("test", 48 if FAST else 300)
at = ["25s", "1d", "1y"] if FAST else ["25s", "1h", "1d", "30d", "1y"]
figure, axes = pyplot.subplots(figsize=(6, 3))
for name in ("as trained", "my_chip"):
    model = preset.model()
    if name == "my_chip":
        set_hardware(model, hardware)
    curve = an.deploy.program(model, chips=2 if FAST else 10, seed=0).evaluate((clips, labels), at=at)
    mean = 100 * curve.groupby("seconds")["accuracy"].mean()
    axes.semilogx(mean.index, mean, "-o", ms=3, label=name)
    print(f"{name}: {mean.iloc[0]:.1f} % at first, {mean.iloc[-1]:.1f} % after a year")
axes.set_xticks([float(one) for one in mean.index], [format_duration(one) for one in mean.index])
axes.set(xlabel="time since programming", ylabel="accuracy in %")
axes.legend()
pyplot.show()

# %% [markdown]
# ## The certificate
# How many chips keep an accuracy for a year? `certify` measures simulated chips one by one until that is shown or
# refuted. First with the fitted constants as if they were exact, then with constants drawn anew for each chip from the
# bootstrap: the second sentence also covers what the measurements leave open.

# %%
asked = {"min_accuracy": 0.4, "min_yield": 0.6 if FAST else 0.9, "confidence": 0.8 if FAST else 0.95, "at": "1y"}
for drawn in (False, True):
    certificate = an.deploy.certify(
        model, **asked, data=(clips, labels), data_uncertainty=False, constants_uncertainty=drawn, chips=60
    )
    print("\nconstants drawn for each chip" if drawn else "constants taken as exact")
    print(certificate, certificate.evidence(), certificate.next_step())

# %%
print("It rests on:", *certificate.rests_on, sep="\n- ")
print("\nIt does not cover:", *certificate.leaves_out, sep="\n- ")
display(an.deploy.studies.certify.certificate.certificate_figure(certificate))
