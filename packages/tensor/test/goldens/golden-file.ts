import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type DType, type HostArray, tensor, type Tensor } from "../../src/index.js";

/** Folder of golden files: `MD_GOLDENS`, or `../shared/goldens` beside the repository. */
export const goldensFolder = resolve(
  process.env.MD_GOLDENS ?? fileURLToPath(new URL("../../../../../shared/goldens", import.meta.url)),
);

const layouts: Readonly<Record<string, [DType, new (buffer: ArrayBuffer) => HostArray]>> = {
  F32: ["f32", Float32Array],
  F64: ["f64", Float64Array],
  I32: ["i32", Int32Array],
  I64: ["i64", BigInt64Array],
  U8: ["u8", Uint8Array],
  BOOL: ["bool", Uint8Array],
};

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** A safetensors file of goldens, read whole. */
export class GoldenFile {
  /** `__metadata__`: strings, JSON in some. */
  readonly metadata: Readonly<Record<string, string>>;
  private readonly entries: Map<string, Entry>;
  private readonly payload: Buffer;

  constructor(path: string) {
    const bytes = readFileSync(path);
    const headerEnd = 8 + Number(bytes.readBigUInt64LE(0));
    const { __metadata__: metadata, ...entries } = JSON.parse(bytes.toString("utf8", 8, headerEnd)) as Record<
      string,
      Entry
    > & {
      __metadata__?: Record<string, string>;
    };
    this.metadata = metadata ?? {};
    this.entries = new Map(Object.entries(entries));
    this.payload = bytes.subarray(headerEnd);
  }

  get names(): string[] {
    return [...this.entries.keys()];
  }
  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** The named tensor; throws an Error where there is none. */
  tensor(name: string): Tensor {
    const entry = this.entries.get(name);
    const layout = entry && layouts[entry.dtype];
    if (!layout)
      throw new Error(
        `golden ${name}: found ${entry?.dtype ?? "nothing"}, expected ${Object.keys(layouts).join(", ")}`,
      );
    const [dtype, View] = layout;
    const bytes = this.payload.subarray(...entry.data_offsets);
    const copy = new ArrayBuffer(bytes.length);
    new Uint8Array(copy).set(bytes);
    return tensor(new View(copy), { shape: entry.shape, dtype });
  }
}
