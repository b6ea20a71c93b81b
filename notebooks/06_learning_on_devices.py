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
# # 06 Learning on devices
#
# A network can be trained where it will run: its weights lie in phase-change memory from the first step on, and all
# that ever changes them are pulses whose effect is known in distribution only. A digital memory takes what is smaller
# than a pulse. This is mixed-precision in-memory training (Nandakumar et al., arXiv 2001.11773), here a Keras optimizer
# around any other one. The digits are MNIST where it can be found (`ANALOGNETS_DATA`, `~/.keras/datasets` or a
# download), else drawn seven-segment digits that stand in for it. Set `ANALOGNETS_FAST=1` for a run that shows every
# step and proves nothing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import analognets as an
from analognets import devices
from analognets.deploy.accelerator.training_cost import Activity, training_cost
from analognets.errors import DataError
from analognets.training import DeviceLog, MixedPrecision, device_figure
from analognets.zoo.networks.digits import mnist_mlp

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
EPOCHS = 2 if FAST else 10
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## One device
# A SET pulse raises the conductance by a random step. The steps get smaller and scatter as much as they move. Only
# RESET leads back, and after each pulse the conductance drifts.

# %%
device = devices.PulsedPCM(g_max=20)
count, state = 2000, None
state = device.reset((count,), seed=0)
curve = [np.asarray(state["conductance"])]
for number in range(20):
    state = device.pulse(state, seed=number + 1)
    curve.append(np.asarray(state["conductance"]))
curve = np.array(curve)
print(f"mean after 1, 10, 20 pulses: {', '.join(f'{curve[n].mean():.2f}' for n in (1, 10, 20))} uS")
left = (3600 / device.t_0) ** -device.drift_exponent
print(f"mean step of the first ten: {device.mean_step:.3f} uS; after an hour {100 * left:.0f} % are left")

figure = Figure(figsize=(6, 3), layout="constrained")
axes = figure.add_subplot()
axes.plot(curve[:, :12], color="#bbbbbb", lw=0.8)
axes.errorbar(range(21), curve.mean(1), curve.std(1), fmt="o-", ms=4, color="#0072B2", capsize=3)
axes.set_xlabel("SET pulses")
axes.set_ylabel("conductance in uS")
axes.set_title("twelve devices, and mean and spread of 2,000")
display(figure)

# %% [markdown]
# ## Data


# %%
def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return seven-segment digits at random places, with noise."""
    lit = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
    bars = {"a": (0, 1, 0, 8), "g": (8, 9, 0, 8), "d": (16, 17, 0, 8)}
    bars |= {"f": (0, 9, 0, 1), "b": (0, 9, 7, 8), "e": (8, 17, 0, 1), "c": (8, 17, 7, 8)}
    rng = np.random.default_rng(seed)
    labels, pictures = rng.integers(0, 10, count), rng.uniform(0, 0.4, (count, 28, 28, 1))
    for picture, label in zip(pictures, labels, strict=True):
        down, right = rng.integers(2, 9), rng.integers(4, 15)
        for segment in lit[label]:
            top, bottom, left, end = bars[segment]
            picture[down + top : down + bottom + 1, right + left : right + end + 1] = 1.0
    return pictures.astype("float32"), labels


try:
    mnist = an.datasets.load_dataset("mnist")
    train, test = (
        (split.inputs.astype("float32") / 255, split.labels.astype("int64")) for split in (mnist.train, mnist.test)
    )
    print(mnist.info.statement)
except DataError:
    train, test = drawn(20_000, 0), drawn(2_000, 1)
    print("MNIST is not at hand: drawn digits stand in for it.")
if FAST:
    train, test = (train[0][:8000], train[1][:8000]), (test[0][:1000], test[1][:1000])

# %% [markdown]
# ## A fit on devices
# `MixedPrecision` wraps the digital rule. Everything else is plain Keras: kernels go onto pairs of devices, biases stay
# digital, and `fit` is `fit`. The same network is trained with the same rule in float beside it.


# %%
def one_hot(part: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return part[0], np.eye(10, dtype="float32")[part[1]]


def half_squares(y_true, y_pred):
    return 0.5 * keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)


def fit(optimizer, callbacks=()):
    keras.utils.set_random_seed(0)
    model = mnist_mlp()
    model.compile(optimizer, half_squares, metrics=["accuracy"], jit_compile=False, steps_per_execution=20)
    history = model.fit(*one_hot(train), epochs=EPOCHS, batch_size=10, verbose=0, callbacks=list(callbacks))
    loss, accuracy = model.evaluate(*one_hot(test), verbose=0)
    return model, history.history, accuracy


settings = {"device": "pulsed_pcm", "weight_range": 1.0, "epsilon": 0.096, "seconds_per_step": 1.0}
_, _, float_accuracy = fit(keras.optimizers.SGD(2.0))
optimizer = MixedPrecision(keras.optimizers.SGD(2.0), **settings)
model, history, accuracy = fit(optimizer, [DeviceLog(folder / "devices.csv")])
print(f"test accuracy: float {float_accuracy:.4f}, on devices {accuracy:.4f}")
print(f"SET pulses a weight, epoch by epoch: {', '.join(f'{n:.2f}' for n in history['device_pulses_per_weight'])}")

# %% [markdown]
# ## What happened to the devices
# Most weights are hardly ever pulsed, because most of what backpropagation asks for is smaller than a pulse and cancels
# in the digital memory. The next figure is what `DeviceLog` and `statistics` know.

# %%
display(device_figure(optimizer.statistics(), folder / "devices.csv"))

# %% [markdown]
# ## Without the digital memory
# The direct update turns each small step into a pulse with the probability step / epsilon, at once. On the average it
# is the same, and it is far worse: steps that would have cancelled each other now all leave their noise.

# %%
_, _, direct = fit(MixedPrecision(keras.optimizers.SGD(2.0), accumulate=False, **settings))
print(f"test accuracy without accumulation: {direct:.4f}")

# %% [markdown]
# ## From training to the chip
# The arrays are programmed already: `from_devices` hands them to `deploy` with 8-bit converters around them. Time 0 is
# the last training step; from then on they drift.

# %%
chips = an.deploy.from_devices(model, train[0][:1000], hardware="aon_cim_8bit")
table = chips.evaluate(test, at=["25s", "1h", "1d", "30d"], drift_compensation="both")
display(table.pivot(index="at", columns="drift_compensation", values="accuracy").loc[["25s", "1h", "1d", "30d"]])
display(an.deploy.drift_figure(table, float_accuracy=float_accuracy, title="The trained arrays under drift"))

# %% [markdown]
# ## What an example costs
# Both products run on the arrays, and only the update is digital. The constants that no source gives are calibrated on
# the published totals of 83.2 nJ and 14.35 uJ, and the table says which.

# %%
found = optimizer.statistics().values()
examples = EPOCHS * len(train[0])
activity = Activity(
    touched={"hidden": float((train[0] > 0).mean()), "output": 1.0},
    set_pulses=sum(entry["set_pulses"] for entry in found) / examples,
    resets=sum(entry["resets"] for entry in found) / examples,
)
cost = training_cost(model, activity)
print(cost)
display(cost.table().round(1))

# %% [markdown]
# ## From the command line
#
#     analognets train mnist-mlp                  # float, with the same rule
#     analognets train mnist-mlp --on-device      # on devices; mnist-cnn, mnist-gan and kws-lstm-on-device likewise
#     analognets evaluate runs/mnist_mlp-on-device
