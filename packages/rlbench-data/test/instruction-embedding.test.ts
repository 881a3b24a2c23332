import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PickleError } from "@md/pickle";
import { expect, test } from "vitest";
import { DataError, hashedWordEmbedding, hashedWordEncoder, loadInstructionEmbeddings } from "../src/index.js";
import { readSafetensors } from "../src/safetensors.js";
import { goldensFolder, missing } from "./support/paths.js";
import { temporaryFolder } from "./support/temporary-folder.js";

function failure(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error("the file was accepted");
}

function safetensors(header: object, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, body]);
}

function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0) / a.length;
}

test("hashed words: same word, same vector; different words nearly orthogonal", () => {
  const dim = 256;
  const embedding = hashedWordEmbedding("Reach the red sphere, the RED one!", dim);
  expect(embedding.length).toBe(7 * dim);
  const word = (i: number): Float32Array => embedding.subarray(i * dim, (i + 1) * dim);
  expect(word(1)).toEqual(word(4));
  expect(word(2)).toEqual(word(5));
  for (const value of embedding) expect(Math.abs(value)).toBe(1);
  const words = "red green blue yellow magenta cyan orange white top middle bottom left right".split(" ");
  const vectors = words.map((text) => hashedWordEmbedding(text, dim));
  for (let i = 0; i < words.length; i++)
    for (let j = 0; j < i; j++) expect(Math.abs(cosine(vectors[i], vectors[j]))).toBeLessThan(0.3);
  expect(hashedWordEmbedding("red", dim)).toEqual(vectors[0]);
  expect(hashedWordEncoder(dim).encode("open drawer 2").tokens).toBe(3);
  for (const [text, size] of [
    ["", 8],
    ["...", 8],
    ["red", 0],
    ["red", 1.5],
    ["red ".repeat(1025), 8],
  ] as const)
    expect(() => hashedWordEmbedding(text, size)).toThrow(DataError);
});

test("embeddings from safetensors", () => {
  const file = join(temporaryFolder(), "embeddings.safetensors");
  const body = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
  const entry = (shape: number[], from: number, to: number, dtype = "F32"): object => ({
    dtype,
    shape,
    data_offsets: [from, to],
  });
  writeFileSync(
    file,
    safetensors({ __metadata__: { made: "here" }, "open it": entry([1, 2], 0, 8), close: entry([2, 2], 8, 24) }, body),
  );
  const encoder = loadInstructionEmbeddings(file);
  expect(encoder).toMatchObject({ dim: 2, source: file });
  expect(encoder.encode("open it")).toEqual({ tokens: 1, data: Float32Array.of(1, 2) });
  expect(encoder.encode("close")).toEqual({ tokens: 2, data: Float32Array.of(3, 4, 5, 6) });
  expect(() => encoder.encode("opened")).toThrow(/no embedding of the instruction "opened"/);
  for (const bad of [
    { a: entry([2, 2], 0, 8) },
    { a: entry([1, 2], 0, 800) },
    { a: entry([1, 2], 8, 0) },
    { a: entry([1, -2], 0, 8) },
    { a: entry([2 ** 52, 2 ** 52], 0, 8) },
    { a: entry([2], 0, 8) },
    { a: entry([1, 2], 0, 8, "BF16") },
    { a: entry([8, 1], 0, 8, "U8") },
    { a: entry([1, 2], 0, 8), b: entry([2, 1], 0, 8) },
    { a: null },
    {},
    [],
  ]) {
    writeFileSync(file, safetensors(bad, body));
    expect(() => loadInstructionEmbeddings(file)).toThrow(file);
    expect(() => loadInstructionEmbeddings(file)).toThrow(DataError);
  }
  const good = safetensors({ a: entry([1, 2], 0, 8) }, body.subarray(0, 8));
  for (let length = 0; length < good.length; length++) {
    writeFileSync(file, good.subarray(0, length));
    expect(() => loadInstructionEmbeddings(file)).toThrow(DataError);
  }
  writeFileSync(file, safetensors({ a: entry([1, 2], 0, 8) }, new Uint8Array(Float32Array.of(NaN, 1).buffer)));
  expect(() => loadInstructionEmbeddings(file)).toThrow(/not finite/);
});

test("embeddings from .npy", (ctx) => {
  const folder = join(goldensFolder, "formats");
  const reason = missing(folder);
  if (reason) {
    console.warn(`.npy embeddings skipped: ${reason}`);
    ctx.skip(reason);
  }
  const expected = readExpected(folder);
  expect(expected.size).toBeGreaterThan(0);
  const name = readdirSync(folder).find((file) => file.endsWith(".npy"))!;
  const encoder = loadInstructionEmbeddings(join(folder, name));
  for (const [text, data] of expected) expect(encoder.encode(text).data).toEqual(data);
  const whole = readFileSync(join(folder, name));
  const file = join(temporaryFolder(), "cut.npy");
  for (let length = 0; length < whole.length; length += 1 + (length >> 5)) {
    writeFileSync(file, whole.subarray(0, length));
    const error = failure(() => loadInstructionEmbeddings(file));
    expect(error instanceof DataError || error instanceof PickleError).toBe(true);
  }
  writeFileSync(file, Buffer.concat([whole.subarray(0, 128), Buffer.from("cos\nsystem\n(S'true'\ntR.")]));
  expect(() => loadInstructionEmbeddings(file)).toThrow(PickleError);
});

/** Tensors `instr.<text>`; read one by one, since the file also holds types this reader does not know. */
function readExpected(folder: string): Map<string, Float32Array> {
  const bytes = readFileSync(join(folder, "expected.safetensors"));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const found = new Map<string, Float32Array>();
  for (const [name, entry] of Object.entries(header)) {
    if (!name.startsWith("instr.")) continue;
    const [start, end] = entry.data_offsets.map((offset) => 8 + headerLength + offset);
    found.set(name.slice("instr.".length), new Float32Array(new Uint8Array(bytes.subarray(start, end)).buffer));
  }
  return found;
}

test("safetensors metadata and types", () => {
  const file = join(temporaryFolder(), "types.safetensors");
  const body = new Uint8Array(BigInt64Array.of(-1n).buffer);
  writeFileSync(
    file,
    safetensors({ __metadata__: { a: "b" }, i: { dtype: "I64", shape: [1], data_offsets: [0, 8] } }, body),
  );
  const { metadata, tensors } = readSafetensors(file);
  expect(metadata).toEqual({ a: "b" });
  expect(tensors.get("i")).toEqual({ dtype: "I64", shape: [1], data: BigInt64Array.of(-1n) });
});
