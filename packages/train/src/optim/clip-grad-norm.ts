import type { Parameter } from "@md/nn";
import { globalNorm, mul, noGrad } from "@md/tensor";

/**
 * Scales the gradients so that their Euclidean norm, taken over all together, is at most `maxNorm` (Pascanu et al.,
 * 2013): by maxNorm / (norm + 1e-6) where that is below 1. A norm that is not finite scales nothing.
 *
 * Scaled gradients are new tensors, since parameters may share the storage of one gradient.
 *
 * @param maxNorm over 0; Infinity only measures
 * @returns the norm before
 */
export function clipGradNorm(parameters: Iterable<Parameter>, maxNorm: number): number {
  const withGrad = [...parameters].filter(({ grad }) => grad !== null);
  const norm = globalNorm(withGrad.map(({ grad }) => grad!));
  const factor = maxNorm / (norm + 1e-6);
  if (!(Number.isFinite(norm) && factor < 1)) return norm;
  noGrad(() => {
    for (const parameter of withGrad) {
      const { grad } = parameter;
      parameter.grad = mul(grad!, factor).keep();
      grad!.dispose();
    }
  });
  return norm;
}
