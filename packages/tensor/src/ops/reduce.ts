import { native, ShapeError } from "@md/native";
import { raised } from "../autocast.js";
import { execute } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import { mul, square, sub } from "./elementwise.js";
import { resolveAxis } from "./shape.js";
import { reshape } from "./views.js";

/** In the order of `enum class Reduction` in native/ops/reduce/op.h. */
export const reductions = ["sum", "mean", "amax", "amin", "any", "all"] as const;
export type ReductionKind = (typeof reductions)[number];

/** In the order of `enum class Extreme` in native/ops/reduce/op.h. */
export const extremes = ["argmax", "argmin"] as const;
export type ExtremeKind = (typeof extremes)[number];

export interface ReduceOptions {
  /** Axis or axes to reduce; default all. */
  dim?: number | readonly number[];
  /** Leaves reduced axes with extent 1. Default false. */
  keepdim?: boolean;
}
export type ReduceAttrs = { [K in ReductionKind]: { axes: readonly number[] } } & { [K in ExtremeKind]: object };

function resolveAxes(op: string, x: Tensor, dim: ReduceOptions["dim"]): number[] {
  return dim === undefined ? x.shape.map((_, axis) => axis) : [dim].flat().map((axis) => resolveAxis(op, axis, x.rank));
}

function reduce(kind: ReductionKind, x: Tensor, { dim, keepdim = false }: ReduceOptions = {}): Tensor {
  const axes = resolveAxes(kind, x, dim);
  if (kind === "sum" || kind === "mean") [x] = raised(x);
  const code = reductions.indexOf(kind);
  return execute(kind, [x], { axes }, () => native.reduce(code, x.slot, Int32Array.from(axes), keepdim));
}

/** Sum over `dim`; floats keep their dtype, integers and bool give i64. f32 is accumulated in f64 blocks. */
export const sum = (x: Tensor, options?: ReduceOptions): Tensor => reduce("sum", x, options);
/** Mean over `dim`; f32 and f64. */
export const mean = (x: Tensor, options?: ReduceOptions): Tensor => reduce("mean", x, options);
/** Greatest element over `dim`, NaN if there is one; equals share the gradient. ValueError if there is no element. */
export const amax = (x: Tensor, options?: ReduceOptions): Tensor => reduce("amax", x, options);
/** Least element over `dim`, NaN if there is one; equals share the gradient. ValueError if there is no element. */
export const amin = (x: Tensor, options?: ReduceOptions): Tensor => reduce("amin", x, options);
/** True where some element of x (bool) is true. */
export const any = (x: Tensor, options?: ReduceOptions): Tensor => reduce("any", x, options);
/** True where every element of x (bool) is true. */
export const all = (x: Tensor, options?: ReduceOptions): Tensor => reduce("all", x, options);

/** Mean squared distance from the mean over `dim`, with n - `correction` (default 1) in place of the count n. */
export function variance(
  x: Tensor,
  { dim, keepdim = false, correction = 1 }: ReduceOptions & { correction?: number } = {},
): Tensor {
  const axes = resolveAxes("variance", x, dim);
  const count = axes.reduce((total, axis) => total * x.shape[axis]!, 1);
  if (!(count > correction)) {
    throw new ShapeError(
      `[variance] found ${count} elements to reduce, expected more than the correction ${correction}`,
    );
  }
  const centered = sub(x, mean(x, { dim: axes, keepdim: true }));
  return mul(sum(square(centered), { dim: axes, keepdim }), 1 / (count - correction));
}

export interface ExtremeOptions {
  /** Default: over all elements, the index counting in row-major order. */
  dim?: number;
  keepdim?: boolean;
}

function extreme(kind: ExtremeKind, x: Tensor, { dim, keepdim = false }: ExtremeOptions = {}): Tensor {
  const code = extremes.indexOf(kind);
  const from = dim === undefined ? reshape(x, [-1]) : x;
  const axis = dim === undefined ? 0 : resolveAxis(kind, dim, x.rank);
  return execute(kind, [from], {}, () => native.argExtreme(code, from.slot, axis, keepdim));
}

/** i64 index of the first greatest element along `dim`; the first NaN counts as greatest. */
export const argmax = (x: Tensor, options?: ExtremeOptions): Tensor => extreme("argmax", x, options);
/** i64 index of the first least element along `dim`; the first NaN counts as least. */
export const argmin = (x: Tensor, options?: ExtremeOptions): Tensor => extreme("argmin", x, options);
