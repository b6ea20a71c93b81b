// The forward passes: float, int8 as LiteRT computes, and on tiles with DAC, ADC and the weights of a programmed chip.

import * as tf from "@tensorflow/tfjs-core/dist/base";
import { conv2d } from "@tensorflow/tfjs-core/dist/ops/conv2d";
import { tensor4d } from "@tensorflow/tfjs-core/dist/ops/tensor4d";

import type { Crossbar, Layer, Preset } from "./description";
import { ProgrammedLayer, targetsOf, type Reading, type Settings, type Targets } from "./physics";

/** A batch of arrays (height, width, channels), or of vectors with height and width 1. */
interface Batch {
  values: Float32Array;
  count: number;
  height: number;
  width: number;
  channels: number;
}

interface Affine {
  slope: Float32Array;
  offset: Float32Array;
}

interface Tile {
  targets: Targets;
  inputRange: number;
  weightRange: number;
}

export class Network {
  private kernels = new Map<string, tf.Tensor4D>();
  private tiles: Tile[] | null = null;

  constructor(
    readonly preset: Preset,
    private tensors: Map<string, Float32Array>,
  ) {}

  private tensor(name: string): Float32Array {
    const found = this.tensors.get(name);
    if (found === undefined) throw new Error(`Preset ${this.preset.name} holds no ${name}.`);
    return found;
  }

  private scalar(name: string): number {
    return this.tensor(name)[0];
  }

  /** What follows the product of a layer: bias and batch-norm as slope and offset of each channel. */
  private affine(layer: Layer): Affine {
    const channels = layer.kernel[layer.kernel.length - 1];
    const slope = new Float32Array(channels).fill(1);
    const offset = layer.bias ? this.tensor(`${layer.name}/bias`).slice() : new Float32Array(channels);
    if (layer.norm !== null) {
      const [gamma, beta, mean, variance] = ["gamma", "beta", "moving_mean", "moving_variance"].map((part) =>
        this.tensor(`${layer.norm!.name}/${part}`),
      );
      for (let c = 0; c < channels; c++) {
        slope[c] = gamma[c] / Math.sqrt(variance[c] + layer.norm.epsilon);
        offset[c] = (offset[c] - mean[c]) * slope[c] + beta[c];
      }
    }
    return { slope, offset };
  }

  private kept(key: string, layer: Layer, make: () => Float32Array): tf.Tensor4D {
    let kernel = this.kernels.get(key);
    if (kernel === undefined) {
      kernel = tf.keep(tensor4d(make(), shapeOf(layer)));
      this.kernels.set(key, kernel);
    }
    return kernel;
  }

  /** Outputs of the plain float network. */
  float(inputs: Float32Array, count = 1): Float32Array {
    let batch = this.batch(inputs, count);
    for (const layer of this.preset.layers) {
      if (layer.pooled) batch = pooled(batch);
      batch = product(batch, layer, this.kept(layer.name, layer, () => this.tensor(`${layer.name}/kernel`)));
      const { slope, offset } = this.affine(layer);
      const low = layer.relu ? 0 : -Infinity;
      const { values, channels } = batch;
      for (let i = 0; i < values.length; i++) values[i] = Math.max(values[i] * slope[i % channels] + offset[i % channels], low);
    }
    return batch.values;
  }

  /** Outputs of the network in 8-bit whole numbers with the scales of its .tflite file, as real numbers. */
  int8(inputs: Float32Array, count = 1): Float32Array {
    const facts = this.preset.int8;
    if (facts === null) throw new Error(`Preset ${this.preset.name} has no 8-bit scales.`);
    let scale = facts.input;
    let batch = this.batch(quantized(inputs, scale.scale, scale.zero_point), count);
    this.preset.layers.forEach((layer, number) => {
      if (layer.pooled) {
        batch = pooled(batch);
        const factor = scale.scale / facts.pool.scale;
        batch.values = batch.values.map((value) => clipped(roundAway(value * factor), facts.pool.zero_point));
        scale = facts.pool;
      }
      const { output, weights } = facts.layers[number];
      const scaleOf = (c: number): number => weights[weights.length === 1 ? 0 : c];
      const { slope, offset } = this.affine(layer);
      const kernel = this.kept(`${layer.name} in 8 bit`, layer, () => {
        const channels = slope.length;
        return this.tensor(`${layer.name}/kernel`).map((w, i) => {
          const c = i % channels;
          return Math.min(Math.max(roundAway((w * slope[c]) / scaleOf(c)), -127), 127);
        });
      });
      batch = product(batch, layer, kernel);
      const { values, channels } = batch;
      for (let i = 0; i < values.length; i++) {
        const step = scale.scale * scaleOf(i % channels);
        const sum = values[i] + roundAway(offset[i % channels] / step);
        values[i] = clipped(roundAway((sum * step) / output.scale), output.zero_point);
      }
      scale = output;
    });
    return batch.values.map((value) => value * scale.scale);
  }

  private hardware(): Crossbar {
    if (this.preset.crossbar === null) throw new Error(`Preset ${this.preset.name} was not trained for a chip.`);
    return this.preset.crossbar;
  }

  /** One chip: its layers, programmed by a seed. */
  program(chip: number): ProgrammedLayer[] {
    const crossbar = this.hardware();
    this.tiles ??= this.preset.layers.map((layer) => {
      const range = this.scalar(`${layer.name}/w_max`);
      const weights = this.tensor(`${layer.name}/kernel`).map((w) => Math.min(Math.max(w / range, -1), 1));
      const targets = targetsOf(crossbar.device, weights, layer.kernel[layer.kernel.length - 1]);
      return { targets, inputRange: this.scalar(`${layer.name}/input_range`), weightRange: range };
    });
    return this.tiles.map((tile, number) => new ProgrammedLayer(crossbar, tile.targets, 1009 * chip + number));
  }

  /** Outputs on a chip: y = b ADC(DAC(a x) W) for each layer, then bias, batch-norm and ReLU. */
  analog(inputs: Float32Array, readings: Reading[], settings: Settings, count = 1): Float32Array {
    const gain = this.scalar("adc_gain/gain");
    let batch = this.batch(inputs.slice(), count);
    this.preset.layers.forEach((layer, number) => {
      if (layer.pooled) batch = pooled(batch);
      const { weights, correction } = readings[number];
      const { inputRange, weightRange } = this.tiles![number];
      convert(batch.values, correction.input, inputRange, settings.dacBits);
      const kernel = tensor4d(weights, shapeOf(layer));
      batch = product(batch, layer, kernel);
      kernel.dispose();
      convert(batch.values, weightRange, gain * inputRange * weightRange, settings.adcBits);
      const { slope, offset } = this.affine(layer);
      const { values, channels } = batch;
      const low = layer.relu ? 0 : -Infinity;
      const after = correction.output;
      for (let i = 0; i < values.length; i++) {
        const c = i % channels;
        const value = after === null ? values[i] : values[i] * after[c];
        values[i] = Math.max(value * slope[c] + offset[c], low);
      }
    });
    return batch.values;
  }

  private batch(values: Float32Array, count: number): Batch {
    const [height, width, channels] = this.preset.input_shape;
    return { values, count, height, width, channels };
  }
}

function shapeOf(layer: Layer): [number, number, number, number] {
  const shape = layer.kernel;
  return shape.length === 4 ? [shape[0], shape[1], shape[2], shape[3]] : [1, 1, shape[0], shape[1]];
}

function product(batch: Batch, layer: Layer, kernel: tf.Tensor4D): Batch {
  return tf.tidy(() => {
    const inputs = tensor4d(batch.values, [batch.count, batch.height, batch.width, batch.channels]);
    const outputs = conv2d(inputs, kernel, layer.strides, layer.padding) as tf.Tensor4D;
    const [count, height, width, channels] = outputs.shape;
    return { values: outputs.dataSync().slice() as Float32Array, count, height, width, channels };
  });
}

function pooled(batch: Batch): Batch {
  const { values, count, height, width, channels } = batch;
  const places = height * width;
  const means = new Float32Array(count * channels);
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let i = 0; i < places; i++) sum += values[(n * places + i) * channels + c];
      means[n * channels + c] = sum / places;
    }
  }
  return { values: means, count, height: 1, width: 1, channels };
}

/** Multiply by a factor and convert, in place: r/n round(clip(x, -r, r) n/r), n = 2^(bits - 1) - 1. */
function convert(values: Float32Array, factor: number, range: number, bits: number): void {
  const steps = 2 ** (bits - 1) - 1;
  const unit = steps / range;
  const step = range / steps;
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.min(Math.max(Math.round(values[i] * factor * unit), -steps), steps) * step;
  }
}

function roundAway(x: number): number {
  return x < 0 ? -Math.round(-x) : Math.round(x);
}

/** A stored value less its zero point, where the stored one is a whole number from -128 to 127. */
function clipped(value: number, zero: number): number {
  return Math.min(Math.max(value + zero, -128), 127) - zero;
}

function quantized(values: Float32Array, scale: number, zero: number): Float32Array {
  return values.map((value) => clipped(roundAway(value / scale), zero));
}
