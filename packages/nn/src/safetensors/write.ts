import type { DType, Tensor } from "@md/tensor";
import { writeAtomically } from "../write-atomically.js";
import { SafetensorsError } from "./error.js";
import { itemBytes, maxHeaderBytes, type SafetensorsDType } from "./header.js";

const writtenAs: Record<DType, SafetensorsDType> = {
  f32: "F32",
  f64: "F64",
  i32: "I32",
  i64: "I64",
  u8: "U8",
  bool: "BOOL",
  f16: "F16",
  bf16: "BF16",
};
const itemBytesOf = ({ dtype }: Tensor): number => itemBytes[writtenAs[dtype]];

/**
 * Writes tensors and metadata as a safetensors file, atomically: under a temporary name beside `path`, flushed to the
 * disk, then renamed. After a failure or a kill `path` is what it was before. SafetensorsError if it cannot be written.
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  // Wide elements first, so that every tensor lies at a multiple of its element's size.
  const ordered = [...tensors].sort(([, a], [, b]) => itemBytesOf(b) - itemBytesOf(a));
  const header = headerBytes(path, ordered, metadata);
  try {
    writeAtomically(path, content(header, ordered));
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    throw new SafetensorsError(path, "file", `cannot be written: ${cause.message}`, { cause });
  }
}

function* content(header: Uint8Array, ordered: readonly [string, Tensor][]): Generator<Uint8Array> {
  yield header;
  for (const [, tensor] of ordered) {
    const data = tensor.data();
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
}

// The header's length, then its JSON, padded with spaces to a multiple of 8.
function headerBytes(
  path: string,
  ordered: readonly [string, Tensor][],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const fields: string[] = [];
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string")
      throw new SafetensorsError(path, `__metadata__ ${JSON.stringify(key)}`, "is not a string");
  }
  if (Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let begin = 0;
  for (const [name, tensor] of ordered) {
    if (name === "__metadata__")
      throw new SafetensorsError(path, 'tensor "__metadata__"', "has the name that the format reserves");
    const end = begin + tensor.size * itemBytesOf(tensor);
    const entry = { dtype: writtenAs[tensor.dtype], shape: tensor.shape, data_offsets: [begin, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > maxHeaderBytes)
    throw new SafetensorsError(path, "header", `has ${length} bytes, expected at most ${maxHeaderBytes}`);
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}
