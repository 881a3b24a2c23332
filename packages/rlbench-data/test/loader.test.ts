import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type BatchLoader,
  CounterRandom,
  DataError,
  drawBatch,
  drawVariableBatch,
  hashedWordEncoder,
  type KeyPoseBatch,
  type KeyPoseDataset,
  type KeyPoseSample,
  loadBatches,
  type LoaderOptions,
  loadVariableBatches,
  makeReachEpisode,
  pointCount,
  prepareKeyPoses,
  toDemonstration,
} from "../src/index.js";
import { LoaderThread } from "../src/loader/loader-thread.js";
import { shareDataset } from "../src/loader/shared-dataset.js";

let dataset: KeyPoseDataset;
const open: BatchLoader<unknown>[] = [];

beforeAll(() => {
  dataset = prepareKeyPoses(
    Array.from({ length: 5 }, (_, i) => toDemonstration(makeReachEpisode(2, i))),
    { encoder: hashedWordEncoder(16) },
  );
});
afterAll(() => Promise.all(open.map((loader) => loader.close())));

const options: LoaderOptions = {
  seed: 4,
  batchSize: 3,
  points: 64,
  rotationRange: 45,
  jitter: 0.02,
  pointJitter: 0.002,
  sampling: "near gripper",
};

function load(changes: Partial<LoaderOptions> = {}, of = dataset): BatchLoader<KeyPoseBatch> {
  const loader = loadBatches(of, { ...options, ...changes });
  open.push(loader);
  return loader;
}

/** The data set with a state that is changed, of episode "bad". */
function withBadState(changes: object): KeyPoseDataset {
  const samples = dataset.samples.map((sample, i) =>
    i === 2 ? ({ ...sample, episode: "bad", frame: 7, ...changes } as KeyPoseSample) : sample,
  );
  return { ...dataset, samples };
}

describe("batches of a loader", () => {
  it("are those of drawBatch to the bit, whatever the number of workers and what is drawn ahead", async () => {
    const expected = Array.from({ length: 8 }, (_, step) => drawBatch(dataset, { ...options, step }));
    for (const changes of [{ workers: 0 }, {}, { workers: 1, prefetch: 1 }, { workers: 3, prefetch: 7 }]) {
      const loader = load(changes);
      for (const [step, batch] of expected.entries()) expect(await loader.batch(step)).toEqual(batch);
      await loader.close();
    }
  });

  it("go on anywhere, back and forth, and may be asked for together", async () => {
    const loader = load({ workers: 2 });
    for (const step of [7, 8, 3, 3, 100])
      expect(await loader.batch(step)).toEqual(drawBatch(dataset, { ...options, step }));
    const steps = [20, 21, 20, 5];
    const batches = await Promise.all(steps.map((step) => loader.batch(step)));
    expect(batches).toEqual(steps.map((step) => drawBatch(dataset, { ...options, step })));
  });

  it("are asked of the threads no further ahead than said, and once", async () => {
    const draw = vi.spyOn(LoaderThread.prototype, "draw");
    const loader = load({ workers: 2, prefetch: 3 });
    const asked = (): number[] => draw.mock.calls.splice(0).map(([index]) => index);
    await loader.batch(10);
    expect(asked()).toEqual([10, 11, 12, 13]);
    await loader.batch(11);
    await loader.batch(12);
    expect(asked()).toEqual([14, 15]);
    await loader.batch(0);
    expect(asked()).toEqual([0, 1, 2, 3]);
    draw.mockRestore();
  });

  it("of variable size have every point of a scene once, and offsets", async () => {
    const counts = dataset.samples.map(({ cloud }) => pointCount(cloud));
    const points = [...counts].sort((a, b) => a - b)[2];
    const plain = { seed: 4, batchSize: 5, points };
    const loader = loadVariableBatches(dataset, plain);
    open.push(loader);
    const batch = await loader.batch(3);
    expect(batch).toEqual(drawVariableBatch(dataset, { ...plain, step: 3 }));
    expect("pointsPerScene" in batch).toBe(false);
    const sizes = [...batch.sampleIndices].map((index) => Math.min(points, counts[index]));
    expect(new Set(sizes).size).toBeGreaterThan(1);
    expect([...batch.offsets]).toEqual(sizes.reduce((sums, size) => [...sums, sums.at(-1)! + size], [0]));
    expect(batch.points).toHaveLength(3 * batch.offsets[5]);
    expect(batch.colors).toHaveLength(3 * batch.offsets[5]);
    for (let b = 0; b < 5; b++) {
      const rows = (values: Float32Array, from: number, to: number): string[] =>
        Array.from({ length: to - from }, (_, i) => values.subarray(3 * (from + i), 3 * (from + i + 1)).join());
      const { cloud } = dataset.samples[batch.sampleIndices[b]];
      const scene = rows(batch.points, batch.offsets[b], batch.offsets[b + 1]);
      expect(new Set(scene).size).toBe(sizes[b]);
      // No turn and no shift: the points are the cloud's.
      const known = new Set(rows(cloud.colors, 0, pointCount(cloud)));
      for (const color of rows(batch.colors, batch.offsets[b], batch.offsets[b + 1])) expect(known).toContain(color);
    }
    const fixed = drawBatch(dataset, { ...options, step: 1, points: Math.min(...counts) });
    const variable = drawVariableBatch(dataset, { ...options, step: 1, points: Math.min(...counts) });
    expect(variable.points).toEqual(fixed.points);
  });
});

describe("weights of tasks", () => {
  const taskOf = (i: number): string => (i === 0 ? "rare" : i < 3 ? "some" : "other");
  const weighted = (): KeyPoseDataset => ({
    ...dataset,
    samples: dataset.samples.map((sample, i) => ({ ...sample, task: taskOf(i) })),
  });
  const draws = (taskWeights: LoaderOptions["taskWeights"], batchSize: number, step = 0, seed = 9): number[] => [
    ...drawBatch(weighted(), { seed, step, batchSize, points: 1, taskWeights }).sampleIndices,
  ];

  it("say how often states of a task are drawn", () => {
    const indices = draws({ rare: 3, some: 1 }, 5000);
    const share = (task: string): number => indices.filter((index) => taskOf(index) === task).length / 5000;
    expect(share("rare")).toBeCloseTo(0.6, 1);
    expect(share("some")).toBeCloseTo(0.2, 1);
    expect(share("other")).toBeCloseTo(0.2, 1);
    const count = (index: number): number => indices.filter((one) => one === index).length;
    expect(count(1) / count(2)).toBeCloseTo(1, 0);
    expect(draws({ rare: 0, other: 0 }, 1000).every((index) => taskOf(index) === "some")).toBe(true);
  });

  it("leave the order a function of seed and epoch", async () => {
    const weights = { rare: 2 };
    expect([0, 1, 2].flatMap((step) => draws(weights, 4, step))).toEqual(draws(weights, 12));
    expect(draws(weights, 12, 0, 10)).not.toEqual(draws(weights, 12));
    const loader = load({ taskWeights: weights, workers: 2 }, weighted());
    for (const step of [0, 1, 6])
      expect(await loader.batch(step)).toEqual(drawBatch(weighted(), { ...options, taskWeights: weights, step }));
  });

  it("are refused where they make no sense", () => {
    for (const [taskWeights, message] of [
      [{ raer: 1 }, /names "raer", expected one of rare, some, other/],
      [{ rare: -1 }, /gives rare -1/],
      [{ rare: NaN }, /gives rare NaN/],
      [{ rare: Infinity }, /gives rare Infinity/],
      [{ rare: 0, some: 0, other: 0 }, /are all 0/],
    ] as const)
      expect(() => load({ taskWeights }, weighted())).toThrow(message);
  });
});

describe("what goes wrong in a worker", () => {
  it("is the error of the data, at the batch that has them", async () => {
    const empty = withBadState({ cloud: { positions: new Float32Array(0), colors: new Float32Array(0) } });
    const isBad = (step: number): boolean => drawBatch(dataset, { ...options, step }).sampleIndices.includes(2);
    const [bad, good] = [true, false].map((wanted) => [...Array(20).keys()].find((step) => isBad(step) === wanted)!);
    for (const workers of [0, 1, 2]) {
      const loader = load({ workers }, empty);
      await expect(loader.batch(bad)).rejects.toThrow(DataError);
      await expect(loader.batch(bad)).rejects.toThrow(/^\[bad frame 7\] the point cloud is empty$/);
      expect(await loader.batch(good)).toEqual(drawBatch(dataset, { ...options, step: good }));
    }
  });

  it("is named by the episode when it ends the thread, at once and for good", async () => {
    const broken = withBadState({ gripper: null });
    for (const workers of [1, 2]) {
      const loader = load({ workers }, broken);
      const asked = [0, 1, 2, 3].map((step) => loader.batch(step));
      const outcomes = await Promise.allSettled(asked);
      const errors = outcomes.filter((outcome) => outcome.status === "rejected");
      expect(errors.length).toBeGreaterThan(0);
      for (const { reason } of errors) expect(reason).toBeInstanceOf(DataError);
      expect(String(errors[0].reason)).toMatch(/^DataError: \[bad frame 7\] a worker thread failed: .*null/);
      await expect(loader.batch(0).then(() => loader.batch(1))).rejects.toThrow(/\[bad frame 7\]/);
    }
  });

  it("is told when a thread is gone", async () => {
    const thread = new LoaderThread({ dataset: shareDataset(dataset), options, variableSize: false });
    await thread.draw(0);
    const batch = thread.draw(1e6);
    void (thread as unknown as { worker: { terminate(): Promise<number> } }).worker.terminate();
    await expect(batch).rejects.toThrow(/a worker thread failed: it ended with exit code 1$/);
    await expect(thread.draw(0)).rejects.toThrow(DataError);
  });
});

describe("the end of a loader", () => {
  it("refuses what is waited for and what is asked for afterwards", async () => {
    for (const workers of [0, 2]) {
      const loader = load({ workers });
      await loader.batch(0);
      const waited = loader.batch(workers === 0 ? 1 : 50);
      const refused = workers === 0 ? waited : expect(waited).rejects.toThrow(/\[loader\] is closed/);
      await loader.close();
      await refused;
      await expect(loader.batch(0)).rejects.toThrow(/\[loader\] is closed/);
      await loader.close();
    }
  });

  it.for([
    ["close", 0],
    ["leave", 0],
    ["throw", 1],
  ] as const)("lets the process end: %s", ([action, status]) => {
    const child = fileURLToPath(new URL("./support/loader-child.ts", import.meta.url));
    const result = spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", child, action], {
      encoding: "utf8",
      timeout: 60_000,
    });
    expect({ status: result.status, signal: result.signal, out: result.stdout }).toEqual({
      status,
      signal: null,
      out: "2\n",
    });
  });
});

it("refuses options that make no sense", async () => {
  for (const [bad, message] of [
    [{ workers: -1 }, /\[loader\] workers is -1, expected an integer from 0 to 64/],
    [{ workers: 1.5 }, /workers is 1\.5/],
    [{ workers: 65 }, /workers is 65/],
    [{ prefetch: 0 }, /prefetch is 0, expected an integer from 1 to 1024/],
    [{ prefetch: NaN }, /prefetch is NaN/],
    [{ batchSize: 0 }, /batchSize is 0/],
    [{ points: 2 ** 40 }, /too many/],
    [{ seed: -1 }, /\[seed\]/],
    [{ jitter: NaN }, /jitter is NaN/],
  ] as const)
    expect(() => load(bad)).toThrow(message);
  const loader = load();
  for (const index of [-1, 0.5, NaN]) await expect(loader.batch(index)).rejects.toThrow(DataError);
  await expect(load({ workers: 0 }).batch(-1)).rejects.toThrow(DataError);
});

it("has the clouds in memory that threads share, once", () => {
  const shared = shareDataset(dataset);
  shared.samples.forEach(({ cloud, embeddings }, i) => {
    expect(cloud.positions).toBe(dataset.samples[i].cloud.positions);
    expect(cloud.positions.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(embeddings[0].data).toBe(dataset.samples[i].embeddings[0].data);
  });
  const random = new CounterRandom(1);
  const own = { tokens: 1, data: Float32Array.of(random.uniform()) };
  const foreign = shareDataset({
    instructionDim: 1,
    samples: dataset.samples.map((sample) => ({ ...sample, embeddings: [own] })),
  });
  expect(new Set(foreign.samples.map(({ embeddings }) => embeddings[0])).size).toBe(1);
  expect(foreign.samples[0].embeddings[0]).toEqual(own);
});

it("keeps memory flat over 50 epochs", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const samples = Array.from({ length: 50 }, (_, i) => dataset.samples[i % dataset.samples.length]);
  const loader = load({ batchSize: 5, points: 4000 }, { ...dataset, samples });
  const bytesAfter = async (from: number, to: number): Promise<{ buffers: number; resident: number }> => {
    for (let index = from; index < to; index++) expect((await loader.batch(index)).size).toBe(5);
    collectGarbage();
    const { arrayBuffers, rss } = process.memoryUsage();
    return { buffers: arrayBuffers, resident: rss };
  };
  const batchBytes = 5 * 4000 * 6 * 4;
  // 10 batches an epoch.
  const early = await bytesAfter(0, 100);
  const late = await bytesAfter(100, 500);
  expect(late.buffers - early.buffers).toBeLessThan(4 * batchBytes);
  // Half of the 400 batches between, if either thread kept them, would show.
  expect(late.resident - early.resident).toBeLessThan(0.5 * 400 * batchBytes);
}, 120_000);
