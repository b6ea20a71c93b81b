// Seeded random numbers: xoshiro128** (Blackman and Vigna 2018), normal ones by the ziggurat of Marsaglia and Tsang (2000).

const LAYERS = 128;
const EDGE = 3.442619855899;
const AREA = 9.91256303526217e-3;
const WHOLE = 2 ** 24;

const limit = new Int32Array(LAYERS);
const width = new Float64Array(LAYERS);
const height = new Float64Array(LAYERS);
{
  let edge = EDGE;
  let before = EDGE;
  const base = AREA / Math.exp(-0.5 * EDGE * EDGE);
  limit[0] = (EDGE / base) * WHOLE;
  limit[1] = 0;
  width[0] = base / WHOLE;
  width[LAYERS - 1] = EDGE / WHOLE;
  height[0] = 1;
  height[LAYERS - 1] = Math.exp(-0.5 * EDGE * EDGE);
  for (let i = LAYERS - 2; i >= 1; i--) {
    edge = Math.sqrt(-2 * Math.log(AREA / edge + Math.exp(-0.5 * edge * edge)));
    limit[i + 1] = (edge / before) * WHOLE;
    before = edge;
    height[i] = Math.exp(-0.5 * edge * edge);
    width[i] = edge / WHOLE;
  }
}

/** Mix whole numbers into one of 32 bits. */
export function mixed(...parts: number[]): number {
  let hash = 0x9e3779b9;
  for (const part of parts) {
    hash = Math.imul(hash ^ (part | 0), 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

/** A number in [0, 1) that belongs to a place, without a state. */
export function uniformAt(seed: number, place: number): number {
  return mixed(seed, place) / 2 ** 32;
}

/** A stream of standard-normal numbers. */
export class Normals {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  constructor(...seed: number[]) {
    [this.a, this.b, this.c, this.d] = [1, 2, 3, 4].map((part) => mixed(...seed, part) | 0);
    for (let i = 0; i < 8; i++) this.bits();
  }

  private bits(): number {
    const five = Math.imul(this.b, 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9);
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }

  private uniform(): number {
    return ((this.bits() >>> 0) + 0.5) / 2 ** 32;
  }

  next(): number {
    const bits = this.bits();
    const layer = bits & (LAYERS - 1);
    const step = bits >> 7;
    return (step < 0 ? -step : step) < limit[layer] ? step * width[layer] : this.outside(step, layer);
  }

  private outside(step: number, layer: number): number {
    for (;;) {
      const x = step * width[layer];
      if (layer === 0) {
        let tail: number;
        let y: number;
        do {
          tail = -Math.log(this.uniform()) / EDGE;
          y = -Math.log(this.uniform());
        } while (y + y < tail * tail);
        return step > 0 ? EDGE + tail : -EDGE - tail;
      }
      if (height[layer] + this.uniform() * (height[layer - 1] - height[layer]) < Math.exp(-0.5 * x * x)) return x;
      const bits = this.bits();
      layer = bits & (LAYERS - 1);
      step = bits >> 7;
      if (Math.abs(step) < limit[layer]) return step * width[layer];
    }
  }
}
