import type { Rule } from "../autograd.js";
import { type AttentionAttrs, maskedAttentionGrad } from "../ops/attention.js";

export const attentionRules: { [P in keyof AttentionAttrs]: Rule<AttentionAttrs[P]> | "nondiff" } = {
  maskedAttention: {
    saves: { inputs: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], outputs: [0, 1] },
    grad: ({ inputs, outputs, attrs }, [g]) => maskedAttentionGrad(inputs, outputs, g!, attrs),
  },
  maskedAttentionGrad: "nondiff",
};
