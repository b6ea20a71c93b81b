// Phase-change memory in pairs of devices: programming noise, drift, read noise, stuck devices, drift compensation.
// The equations of analognets.devices.PCM and analognets.devices.drift_compensation, with the constants that those export.

import type { Compensation, Crossbar, Device } from "./description";
import { Normals, uniformAt, mixed } from "./random";

export interface Settings {
  time: number; // s since programming
  dacBits: number;
  adcBits: number;
  compensation: Compensation;
  readNoise: number; // factor on the published one
  stuck: number; // share of devices at 0 uS
  programmingNoise: number; // factor on the published one
  reading: number; // number of this reading; another one draws read noise anew
}

/** What the target conductances of a layer imply, the same on all chips. */
export interface Targets {
  weights: Float32Array; // W / gamma in [-1, 1]
  columns: number;
  spread: Float32Array; // of programming, uS
  drift: Float32Array; // mean of the drift exponent
  driftSpread: Float32Array;
  noise: Float32Array; // amplitude of read noise
  empty: { spread: number; drift: number; driftSpread: number; noise: number }; // the device of a pair that has target 0
}

export interface Correction {
  input: number; // before the DAC
  output: Float32Array | null; // after the ADC, a number for each column; null: 1
}

export interface Reading {
  weights: Float32Array; // W(t) / gamma
  correction: Correction;
}

function clippedLine(x: number, [slope, offset, low, high]: [number, number, number, number]): number {
  return Math.min(Math.max(slope * x + offset, low), high);
}

/** Return spread of programming (uS), mean and spread of the drift exponent and read noise of devices with target g. */
export function moments(device: Device, g: number): [number, number, number, number] {
  const logG = Math.log(Math.max(g, device.lowest));
  const fit = device.programming_fit;
  let spread = 0;
  for (let i = fit.length - 1; i >= 0; i--) spread = spread * g + fit[i];
  spread = Math.max(spread * (device.g_max / device.programming_fit_g_max), 0);
  const [factor, exponent, high] = device.read_noise_fit;
  const noise = Math.min(factor * Math.exp(-exponent * logG), high);
  return [spread, clippedLine(logG, device.drift_mean_fit), clippedLine(logG, device.drift_spread_fit), noise];
}

export function targetsOf(device: Device, weights: Float32Array, columns: number): Targets {
  const [spread, drift, driftSpread, noise] = [0, 1, 2, 3].map(() => new Float32Array(weights.length));
  for (let i = 0; i < weights.length; i++) {
    [spread[i], drift[i], driftSpread[i], noise[i]] = moments(device, Math.abs(weights[i]));
  }
  const [a, b, c, d] = moments(device, 0);
  const empty = { spread: a, drift: b, driftSpread: c, noise: d };
  return { weights, columns, spread, drift, driftSpread, noise, empty };
}

/** ln D(t): how far the devices have drifted at a time; 0 at t_0 and before. */
export function driftLogTime(device: Device, time: number): number {
  return Math.log(Math.max(time / device.t_0, 1));
}

/** Square root of L(t): standard deviation of the read noise in units of its amplitude. */
export function readDeviation(device: Device, time: number): number {
  return Math.sqrt(Math.log(Math.max((time + device.t_read) / (device.read_noise_log_divisor * device.t_read), 1)));
}

/** Conductances in uS of both devices of each pair, G+ then G-. */
export function conductances(
  device: Device,
  targets: Targets,
  seed: number,
  stream: number,
  time: number,
  settings: Settings,
): Float32Array {
  const count = targets.weights.length;
  const result = new Float32Array(2 * count);
  const programming = new Normals(seed, 1);
  const exponents = new Normals(seed, 2);
  const reads = new Normals(seed, 3, stream);
  const written = device.programming_noise_scale * settings.programmingNoise;
  const drifted = -device.drift_scale * driftLogTime(device, time);
  const noisy = device.read_noise_scale * settings.readNoise * readDeviation(device, time);
  const places = mixed(seed, 4);
  const { empty, spread, drift, driftSpread, noise, weights } = targets;
  for (let i = 0; i < count; i++) {
    const weight = weights[i];
    let active = Math.abs(weight) * device.g_max;
    let idle = 0;
    if (written > 0) {
      active = Math.max(active + written * spread[i] * programming.next(), 0);
      idle = Math.max(written * empty.spread * programming.next(), 0);
    }
    if (drifted !== 0) {
      const first = exponents.next();
      const second = exponents.next();
      active *= Math.exp(drifted * Math.abs(drift[i] + driftSpread[i] * first));
      if (idle > 0) idle *= Math.exp(drifted * Math.abs(empty.drift + empty.driftSpread * second));
    }
    if (noisy > 0) {
      active = Math.max(active * (1 + noisy * noise[i] * reads.next()), 0);
      if (idle > 0) idle = Math.max(idle * (1 + noisy * empty.noise * reads.next()), 0);
    }
    if (settings.stuck > 0) {
      if (uniformAt(places, 2 * i) < settings.stuck) active = 0;
      if (uniformAt(places, 2 * i + 1) < settings.stuck) idle = 0;
    }
    result[i] = weight < 0 ? idle : active;
    result[count + i] = weight < 0 ? active : idle;
  }
  return result;
}

/** W(t) / gamma = (G+ - G-) / g_max. */
export function weightsOf(device: Device, pairs: Float32Array): Float32Array {
  const count = pairs.length / 2;
  const weights = new Float32Array(count);
  for (let i = 0; i < count; i++) weights[i] = (pairs[i] - pairs[count + i]) / device.g_max;
  return weights;
}

/** What drift compensation reads out of a tile: mean |W| of it, or of each of its columns. */
export function response(weights: Float32Array, columns: number, byColumn: boolean, floor: number): Float64Array {
  const sums = new Float64Array(columns);
  for (let i = 0; i < weights.length; i++) sums[i % columns] += Math.abs(weights[i]);
  const rows = weights.length / columns;
  if (byColumn) return sums.map((sum) => Math.max(sum / rows, floor));
  const total = sums.reduce((sum, one) => sum + one, 0);
  return Float64Array.of(Math.max(total / weights.length, floor));
}

/** One layer of one chip. The answers right after programming are kept, since they don't depend on the time. */
export class ProgrammedLayer {
  private references = new Map<string, Float64Array>();

  constructor(
    readonly crossbar: Crossbar,
    readonly targets: Targets,
    readonly seed: number,
  ) {}

  pairs(settings: Settings): Float32Array {
    return conductances(this.crossbar.device, this.targets, this.seed, 1 + settings.reading, settings.time, settings);
  }

  read(settings: Settings): Reading {
    const weights = weightsOf(this.crossbar.device, this.pairs(settings));
    return { weights, correction: this.correction(weights, settings) };
  }

  private correction(weights: Float32Array, settings: Settings): Correction {
    const rule = settings.compensation;
    if (rule === "none") return { input: 1, output: null };
    const { floor, limit } = this.crossbar.compensation;
    const columns = this.targets.columns;
    const now = response(weights, columns, rule === "column", floor);
    const factors = this.reference(settings).map((before, column) => before / now[column]);
    if (rule === "column") return { input: 1, output: Float32Array.from(factors) };
    const input = rule === "input" ? Math.min(factors[0], limit) : 1;
    return { input, output: new Float32Array(columns).fill(factors[0] / input) };
  }

  private reference(settings: Settings): Float64Array {
    const byColumn = settings.compensation === "column";
    const key = [byColumn, settings.readNoise, settings.stuck, settings.programmingNoise].join();
    let known = this.references.get(key);
    if (known === undefined) {
      const { device, compensation } = this.crossbar;
      const pairs = conductances(device, this.targets, this.seed, 0, device.t_0, settings);
      known = response(weightsOf(device, pairs), this.targets.columns, byColumn, compensation.floor);
      this.references.set(key, known);
    }
    return known;
  }
}
