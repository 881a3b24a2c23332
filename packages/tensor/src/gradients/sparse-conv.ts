import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import { sum } from "../ops/reduce.js";
import type { SparseConvAttrs } from "../ops/sparse-conv.js";
import { execute } from "../primitives.js";

export const sparseConvRules: { [P in keyof SparseConvAttrs]: Rule<SparseConvAttrs[P]> | "nondiff" } = {
  mapPairs: "nondiff",
  submConv3d: {
    saves: { inputs: [0, 1, 2, 3, 4] },
    grad: ({ inputs: [inputs, outputs, starts, x, weight], needs }, [g]) => {
      const map = [inputs!, outputs!, starts!];
      const pairs = [inputs!.slot, outputs!.slot, starts!.slot] as const;
      return [
        null,
        null,
        null,
        needs[3]
          ? execute("submConv3dInputGrad", [...map, weight!, g!], {}, () =>
              native.submConv3dInputGrad(...pairs, weight!.slot, g!.slot),
            )
          : null,
        needs[4]
          ? execute("submConv3dWeightGrad", [...map, x!, g!], {}, () =>
              native.submConv3dWeightGrad(...pairs, x!.slot, g!.slot, weight!.shape[1]!),
            )
          : null,
        needs[5] ? sum(g!, { dim: 0 }) : null,
      ];
    },
  },
  submConv3dInputGrad: "nondiff",
  submConv3dWeightGrad: "nondiff",
};
