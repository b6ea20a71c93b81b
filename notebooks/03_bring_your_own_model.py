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
# # 03 Bring your own model
#
# Any Keras model can go onto an analog chip: one you trained, one of `keras.applications`, or a `.keras` or old `.h5`
# file that someone else made. This notebook trains a small classifier of drawn shapes, saves it to a file, and takes it
# from there. Everything works offline. Set `ANALOGNETS_FAST=1` for a run that shows every step and proves nothing.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import analognets as an
from analognets.conversion import load_model
from analognets.layers import calibrate, freeze_weight_range

FAST = os.environ.get("ANALOGNETS_FAST") == "1"
keras.utils.set_random_seed(0)


def shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw noisy squares, crosses and diagonals of 16 x 16 pixels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.normal(0, 0.5, (count, 16, 16, 1)).astype("float32")
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, 8, 2)
        line = np.arange(8)
        if label == 0:
            image[top + line, [[left], [left + 7]]] += 1.0
            image[[[top], [top + 7]], left + line] += 1.0
        elif label == 1:
            image[top + line, left + 4] += 1.5
            image[top + 4, left + line] += 1.5
        else:
            image[top + line, left + line] += 1.5
    return images, labels


train, test = shapes(600 if FAST else 6000, seed=1), shapes(300 if FAST else 2000, seed=2)

# %% [markdown]
# ## A model of your own
# Plain Keras: a block that is a model itself, a residual connection, and a layer that has no analog version.

# %%
L = keras.layers
inputs = keras.Input((16, 16, 1))
x = L.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
block = keras.Sequential(
    [keras.Input((8, 8, 12)), L.Conv2D(12, 3, padding="same", name="conv"), L.BatchNormalization(), L.ReLU()],
    name="block",
)
x = L.Add()([x, block(x)])
x = L.Conv2DTranspose(16, 3, padding="same", activation="relu", name="transposed")(x)
outputs = L.Dense(3, name="logits")(L.GlobalAveragePooling2D()(x))
model = keras.Model(inputs, outputs, name="mine")
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
model.fit(*train, epochs=2 if FAST else 8, batch_size=50, verbose=0)
folder = Path(tempfile.mkdtemp())
model.save(folder / "mine.keras")

# %% [markdown]
# ## Load it, and look at the plan
# `load_model` never runs code from a file, and reads the `.h5` files of Keras 2 that Keras 3 stumbles over. `plan` says
# what would become analog and what would stay digital, and why; it converts nothing.

# %%
model = load_model(folder / "mine.keras")
model.compile(keras.optimizers.Adam(5e-4), loss, metrics=["accuracy"])
print(an.plan(model, hardware="aon_cim_8bit"))

# %% [markdown]
# ## Convert it in one call
# `to_analog` puts every product it can onto a crossbar. Given a few real inputs it also fixes the weight range W_max at
# 2 sigma of each kernel, sets the converters' ranges, and compiles the copy as your model is compiled. The report says
# what was done.

# %%
analog = an.to_analog(model, hardware="aon_cim_8bit", weight_noise=0.05, calibrate_on=train[0][:200])
print(analog.conversion_report)

# %%
analog.conversion_report.to_dataframe()[["path", "kind", "converted", "weights", "macs", "why"]]

# %% [markdown]
# ## Train for the hardware
# A short training with weight noise makes the network robust against what the devices do.

# %%
analog.fit(*train, epochs=1 if FAST else 5, batch_size=50, verbose=0)
float_accuracy = float(np.mean(model.predict(test[0], verbose=0).argmax(-1) == test[1]))
print(f"float {float_accuracy:.3f}, 8-bit converters {analog.evaluate(*test, verbose=0)[1]:.3f}")

# %% [markdown]
# ## The same in single steps
# Each step of the one call can be made by itself, with other settings: here a wider weight range.

# %%
steps = an.to_analog(model, hardware="aon_cim_8bit", weight_noise=0.05)
freeze_weight_range(steps, sigma=2.5)
calibrate(steps, train[0][:200])
steps.compile(keras.optimizers.Adam(5e-4), loss, metrics=["accuracy"])
steps.fit(*train, epochs=1 if FAST else 5, batch_size=50, verbose=0)
print(f"W_max = 2.5 sigma: {steps.evaluate(*test, verbose=0)[1]:.3f}")

# %% [markdown]
# ## Programme chips, and let them age

# %%
chips = an.deploy.program(analog, chips=2 if FAST else 10, seed=0)
table = chips.evaluate(test, at=["25s", "1d", "1y"], drift_compensation="both")
an.deploy.summarize(table, float_accuracy)

# %% [markdown]
# ## Keep a layer digital
# Layers that suffer most can be exempt, by name, by block or by path such as `block/conv`. All layers take along the
# weights they were trained to.

# %%
kept = an.to_analog(an.to_digital(analog), exempt=["stem", "block/conv"])
calibrate(kept, train[0][:200])
print(kept.conversion_report.summary)
print(an.deploy.summarize(an.deploy.program(kept, chips=1 if FAST else 10).evaluate(test, at="1d"), float_accuracy))

# %% [markdown]
# ## A published architecture
# MobileNetV2 from `keras.applications`, with random weights so that nothing is downloaded. Until it is calibrated the
# copy computes the same as the original. Its depthwise layers use few of the cells they take, which is why AnalogNets
# avoid them.

# %%
mobilenet = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10)
copy = an.to_analog(mobilenet)
pictures = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype("float32")
print("largest difference:", float(np.abs(np.asarray(copy(pictures)) - np.asarray(mobilenet(pictures))).max()))
print(copy.conversion_report.summary)
layers = copy.conversion_report.to_dataframe().query("converted")
layers = layers.assign(used=layers["kernel"] / (layers["rows"] * layers["cols"]))
layers.groupby("kind")["used"].mean()
