import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cudaInfo, type OpCase, softmax } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { opCases } from "../../packages/tensor/test/op-cases/index.js";
import { benchmarkCases } from "./runner/benchmark.js";
import type { StepResult } from "./runner/check.js";
import { checkOpCases } from "./runner/op-cases.js";
import { Outcome } from "./runner/outcome.js";
import { run } from "./runner/process.js";
import { raceCases } from "./runner/steps.js";
import { tableOf } from "./runner/table.js";
import { compareLosses, trainingLosses } from "./runner/training.js";

const folder = mkdtempSync(join(tmpdir(), "gpu-check-"));
afterAll(() => rmSync(folder, { recursive: true }));

// The emulated device will do.
describe.skipIf(cudaInfo().devices.length === 0)("op cases of the check", () => {
  const row = (off: number): OpCase => ({
    primitives: ["softmax"],
    name: `off by ${off}`,
    inputs: [{ shape: [5, 37] }],
    run: (x) => (x.device === "cpu" ? softmax(x, -1) : softmax(x, -1).mul(1 + off)),
  });

  it("pass where a device rounds, fail where it is off, NaN included", () => {
    const outcome = new Outcome();
    checkOpCases("cuda:0", [row(0), row(3e-6), row(NaN)], outcome);
    expect(outcome.entries.map(({ status }) => status)).toEqual(["passed", "failed", "failed"]);
    expect(outcome.entries[1]!.reason).toMatch(/off by 0.000003 on cuda:0: f32 output 0: /);
  });
});

describe("the check", () => {
  it("has cases to time and to watch for races", () => {
    const names = benchmarkCases.map(({ bench }) => bench.name);
    for (const start of ["y = x Wᵀ 4000×288×72", "Level-2, forward", "layerNorm,", "softmax,", "gelu,", "AdamW"])
      expect(names.filter((name) => name.startsWith(start))).not.toEqual([]);
    expect(raceCases(opCases).length).toBeGreaterThan(5);
  });

  it("compares losses of training steps", () => {
    const losses = trainingLosses("cpu", 12);
    expect(losses).toHaveLength(12);
    compareLosses(losses, losses);
    const altered = (step: number, factor: number): number[] =>
      losses.map((loss, i) => (i === step ? factor * loss : loss));
    expect(() => compareLosses(altered(0, 1.001), losses)).toThrow("step 1: loss is");
    expect(() => compareLosses(altered(5, NaN), losses)).toThrow("step 6: loss is NaN");
    expect(() => compareLosses(altered(11, 2), losses)).toThrow("mean of the last 2 steps: loss is");
  });

  it("stops a step at its limit, and keeps what it printed", async () => {
    const log = join(folder, "log");
    const { wrong, timedOut } = await run("sh", ["-c", "echo begun; sleep 60 & wait"], { log, limitMs: 300 });
    expect([wrong, timedOut]).toEqual(["stopped after 0 s", true]);
    expect(readFileSync(log, "utf8")).toMatch(/^## sh .*\nbegun\n$/);
    expect((await run("sh", ["-c", "exit 3"], { log, limitMs: 5000 })).wrong).toBe("left with status 3");
    expect((await run("/absent", [], { log, limitMs: 5000 })).wrong).toMatch("ENOENT");
  });

  it("prints a table with counts, reasons and the ratio to PyTorch", () => {
    const step = { seconds: 1, reason: "" };
    const results: StepResult[] = [
      {
        ...step,
        name: "op cases",
        status: "failed",
        reason: "1 of 2 failed",
        entries: [
          { name: "sum", status: "failed", reason: "off" },
          { name: "sort", status: "skipped", reason: "[sort] has no CUDA kernel: found an operand on cuda:0" },
        ],
      },
      {
        ...step,
        name: "benchmark",
        status: "passed",
        entries: [{ name: "gelu", status: "passed", numbers: { "ours ms": 2, "torch ms": 3, "times torch": 1.5 } }],
      },
      { ...step, name: "training", status: "not reached", reason: "the eight minutes were over", entries: [] },
    ];
    const table = tableOf(results);
    expect(table).toMatch(/op cases +failed +1\.0 +0 +1 +1 +1 of 2 failed/);
    expect(table).toMatch(/gelu +2\.00 +3\.00 +1\.50/);
    expect(table).toContain("failed: op cases: sum: off");
    expect(table).toContain("no CUDA kernel: sort");
    expect(table.split("\n").at(-1)).toBe("1 steps passed, 1 failed, 1 skipped or not reached");
  });
});
