// The page's side of the worker: a promise for each request.

import type { Answers, Name, Requests } from "./messages";

type Waiting = { resolve: (answer: never) => void; reject: (error: Error) => void };

export class Client {
  private worker: Worker;
  private waiting = new Map<number, Waiting>();
  private count = 0;

  constructor() {
    this.worker = new Worker(URL.createObjectURL(new Blob([WORKER_TEXT], { type: "text/javascript" })));
    this.worker.onmessage = ({ data }: MessageEvent<{ id: number; answer?: never; error?: string }>) => {
      const { resolve, reject } = this.waiting.get(data.id)!;
      this.waiting.delete(data.id);
      if (data.error !== undefined) reject(new Error(data.error));
      else resolve(data.answer as never);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "The worker stopped."));
      this.waiting.clear();
    };
  }

  ask<K extends Name>(name: K, request: Requests[K]): Promise<Answers[K]> {
    this.count += 1;
    const id = this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      this.worker.postMessage({ id, name, request });
    });
  }
}
