import type { Rule } from "../autograd.js";
import { linearGrad, matmul, type MatmulAttrs } from "../ops/matmul.js";
import { reshape, squeeze, transpose, unsqueeze } from "../ops/views.js";
import type { Tensor } from "../tensor.js";

// g bᵀ; the engine sums over the axes along which a was broadcast.
function gradOfLeft(b: Tensor, g: Tensor): Tensor {
  return matmul(g, transpose(b));
}

// aᵀ g. One b for all of a's leading axes makes them rows of a single product.
function gradOfRight(a: Tensor, g: Tensor, rankOfB: number): Tensor {
  if (rankOfB > 2) return matmul(transpose(a), g);
  const rows = (x: Tensor): Tensor =>
    reshape(x, [x.shape.slice(0, -1).reduce((n, extent) => n * extent, 1), x.shape.at(-1)!]);
  return matmul(transpose(rows(a)), rows(g));
}

export const matmulRules: { [P in keyof MatmulAttrs]: Rule<MatmulAttrs[P]> | "nondiff" } = {
  matmul: {
    saves: { inputs: [0, 1] },
    grad: ({ inputs: [left, right], needs }, [grad]) => {
      const a = left!.rank === 1 ? unsqueeze(left!, 0) : left!;
      const b = right!.rank === 1 ? unsqueeze(right!, 1) : right!;
      const row = left!.rank === 1 ? unsqueeze(grad!, right!.rank === 1 ? -1 : -2) : grad!;
      const g = right!.rank === 1 ? unsqueeze(row, -1) : row;
      const ofRight = needs[1] ? gradOfRight(a, g, right!.rank) : null;
      return [needs[0] ? gradOfLeft(b, g) : null, ofRight && right!.rank === 1 ? squeeze(ofRight, -1) : ofRight];
    },
  },
  linear: {
    saves: { inputs: [0, 1] },
    adds: [0],
    grad: ({ inputs, needs, earlier }, [g]) => linearGrad(inputs, null, g!, earlier[0]!, "none", needs),
  },
  linearActivation: {
    saves: { inputs: [0, 1], outputs: [1] },
    adds: [0],
    grad: ({ inputs, outputs, attrs, needs, earlier }, [g]) =>
      linearGrad(inputs, outputs[1]!, g!, earlier[0]!, attrs.activation, needs),
  },
  linearGrad: "nondiff",
};
