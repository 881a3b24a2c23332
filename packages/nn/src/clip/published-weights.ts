import { NameMap } from "../name-map.js";
import { type HostTensor, SafetensorsFile, widenHalves } from "../safetensors/index.js";
import { readTorchCheckpointArrays } from "../torch-checkpoint/index.js";
import { ClipError } from "./error.js";

/** Tensors of a weight file by name. */
export type Weights = Map<string, HostTensor>;

/**
 * Those tensors of a file whose names are wanted: of a `.safetensors` file, or of a state dict or TorchScript archive of
 * PyTorch's (`.pt`, `.pth`, `.bin`); f16 and bf16 as f32.
 *
 * @throws SafetensorsError, TorchCheckpointError; ClipError for another extension
 */
export function readWeights(file: string, wanted: (name: string) => boolean): Weights {
  if (/\.safetensors$/i.test(file)) {
    using opened = new SafetensorsFile(file);
    const names = [...opened.header.entries.keys()].filter(wanted);
    return new Map(names.map((name) => [name, widenHalves(opened.read(name))]));
  }
  if (/\.(pt|pth|bin)$/i.test(file)) return readTorchCheckpointArrays(file, { wanted }).arrays;
  throw new ClipError(file, "is no weight file by its name, expected .safetensors, .pt, .pth or .bin");
}

/** Whether a name is one of the text model's, in OpenAI's or HuggingFace's terms; the causal mask is no weight. */
export const isTextName = (name: string): boolean =>
  (openaiText.test(name) && !name.endsWith(".attn_mask")) ||
  name === "text_projection.weight" ||
  name.startsWith("text_model.");

const openaiText = /^(transformer\.resblocks|token_embedding|ln_final)\.|^(positional_embedding|text_projection)$/;

const block = "text_model.encoder.layers.*";
const huggingFaceText = new NameMap("clip-text-huggingface", [
  { ours: "token_embedding.weight", theirs: "text_model.embeddings.token_embedding.weight" },
  { ours: "positional_embedding", theirs: "text_model.embeddings.position_embedding.weight" },
  { ours: "ln_final.*", theirs: "text_model.final_layer_norm.*" },
  { ours: "text_projection", theirs: "text_projection.weight" },
  ...[
    ["attn.out_proj", "self_attn.out_proj"],
    ["attn.q_proj", "self_attn.q_proj"],
    ["attn.k_proj", "self_attn.k_proj"],
    ["attn.v_proj", "self_attn.v_proj"],
    ["ln_1", "layer_norm1"],
    ["ln_2", "layer_norm2"],
    ["mlp.c_fc", "mlp.fc1"],
    ["mlp.c_proj", "mlp.fc2"],
  ].map(([ours, theirs]) => ({ ours: `transformer.resblocks.*.${ours}.*`, theirs: `${block}.${theirs}.*` })),
]);

/**
 * Weights of the text model by OpenAI's names. HuggingFace has queries, keys and values apart, and the projection
 * transposed.
 */
export function toOpenaiText(weights: Weights, file: string): Weights {
  if (![...weights.keys()].some((name) => name.startsWith("text_model."))) return weights;
  // Of older files; the places 0, 1, … themselves.
  weights.delete("text_model.embeddings.position_ids");
  const { values, dropped } = huggingFaceText.rename(weights, "ours");
  if (dropped.length > 0) throw new ClipError(file, `has the unknown tensor ${dropped[0]}`);
  const renamed: Weights = new Map();
  for (const [name, value] of values) {
    const [, prefix, kind] = /^(.*)\.q_proj\.(weight|bias)$/.exec(name) ?? [];
    if (prefix !== undefined) {
      const parts = ["q", "k", "v"].map((part) => values.get(`${prefix}.${part}_proj.${kind}`));
      renamed.set(`${prefix}.in_proj_${kind}`, joinRows(parts, `${prefix}.in_proj_${kind}`, file));
    } else if (name === "text_projection") renamed.set(name, transpose(value));
    else if (!/\.[kv]_proj\./.test(name)) renamed.set(name, value);
  }
  return renamed;
}

function joinRows(parts: readonly (HostTensor | undefined)[], name: string, file: string): HostTensor {
  const arrays = parts.map((part) => {
    if (part?.data instanceof Float32Array && String(part.shape) === String(parts[0]!.shape)) return part.data;
    throw new ClipError(file, `lacks a part of ${name}, or has parts that do not fit`);
  });
  const data = new Float32Array(arrays.reduce((total, { length }) => total + length, 0));
  arrays.forEach((array, i) => data.set(array, i * arrays[0]!.length));
  const [rows = 0, ...rest] = parts[0]!.shape;
  return { dtype: "f32", shape: [3 * rows, ...rest], data };
}

function transpose(value: HostTensor): HostTensor {
  const [rows, columns] = value.shape;
  if (rows === undefined || columns === undefined || !(value.data instanceof Float32Array)) return value;
  const { data } = value;
  const flipped = Float32Array.from(
    { length: data.length },
    (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!,
  );
  return { dtype: "f32", shape: [columns, rows], data: flipped };
}
