import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import { gather, type IndexingAttrs, indexSelect } from "../ops/indexing.js";
import { narrow } from "../ops/views.js";
import { execute } from "../primitives.js";
import type { Tensor } from "../tensor.js";

/** Zeros of `shape` with grad[p] added where p[dim] = index[p]: the gradient of gather and of everything sorted. */
export const gatherGrad = (grad: Tensor, index: Tensor, shape: readonly number[], dim: number): Tensor =>
  execute("gatherGrad", [grad, index], {}, () => native.gatherGrad(grad.slot, index.slot, Int32Array.from(shape), dim));

export const indexingRules: { [P in keyof IndexingAttrs]: Rule<IndexingAttrs[P]> | "nondiff" } = {
  cat: {
    grad: ({ shapes, attrs: { dim }, needs }, [g]) => {
      let start = 0;
      return shapes.map((shape, i) => {
        start += shape[dim]!;
        return needs[i] ? narrow(g!, dim, start - shape[dim]!, shape[dim]!) : null;
      });
    },
  },
  indexSelect: {
    saves: { inputs: [1] },
    grad: ({ inputs: [, index], shapes: [shape], attrs: { dim } }, [g]) => [
      execute("indexSelectGrad", [g!, index!], {}, () =>
        native.indexSelectGrad(g!.slot, index!.slot, shape![dim]!, dim),
      ),
      null,
    ],
  },
  permuteRows: {
    saves: { inputs: [2] },
    grad: ({ inputs: [, , inverse], attrs: { dim } }, [g]) => [indexSelect(g!, dim, inverse!), null, null],
  },
  indexAdd: {
    saves: { inputs: [1] },
    grad: ({ inputs: [, index], attrs: { dim }, needs }, [g]) => [
      g!,
      null,
      needs[2] ? indexSelect(g!, dim, index!) : null,
    ],
  },
  indexSelectGrad: "nondiff",
  gather: {
    saves: { inputs: [1] },
    grad: ({ inputs: [, index], shapes: [shape], attrs: { dim } }, [g]) => [gatherGrad(g!, index!, shape!, dim), null],
  },
  scatterAdd: {
    saves: { inputs: [1] },
    grad: ({ inputs: [, index], attrs: { dim }, needs }, [g]) => [g!, null, needs[2] ? gather(g!, dim, index!) : null],
  },
  gatherGrad: "nondiff",
  oneHot: "nondiff",
};
