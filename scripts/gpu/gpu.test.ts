import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cudaInfo, type OpCase, softmax } from "@md/tensor";
import { afterAll, describe, expect, it, vi } from "vitest";
import { opCases } from "../../packages/tensor/test/op-cases/index.js";
import { bundleCheck } from "./bundle.js";
import { chosen } from "./runner/benchmark.js";
import { check, type StepResult } from "./runner/check.js";
import { checkOpCases, raceCases } from "./runner/op-cases.js";
import { type Entry, Outcome } from "./runner/outcome.js";
import { run } from "./runner/process.js";
import { sizesOf } from "./runner/sizes.js";
import { tableOf } from "./runner/table.js";
import { compareLosses, trainingLosses } from "./runner/training.js";

const folder = mkdtempSync(join(tmpdir(), "gpu-check-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A case that counts for every target of its step, with ratios to others; ours takes 2 ms. */
function measured(name: string, id: "cuda-level2" | "cuda-step", ratios: Record<string, number>): Entry {
  const exact = (value: number) => ({ median: value, low: value, high: value });
  const timing = (who: string, ms: number) => ({ name: who, threads: 1, ms: exact(ms), share: 0.5, variant: "" });
  const others = Object.entries(ratios);
  const result = {
    ...{
      suite: "suite",
      name,
      curve: null,
      flops: null,
      bytes: null,
      failure: null,
      scalings: [],
      metrics: [],
      unable: ["torch.compile: RuntimeError"],
    },
    countsFor: id === "cuda-step" ? ["cuda-step", "cuda-step-compiled"] : [id],
    timings: [timing("ours", 2), ...others.map(([who, ratio]) => timing(who, 2 * ratio))],
    speedups: others.map(([over, ratio]) => ({ over, threads: 1, ratio: exact(ratio) })),
    memory: { io: 1, extra: 1 },
    reproducible: true,
  };
  return { name, status: "passed", measured: { dtype: "f32", result } };
}

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

// Stands for PyTorch: a training step takes it 1000 s.
const slowPeer = `import sys
answers = {"prepare": "ready", "time": "took ms=1000000", "release": "released"}
print("hello name=torch version=1 isa=none threads=1 ops=miniDiffuserStep", flush=True)
for line in sys.stdin:
    print(answers[line.split()[0]], flush=True)
`;
const hasPython = spawnSync("python3", ["--version"]).status === 0;

// Every step's way on the emulated device, with next to nothing to do.
describe.skipIf((cudaInfo().devices[0]?.totalBytes ?? Infinity) > 2 ** 30)("the check as a whole", () => {
  it("runs every step in a process, writes results and prints the table", async () => {
    const only = ["doctor", "op cases", "goldens", "policy, bf16", "training", "kernels, f32", "memcheck"];
    const printed: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((line: string) => void printed.push(line));
    const stage = join(folder, "stage");
    const out = join(folder, "out");
    await bundleCheck(stage);
    mkdirSync(join(stage, "peers"));
    writeFileSync(join(stage, "peers", "torch_peer.py"), slowPeer);
    const program = join(stage, "check.mjs");
    const built = process.env.MD_NATIVE_BINARY!;
    try {
      expect(await check({ stage, out, program, started: Date.now(), built, only, patience: 20 })).toBe(0);
    } finally {
      log.mockRestore();
    }
    const results = JSON.parse(readFileSync(join(out, "results.json"), "utf8")) as StepResult[];
    const run = results.filter(({ status }) => status === "passed").map(({ name }) => name);
    expect(run).toEqual(expect.arrayContaining(["build", "doctor", "op cases", "policy, bf16", "training"]));
    expect(results.filter(({ status }) => status === "failed")).toEqual([]);
    const table = printed.at(-1)!;
    expect(table).toMatch(/^ceilings, bf16: \d+ GFLOP\/s, copy \d+ GB\/s$/m);
    const judged = hasPython
      ? /^met +full training step, .*: \d.*x with 1 thread$/m
      : /^not judged {2}full training step/m;
    expect(table).toMatch(judged);
    expect(table).toMatch(/^not judged {2}the same step: ≥ 0\.9x torch\.compile: needs torch\.compile$/m);
    expect(table).toMatch(/^(met|MISSED) +10 steps of sampling, .*: [\d.e+]+ ms$/m);
    expect(table).toMatch(/^(met|MISSED) +the same step: ≤ 1\.022 of M = 1 in memory: \d\.\d+ x$/m);
  }, 600_000);
});

describe("the check", () => {
  // As on a machine where the addon has yet to be built; importing anything that loads it ends the program.
  it("needs no addon to begin with, and ends with its table where none can be built", async () => {
    const stage = join(folder, "bare");
    await bundleCheck(stage);
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(stage, "check.mjs")], {
      cwd: stage,
      encoding: "utf8",
      env: { PATH: "/absent", OUT: join(stage, "out") },
    });
    expect([status, stderr]).toEqual([1, ""]);
    expect(stdout).toMatch(/^build +failed .* which device to compile for is unknown; nvidia-smi: /m);
    expect(stdout).toMatch(/^doctor +skipped .* the addon was not built$/m);
  });

  it("has cases to time and to watch for races", () => {
    const sizes = sizesOf(false);
    for (const dtype of ["f32", "bf16"] as const) {
      const suites = chosen({ device: "cuda:0", dtype, what: "kernels", compile: false, sizes });
      const names = suites.flatMap(({ cases }) => cases.map(({ name }) => name));
      const starts = ["y = x Wᵀ 4000×288×72", "Level-2, forward", "layerNorm,", "softmax,", "gelu,", "submConv3d,"];
      for (const start of dtype === "f32" ? [...starts, "AdamW"] : starts)
        expect(names.filter((name) => name.startsWith(start))).not.toEqual([]);
    }
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
        name: "kernels, f32",
        status: "passed",
        entries: [
          { name: "ceilings, f32", status: "passed", numbers: { "GFLOP/s": 50_000, "GB/s": 2000 } },
          measured("Level-2, forward", "cuda-level2", { torch: 3 }),
        ],
      },
      { ...step, name: "policy", status: "passed", entries: [measured("training step", "cuda-step", { torch: 1.5 })] },
      {
        ...step,
        name: "compiled",
        status: "passed",
        entries: [measured("training step", "cuda-step", { "torch.compile": 0.8 })],
      },
      { ...step, name: "training", status: "not reached", reason: "the eight minutes were over", entries: [] },
    ];
    const table = tableOf(results);
    expect(table).toMatch(/op cases +failed +1\.0 +0 +1 +1 +1 of 2 failed/);
    expect(table).toContain("ceilings, f32: 50000 GFLOP/s, copy 2000 GB/s");
    expect(table).toContain("f32 Level-2, forward: 2.000 ms, 50% of the ceiling\n  torch 6.000 ms, 3.00x [3.00, 3.00]");
    expect(table).toContain("  could not: torch.compile: RuntimeError");
    expect(table).toMatch(/met +full training step, .* eager PyTorch: 1\.50x/);
    expect(table).toMatch(/MISSED +the same step: ≥ 0\.9x torch\.compile: 0\.800x/);
    expect(table).toMatch(/met +Level-2 attention, .*: 3\.00x/);
    expect(table).toMatch(/not judged +10 steps of sampling, .*: not measured/);
    expect(table).toContain("failed: op cases: sum: off");
    expect(table).toContain("no CUDA kernel: sort");
    expect(table.split("\n").at(-1)).toBe("3 steps passed, 1 failed, 1 skipped or not reached");
  });
});
