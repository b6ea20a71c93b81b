"""The whole forward path of a programmed chip in plain NumPy and double precision, written from the equations.

Rounding turns a difference in the last float bit into a whole converter step where a value lies at the edge between
two steps. The reference therefore marks every sample in which any converter saw a value within `TIE` steps of such an
edge; the tests compare the other samples to float precision and check that enough of them are left.
"""

from __future__ import annotations

import numpy as np

TIE = 5e-4
FLOOR = 1e-4


class Forward:
    """One pass of a batch; `tied` tells which samples came near a converter's edge."""

    def __init__(self, samples):
        self.tied = np.zeros(samples, bool)

    def convert(self, values, value_range, bits):
        if bits is None:
            return values
        steps = 2 ** (bits - 1) - 1
        in_steps = np.clip(values / value_range, -1, 1) * steps
        near = np.abs(np.abs(in_steps - np.floor(in_steps)) - 0.5) < TIE
        self.tied |= near.reshape(len(near), -1).any(axis=1)
        return np.rint(in_steps) * value_range / steps

    def analog(self, layer, inputs, weights, reference):
        """DAC, tiles, ADC, drift compensation, digital sum; `weights` and `reference` in units of W_max."""
        hardware = layer.crossbar
        w_max = float(layer.w_max.numpy()) or float(np.abs(layer.kernel.numpy()).max())
        input_range, gain = float(layer.input_range.numpy()), float(layer.adc_gain.gain.numpy())
        adc_range = gain * input_range * w_max
        converted = self.convert(inputs.astype(np.float64), input_range, hardware.dac_bits)
        columns = patches(layer, converted)
        outputs = np.zeros((*columns.shape[:-2], weights.shape[-1]))
        for rows in layer.tiling.row_blocks:
            for cols in layer.tiling.col_blocks:
                tile = weights.reshape(-1, *weights.shape[-2:])[:, slice(*rows), slice(*cols)]
                part = columns[..., slice(*rows)].reshape(*columns.shape[:-2], -1)
                partial = part @ (tile * w_max).reshape(-1, tile.shape[-1])
                alpha = 1.0
                if reference is not None:
                    first = reference.reshape(-1, *weights.shape[-2:])[:, slice(*rows), slice(*cols)]
                    alpha = max(np.abs(first).mean(), FLOOR) / max(np.abs(tile).mean(), FLOOR)
                outputs[..., slice(*cols)] += alpha * self.convert(partial, adc_range, hardware.adc_bits)
        return outputs + layer.bias.numpy() if layer.use_bias else outputs

    def model(self, model, inputs, weights, references):
        """Run a chain of layers; one array of weights and of references for each analog layer."""
        x, weights, references = inputs, list(weights), list(references)
        for layer in model.layers:
            kind = type(layer).__name__
            if kind.startswith("Analog"):
                x = self.analog(layer, x, weights.pop(0), references.pop(0))
                if layer.activation is not None and layer.activation.__name__ == "relu":
                    x = np.maximum(x, 0)
            elif kind == "BatchNormalization":
                mean, variance = layer.moving_mean.numpy().astype(float), layer.moving_variance.numpy().astype(float)
                x = layer.gamma.numpy() * (x - mean) / np.sqrt(variance + layer.epsilon) + layer.beta.numpy()
            elif kind == "ReLU":
                x = np.maximum(x, 0)
            elif kind == "GlobalAveragePooling2D":
                x = x.mean(axis=(1, 2))
            elif kind != "InputLayer":
                raise NotImplementedError(kind)
        assert not weights
        return x


def patches(layer, inputs):
    """Return what lies under the kernel at each output position: (..., kernel positions, channels)."""
    if type(layer).__name__ == "AnalogDense":
        return inputs[..., None, :]
    (kh, kw), (sh, sw) = layer.kernel_size, layer.strides
    height, width = inputs.shape[1:3]
    if layer.padding == "same":
        out_h, out_w = -(-height // sh), -(-width // sw)
        total_h, total_w = max((out_h - 1) * sh + kh - height, 0), max((out_w - 1) * sw + kw - width, 0)
        pads = ((0, 0), (total_h // 2, total_h - total_h // 2), (total_w // 2, total_w - total_w // 2), (0, 0))
        inputs = np.pad(inputs, pads)
    else:
        out_h, out_w = (height - kh) // sh + 1, (width - kw) // sw + 1
    return np.stack(
        [
            inputs[:, i : i + (out_h - 1) * sh + 1 : sh, j : j + (out_w - 1) * sw + 1 : sw]
            for i in range(kh)
            for j in range(kw)
        ],
        axis=-2,
    )


def drifted(state, seconds, t_0):
    """Return G+ - G- of drifting devices without read noise, in uS."""
    g, nu = state["conductance"].astype(np.float64), state["drift_exponent"].astype(np.float64)
    g = g * (max(seconds, t_0) / t_0) ** -nu
    return g[0] - g[1]
