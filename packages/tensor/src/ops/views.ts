import { native, ShapeError } from "@md/native";
import { alias } from "../autograd.js";
import { type Device, deviceCode, type DeviceName, deviceOfCode } from "../device.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { extents, product, resolveAxis } from "./shape.js";

/** Outputs that one call of the addon gives at most. */
const MAX_PARTS = 8;

export interface ViewAttrs {
  reshape: object;
  permute: { axes: readonly number[] };
  expand: object;
  slice: { start: readonly number[]; step: readonly number[] };
  sliceGrad: object;
  split: { axis: number };
  contiguous: object;
  toDevice: { from: Device };
}

/** The same elements in another shape; one extent may be -1. A view where the strides allow it, else a copy. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  let resolved = shape;
  const free = shape.indexOf(-1);
  if (free >= 0) {
    const others = product(shape.filter((_, axis) => axis !== free));
    if (others === 0 || x.size % others !== 0) {
      throw new ShapeError(`[reshape] shape [${x.shape}] has ${x.size} elements, which do not divide into [${shape}]`);
    }
    resolved = shape.map((extent, axis) => (axis === free ? x.size / others : extent));
  }
  return execute("reshape", [x], {}, () => native.reshape(x.slot, extents("reshape", resolved)));
}

/** Axes in another order: axis i of the result is axis `axes[i]` of x. A view. */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const resolved = axes.map((axis) => resolveAxis("permute", axis, x.rank));
  return execute("permute", [x], { axes: resolved }, () => native.permute(x.slot, Int32Array.from(resolved)));
}

/** Two axes exchanged. A view. */
export function transpose(x: Tensor, a = -2, b = -1): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  const first = resolveAxis("transpose", a, x.rank);
  const second = resolveAxis("transpose", b, x.rank);
  axes[first] = second;
  axes[second] = first;
  return permute(x, axes);
}

/** Extents of 1 and new leading axes repeated to `shape`; -1 keeps an extent. A view with stride 0. */
export function expand(x: Tensor, shape: readonly number[]): Tensor {
  const lead = shape.length - x.rank;
  const resolved = shape.map((extent, axis) => (extent === -1 && axis >= lead ? x.shape[axis - lead]! : extent));
  return execute("expand", [x], {}, () => native.expand(x.slot, extents("expand", resolved)));
}

/** [start, stop, step] of an axis as in Python: negative from the end, null open; step >= 1. */
export type SliceRange = readonly [start?: number | null, stop?: number | null, step?: number | null] | null;

/** A part of each axis, as x[start:stop:step, …] in Python; null or a missing range takes the whole axis. A view. */
export function slice(x: Tensor, ranges: readonly SliceRange[]): Tensor {
  if (ranges.length > x.rank)
    throw new ShapeError(`[slice] found ${ranges.length} ranges, expected at most ${x.rank} for shape [${x.shape}]`);
  const start: number[] = [];
  const extent: number[] = [];
  const steps: number[] = [];
  x.shape.forEach((size, axis) => {
    const [from, to, step = 1] = ranges[axis] ?? [];
    const by = step ?? 1;
    if (!Number.isInteger(by) || by < 1)
      throw new ShapeError(`[slice] axis ${axis}: step is ${by}, expected an integer of at least 1`);
    const bound = (value: number | null | undefined, open: number): number => {
      if (value === null || value === undefined) return open;
      if (!Number.isInteger(value)) throw new ShapeError(`[slice] axis ${axis}: found ${value}, expected an integer`);
      return Math.min(Math.max(value < 0 ? value + size : value, 0), size);
    };
    const first = bound(from, 0);
    start.push(first);
    extent.push(Math.max(0, Math.ceil((bound(to, size) - first) / by)));
    steps.push(by);
  });
  return execute("slice", [x], { start, step: steps }, () =>
    native.slice(x.slot, Int32Array.from(start), Int32Array.from(extent), Int32Array.from(steps)),
  );
}

/** `length` elements of axis `dim` from `start`; ShapeError if they leave the axis. A view. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  const axis = resolveAxis("narrow", dim, x.rank);
  if (start < 0 || length < 0 || start + length > x.shape[axis]!) {
    throw new ShapeError(`[narrow] ${start} to ${start + length} leaves axis ${axis} of shape [${x.shape}]`);
  }
  return slice(
    x,
    x.shape.map((_, i) => (i === axis ? [start, start + length] : null)),
  );
}

/** Parts of the given sizes along `dim`; they must add up to its extent. Views. */
export function split(x: Tensor, sizes: readonly number[], dim = -1): Tensor[] {
  const axis = resolveAxis("split", dim, x.rank);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total !== x.shape[axis])
    throw new ShapeError(`[split] sizes [${sizes}] add up to ${total}, expected ${x.shape[axis]} for axis ${axis}`);
  if (sizes.length <= MAX_PARTS)
    return executeAll("split", [x], { axis }, sizes.length, () => native.split(x.slot, extents("split", sizes), axis));
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return narrow(x, axis, start - size, size);
  });
}

/** A new axis of extent 1 at `dim`. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const axis = resolveAxis("unsqueeze", dim, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)]);
}

/** Without axis `dim`, whose extent is 1. */
export function squeeze(x: Tensor, dim: number): Tensor {
  const axis = resolveAxis("squeeze", dim, x.rank);
  if (x.shape[axis] !== 1)
    throw new ShapeError(`[squeeze] axis ${axis} of shape [${x.shape}] has extent ${x.shape[axis]}, expected 1`);
  return reshape(
    x,
    x.shape.filter((_, i) => i !== axis),
  );
}

/** Axes `start` to `end` (both included) merged into one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  const first = resolveAxis("flatten", start, x.rank);
  const last = resolveAxis("flatten", end, x.rank);
  return reshape(x, [...x.shape.slice(0, first), product(x.shape.slice(first, last + 1)), ...x.shape.slice(last + 1)]);
}

/** x in row-major order: the same storage if it is already, else a copy. */
export const contiguous = (x: Tensor): Tensor => execute("contiguous", [x], {}, () => native.contiguous(x.slot));

/** x on another device, as a row-major copy; x itself if it is there. Gradients come back to x's device. */
export function toDevice(x: Tensor, device: DeviceName): Tensor {
  const code = deviceCode("toDevice", device);
  if (deviceOfCode(code) === x.device) return x;
  return execute("toDevice", [x], { from: x.device }, () => native.toDevice(x.slot, code));
}

/** The same storage without a graph: gradients stop here. */
export function detach(x: Tensor): Tensor {
  void x.slot;
  return alias(x);
}
