import { native } from "@md/native";
import type { Rule } from "../autograd.js";
import type { VoxelAttrs } from "../ops/voxel.js";
import { executeWanted } from "../primitives.js";
import type { Tensor } from "../tensor.js";

export const voxelRules: { [P in keyof VoxelAttrs]: Rule<VoxelAttrs[P]> | "nondiff" } = {
  voxelHash: "nondiff",
  voxelLookup: "nondiff",
  voxelNeighbours: "nondiff",
  neighboursOfVoxels: "nondiff",
  localKernelMap: "nondiff",
  localKernelQuery: {
    saves: { inputs: [0, 1, 2, 3, 4] },
    grad: ({ inputs, needs }, [g]) => {
      const [hitVoxels, hitQueries, hitStarts, means, weight] = inputs as Tensor[];
      const [ofMeans, ofWeight] = [needs[3]!, needs[4]!];
      const run = (): void => {
        const [voxels, queries, starts] = [hitVoxels!.slot, hitQueries!.slot, hitStarts!.slot];
        native.localKernelQueryGrad(voxels, queries, starts, means!.slot, weight!.slot, g!.slot, ofMeans, ofWeight);
      };
      return [
        null,
        null,
        null,
        ...executeWanted("localKernelQueryGrad", [...inputs, g!], {}, [ofMeans, ofWeight], run),
      ];
    },
  },
  localKernelQueryGrad: "nondiff",
};
