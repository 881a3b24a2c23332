import type { Rule } from "../autograd.js";
import { crossEntropyGrad, type LossAttrs } from "../ops/losses.js";

export const lossRules: { [P in keyof LossAttrs]: Rule<LossAttrs[P]> | "nondiff" } = {
  crossEntropy: {
    saves: { inputs: [0, 1], outputs: [1] },
    grad: ({ inputs: [logits, target], outputs: [, normalizers], attrs }, [g]) => [
      crossEntropyGrad(logits!, target!, normalizers!, g!, attrs),
      null,
    ],
  },
  crossEntropyGrad: "nondiff",
};
