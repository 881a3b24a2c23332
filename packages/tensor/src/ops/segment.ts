import { native } from "@md/native";
import { raised } from "../autocast.js";
import { execute, executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";

export interface SegmentAttrs {
  segmentSum: object;
  segmentMean: object;
  segmentReduceGrad: object;
  segmentMax: object;
}

export interface SegmentOptions {
  /** [P], i32, each row of x once: segment s holds x[order[offsets[s]]] up to x[order[offsets[s + 1] - 1]]. Default x's own order. */
  order?: Tensor | null;
}

function reduce(kind: "segmentSum" | "segmentMean", x: Tensor, offsets: Tensor, order: Tensor | null = null): Tensor {
  [x] = raised(x);
  return execute(kind, [x, offsets, order], {}, () =>
    native.segmentReduce(kind === "segmentMean", x.slot, offsets.slot, order?.slot ?? -1),
  );
}

/**
 * Sum of the rows of each segment, in their order; 0 for an empty one. With `hash.voxelOffsets` and
 * `{ order: hash.pointOrder }` it pools the points of each voxel. Where each row is a segment of its own, in their order, the
 * result is a view of x on a CPU.
 *
 * @param x [P, …], f32 or f64
 * @param offsets [S + 1], i32, rising from 0 to P: segment s holds the rows from offsets[s] up to offsets[s + 1] - 1
 * @returns [S, …]
 * @throws ValueError where offsets does not rise from 0 to P or order is no permutation
 */
export const segmentSum = (x: Tensor, offsets: Tensor, { order }: SegmentOptions = {}): Tensor =>
  reduce("segmentSum", x, offsets, order);

/** {@link segmentSum} divided by the number of rows of each segment; 0 for an empty one. A view of x where that is. */
export const segmentMean = (x: Tensor, offsets: Tensor, { order }: SegmentOptions = {}): Tensor =>
  reduce("segmentMean", x, offsets, order);

/**
 * Greatest element of each segment, column by column; arguments as for {@link segmentSum}. NaN wins; of equals the first
 * row does, and takes the whole gradient. ValueError naming a segment that is empty.
 *
 * @returns `values` [S, …] and `rows` (i32, the same shape), the row of x that each came from
 */
export function segmentMax(
  x: Tensor,
  offsets: Tensor,
  { order = null }: SegmentOptions = {},
): { values: Tensor; rows: Tensor } {
  const [values, rows] = executeAll("segmentMax", [x, offsets, order], {}, 2, () =>
    native.segmentMax(x.slot, offsets.slot, order?.slot ?? -1),
  );
  return { values: values!, rows: rows! };
}
