import type { Rule } from "../autograd.js";
import { cumsum, type SortAttrs } from "../ops/sort.js";
import { gatherGrad } from "./indexing.js";

// The gradient of the values goes back to where they came from.
const toOrigin: Rule<{ dim: number }> = {
  saves: { outputs: [1] },
  grad: ({ outputs: [, indices], shapes: [shape], attrs: { dim } }, [g]) => [gatherGrad(g!, indices!, shape!, dim)],
};

export const sortRules: { [P in keyof SortAttrs]: Rule<SortAttrs[P]> | "nondiff" } = {
  sort: toOrigin,
  topk: toOrigin,
  cumsum: { grad: ({ attrs: { dim, reverse } }, [g]) => [cumsum(g!, dim, { reverse: !reverse })] },
};
