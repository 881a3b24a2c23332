import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cudaInfo } from "@md/tensor";
import { describe, expect, it } from "vitest";
import type { Pace } from "../measure/alternate.js";
import { measureCase, type Surroundings } from "../measure/case.js";
import { measureDeviceCeilings } from "../measure/device-ceilings.js";
import { benchDTypes, type BenchDType } from "../options.js";
import { startDevicePeers } from "../peers/device-peers.js";
import { type BenchCase, random, stateless } from "../suite.js";

const device = "cuda:0";
const pace: Pace = { sampleMs: 0, leastRounds: 1, mostRounds: 1, budgetMs: 0 };
const aroundOf = (dtype: BenchDType): Surroundings => ({
  device,
  dtype,
  threads: [1],
  peers: [],
  ceilings: new Map([[1, { gflops: 1, gbs: 1 }]]),
  pace,
});

describe.runIf(cudaInfo().devices.length === 0)("without a device", () => {
  it("the benchmark ends before anything runs", () => {
    const program = join(import.meta.dirname, "..", "run.ts");
    const args = ["--conditions", "@md/source", "--import", "tsx", program, "--device", "cuda", "--peers"];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^DeviceError: .*no CUDA device/);
  });
});

// The emulated device will do.
describe.skipIf(cudaInfo().devices.length === 0)("on a device", () => {
  const sum: BenchCase = {
    name: "sum",
    inputs: () => [random([65], 1), random([65], 2)],
    bind: stateless((a, b) => a.add(b)),
    bytes: 780,
  };

  it("inputs are given in the dtype, and results held against f64", async () => {
    for (const dtype of benchDTypes) {
      const bytes = dtype === "f32" ? 780 : 390;
      const found = await measureCase("test", sum, aroundOf(dtype));
      expect(found).toMatchObject({ failure: null, bytes, memory: { io: bytes }, reproducible: true });
      expect(found.timings).toHaveLength(1);
      const off = stateless((a, b) => a.add(b).mul(a.dtype === "f64" ? 1 : 1.1));
      expect((await measureCase("test", { ...sum, bind: off }, aroundOf(dtype))).failure).toMatch("beside f64");
    }
  });

  it("ceilings are measured", () => {
    for (const dtype of benchDTypes) {
      const { gflops, gbs } = measureDeviceCeilings(device, dtype, { edge: 33, copyElements: 1000 });
      expect(gflops).toBeGreaterThan(0);
      expect(gbs).toBeGreaterThan(0);
    }
  });

  it("PyTorch that finds no device is named as absent", async () => {
    const { present, absent } = await startDevicePeers({ device, dtype: "f32", compile: true });
    expect(present).toEqual([]);
    expect(absent.map(({ name }) => name)).toEqual(["torch", "torch.compile"]);
    for (const { why } of absent) expect(why).toMatch(/torch/);
  });
});
