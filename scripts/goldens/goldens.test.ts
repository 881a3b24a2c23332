import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, writeSafetensors, writeTorchCheckpoint } from "@md/nn";
import { tensor } from "@md/tensor";
import { describe, expect, test, vi } from "vitest";
import { goldenOps } from "../../packages/tensor/test/goldens/ops.js";
import { goldensFolder } from "../../packages/rlbench-data/test/support/paths.js";
import { checkGolden } from "./check-golden.js";
import { checkOps } from "./check-ops.js";
import { checkSchedulers } from "./check-schedulers.js";
import type { GoldenFile } from "./golden-file.js";
import { main } from "./main.js";

test("golden files", async (ctx) => {
  if (!existsSync(goldensFolder)) {
    console.warn(`golden files skipped: ${goldensFolder} is not there`);
    ctx.skip(`${goldensFolder} is not there`);
  }
  const failures: string[] = [];
  const files = readdirSync(goldensFolder, { recursive: true, encoding: "utf8" });
  for (const name of files.filter((file) => file.endsWith(".safetensors"))) {
    const report = await checkGolden(join(goldensFolder, name));
    if (!report) {
      console.info(`${name}: pending, nothing runs files of its form`);
      continue;
    }
    console.info(`${name}: ${report.passed} passed, ${report.failed} failed, ${report.pending} pending`);
    if (report.failed > 0) failures.push(...report.messages.map((message) => `${name} ${message}`));
    else if (report.passed + report.pending === 0) failures.push(`${name} has no case`);
  }
  expect(failures).toEqual([]);
});

const f32 = (values: number[], shape = [values.length]): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});

function opsFile(arrays: Record<string, HostTensor>, opCase: object = {}): GoldenFile {
  const base = { id: 7, op: "square", inputs: 1, outputs: 1, attrs: {}, views: {}, grad: true };
  const right = { "7.in0": f32([1, 2]), "7.out0": f32([1, 4]), "7.grad_out0": f32([1, 3]), "7.grad_in0": f32([2, 12]) };
  return {
    metadata: { cases: JSON.stringify([{ ...base, ...opCase }]) },
    arrays: new Map(Object.entries({ ...right, ...arrays })),
  };
}

describe("checkOps", () => {
  test("passes what is right", () => {
    expect(checkOps(opsFile({}), goldenOps)).toMatchObject({ passed: 1, failed: 0, messages: [] });
  });

  test.each<[string, Record<string, HostTensor>, object, RegExp]>([
    ["an output that is off", { "7.out0": f32([1, 4.01]) }, {}, /7\.out0/],
    ["NaN in an output", { "7.out0": f32([1, Number.NaN]) }, {}, /7\.out0/],
    ["another shape", { "7.out0": f32([1, 4], [2, 1]) }, {}, /shape is \[2\], expected \[2,1\]/],
    ["a gradient that is off", { "7.grad_in0": f32([2, 12.1]) }, {}, /7\.grad_in0/],
    ["NaN in a gradient", { "7.grad_in0": f32([2, Number.NaN]) }, {}, /7\.grad_in0/],
    ["an input that is absent", {}, { inputs: 2 }, /7\.in1" is absent/],
    ["an unknown op", {}, { op: "cube" }, /no op has this name/],
    ["another number of outputs", {}, { outputs: 2 }, /found 1 outputs, expected 2/],
    ["an unknown view", {}, { views: { 0: ["flip", 0] } }, /unknown view "flip"/],
  ])("fails %s", (_, arrays, opCase, message) => {
    const report = checkOps(opsFile(arrays, opCase), goldenOps);
    expect(report).toMatchObject({ passed: 0, failed: 1 });
    expect(report.messages[0]).toMatch(message);
  });

  test("an op sees its input through the view, the gradient is that of the stored input", () => {
    const arrays = {
      "7.in0": f32([1, 2, 3, 4, 5, 6], [2, 3]),
      "7.out0": f32([1, 16, 4, 25, 9, 36], [3, 2]),
      "7.grad_out0": f32([1, 0, 0, 0, 0, 1], [3, 2]),
      "7.grad_in0": f32([2, 0, 0, 0, 0, 12], [2, 3]),
    };
    const report = checkOps(opsFile(arrays, { views: { 0: ["transpose", 0, 1] } }), goldenOps);
    expect(report.messages).toEqual([]);
    expect(report.passed).toBe(1);
  });
});

test("files of other formats are held against the golden file beside them, or fail where they are absent", async () => {
  const folder = mkdtempSync(join(tmpdir(), "formats-"));
  try {
    const expected = join(folder, "expected.safetensors");
    const x = tensor([1, 2]);
    writeSafetensors(
      expected,
      new Map(["ckpt.a", "episode0.xyz0", "episode0.rgb0", "dat.episode0.obs", "instr.go"].map((name) => [name, x])),
    );
    expect(await checkGolden(expected)).toMatchObject({ passed: 0, failed: 5, pending: 0 });
    writeTorchCheckpoint(join(folder, "checkpoint_right.pt"), new Map([["a", x]]));
    expect(await checkGolden(expected)).toMatchObject({ passed: 1, failed: 4, pending: 0 });
    writeTorchCheckpoint(join(folder, "checkpoint_wrong.pt"), new Map([["a", tensor([1, 3])]]));
    writeTorchCheckpoint(join(folder, "checkpoint_more.pt"), new Map(["a", "b"].map((name) => [name, x])));
    expect(await checkGolden(expected)).toMatchObject({ passed: 1, failed: 6, pending: 0 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("schedulers of other kinds are pending, options that are not known fail", () => {
  const cases = [
    { id: 0, kind: "unipc", config: {}, steps: 2, step_kwargs: {} },
    { id: 1, kind: "ddim", config: { thresholding: true }, steps: 2, step_kwargs: {} },
    { id: 2, kind: "ddim", config: {}, steps: 2, step_kwargs: { use_clipped_model_output: true } },
  ];
  const report = checkSchedulers({ metadata: { cases: JSON.stringify(cases) }, arrays: new Map() });
  expect(report).toMatchObject({ passed: 0, failed: 2, pending: 1 });
});

test("the runner takes all files where none is named, and fails with any of them", async () => {
  const printed = vi.spyOn(console, "log").mockImplementation(() => undefined);
  const folder = mkdtempSync(join(tmpdir(), "md-goldens-"));
  const write = (name: string, output: number): void => {
    const { metadata, arrays } = opsFile({ "7.out0": f32([1, output]) });
    const tensors = new Map([...arrays].map(([key, { data, shape }]) => [key, tensor(data, { shape })]));
    writeSafetensors(join(folder, name), tensors, metadata);
  };
  mkdirSync(join(folder, "below"));
  write("right.safetensors", 4);
  write("below/right.safetensors", 4);
  expect(await main([], folder)).toBe(0);
  write("below/wrong.safetensors", 5);
  expect(await main([], folder)).toBe(1);
  expect(await main(["right"], folder)).toBe(0);
  const lines = printed.mock.calls.map(([line]) => String(line));
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
  expect(lines).toContain("below/right.safetensors: 1 passed, 0 failed, 0 pending");
  expect(lines).toContain("files: 2 passed, 1 failed, 0 not run");
});

test("the runner fails where there is nothing to run", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  const folder = mkdtempSync(join(tmpdir(), "md-goldens-"));
  expect(await main([], folder)).toBe(1);
  expect(await main([], join(folder, "absent"))).toBe(1);
  expect(await main(["no-such-file"], folder)).toBe(1);
  rmSync(folder, { recursive: true });
  vi.restoreAllMocks();
});
