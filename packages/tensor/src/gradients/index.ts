import type { Rule } from "../autograd.js";
import type { Primitives } from "../primitives.js";
import { attentionRules } from "./attention.js";
import { elementwiseRules } from "./elementwise.js";
import { reduceRules } from "./reduce.js";
import { rotaryRules } from "./rotary.js";
import { viewRules } from "./views.js";
import { voxelRules } from "./voxel.js";

/** The gradient of every op, or "nondiff": a missing one does not compile. */
export const rules: { [P in keyof Primitives]: Rule<Primitives[P]> | "nondiff" } = {
  ...attentionRules,
  ...elementwiseRules,
  ...reduceRules,
  ...rotaryRules,
  ...viewRules,
  ...voxelRules,
};
