import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { Diagnosis } from "../src/commands/doctor.js";
import { makeFixture, toyPolicyFile } from "./support/fixture.js";

const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
const { folder, data, remove } = makeFixture();
afterAll(remove);

function minidiff(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const run = spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", cli, ...args], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}
const out = join(folder, "run");
const other = join(folder, "other");
const own = ["--model", toyPolicyFile];
const train = ["train", "--data", data, ...own, "data.points=32"];
const judge = ["eval", "--checkpoint", out, ...own, "--data", data, "--samples", "2"];

describe("minidiff", () => {
  it("tells what this build and machine have, and why a device is off", () => {
    const told = minidiff("doctor", "--json");
    expect(told.status).toBe(0);
    const { cpu, cuda } = JSON.parse(told.stdout) as Diagnosis;
    expect(cpu.available).toContain(cpu.isa);
    expect(cuda.off === null).toBe(cuda.devices.length > 0);
    const { stdout } = minidiff("doctor");
    expect(stdout).toContain(`cpu           ${cpu.isa} (of ${cpu.available.join(", ")})`);
    if (cuda.off !== null) expect(stdout).toContain(`cuda is off   ${cuda.off}`);
    const compiled = cuda.compiledFor !== null;
    expect(stdout.includes("tensor cores  not compiled in")).toBe(!compiled);
    expect(
      stdout.includes("tensor cores  f16 and bf16 in matmul, linear, maskedAttention, submConv3d, localKernelQuery: "),
    ).toBe(compiled);
    expect(stdout.includes("not proven    no kernel has run on a GPU yet")).toBe(compiled);
    for (const { tensorCores, computeCapability } of cuda.devices)
      expect(tensorCores).toBe(Number(computeCapability) >= 8);
  });

  it("trains, holds out, evaluates, samples and describes", () => {
    const trained = minidiff(...train, "--out", out, "--steps", "4", "--episodes", "0-2", "--val-episodes", "3");
    expect(trained.stderr).toContain("step 4/4 100%");
    expect(trained.stderr).toContain("warning: the linear schedule of 100 steps leaves 60% of the signal");
    expect(trained.stdout).toContain("3 training states, 1 held-out key poses");
    expect(trained.stdout).toMatch(/nearest neighbour +1 /);
    expect(trained.status).toBe(0);

    const resumed = minidiff("train", "--resume", out, "--model", toyPolicyFile, "--steps", "6");
    expect(resumed.stdout).toContain("6 steps");
    expect(resumed.status).toBe(0);

    const judged = minidiff(
      "eval",
      "--checkpoint",
      out,
      ...own,
      "--data",
      data,
      "--turn",
      "-30",
      "--samples",
      "3",
      "--json",
    );
    expect(judged.status).toBe(0);
    const evaluation = JSON.parse(judged.stdout);
    expect(evaluation).toMatchObject({ step: 6, turn: -30, samples: 3 });
    expect(evaluation.keyPoses).toHaveLength(4);
    expect(evaluation.heldOut.map(({ name }: { name: string }) => name)).toEqual([
      "policy",
      "constant answer",
      "nearest neighbour",
    ]);

    const sampled = minidiff(
      "sample",
      "--checkpoint",
      out,
      ...own,
      "--data",
      data,
      "--task",
      "reach_sphere",
      "--episode",
      "2",
      "--candidates",
      "5",
    );
    expect(JSON.parse(sampled.stdout).candidates).toHaveLength(5);

    const compared = minidiff(...judge, "--solver", "ddim,dpmsolver++", "--steps", "10,4");
    expect(compared.stdout).toMatch(/After 6 steps; median of 2 samples\n\n +n +mean cm/);
    const rows = [...compared.stdout.matchAll(/^(\S+, \d+ steps) +4 /gm)].map(([, name]) => name);
    expect(rows).toEqual(["ddim, 10 steps", "ddim, 4 steps", "dpmsolver++, 10 steps", "dpmsolver++, 4 steps"]);

    const info = minidiff("info", out, ...own);
    expect(info.stdout).toMatch(/steps: 6/);
    expect(info.stdout).toMatch(/toy-policy.ts/);
    expect(info.status).toBe(0);
  }, 240_000);

  it("says what is wrong, without a stack, and exits accordingly", () => {
    const cases: [args: string[], status: number, message: RegExp][] = [
      [[...train, "--out", out], 2, /--out .*run holds a run already; --resume it/],
      [[...train, "--out", out, "policy.nois=1"], 2, /policy.nois is unknown; did you mean policy.noise\?/],
      [[...train, "--out", other, "--steps", "many"], 2, /\[--steps\] training.steps is "many" \(a text\)/],
      [["train", "--data", data], 2, /--out is missing/],
      [[...train, "--out", other, "--device", "gpu"], 2, /\[--device\] device is "gpu" .*, expected "cpu", "cuda" or/],
      [[...train, "--out", other, "--device", "cuda:99"], 1, /no CUDA device|found cuda:99, expected/],
      [[...judge, "--device", "cuda:99"], 1, /no CUDA device|found cuda:99, expected/],
      [[...judge, "--device", "gpu"], 2, /\[--device\] is "gpu", expected "cpu", "cuda" or "cuda:<index>"/],
      [
        [...train, "--out", join(toyPolicyFile, "x")],
        2,
        /^minidiff: \[--out\] is .*, but .*toy-policy\.ts is no folder/,
      ],
      [[...train, "--out", "/proc/none/x"], 2, /^minidiff: \[--out\] is \/proc\/none\/x, which cannot be written: E/],
      [["demo", "--out", toyPolicyFile], 2, /^minidiff: \[--out\] is .*toy-policy\.ts is no folder/],
      [["train", "--resume", out, "--seed", "3"], 2, /--resume takes all but/],
      [["train", "--data", join(folder, "absent"), "--out", other], 1, /absent\] is no folder/],
      [["eval", "--checkpoint", join(folder, "absent"), "--data", data], 1, /checkpoint.safetensors\] does not exist/],
      [
        ["eval", "--checkpoint", out, ...own, "--data", data, "--val-episodes", "0"],
        1,
        /was trained on reach_sphere.*episode0/,
      ],
      [[...judge, "--solver", "dpm"], 2, /\[--solver\] is "dpm", expected ddim, ddpm, dpmsolver\+\+1/],
      [[...judge, "--solver", "heun"], 2, /\[toy\] solver is "heun", which does not fit .* "epsilon", expected "ddim"/],
      [[...judge, "--solver", "ddim,ddpm"], 2, /--steps is missing, to compare solvers at/],
      [[...judge, "--solver", "all", "--steps", "4"], 2, /\[--solver\] is "all", but .* has no choice of solvers/],
      [[...judge, "--steps", "10,some"], 2, /\[--steps\] is "some", expected an integer/],
      [["sample", "--checkpoint", out, "--data", data, "--task", "reach_cube"], 1, /has no task "reach_cube"/],
      [["info", out], 1, /toy-policy\.ts" is a module file, which is run only if it is named with --model/],
      [["evil"], 2, /unknown command/],
    ];
    for (const [args, status, message] of cases) {
      const run = minidiff(...args);
      expect(run.stderr).toMatch(message);
      expect(run.stderr).not.toMatch(/^ +at /m);
      expect(run.status).toBe(status);
    }
    expect(existsSync(join(folder, "absent"))).toBe(false);
    expect(existsSync(other)).toBe(false);
  }, 240_000);
});
