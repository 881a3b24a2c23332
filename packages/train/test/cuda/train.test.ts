import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readSafetensors } from "@md/nn";
import { cudaInfo, type DeviceName } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { parseOverride } from "../../src/config/sources.js";
import { evaluateCheckpoint } from "../../src/evaluate/evaluation.js";
import { readMetrics } from "../../src/metrics.js";
import { Run } from "../../src/run/run.js";
import { makeFixture, toyLayer } from "../support/fixture.js";
import { trainUntil } from "../support/train-until.js";

const device: DeviceName = "cuda:0";
const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));
const { folder, data, remove } = makeFixture();
afterAll(remove);

/** Few parameters: under the emulation their norm takes most of the time. */
const smallRun = [
  ...["--model", "mini-diffuser-light", "--steps", "2", "data.points=12", "data.instructionDim=4", "data.workers=0"],
  ...["policy.embedDim=12", "policy.numHeads=2", "policy.numLayers=1", "policy.samples=2", "policy.poseQueries=1"],
  ...["training.batchSize=2", "training.accumulate=2", "training.logEvery=1"],
  ...["optimizer.warmupSteps=0", "optimizer.clipGradNorm=0.5"],
];

function minidiff(...args: string[]): string {
  const options = { encoding: "utf8", timeout: 200_000 } as const;
  const run = spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", cli, ...args], options);
  expect(run.status, run.stderr).toBe(0);
  return run.stdout;
}

const startToy = (out: string): Promise<Run> => {
  const layers = [toyLayer, parseOverride("training.steps=4"), parseOverride(`device=${device}`)];
  return Run.start({ out: join(folder, out), layers, data: { root: data } });
};

/** The file of a run without its metadata, which have the time. */
const tensorsOf = (out: string): [name: string, numbers: unknown][] =>
  [...readSafetensors(join(folder, out, "checkpoint.safetensors")).tensors].map(([name, x]) => [name, x.data()]);

describe.skipIf(cudaInfo().devices.length === 0)("minidiff on cuda", () => {
  it("trains as on the CPU, and samples the same of the same checkpoint", () => {
    const train = (out: string, where: string): Record<string, unknown>[] => {
      minidiff("train", "--data", data, "--out", join(folder, out), "--device", where, ...smallRun);
      return readMetrics(join(folder, out, "metrics.jsonl"));
    };
    const [here, there] = [train("cpu", "cpu"), train("cuda", "cuda")];
    expect(there).toHaveLength(2);
    for (const [i, line] of there.entries())
      for (const key of ["loss", "noise", "rotation", "open", "gradNorm"]) {
        const expected = here[i]![key] as number;
        expect(Math.abs((line[key] as number) - expected), `${key} of step ${i + 1}`).toBeLessThan(1e-4 * expected);
      }

    const sample = (where: string): { candidates: { position: number[]; open: number }[] } => {
      const source = ["--checkpoint", join(folder, "cuda"), "--data", data, "--task", "reach_sphere"];
      const stdout = minidiff("sample", ...source, "--candidates", "2", "--steps", "1", "--device", where);
      return JSON.parse(stdout) as ReturnType<typeof sample>;
    };
    const [drawnHere, drawnThere] = [sample("cpu"), sample("cuda")];
    drawnThere.candidates.forEach(({ position, open }, c) => {
      const expected = drawnHere.candidates[c]!;
      position.forEach((x, axis) => expect(Math.abs(x - expected.position[axis]!)).toBeLessThan(1e-5));
      expect(Math.abs(open - expected.open)).toBeLessThan(1e-5);
    });
  }, 240_000);

  it("goes on from a checkpoint to the bit, and on any device", async () => {
    const whole = await startToy("whole");
    await whole.train();
    whole.dispose();
    const half = await startToy("half");
    expect(half.parts.policy.device).toBe(device);
    await trainUntil(half, 2);
    half.dispose();
    const { metadata } = readSafetensors(join(folder, "half", "checkpoint.safetensors"));
    expect(metadata["minidiff"]).not.toContain("cuda");
    const resumed = await Run.resume(join(folder, "half"), { device });
    expect(resumed.trainer.step).toBe(2);
    expect(resumed.trainer.policy.device).toBe(device);
    expect([...resumed.trainer.ema!.stateDict().values()].every((x) => x.device === device)).toBe(true);
    await resumed.train();
    resumed.dispose();
    expect(tensorsOf("half")).toEqual(tensorsOf("whole"));

    using checkpoint = new Checkpoint(join(folder, "whole"));
    for (const where of ["cpu", device] as const) {
      const policy = await checkpoint.loadPolicy({ device: where });
      expect(policy.device).toBe(where);
      policy.dispose();
    }
    const judge = (where: DeviceName): ReturnType<typeof evaluateCheckpoint> =>
      evaluateCheckpoint({ checkpoint: join(folder, "whole"), data: { root: data }, samples: 2, device: where });
    const [here, there] = [await judge("cpu"), await judge(device)];
    there.keyPoses.forEach(({ positionError }, i) =>
      expect(Math.abs(positionError - here.keyPoses[i]!.positionError)).toBeLessThan(1e-5),
    );
  });
});
