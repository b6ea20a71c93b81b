// Figures: spectrogram, picture, conductance maps, histogram.

import type { Picture } from "./description";

type Colour = [number, number, number];

const HEAT: Colour[] = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const TWO_SIDED: Colour[] = [[31, 95, 174], [247, 247, 247], [178, 24, 43]];

function between(scale: Colour[], share: number): Colour {
  const place = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
  const first = Math.min(Math.floor(place), scale.length - 2);
  const rest = place - first;
  return scale[first].map((part, c) => part + rest * (scale[first + 1][c] - part)) as Colour;
}

function painted(canvas: HTMLCanvasElement, width: number, height: number, colour: (x: number, y: number) => Colour): void {
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d")!;
  const image = pen.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [r, g, b] = colour(x, y);
      image.data.set([r, g, b, 255], 4 * (y * width + x));
    }
  }
  pen.putImageData(image, 0, 0);
}

export function spectrogram(canvas: HTMLCanvasElement, logMel: Float32Array, frames: number, bands: number): void {
  let [low, high] = [Infinity, -Infinity];
  for (const value of logMel) [low, high] = [Math.min(low, value), Math.max(high, value)];
  low = Math.max(low, high - 12);
  const span = high - low || 1;
  painted(canvas, frames, bands, (x, y) => between(HEAT, (logMel[x * bands + bands - 1 - y] - low) / span));
}

export function picture(canvas: HTMLCanvasElement, values: Float32Array, front: Picture): void {
  const { size, scale, offset } = front;
  painted(canvas, size[1], size[0], (x, y) => {
    const place = 3 * (y * size[1] + x);
    return [0, 1, 2].map((c) => (values[place + c] + offset[c]) / scale[c]) as Colour;
  });
}

export function conductanceMap(canvas: HTMLCanvasElement, pairs: Float32Array, rows: number, columns: number, gMax: number): void {
  const count = rows * columns;
  painted(canvas, columns, rows, (x, y) => {
    const place = y * columns + x;
    return between(TWO_SIDED, 0.5 + (0.5 * (pairs[place] - pairs[count + place])) / gMax);
  });
}

const SVG = "http://www.w3.org/2000/svg";
const BINS = 20;

function part(parent: Element, kind: string, settings: Record<string, string | number>, text = ""): void {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(settings)) made.setAttribute(name, String(value));
  made.textContent = text;
  parent.append(made);
}

/** How many chips give a probability in each of 20 ranges. */
export function histogram(svg: SVGElement, probabilities: number[], chips: number, title: string): void {
  svg.replaceChildren();
  svg.setAttribute("aria-label", title);
  const counts = new Array<number>(BINS).fill(0);
  for (const p of probabilities) counts[Math.min(Math.floor(p * BINS), BINS - 1)] += 1;
  const [left, right, top, bottom] = [34, 392, 14, 150];
  const width = (right - left) / BINS;
  for (const count of [0, 5, 10, 15, 20, 25].filter((one) => one <= chips)) {
    const y = bottom - ((bottom - top) * count) / chips;
    part(svg, "line", { x1: left, x2: right, y1: y, y2: y, class: "axis", "stroke-width": count ? 0.3 : 1 });
    part(svg, "text", { x: left - 6, y: y + 4, "text-anchor": "end" }, String(count));
  }
  counts.forEach((count, i) => {
    const height = ((bottom - top) * count) / chips;
    if (count) part(svg, "rect", { x: left + i * width + 1, y: bottom - height, width: width - 2, height, class: "column" });
  });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const anchor = share === 1 ? "end" : "middle";
    part(svg, "text", { x: left + share * (right - left), y: bottom + 16, "text-anchor": anchor }, `${100 * share} %`);
  }
  part(svg, "text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, "probability");
}
