import type { Parameter } from "@md/nn";
import { clamp, div, full, globalNorm, mul, noGrad, scope, type Tensor, ValueError } from "@md/tensor";

const gradsOf = (parameters: Iterable<Parameter>): Tensor[] =>
  [...parameters].flatMap(({ grad }) => (grad === null ? [] : [grad]));

/** The Euclidean norm of all gradients together, f64 [], where they lie. */
export const gradNorm = (parameters: Iterable<Parameter>): Tensor => globalNorm(gradsOf(parameters));

/**
 * What gradients of norm `norm` are multiplied by so that it is at most `maxNorm`: maxNorm / (norm + 1e-6) where that is
 * below 1. A norm that is not finite scales nothing.
 */
export function clipFactor(norm: number, maxNorm: number): number {
  const factor = maxNorm / (norm + 1e-6);
  return Number.isFinite(norm) && factor < 1 ? factor : 1;
}

/**
 * {@link clipFactor} of a norm f64 [], where it lies: nothing waits for it. That of a norm which is not finite is NaN, with
 * which AdamW changes nothing.
 */
export function clipFactorOf(norm: Tensor, maxNorm: number): Tensor {
  return scope(() => {
    const factor = div(full([], maxNorm, { dtype: "f64", device: norm.device }), norm.add(1e-6));
    return clamp(factor, { max: 1 }).add(norm.sub(norm));
  });
}

/**
 * Scales the gradients so that their Euclidean norm, taken over all together, is at most `maxNorm` (Pascanu et al.,
 * 2013), by {@link clipFactor}. `AdamW.step` can do it on the way instead.
 *
 * Scaled gradients are new tensors, since parameters may share the storage of one gradient.
 *
 * @param maxNorm over 0, else a ValueError; Infinity only measures
 * @returns the norm before
 */
export function clipGradNorm(parameters: Iterable<Parameter>, maxNorm: number): number {
  if (!(maxNorm > 0)) throw new ValueError(`[clipGradNorm] maxNorm is ${maxNorm}, expected a number over 0`);
  const all = [...parameters];
  const norm = scope(() => gradNorm(all).item());
  const factor = clipFactor(norm, maxNorm);
  if (factor === 1) return norm;
  noGrad(() => {
    for (const parameter of all) {
      const { grad } = parameter;
      if (!grad) continue;
      parameter.grad = mul(grad, factor).keep();
      grad.dispose();
    }
  });
  return norm;
}
