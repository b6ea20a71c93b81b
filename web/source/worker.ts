// The worker: front end, networks and chips, so that the page itself stays quick.

import "@tensorflow/tfjs-core/dist/base_side_effects";
import * as tf from "@tensorflow/tfjs-core/dist/base";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm/dist/base";
import { conv2DConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Conv2D";

import type { Page } from "./description";
import { cepstra, scaledPicture } from "./frontend";
import type { Answers, Name, Requests } from "./messages";
import { Network } from "./network";
import { tensorsOf, unpacked } from "./packed";
import type { ProgrammedLayer } from "./physics";

let frontends: Page["frontends"] = {};
const networks = new Map<string, Network>();
const chips = new Map<string, ProgrammedLayer[]>();

function networkOf(name: string): Network {
  const found = networks.get(name);
  if (found === undefined) throw new Error(`Preset ${name} is not loaded.`);
  return found;
}

function chipOf(name: string, chip: number): ProgrammedLayer[] {
  const key = `${name} ${chip}`;
  let found = chips.get(key);
  if (found === undefined) {
    found = networkOf(name).program(chip);
    chips.set(key, found);
  }
  return found;
}

function timed<T>(work: () => T): [T, number] {
  const start = performance.now();
  const result = work();
  return [result, performance.now() - start];
}

const does: { [K in Name]: (request: Requests[K]) => Answers[K] | Promise<Answers[K]> } = {
  async start(request) {
    frontends = request.frontends;
    const bytes = await unpacked(request.wasm);
    const url = `data:application/wasm;base64,${btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""))}`;
    tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
    setWasmPaths({
      "tfjs-backend-wasm.wasm": url,
      "tfjs-backend-wasm-simd.wasm": url,
      "tfjs-backend-wasm-threaded-simd.wasm": url,
    });
    tf.registerKernel(conv2DConfig);
    if (!(await tf.setBackend("wasm"))) throw new Error("This browser has no WebAssembly with 128-bit vectors.");
    await tf.ready();
    return { backend: tf.getBackend() };
  },
  async load({ preset, weights }) {
    if (!networks.has(preset.name)) networks.set(preset.name, new Network(preset, await tensorsOf(weights, preset.tensors)));
    return {};
  },
  features({ family, values, shape }) {
    const front = frontends[family];
    const [found, ms] = timed(() =>
      front.kind === "audio" ? cepstra(front, values as Float32Array) : scaledPicture(front, values, shape[0], shape[1]),
    );
    return { ...found, ms };
  },
  async unpack({ text }) {
    return { bytes: await unpacked(text) };
  },
  float({ name, inputs, count }) {
    const [outputs, ms] = timed(() => networkOf(name).float(inputs, count));
    return { outputs, ms };
  },
  int8({ name, inputs, count }) {
    const [outputs, ms] = timed(() => networkOf(name).int8(inputs, count));
    return { outputs, ms };
  },
  chip({ name, chip, inputs, count, settings }) {
    const layers = chipOf(name, chip);
    const [readings, readMs] = timed(() => layers.map((layer) => layer.read(settings)));
    const [outputs, ms] = timed(() => networkOf(name).analog(inputs, readings, settings, count));
    return { outputs, ms, readMs };
  },
  map({ name, chip, layer, settings }) {
    const programmed = chipOf(name, chip)[layer];
    const pairs = programmed.pairs(settings);
    const columns = programmed.targets.columns;
    let sum = 0;
    let active = 0;
    programmed.targets.weights.forEach((weight, i) => {
      if (Math.abs(weight) < 0.05) return;
      sum += Math.max(pairs[i], pairs[i + pairs.length / 2]);
      active += 1;
    });
    return { pairs, rows: pairs.length / 2 / columns, columns, mean: active ? sum / active : 0 };
  },
};

self.onmessage = async (event: MessageEvent<{ id: number; name: Name; request: never }>) => {
  const { id, name, request } = event.data;
  try {
    self.postMessage({ id, answer: await does[name](request) });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
