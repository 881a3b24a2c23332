import { native } from "@md/native";
import { execute } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { resolveAxis } from "./shape.js";

/** In the order of `enum class Reduction` in native/ops/reduce/op.h. */
export const reductions = ["sum", "mean"] as const;
export type ReductionKind = (typeof reductions)[number];

export interface ReduceOptions {
  /** Axis or axes to reduce; default all. */
  dim?: number | readonly number[];
  /** Leaves reduced axes with extent 1. Default false. */
  keepdim?: boolean;
}
export type ReduceAttrs = { [K in ReductionKind]: { axes: readonly number[] } };

function reduce(kind: ReductionKind, x: Tensor, { dim, keepdim = false }: ReduceOptions = {}): Tensor {
  const axes = dim === undefined ? x.shape.map((_, axis) => axis) : [dim].flat().map((axis) => resolveAxis(kind, axis, x.rank));
  const code = reductions.indexOf(kind);
  return execute(kind, [x], { axes }, () => native.reduce(code, x.slot, Int32Array.from(axes), keepdim));
}

/** Sum over `dim`. */
export const sum = (x: Tensor, options?: ReduceOptions): Tensor => reduce("sum", x, options);
/** Mean over `dim`; f32 and f64. */
export const mean = (x: Tensor, options?: ReduceOptions): Tensor => reduce("mean", x, options);
