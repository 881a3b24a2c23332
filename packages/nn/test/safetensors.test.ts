import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { full, scope, type Tensor, tensor } from "@md/tensor";
import { afterAll, describe, expect, it } from "vitest";
import {
  parseSafetensorsHeader,
  readSafetensors,
  readSafetensorsArrays,
  SafetensorsError,
  SafetensorsFile,
  widenHalves,
  writeSafetensors,
} from "../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "md-nn-safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const bytesOf = (data: ArrayBufferView): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

function sample(): Map<string, Tensor> {
  return new Map([
    ["flag", tensor(Uint8Array.of(1, 0, 1), { dtype: "bool" })],
    [
      "weight",
      tensor([
        [1.5, -2],
        [3, Infinity],
      ]),
    ],
    ["bytes", tensor(Uint8Array.of(0, 255))],
    ["precise", tensor([Math.PI], { dtype: "f64" })],
    ["count", tensor(BigInt64Array.of(-(2n ** 62n)), { shape: [] })],
    ["index", tensor(Int32Array.of(-5, 7))],
    ["empty", tensor(new Float32Array(0), { shape: [0, 3] })],
    ["__proto__", tensor([4])],
  ]);
}

function fileOf(header: unknown, data = new Uint8Array(0), name = "hostile.safetensors"): string {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  writeFileSync(at(name), bytes);
  return at(name);
}

describe("safetensors", () => {
  it("round-trips every dtype, names and metadata", () => {
    const path = at("round-trip.safetensors");
    const tensors = sample();
    writeSafetensors(path, tensors, { format: "pt", ["__proto__"]: "text" });
    const read = readSafetensors(path);
    expect([...read.tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [name, value] of tensors) {
      const found = read.tensors.get(name)!;
      expect([found.dtype, found.shape, found.data()]).toEqual([value.dtype, value.shape, value.data()]);
    }
    expect(Object.entries(read.metadata)).toEqual([
      ["format", "pt"],
      ["__proto__", "text"],
    ]);
    expect(({} as Record<string, unknown>)["format"]).toBeUndefined();
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("aligns the header and each tensor", () => {
    const path = at("aligned.safetensors");
    writeSafetensors(path, sample());
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    expect(length % 8).toBe(0);
    const widths = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1, BOOL: 1 };
    using file = new SafetensorsFile(path);
    for (const { begin, dtype } of file.header.entries.values()) expect(begin % widths[dtype]).toBe(0);
  });

  it("writes a view in row-major order", () => {
    const path = at("view.safetensors");
    writeSafetensors(
      path,
      new Map([
        [
          "t",
          tensor([
            [1, 2],
            [3, 4],
          ]).transpose(),
        ],
      ]),
    );
    expect(readSafetensorsArrays(path).arrays.get("t")!.data).toEqual(Float32Array.of(1, 3, 2, 4));
  });

  it("keeps half precision, and widens it for the host", () => {
    const half = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0xfc00, 0x7e00, 0x7bff, 0x8000);
    const brain = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x7fc0);
    const data = new Uint8Array([...new Uint8Array(half.buffer), ...new Uint8Array(brain.buffer)]);
    const path = fileOf(
      {
        h: { dtype: "F16", shape: [8], data_offsets: [0, 16] },
        b: { dtype: "BF16", shape: [4], data_offsets: [16, 24] },
      },
      data,
    );
    const { arrays } = readSafetensorsArrays(path);
    expect(arrays.get("h")).toEqual({ dtype: "f16", shape: [8], data: half });
    const wide = (name: string): number[] => [...(widenHalves(arrays.get(name)!).data as Float32Array)];
    expect(wide("h")).toEqual([1, -2, 2 ** -24, Infinity, -Infinity, NaN, 65504, -0]);
    expect(wide("b")).toEqual([1, -2, Infinity, NaN]);
    const { tensors } = readSafetensors(path);
    expect(tensors.get("h")!.toFlatArray()).toEqual(wide("h"));
    const copy = at("half-copy.safetensors");
    writeSafetensors(copy, tensors);
    expect(readSafetensorsArrays(copy).arrays).toEqual(arrays);
  });

  it("reads one tensor of a file", () => {
    const path = at("part.safetensors");
    writeSafetensors(path, sample());
    using file = new SafetensorsFile(path);
    expect(file.read("index")).toEqual({ dtype: "i32", shape: [2], data: Int32Array.of(-5, 7) });
    expect(() => file.read("absent")).toThrow(/part.safetensors: tensor "absent" is not in the file/);
  });

  it("refuses a file cut at any byte", () => {
    const path = at("cut.safetensors");
    writeSafetensors(path, sample(), { note: "x" });
    const whole = readFileSync(path);
    for (let length = whole.length - 1; length >= 0; length--) {
      truncateSync(path, length);
      expect(() => readSafetensors(path), `cut at ${length}`).toThrow(SafetensorsError);
    }
    writeFileSync(path, Buffer.concat([whole, Buffer.alloc(1)]));
    expect(() => readSafetensors(path)).toThrow(/data has \d+ bytes, expected \d+ by the header/);
  });

  it("survives any single byte changed in the header", () => {
    const path = at("flipped.safetensors");
    writeSafetensors(
      path,
      new Map([
        ["a", tensor([1, 2])],
        ["b", tensor(Uint8Array.of(1), { dtype: "bool" })],
      ]),
      { k: "v" },
    );
    const whole = readFileSync(path);
    let refused = 0;
    for (let i = 0; i < whole.length; i++) {
      for (const change of [0x01, 0x10, 0x80]) {
        const bytes = Buffer.from(whole);
        bytes[i]! ^= change;
        writeFileSync(path, bytes);
        try {
          scope(() => void readSafetensors(path));
        } catch (error) {
          expect(error, `byte ${i}`).toBeInstanceOf(SafetensorsError);
          refused++;
        }
      }
    }
    expect(refused).toBeGreaterThan(whole.length);
  });

  const f32 = (shape: unknown, offsets: unknown, dtype: unknown = "F32"): unknown => ({
    dtype,
    shape,
    data_offsets: offsets,
  });
  const hostile: [string, unknown, number, RegExp][] = [
    ["not JSON", "{", 0, /header is not JSON/],
    ["invalid UTF-8", "\ud800{}", 0, /header is not JSON/],
    ["an array", [], 0, /header is not a JSON object/],
    ["null", "null", 0, /header is not a JSON object/],
    ["deep nesting", "[".repeat(2_000_000), 0, /header is not JSON/],
    ["an entry that is no object", { a: 3 }, 0, /tensor "a": entry is not a JSON object/],
    ["an unknown field", { a: { ...(f32([1], [0, 4]) as object), x: 1 } }, 4, /tensor "a": "x"/],
    ["an unknown dtype", { a: f32([1], [0, 4], "F8_E4M3") }, 4, /tensor "a": dtype is "F8_E4M3"/],
    ["a dtype of Object.prototype", { a: f32([1], [0, 4], "constructor") }, 4, /dtype is "constructor"/],
    ["no dtype", { a: { shape: [1], data_offsets: [0, 4] } }, 4, /dtype is absent/],
    ["a negative extent", { a: f32([-1], [0, 4]) }, 4, /shape is \[-1\]/],
    ["a fractional extent", { a: f32([0.5], [0, 2]) }, 2, /shape is \[0.5\]/],
    ["a shape beyond 2^53", { a: f32([2 ** 40, 2 ** 40], [0, 4]) }, 4, /spans 4 bytes, expected/],
    ["an extent beyond 2^53", '{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4, /shape is/],
    ["nine axes", { a: f32([1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 4]) }, 4, /at most 8/],
    ["a string shape", { a: f32("1", [0, 4]) }, 4, /shape is "1"/],
    ["one offset", { a: f32([1], [0]) }, 4, /data_offsets is \[0\]/],
    ["reversed offsets", { a: f32([1], [4, 0]) }, 4, /data_offsets is \[4,0\]/],
    ["offsets beyond the data", { a: f32([2], [0, 8]) }, 4, /inside the 4 bytes/],
    ["offsets that do not match the shape", { a: f32([2], [0, 4]) }, 4, /spans 4 bytes, expected 8 for F32 \[2\]/],
    ["overlap", { a: f32([2], [0, 8]), b: f32([2], [4, 12]) }, 12, /tensor "b": data_offsets overlaps/],
    ["two tensors at one place", { a: f32([1], [0, 4]), b: f32([1], [0, 4]) }, 4, /overlaps/],
    ["a gap", { a: f32([1], [4, 8]) }, 8, /leaves a gap of 4 bytes/],
    ["unused data", { a: f32([1], [0, 4]) }, 8, /data has 8 bytes, expected 4/],
    ["metadata that is no object", { __metadata__: [] }, 0, /__metadata__ is not a JSON object/],
    ["metadata that is no string", { __metadata__: { k: 1 } }, 0, /__metadata__ "k" is not a string/],
    ["a key twice", '{"__metadata__":{"k":"1","\\u006b":"2"}}', 0, /has the key "k" twice/],
  ];
  for (const [what, header, dataBytes, message] of hostile) {
    it(`refuses ${what}`, () => {
      const path =
        what === "invalid UTF-8" ? fileOf("?", new Uint8Array(0)) : fileOf(header, new Uint8Array(dataBytes));
      if (what === "invalid UTF-8") writeFileSync(path, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff));
      expect(() => readSafetensors(path)).toThrow(SafetensorsError);
      expect(() => readSafetensors(path)).toThrow(message);
      expect(() => readSafetensors(path)).toThrow(path);
    });
  }

  it("refuses a header longer than the file or the limit", () => {
    for (const length of [100n, 2n ** 63n, 2n ** 64n - 1n]) {
      const bytes = new Uint8Array(16);
      new DataView(bytes.buffer).setBigUint64(0, length, true);
      writeFileSync(at("long.safetensors"), bytes);
      expect(() => readSafetensors(at("long.safetensors"))).toThrow(/header length is \d+, expected at most 8/);
    }
  });

  it("refuses a bool that is neither 0 nor 1", () => {
    const path = fileOf({ a: { dtype: "BOOL", shape: [1], data_offsets: [0, 1] } }, Uint8Array.of(2));
    expect(() => readSafetensors(path)).toThrow(/tensor "a" has a byte above 1/);
  });

  it("names an absent file and a folder", () => {
    expect(() => readSafetensors(at("absent"))).toThrow(SafetensorsError);
    expect(() => readSafetensors(folder)).toThrow(/not a regular file/);
  });

  it("parses a header alone", () => {
    const json = new TextEncoder().encode(
      '{"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}',
    );
    const { entries, metadata } = parseSafetensorsHeader(json, 8, "name");
    expect([...entries]).toEqual([["a", { dtype: "I64", shape: [], begin: 0, end: 8 }]]);
    expect(metadata["k"]).toBe("v");
    expect(Object.getPrototypeOf(metadata)).toBeNull();
  });

  it("leaves the old file and no other when writing fails", () => {
    const path = at("old.safetensors");
    writeSafetensors(path, new Map([["a", tensor([1])]]));
    const before = readdirSync(folder);
    const gone = full([2], 1);
    const tensors = new Map([
      ["a", full([1000], 2)],
      ["b", gone],
    ]);
    gone.dispose();
    expect(() => writeSafetensors(path, tensors)).toThrow(/disposed/);
    expect(readdirSync(folder)).toEqual(before);
    expect(readSafetensors(path).tensors.get("a")!.item()).toBe(1);
    expect(() => writeSafetensors(at("no/such/folder"), new Map())).toThrow(SafetensorsError);
    expect(existsSync(at("no"))).toBe(false);
    expect(() => writeSafetensors(path, new Map([["__metadata__", full([1], 1)]]))).toThrow(/reserves/);
  });

  it("reads files that other programs wrote", (context) => {
    const goldens = process.env["MD_GOLDENS"] ?? fileURLToPath(new URL("../../../../shared/goldens", import.meta.url));
    const files = existsSync(goldens) ? readdirSync(goldens).filter((name) => name.endsWith(".safetensors")) : [];
    if (files.length === 0) {
      console.warn(`skipped: no safetensors files in ${goldens}`);
      context.skip("no golden files");
    }
    for (const name of files) {
      const { arrays, metadata } = readSafetensorsArrays(join(goldens, name));
      expect(arrays.size, name).toBeGreaterThan(0);
      for (const [key, { data, shape }] of arrays)
        expect(data.length, key).toBe(shape.reduce((total, extent) => total * extent, 1));
      expect(Object.keys(metadata).length, name).toBeGreaterThan(0);
      scope(() => {
        const { tensors } = readSafetensors(join(goldens, name));
        const copy = at("copy.safetensors");
        writeSafetensors(copy, tensors, metadata);
        const read = readSafetensorsArrays(copy);
        expect([...read.arrays.keys()].sort()).toEqual([...arrays.keys()].sort());
        for (const [key, { data }] of arrays)
          expect(bytesOf(read.arrays.get(key)!.data).equals(bytesOf(data)), key).toBe(true);
        expect(read.metadata).toEqual(metadata);
      });
    }
  });
});
