import type { Tensor } from "../tensor.js";
import { sum } from "./reduce.js";
import { sameShape } from "./shape.js";
import { reshape } from "./views.js";

/** The adjoint of broadcasting: `x` summed down to `shape`; x itself where they are the same. */
export function sumTo(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.flatMap((extent, axis) =>
    axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
  );
  return reshape(sum(x, { dim: axes, keepdim: true }), shape);
}
