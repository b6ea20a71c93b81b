// Pictures from the camera or a file, as RGB bytes.

import { opened, Refusal } from "./sound";

const LARGEST = 640; // larger pictures are made smaller by the browser first

export interface Pixels {
  values: Uint8Array;
  shape: [number, number, number];
}

export async function photographed(): Promise<Pixels> {
  const stream = await opened({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
  try {
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    await video.play();
    await new Promise((resolve) => setTimeout(resolve, 400)); // the first pictures of a camera are dark
    return pixelsOf(video, video.videoWidth, video.videoHeight);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

export async function pictureFrom(file: File): Promise<Pixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Refusal(`A picture must be a file that this browser can decode, such as .jpg or .png. Received: ${file.name}.`);
  }
  return pixelsOf(bitmap, bitmap.width, bitmap.height);
}

function pixelsOf(source: CanvasImageSource, width: number, height: number): Pixels {
  if (!width || !height) throw new Refusal("The picture is empty. Try again.");
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  const shape: [number, number, number] = [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale)), 3];
  const canvas = document.createElement("canvas");
  [canvas.height, canvas.width] = shape;
  const pen = canvas.getContext("2d", { willReadFrequently: true })!;
  pen.drawImage(source, 0, 0, shape[1], shape[0]);
  const rgba = pen.getImageData(0, 0, shape[1], shape[0]).data;
  const values = new Uint8Array(shape[0] * shape[1] * 3);
  for (let i = 0; i < shape[0] * shape[1]; i++) values.set(rgba.subarray(4 * i, 4 * i + 3), 3 * i);
  return { values, shape };
}
