import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  encodeTorchCheckpoint,
  parseTorchCheckpoint,
  type Picklable,
  pickle,
  type PickleValue,
  pyCall,
  pyGlobal,
  pyTuple,
  type TorchArray,
  TorchTensor,
} from "../src/index.js";
import { pyTensor, torchLegacy, torchZip } from "./support/torch-files.js";

const float = (key: string, length: number) => ({ className: "FloatStorage", key, length });

/** All tensors of a flat dict. */
function readAll(file: Uint8Array): Map<string, TorchArray> {
  const checkpoint = parseTorchCheckpoint(file, "model.pt");
  const tensors = new Map<string, TorchTensor>();
  for (const [name, value] of checkpoint.root as Map<string, PickleValue>)
    if (value instanceof TorchTensor) tensors.set(name, value);
  return checkpoint.read(tensors);
}

const dtypes: [className: string, stored: ArrayBufferView, dtype: string, values: (number | bigint)[]][] = [
  ["FloatStorage", Float32Array.of(1.5, -2, NaN), "f32", [1.5, -2, NaN]],
  ["DoubleStorage", Float64Array.of(0.1, -1e300, Infinity), "f64", [0.1, -1e300, Infinity]],
  ["HalfStorage", Uint16Array.of(0x3c00, 0xc000, 0x0001), "f32", [1, -2, 2 ** -24]],
  ["BFloat16Storage", Uint16Array.of(0x3f80, 0xc000, 0x7f80), "f32", [1, -2, Infinity]],
  ["LongStorage", BigInt64Array.of(2n ** 60n, -1n, 0n), "i64", [2n ** 60n, -1n, 0n]],
  ["IntStorage", Int32Array.of(-5, 7, 2 ** 30), "i32", [-5, 7, 2 ** 30]],
  ["ByteStorage", Uint8Array.of(0, 7, 255), "u8", [0, 7, 255]],
  ["BoolStorage", Uint8Array.of(1, 0, 1), "bool", [1, 0, 1]],
];

test.each(dtypes)("reads %s, zipped, deflated and legacy", (className, stored, dtype, values) => {
  const storage = { className, key: "0", length: 3 };
  const root = new Map([["x", pyTensor(storage, [3], [1])]]);
  const legacy = new Map([["x", pyTensor(storage, [3], [1], { legacy: true })]]);
  for (const file of [
    torchZip(root, { 0: stored }),
    torchZip(root, { 0: stored }, { level: 1 }),
    torchLegacy(legacy, { 0: { data: stored, length: 3 } }),
  ]) {
    const x = readAll(file).get("x")!;
    expect({ ...x, data: Array.from<number | bigint>(x.data) }).toEqual({ dtype, shape: [3], data: values });
  }
});

test("honours views of one storage", () => {
  const storage = float("0", 12);
  const root = new Map([
    ["whole", pyTensor(storage, [3, 4], [4, 1])],
    ["transposed", pyTensor(storage, [4, 3], [1, 4])],
    ["row", pyTensor(storage, [4], [1], { offset: 8 })],
    ["column", pyTensor(storage, [3, 1], [4, 7], { offset: 1 })],
    ["expanded", pyTensor(storage, [2, 2], [0, 1])],
    ["scalar", pyTensor(storage, [], [], { offset: 11 })],
    ["empty", pyTensor(storage, [0, 3], [3, 1])],
  ]);
  const file = torchZip(root, { 0: Float32Array.from({ length: 12 }, (_, i) => i) });
  const found = Object.fromEntries([...readAll(file)].map(([name, { data }]) => [name, Array.from(data, Number)]));
  expect(found).toEqual({
    whole: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    transposed: [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
    row: [8, 9, 10, 11],
    column: [1, 5, 9],
    expanded: [0, 1, 0, 1],
    scalar: [11],
    empty: [],
  });
});

test("reads parameters, sizes, devices and dtypes", () => {
  const parameter = pyCall(
    pyGlobal("torch._utils", "_rebuild_parameter"),
    pyTensor(float("0", 1), [1], [1]),
    true,
    pyCall(pyGlobal("collections", "OrderedDict")),
  );
  const root = new Map<string, Picklable>([
    ["p", parameter],
    ["size", pyCall(pyGlobal("torch", "Size"), pyTuple([2, 3]))],
    ["device", pyCall(pyGlobal("torch", "device"), "cuda", 1)],
    ["dtype", pyGlobal("torch", "float32")],
  ]);
  const file = torchZip(root, { 0: Float32Array.of(7) });
  expect(readAll(file).get("p")!.data).toEqual(Float32Array.of(7));
  const values = parseTorchCheckpoint(file, "model.pt").root as Map<string, PickleValue>;
  expect(values.get("size")).toEqual([2, 3]);
  expect(values.get("device")).toBe("cuda:1");
});

const arrays = new Map<string, TorchArray>([
  ["fc.weight", { dtype: "f32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, NaN) }],
  ["double", { dtype: "f64", shape: [2], data: Float64Array.of(0.1, -0) }],
  ["steps", { dtype: "i64", shape: [], data: BigInt64Array.of(2n ** 60n) }],
  ["index", { dtype: "i32", shape: [1], data: Int32Array.of(-7) }],
  ["bytes", { dtype: "u8", shape: [3], data: Uint8Array.of(0, 128, 255) }],
  ["mask", { dtype: "bool", shape: [2, 1], data: Uint8Array.of(1, 0) }],
  ["empty", { dtype: "f32", shape: [0, 4], data: new Float32Array(0) }],
  ["Größe ☃", { dtype: "f32", shape: [1], data: Float32Array.of(4) }],
]);

test("reads back what it writes, equal tensors as equal bytes", () => {
  const file = encodeTorchCheckpoint(arrays, "model.pt");
  expect(readAll(file)).toEqual(arrays);
  expect(encodeTorchCheckpoint(arrays, "other.pt")).toEqual(file);
});

test("every tensor's bytes lie at a multiple of 64", () => {
  const data = Float32Array.from({ length: 50 }, (_, i) => i + 0.25);
  const tensors = Array.from({ length: 5 }, (_, i): [string, TorchArray] => [
    "x".repeat(i),
    { dtype: "f32", shape: [50], data: data.map((value) => value + 1000 * i) },
  ]);
  const file = Buffer.from(encodeTorchCheckpoint(new Map(tensors), "model.pt"));
  for (const [, { data: elements }] of tensors) {
    const at = file.indexOf(Buffer.from(elements.buffer as ArrayBuffer));
    expect(at).toBeGreaterThan(0);
    expect(at % 64).toBe(0);
  }
});

describe("PyTorch itself", () => {
  const python = "/usr/bin/python3";
  const absent = spawnSync(python, ["-c", "import torch"]).status !== 0;
  const reason = `${python} has no torch`;

  function runPython(program: string, folder: string): void {
    const { status, stderr } = spawnSync(python, ["-c", program], { cwd: folder, encoding: "utf8" });
    expect(stderr.replace(/^.*Warning.*$/gm, "")).not.toMatch(/Error/);
    expect(status).toBe(0);
  }
  function inFolder(body: (folder: string) => void): void {
    const folder = mkdtempSync(join(tmpdir(), "torch-"));
    try {
      body(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  test("loads what is written here, with weights_only too", (ctx) => {
    if (absent) ctx.skip(reason);
    inFolder((folder) => {
      writeFileSync(join(folder, "model.pt"), encodeTorchCheckpoint(arrays, "model.pt"));
      const program = `
import torch
for options in ({}, {"weights_only": True}):
    d = torch.load("model.pt", **options)
    assert list(d) == ["fc.weight", "double", "steps", "index", "bytes", "mask", "empty", "Gr\\u00f6\\u00dfe \\u2603"], list(d)
    assert d["fc.weight"].shape == (2, 3) and d["fc.weight"][1, 1] == 5 and d["fc.weight"][1, 2].isnan()
    assert d["double"].dtype == torch.float64 and d["double"].tolist() == [0.1, 0.0]
    assert d["steps"].item() == 2 ** 60 and d["steps"].shape == ()
    assert d["index"].dtype == torch.int32 and d["index"].tolist() == [-7]
    assert d["bytes"].dtype == torch.uint8 and d["bytes"].tolist() == [0, 128, 255]
    assert d["mask"].dtype == torch.bool and d["mask"].tolist() == [[True], [False]]
    assert d["empty"].shape == (0, 4)
`;
      runPython(program, folder);
    });
  });

  test("what it writes is read here, in both layouts", (ctx) => {
    if (absent) ctx.skip(reason);
    inFolder((folder) => {
      const program = `
import torch
torch.manual_seed(0)
m = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
w = torch.arange(6, dtype=torch.float32).reshape(2, 3)
d = {"w": w, "t": w.t(), "tail": w[1:, 1:], "half": w.half(), "bf": w.bfloat16(), "p": torch.nn.Parameter(w)}
d["count"] = m.state_dict()["1.num_batches_tracked"]
for name, flag in (("zip", True), ("legacy", False)):
    torch.save(d, name + ".pt", _use_new_zipfile_serialization=flag)
    torch.save(m.state_dict(), name + "-module.pt", _use_new_zipfile_serialization=flag)
`;
      runPython(program, folder);
      for (const layout of ["zip", "legacy"]) {
        const found = readAll(readFileSync(join(folder, `${layout}.pt`)));
        const values = Object.fromEntries([...found].map(([name, { data }]) => [name, Array.from(data, Number)]));
        const w = [0, 1, 2, 3, 4, 5];
        expect(values).toEqual({ w, t: [0, 3, 1, 4, 2, 5], tail: [4, 5], half: w, bf: w, p: w, count: [0] });
        const module = readAll(readFileSync(join(folder, `${layout}-module.pt`)));
        expect([...module.keys()].slice(0, 3)).toEqual(["0.weight", "0.bias", "1.weight"]);
      }
    });
  });
});

test("pickles of protocol 2 hold no arrays", () => {
  expect(() => pickle({ kind: "array", data: new Float64Array(1), shape: [1] }, 2)).toThrow(RangeError);
});
