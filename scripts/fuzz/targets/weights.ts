import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { encodeTorchCheckpoint, pickle } from "@md/pickle";
import {
  ClipError,
  ClipTokenizer,
  readSafetensorsArrays,
  readTorchCheckpointArrays,
  SafetensorsError,
  TorchCheckpointError,
  writeSafetensors,
} from "@md/nn";
import { tensor } from "@md/tensor";
import { Checkpoint, CheckpointError, ConfigError, readConfigFile, resolveConfig } from "@md/train";
import { merges, mergesText, tokenTable } from "../../../packages/nn/test/clip/vocabulary.js";
import { pyTensor, torchZip } from "../../../packages/pickle/test/support/torch-files.js";
import type { Target } from "../target.js";
import { fromFile } from "./files.js";

function safetensors(metadata: Record<string, string>): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "fuzz-seed-"));
  try {
    const file = join(folder, "seed.safetensors");
    writeSafetensors(
      file,
      new Map([
        ["model.a", tensor([1, 2, 3])],
        ["b", tensor([[1], [2]])],
      ]),
      metadata,
    );
    return readFileSync(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const metadata = {
  format: 1,
  step: 3,
  elapsedSeconds: 1,
  generator: { seed: 0, offset: 0 },
  policy: { name: "mini-diffuser-light", config: {} },
  statistics: {},
  config: resolveConfig([], {}),
  trainedOn: { root: "demos", episodes: ["a"], heldOut: null },
};

const configuration = `model: mini-diffuser-light # the small one
policy: &options {}
data: {points: 64, rotationRange: 45, cameras: [front, wrist]}
optimizer:
  learningRate: 2.0e-3
training: {steps: 10, maxMinutes: null}
`;

const encode = (file: string): unknown =>
  new ClipTokenizer(ClipTokenizer.fromFile(file).vocabulary).encode("open the aaa");
const weights = Float32Array.of(1, 2, 3, 4, 5, 6);
const dict = new Map([
  ["model", new Map([["a", pyTensor({ className: "FloatStorage", key: "0", length: 6 }, [6], [1])]])],
]);

export const weightFiles: readonly Target[] = [
  {
    name: "safetensors",
    seeds: () => [{ content: safetensors({ about: "a seed" }) }],
    parse: fromFile(readSafetensorsArrays),
    errors: [SafetensorsError],
  },
  {
    name: "torch-checkpoint",
    seeds: () => [
      { content: encodeTorchCheckpoint(new Map([["a", { dtype: "f32", shape: [6], data: weights }]]), "seed") },
      { content: pickle(dict, 2), wrap: (content) => torchZip(content, { 0: weights }) },
    ],
    parse: fromFile((file) => readTorchCheckpointArrays(file)),
    errors: [TorchCheckpointError],
  },
  {
    name: "clip-merges",
    seeds: () => [
      { content: Buffer.from(mergesText()) },
      { content: Buffer.from(mergesText()), wrap: (content) => gzipSync(content, { level: 1 }) },
      { content: gzipSync(mergesText()) },
    ],
    parse: fromFile(encode),
    errors: [ClipError],
  },
  {
    name: "clip-tokenizer",
    seeds: () => {
      const model = { type: "BPE", end_of_word_suffix: "</w>", vocab: tokenTable(), merges };
      const lines = merges.map((pair) => pair.join(" "));
      return [model, { ...model, merges: lines }].map((value) => ({
        content: Buffer.from(JSON.stringify({ model: value })),
      }));
    },
    parse: fromFile(encode),
    errors: [ClipError],
  },
  {
    name: "clip-vocabulary",
    seeds: () => [{ content: Buffer.from(JSON.stringify(tokenTable())) }],
    parse(input, file) {
      writeFileSync(join(file, "..", "merges.txt"), mergesText());
      return fromFile(encode)(input, file);
    },
    errors: [ClipError],
  },
  {
    name: "checkpoint",
    seeds: () => [
      { content: safetensors({ minidiff: JSON.stringify(metadata) }) },
      {
        content: Buffer.from(JSON.stringify(metadata)),
        wrap: (content) => safetensors({ minidiff: Buffer.from(content).toString() }),
      },
    ],
    parse: fromFile((file) => {
      using checkpoint = new Checkpoint(file);
      return checkpoint.metadata;
    }, ".safetensors"),
    errors: [CheckpointError],
  },
  {
    name: "configuration",
    seeds: () => [
      { content: Buffer.from(configuration) },
      { content: Buffer.from(JSON.stringify({ seed: 1, data: { points: 64 } })) },
    ],
    parse: fromFile((file) => resolveConfig([readConfigFile(file)], {})),
    errors: [ConfigError],
  },
];
