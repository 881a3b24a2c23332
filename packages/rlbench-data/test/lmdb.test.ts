import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { bytesInMemory, type ByteSource, DataError, LmdbReader, withFileBytes } from "../src/index.js";
import { writeLmdb } from "./support/lmdb-writer.js";
import { goldensFolder } from "./support/paths.js";
import { temporaryFolder } from "./support/temporary-folder.js";

const key = (i: number): string => `key${String(i).padStart(6, "0")}`;
const valueOf = (i: number, size: number): Buffer => Buffer.alloc(size, i % 251);

function write(count: number, sizeOf: (i: number) => number): Buffer {
  const file = join(temporaryFolder(), "data.mdb");
  writeLmdb(
    file,
    Array.from({ length: count }, (_, i) => [key(i), valueOf(i, sizeOf(i))] as const),
  );
  return readFileSync(file);
}

const read = (bytes: Uint8Array): LmdbReader => new LmdbReader(bytesInMemory("data.mdb", bytes));

test.for([0, 1, 2, 100, 20_000])("%i keys are listed and found", (count) => {
  const size = (i: number): number => (i % 1000 === 0 ? 10_000 : (i * 7) % 90);
  const reader = read(write(count, size));
  expect(reader.entries).toBe(count);
  expect(reader.keys().map(String)).toEqual(Array.from({ length: count }, (_, i) => key(i)));
  for (let i = 0; i < count; i += 97) expect(reader.get(Buffer.from(key(i)))).toEqual(valueOf(i, size(i)));
  for (const absent of ["", "key", "key000000x", "z"]) expect(reader.get(Buffer.from(absent))).toBeUndefined();
});

test("listing keys reads no value", () => {
  const bytes = write(50, () => 100_000);
  let count = 0;
  const counting: ByteSource = {
    name: "data.mdb",
    size: bytes.length,
    read(offset, length) {
      count += length;
      return bytesInMemory("data.mdb", bytes).read(offset, length);
    },
  };
  expect(new LmdbReader(counting).keys()).toHaveLength(50);
  expect(count).toBeLessThan(3 * 4096);
  expect(bytes.length).toBeGreaterThan(5_000_000);
});

/** Both meta pages with a 64- or 32-bit field of the meta set. */
function withMeta(bytes: Buffer, offset: number, value: bigint, width: 4 | 8 = 8): Buffer {
  const changed = Buffer.from(bytes);
  for (const page of [0, 4096]) {
    if (width === 8) changed.writeBigUInt64LE(value, page + 16 + offset);
    else changed.writeUInt32LE(Number(value), page + 16 + offset);
  }
  return changed;
}

test("what is no LMDB 0.9 file, truncated or corrupt is refused by name", () => {
  const whole = write(2000, () => 60);
  const root = Number(whole.readBigUInt64LE(16 + 72 + 40));
  expect(() => read(Buffer.alloc(0))).toThrow(/\[data\.mdb\] file is too short/);
  expect(() => read(withMeta(whole, 0, 0xdeadn, 4))).toThrow(/magic is 0xdead, expected that of LMDB/);
  expect(() => read(withMeta(whole, 4, 999n, 4))).toThrow(/data version is 999, expected 1/);
  expect(() => read(withMeta(whole, 24, 1000n, 4))).toThrow(/page size is 1000/);
  expect(() => read(withMeta(whole, 120, 1n << 60n))).toThrow(/last page is/);
  expect(() => read(withMeta(whole, 72 + 40, 9999n)).keys()).toThrow(/page 9999 is referred to/);
  expect(() => read(withMeta(whole, 72 + 32, 1999n)).keys()).toThrow(/more than the 1999 declared/);
  expect(() => read(withMeta(whole, 72 + 32, 2001n)).keys()).toThrow(/are 2000, but 2001 are declared/);
  expect(() => read(whole.subarray(0, whole.length - 1))).toThrow(/truncated/);
  const deep = Buffer.from(whole);
  for (const page of [0, 4096]) deep.writeUInt16LE(33, page + 16 + 72 + 6);
  expect(() => read(deep)).toThrow(/depth is 33/);
  const cycle = Buffer.from(whole);
  const at = root * 4096;
  const node = at + cycle.readUInt16LE(at + 16);
  cycle.writeUInt32LE(root, node);
  expect(() => read(cycle).keys()).toThrow(DataError);
  expect(() => read(cycle).get(Buffer.from(key(0)))).toThrow(DataError);
  const twice = Buffer.from(whole);
  const second = at + twice.readUInt16LE(at + 18);
  twice.writeUInt32LE(twice.readUInt32LE(node), second);
  expect(() => read(twice).keys()).toThrow(/is reached twice/);
});

test("every field of a meta, a page and a node is bounded", () => {
  const whole = write(2, () => 40);
  const leaf = Number(whole.readBigUInt64LE(16 + 72 + 40)) * 4096;
  const [first, second] = [16, 18].map((slot) => leaf + whole.readUInt16LE(leaf + slot));
  const meta = (offset: number, value: bigint, width: 4 | 8, message: RegExp): void =>
    expect(() => read(withMeta(whole, offset, value, width))).toThrow(message);
  meta(72 + 4, 4n, 4, /database flags are 4, expected a plain database/);
  meta(72 + 32, 2n ** 20n + 1n, 8, /entries are 1048577, expected at most 1048576/);
  meta(72 + 32, 0n, 8, /root page is \d+ with 0 entries and depth 1/);
  meta(72 + 40, 2n ** 64n - 1n, 8, /root page is 18446744073709551615 with 2 entries/);
  meta(72 + 40, 2n ** 60n, 8, /root page is 1152921504606846976/);
  const refuse = (at: number, value: number, message: RegExp): void => {
    const changed = Buffer.from(whole);
    changed.writeUInt16LE(value, at);
    const reader = read(changed);
    const use = (): void => reader.keys().forEach((found) => reader.get(found));
    expect(use).toThrow(message);
    expect(use).toThrow(DataError);
  };
  refuse(leaf + 10, 1, /page \d+ is no leaf page \(flags 1\)/);
  refuse(leaf, 7, /page \d+ is no leaf page/);
  for (const lower of [16, 17, 15, 4098]) refuse(leaf + 12, lower, /page \d+ has bounds/);
  refuse(leaf + 14, 18, /page \d+ has bounds 20 and 18/);
  refuse(leaf + 14, 5000, /page \d+ has bounds 20 and 5000/);
  for (const start of [0, 19, 4089, 65535]) refuse(leaf + 18, start, /node 1 begins at byte/);
  refuse(second + 6, 60_000, /node 1 has a key that leaves the page/);
  refuse(first + 8, 0x7a7a, /key "key000001" is out of order or there twice/);
  refuse(first, 5000, /node 0 has 5000 bytes, past its page/);
  for (const flags of [2, 4, 6]) refuse(first + 4, flags, /node 0 is a database of its own or has duplicates/);
});

test("an overflow value that leaves the file is refused", () => {
  const whole = write(1, () => 10_000);
  const leaf = Number(whole.readBigUInt64LE(16 + 72 + 40)) * 4096;
  const node = leaf + whole.readUInt16LE(leaf + 16);
  const longer = Buffer.from(whole);
  longer.writeUInt32LE(20_000, node);
  expect(() => read(longer).get(Buffer.from(key(0)))).toThrow(/has 20000 bytes in 3 pages/);
  longer.writeUInt32LE(0xffffffff, node);
  expect(() => read(longer).get(Buffer.from(key(0)))).toThrow(/has 4294967295 bytes, expected at most/);
  const beyond = Buffer.from(whole);
  beyond.writeBigUInt64LE(2n ** 60n, node + 8 + key(0).length);
  expect(() => read(beyond).get(Buffer.from(key(0)))).toThrow(/overflow page is 1152921504606846976/);
  const cramped = Buffer.from(whole);
  cramped.writeUInt16LE(4096 - (node - leaf) - 8 - 7, node + 6);
  expect(() =>
    read(cramped)
      .keys()
      .map((found) => read(cramped).get(found)),
  ).toThrow(/no room for its overflow page/);
  const elsewhere = Buffer.from(whole);
  elsewhere.writeBigUInt64LE(BigInt(leaf / 4096), node + 8 + key(0).length);
  expect(() => read(elsewhere).get(Buffer.from(key(0)))).toThrow(/is no overflow page/);
});

test("a tree with any byte changed gives keys or a DataError, never anything else", () => {
  const whole = write(300, (i) => (i % 50 === 0 ? 5000 : 40));
  for (let at = 0; at < whole.length; at += 607) {
    const changed = Buffer.from(whole);
    changed[at] ^= 1 << (at % 8);
    try {
      const reader = read(changed);
      for (const found of reader.keys()) reader.get(found);
    } catch (error) {
      expect(error).toBeInstanceOf(DataError);
    }
  }
});

test("a file that Python wrote", (ctx) => {
  const folder = join(goldensFolder, "formats");
  const files = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }) : [];
  const name = files.find((file) => basename(file) === "data.mdb");
  if (name === undefined) return ctx.skip(`${folder} has no data.mdb`);
  const file = join(folder, name);
  withFileBytes(file, (bytes) => {
    const reader = new LmdbReader(bytes);
    const keys = reader.keys();
    expect(keys).toHaveLength(reader.entries);
    for (const found of keys) expect(reader.get(found)!.length).toBeGreaterThan(1000);
  });
});
