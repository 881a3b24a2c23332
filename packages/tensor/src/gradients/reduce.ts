import type { Rule } from "../autograd.js";
import { zerosLike } from "../ops/create.js";
import { cast, div, eq, mul, where } from "../ops/elementwise.js";
import { type ReduceAttrs, sum } from "../ops/reduce.js";
import { expand, reshape } from "../ops/views.js";
import type { Tensor } from "../tensor.js";

/** The gradient of a reduction repeated over the axes that it removed. */
export function spread(grad: Tensor, shape: readonly number[], axes: readonly number[]): Tensor {
  return expand(
    reshape(
      grad,
      shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent)),
    ),
    shape,
  );
}

// amax and amin: all elements that equal the result share the gradient.
const shared: Rule<ReduceAttrs["amax"]> = {
  saves: { inputs: [0], outputs: [0] },
  grad: ({ inputs: [x], outputs: [y], attrs: { axes } }, [g]) => {
    const chosen = eq(x!, spread(y!, x!.shape, axes));
    const count = sum(cast(chosen, g!.dtype), { dim: axes, keepdim: true });
    const share = div(reshape(g!, count.shape), count);
    return [where(chosen, share, zerosLike(x!))];
  },
};

export const reduceRules: { [P in keyof ReduceAttrs]: Rule<ReduceAttrs[P]> | "nondiff" } = {
  sum: { grad: ({ shapes: [shape], attrs }, [g]) => [spread(g!, shape!, attrs.axes)] },
  mean: {
    grad: ({ shapes: [shape], attrs }, [g]) => {
      const count = attrs.axes.reduce((total, axis) => total * shape![axis]!, 1);
      return [spread(mul(g!, 1 / count), shape!, attrs.axes)];
    },
  },
  amax: shared,
  amin: shared,
  any: "nondiff",
  all: "nondiff",
  argmax: "nondiff",
  argmin: "nondiff",
};
