// What the page asks of the worker, and what that answers.

import type { Page, Preset } from "./description";
import type { Settings } from "./physics";

export interface Requests {
  start: { frontends: Page["frontends"]; wasm: string };
  load: { preset: Preset; weights: string };
  features: { family: string; values: Float32Array | Uint8Array; shape: number[] };
  unpack: { text: string };
  float: { name: string; inputs: Float32Array; count: number };
  int8: { name: string; inputs: Float32Array; count: number };
  chip: { name: string; chip: number; inputs: Float32Array; count: number; settings: Settings };
  map: { name: string; chip: number; layer: number; settings: Settings };
}

export interface Answers {
  start: { backend: string };
  load: Record<string, never>;
  features: { values: Float32Array; logMel: Float32Array; frames: number; bands: number; ms: number };
  unpack: { bytes: Uint8Array };
  float: { outputs: Float32Array; ms: number };
  int8: { outputs: Float32Array; ms: number };
  chip: { outputs: Float32Array; ms: number; readMs: number };
  map: { pairs: Float32Array; rows: number; columns: number; mean: number };
}

export type Name = keyof Requests;
