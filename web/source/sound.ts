// Sound from the microphone, a file or a bundled clip: one second of samples in [-1, 1].

const SECONDS = 2; // of a recording, of which the loudest second is taken

/** A sentence for the user. */
export class Refusal extends Error {}

const RECORDER = `registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([input]) { if (input.length) this.port.postMessage(input[0].slice()); return true; }
});`;

/** Record for two seconds and return the loudest one. */
export async function recorded(rate: number): Promise<Float32Array> {
  const stream = await opened({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  const context = new AudioContext();
  try {
    const blocks: Float32Array[] = [];
    await context.resume();
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([RECORDER], { type: "text/javascript" })));
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    const wanted = SECONDS * context.sampleRate;
    await new Promise<void>((resolve, reject) => {
      let count = 0;
      node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
        blocks.push(data);
        count += data.length;
        if (count >= wanted) resolve();
      };
      setTimeout(() => reject(new Refusal("The microphone gives no sound. Check that it is not muted.")), 1000 * SECONDS + 4000);
      context.createMediaStreamSource(stream).connect(node);
    });
    const whole = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
    blocks.reduce((place, block) => (whole.set(block, place), place + block.length), 0);
    const buffer = new AudioBuffer({ length: whole.length, sampleRate: context.sampleRate });
    buffer.copyToChannel(whole, 0);
    return oneSecond(await resampled(buffer, rate), rate);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  }
}

/** One second out of a sound file. */
export async function fromFile(file: File, rate: number): Promise<Float32Array> {
  let buffer: AudioBuffer;
  try {
    buffer = await new OfflineAudioContext(1, rate, rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Refusal(`A sound must be a file that this browser can decode, such as .wav or .mp3. Received: ${file.name}.`);
  }
  return oneSecond(await resampled(buffer, rate), rate);
}

/** Open the microphone or camera. */
export async function opened(wanted: MediaStreamConstraints): Promise<MediaStream> {
  const what = wanted.audio ? "microphone" : "camera";
  if (!navigator.mediaDevices) {
    throw new Refusal(`This page may use the ${what} only over https or from this machine. Use analognets lab.`);
  }
  try {
    return await navigator.mediaDevices.getUserMedia(wanted);
  } catch (error) {
    const name = error instanceof DOMException ? error.name : String(error);
    if (name === "NotAllowedError") throw new Refusal(`The browser does not let this page use the ${what}. Allow it in the address bar.`);
    if (name === "NotFoundError") throw new Refusal(`There is no ${what}. Choose one of the bundled inputs or open a file.`);
    throw new Refusal(`The ${what} can't be opened (${name}). Close other programs that use it.`);
  }
}

async function resampled(buffer: AudioBuffer, rate: number): Promise<Float32Array> {
  const length = Math.max(Math.ceil(buffer.duration * rate), 1);
  const context = new OfflineAudioContext(1, length, rate);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** The loudest second with its sound in the middle; what is shorter stands in the middle of zeros. */
export function oneSecond(samples: Float32Array, rate: number): Float32Array {
  if (samples.length === 0) throw new Refusal("A sound must hold samples. Received: none.");
  const result = new Float32Array(rate);
  if (samples.length <= rate) {
    result.set(samples, Math.floor((rate - samples.length) / 2));
    return result;
  }
  const sums = new Float64Array(samples.length + 1);
  const moments = new Float64Array(samples.length + 1);
  samples.forEach((x, i) => {
    sums[i + 1] = sums[i] + x * x;
    moments[i + 1] = moments[i] + i * x * x;
  });
  let best = 0;
  for (let first = 0; first + rate <= samples.length; first++) {
    if (sums[first + rate] - sums[first] > sums[best + rate] - sums[best]) best = first;
  }
  const energy = sums[best + rate] - sums[best];
  const middle = energy > 0 ? (moments[best + rate] - moments[best]) / energy : best + rate / 2;
  const first = Math.min(Math.max(Math.round(middle - rate / 2), 0), samples.length - rate);
  result.set(samples.subarray(first, first + rate));
  return result;
}

/** Play samples; resolves when they are over. */
export async function played(samples: Float32Array, rate: number): Promise<void> {
  const context = new AudioContext();
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
  buffer.copyToChannel(samples as Float32Array<ArrayBuffer>, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  await new Promise((resolve) => {
    source.onended = resolve;
    setTimeout(resolve, (1000 * samples.length) / rate + 500);
    source.start();
  });
  await context.close();
}
