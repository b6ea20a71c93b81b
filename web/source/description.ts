// What Python says of a preset (analognets.deploy.page.description): all constants of the page come from there.

export interface Device {
  g_max: number;
  programming_noise_scale: number;
  drift_scale: number;
  read_noise_scale: number;
  t_0: number;
  t_read: number;
  read_noise_log_divisor: number;
  programming_fit: number[];
  programming_fit_g_max: number;
  drift_mean_fit: [number, number, number, number];
  drift_spread_fit: [number, number, number, number];
  read_noise_fit: [number, number, number];
  lowest: number;
}

export interface Crossbar {
  rows: number;
  cols: number;
  dac_bits: number;
  adc_bits: number;
  device: Device;
  compensation: { name: Compensation; floor: number; limit: number };
}

export type Compensation = "input" | "global" | "column" | "none";

export interface Layer {
  name: string;
  kind: "conv" | "dense";
  kernel: number[];
  strides: [number, number];
  padding: "same" | "valid";
  bias: boolean;
  norm: { name: string; epsilon: number } | null;
  relu: boolean;
  pooled: boolean; // its inputs are averaged over height and width first
}

export interface Scale {
  scale: number;
  zero_point: number;
}

export interface Int8 {
  input: Scale;
  pool: Scale;
  layers: { output: Scale; weights: number[] }[];
  calibrated_on: string;
}

export interface Audio {
  kind: "audio";
  sample_rate: number;
  window_length: number;
  hop_length: number;
  fft_length: number;
  log_offset: number;
  coefficients: number;
  mel: number[][]; // bins x bands
  cosine: number[][]; // bands x coefficients, divided by the standard deviation
  offset: number[];
}

export interface Picture {
  kind: "picture";
  size: [number, number];
  scale: number[];
  offset: number[];
}

export interface Tensor {
  name: string;
  half: boolean;
  count: number;
}

export interface Preset {
  name: string;
  family: string;
  title: string;
  description: string;
  statement: string;
  classes: string[];
  input_shape: number[];
  accuracy: number | null;
  reference: string; // the float network that its training for hardware began with
  layers: Layer[];
  tensors: Tensor[];
  crossbar: Crossbar | null;
  int8: Int8 | null;
  cost: Cost | null;
}

// Energy by the place of the factor against drift ("input" or "other") and bits; its range is what published figures of
// the accelerator allow.
export interface Cost {
  accelerator: string;
  energy_uj: Record<string, Record<string, number>>;
  energy_range_uj: Record<string, Record<string, number[] | null>>;
  latency_us: Record<string, number>;
}

export interface Sample {
  name: string;
  family: string;
  shape: number[];
  data: string; // packed
}

export interface Page {
  version: string;
  start: string;
  chips: number;
  presets: Record<string, Preset>;
  frontends: Record<string, Audio | Picture>;
  samples: Sample[];
}
