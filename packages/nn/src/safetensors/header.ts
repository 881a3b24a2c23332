import type { DType } from "@md/tensor";
import { duplicateKey } from "./duplicate-key.js";
import { SafetensorsError } from "./error.js";

/** Bytes an element of each element type of the format that can be read. */
export const itemBytes = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1, BOOL: 1 } as const;
export type SafetensorsDType = keyof typeof itemBytes;

/** The dtype that each element type is read as. */
export const readAs: Record<SafetensorsDType, DType> = {
  F64: "f64",
  I64: "i64",
  F32: "f32",
  I32: "i32",
  F16: "f16",
  BF16: "bf16",
  U8: "u8",
  BOOL: "bool",
};

/** Where one tensor lies: bytes `begin` to `end` of the data, which follows the header. */
export interface SafetensorsEntry {
  dtype: SafetensorsDType;
  shape: readonly number[];
  begin: number;
  end: number;
}
export interface SafetensorsHeader {
  entries: ReadonlyMap<string, SafetensorsEntry>;
  /** Without a prototype. */
  metadata: Readonly<Record<string, string>>;
}

/** The largest header, as in the format's reference implementation. */
export const maxHeaderBytes = 100_000_000;
const maxRank = 8;

/**
 * Reads the JSON header of a safetensors file and checks all of it: known element types, sizes that match the offsets,
 * tensors that cover the data without gap or overlap, no key twice. SafetensorsError names `file` and the field.
 *
 * @param json the header's bytes, without the 8 bytes of length before it
 * @param dataBytes length of the data after the header
 */
export function parseSafetensorsHeader(json: Uint8Array, dataBytes: number, file: string): SafetensorsHeader {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError(file, "header", "is not JSON in UTF-8", { cause });
  }
  if (!isRecord(parsed)) throw new SafetensorsError(file, "header", "is not a JSON object");
  const twice = duplicateKey(text);
  if (twice !== null) throw new SafetensorsError(file, "header", `has the key ${JSON.stringify(twice)} twice`);

  const entries = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(parsed)) {
    if (name === "__metadata__") metadata = parseMetadata(value, file);
    else entries.set(name, parseEntry(name, value, dataBytes, file));
  }
  checkCover(entries, dataBytes, file);
  return { entries, metadata };
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (!isRecord(value)) throw new SafetensorsError(file, "__metadata__", "is not a JSON object");
  const metadata = Object.create(null) as Record<string, string>;
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string")
      throw new SafetensorsError(file, `__metadata__ ${JSON.stringify(key)}`, "is not a string");
    metadata[key] = text;
  }
  return metadata;
}

function parseEntry(name: string, value: unknown, dataBytes: number, file: string): SafetensorsEntry {
  const fail = (field: string, problem: string): never => {
    throw new SafetensorsError(file, `tensor ${JSON.stringify(name)}: ${field}`, problem);
  };
  if (!isRecord(value)) return fail("entry", "is not a JSON object");
  const unknown = Object.keys(value).find((key) => !["dtype", "shape", "data_offsets"].includes(key));
  if (unknown !== undefined) return fail(JSON.stringify(unknown), "is not a field of the format");

  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(itemBytes, dtype)) {
    return fail("dtype", `is ${brief(dtype)}, expected one of ${Object.keys(itemBytes).join(", ")}`);
  }
  if (!isCounts(shape) || shape.length > maxRank) {
    return fail("shape", `is ${brief(shape)}, expected at most ${maxRank} non-negative integers`);
  }
  if (!isCounts(offsets) || offsets.length !== 2)
    return fail("data_offsets", `is ${brief(offsets)}, expected two non-negative integers`);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes)
    return fail("data_offsets", `is [${begin},${end}], expected a range inside the ${dataBytes} bytes of data`);
  const bytes = shape.includes(0)
    ? 0
    : shape.reduce((total, extent) => total * extent, itemBytes[dtype as SafetensorsDType]);
  if (bytes !== end - begin)
    return fail("data_offsets", `spans ${end - begin} bytes, expected ${bytes} for ${dtype} [${shape}]`);
  return { dtype: dtype as SafetensorsDType, shape, begin, end };
}

function checkCover(entries: ReadonlyMap<string, SafetensorsEntry>, dataBytes: number, file: string): void {
  let covered = 0;
  for (const [name, { begin, end }] of [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== covered) {
      const problem =
        begin < covered ? "overlaps another tensor" : `leaves a gap of ${begin - covered} bytes before it`;
      throw new SafetensorsError(file, `tensor ${JSON.stringify(name)}: data_offsets`, problem);
    }
    covered = end;
  }
  if (covered !== dataBytes)
    throw new SafetensorsError(file, "data", `has ${dataBytes} bytes, expected ${covered} by the header`);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
const brief = (value: unknown): string => {
  if (value === undefined) return "absent";
  try {
    return JSON.stringify(value).slice(0, 100);
  } catch {
    return "nested too deep";
  }
};
