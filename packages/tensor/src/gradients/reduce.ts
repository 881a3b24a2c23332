import type { Rule } from "../autograd.js";
import { mul } from "../ops/elementwise.js";
import type { ReduceAttrs } from "../ops/reduce.js";
import { expand, reshape } from "../ops/views.js";
import type { Tensor } from "../tensor.js";

/** The gradient of a reduction repeated over the axes that it removed. */
export function spread(grad: Tensor, shape: readonly number[], axes: readonly number[]): Tensor {
  return expand(reshape(grad, shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))), shape);
}

export const reduceRules: { [P in keyof ReduceAttrs]: Rule<ReduceAttrs[P]> | "nondiff" } = {
  sum: { grad: ({ shapes: [shape], attrs }, [g]) => [spread(g!, shape!, attrs.axes)] },
  mean: {
    grad: ({ shapes: [shape], attrs }, [g]) => {
      const count = attrs.axes.reduce((total, axis) => total * shape![axis]!, 1);
      return [spread(mul(g!, 1 / count), shape!, attrs.axes)];
    },
  },
};
