import type { Rule } from "../autograd.js";
import type { Primitives } from "../primitives.js";
import { attentionRules } from "./attention.js";
import { dropoutRules } from "./dropout.js";
import { elementwiseRules } from "./elementwise.js";
import { imageRules } from "./image.js";
import { indexingRules } from "./indexing.js";
import { lossRules } from "./losses.js";
import { matmulRules } from "./matmul.js";
import { normRules } from "./norms.js";
import { optimizerRules } from "./optimizer.js";
import { reduceRules } from "./reduce.js";
import { rotaryRules } from "./rotary.js";
import { segmentRules } from "./segment.js";
import { serializeRules } from "./serialize.js";
import { softmaxRules } from "./softmax.js";
import { sortRules } from "./sort.js";
import { sparseConvRules } from "./sparse-conv.js";
import { viewRules } from "./views.js";
import { voxelRules } from "./voxel.js";

/** The gradient of every op, or "nondiff": a missing one does not compile. */
export const rules: { [P in keyof Primitives]: Rule<Primitives[P]> | "nondiff" } = {
  ...attentionRules,
  ...dropoutRules,
  ...elementwiseRules,
  ...imageRules,
  ...indexingRules,
  ...lossRules,
  ...matmulRules,
  ...normRules,
  ...optimizerRules,
  ...reduceRules,
  ...rotaryRules,
  ...segmentRules,
  ...serializeRules,
  ...softmaxRules,
  ...sortRules,
  ...sparseConvRules,
  ...viewRules,
  ...voxelRules,
};
