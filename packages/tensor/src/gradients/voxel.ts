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
    grad: ({ inputs: [queries, voxels, offsets, means, weight], needs }, [g]) => {
      const hits = [queries!.slot, voxels!.slot, offsets!.slot] as const;
      const map = [queries!, voxels!, offsets!];
      return [
        null,
        null,
        null,
        needs[3]
          ? execute("localKernelMeansGrad", [...map, weight!, g!], {}, () =>
              native.localKernelMeansGrad(...hits, means!.shape[0]!, weight!.slot, g!.slot),
            )
          : null,
        needs[4]
          ? execute("localKernelWeightGrad", [...map, means!, g!], {}, () =>
              native.localKernelWeightGrad(...hits, means!.slot, g!.slot),
            )
          : null,
      ];
    },
  },
  localKernelMeansGrad: "nondiff",
  localKernelWeightGrad: "nondiff",
};
