import { native, ValueError } from "@md/native";
import { raised } from "../autocast.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { resolveAxis } from "./shape.js";

interface AlongAxis {
  dim: number;
}
export interface SortAttrs {
  sort: AlongAxis;
  topk: AlongAxis;
  cumsum: AlongAxis & { reverse: boolean };
}

export interface SortOptions {
  /** Default the last axis. */
  dim?: number;
  /** Largest first. Default false. */
  descending?: boolean;
}

/** Values in order, and where along the axis each was (i64). */
export interface Sorted {
  values: Tensor;
  indices: Tensor;
}

/** Sorts along `dim`; equal elements keep their order in both directions, NaN counts as the largest. Any dtype. */
export function sort(x: Tensor, { dim = -1, descending = false }: SortOptions = {}): Sorted {
  const axis = resolveAxis("sort", dim, x.rank);
  const [values, indices] = executeAll("sort", [x], { dim: axis }, 2, () => native.sort(x.slot, axis, descending));
  return { values: values!, indices: indices! };
}

/** The indices (i64) that {@link sort} gives. */
export function argsort(x: Tensor, options?: SortOptions): Tensor {
  const { values, indices } = sort(x, options);
  values.dispose();
  return indices;
}

/**
 * The k largest elements along `dim`, largest first (or the smallest, smallest first); of equal ones the first.
 * ValueError unless 0 <= k <= extent.
 */
export function topk(
  x: Tensor,
  k: number,
  { dim = -1, largest = true }: { dim?: number; largest?: boolean } = {},
): Sorted {
  const axis = resolveAxis("topk", dim, x.rank);
  if (!Number.isInteger(k)) throw new ValueError(`[topk] k is ${k}, expected an integer`);
  const [values, indices] = executeAll("topk", [x], { dim: axis }, 2, () => native.topk(x.slot, k, axis, largest));
  return { values: values!, indices: indices! };
}

/** out[i] = x[0] + … + x[i] along `dim`, or x[i] + … + x[n-1] if `reverse`. f32 is summed in f64; integers give i64. */
export function cumsum(x: Tensor, dim: number, { reverse = false }: { reverse?: boolean } = {}): Tensor {
  const axis = resolveAxis("cumsum", dim, x.rank);
  [x] = raised(x);
  return execute("cumsum", [x], { dim: axis, reverse }, () => native.cumsum(x.slot, axis, reverse));
}
