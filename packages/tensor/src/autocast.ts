import { UnsupportedError } from "@md/native";
import { type HalfDType, isFloat, isHalf } from "./dtype.js";
import { cast } from "./ops/elementwise.js";
import type { Tensor } from "./tensor.js";

let low: HalfDType | null = null;

/** What {@link autocast} is at now, to go back to it. */
export const autocastDType = (): HalfDType | "f32" => low ?? "f32";

/**
 * Runs `body` in mixed precision, as `torch.autocast` (Micikevicius et al., "Mixed precision training", 2018). Matrix
 * products, linear layers, convolutions and attention take their f32, f16 and bf16 operands as `dtype`; softmax, norms,
 * losses, sums and means, exp, log, pow, rsqrt, reciprocal and softplus take them as f32. Other ops take what comes; of two
 * dtypes the wider. f64 stays f64. Parameters stay what they are, and so do their gradients. The backward pass computes in
 * the dtypes of the forward pass and runs outside of `body`, or inside: it is the same.
 *
 * @param dtype "f32" ends mixed precision within `body`
 * @throws UnsupportedError when the body returns a promise
 */
export function autocast<T>(dtype: HalfDType | "f32", body: () => T): T {
  const outer = low;
  low = dtype === "f32" ? null : dtype;
  try {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new UnsupportedError("[autocast] the body returned a promise, expected a synchronous body");
    }
    return result;
  } finally {
    low = outer;
  }
}

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
  return operands.map((x) => (x && converts(x) ? cast(x, dtype) : x)) as Operands as T;
}
