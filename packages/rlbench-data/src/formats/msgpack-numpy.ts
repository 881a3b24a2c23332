import { Unpackr } from "msgpackr/unpack";
import { DataError } from "../errors.js";
import { checkMsgpack } from "./msgpack-check.js";

/** A numpy array as msgpack-numpy stores it: row-major, little-endian. */
export interface StoredNumpyArray {
  /** numpy's array-protocol string, such as `<f4`. */
  descr: string;
  shape: readonly number[];
  /** Not aligned. */
  bytes: Uint8Array;
}

/** What a msgpack value can hold; maps of strings are Maps. */
export type MsgpackValue =
  null | boolean | number | bigint | string | Uint8Array | MsgpackValue[] | Map<MsgpackValue, MsgpackValue>;

const unpackr = new Unpackr({ mapsAsObjects: false, useRecords: false });

/**
 * Decodes a msgpack value. Binary data are views of `bytes`.
 *
 * @param source name for error messages
 * @throws DataError when it is truncated, has trailing bytes, is nested too deep, or has an extension type
 */
export function decodeMsgpack(bytes: Uint8Array, source: string): MsgpackValue {
  checkMsgpack(bytes, source);
  try {
    return unpackr.unpack(bytes) as MsgpackValue;
  } catch (error) {
    throw new DataError(source, `is no msgpack: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * The numpy array that msgpack-numpy wrote as a map of bytes keys `nd`, `type`, `kind`, `shape`, `data`; undefined for
 * any other value.
 *
 * @throws DataError when shape, type and number of bytes disagree
 */
export function toStoredArray(
  value: MsgpackValue | undefined,
  field: string,
  source: string,
): StoredNumpyArray | undefined {
  if (!(value instanceof Map)) return undefined;
  // The keys are bytes, and in files of old versions text.
  const entries = new Map([...value].map(([key, item]) => [key instanceof Uint8Array ? latin1(key) : key, item]));
  if (entries.get("nd") !== true) return undefined;
  const fail = (problem: string): DataError => new DataError(source, `${field} ${problem}`);
  const type = entries.get("type");
  const descr = type instanceof Uint8Array ? latin1(type) : type;
  if (typeof descr !== "string" || !/^[<|][biuf][1248]$/.test(descr))
    throw fail(`has numpy type ${String(descr).slice(0, 40)}, expected little-endian numbers`);
  const shape = entries.get("shape");
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isSize)) throw fail("has no valid shape");
  const bytes = entries.get("data");
  const expected = shape.reduce((product, size) => product * size, Number(descr[2]));
  if (!(bytes instanceof Uint8Array) || bytes.length !== expected) {
    const found = bytes instanceof Uint8Array ? `${bytes.length} bytes` : "no bytes";
    throw fail(`has ${found}, expected ${expected} for ${descr} [${shape.join(", ")}]`);
  }
  return { descr, shape, bytes };
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
