import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import { sum } from "../ops/reduce.js";
import type { SparseConvAttrs } from "../ops/sparse-conv.js";
import { executeWanted } from "../primitives.js";
import type { Tensor } from "../tensor.js";

export const sparseConvRules: { [P in keyof SparseConvAttrs]: Rule<SparseConvAttrs[P]> | "nondiff" } = {
  mapPairs: "nondiff",
  submConv3d: {
    saves: { inputs: [0, 1, 2, 3, 4] },
    grad: ({ inputs, needs }, [g]) => {
      const [mapInputs, mapOutputs, starts, x, weight] = inputs as Tensor[];
      const [ofX, ofWeight] = [needs[3]!, needs[4]!];
      const run = (): void => {
        const [from, to, at] = [mapInputs!.slot, mapOutputs!.slot, starts!.slot];
        native.submConv3dGrad(from, to, at, x!.slot, weight!.slot, g!.slot, ofX, ofWeight);
      };
      const grads = executeWanted("submConv3dGrad", [...inputs, g!], {}, [ofX, ofWeight], run);
      return [null, null, null, ...grads, needs[5] ? sum(g!, { dim: 0 }) : null];
    },
  },
  submConv3dGrad: "nondiff",
};
