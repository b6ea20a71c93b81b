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
# # 07 Spikes on devices
#
# Neurons that fire, on synapses that are memory devices. First spoken letters become pictures of the same letters, made
# of spikes, on phase-change memory; then those devices age. After that a memristor learns by the timing of spikes: it
# reaches wanted spike times under supervision, and finds the digits of pictures without any label. The letters are
# spoken by espeak-ng (`pip install 'analognets[speech]'`). Set `ANALOGNETS_FAST=1` for a run that shows every step and
# proves nothing. The papers are arXiv 1905.11929 and 2001.09299; what they leave open is our reconstruction.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from IPython.display import display

from analognets import spiking
from analognets.devices import CuSiO2Memristor
from analognets.spiking import figures
from analognets.zoo.experiments.letters import prepare_letters, train_letters
from analognets.zoo.experiments.spiking_recipe import LettersRun, find_spiking_recipe
from analognets.zoo.experiments.spoken_letters import letter_picture

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A neuron
# A leaky integrate-and-fire neuron is a Keras layer that scans over time. Its step is exact, so a constant current
# gives the closed form of the membrane, whatever the step.

# %%
neuron = spiking.LIF(dt=0.5, return_membrane=True, dtype="float64")
current = 2500.0  # pA, less than the rheobase
_, membrane = neuron(np.full((1, 60, 1), current))
time = 0.5 * np.arange(1, 61)
exact = neuron.rest + current / neuron.leak * (1 - np.exp(-time / neuron.membrane))
print(f"largest difference from the closed form: {np.abs(np.asarray(membrane)[0, :, 0] - exact).max():.1e} mV")
print(f"rheobase {neuron.rheobase:.0f} pA; at 4 nA it fires with {neuron.rate(4000.0):.0f} Hz")

# %% [markdown]
# ## Letters that are heard and letters that are drawn
# A cochlea of gammatone filters turns each spoken letter into 132 spike trains. Each of 14 x 12 pixels is a neuron that
# should fire more often the brighter it is. The weights between them lie in 4 + 4 phase-change devices each.

# %%
overrides = ["epochs=10", "cochlea.duration=400", "pixels.duration=400", "pixels.most=2", "neuron.dt=0.5"]
recipe = find_spiking_recipe("letters", overrides if FAST else [])
task = prepare_letters(recipe)
print(f"{task.trainer.synapses.device_count:,} devices")
names = [pattern.name for pattern in task.patterns]
display(figures.raster_figure([pattern.inputs for pattern in task.patterns], names, title="What is heard"))

# %% [markdown]
# NormAD compares wanted and observed spikes after each presentation and asks for weight changes. A device answers with
# one SET pulse whose amplitude is as large as the wanted change, and nobody checks what it did.

# %%
run = LettersRun.create(folder / "letters", recipe)
result = train_letters(run, task)
display(figures.curve_figure(pd.DataFrame(result["curve"])))
last = result["last_epoch"]
share, chance = 100 * last["tolerance_25"], 100 * result["chance_25"]
print(f"within 25 ms: {share:.1f} % of the wanted spikes (by chance {chance:.1f} %)")

# %%
observed = task.trainer.observe(task.trainer.time(recipe.epochs))
wanted = [task.pixels.decode(pattern.target) for pattern in task.patterns]
display(figures.pictures_figure(wanted, [task.pixels.decode(spikes) for spikes in observed], names))

# %% [markdown]
# ## The devices age
# All conductances fall with time, and the picture fades. One factor for the whole array, from the sum of all
# conductances, brings most of it back; what is left is that devices drift since their own last pulse.

# %%
display(figures.drift_figure(pd.DataFrame(result["after"])))

# %% [markdown]
# ## A memristor that learns by timing
# In the Cu/SiO2/W device the order of two spikes decides whether the conductance rises or falls, and its present state
# how far. All constants here are assumed; they are arguments.

# %%
device = CuSiO2Memristor()
display(figures.window_figure(device))

# %% [markdown]
# The same rule as above, with one memristor a synapse: random inputs, and wanted times for each of five neurons.

# %%
rng = np.random.default_rng(0)
inputs = spiking.SpikeTrains.from_lists([np.sort(rng.uniform(0, 300, 6)) for _ in range(100)], 300.0)
target = spiking.SpikeTrains.from_lists([np.sort(rng.uniform(50, 300, 3)) for _ in range(5)], 300.0)
synapses = spiking.MemristorSynapses((100, 5), device=device)
pattern = spiking.Presentation("times", inputs, target)
trainer = spiking.SpikeTimeTrainer([pattern], synapses, neurons=spiking.LIF(dt=0.5), rate=1000.0, rate_decay=0.98)
curve = pd.DataFrame([{"epoch": number + 1, **trainer.epoch(number)} for number in range(30 if FAST else 100)])
shares = 100 * curve["tolerance_5"]
print(f"within 5 ms: {shares.iloc[0]:.0f} % at first, {shares.iloc[-1]:.0f} % at last")
display(figures.outputs_figure([(target, trainer.observe(0.0)[0])], ["wanted and observed"]))

# %% [markdown]
# ## Digits without labels
# Neurons that silence each other share the pictures among them: whoever fires first strengthens what has just spoken to
# it and forgets the rest. `analognets train stdp-mnist` does this on MNIST; here it is digits of a font, shifted about,
# so that the notebook needs no download.


# %%
def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return flat pictures of shifted digits, and what they show."""
    rng = np.random.default_rng(seed)
    digits = np.stack([np.pad(letter_picture(str(digit), (20, 16)), ((4, 4), (6, 6))) for digit in range(10)])
    labels = rng.integers(0, 10, count)
    moved = [np.roll(digits[label], rng.integers(-1, 2, 2), (0, 1)) for label in labels]
    return np.stack(moved).reshape(count, -1).astype("float32"), labels


pictures, labels = drawn(400 if FAST else 3000, seed=1)
layer = spiking.WinnerTakeAll(spiking.MemristorRows((36, 784), device=device))
layer.present(pictures, learn=True)
found = spiking.NeuronLabels.assign(layer.present(pictures[:300], stream="label"), labels[:300], 10)
fresh, truth = drawn(200, seed=2)
accuracy = np.mean(found.classify(layer.present(fresh, stream="test")) == truth)
print(f"{100 * accuracy:.1f} % of {len(truth)} new pictures")
display(figures.receptive_fields_figure(layer.rows.weights, (28, 28), labels=found.classes))
