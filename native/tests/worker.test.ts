import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { native } from "@md/native";

interface Report {
  wrong: number;
  liveTensors: number;
  threads: number;
}

const F32 = 0;
const fixture = new URL("./worker-fixture.mjs", import.meta.url);
const addon = JSON.stringify(new URL("../index.js", import.meta.url).href);
const moduleOf = (code: string): URL => new URL(`data:text/javascript,${encodeURIComponent(code)}`);

function start(workerData: { side: number; keep: number; forever: boolean }): Worker {
  return new Worker(fixture, { workerData });
}

async function firstReport(worker: Worker): Promise<Report> {
  const [report] = (await once(worker, "message")) as [Report];
  return report;
}

/** The sum of 2·3 over `side` terms, computed in this environment. */
function productHere(side: number): number {
  native.full(F32, Int32Array.of(side, side), 2);
  const a = native.outputs[0];
  native.full(F32, Int32Array.of(side, side), 3);
  const b = native.outputs[0];
  native.matmul(a, b);
  const product = native.outputs[0];
  const values = new Float32Array(side * side);
  native.toBytes(product, new Uint8Array(values.buffer));
  native.freeSlots(Int32Array.of(a, b, product));
  expect(new Set(values).size).toBe(1);
  return values[0];
}

test("workers that run side by side have tensors of their own", async () => {
  native.full(F32, Int32Array.of(4), 7);
  const mine = native.outputs[0];
  const live = native.memory()[0];
  const threads = native.getNumThreads();
  native.setNumThreads(threads + 1);

  const keeps = [0, 3, 11];
  const workers = keeps.map((keep) => start({ side: 64, keep, forever: false }));
  const reports = await Promise.all(
    workers.map(async (worker) => {
      const exit = once(worker, "exit");
      const report = await firstReport(worker);
      expect(await exit).toEqual([0]);
      return report;
    }),
  );
  reports.forEach((report, i) => {
    expect(report.wrong).toBe(0);
    expect(report.liveTensors).toBe(2 + keeps[i]);
    expect(report.threads).toBe(threads);
  });

  expect(native.memory()[0]).toBe(live);
  const values = new Float32Array(4);
  native.toBytes(mine, new Uint8Array(values.buffer));
  expect(Array.from(values)).toEqual([7, 7, 7, 7]);
  native.free(mine);
  native.setNumThreads(threads);
});

test("workers can be terminated in the middle of a computation", async () => {
  for (let round = 0; round < 3; round++) {
    const workers = [0, 1, 2].map(() => start({ side: 192, keep: 5, forever: true }));
    for (const report of await Promise.all(workers.map(firstReport))) expect(report.wrong).toBe(0);
    const codes = await Promise.all(workers.map((worker) => worker.terminate()));
    expect(codes).toEqual([1, 1, 1]);
    expect(productHere(32)).toBe(6 * 32);
  }
});

test("a worker can be terminated inside a call that makes objects", async () => {
  const code = `import { native } from ${addon};
    import { parentPort } from "node:worker_threads";
    parentPort.postMessage(0);
    for (;;) native.memory();`;
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(moduleOf(code));
    await once(worker, "message");
    expect(await worker.terminate()).toBe(1);
  }
  expect(productHere(16)).toBe(96);
});

test("a worker's error is of the package's own class, and the worker's end frees its state", async () => {
  const source = `
    import { native, ShapeError } from ${addon};
    import { parentPort } from "node:worker_threads";
    try {
      native.full(0, Int32Array.of(-1), 0);
    } catch (error) {
      parentPort.postMessage([error instanceof ShapeError, error.message]);
    }`;
  const worker = new Worker(moduleOf(source));
  const [[typed, message]] = (await once(worker, "message")) as [[boolean, string]];
  expect(typed).toBe(true);
  expect(message).toMatch(/\[full\].*-1/);
  await once(worker, "exit");
  expect(productHere(16)).toBe(96);
});

test("an environment ends with ops in its queue", async () => {
  const code = `import { native } from ${addon};
    native.setNumThreads(2);
    native.full(0, Int32Array.of(512, 512), 1);
    const ones = native.outputs[0];
    for (let i = 0; i < 12; i++) native.matmul(ones, ones);`;
  const worker = new Worker(moduleOf(code));
  expect(await once(worker, "exit")).toEqual([0]);
});
