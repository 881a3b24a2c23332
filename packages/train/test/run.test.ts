import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readSafetensors, writeSafetensors } from "@md/nn";
import { memory } from "@md/tensor";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { type ConfigLayer } from "../src/config/resolve.js";
import { parseOverride } from "../src/config/sources.js";
import { CheckpointError, ConfigError } from "../src/errors.js";
import { readMetrics } from "../src/metrics.js";
import { Run } from "../src/run/run.js";
import { makeFixture, toyLayer, toyPolicyFile } from "./support/fixture.js";
import { trainUntil } from "./support/train-until.js";

const { folder, data, remove } = makeFixture();
afterAll(remove);

const start = (name: string, ...layers: ConfigLayer[]): Promise<Run> =>
  Run.start({ out: join(folder, name), layers: [toyLayer, ...layers], data: { root: data, episodes: "0-2" } });

// The tensors of a checkpoint: all behind its header.
function body(name: string): string {
  const bytes = readFileSync(join(folder, name, "checkpoint.safetensors"));
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0))).toString("hex");
}
const trainLines = (name: string): unknown[] =>
  readMetrics(join(folder, name, "metrics.jsonl")).map(({ step, loss, learningRate }) => ({
    step,
    loss,
    learningRate,
  }));

describe("Run", () => {
  it("goes on to the bit where an interrupted run stopped, within an epoch and an accumulation", async () => {
    const accumulate = parseOverride("training.accumulate=2");
    const whole = await start("whole", accumulate);
    await whole.train();
    whole.dispose();
    const first = await start("halves", accumulate);
    await trainUntil(first, 5);
    expect(first.trainer.step).toBe(5);
    first.dispose();
    const second = await Run.resume(join(folder, "halves"));
    expect(second.trainer.step).toBe(5);
    await second.train();
    second.dispose();
    expect(trainLines("whole")).toHaveLength(10);
    expect(trainLines("halves")).toEqual(trainLines("whole"));
    expect(body("halves")).toBe(body("whole"));
  });

  it("is the same to the bit with any number of workers, interrupted or not, and says how long it waited", async () => {
    const weighted = parseOverride("data.taskWeights.reach_sphere=2");
    const plain = await start("no-workers", weighted);
    expect(plain.parts.config.data.workers).toBe(0);
    await plain.train();
    plain.dispose();
    const first = await start("workers", weighted, parseOverride("data.workers=2"));
    await trainUntil(first, 5);
    first.dispose();
    const one = { source: "test", values: { data: { workers: 1 } } };
    const second = await Run.resume(join(folder, "workers"), { budget: [one] });
    expect(second.parts.config.data.workers).toBe(1);
    await second.train();
    second.dispose();
    expect(trainLines("workers")).toEqual(trainLines("no-workers"));
    expect(body("workers")).toBe(body("no-workers"));
    for (const { data_s, update_s } of readMetrics(join(folder, "workers", "metrics.jsonl"))) {
      expect(data_s).toBeGreaterThanOrEqual(0);
      expect(update_s).toBeGreaterThan(0);
    }
  });

  it("stops with the error of the loader, and refuses weights that it cannot use before anything is written", async () => {
    const run = await start("lost-loader", parseOverride("data.workers=1"));
    run.dispose();
    await expect(run.trainer.trainStep()).rejects.toThrow(/\[loader\] is closed/);
    const unknown = start("unknown-task", parseOverride("data.taskWeights.reach_cube=2"));
    await expect(unknown).rejects.toThrow(/\[taskWeights\] names "reach_cube", expected one of reach_sphere/);
    await expect(start("negative", parseOverride("data.taskWeights.reach_sphere=-1"))).rejects.toThrow(ConfigError);
    expect(existsSync(join(folder, "unknown-task"))).toBe(false);
  });

  it("drops metrics of steps after the checkpoint, and what a kill cut short", async () => {
    const run = await start("late");
    await trainUntil(run, 4);
    run.dispose();
    const file = join(folder, "late", "metrics.jsonl");
    const { appendFileSync } = await import("node:fs");
    appendFileSync(file, '{"kind":"train","step":5,"loss":1}\n{"kind":"tr');
    const resumed = await Run.resume(join(folder, "late"));
    await resumed.train();
    resumed.dispose();
    expect(readMetrics(file).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it("logs the last step once, whatever ends it", async () => {
    const file = join(folder, "logged", "metrics.jsonl");
    const steps = (): number[] => readMetrics(file).map(({ step }) => step);
    const run = await start("logged", parseOverride("training.logEvery=4"));
    await trainUntil(run, 6);
    run.dispose();
    expect(steps()).toEqual([1, 4, 6]);
    for (const [budget, expected] of [
      [9, [1, 4, 6, 8, 9]],
      [9, [1, 4, 6, 8, 9]],
      [12, [1, 4, 6, 8, 9, 12]],
    ] as const) {
      const layer = { source: "test", values: { training: { steps: budget } } };
      const resumed = await Run.resume(join(folder, "logged"), { budget: [layer] });
      await resumed.train();
      resumed.dispose();
      expect(steps()).toEqual(expected);
    }
  });

  it("learns, and keeps its bytes flat", async () => {
    const run = await start("learn", parseOverride("training.steps=300"));
    const metrics = await (async () => {
      for (let i = 0; i < 50; i++) await run.trainer.trainStep();
      const before = memory().liveBytes;
      await run.train();
      expect(memory().liveBytes).toBe(before);
      return readMetrics(join(folder, "learn", "metrics.jsonl"));
    })();
    run.dispose();
    expect(metrics.at(-1)!["loss"]).toBeLessThan(0.02);
    expect(metrics.at(-1)!["learningRate"]).toBeLessThan(0.001);
  });

  it("follows the clock under maxMinutes", async () => {
    const run = await start("clock", parseOverride("training.steps=null"), parseOverride("training.maxMinutes=0.005"));
    await run.train();
    expect(run.trainer.progress).toBeGreaterThanOrEqual(1);
    expect(run.trainer.elapsedSeconds).toBeLessThan(2);
    run.dispose();
    const lines = readMetrics(join(folder, "clock", "metrics.jsonl"));
    expect(lines.at(-1)!["learningRate"]).toBeLessThan(0.05 * 0.1);
  });

  it("judges held-out episodes on the way, with averaged weights, and trains as without", async () => {
    const run = await Run.start({
      out: join(folder, "validated"),
      layers: [toyLayer],
      data: { root: data },
      validation: { root: data, episodes: "3" },
    });
    expect(run.parts.metadata.trainedOn!.heldOut!.episodes).toEqual([expect.stringContaining("episode3")]);
    expect(run.parts.training.samples).toHaveLength(3);
    await run.train();
    run.dispose();
    const plain = await start("plain");
    await plain.train();
    plain.dispose();
    const lines = readMetrics(join(folder, "validated", "metrics.jsonl"));
    expect(lines.filter(({ kind }) => kind === "validation").map(({ step }) => step)).toEqual([5, 10]);
    expect(body("validated")).toBe(body("plain"));
  });

  it("refuses an episode that is selected both to train on and to hold out", async () => {
    const out = join(folder, "both");
    const both = { data: { root: data, episodes: "0-3" }, validation: { root: data, episodes: "3" } };
    const started = Run.start({ out, layers: [toyLayer], ...both });
    await expect(started).rejects.toThrow(ConfigError);
    await expect(started).rejects.toThrow(/--episodes and --val-episodes both select reach_sphere\/.*\/episode3$/);
    expect(existsSync(out)).toBe(false);
  });

  it("stops at a loss that is not finite, and leaves the weights before it", async () => {
    const run = await start("broken", parseOverride("policy.noise=.inf"));
    await expect(run.train()).rejects.toThrow(/\[step 1\] loss is/);
    run.dispose();
    using checkpoint = new Checkpoint(join(folder, "broken"));
    expect(checkpoint.metadata.step).toBe(0);
    (await checkpoint.loadPolicy()).dispose();
  });

  it("refuses a run without an end, and an unknown policy", async () => {
    await expect(start("endless", parseOverride("training.steps=null"))).rejects.toThrow(ConfigError);
    await expect(start("unknown", parseOverride("model=mini-difuser-light"))).rejects.toThrow(/mini-diffuser-light/);
    const options = { out: join(folder, "absent"), layers: [toyLayer], data: { root: data } };
    await expect(Run.start({ ...options, model: "./absent.mjs" })).rejects.toThrow(/absent\.mjs does not exist/);
  });

  it("draws points as the configuration says", async () => {
    const losses = async (name: string, ...settings: string[]): Promise<unknown[]> => {
      const run = await start(name, ...settings.map(parseOverride));
      await run.train();
      run.dispose();
      return trainLines(name);
    };
    const plain = await losses("plain");
    expect(await losses("said", "data.sampling=uniform", "data.pointJitter=0")).toEqual(plain);
    expect(await losses("near", "data.sampling=near gripper")).not.toEqual(plain);
    expect(await losses("jittered", "data.pointJitter=0.002")).not.toEqual(plain);
    await expect(start("robot", parseOverride("data.removeRobot=arm"))).rejects.toThrow(
      /episode0 frame 0\] has neither boxes of the robot's links nor joint positions/,
    );
  });

  it("runs a module file on the user's word alone", async () => {
    const evil = join(folder, "evil.mjs");
    const traces = join(folder, "traces");
    writeFileSync(evil, `import { writeFileSync } from "node:fs"; writeFileSync(${JSON.stringify(traces)}, "");`);
    const asked = { ...toyLayer, source: "some.yaml", values: { model: evil } };
    await expect(start("evil", asked)).rejects.toThrow(/evil\.mjs" is a module file, which is run only if/);

    const run = await start("good");
    await run.train();
    run.dispose();
    const file = join(folder, "good", "checkpoint.safetensors");
    const { metadata: header, tensors } = readSafetensors(file);
    const metadata = JSON.parse(header["minidiff"]!) as { policy: object; config: object };
    metadata.policy = { ...metadata.policy, name: evil };
    metadata.config = { ...metadata.config, model: evil };
    writeSafetensors(file, tensors, { minidiff: JSON.stringify(metadata) });
    await expect(Run.resume(join(folder, "good"))).rejects.toThrow(CheckpointError);
    using checkpoint = new Checkpoint(file);
    await expect(checkpoint.loadPolicy()).rejects.toThrow(/evil\.mjs" is a module file, which is run only if/);
    expect(existsSync(traces)).toBe(false);
    (await checkpoint.loadPolicy({ model: toyPolicyFile })).dispose();
    await expect(checkpoint.loadPolicy({ model: evil })).rejects.toThrow(/evil\.mjs has no policy factory/);
    expect(existsSync(traces)).toBe(true);
  });
});
