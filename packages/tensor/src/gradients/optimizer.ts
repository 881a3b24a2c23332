import type { OptimizerAttrs } from "../ops/optimizer.js";

export const optimizerRules: { [P in keyof OptimizerAttrs]: "nondiff" } = {
  adamwStep: "nondiff",
  emaUpdate: "nondiff",
  globalNorm: "nondiff",
};
