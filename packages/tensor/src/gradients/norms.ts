import type { Rule } from "../autograd.js";
import { batchNormGrad, groupNormGrad, layerNormGrad, type NormAttrs } from "../ops/norms.js";
import type { Tensor } from "../tensor.js";

// Gradients of x, weight and bias where the last two were asked for; none for those absent.
const affine = ([x, weight, bias]: Tensor[]): (Tensor | null)[] => [x!, weight ?? null, bias ?? null];

export const normRules: { [P in keyof NormAttrs]: Rule<NormAttrs[P]> | "nondiff" } = {
  layerNorm: {
    saves: { inputs: [0, 1, 2, 3], outputs: [1, 2] },
    adds: [0],
    grad: ({ inputs, outputs: [, mean, rstd], attrs, needs, earlier }, [g]) =>
      layerNormGrad(inputs, mean!, rstd!, g!, earlier[0]!, attrs.axes, needs[1]! || needs[2]!),
  },
  layerNormGrad: "nondiff",
  groupNorm: {
    saves: { inputs: [0, 1], outputs: [1, 2] },
    grad: ({ inputs: [x, weight], outputs: [, mean, rstd], attrs, needs }, [g]) =>
      affine(groupNormGrad(x!, weight!, mean!, rstd!, g!, attrs.groups, needs[1]! || needs[2]!)),
  },
  groupNormGrad: "nondiff",
  batchNorm: {
    saves: { inputs: [0, 1], outputs: [1, 2] },
    grad: ({ inputs: [x, weight], outputs: [, mean, variance], attrs }, [g]) => [
      ...batchNormGrad(x!, weight!, mean!, variance!, g!, attrs),
      null,
      null,
    ],
  },
  batchNormGrad: "nondiff",
};
