// What build.mjs puts in.
declare const WORKER_TEXT: string;
declare const WASM_TEXT: string;
