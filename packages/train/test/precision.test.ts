import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "@md/nn";
import { assign, full, tensor, ValueError } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import type { ConfigLayer } from "../src/config/resolve.js";
import { parseOverride } from "../src/config/sources.js";
import type { Precision } from "../src/config/schema.js";
import { ConfigError, TrainingError } from "../src/errors.js";
import { readMetrics } from "../src/metrics.js";
import { GradScaler } from "../src/optim/grad-scaler.js";
import { ProgressDisplay } from "../src/progress.js";
import { Run } from "../src/run/run.js";
import { makeFixture, toyLayer } from "./support/fixture.js";

const { folder, data, remove } = makeFixture(2);
afterAll(remove);

const start = (name: string, precision: Precision, layer: ConfigLayer = toyLayer, ...more: string[]): Promise<Run> =>
  Run.start({
    out: join(folder, name),
    layers: [layer, ...[`training.precision=${precision}`, ...more].map(parseOverride)],
    data: { root: data },
  });
const checkpoint = (name: string): string => join(folder, name, "checkpoint.safetensors");
const weightsOf = (run: Run): number[][] => [...run.parts.policy.parameters()].map((x) => x.toFlatArray());

describe("GradScaler", () => {
  it("grows after enough finite steps, backs off after others, and counts what it skipped", () => {
    const scaler = new GradScaler({ initialScale: 8, growthInterval: 2 });
    const scales = [true, true, true, false, true, true].map((finite) => (scaler.update(finite), scaler.scale));
    expect(scales).toEqual([8, 16, 16, 8, 8, 16]);
    expect(scaler.skipped).toBe(1);
    const other = new GradScaler({ growthInterval: 2 });
    expect(other.scale).toBe(65536);
    other.state = scaler.state;
    expect(other.state).toEqual({ scale: 16, growthTracker: 0, skipped: 1 });
    expect(other.scaleLoss(tensor(0.5)).item()).toBe(8);
    for (const state of [{ scale: 0 }, { scale: NaN }, { growthTracker: 1.5 }, { skipped: -1 }])
      expect(() => (other.state = { ...scaler.state, ...state })).toThrow(ValueError);
  });
});

describe("precision", () => {
  const small: ConfigLayer = {
    source: "test",
    values: {
      policy: { embedDim: 24, numHeads: 2, numLayers: 1, samples: 4, positionFrequencies: 1 },
      data: { points: 16, instructionDim: 8, cameras: ["front"], workers: 0 },
      optimizer: { learningRate: 3e-3, warmupSteps: 5, emaDecay: 0 },
      training: { steps: 60, batchSize: 2, logEvery: 1, checkpointEvery: 1000 },
    },
  };

  it("bf16 and f16 train a policy to about the loss of f32, with f32 weights", async () => {
    const losses: Record<string, number[]> = {};
    for (const precision of ["f32", "bf16", "f16"] as const) {
      const run = await start(precision, precision, small);
      await run.train();
      for (const parameter of run.parts.policy.parameters()) expect(parameter.dtype).toBe("f32");
      run.dispose();
      losses[precision] = readMetrics(join(folder, precision, "metrics.jsonl")).map(({ loss }) => loss as number);
    }
    const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [first, last] = [mean(losses["f32"]!.slice(0, 5)), mean(losses["f32"]!.slice(-15))];
    expect(last).toBeLessThan(0.8 * first);
    for (const low of ["bf16", "f16"]) {
      expect(losses[low]).not.toEqual(losses["f32"]);
      expect(Math.abs(mean(losses[low]!.slice(-15)) - last)).toBeLessThan(0.1 * last);
    }
  });

  it("every policy takes steps in bf16 and f16, near the first loss of f32", async () => {
    const sizes: Record<string, Record<string, unknown>> = {
      "mini-diffuser": {
        encChannels: [12, 24],
        encNumHeads: [2, 2],
        encDepths: [1, 1],
        decChannels: [12],
        decNumHeads: [2],
        decDepths: [1],
        contextDim: 8,
      },
      "diffuser-actor": { embedDim: 24, numHeads: 2, samples: 3 },
    };
    for (const [model, policy] of Object.entries(sizes)) {
      const layer = { source: "test", values: { ...(toyLayer.values as object), model, policy } };
      const first: number[] = [];
      for (const precision of ["f32", "bf16", "f16"] as const) {
        const run = await start(`${model}-${precision}`, precision, layer);
        const { loss } = await run.trainer.trainStep();
        // The first scale may be too large, as it is in PyTorch.
        for (let i = 0; i < 12 && (run.trainer.scaler?.skipped ?? 0) === run.trainer.step; i++)
          await run.trainer.trainStep();
        expect(run.trainer.scaler?.skipped ?? 0).toBeLessThan(run.trainer.step);
        expect(weightsOf(run).flat().every(Number.isFinite)).toBe(true);
        first.push(loss);
        run.dispose();
      }
      for (const loss of first) expect(Math.abs(loss - first[0]!)).toBeLessThan(0.05 * first[0]!);
      expect(new Set(first).size).toBe(3);
    }
  });

  it("goes on to the bit after an interruption, with the scale of the loss", async () => {
    const body = (name: string): string => {
      const bytes = readFileSync(checkpoint(name));
      return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0))).toString("hex");
    };
    for (const precision of ["bf16", "f16"] as const) {
      const [whole, halves] = [`${precision}-whole`, `${precision}-halves`];
      const overflow = { scale: 2 ** 40, growthTracker: 5, skipped: 2 };
      const first = await start(whole, precision);
      if (first.trainer.scaler) first.trainer.scaler.state = overflow;
      await first.train();
      first.dispose();
      const second = await start(halves, precision);
      if (second.trainer.scaler) second.trainer.scaler.state = overflow;
      const controller = new AbortController();
      const step = second.trainer.trainStep.bind(second.trainer);
      second.trainer.trainStep = async () => {
        const metrics = await step();
        if (second.trainer.step === 5) controller.abort();
        return metrics;
      };
      await second.train({ signal: controller.signal });
      const { scaler } = second.trainer;
      second.dispose();
      const third = await Run.resume(join(folder, halves));
      expect(third.trainer.step).toBe(5);
      expect(third.trainer.scaler?.state).toEqual(scaler?.state);
      await third.train();
      third.dispose();
      expect(body(halves)).toBe(body(whole));
      using saved = new Checkpoint(checkpoint(halves));
      using other = new Checkpoint(checkpoint(whole));
      expect(saved.metadata.scaler).toEqual(other.metadata.scaler);
      expect(saved.metadata.scaler?.skipped ?? 3).toBeGreaterThan(2);
    }
  });

  it("f16 leaves a step out and halves the scale where gradients overflow, and says so", async () => {
    const run = await start("overflow", "f16");
    const { trainer } = run;
    trainer.scaler!.state = { scale: 2 ** 40, growthTracker: 7, skipped: 0 };
    const before = weightsOf(run);
    const metrics = await trainer.trainStep();
    expect(metrics).toMatchObject({ step: 1, skipped: 1, lossScale: 2 ** 39 });
    expect(Number.isFinite(metrics.loss)).toBe(true);
    expect(weightsOf(run)).toEqual(before);
    trainer.scaler!.state = { scale: 1024, growthTracker: 0, skipped: 1 };
    expect(await trainer.trainStep()).toMatchObject({ step: 2, skipped: 1, lossScale: 1024 });
    expect(weightsOf(run)).not.toEqual(before);
    run.dispose();
    let line = "";
    const display = new ProgressDisplay({ write: (text) => (line += text) });
    const state = { step: 2, steps: 10, progress: 0.2, rate: 1, dataSeconds: 0, secondsLeft: 8, loss: 1 };
    display.update({ ...state, skipped: 1 });
    expect(line).toMatch(/, 1 skipped\n$/);
  });

  it("f16 gives up where no scale helps", async () => {
    const run = await start("hopeless", "f16");
    run.trainer.scaler!.state = { scale: 1.5e-4, growthTracker: 0, skipped: 0 };
    for (const parameter of run.parts.policy.parameters()) assign(parameter, full(parameter.shape, NaN));
    await expect(run.trainer.trainStep()).rejects.toThrow(TrainingError);
    await expect(run.trainer.trainStep()).rejects.toThrow(/loss is NaN, though the loss scale is down to/);
    run.dispose();
  });

  it("is f32 in checkpoints that do not say, and needs the scale in those of f16", async () => {
    await expect(start("unknown", "f8" as Precision)).rejects.toThrow(ConfigError);
    for (const precision of ["f32", "f16"] as const) {
      const run = await start(`saved-${precision}`, precision);
      await run.train();
      run.dispose();
      const file = checkpoint(`saved-${precision}`);
      const { metadata: header, tensors } = readSafetensors(file);
      const metadata = JSON.parse(header["minidiff"]!) as { scaler?: object; config: { training: object } };
      delete metadata.scaler;
      if (precision === "f32") delete (metadata.config.training as { precision?: string }).precision;
      writeSafetensors(file, tensors, { minidiff: JSON.stringify(metadata) });
      if (precision === "f16") expect(() => new Checkpoint(file)).toThrow(/metadata\.scaler is no section/);
      else {
        using old = new Checkpoint(file);
        expect(old.metadata.config.training.precision).toBe("f32");
        expect(old.metadata.scaler).toBeNull();
      }
    }
  });
});
