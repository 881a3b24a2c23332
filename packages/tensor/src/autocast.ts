import { UnsupportedError } from "@md/native";
import { gradEnabled } from "./autograd.js";
import { CastCache } from "./cast-cache.js";
import { type HalfDType, isFloat, isHalf } from "./dtype.js";
import { cast } from "./ops/elementwise.js";
import type { Tensor } from "./tensor.js";

let low: HalfDType | null = null;
let cache: CastCache | null = null;

/** What {@link autocast} is at now, to go back to it. */
export const autocastDType = (): HalfDType | "f32" => low ?? "f32";

/**
 * Runs `body` in mixed precision, as `torch.autocast` (Micikevicius et al., "Mixed precision training", 2018). Matrix
 * products, linear layers, convolutions and attention take their f32, f16 and bf16 operands as `dtype`; softmax, norms,
 * losses, sums and means, exp, log, pow, rsqrt, reciprocal and softplus take them as f32. Other ops take what comes; of two
 * dtypes the wider. f64 stays f64. Parameters stay what they are, and so do their gradients. The backward pass computes in
 * the dtypes of the forward pass and runs outside of `body`, or inside: it is the same.
 *
 * A parameter, an f32 leaf that requires a gradient, is cast once, and its copy serves all uses until the outermost
 * `autocast` ends: the same bits for less work. One that an optimiser or `assign` changes meanwhile is cast anew; what is
 * changed through a view of it goes unnoticed.
 *
 * @param dtype "f32" ends mixed precision within `body`
 * @param options.cacheEnabled false casts parameters at every use. Default true
 * @throws UnsupportedError when the body returns a promise
 */
export function autocast<T>(dtype: HalfDType | "f32", body: () => T, { cacheEnabled = true } = {}): T {
  const outer = low;
  low = dtype === "f32" ? null : dtype;
  try {
    const result = cacheEnabled && cache ? body() : withCache(cacheEnabled ? new CastCache() : null, body);
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new UnsupportedError("[autocast] the body returned a promise, expected a synchronous body");
    }
    return result;
  } finally {
    low = outer;
  }
}

function withCache<T>(own: CastCache | null, body: () => T): T {
  const outer = cache;
  cache = own;
  try {
    return body();
  } finally {
    cache = outer;
    own?.release();
  }
}

/** Tensors that were changed in place, or whose copies are not worth their memory any longer. */
export function forgetCasts(tensors: readonly (Tensor | null)[]): void {
  if (cache) for (const x of tensors) if (x) cache.forget(x);
}

/**
 * Runs the body of a captured graph, whose memory is the graph's own: its casts serve no one else. Where it records no
 * gradients it reads those made before, as the constants that they then are; else it casts the parameters of each replay.
 */
export const withCapturedCasts = <T>(body: () => T): T =>
  cache ? withCache(new CastCache(gradEnabled() ? null : cache), body) : body();

type Operands = readonly (Tensor | null)[];

/** Operands of an op that autocast computes in the low dtype. */
export function lowered<T extends Operands>(...operands: T): T {
  return low ? castAll(operands, low) : operands;
}

/** Operands of an op that autocast computes in f32. */
export function raised<T extends Operands>(...operands: T): T {
  return low ? castAll(operands, "f32") : operands;
}

/** f16 and bf16 as f32, in autocast or not. */
export const widened = <T extends Tensor | null>(x: T): T => (x && isHalf(x.dtype) ? (cast(x, "f32") as T) : x);

function castAll<T extends Operands>(operands: T, dtype: HalfDType | "f32"): T {
  const converts = (x: Tensor): boolean => isFloat(x.dtype) && x.dtype !== "f64" && x.dtype !== dtype;
  const convert = (x: Tensor): Tensor =>
    cache && dtype !== "f32" && isParameter(x) ? cache.cast(x, dtype) : cast(x, dtype);
  return operands.map((x) => (x && converts(x) ? convert(x) : x)) as Operands as T;
}

const isParameter = (x: Tensor): boolean => x.dtype === "f32" && x.isLeaf && x.requiresGrad;
