import { Generator, scope, tensor } from "@md/tensor";
import { construct } from "../construct.js";
import type { Module } from "../module.js";
import { compareStateDicts, describeDifference } from "../state-dict.js";
import { ClipError } from "./error.js";
import { isTextName, readWeights, toOpenaiText, type Weights } from "./published-weights.js";
import { ClipResNet } from "./resnet.js";
import { ClipTextModel } from "./text-model.js";

/**
 * A text model with published weights, of whatever size the file holds, in evaluation. The file is one of OpenAI's
 * (`ViT-B-32.pt`, `RN50.pt`: TorchScript archives, or a state dict with their names, as open_clip writes them) or of
 * HuggingFace's (`model.safetensors`, `pytorch_model.bin`), with or without the image model, which is not loaded.
 *
 * @throws ClipError naming file and tensors that are missing or of another shape; SafetensorsError, TorchCheckpointError
 */
export function loadClipTextModel(file: string): ClipTextModel {
  const weights = toOpenaiText(readWeights(file, isTextName), file);
  const [vocabularySize, width] = shapeOf(weights, "token_embedding.weight", 2, file);
  const [contextLength] = shapeOf(weights, "positional_embedding", 2, file);
  const layers = countChildren(weights, "transformer.resblocks", file);
  const embedDim = weights.has("text_projection") ? shapeOf(weights, "text_projection", 2, file)[1]! : null;
  if (width! % 64 !== 0) throw new ClipError(file, `has a text model of width ${width}, expected a multiple of 64`);
  requireElements(weights, 12 * layers * width! ** 2, file);
  const sizes = { vocabularySize, contextLength, width, layers, embedDim };
  return load(file, weights, () => new ClipTextModel({ ...sizes, generator: new Generator(0) }));
}

/**
 * An image model of the ResNet kind with published weights, of whatever size the file holds, in evaluation. The file is
 * OpenAI's (`RN50.pt`, names `visual.…`) or a state dict of the image model alone (`conv1.weight`, …).
 *
 * @throws as {@link loadClipTextModel}
 */
export function loadClipResNet(file: string): ClipResNet {
  const weights: Weights = new Map();
  for (const [name, value] of readWeights(file, isImageName)) weights.set(name.replace(/^visual\./, ""), value);
  const [planes] = shapeOf(weights, "layer1.0.conv1.weight", 4, file);
  const [places] = shapeOf(weights, "attnpool.positional_embedding", 2, file);
  const [embedDim] = shapeOf(weights, "attnpool.c_proj.weight", 2, file);
  const [first, second, third, fourth] = [1, 2, 3, 4].map((i) => countChildren(weights, `layer${i}`, file));
  // Three projections of the pooling, 32 planes wide, and 17 planes² of each block at the least.
  requireElements(weights, (3 * 32 ** 2 + 17 * (first! + second! + third! + fourth!)) * planes! ** 2, file);
  const sizes = {
    layers: [first!, second!, third!, fourth!] as const,
    width: planes,
    embedDim,
    resolution: 32 * Math.round(Math.sqrt(places! - 1)),
  };
  return load(file, weights, () => new ClipResNet({ ...sizes, generator: new Generator(0) }));
}

const isImageName = (name: string): boolean => /^(visual\.)?(conv[123]|bn[123]|layer[1-4]|attnpool)\./.test(name);

function load<M extends Module>(file: string, weights: Weights, make: () => M): M {
  const model = construct(make).eval();
  const own = model.stateDict();
  const difference = compareStateDicts(own, weights);
  // A counter of training steps, which evaluation does not read.
  const missing = difference.missing.filter((name) => !name.endsWith("num_batches_tracked"));
  const lines = describeDifference({ ...difference, missing });
  if (lines.length > 0) {
    model.dispose();
    throw new ClipError(file, `does not hold the weights of a ${model.constructor.name}:\n  ${lines.join("\n  ")}`);
  }
  scope(() => {
    const tensors = [...weights].map(
      ([name, { data, shape, dtype }]) => [name, tensor(data, { shape, dtype })] as const,
    );
    model.loadStateDict(new Map(tensors), { strict: false });
  });
  return model;
}

const MAX_EXTENT = 2 ** 20;

// The sizes of a model are what some tensors say: held against all of them, lest a small file ask for gigabytes.
function requireElements(weights: Weights, expected: number, file: string): void {
  const found = [...weights.values()].reduce((total, { data }) => total + data.length, 0);
  if (found < expected)
    throw new ClipError(file, `has ${found} weights, expected at least ${expected} by their shapes`);
}

function shapeOf(weights: Weights, name: string, rank: number, file: string): readonly number[] {
  const shape = weights.get(name)?.shape;
  if (!shape) throw new ClipError(file, `has no tensor ${name}`);
  if (shape.length !== rank || shape.some((extent) => extent < 1 || extent > MAX_EXTENT))
    throw new ClipError(file, `${name} has shape [${shape}], expected ${rank} extents from 1 to ${MAX_EXTENT}`);
  return shape;
}

function countChildren(weights: Weights, prefix: string, file: string): number {
  const indices = new Set<string>();
  for (const name of weights.keys())
    if (name.startsWith(`${prefix}.`)) indices.add(name.slice(prefix.length + 1).split(".", 1)[0]!);
  if (indices.size === 0) throw new ClipError(file, `has no tensors ${prefix}.0.…`);
  return indices.size;
}
