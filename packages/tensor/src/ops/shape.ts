import { ShapeError } from "@md/native";

/** 0 … rank-1 for an axis of -rank … rank-1; ShapeError beyond. */
export function resolveAxis(op: string, axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || resolved < 0 || resolved >= rank) {
    throw new ShapeError(`[${op}] axis ${axis} is out of range for rank ${rank}`);
  }
  return resolved;
}

/** Largest integer that shapes and descriptions take into the addon. */
export const MAX_INT32 = 2 ** 31 - 1;

/** Extents as the addon takes them; ShapeError unless they are integers from 0 to {@link MAX_INT32}. */
export function extents(op: string, shape: readonly number[]): Int32Array {
  for (const extent of shape) {
    if (!Number.isInteger(extent) || extent < 0 || extent > MAX_INT32) {
      throw new ShapeError(`[${op}] shape [${shape}] has extent ${extent}, expected an integer from 0 to ${MAX_INT32}`);
    }
  }
  return Int32Array.from(shape);
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((extent, i) => extent === b[i]);

export const product = (values: readonly number[]): number => values.reduce((total, value) => total * value, 1);
