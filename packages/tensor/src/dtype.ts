import { DTypeError } from "@md/native";

/**
 * Element types: float32, float64, int32, int64, uint8, bool, IEEE float16, bfloat16. The order is that of
 * `enum class DType` in the addon.
 */
export const dtypes = ["f32", "f64", "i32", "i64", "u8", "bool", "f16", "bf16"] as const;
export type DType = (typeof dtypes)[number];
/** The floats of 16 bits: stored and moved as such, computed in f32. */
export type HalfDType = "f16" | "bf16";

/** Host array of each dtype; bool is one byte an element, 0 or 1; f16 and bf16 are their bits. */
export interface HostArrays {
  f32: Float32Array;
  f64: Float64Array;
  i32: Int32Array;
  i64: BigInt64Array<ArrayBuffer>;
  u8: Uint8Array;
  bool: Uint8Array;
  f16: Uint16Array;
  bf16: Uint16Array;
}
export type HostArray = HostArrays[DType];

const constructors = {
  f32: Float32Array,
  f64: Float64Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  bool: Uint8Array,
  f16: Uint16Array,
  bf16: Uint16Array,
} as const;

export const dtypeCode = (dtype: DType): number => dtypes.indexOf(dtype);
export const isHalf = (dtype: DType): dtype is HalfDType => dtype === "f16" || dtype === "bf16";
export const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f64" || isHalf(dtype);
export const itemSize = (dtype: DType): number => constructors[dtype].BYTES_PER_ELEMENT;

/** A zeroed host array of `length` elements. */
export function hostArray<D extends DType>(dtype: D, length: number): HostArrays[D] {
  return new constructors[dtype](length) as HostArrays[D];
}

/** The dtype whose host array `data` is; a Uint8Array is u8, a Uint16Array f16 or bf16, as is `wanted`. */
export function dtypeOfHost(data: ArrayBufferView, wanted?: DType): DType {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Float64Array) return "f64";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof BigInt64Array) return "i64";
  if (data instanceof Uint8Array) return "u8";
  if (data instanceof Uint16Array) {
    if (wanted !== undefined && isHalf(wanted)) return wanted;
    throw new DTypeError(`[tensor] found a Uint16Array for dtype ${wanted ?? "unknown"}, expected f16 or bf16`);
  }
  throw new DTypeError(
    `[tensor] found a ${data.constructor.name}, expected Float32Array, Float64Array, Int32Array, BigInt64Array, Uint8Array or Uint16Array`,
  );
}
