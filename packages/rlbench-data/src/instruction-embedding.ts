import { describeValue, NdArray } from "@md/pickle";
import { DataError } from "./errors.js";
import { readObjectNpy } from "./npy.js";
import { CounterRandom } from "./random.js";
import { readSafetensors } from "./safetensors.js";

/** An instruction as tokens for the policy. */
export interface InstructionEmbedding {
  tokens: number;
  /** [tokens, dim]. */
  data: Float32Array;
}

/** Turns instructions into token embeddings of one width. */
export interface InstructionEncoder {
  /** Where the embeddings come from: a file, or `"hashed words"`. */
  source: string;
  dim: number;
  /** @throws DataError when the text cannot be embedded */
  encode(text: string): InstructionEmbedding;
}

const MAX_WORDS = 1024;

/**
 * A deterministic embedding that needs no language model: one token a word. The text is lower-cased
 * and split at everything that is neither letter nor digit; each word's vector has components of +1 or
 * -1 drawn by a generator seeded with the word's 64-bit FNV-1a hash. So components have unit variance,
 * equal words have equal vectors, and different words are nearly orthogonal (cosine about 1/√dim).
 *
 * @param dim positive number of components a token
 * @returns [tokens, dim]
 * @throws DataError when the text has no words or over 1024
 */
export function hashedWordEmbedding(text: string, dim: number): Float32Array {
  if (!Number.isInteger(dim) || dim < 1)
    throw new DataError("hashedWordEmbedding", `dim is ${dim}, expected at least 1`);
  const words = text.toLowerCase().match(/[\p{Letter}\p{Number}]+/gu);
  if (!words) throw new DataError("instruction", `"${text}" has no words`);
  if (words.length > MAX_WORDS)
    throw new DataError("instruction", `has ${words.length} words, expected at most ${MAX_WORDS}`);
  const embedding = new Float32Array(words.length * dim);
  words.forEach((word, token) => {
    const [high, low] = fnv1a(word);
    const random = new CounterRandom(0, [high, low, 0]);
    for (let i = 0; i < dim; i++) embedding[token * dim + i] = random.uint32() & 1 ? 1 : -1;
  });
  return embedding;
}

/** Encoder of {@link hashedWordEmbedding}. */
export function hashedWordEncoder(dim: number): InstructionEncoder {
  return {
    source: "hashed words",
    dim,
    encode(text) {
      const data = hashedWordEmbedding(text, dim);
      return { tokens: data.length / dim, data };
    },
  };
}

/**
 * Encoder of a file that maps each instruction to its [tokens, dim] embedding: a safetensors file with
 * one tensor an instruction, or an `.npy` file of a pickled dict (as 3D Diffuser Actor and 3D-LOTUS
 * write them). Texts are looked up exactly.
 *
 * @throws DataError or PickleError when the file is unreadable or its embeddings disagree in width
 */
export function loadInstructionEmbeddings(file: string): InstructionEncoder {
  const embeddings = file.endsWith(".npy") ? fromNpy(file) : fromSafetensors(file);
  const dims = new Set([...embeddings.values()].map(({ tokens, data }) => data.length / tokens));
  if (dims.size !== 1) throw new DataError(file, `embeddings have ${dims.size} different widths, expected one`);
  const [dim] = dims;
  return {
    source: file,
    dim,
    encode(text) {
      const embedding = embeddings.get(text);
      if (!embedding) throw new DataError(file, `has no embedding of the instruction "${text}"`);
      return embedding;
    },
  };
}

function fromNpy(file: string): Map<string, InstructionEmbedding> {
  const dict = readObjectNpy(file);
  if (!(dict instanceof Map)) throw new DataError(file, `holds ${describeValue(dict)}, expected a dict of embeddings`);
  const embeddings = new Map<string, InstructionEmbedding>();
  for (const [text, value] of dict) {
    if (typeof text !== "string") throw new DataError(file, `has a key that is ${describeValue(text)}, expected text`);
    if (!(value instanceof NdArray) || !(value.data instanceof Float32Array || value.data instanceof Float64Array))
      throw new DataError(file, `"${text}" is ${describeValue(value)}, expected a float array`);
    embeddings.set(text, checkEmbedding(file, text, value.shape, value.data));
  }
  return embeddings;
}

function fromSafetensors(file: string): Map<string, InstructionEmbedding> {
  const embeddings = new Map<string, InstructionEmbedding>();
  for (const [text, { shape, data }] of readSafetensors(file).tensors) {
    if (!(data instanceof Float32Array || data instanceof Float64Array))
      throw new DataError(file, `tensor "${text}" is not of floats`);
    embeddings.set(text, checkEmbedding(file, text, shape, data));
  }
  return embeddings;
}

function checkEmbedding(
  file: string,
  text: string,
  shape: readonly number[],
  data: Float32Array | Float64Array,
): InstructionEmbedding {
  const [tokens, dim] = shape;
  if (shape.length !== 2 || tokens < 1 || dim < 1)
    throw new DataError(file, `"${text}" has shape [${shape.join(", ")}], expected [tokens, dim]`);
  const rounded = Float32Array.from(data);
  if (!rounded.every(Number.isFinite))
    throw new DataError(file, `"${text}" has elements that are not finite in float32`);
  return { tokens, data: rounded };
}

/** 64-bit FNV-1a of the word's UTF-8 bytes, as two unsigned 32-bit words. */
function fnv1a(word: string): [number, number] {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(word, "utf8")) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return [Number(hash >> 32n), Number(hash & 0xffffffffn)];
}
