import { type NeighbourKernelSize, type NeighbourMap, submConv3d, type Tensor, ValueError, zeros } from "@md/tensor";
import { kaimingUniform } from "../init.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import type { RandomLayerOptions } from "./options.js";

export interface SubMConv3dOptions extends RandomLayerOptions {
  /** Default true. */
  bias?: boolean;
}

/**
 * Submanifold sparse convolution of voxels: [voxels, inChannels] -> [voxels, outChannels], names and layout as spconv's.
 * Weight and bias start uniform on ±1/√(kernelSize³·inChannels), as Conv2d's do.
 */
export class SubMConv3d extends Module {
  /** [outChannels, kernelSize, kernelSize, kernelSize, inChannels], offsets along x, y, z. */
  readonly weight: Parameter;
  /** [outChannels] */
  readonly bias: Parameter | null;

  /** @throws ValueError for a kernelSize that no map has */
  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    readonly kernelSize: NeighbourKernelSize,
    { generator, dtype, bias = true }: SubMConv3dOptions,
  ) {
    super();
    if (kernelSize !== 3 && kernelSize !== 5)
      throw new ValueError(`[SubMConv3d] kernelSize is ${String(kernelSize)}, expected 3 or 5`);
    const fanIn = kernelSize ** 3 * inChannels;
    const shape = [outChannels, kernelSize, kernelSize, kernelSize, inChannels];
    const a = Math.sqrt(5);
    this.weight = parameter(() => kaimingUniform(zeros(shape, { dtype }), { generator, a, fanIn }));
    this.bias = bias ? parameter(() => kaimingUniform(zeros([outChannels], { dtype }), { generator, a, fanIn })) : null;
  }
  /**
   * @param map of `VoxelHash.neighbourMap(kernelSize)`, built once for all layers of a level
   * @param x [voxels, inChannels], rows in the order of the voxels
   */
  forward(map: NeighbourMap, x: Tensor): Tensor {
    return submConv3d(map, x, this.weight, { bias: this.bias });
  }
}
