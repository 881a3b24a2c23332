import type { Rule } from "../autograd.js";
import {
  avgPool2dGrad,
  conv2dInputGrad,
  conv2dWeightGrad,
  type ImageAttrs,
  interpolateGrad,
  maxPool2dGrad,
} from "../ops/image.js";
import { sum } from "../ops/reduce.js";

export const imageRules: { [P in keyof ImageAttrs]: Rule<ImageAttrs[P]> | "nondiff" } = {
  conv2d: {
    saves: { inputs: [0, 1] },
    grad: ({ inputs: [x, weight], shapes, attrs: { options }, needs }, [g]) => [
      needs[0] ? conv2dInputGrad(g!, weight!, shapes[0]!, options) : null,
      needs[1] ? conv2dWeightGrad(g!, x!, shapes[1]!, options) : null,
      needs[2] ? sum(g!, { dim: [0, 2, 3] }) : null,
    ],
  },
  conv2dInputGrad: "nondiff",
  conv2dWeightGrad: "nondiff",
  maxPool2d: {
    saves: { outputs: [1] },
    grad: ({ outputs: [, indices], shapes: [shape] }, [g]) => [maxPool2dGrad(g!, indices!, shape!)],
  },
  maxPool2dGrad: "nondiff",
  avgPool2d: { grad: ({ shapes: [shape], attrs }, [g]) => [avgPool2dGrad(g!, shape!, attrs.options)] },
  avgPool2dGrad: "nondiff",
  interpolate: {
    grad: ({ shapes: [shape], attrs }, [g]) => [interpolateGrad(g!, shape![2]!, shape![3]!, attrs.alignCorners)],
  },
  interpolateGrad: "nondiff",
};
