import { type LocalKernelMap, localKernelQuery, type Tensor, zeros } from "@md/tensor";
import { kaimingUniform } from "../init.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import type { RandomLayerOptions } from "./options.js";

/** 3 × 3 × 3 */
const kernelOffsets = 27;

/**
 * Gathers the features of the voxels around each query through a matrix for each offset (Mini-Diffuser, Eq. 18). Its
 * weights start uniform on ±1/√(27·inFeatures). No gradient flows to the positions of the queries.
 */
export class LocalKernelQuery extends Module {
  /** [27, outFeatures, inFeatures], dx slowest and dz fastest. */
  readonly weight: Parameter;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    { generator, dtype }: RandomLayerOptions,
  ) {
    super();
    const fanIn = kernelOffsets * inFeatures;
    this.weight = parameter(() =>
      kaimingUniform(zeros([kernelOffsets, outFeatures, inFeatures], { dtype }), { generator, a: Math.sqrt(5), fanIn }),
    );
  }
  /**
   * @param map of `VoxelHash.localKernelMap`, built once for a scene and its queries
   * @param means [voxels, inFeatures], of `VoxelHash.mean`
   * @returns [queries, outFeatures]
   */
  forward(map: LocalKernelMap, means: Tensor): Tensor {
    return localKernelQuery(map, means, this.weight);
  }
}
