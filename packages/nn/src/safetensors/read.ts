import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { bfloat16ToFloat32, float16ToFloat32 } from "@md/pickle";
import { type DType, type HostArray, type Tensor, tensor } from "@md/tensor";
import { SafetensorsError } from "./error.js";
import {
  maxHeaderBytes,
  parseSafetensorsHeader,
  readAs,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from "./header.js";

/** Row-major elements on the host. */
export interface HostTensor {
  dtype: DType;
  shape: readonly number[];
  data: HostArray;
}

/**
 * An open safetensors file. Its header is read and checked at once, each tensor when it is asked for. Close it with
 * `close()` or `using`. SafetensorsError for a file that is absent, cut short or malformed.
 */
export class SafetensorsFile {
  readonly header: SafetensorsHeader;
  readonly #descriptor: number;
  readonly #dataStart: number;

  constructor(readonly path: string) {
    // Opening a pipe would otherwise wait for a writer.
    this.#descriptor = attempt(path, "file", () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    try {
      const stat = fstatSync(this.#descriptor);
      if (!stat.isFile()) throw new SafetensorsError(path, "file", "is not a regular file");
      if (stat.size < 8) throw new SafetensorsError(path, "file", `has ${stat.size} bytes, expected at least 8`);
      const prefix = new Uint8Array(8);
      this.#fill(prefix, 0, "header length");
      const headerBytes = new DataView(prefix.buffer).getBigUint64(0, true);
      const limit = Math.min(maxHeaderBytes, stat.size - 8);
      if (headerBytes > BigInt(limit)) {
        throw new SafetensorsError(path, "header length", `is ${headerBytes}, expected at most ${limit}`);
      }
      const json = new Uint8Array(Number(headerBytes));
      this.#fill(json, 8, "header");
      this.#dataStart = 8 + json.length;
      this.header = parseSafetensorsHeader(json, stat.size - this.#dataStart, path);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The elements of one tensor; F16 and BF16 as their bits. */
  read(name: string): HostTensor {
    const field = `tensor ${JSON.stringify(name)}`;
    const entry = this.header.entries.get(name);
    if (!entry) throw new SafetensorsError(this.path, field, "is not in the file");
    const bytes = attempt(this.path, field, () => new Uint8Array(entry.end - entry.begin));
    this.#fill(bytes, this.#dataStart + entry.begin, field);
    if (entry.dtype === "BOOL" && bytes.some((byte) => byte > 1)) {
      throw new SafetensorsError(this.path, field, "has a byte above 1, expected 0 or 1 for BOOL");
    }
    return { dtype: readAs[entry.dtype], shape: entry.shape, data: decode(entry.dtype, bytes.buffer) };
  }

  close(): void {
    closeSync(this.#descriptor);
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #fill(bytes: Uint8Array, position: number, field: string): void {
    const chunk = 1 << 30;
    for (let done = 0; done < bytes.length;) {
      const length = Math.min(chunk, bytes.length - done);
      const read = attempt(this.path, field, () => readSync(this.#descriptor, bytes, done, length, position + done));
      if (read === 0) throw new SafetensorsError(this.path, field, `ends after ${done} of ${bytes.length} bytes`);
      done += read;
    }
  }
}

function decode(dtype: SafetensorsEntry["dtype"], buffer: ArrayBuffer): HostArray {
  switch (dtype) {
    case "F64":
      return new Float64Array(buffer);
    case "I64":
      return new BigInt64Array(buffer);
    case "F32":
      return new Float32Array(buffer);
    case "I32":
      return new Int32Array(buffer);
    case "F16":
    case "BF16":
      return new Uint16Array(buffer);
    case "U8":
    case "BOOL":
      return new Uint8Array(buffer);
  }
}

/** The same with f16 and bf16 as f32, for code that computes on the host. */
export function widenHalves(array: HostTensor): HostTensor {
  const { dtype, shape, data } = array;
  if (!(data instanceof Uint16Array)) return array;
  return { dtype: "f32", shape, data: dtype === "f16" ? float16ToFloat32(data) : bfloat16ToFloat32(data) };
}

function attempt<T>(file: string, field: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    throw new SafetensorsError(
      file,
      field,
      `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** All tensors of a safetensors file on the host, and its metadata. For parts of a file see {@link SafetensorsFile}. */
export function readSafetensorsArrays(path: string): {
  arrays: Map<string, HostTensor>;
  metadata: Readonly<Record<string, string>>;
} {
  using file = new SafetensorsFile(path);
  const arrays = new Map<string, HostTensor>();
  for (const name of file.header.entries.keys()) arrays.set(name, file.read(name));
  return { arrays, metadata: file.header.metadata };
}

/** All tensors of a safetensors file, in the current scope, and its metadata; one tensor at a time is on the host. */
export function readSafetensors(path: string): {
  tensors: Map<string, Tensor>;
  metadata: Readonly<Record<string, string>>;
} {
  using file = new SafetensorsFile(path);
  const tensors = new Map<string, Tensor>();
  for (const name of file.header.entries.keys()) {
    const { data, shape, dtype } = file.read(name);
    tensors.set(name, tensor(data, { shape, dtype }));
  }
  return { tensors, metadata: file.header.metadata };
}
