import type { Rule } from "../autograd.js";
import type { Primitives } from "../primitives.js";
import { elementwiseRules } from "./elementwise.js";
import { reduceRules } from "./reduce.js";
import { viewRules } from "./views.js";

/** The gradient of every op, or "nondiff": a missing one does not compile. */
export const rules: { [P in keyof Primitives]: Rule<Primitives[P]> | "nondiff" } = {
  ...elementwiseRules,
  ...reduceRules,
  ...viewRules,
};
