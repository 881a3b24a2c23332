import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  NameMap,
  readSafetensors,
  readTorchCheckpoint,
  registerNameMap,
  writeSafetensors,
  writeTorchCheckpoint,
} from "@md/nn";
import { MiniDiffuser } from "@md/diffusion";
import { Generator, type Tensor, tensor } from "@md/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { METADATA_KEY } from "../src/checkpoint/metadata.js";
import { CheckpointError, ConfigError, convertWeights, formatConversion } from "../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "convert-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

const weights = (...names: string[]): Map<string, Tensor> =>
  new Map(names.map((name, i) => [name, tensor([i, i + 0.5], { shape: [2, 1] })]));
const [theirs, run, back] = [at("theirs.pt"), at("run.safetensors"), at("back.pth")];
writeTorchCheckpoint(theirs, weights("net.0.w", "net.1.w", "unused"));
writeSafetensors(run, weights("model.blocks.0.weight", "model.blocks.1.weight", "ema.blocks.0.weight"), {
  [METADATA_KEY]: "{}",
});
registerNameMap(new NameMap("test-net", [{ ours: "blocks.*.weight", theirs: "net.*.w" }]));

const values = (tensors: ReadonlyMap<string, Tensor>): Record<string, number[]> =>
  Object.fromEntries([...tensors].map(([name, x]) => [name, x.toFlatArray()]));

test("names are kept where no map is named, both ways", () => {
  const [there, again] = [at("kept.safetensors"), at("kept.pt")];
  const conversion = convertWeights({ input: theirs, output: there });
  expect(conversion).toEqual({
    key: null,
    written: [{ dtype: "f32", tensors: 3, elements: 6, bytes: 24 }],
    renamed: [],
    dropped: [],
    skipped: [],
  });
  convertWeights({ input: there, output: again });
  expect(values(readTorchCheckpoint(again))).toEqual(values(readTorchCheckpoint(theirs)));
});

test("a map renames, both ways, and what it does not know is told", () => {
  const ours = at("ours.safetensors");
  const conversion = convertWeights({ input: theirs, output: ours, map: "test-net", like: run });
  expect(values(readSafetensors(ours).tensors)).toEqual({ "blocks.0.weight": [0, 0.5], "blocks.1.weight": [1, 1.5] });
  expect(conversion.renamed[0]).toEqual(["net.0.w", "blocks.0.weight"]);
  expect(conversion.dropped).toEqual(["unused"]);
  expect(formatConversion(conversion)).toBe(
    [
      "dtype  tensors  elements  bytes",
      "f32          2         4     16",
      "total        2         4     16",
      "2 renamed",
      "  net.0.w → blocks.0.weight",
      "  net.1.w → blocks.1.weight",
      "1 dropped, as the map has no rule for them:",
      "  unused",
    ].join("\n"),
  );
  convertWeights({ input: ours, output: back, map: "test-net" });
  expect([...readTorchCheckpoint(back).keys()]).toEqual(["net.0.w", "net.1.w"]);
});

test("a part of a run's checkpoint", () => {
  const { key, skipped } = convertWeights({ input: run, output: back, key: "ema" });
  expect(key).toBe("ema");
  expect(skipped).toEqual(["model.blocks.0.weight", "model.blocks.1.weight"]);
  expect([...readTorchCheckpoint(back).keys()]).toEqual(["blocks.0.weight"]);
});

describe("refuses, and writes nothing", () => {
  const output = at("never.safetensors");
  test.each<[what: string, body: () => unknown, type: new (...args: never[]) => Error, message: RegExp]>([
    [
      "two of a kind",
      () => convertWeights({ input: theirs, output: back }),
      ConfigError,
      /\[OUT\] .*a \.safetensors file/,
    ],
    ["another extension", () => convertWeights({ input: at("x.bin"), output }), ConfigError, /\[IN\] is .*x\.bin/],
    [
      "an unknown map",
      () => convertWeights({ input: theirs, output, map: "x" }),
      ConfigError,
      /--map\] is "x".*test-net/,
    ],
    [
      "an unknown part",
      () => convertWeights({ input: run, output: back, key: "x" }),
      CheckpointError,
      /parts are model, ema/,
    ],
    [
      "a map of other names",
      () => convertWeights({ input: run, output: at("n.pt"), map: "test-net" }),
      CheckpointError,
      /no tensor whose name the map test-net/,
    ],
    [
      "what does not fit",
      () => convertWeights({ input: theirs, output, like: run }),
      CheckpointError,
      /missing blocks\.0\.weight\n.*\n +unexpected net\.0\.w/,
    ],
  ])("%s", (_, body, type, message) => {
    expect(body).toThrow(type);
    expect(body).toThrow(message);
    expect(existsSync(output)).toBe(false);
  });
});

test("weights of the released Mini-Diffuser's sizes go to released names and back, to the bit", () => {
  const [ours, released, again] = [at("policy.safetensors"), at("released.pth"), at("again.safetensors")];
  const map = "mini-diffuser-released";
  const policy = new MiniDiffuser({ compat: "released" }, { generator: new Generator(1) });
  writeSafetensors(ours, policy.stateDict());
  const there = convertWeights({ input: ours, output: released, map });
  expect([there.dropped, there.skipped]).toEqual([[], []]);
  expect(there.renamed).toHaveLength(606);
  const theirs = readTorchCheckpoint(released);
  expect(theirs.get("ptv3_model.nec.neck_final.attn.kv.weight")?.shape).toEqual([144, 72]);
  convertWeights({ input: released, output: again, map, like: ours });
  const other = new MiniDiffuser({ compat: "released" }, { generator: new Generator(2) });
  expect(other.loadStateDict(readSafetensors(again).tensors)).toEqual({ missing: [], unexpected: [] });
  const state = policy.stateDict();
  const bytes = (x: Tensor): Buffer => Buffer.from(x.data().buffer);
  for (const [name, x] of other.stateDict()) expect(bytes(x).equals(bytes(state.get(name)!)), name).toBe(true);
  for (const x of theirs.values()) x.dispose();
  [policy, other].forEach((each) => each.dispose());
}, 120_000);

test("the command prints a table and exits as the others do", () => {
  const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
  const minidiff = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", cli, "convert", ...args], {
      encoding: "utf8",
    });
  const out = at("command.safetensors");
  const done = minidiff(theirs, out);
  expect(done.stdout).toMatch(/theirs\.pt → .*command\.safetensors\ndtype +tensors .*\nf32 +3 +6 +24\n/);
  expect(done.status).toBe(0);
  expect(readSafetensors(out).tensors.size).toBe(3);
  for (const [args, status, message] of [
    [[theirs, at("x.safetensors"), "--like", run], 1, /^minidiff: \[.*theirs\.pt\] does not fit .*\n +missing blocks/],
    [[at("absent.pt"), at("x.safetensors")], 1, /^minidiff: .*absent\.pt: file cannot be read: ENOENT/],
    [
      [theirs, at("x.safetensors"), "--map", "none"],
      2,
      /^minidiff: \[--map\] is "none", expected one of identity, mini-diffuser-released/,
    ],
    [[theirs], 2, /missing required argument/],
  ] as const) {
    const failed = minidiff(...args);
    expect(failed.stderr).toMatch(message);
    expect(failed.stderr).not.toMatch(/^ +at /m);
    expect(failed.status).toBe(status);
  }
}, 120_000);
