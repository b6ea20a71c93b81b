// Bundles source/ and the libraries that package-lock.json pins into deploy/page/built: `make page`.

import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const wasm = `${here}node_modules/@tensorflow/tfjs-backend-wasm/dist`;
const target = `${here}../deploy/page/built`;

/** Bytes as text, five letters for four bytes (RFC 1924), which source/packed.ts reads. */
function base85(bytes) {
  const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
  const missing = (4 - (bytes.length % 4)) % 4;
  const padded = Buffer.concat([bytes, Buffer.alloc(missing)]);
  let text = "";
  for (let i = 0; i < padded.length; i += 4) {
    let number = padded.readUInt32BE(i);
    let group = "";
    for (let k = 0; k < 5; k++, number = Math.floor(number / 85)) group = letters[number % 85] + group;
    text += group;
  }
  return missing ? text.slice(0, -missing) : text;
}

const common = {
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  platform: "browser",
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
  define: { "process.env.NODE_ENV": '"production"', global: "self" },
  write: false,
};

// Of TensorFlow.js only what a convolution needs; the loader for several threads, which need a special server, is left out.
const parts = {
  name: "parts",
  setup(build) {
    build.onResolve({ filter: /^@tensorflow\/tfjs-core$/ }, () => ({
      path: `${here}node_modules/@tensorflow/tfjs-core/dist/base.js`,
    }));
    build.onLoad({ filter: /tfjs-backend-wasm-threaded-simd(\.worker)?\.js$/ }, () => ({
      contents: "export default undefined; export const wasmWorkerContents = '';",
    }));
  },
};

// The worker is a text inside of the page's script: a page opened from a file may not load one by its address.
const worker = await build({ ...common, entryPoints: [`${here}source/worker.ts`], plugins: [parts] });
const page = await build({
  ...common,
  entryPoints: [`${here}source/main.ts`],
  define: {
    ...common.define,
    WORKER_TEXT: JSON.stringify(worker.outputFiles[0].text),
    WASM_TEXT: JSON.stringify(base85(gzipSync(await readFile(`${wasm}/tfjs-backend-wasm-simd.wasm`), { level: 9 }))),
  },
});

const licence = await readFile(`${here}node_modules/@tensorflow/tfjs-core/package.json`, "utf8").then(JSON.parse);
const notice = `/* analognets: Apache-2.0. TensorFlow.js ${licence.version}: Copyright Google LLC, Apache-2.0, with XNNPACK (BSD-3-Clause), long.js (Apache-2.0), seedrandom (MIT). */\n`;
await mkdir(target, { recursive: true });
await writeFile(`${target}/lab.js`, notice + page.outputFiles[0].text);
for (const name of ["index.html", "lab.css"]) await writeFile(`${target}/${name}`, await readFile(`${here}source/${name}`));

// What it was built from, so that a test without Node sees whether it is current.
const names = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"];
names.push(...(await readdir(`${here}source`)).map((name) => `source/${name}`));
const hash = createHash("sha256");
for (const name of names.sort()) hash.update(`${name}\n`).update(await readFile(`${here}${name}`)).update("\n");
await writeFile(`${target}/built_from.json`, `${JSON.stringify({ sha256: hash.digest("hex"), files: names }, null, 1)}\n`);
