import { bfloat16ToFloat32, float16ToFloat32 } from "../half.js";
import type { TorchStorageType, TorchTensor } from "../values.js";
import { TorchCheckpointError } from "./error.js";
import { itemBytes } from "./storage-types.js";

/** A tensor on the host, row-major. bool is one byte an element, 0 or 1. */
export interface TorchArray {
  dtype: "f32" | "f64" | "i32" | "i64" | "u8" | "bool";
  shape: readonly number[];
  data: Float32Array | Float64Array | Int32Array | BigInt64Array<ArrayBuffer> | Uint8Array;
}

type Bits = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>;

const MAX_RANK = 8;

/**
 * Bytes of a tensor once it is copied out.
 *
 * @throws TorchCheckpointError when its shape is none, or it reaches outside of its storage
 */
export function viewBytes(file: string, name: string, { storage, offset, shape, strides }: TorchTensor): number {
  const fail = (field: string, problem: string): never => {
    throw new TorchCheckpointError(file, `tensor ${JSON.stringify(name)}: ${field}`, problem);
  };
  if (shape.length > MAX_RANK || shape.some((size) => size < 0))
    fail("shape", `is [${shape.slice(0, 20)}], expected at most ${MAX_RANK} non-negative sizes`);
  if (strides.length !== shape.length || strides.some((stride) => stride < 0))
    fail("strides", `are [${strides.slice(0, 20)}], expected ${shape.length} non-negative ones`);
  if (shape.includes(0)) return 0;
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], offset);
  if (!(offset >= 0 && last < storage.length)) {
    const problem = `reach elements ${offset} to ${last} of a storage of ${storage.length}`;
    fail("offset and strides", problem);
  }
  return shape.reduce((product, size) => product * size, Math.max(4, itemBytes[storage.type]));
}

/** Copies a tensor, which {@link viewBytes} has checked, out of its storage's bytes (a buffer of their own). */
export function copyView(
  file: string,
  name: string,
  { storage, offset, shape, strides }: TorchTensor,
  { buffer }: Uint8Array<ArrayBuffer>,
): TorchArray {
  const count = shape.reduce((product, size) => product * size, 1);
  const elements = bitsOf(storage.type, buffer);
  const bits = isContiguous(shape, strides)
    ? elements.slice(offset, offset + count)
    : gather(elements, bitsOf(storage.type, new ArrayBuffer(count * itemBytes[storage.type])), offset, shape, strides);
  if (storage.type === "bool" && bits.some((byte) => byte > 1)) {
    const field = `tensor ${JSON.stringify(name)}`;
    throw new TorchCheckpointError(file, field, "has a byte above 1, expected 0 or 1 for bool");
  }
  return { ...decode(storage.type, bits.buffer), shape };
}

// Elements by their size: copying as integers keeps every bit.
function bitsOf(type: TorchStorageType, buffer: ArrayBuffer): Bits {
  switch (itemBytes[type]) {
    case 1:
      return new Uint8Array(buffer);
    case 2:
      return new Uint16Array(buffer);
    case 4:
      return new Uint32Array(buffer);
    default:
      return new BigUint64Array(buffer);
  }
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return shape.includes(0);
    expected *= shape[axis];
  }
  return true;
}

function gather<T extends Bits>(
  source: T,
  target: T,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): T {
  const index = shape.map(() => 0);
  let from = offset;
  for (let to = 0; to < target.length; to++) {
    target[to] = source[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return target;
}

function decode(type: TorchStorageType, buffer: ArrayBuffer): Pick<TorchArray, "dtype" | "data"> {
  switch (type) {
    case "f16":
      return { dtype: "f32", data: float16ToFloat32(new Uint16Array(buffer)) };
    case "bf16":
      return { dtype: "f32", data: bfloat16ToFloat32(new Uint16Array(buffer)) };
    case "f32":
      return { dtype: type, data: new Float32Array(buffer) };
    case "f64":
      return { dtype: type, data: new Float64Array(buffer) };
    case "i32":
      return { dtype: type, data: new Int32Array(buffer) };
    case "i64":
      return { dtype: type, data: new BigInt64Array(buffer) };
    case "u8":
    case "bool":
      return { dtype: type, data: new Uint8Array(buffer) };
  }
}
