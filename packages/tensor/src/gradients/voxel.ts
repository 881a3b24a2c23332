import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import type { VoxelAttrs } from "../ops/voxel.js";
import { execute } from "../primitives.js";

export const voxelRules: { [P in keyof VoxelAttrs]: Rule<VoxelAttrs[P]> | "nondiff" } = {
  voxelHash: "nondiff",
  voxelLookup: "nondiff",
  voxelNeighbours: "nondiff",
  neighboursOfVoxels: "nondiff",
  localKernelMap: "nondiff",
  localKernelQuery: {
    saves: { inputs: [0, 1, 2, 3, 4] },
    grad: ({ inputs: [inputs, outputs, starts, means, weight], needs }, [g]) => {
      const map = [inputs!, outputs!, starts!];
      const pairs = [inputs!.slot, outputs!.slot, starts!.slot] as const;
      // The gradient of the weight first: while it is computed, the pairs of the other one are turned round.
      const weightGrad = needs[4]
        ? execute("localKernelWeightGrad", [...map, means!, g!], {}, () =>
            native.localKernelWeightGrad(...pairs, weight!.shape[0]!, means!.slot, g!.slot),
          )
        : null;
      const meansGrad = needs[3]
        ? execute("localKernelMeansGrad", [...map, weight!, g!], {}, () =>
            native.localKernelMeansGrad(...pairs, means!.shape[0]!, weight!.slot, g!.slot),
          )
        : null;
      return [null, null, null, meansGrad, weightGrad];
    },
  },
  localKernelMeansGrad: "nondiff",
  localKernelWeightGrad: "nondiff",
};
