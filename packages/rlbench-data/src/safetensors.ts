import { DataError } from "./errors.js";
import { readBoundedFile } from "./read-file.js";

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

const MAX_HEADER = 100 * 2 ** 20;
const MAX_BYTES = 2 ** 31;

/**
 * Reads a safetensors file whole. Every offset is checked against the file and the shape.
 *
 * @throws DataError naming the file and the tensor at fault
 */
export function readSafetensors(file: string): SafetensorsContent {
  const bytes = readBoundedFile(file, MAX_BYTES);
  if (bytes.length < 8) throw new DataError(file, "is too short for a safetensors file");
  const headerLength = Number(bytes.readBigUInt64LE(0));
  if (headerLength > MAX_HEADER || 8 + headerLength > bytes.length)
    throw new DataError(file, `safetensors header of ${headerLength} bytes does not fit`);
  const header = parseHeader(bytes.toString("utf8", 8, 8 + headerLength), file);
  const body = bytes.subarray(8 + headerLength);
  const tensors = new Map<string, StoredArray>();
  const metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") {
      for (const [key, value] of Object.entries(entry as object)) metadata[key] = String(value);
    } else {
      tensors.set(name, readTensor(body, name, entry, file));
    }
  }
  return { metadata, tensors };
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

function readTensor(body: Buffer, name: string, entry: unknown, file: string): StoredArray {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(ELEMENTS, dtype))
    throw new DataError(file, `tensor "${name}" has unsupported dtype ${String(dtype)}`);
  if (!isSizes(shape)) throw new DataError(file, `tensor "${name}" has no valid shape`);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw new DataError(file, `tensor "${name}" has no valid data_offsets`);
  const [start, end] = offsets;
  const Elements = ELEMENTS[dtype as keyof typeof ELEMENTS];
  const expected = shape.reduce((product, size) => product * size, Elements.BYTES_PER_ELEMENT);
  if (!(start <= end && end <= body.length && end - start === expected))
    throw new DataError(file, `tensor "${name}" ${dtype} [${shape.join(", ")}] does not fit bytes ${start} to ${end}`);
  const copy = new Uint8Array(body.subarray(start, end));
  return { dtype: dtype as StoredArray["dtype"], shape, data: new Elements(copy.buffer) };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
