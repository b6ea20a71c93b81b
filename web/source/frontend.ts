// From sound to cepstral coefficients, from a picture to a network's input: as analognets.datasets.frontend and image_frontend.

import type { Audio, Picture } from "./description";

export interface Features {
  values: Float32Array;
  logMel: Float32Array; // frames x bands; empty for pictures
  frames: number;
  bands: number;
}

/** Mel-frequency cepstral coefficients of samples in [-1, 1]. */
export function cepstra(front: Audio, samples: Float32Array): Features {
  const { window_length: length, hop_length: hop, fft_length: points } = front;
  const bins = front.mel.length;
  const bands = front.mel[0].length;
  const frames = 1 + Math.floor((samples.length - length) / hop);
  const turn = Float64Array.from({ length: points }, (_, n) => Math.cos((2 * Math.PI * n) / points));
  const quarter = Float64Array.from({ length: points }, (_, n) => Math.sin((2 * Math.PI * n) / points));
  const hann = Float64Array.from({ length }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / length));
  const logMel = new Float32Array(frames * bands);
  const values = new Float32Array(frames * front.coefficients);
  const windowed = new Float64Array(length);
  for (let frame = 0; frame < frames; frame++) {
    for (let n = 0; n < length; n++) windowed[n] = samples[frame * hop + n] * hann[n];
    const energy = new Float64Array(bands);
    for (let bin = 0; bin < bins; bin++) {
      const magnitude = magnitudeOf(windowed, turn, quarter, bin, points);
      for (let band = 0; band < bands; band++) energy[band] += magnitude * front.mel[bin][band];
    }
    for (let band = 0; band < bands; band++) logMel[frame * bands + band] = Math.log(energy[band] + front.log_offset);
    for (let k = 0; k < front.coefficients; k++) {
      let sum = -front.offset[k];
      for (let band = 0; band < bands; band++) sum += logMel[frame * bands + band] * front.cosine[band][k];
      values[frame * front.coefficients + k] = sum;
    }
  }
  return { values, logMel, frames, bands };
}

function magnitudeOf(x: Float64Array, turn: Float64Array, quarter: Float64Array, bin: number, points: number): number {
  let real = 0;
  let imaginary = 0;
  let place = 0;
  for (let n = 0; n < x.length; n++) {
    real += x[n] * turn[place];
    imaginary += x[n] * quarter[place];
    place += bin;
    if (place >= points) place -= points;
  }
  return Math.hypot(real, imaginary);
}

/** A picture of RGB bytes in the size and scale of a network's input: bilinear, antialiased, stretched. */
export function scaledPicture(front: Picture, pixels: ArrayLike<number>, height: number, width: number): Features {
  const channels = 3;
  const [rows, columns] = front.size;
  const across = new Float64Array(height * columns * channels);
  weightsAlong(width, columns).forEach(([first, weights], column) => {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let j = 0; j < weights.length; j++) sum += weights[j] * pixels[(y * width + first + j) * channels + c];
        across[(y * columns + column) * channels + c] = sum;
      }
    }
  });
  const values = new Float32Array(rows * columns * channels);
  weightsAlong(height, rows).forEach(([first, weights], row) => {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let j = 0; j < weights.length; j++) sum += weights[j] * across[((first + j) * columns + x) * channels + c];
        values[(row * columns + x) * channels + c] = sum * front.scale[c] - front.offset[c];
      }
    }
  });
  return { values, logMel: new Float32Array(0), frames: 0, bands: 0 };
}

/** For each new pixel: the first old one it is made of, and the shares of that and of those that follow. */
function weightsAlong(before: number, after: number): [number, number[]][] {
  if (before === after) return Array.from({ length: after }, (_, i) => [i, [1]]);
  const step = before / after;
  const radius = Math.max(step, 1);
  return Array.from({ length: after }, (_, i) => {
    const middle = (i + 0.5) * step;
    const first = Math.max(Math.floor(middle - radius), 0);
    const last = Math.min(Math.ceil(middle + radius), before);
    const shares: number[] = [];
    for (let j = first; j < last; j++) shares.push(Math.max(1 - Math.abs((j + 0.5 - middle) / radius), 0));
    const total = shares.reduce((sum, one) => sum + one, 0);
    return [first, shares.map((share) => share / total)];
  });
}
