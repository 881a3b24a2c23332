import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  DataError,
  describeDataset,
  loadInstructionEmbeddings,
  openDataset,
  openRLBench,
  withFileBytes,
  writeSyntheticReach,
} from "../src/index.js";
import { temporaryFolder } from "./support/temporary-folder.js";

function writeHeader(file: string, header: unknown, data = 8): void {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([length, json, Buffer.alloc(data)]));
}

test("a pipe is refused, and not waited for", () => {
  const pipe = join(temporaryFolder(), "data.mdb");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  expect(() => withFileBytes(pipe, () => null)).toThrow(/data\.mdb.*no regular file/);
});

test("links that lead in circles are neither episodes nor counted", async () => {
  const root = temporaryFolder();
  writeSyntheticReach({ root, episodes: 1, seed: 0 });
  symlinkSync("circle", join(root, "circle"));
  const episode = openRLBench(root).episodes("reach_sphere")[0].directory;
  const before = await describeDataset(openDataset(root));
  for (const name of ["a", "b"]) symlinkSync(".", join(episode, name));
  expect((await describeDataset(openDataset(root))).bytes - before.bytes).toBeLessThan(1000);
});

test.each([
  ["a dtype that is an object", { a: { dtype: { toString: 1 }, shape: [1, 2], data_offsets: [0, 8] } }, /tensor "a"/],
  ["metadata that are no texts", { __metadata__: { task: { toString: 1 } } }, /metadata "task" is no text/],
])("safetensors with %s", (_, header, problem) => {
  const file = join(temporaryFolder(), "bad.safetensors");
  writeHeader(file, header);
  expect(() => loadInstructionEmbeddings(file)).toThrow(DataError);
  expect(() => loadInstructionEmbeddings(file)).toThrow(problem);
});

test("an embedding that overflows float32 is not taken for a finite one", () => {
  const file = join(temporaryFolder(), "embeddings.safetensors");
  const header = Buffer.from('{"open it":{"dtype":"F64","shape":[1,1],"data_offsets":[0,8]}}');
  const [length, value] = [Buffer.alloc(8), Buffer.alloc(8)];
  length.writeUInt32LE(header.length);
  value.writeDoubleLE(1e300);
  writeFileSync(file, Buffer.concat([length, header, value]));
  expect(() => loadInstructionEmbeddings(file)).toThrow(/"open it" has elements that are not finite/);
});

test("an index whose format is no text", () => {
  const root = temporaryFolder();
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "episodes.json"), '{"format": {"toString": 1}, "version": []}');
  expect(() => openDataset(root)).toThrow(DataError);
});
