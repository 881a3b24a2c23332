import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Picklable, pickle, pyCall, pyGlobal, pyInstance, pyPersistent, pyTuple } from "@md/pickle";
import { zipSync } from "fflate";
import { afterAll, expect, test } from "vitest";
import { readTorchCheckpoint, readTorchCheckpointArrays, TorchCheckpointError } from "../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "torch-script-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "model.pt");

const vector = (key: string, length: number): Picklable =>
  pyCall(
    pyGlobal("torch._utils", "_rebuild_tensor_v2"),
    pyPersistent(pyTuple(["storage", pyGlobal("torch", "HalfStorage"), key, "cuda:0", length])),
    0,
    pyTuple([length]),
    pyTuple([1]),
    true,
    pyCall(pyGlobal("collections", "OrderedDict")),
  );

/** An archive as `torch.jit.save` lays it out: module and constants, both with storages of their own, and code. */
function writeArchive(root: Picklable): void {
  const bytes = (value: Picklable): Uint8Array => pickle(value, 2);
  const half = (...bits: number[]): Uint8Array => new Uint8Array(Uint16Array.from(bits).buffer);
  writeFileSync(
    file,
    zipSync({
      "model/data/0": half(0x3c00, 0xc000),
      "model/data/1": half(0x3800),
      "model/data.pkl": bytes(root),
      "model/code/__torch__.py": Buffer.from("raise SystemExit"),
      "model/constants/0": half(0x4200),
      "model/constants.pkl": bytes(pyTuple([vector("0", 1)])),
      "model/version": Buffer.from("3\n"),
    }),
  );
}

test("a TorchScript archive gives parameters and buffers of its modules by dotted name", () => {
  const list = (name: string, ...items: number[]): Picklable => pyCall(pyGlobal("torch.jit._pickle", name), items);
  const layer = pyInstance("__torch__.torch.nn.modules.linear", "Linear", { training: true, weight: vector("0", 2) });
  const blocks = pyInstance("__torch__.torch.nn.modules.container.___torch_mangle_8", "Sequential", { "0": layer });
  writeArchive(pyInstance("__torch__", "Net", { blocks, sizes: list("build_intlist", 1, 2), bias: vector("1", 1) }));
  const { arrays, key, skipped } = readTorchCheckpointArrays(file);
  expect(Object.fromEntries(arrays)).toEqual({
    "blocks.0.weight": { dtype: "f32", shape: [2], data: Float32Array.of(1, -2) },
    bias: { dtype: "f32", shape: [1], data: Float32Array.of(0.5) },
  });
  expect([key, skipped]).toEqual([null, ["blocks.0.training", "sizes.0", "sizes.1"]]);
  const wanted = (name: string): boolean => name.startsWith("blocks.");
  expect([...readTorchCheckpointArrays(file, { wanted }).arrays.keys()]).toEqual(["blocks.0.weight"]);
  expect([...readTorchCheckpointArrays(file, { key: "blocks.0" }).arrays.keys()]).toEqual(["weight"]);
});

test("classes of other modules are refused", () => {
  for (const module of ["__torch", "torch.nn.modules.linear", "os"]) {
    writeArchive(pyInstance(module, "system", { weight: vector("0", 2) }));
    expect(() => readTorchCheckpointArrays(file)).toThrow(TorchCheckpointError);
    expect(() => readTorchCheckpointArrays(file)).toThrow(/not on the whitelist/);
  }
});

test("what PyTorch traces and scripts is read", { timeout: 120_000 }, (ctx) => {
  const source = join(folder, "script.py");
  writeFileSync(
    source,
    `
import json, sys, torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        self.scale = torch.nn.Parameter(torch.randn(2))
        self.sizes = [1, 2]
    def forward(self, x):
        return self.body(x) * self.scale
net = Net().eval()
torch.jit.trace(net, torch.randn(4, 3)).save(sys.argv[1])
torch.jit.script(net).save(sys.argv[2])
print(json.dumps({name: value.tolist() for name, value in net.state_dict().items()}))
`,
  );
  const files = [join(folder, "traced.pt"), join(folder, "scripted.pt")];
  const run = spawnSync("/usr/bin/python3", [source, ...files], { encoding: "utf8" });
  if (run.error || run.stderr.includes("No module named 'torch'")) ctx.skip("/usr/bin/python3 has no torch");
  const expected = JSON.parse(run.stdout) as object;
  // Tracing drops a counter that evaluation does not touch; scripting keeps all.
  for (const path of files) {
    const found = readTorchCheckpoint(path);
    const names = Object.keys(expected).filter((name) => path.includes("scripted") || !/num_batches/.test(name));
    for (const name of names) {
      const value = (expected as Record<string, unknown>)[name];
      expect(found.get(name)?.toFlatArray(), name).toEqual([value].flat(9));
    }
  }
});
