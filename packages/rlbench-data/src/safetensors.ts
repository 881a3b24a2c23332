import { type ByteSource, withFileBytes } from "./byte-source.js";
import { DataError } from "./errors.js";

/** One tensor of a safetensors file, row-major. */
export interface StoredArray {
  dtype: "F32" | "F64" | "I64" | "I32" | "U8";
  shape: number[];
  data: Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array;
}

/** Content of a safetensors file. */
export interface SafetensorsContent {
  metadata: Record<string, string>;
  tensors: Map<string, StoredArray>;
}

const ELEMENTS = {
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U8: Uint8Array,
} as const;

// Parsed JSON takes many times its text.
const MAX_HEADER = 32 * 2 ** 20;

/** A safetensors file whose header has been read and checked; tensors are read when they are asked for. */
export interface SafetensorsView {
  metadata: Record<string, string>;
  names: readonly string[];
  /** @throws DataError when there is no such tensor, or it cannot be read */
  read(name: string, bytes: ByteSource): StoredArray;
}

/**
 * Reads a safetensors file whole. Every offset is checked against the file and the shape.
 *
 * @throws DataError naming the file and the tensor at fault
 */
export function readSafetensors(file: string): SafetensorsContent {
  return withFileBytes(file, (bytes) => {
    const { metadata, names, read } = openSafetensors(bytes);
    return { metadata, tensors: new Map(names.map((name) => [name, read(name, bytes)])) };
  });
}

/**
 * Reads the header of a safetensors file. Every offset is checked against the file and the shape.
 *
 * @throws DataError naming the file and the tensor at fault
 */
export function openSafetensors(bytes: ByteSource): SafetensorsView {
  const { name: file } = bytes;
  if (bytes.size < 8) throw new DataError(file, "is too short for a safetensors file");
  const headerLength = Number(bytes.read(0, 8).readBigUInt64LE(0));
  if (headerLength > MAX_HEADER || 8 + headerLength > bytes.size)
    throw new DataError(file, `safetensors header of ${headerLength} bytes does not fit`);
  const header = parseHeader(bytes.read(8, headerLength).toString("utf8"), file);
  const start = 8 + headerLength;
  const metadata = Object.create(null) as Record<string, string>;
  const entries = new Map<string, TensorEntry>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") {
      for (const [key, value] of Object.entries((entry ?? {}) as object)) {
        if (typeof value !== "string") throw new DataError(file, `metadata "${key}" is no text`);
        metadata[key] = value;
      }
    } else {
      entries.set(name, checkEntry(bytes.size - start, name, entry, file));
    }
  }
  return {
    metadata,
    names: [...entries.keys()],
    read(name, source) {
      const entry = entries.get(name);
      if (!entry) throw new DataError(file, `has no tensor "${name}"`);
      const { dtype, shape, offset, length } = entry;
      const copy = new Uint8Array(source.read(start + offset, length));
      return { dtype, shape, data: new ELEMENTS[dtype](copy.buffer) };
    },
  };
}

/**
 * Encodes a safetensors file. Tensors of wide elements come first, so that each is aligned.
 *
 * @throws DataError when a shape disagrees with its data
 */
export function encodeSafetensors({ metadata, tensors }: SafetensorsContent, source: string): Buffer {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const width = ({ dtype }: StoredArray): number => ELEMENTS[dtype].BYTES_PER_ELEMENT;
  const ordered = [...tensors].sort(([, a], [, b]) => width(b) - width(a));
  let at = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (shape.reduce((product, size) => product * size, 1) !== data.length)
      throw new DataError(source, `tensor "${name}" has ${data.length} elements, expected [${shape.join(", ")}]`);
    header[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const headerBytes = Buffer.alloc(Math.ceil(json.length / 8) * 8, " ");
  json.copy(headerBytes);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  const parts = ordered.map(([, { data }]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.concat([length, headerBytes, ...parts]);
}

interface TensorEntry {
  dtype: StoredArray["dtype"];
  shape: number[];
  offset: number;
  length: number;
}

function parseHeader(text: string, file: string): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(text);
    if (typeof header === "object" && header !== null && !Array.isArray(header))
      return header as Record<string, unknown>;
  } catch (error) {
    throw new DataError(file, "safetensors header is no JSON", { cause: error });
  }
  throw new DataError(file, "safetensors header is no JSON object");
}

function checkEntry(bodyBytes: number, name: string, entry: unknown, file: string): TensorEntry {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(ELEMENTS, dtype))
    throw new DataError(
      file,
      `tensor "${name}" has unsupported dtype ${typeof dtype === "string" ? dtype : typeof dtype}`,
    );
  if (!isSizes(shape)) throw new DataError(file, `tensor "${name}" has no valid shape`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw new DataError(file, `tensor "${name}" has no valid data_offsets`);
  const [start, end] = offsets;
  const known = dtype as StoredArray["dtype"];
  const expected = shape.reduce((product, size) => product * size, ELEMENTS[known].BYTES_PER_ELEMENT);
  if (!(start <= end && end <= bodyBytes && end - start === expected))
    throw new DataError(file, `tensor "${name}" ${dtype} [${shape.join(", ")}] does not fit bytes ${start} to ${end}`);
  return { dtype: known, shape, offset: start, length: end - start };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
