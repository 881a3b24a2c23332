import type { Rule } from "../autograd.js";
import { type SoftmaxAttrs, softmaxGrad } from "../ops/softmax.js";

export const softmaxRules: { [P in keyof SoftmaxAttrs]: Rule<SoftmaxAttrs[P]> | "nondiff" } = {
  softmax: {
    saves: { outputs: [0] },
    grad: ({ outputs: [y], attrs }, [g]) => [softmaxGrad(y!, g!, attrs.axis, false)],
  },
  logSoftmax: {
    saves: { outputs: [0] },
    grad: ({ outputs: [y], attrs }, [g]) => [softmaxGrad(y!, g!, attrs.axis, true)],
  },
  softmaxGrad: "nondiff",
};
