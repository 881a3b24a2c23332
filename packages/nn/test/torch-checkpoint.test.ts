import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeTorchCheckpoint, type Picklable, pickle, pyCall, pyGlobal, pyPersistent, pyTuple } from "@md/pickle";
import { Generator, tensor } from "@md/tensor";
import { afterAll, describe, expect, test } from "vitest";
import {
  compareStateDicts,
  describeDifference,
  Linear,
  readTorchCheckpoint,
  readTorchCheckpointArrays,
  TorchCheckpointError,
  writeTorchCheckpoint,
} from "../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "torch-checkpoint-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "model.pt");

/** A scalar tensor in the storage `key`, which the legacy file of {@link writeLegacy} holds. */
const scalar = (key: string): Picklable =>
  pyCall(
    pyGlobal("torch._utils", "_rebuild_tensor_v2"),
    pyPersistent(pyTuple(["storage", pyGlobal("torch", "FloatStorage"), key, "cpu", 1, null])),
    0,
    pyTuple([]),
    pyTuple([]),
    false,
    pyCall(pyGlobal("collections", "OrderedDict")),
  );

/** A legacy checkpoint of a value whose storages each hold one number. */
function writeLegacy(root: Picklable | Uint8Array, storages: Record<string, number> = {}): void {
  const parts = [
    Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e]),
    pickle(1001, 2),
    pickle(new Map([["little_endian", true]]), 2),
    root instanceof Uint8Array ? root : pickle(root, 2),
    pickle(Object.keys(storages), 2),
  ];
  for (const value of Object.values(storages)) {
    const bytes = Buffer.alloc(12);
    bytes.writeBigInt64LE(1n);
    bytes.writeFloatLE(value, 8);
    parts.push(bytes);
  }
  writeFileSync(file, Buffer.concat(parts));
}

/** Values by name, and what was skipped. */
function read(key?: string): { values: Record<string, number>; key: string | null; skipped: string[] } {
  const { arrays, ...rest } = readTorchCheckpointArrays(file, { key });
  return { values: Object.fromEntries([...arrays].map(([name, { data }]) => [name, Number(data[0])])), ...rest };
}
const map = (entries: Record<string, Picklable>): Picklable => new Map(Object.entries(entries));

test("a module's state goes to a checkpoint and back, to the bit", () => {
  using source = new Linear(3, 2, { generator: new Generator(0) });
  using target = new Linear(3, 2, { generator: new Generator(1) });
  writeTorchCheckpoint(file, source.stateDict());
  target.loadStateDict(readTorchCheckpoint(file));
  expect(target.weight.toFlatArray()).toEqual(source.weight.toFlatArray());
  expect([...readTorchCheckpoint(file).keys()]).toEqual(["weight", "bias"]);
  expect(readdirSync(folder)).toEqual(["model.pt"]);
});

test("views are written as they look", () => {
  using x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
  writeTorchCheckpoint(file, new Map([["t", x.transpose(0, 1)]]));
  expect(readTorchCheckpoint(file).get("t")!.toFlatArray()).toEqual([1, 4, 2, 5, 3, 6]);
});

describe("parts", () => {
  const parts = { model: map({ a: scalar("1"), "deep.er": map({ b: scalar("2") }) }), epoch: 3, args: map({ lr: 1 }) };

  test("the only one with tensors is meant, and all else is told", () => {
    writeLegacy(map(parts), { 1: 1, 2: 2 });
    expect(read()).toEqual({ values: { a: 1, "deep.er.b": 2 }, key: "model", skipped: ["epoch", "args"] });
    expect(read("model.deep.er").values).toEqual({ b: 2 });
  });

  test("tensors of the uppermost dict stay with those below", () => {
    writeLegacy(map({ a: scalar("1"), list: [scalar("2"), map({ b: scalar("1") }), 7] }), { 1: 1, 2: 2 });
    expect(read()).toEqual({ values: { a: 1, "list.0": 2, "list.1.b": 1 }, key: null, skipped: ["list.2"] });
  });

  test.each<[what: string, root: Picklable, key: string | undefined, message: RegExp]>([
    ["two parts", map({ ...parts, ema: map({ a: scalar("1") }) }), undefined, /more than one key: model, ema/],
    ["no tensors", map({ epoch: 3, args: [] }), undefined, /holds no tensors by name; its keys are epoch, args/],
    ["a tensor without a name", scalar("1"), undefined, /holds no tensors by name; it is a torch tensor f32 \[\]/],
    ["an unknown key", map(parts), "ema", /key "ema" is not there; its keys are model, epoch, args/],
    ["a key without tensors", map(parts), "args", /key "args" holds no tensors/],
    [
      "one name twice",
      map({ a: scalar("1"), "b.c": scalar("1"), b: map({ c: scalar("2") }) }),
      undefined,
      /"b\.c" is there twice/,
    ],
  ])("%s: an error", (_, root, key, message) => {
    const named = ["1", "2"].filter((storage) => Buffer.from(pickle(root, 2)).includes(`X\x01\0\0\0${storage}`));
    writeLegacy(root, Object.fromEntries(named.map((storage) => [storage, 0])));
    expect(() => read(key)).toThrow(TorchCheckpointError);
    expect(() => read(key)).toThrow(message);
    expect(() => read(key)).toThrow(file);
  });
});

test.each([
  ["a dict that holds itself", "}q\x00U\x01ah\x00s."],
  ["lists of lists", `${"]".repeat(5000)}${"a".repeat(4999)}.`],
  ["lists that hold one another many times over", `]q\x00${"0](h\x00h\x00h\x00h\x00eq\x00".repeat(40)}.`],
])("%s is refused", (_, text) => {
  writeLegacy(Buffer.from(text, "latin1"));
  expect(() => read()).toThrow(/nested deeper than 64, or holds itself|more than 1000000 values/);
});

test("files that cannot be read or written are named", () => {
  const none = join(folder, "none.pt");
  expect(() => readTorchCheckpoint(none)).toThrow(TorchCheckpointError);
  expect(() => readTorchCheckpoint(none)).toThrow(`${none}: file cannot be read: ENOENT`);
  expect(() => readTorchCheckpoint(folder)).toThrow(`${folder}: file is not a regular file`);
  const nowhere = join(folder, "absent", "model.pt");
  expect(() => writeTorchCheckpoint(nowhere, new Map())).toThrow(`${nowhere}: file cannot be written: ENOENT`);
});

test("a failure to write leaves the old file and nothing else", () => {
  const place = join(folder, "place");
  mkdirSync(join(place, "model.pt", "occupied"), { recursive: true });
  using x = tensor([1]);
  expect(() => writeTorchCheckpoint(join(place, "model.pt"), new Map([["x", x]]))).toThrow(TorchCheckpointError);
  expect(readdirSync(place)).toEqual(["model.pt"]);

  writeTorchCheckpoint(file, new Map([["x", x]]));
  const before = readFileSync(file);
  const gone = tensor([2]);
  gone.dispose();
  expect(() => writeTorchCheckpoint(file, new Map([["x", gone]]))).toThrow(/disposed/);
  expect(readFileSync(file)).toEqual(before);
});

test("what differs is told by name", () => {
  const f32 = (...shape: number[]) => ({ dtype: "f32" as const, shape });
  const expected = new Map([
    ["a", f32(2)],
    ["b", f32(2, 3)],
    ["c", f32()],
    ["d", f32(1)],
  ]);
  const found = new Map<string, { dtype: "f32" | "f64" | "i64"; shape: number[] }>([
    ["b", f32(3, 2)],
    ["c", { dtype: "f64", shape: [] }],
    ["d", { dtype: "i64", shape: [1] }],
    ["e", f32()],
  ]);
  expect(describeDifference(compareStateDicts(expected, found))).toEqual([
    "missing a",
    "unexpected e",
    "b is f32 [3,2], expected f32 [2,3]",
    "d is i64 [1], expected f32 [1]",
  ]);
  expect(describeDifference(compareStateDicts(expected, expected))).toEqual([]);
});

test("more tensors than a zip archive holds are refused", () => {
  const x = { dtype: "u8" as const, shape: [], data: new Uint8Array(1) };
  const many = new Map(Array.from({ length: 65_001 }, (_, i) => [`${i}`, x]));
  expect(() => encodeTorchCheckpoint(many, file)).toThrow(/has 65001 tensors, at most 65000/);
});
