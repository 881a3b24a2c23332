import type { TorchStorageType } from "../values.js";

/** Bytes an element of each storage type. */
export const itemBytes: Record<TorchStorageType, number> = {
  f16: 2,
  bf16: 2,
  f32: 4,
  f64: 8,
  i32: 4,
  i64: 8,
  u8: 1,
  bool: 1,
};

/** Storage classes of the module `torch`. */
export const storageClasses: Record<TorchStorageType, string> = {
  f16: "HalfStorage",
  bf16: "BFloat16Storage",
  f32: "FloatStorage",
  f64: "DoubleStorage",
  i32: "IntStorage",
  i64: "LongStorage",
  u8: "ByteStorage",
  bool: "BoolStorage",
};
