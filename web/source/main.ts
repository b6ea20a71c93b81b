// The page: what is chosen, what is asked of the worker, what is shown.

import { Client } from "./client";
import type { Audio, Compensation, Page, Picture, Preset, Sample } from "./description";
import * as draw from "./draw";
import type { Settings } from "./physics";
import { photographed, pictureFrom, type Pixels } from "./picture";
import { fromFile, played, recorded, Refusal } from "./sound";

declare global {
  interface Window {
    analognetsPage: Page;
    analognetsWeights?: Record<string, string>;
    analognetsLab: unknown;
  }
}

const page = window.analognetsPage;
const client = new Client();

function element<T extends Element = HTMLElement>(id: string): T {
  return document.getElementById(id) as unknown as T;
}

const [presetBox, clipBox, sceneBox, compensationBox, chipBox, layerBox] = [
  ...["preset", "clip", "scene", "compensation", "chip", "layer"],
].map((id) => element<HTMLSelectElement>(id));
const [timeBox, bitsBox, noiseBox, stuckBox] = ["time", "bits", "noise", "stuck"].map((id) => element<HTMLInputElement>(id));
const ageButton = element<HTMLButtonElement>("age");

const LATEST = 315_360_000; // 10 years in s
const USUAL: [string, number][] = [
  ["25 s", 25], ["10 min", 600], ["1 h", 3600], ["1 d", 86_400], ["30 d", 2_592_000], ["1 y", 31_536_000], ["10 y", LATEST],
];

interface State {
  features: Float32Array;
  samples: Float32Array | null;
  float: number[];
  int8: number[];
  chips: (number[] | undefined)[];
  ms: { float: number; int8: number; chip: number; features: number };
  lot: number; // of chips: another one has other chips
  reading: number;
}

const state: State = {
  features: new Float32Array(0), samples: null, float: [], int8: [], chips: [],
  ms: { float: 0, int8: 0, chip: 0, features: 0 }, lot: 0, reading: 0,
};
let run = 0;
let chosenTime: number | null = null; // by a button, between the steps of the slider
let opened: () => void;
const ready = new Promise<void>((resolve) => (opened = resolve)); // with the first answer of a chip, or a fault

function preset(): Preset {
  return page.presets[presetBox.value];
}

function firstTime(): number {
  return preset().crossbar?.device.t_0 ?? USUAL[0][1];
}

function time(): number {
  if (chosenTime !== null) return chosenTime;
  return firstTime() * (LATEST / firstTime()) ** (Number(timeBox.value) / Number(timeBox.max));
}

function setTime(seconds: number): void {
  const share = Math.log(seconds / firstTime()) / Math.log(LATEST / firstTime());
  timeBox.value = String(Math.round(share * Number(timeBox.max)));
  chosenTime = seconds;
}

function timeText(seconds: number): string {
  const units: [number, string][] = [[31_536_000, "y"], [86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [unit, name] = units.find(([one]) => seconds >= 0.995 * one) ?? [1, "s"];
  const value = seconds / unit;
  return `${value >= 9.95 ? Math.round(value) : Number(value.toFixed(1))} ${name}`;
}

function percent(p: number): string {
  return `${(100 * p).toFixed(p > 0.0995 || p < 0.0005 ? 0 : 1)} %`;
}

function settings(at = time()): Settings {
  return {
    time: at,
    dacBits: Number(bitsBox.value),
    adcBits: Number(bitsBox.value),
    compensation: compensationBox.value as Compensation,
    readNoise: Number(noiseBox.value),
    stuck: Number(stuckBox.value) / 100,
    programmingNoise: 1,
    reading: state.reading,
  };
}

function softmax(logits: Float32Array): number[] {
  const high = Math.max(...logits);
  const raised = Array.from(logits, (x) => Math.exp(x - high));
  const total = raised.reduce((sum, x) => sum + x, 0);
  return raised.map((x) => x / total);
}

function best(probabilities: number[]): number {
  return probabilities.indexOf(Math.max(...probabilities));
}

function alertOf(error: unknown): void {
  const box = element("alert");
  box.textContent = error instanceof Refusal ? error.message : `Something went wrong: ${error instanceof Error ? error.message : error}`;
  box.hidden = false;
  opened();
}

const pending = new Set<Promise<void>>();

/** Run what a control starts; what goes wrong becomes one sentence. */
function attempt(work: () => Promise<void> | void): Promise<void> {
  element("alert").hidden = true;
  const done = (async () => work())().catch(alertOf).finally(() => pending.delete(done));
  pending.add(done);
  return done;
}

/** Wait until all that was started is done. */
async function idle(): Promise<void> {
  while (pending.size) await Promise.all(pending);
}

const loading = new Map<string, Promise<void>>();

function load(name: string): Promise<void> {
  let found = loading.get(name);
  if (found === undefined) {
    found = loadNow(name);
    loading.set(name, found);
    found.catch(() => loading.delete(name));
  }
  return found;
}

async function loadNow(name: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `weights/${name}.js`;
    script.onload = () => resolve();
    script.onerror = () => reject(new Refusal(`The weights of ${name} can't be read. Is analognets lab still running?`));
    document.head.append(script);
  });
  await client.ask("load", { preset: page.presets[name], weights: window.analognetsWeights![name] });
  delete window.analognetsWeights![name];
}

async function takeSound(samples: Float32Array): Promise<void> {
  const front = page.frontends[preset().family] as Audio;
  state.samples = samples;
  const found = await client.ask("features", { family: preset().family, values: samples, shape: [samples.length] });
  state.features = found.values;
  state.ms.features = found.ms;
  const canvas = element<HTMLCanvasElement>("spectrogram");
  draw.spectrogram(canvas, found.logMel, found.frames, found.bands);
  const loudest = Math.max(...samples.map(Math.abs));
  canvas.setAttribute("aria-label", `Spectrogram of ${samples.length / front.sample_rate} s of sound, peak ${percent(loudest)} of full scale`);
  await answer();
}

async function takePicture({ values, shape }: Pixels, name: string): Promise<void> {
  const family = preset().family;
  const found = await client.ask("features", { family, values, shape });
  state.features = found.values;
  state.ms.features = found.ms;
  const canvas = element<HTMLCanvasElement>("seen");
  draw.picture(canvas, found.values, page.frontends[family] as Picture);
  canvas.setAttribute("aria-label", `The picture as the network sees it: ${name}`);
  await answer();
}

async function takeSample(sample: Sample): Promise<void> {
  const { bytes } = await client.ask("unpack", { text: sample.data });
  if (preset().family !== sample.family) return;
  if (page.frontends[sample.family].kind === "picture") {
    await takePicture({ values: bytes, shape: sample.shape as Pixels["shape"] }, sample.name);
  } else {
    await takeSound(Float32Array.from(new Int16Array(bytes.buffer), (x) => x / 32768));
  }
}

function chosenSample(): Sample {
  const box = page.frontends[preset().family].kind === "picture" ? sceneBox : clipBox;
  return page.samples[Number(box.value)];
}

/** The digital networks, then the chips. */
async function answer(): Promise<void> {
  const name = preset().reference;
  await load(name);
  const inputs = state.features;
  const float = await client.ask("float", { name, inputs, count: 1 });
  const int8 = await client.ask("int8", { name, inputs, count: 1 });
  [state.float, state.int8] = [softmax(float.outputs), softmax(int8.outputs)];
  [state.ms.float, state.ms.int8] = [float.ms, int8.ms];
  await readChips();
}

/** Read all chips, the shown one first; a later call makes an earlier one stop. */
function readChips(): Promise<void> {
  run += 1;
  return readNow(run);
}

async function readNow(mine: number): Promise<void> {
  state.chips = [];
  show();
  const { name, crossbar } = preset();
  if (crossbar === null || !state.float.length) {
    opened();
    if (state.float.length) say();
    return;
  }
  await load(name);
  const now = settings();
  const shown = Number(chipBox.value);
  const others = Array.from({ length: page.chips }, (_, i) => i).filter((i) => i !== shown);
  for (const chip of [shown, ...others]) {
    const request = { name, chip: state.lot * page.chips + chip, inputs: state.features, count: 1, settings: now };
    const found = await client.ask("chip", request);
    if (mine !== run) return;
    state.chips[chip] = softmax(found.outputs);
    state.ms.chip = found.ms;
    show();
    opened();
    if (chip === shown) await showMaps(mine, now);
    if (mine !== run) return;
  }
  say();
}

async function showMaps(mine: number, now: Settings): Promise<void> {
  const { name, layers, crossbar } = preset();
  const layer = Number(layerBox.value);
  const chip = state.lot * page.chips + Number(chipBox.value);
  const gMax = crossbar!.device.g_max;
  for (const [id, at] of [["map-first", firstTime()], ["map-now", now.time]] as const) {
    const found = await client.ask("map", { name, chip, layer, settings: { ...now, time: at } });
    if (mine !== run) return;
    const canvas = element<HTMLCanvasElement>(id);
    draw.conductanceMap(canvas, found.pairs, found.rows, found.columns, gMax);
    const text = `${timeText(at)}: ${found.rows} x ${found.columns} pairs, mean of the programmed devices ${found.mean.toFixed(2)} uS`;
    canvas.setAttribute("aria-label", `Conductances of layer ${layers[layer].name} at ${text}`);
    element(`${id}-text`).textContent = text;
  }
}

function setBar(row: Element, kind: string, p: number | undefined): void {
  const cell = row.querySelector<HTMLElement>(`.${kind}`)!;
  cell.querySelector("b")!.textContent = p === undefined ? "-" : percent(p);
  cell.querySelector<HTMLElement>("i")!.style.setProperty("--share", p === undefined ? "0%" : `${100 * p}%`);
}

function show(): void {
  const { classes, crossbar, cost } = preset();
  if (!state.float.length) return;
  const first = best(state.float);
  const chip = state.chips[Number(chipBox.value)];
  element("answers").querySelectorAll("tbody tr").forEach((row, c) => {
    row.classList.toggle("first", c === first);
    setBar(row, "float", state.float[c]);
    setBar(row, "int8", state.int8[c]);
    setBar(row, "analog", chip?.[c]);
  });
  const { ms } = state;
  const analog = crossbar === null ? "" : `, analog ${ms.chip.toFixed(1)} ms`;
  element("speed").textContent =
    `One inference in this browser: float ${ms.float.toFixed(1)} ms, int8 ${ms.int8.toFixed(1)} ms${analog}; front end ${ms.features.toFixed(1)} ms.`;
  if (crossbar === null || cost === null) return;
  const done = state.chips.filter((one) => one !== undefined);
  const right = done.filter((one) => best(one) === first).length;
  const text = `Probability of "${classes[first]}" on ${done.length} chips at ${timeText(time())}: ${right} of them say "${classes[first]}".`;
  draw.histogram(element<SVGElement>("histogram"), done.map((one) => one[first]), page.chips, text);
  element("histogram-text").textContent = text;
  const kind = compensationBox.value === "input" ? "input" : "other";
  const ends = cost.energy_range_uj[kind][bitsBox.value];
  const range = ends === null ? "" : ` (${ends[0].toFixed(2)} to ${ends[1].toFixed(2)})`;
  element("energy").textContent = `${cost.energy_uj[kind][bitsBox.value].toFixed(2)} uJ${range} for an inference`;
  element("energy-text").textContent =
    `and ${cost.latency_us[bitsBox.value].toFixed(1)} us on the accelerator ${cost.accelerator} at ${bitsBox.value} bit; they do not depend on the age. In brackets: what the published figures of the accelerator allow.`;
}

function say(): void {
  const { classes, crossbar } = preset();
  const of = (p: number[]): string => `"${classes[best(p)]}" with ${percent(Math.max(...p))}`;
  let text = `Float: ${of(state.float)}. int8: ${of(state.int8)}.`;
  const chip = state.chips[Number(chipBox.value)];
  if (crossbar !== null && chip !== undefined) {
    const right = state.chips.filter((one) => one !== undefined && best(one) === best(state.float)).length;
    text += ` Chip ${Number(chipBox.value) + 1} after ${timeText(time())}: ${of(chip)}. ${right} of ${page.chips} chips say what the float network says.`;
  }
  element("said").textContent = text;
}

function option(box: HTMLSelectElement, value: string | number, text: string): void {
  box.append(new Option(text, String(value)));
}

/** Set the page to the chosen network. */
async function choosePreset(): Promise<void> {
  const { classes, crossbar, description, family, layers, statement } = preset();
  const isPicture = page.frontends[family].kind === "picture";
  element("sound").hidden = isPicture;
  element("picture").hidden = !isPicture;
  element("about").textContent = `${description} ${statement.split(". ")[0].replace(/\.?$/, ".")}`;
  for (const id of ["chip-settings", "chips", "map"]) element(id).hidden = crossbar === null;
  element("no-chip").hidden = crossbar !== null;
  if (crossbar !== null) {
    bitsBox.value = String(crossbar.adc_bits);
    compensationBox.value = crossbar.compensation.name;
  }
  chipBox.disabled = crossbar === null;
  layerBox.replaceChildren();
  layers.forEach((layer, i) => option(layerBox, i, `${layer.name}, ${layer.kernel.join(" x ")}`));
  layerBox.value = String(Math.min(1, layers.length - 1));
  const body = element("answers").querySelector("tbody")!;
  body.replaceChildren(
    ...classes.map((name) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name.replace("_", " ");
      row.append(head);
      for (const kind of ["float", "int8", "analog"]) {
        const cell = document.createElement("td");
        const bar = document.createElement("span");
        bar.className = `bar ${kind}`;
        bar.append(document.createElement("i"), document.createElement("b"));
        cell.append(bar);
        row.append(cell);
      }
      return row;
    }),
  );
  showSettings();
}

function showSettings(): void {
  const trained = preset().crossbar?.adc_bits;
  const text = timeText(time());
  element("time-text").textContent = text;
  timeBox.setAttribute("aria-valuetext", text);
  element("bits-text").textContent = `${bitsBox.value} bit${Number(bitsBox.value) === trained ? "" : `, ranges as trained for ${trained} bit`}`;
  element("noise-text").textContent = `${Number(noiseBox.value)} x the published one`;
  element("stuck-text").textContent = `${Number(stuckBox.value)} %`;
}

async function changed(): Promise<void> {
  showSettings();
  await readChips();
}

let ageing = false;

/** Step through the usual times, all chips at each; pressed again it stops. */
async function age(): Promise<void> {
  ageing = !ageing;
  ageButton.setAttribute("aria-pressed", String(ageing));
  ageButton.textContent = ageing ? "Stop" : "Let them age";
  if (!ageing) return;
  for (const [, seconds] of USUAL) {
    if (!ageing) return;
    setTime(Math.max(seconds, firstTime()));
    await changed();
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
  ageing = false;
  ageButton.setAttribute("aria-pressed", "false");
  ageButton.textContent = "Let them age";
}

async function withButton(id: string, busy: string, work: () => Promise<void>): Promise<void> {
  const button = element<HTMLButtonElement>(id);
  const text = button.textContent;
  button.disabled = true;
  button.textContent = busy;
  try {
    await work();
  } finally {
    button.disabled = false;
    button.textContent = text;
    button.focus();
  }
}

function connect(): void {
  const on = (id: string, event: string, work: () => Promise<void> | void): void =>
    element(id).addEventListener(event, () => void attempt(work));
  const rate = (): number => (page.frontends[preset().family] as Audio).sample_rate;
  const file = (id: string): File | undefined => element<HTMLInputElement>(id).files?.[0];
  on("preset", "change", async () => {
    const before = page.frontends[preset().family];
    await choosePreset();
    const isSame = state.features.length === preset().input_shape.reduce((a, b) => a * b, 1);
    await (isSame && before.kind === page.frontends[preset().family].kind ? answer() : takeSample(chosenSample()));
  });
  for (const id of ["clip", "scene"]) on(id, "change", () => takeSample(chosenSample()));
  on("time", "input", () => ((chosenTime = null), changed()));
  for (const id of ["bits", "noise", "stuck"]) on(id, "input", changed);
  for (const id of ["compensation", "chip", "layer"]) on(id, "change", changed);
  on("age", "click", age);
  on("again", "click", () => ((state.reading += 1), changed()));
  on("anew", "click", () => ((state.lot += 1), changed()));
  on("play", "click", () => withButton("play", "Playing", () => played(state.samples!, rate())));
  on("speak", "click", () => withButton("speak", "Speak now ...", async () => takeSound(await recorded(rate()))));
  on("camera", "click", () => withButton("camera", "Taking it ...", async () => takePicture(await photographed(), "from the camera")));
  on("sound-file", "change", async () => {
    const chosen = file("sound-file");
    if (chosen) await takeSound(await fromFile(chosen, rate()));
  });
  on("picture-file", "change", async () => {
    const chosen = file("picture-file");
    if (chosen) await takePicture(await pictureFrom(chosen), chosen.name);
  });
}

function fill(): void {
  for (const { name, title } of Object.values(page.presets)) option(presetBox, name, title);
  presetBox.value = page.start;
  page.samples.forEach((sample, i) => {
    option(page.frontends[sample.family].kind === "picture" ? sceneBox : clipBox, i, sample.name);
  });
  for (let chip = 0; chip < page.chips; chip++) option(chipBox, chip, String(chip + 1));
  for (const [name, seconds] of USUAL) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => void attempt(() => (setTime(Math.max(seconds, firstTime())), changed())));
    element("times").append(button);
  }
  element("version").textContent = `analognets ${page.version}.`;
}

async function start(): Promise<void> {
  fill();
  connect();
  await choosePreset();
  await client.ask("start", { frontends: page.frontends, wasm: WASM_TEXT });
  await takeSample(chosenSample());
}

void attempt(start);

// For tests and for the console: what the page computes with.
window.analognetsLab = {
  page, load, settings, softmax,
  ask: client.ask.bind(client),
  ready,
  idle,
  state,
};
