// Arrays as Python packs them (analognets.deploy.page.packing): base85 of gzip; of half-precision numbers first all low bytes.

import type { Tensor } from "./description";

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/** Bytes of base85 as RFC 1924 and Python's base64.b85encode write it: five letters for four bytes. */
export function fromBase85(text: string): Uint8Array<ArrayBuffer> {
  const value = new Uint8Array(128);
  [...LETTERS].forEach((letter, i) => (value[letter.charCodeAt(0)] = i));
  const missing = (5 - (text.length % 5)) % 5;
  const groups = (text.length + missing) / 5;
  const bytes = new DataView(new ArrayBuffer(4 * groups));
  for (let group = 0; group < groups; group++) {
    let number = 0;
    for (let i = 5 * group; i < 5 * group + 5; i++) number = 85 * number + (i < text.length ? value[text.charCodeAt(i)] : 84);
    bytes.setUint32(4 * group, number);
  }
  return new Uint8Array(bytes.buffer.slice(0, 4 * groups - missing));
}

export async function unpacked(text: string): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([fromBase85(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The 32-bit number that a half-precision one stands for. */
export function single(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
}

export async function tensorsOf(text: string, index: Tensor[]): Promise<Map<string, Float32Array>> {
  const bytes = await unpacked(text);
  const table = Float32Array.from({ length: 65536 }, (_, half) => single(half));
  const found = new Map<string, Float32Array>();
  let place = 0;
  for (const { name, half, count } of index) {
    const values = new Float32Array(count);
    if (half) {
      for (let i = 0; i < count; i++) values[i] = table[bytes[place + i] | (bytes[place + count + i] << 8)];
      place += 2 * count;
    } else {
      values.set(new Float32Array(bytes.slice(place, place + 4 * count).buffer));
      place += 4 * count;
    }
    found.set(name, values);
  }
  return found;
}
