import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import {
  encodeTorchCheckpoint,
  parseTorchCheckpoint,
  type Picklable,
  pickle,
  type PickleValue,
  pyCall,
  pyGlobal,
  type TorchArray,
  TorchCheckpointError,
  TorchTensor,
} from "../src/index.js";
import { bytesOf, pyTensor, torchLegacy, torchZip } from "./support/torch-files.js";

const float = (key: string, length: number) => ({ className: "FloatStorage", key, length });
const dict = (x: Picklable): Picklable => new Map([["x", x]]);
const x12 = Float32Array.from({ length: 12 }, (_, i) => i);
const sound = torchZip(dict(pyTensor(float("0", 12), [3, 4], [4, 1])), { 0: x12 });

function read(file: Uint8Array): Map<string, TorchArray> {
  const { root, read: copy } = parseTorchCheckpoint(file, "evil.pt");
  const tensors = new Map<string, TorchTensor>();
  if (root instanceof Map) {
    for (const [name, value] of root as Map<PickleValue, PickleValue>)
      if (value instanceof TorchTensor) tensors.set(String(name), value);
  }
  return copy(tensors);
}

function failure(file: Uint8Array): TorchCheckpointError {
  try {
    read(file);
  } catch (error) {
    expect(error).toBeInstanceOf(TorchCheckpointError);
    expect((error as Error).message).toContain("evil.pt: ");
    return error as TorchCheckpointError;
  }
  throw new Error("the file was accepted");
}

/** A copy with the bytes at `offset` from the first `signature` replaced. */
function patched(file: Uint8Array, signature: number, offset: number, ...bytes: number[]): Uint8Array {
  const copy = Buffer.from(file);
  const at = copy.indexOf(Buffer.from([0x50, 0x4b, signature, signature + 1]));
  copy.set(bytes, at + offset);
  return copy;
}

const tensor = (length: number, shape: number[], strides: number[], offset = 0): Uint8Array =>
  torchZip(dict(pyTensor(float("0", length), shape, strides, { offset })), { 0: x12 });

const legacySound = torchLegacy(dict(pyTensor(float("a", 12), [12], [1], { legacy: true })), {
  a: { data: x12, length: 12 },
});

describe("refuses", () => {
  const twice = [pyTensor(float("0", 12), [12], [1]), pyTensor(float("0", 11), [11], [1])];
  test.each<[what: string, file: Uint8Array, message: RegExp]>([
    ["os.system", torchZip(dict(pyCall(pyGlobal("os", "system"), "true")), {}), /data\.pkl .*"os\.system".*whitelist/],
    ["eval", torchZip(dict(pyCall(pyGlobal("builtins", "eval"), "1")), {}), /"builtins\.eval"/],
    ["a class of torch that is not known", torchZip(dict(pyGlobal("torch", "load")), {}), /"torch\.load"/],
    ["the call of a dtype", torchZip(dict(pyCall(pyGlobal("torch", "float32"))), {}), /float32 cannot be called/],
    ["a storage larger than its entry", tensor(13, [13], [1]), /storage "0" has 48 bytes, expected 52 for f32 \[13\]/],
    ["a storage of 2^50 elements", tensor(2 ** 50, [2], [1]), /storage "0" has 48 bytes/],
    ["a negative storage", tensor(-1, [0], [1]), /storage "0" has -1 elements/],
    ["a stride outside of the storage", tensor(12, [3, 4], [5, 1]), /tensor "x": offset and strides reach .* 0 to 13/],
    ["an offset outside of the storage", tensor(12, [12], [1], 1), /reach elements 1 to 12 of a storage of 12/],
    ["a negative offset", tensor(12, [2], [1], -1), /reach elements -1 to 0/],
    ["a negative size", tensor(12, [-3], [1]), /tensor "x": shape is \[-3\]/],
    ["a negative stride", tensor(12, [3], [-1]), /tensor "x": strides are \[-1\]/],
    ["too many axes", tensor(12, Array(9).fill(1), Array(9).fill(1)), /at most 8 non-negative sizes/],
    ["strides of another rank", tensor(12, [3], []), /expected 1 non-negative/],
    ["an expanded bomb", tensor(12, [2 ** 20, 2 ** 20], [0, 0]), /tensor "x" needs more than the \d+ bytes/],
    ["a size beyond 2^53", tensor(12, [2 ** 52, 2 ** 52], [0, 0]), /needs more than/],
    ["a missing storage", torchZip(dict(pyTensor(float("7", 1), [1], [1])), {}), /storage "7" is not in the archive/],
    ["a storage of two sizes", torchZip(twice, { 0: x12 }), /storage "0" is both/],
    ["an archive without a pickle", zipSync({ "a/b": x12.map(Number) as never }), /has 0 entries NAME\/data\.pkl/],
    ["two pickles", torchZip(null, {}, { extra: { "b/data.pkl": pickle(null) } }), /has 2 entries NAME\/data\.pkl/],
    ["big endian", torchZip(null, {}, { extra: { "model/byteorder": Buffer.from("big") } }), /byteorder is "big"/],
    [
      "bool of 2",
      torchZip(dict(pyTensor({ className: "BoolStorage", key: "0", length: 1 }, [1], [1])), { 0: Uint8Array.of(2) }),
      /above 1/,
    ],
    ["another file", Buffer.from("hello, this is no checkpoint"), /neither a zip archive nor the legacy layout/],
    ["an empty file", new Uint8Array(0), /neither/],
    ["an unknown compression", patched(sound, 1, 10, 99), /data\.pkl" has compression 99, expected 0 .* or 8/],
    [
      "a directory beyond the file",
      sound.subarray(0, sound.length - 30),
      /zip archive cannot be read: there is no end/,
    ],
    [
      "a local header elsewhere",
      patched(sound, 1, 42, 7),
      /data\.pkl" cannot be read: there is no local header at byte 7/,
    ],
    ["a stored entry of two sizes", patched(sound, 1, 24, 1), /stored bytes, expected/],
    ["bytes after legacy storages", Buffer.concat([legacySound, Buffer.of(0)]), /1 bytes after the last storage/],
    [
      "a legacy storage of another size",
      torchLegacy(dict(pyTensor(float("a", 12), [12], [1])), { a: { data: x12, length: 11 } }),
      /"a" has 11 elements, expected 12/,
    ],
    [
      "a legacy storage beyond the file",
      torchLegacy(dict(pyTensor(float("a", 2 ** 40), [12], [1])), { a: { data: x12, length: 2 ** 40 } }),
      /needs \d+ bytes, 48 are left/,
    ],
    [
      "a legacy storage without a tensor",
      torchLegacy(null, { a: { data: x12, length: 12 } }),
      /have one that no tensor names/,
    ],
    [
      "a legacy tensor without a storage",
      torchLegacy(dict(pyTensor(float("a", 12), [12], [1])), {}),
      /"a" is not among the storage keys/,
    ],
    ["a legacy storage view", torchLegacy([...pyView()], {}), /is a view/],
  ])("%s", (_, file, message) => {
    expect(failure(file).message).toMatch(message);
  });

  function* pyView(): Generator<Picklable> {
    const tensorOf = pyTensor(float("a", 1), [1], [1], { legacy: true }) as unknown as {
      args: { id: { items: Picklable[] } }[];
    };
    tensorOf.args[0].id.items[5] = ["b", 0, 1];
    yield tensorOf as unknown as Picklable;
  }

  test("entries that are there twice", () => {
    const file = Buffer.from(torchZip(null, { 0: x12, 1: x12 }));
    const name = Buffer.from("model/data/1");
    for (let at = file.indexOf(name); at >= 0; at = file.indexOf(name, at + 1)) file[at + name.length - 1] = 0x30;
    expect(failure(file).message).toMatch(/zip entry "model\/data\/0" is there twice/);
  });

  test("a deflate bomb", () => {
    const length = 2 ** 28;
    const file = torchZip(dict(pyTensor(float("0", length), [1], [1])), {
      0: new Float32Array(0),
    });
    // The directory claims a gigabyte for an entry of no bytes that says it is deflated.
    const copy = Buffer.from(file);
    const at = copy.lastIndexOf(Buffer.from("model/data/0")) - 46;
    copy.writeUInt16LE(8, at + 10);
    copy.writeUInt32LE(4 * length, at + 24);
    expect(failure(copy).message).toMatch(/storage "0" needs more than the \d+ bytes allowed/);
    const zeros = torchZip(
      dict(pyTensor(float("0", 5 * 2 ** 22), [1], [1])),
      { 0: new Float32Array(5 * 2 ** 22) },
      { level: 1 },
    );
    expect(zeros.length).toBeLessThan(2 ** 20);
    expect(failure(zeros).message).toMatch(/storage "0" needs more than/);
    const packed = torchZip(pickle("x".repeat(9 * 2 ** 23), 2), {}, { level: 1 });
    expect(failure(packed).message).toMatch(/zip entry "model\/data\.pkl" needs more than/);
  });

  test("an entry that is deflated to far more than its size is not uncompressed further", () => {
    const bytes = 2 ** 28;
    const file = Buffer.from(
      torchZip(dict(pyTensor(float("0", 12), [12], [1])), { 0: new Uint8Array(bytes) }, { level: 1 }),
    );
    const header = file.lastIndexOf(Buffer.from("model/data/0")) - 46;
    expect(file.readUInt32LE(header + 24)).toBe(bytes);
    file.writeUInt32LE(48, header + 24);
    const start = process.cpuUsage();
    expect(failure(file).message).toMatch(/zip entry "model\/data\/0" cannot be read: .*larger than 48 bytes/);
    const { user, system } = process.cpuUsage(start);
    expect(user + system).toBeLessThan(300_000);
  });

  test("every truncation", () => {
    const big = torchZip(
      new Map(Array.from({ length: 20 }, (_, i) => [`layer.${i}`, pyTensor(float(`${i}`, 12), [12], [1])])),
      Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, x12])),
    );
    for (const file of [big, legacySound, encodeTorchCheckpoint(read(sound), "x")]) {
      expect(read(file).size).toBeGreaterThan(0);
      for (let length = 0; length < file.length; length += 64) failure(file.subarray(0, length));
      failure(file.subarray(0, file.length - 1));
    }
  });

  test("nesting without end", () => {
    expect(failure(torchZip(Buffer.from("(".repeat(5000)), {})).message).toMatch(/nested deeper/);
  });
});

/** The archive with its directory in 64-bit form: the end record, and sizes and place of every entry. */
function widened(file: Uint8Array): Buffer {
  const bytes = Buffer.from(file);
  const end = bytes.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  const [count, start] = [bytes.readUInt16LE(end + 10), bytes.readUInt32LE(end + 16)];
  const entries: Buffer[] = [];
  for (let at = start; at < end;) {
    const nameEnd = at + 46 + bytes.readUInt16LE(at + 28);
    const next = nameEnd + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    const extra = Buffer.alloc(4 + 6 + 4 + 24);
    // Of another kind, which is passed over; then size, packed size and place.
    extra.writeUInt16LE(0x4246, 0);
    extra.writeUInt16LE(6, 2);
    extra.writeUInt16LE(1, 10);
    extra.writeUInt16LE(24, 12);
    const header = bytes.subarray(at, nameEnd);
    for (const [i, field] of [24, 20, 42].entries()) {
      extra.writeBigUInt64LE(BigInt(header.readUInt32LE(field)), 14 + 8 * i);
      header.writeUInt32LE(0xffffffff, field);
    }
    header.writeUInt16LE(extra.length, 30);
    header.writeUInt16LE(0, 32);
    entries.push(header, extra);
    at = next;
  }
  const directory = Buffer.concat(entries);
  const [end64, locator, last] = [Buffer.alloc(56), Buffer.alloc(20), Buffer.alloc(22, 0xff)];
  end64.write("PK\x06\x06", "latin1");
  end64.writeBigUInt64LE(BigInt(count), 32);
  end64.writeBigUInt64LE(BigInt(start), 48);
  locator.write("PK\x06\x07", "latin1");
  locator.writeBigUInt64LE(BigInt(start + directory.length), 8);
  last.write("PK\x05\x06", "latin1");
  last.writeUInt16LE(0, 20);
  return Buffer.concat([bytes.subarray(0, start), directory, end64, locator, last]);
}

test("archives with 64-bit directories", () => {
  const wide = widened(sound);
  expect(read(wide)).toEqual(read(sound));
  const extra = wide.indexOf(Buffer.from([1, 0, 24, 0]), wide.indexOf(Buffer.from("PK\x01\x02", "latin1")));
  const refuse = (at: number, value: bigint, message: RegExp): void => {
    const copy = Buffer.from(wide);
    copy.writeBigUInt64LE(value, at);
    expect(failure(copy).message).toMatch(message);
  };
  refuse(extra + 4, 2n ** 52n, /data\.pkl" has \d+ stored bytes, expected 4503599627370496/);
  refuse(extra + 20, 2n ** 52n, /data\.pkl" cannot be read: .*out of range/);
  refuse(wide.length - 98 + 32, 2n ** 52n, /directory has 4503599627370496 entries, expected at most/);
  refuse(wide.length - 98 + 48, 2n ** 40n, /zip archive cannot be read: .*out of range/);
  refuse(wide.length - 42 + 8, 5n, /no 64-bit end of the directory at byte 5/);
  const none = Buffer.from(wide);
  none.writeUInt16LE(7, extra);
  expect(failure(none).message).toMatch(/zip archive cannot be read: /);
});

test("values that hold themselves, and memos of one another, do no harm", () => {
  for (const text of ["]q\x00h\x00a.", "}q\x00U\x01ah\x00s.", "]q\x00(h\x00h\x00eq\x01(h\x01h\x01e."]) {
    expect(read(torchZip(Buffer.from(text, "latin1"), {})).size).toBe(0);
  }
});

/** Numbers below 2^32, the same for the same seed (mulberry32). */
function randomSource(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test("4000 damaged files are read or refused, and nothing else happens", () => {
  const random = randomSource(1);
  const deflated = torchZip(dict(pyTensor(float("0", 12), [3, 4], [4, 1])), { 0: x12 }, { level: 1 });
  const bases = [sound, deflated, legacySound, bytesOf(encodeTorchCheckpoint(read(sound), "x"))];
  const outcomes = { read: 0, refused: 0 };
  for (let trial = 0; trial < 4000; trial++) {
    const file = Buffer.from(bases[trial % bases.length]);
    for (let edits = 1 + random(4); edits > 0; edits--) {
      const at = random(file.length);
      const kind = random(4);
      if (kind === 0) file[at] ^= 1 << random(8);
      else if (kind === 1) file[at] = [0, 0xff, 0x7f, 0x80, 0x28, 0x2e][random(6)];
      else if (kind === 2) file.copy(file, at, random(file.length), random(file.length));
      else file.fill(random(256), at, Math.min(file.length, at + random(9)));
    }
    try {
      read(file.subarray(0, random(8) === 0 ? random(file.length) : file.length));
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof TorchCheckpointError)) throw new Error(`trial ${trial}`, { cause: error });
      outcomes.refused++;
    }
  }
  expect(outcomes.read).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(1000);
}, 60_000);
