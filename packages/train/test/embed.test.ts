import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ClipError, ClipTextModel, ClipTokenizer, encodeTexts, readSafetensors, writeSafetensors } from "@md/nn";
import { loadInstructionEmbeddings } from "@md/rlbench-data";
import { Generator } from "@md/tensor";
import { afterAll, describe, expect, test } from "vitest";
import { ConfigError, embedInstructions, type EmbedOptions, instructionsOf } from "../src/index.js";
import { makeFixture, toyPolicyFile } from "./support/fixture.js";

const { folder, data, remove } = makeFixture();
afterAll(remove);
const at = (name: string): string => join(folder, name);

const vocabulary = at("merges.txt");
writeFileSync(vocabulary, "#version: 0.2\nr e\nre d</w>\n");
const tokenizer = ClipTokenizer.fromFile(vocabulary);
const { vocabularySize } = tokenizer;
const model = new ClipTextModel({
  vocabularySize,
  width: 64,
  layers: 2,
  embedDim: 8,
  generator: new Generator(4),
}).eval();
const textModel = at("text.safetensors");
writeSafetensors(textModel, model.stateDict());

const texts = ["reach the red sphere", "reach", ...Array.from({ length: 9 }, (_, i) => `reach the sphere ${i}`)];
const embed = (options: Partial<EmbedOptions>): ReturnType<typeof embedInstructions> =>
  embedInstructions({ textModel, vocabulary, texts, out: at("instructions.safetensors"), ...options });

function minidiff(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
  const run = spawnSync(process.execPath, ["--conditions", "@md/source", "--import", "tsx", cli, ...args], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

describe("embedInstructions", () => {
  test("writes the file that training reads, below folders that it makes", async () => {
    const out = at("some/where/instructions.safetensors");
    const progress: number[] = [];
    const embedded = await embed({ out, onProgress: (done) => progress.push(done) });
    expect(embedded).toEqual({ instructions: 11, tokens: [77, 77], width: 64 });
    expect(progress).toEqual([0, 8, 11]);
    const encoder = loadInstructionEmbeddings(out);
    expect(encoder.dim).toBe(64);
    for (const text of texts) expect(encoder.encode(text)).toEqual(encodeTexts(model, tokenizer, [text])[0]);
    expect(() => encoder.encode("reach up")).toThrow(/no embedding of the instruction "reach up"/);
    expect(readSafetensors(out).metadata).toEqual({ encoder: "clip", padding: "zero" });
  });

  test("keeps a text's own tokens alone where it is told to", async () => {
    const out = at("own.safetensors");
    // Start, r e a c h, end; red is one token.
    expect(await embed({ out, texts: ["reach", "red"], padding: "none" })).toMatchObject({ tokens: [3, 6] });
    expect(loadInstructionEmbeddings(out).encode("red").tokens).toBe(3);
  });

  test("writes nothing when it fails or is told to stop", async () => {
    const out = at("never.safetensors");
    const long = "reach ".repeat(40);
    await expect(embed({ out, texts: ["red", long] })).rejects.toThrow(ClipError);
    await expect(embed({ out, texts: ["red", long] })).rejects.toThrow(/has \d+ tokens.*at most 77/);
    await expect(embed({ out: at("never.npy") })).rejects.toThrow(ConfigError);
    await expect(embed({ out: join(vocabulary, "never.safetensors") })).rejects.toThrow(ConfigError);
    await expect(embed({ out, vocabulary: textModel })).rejects.toThrow(ClipError);
    await expect(embed({ out, textModel: vocabulary })).rejects.toThrow(/merges\.txt\] is no weight file/);
    writeFileSync(at("other.txt"), "#version: 0.2\nr e\n");
    await expect(embed({ out, vocabulary: at("other.txt") })).rejects.toThrow(/has 515 tokens, expected .* 516/);
    const controller = new AbortController();
    const stopped = embed({ out, signal: controller.signal, onProgress: (done) => done > 0 && controller.abort() });
    expect(await stopped).toBeNull();
    expect(readdirSync(folder).filter((name) => name.includes("never"))).toEqual([]);
    expect(await embed({ out, texts: [long], truncate: true })).toMatchObject({ instructions: 1 });
  });
});

describe("minidiff data embed", () => {
  const files = ["--text-model", textModel, "--vocabulary", vocabulary];
  const train = ["train", "--data", data, "--model", toyPolicyFile, "data.points=32", "--steps", "2"];

  test("embeds the instructions of a folder, with which it trains", async () => {
    const out = at("folder.safetensors");
    const run = minidiff("data", "embed", ...files, "--data", data, "--out", out, "--padding", "none");
    expect([run.status, run.stderr]).toEqual([0, expect.stringMatching(/^(\d+)\/\1 instructions, 0s left$/m)]);
    expect(run.stdout).toMatch(/instructions, \d+ to \d+ × 64 each, in [\d.]+ s → .*folder\.safetensors/);
    expect([...readSafetensors(out).tensors.keys()].sort()).toEqual((await instructionsOf(data)).sort());
    const trained = minidiff(...train, "--out", at("run"), `data.instructionFile=${out}`);
    expect([trained.status, trained.stderr]).toEqual([0, expect.stringContaining("step 2/2")]);
  });

  test("a list; training on a folder with others names the one that is missing", () => {
    mkdirSync(at("lists"));
    const list = at("lists/taskvars_instructions.json");
    writeFileSync(list, JSON.stringify({ "reach_peract+0": ["reach it", "go there"], "reach_peract+1": ["reach it"] }));
    const out = at("list.safetensors");
    const run = minidiff("data", "embed", ...files, "--instructions", list, "--out", out);
    expect([run.status, run.stdout]).toEqual([0, expect.stringContaining("2 instructions, 77 × 64 each")]);
    const trained = minidiff(...train, "--out", at("failed"), `data.instructionFile=${out}`);
    expect(trained.status).toBe(1);
    expect(trained.stderr).toMatch(/list\.safetensors has no embedding of the instruction "[^"]+"/);
    expect(existsSync(at("failed/checkpoint.safetensors"))).toBe(false);
  });

  test("refuses what it cannot use", () => {
    const out = at("refused.safetensors");
    const both = minidiff("data", "embed", ...files, "--data", data, "--instructions", vocabulary, "--out", out);
    expect([both.status, both.stderr]).toEqual([2, expect.stringContaining("one of --data and --instructions")]);
    const padding = minidiff("data", "embed", ...files, "--data", data, "--out", out, "--padding", "left");
    expect([padding.status, padding.stderr]).toEqual([2, expect.stringContaining('--padding] is "left"')]);
    const broken = minidiff("data", "embed", ...files, "--instructions", textModel, "--out", out);
    expect([broken.status, broken.stderr]).toEqual([
      1,
      expect.stringMatching(/minidiff: .*text\.safetensors.* is no JSON/),
    ]);
    expect(existsSync(out)).toBe(false);
  });
});
