import type { Rule } from "../autograd.js";
import { type DropoutAttrs, dropoutFrom } from "../ops/dropout.js";

export const dropoutRules: { [P in keyof DropoutAttrs]: Rule<DropoutAttrs[P]> | "nondiff" } = {
  dropout: { grad: ({ attrs }, [g]) => [dropoutFrom(g!, attrs)] },
};
