import type { NdArray } from "ndarray";
import ndarray from "ndarray";
import { native, ShapeError, ValueError } from "@md/native";
import { forgetCasts } from "../autocast.js";
import { deviceCode, type DeviceName } from "../device.js";
import { type DType, dtypeCode, dtypeOfHost, type HalfDType, hostArray, type HostArray, isHalf } from "../dtype.js";
import { takeOutput, type Tensor } from "../tensor.js";
import { extents, product } from "./shape.js";

export interface TensorOptions {
  /** Default: f32, or the dtype of the host array. */
  dtype?: DType;
  /** Default "cpu". DeviceError where there is no such device, which says why. */
  device?: DeviceName;
  requiresGrad?: boolean;
}
type Nested = number | boolean | readonly Nested[];

/**
 * A tensor from a number, nested arrays, or a typed array with a shape. Typed arrays are copied bit by bit: Float32Array
 * f32, Float64Array f64, Int32Array i32, BigInt64Array i64, Uint8Array u8 (or bool, with
 * `dtype: "bool"`), Uint16Array the bits of f16 or bf16, which `dtype` names. Numbers become f16 and bf16 by way of f32.
 * ShapeError for ragged arrays or a shape that does not fit, ValueError for a number that the dtype cannot hold.
 */
export function tensor(
  values: Nested | HostArray,
  options: TensorOptions & { shape?: readonly number[] } = {},
): Tensor {
  if (ArrayBuffer.isView(values)) {
    const dtype = dtypeOfHost(values, options.dtype);
    const asBool = dtype === "u8" && options.dtype === "bool";
    const shape = options.shape ?? [values.length];
    if (options.dtype === undefined || options.dtype === dtype || asBool) {
      return fromHost(values, shape, asBool ? "bool" : dtype, options);
    }
    return fromNumbers(Array.from<number | bigint, number>(values, Number), shape, options.dtype, options);
  }
  const shape: number[] = [];
  for (let level: Nested = values; Array.isArray(level); level = level[0] as Nested) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const flat: number[] = [];
  flatten(values, shape, 0, flat);
  return fromNumbers(flat, options.shape ?? shape, options.dtype ?? "f32", options);
}

function flatten(values: Nested, shape: readonly number[], depth: number, flat: number[]): void {
  if (!Array.isArray(values)) {
    if (depth !== shape.length)
      throw new ShapeError(`[tensor] found a number at depth ${depth}, expected arrays of shape [${shape}]`);
    flat.push(Number(values));
    return;
  }
  if (values.length !== shape[depth]) {
    throw new ShapeError(
      `[tensor] found ${values.length} elements at depth ${depth}, expected ${shape[depth] ?? "a number"}`,
    );
  }
  for (const value of values as readonly Nested[]) flatten(value, shape, depth + 1, flat);
}

function fromNumbers(
  values: readonly number[],
  shape: readonly number[],
  dtype: DType,
  options: TensorOptions,
): Tensor {
  if (isHalf(dtype)) return halfFromHost(Float32Array.from(values), shape, dtype, options);
  const host = hostArray(dtype, values.length);
  values.forEach((value, i) => {
    if (host instanceof BigInt64Array) {
      if (!Number.isSafeInteger(value)) throw new ValueError(`[tensor] found ${value}, expected an integer for i64`);
      host[i] = BigInt(value);
    } else {
      host[i] = value;
      const exact = dtype === "f32" || dtype === "f64" || host[i] === value;
      if (!exact) throw new ValueError(`[tensor] found ${value}, expected a value of ${dtype}`);
    }
  });
  return fromHost(host, shape, dtype, options);
}

function halfFromHost(host: Float32Array, shape: readonly number[], dtype: HalfDType, options: TensorOptions): Tensor {
  const wide = fromHost(host, shape, "f32", { ...options, requiresGrad: false });
  native.cast(wide.slot, dtypeCode(dtype));
  const out = takeOutput(0);
  wide.dispose();
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

function fromHost(host: HostArray, shape: readonly number[], dtype: DType, options: TensorOptions): Tensor {
  const dims = extents("tensor", shape);
  if (product(shape) !== host.length) {
    throw new ShapeError(`[tensor] found ${host.length} elements, expected ${product(shape)} for shape [${shape}]`);
  }
  if (dtype === "bool" && (host as Uint8Array).some((value) => value > 1)) {
    throw new ValueError("[tensor] found a byte above 1, expected 0 or 1 for bool");
  }
  const bytes = new Uint8Array(host.buffer, host.byteOffset, host.byteLength);
  native.fromBytes(dtypeCode(dtype), dims, bytes, deviceCode("tensor", options.device));
  const out = takeOutput(0);
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

/** A tensor of `shape` filled with `value`. Default f32. */
export function full(shape: readonly number[], value: number, options: TensorOptions = {}): Tensor {
  native.full(dtypeCode(options.dtype ?? "f32"), extents("full", shape), value, deviceCode("full", options.device));
  const out = takeOutput(0);
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}
export const zeros = (shape: readonly number[], options?: TensorOptions): Tensor => full(shape, 0, options);
export const ones = (shape: readonly number[], options?: TensorOptions): Tensor => full(shape, 1, options);
export const zerosLike = (x: Tensor): Tensor => full(x.shape, 0, { dtype: x.dtype, device: x.device });
export const onesLike = (x: Tensor): Tensor => full(x.shape, 1, { dtype: x.dtype, device: x.device });

/** start, start + step, … below `end`; default i64 for integers, as in PyTorch. */
export function arange(start: number, end: number, step = 1, options: TensorOptions = {}): Tensor {
  if (!(Number.isFinite(start) && Number.isFinite(end) && Number.isFinite(step)) || step === 0) {
    throw new ValueError(
      `[arange] start ${start}, end ${end}, step ${step}: expected finite numbers and a step other than 0`,
    );
  }
  const count = Math.max(0, Math.ceil((end - start) / step));
  const integers = Number.isInteger(start) && Number.isInteger(step);
  const values = Array.from({ length: count }, (_, i) => start + i * step);
  return tensor(values, { shape: [count], dtype: integers ? "i64" : "f32", ...options });
}

/** Evenly spaced values from `start` to `end`, both included. */
export function linspace(start: number, end: number, count: number, options: TensorOptions = {}): Tensor {
  const values = Array.from({ length: count }, (_, i) =>
    count === 1 ? start : start + ((end - start) * i) / (count - 1),
  );
  return tensor(values, { shape: [count], ...options });
}

/** The n×n identity. */
export function eye(n: number, options: TensorOptions = {}): Tensor {
  const values = new Array<number>(n * n).fill(0);
  for (let i = 0; i < n; i++) values[i * n + i] = 1;
  return tensor(values, { shape: [n, n], ...options });
}

/** f32 as the bits of f16 or bf16: the nearest, halves to even; too large becomes infinity, NaN stays NaN. */
export function float32ToHalf(values: Float32Array, dtype: HalfDType): Uint16Array {
  using converted = tensor(values, { dtype });
  return converted.data() as Uint16Array;
}

/** Bits of f16 or bf16 as f32, exact. */
export function halfToFloat32(bits: Uint16Array, dtype: HalfDType): Float32Array {
  using stored = tensor(bits, { dtype });
  native.cast(stored.slot, dtypeCode("f32"));
  using wide = takeOutput(0);
  return wide.data() as Float32Array;
}

/** A copy of an `ndarray` (any strides) as a tensor of the same dtype. */
export function fromNdarray(array: NdArray<HostArray>, options: TensorOptions = {}): Tensor {
  const dtype = dtypeOfHost(array.data, options.dtype);
  const host = hostArray(dtype, product(array.shape));
  const index = new Array<number>(array.shape.length).fill(0);
  for (let i = 0; i < host.length; i++) {
    let offset = array.offset;
    for (let axis = 0; axis < index.length; axis++) offset += index[axis]! * array.stride[axis]!;
    host[i] = array.data[offset] as never;
    for (let axis = index.length - 1; axis >= 0 && ++index[axis]! === array.shape[axis]; axis--) index[axis] = 0;
  }
  return tensor(host, { shape: array.shape, dtype, ...options });
}

/** A copy of `x` as a row-major `ndarray`; f16 and bf16 as their bits. */
export const toNdarray = (x: Tensor): NdArray<HostArray> => ndarray(x.data(), [...x.shape]);

/**
 * Overwrites `target` (contiguous) with `source` of the same shape and dtype, in place: for parameters and buffers. The
 * two may lie on different devices.
 */
export function assign(target: Tensor, source: Tensor): void {
  native.assign(target.slot, source.slot);
  forgetCasts([target]);
}
