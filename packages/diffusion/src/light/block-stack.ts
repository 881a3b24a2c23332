import { ModuleList } from "@md/nn";
import type { LocalKernelMap, Tensor, VoxelHash } from "@md/tensor";
import type { ActionLayout, BlockMemory, ConditionLayout, NonInvasiveBlock } from "./block.js";

/** {@link NonInvasiveBlock}s one after the other; named "0", "1", … */
export class BlockStack extends ModuleList<NonInvasiveBlock> {
  /**
   * Runs condition tokens [B, N + C, d] through the first `updating` blocks; the others read them as they are then.
   *
   * @param voxels of the scene tokens, one a block; null for a block without local query
   * @returns what actions read, one a block, and the tokens at the end
   */
  remember(
    hidden: Tensor,
    layout: ConditionLayout,
    voxels: readonly (VoxelHash | null)[],
    updating: number,
  ): { memories: BlockMemory[]; hidden: Tensor } {
    let tokens = hidden;
    const memories = [...this].map((block, layer) => {
      const { memory, normed } = block.remember(tokens, layout, voxels[layer]!);
      if (layer < updating) tokens = block.condition(tokens, normed, layout, memory);
      return memory;
    });
    return { memories, hidden: tokens };
  }

  /**
   * Runs action tokens [B, M·L, d] through all blocks.
   *
   * @param neighbours of the action tokens, one a block; null for a block without local query
   */
  act(
    actions: Tensor,
    layout: ActionLayout,
    memories: readonly BlockMemory[],
    neighbours: readonly (LocalKernelMap | null)[],
  ): Tensor {
    return [...this].reduce(
      (tokens, block, layer) => block.act(tokens, layout, memories[layer]!, neighbours[layer]!),
      actions,
    );
  }
}
