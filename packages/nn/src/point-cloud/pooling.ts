import { gelu, indexSelect, scope, segmentMax, type Tensor } from "@md/tensor";
import { Linear } from "../layers/linear.js";
import { BatchNorm1d } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";
import type { PointCloud } from "./point-cloud.js";
import { requireRows } from "./rows.js";

/** Point Transformer V3's batch norm: eps 1e-3, momentum 0.01. */
export const pointBatchNorm = (channels: number, { dtype }: RandomLayerOptions): BatchNorm1d =>
  new BatchNorm1d(channels, { dtype, eps: 1e-3, momentum: 0.01 });

/** Linear, the maximum over each coarser cell, batch norm, GELU: [V, in] -> [V of the coarser level, out]. */
export class GridPool extends Module {
  private readonly proj: Linear;
  private readonly norm: BatchNorm1d;

  constructor(inChannels: number, outChannels: number, options: RandomLayerOptions) {
    super();
    this.proj = new Linear(inChannels, outChannels, options);
    this.norm = pointBatchNorm(outChannels, options);
  }

  /**
   * @param coarser of `cloud.pool` of the level of x
   * @throws ShapeError where x has not the rows of that level
   */
  forward(coarser: PointCloud, x: Tensor): Tensor {
    const { voxelOffsets, pointOrder } = coarser.hash;
    requireRows("GridPool", "x", x, pointOrder.size, this.proj.inFeatures);
    return scope(() => {
      const { values } = segmentMax(this.proj.forward(x), voxelOffsets, { order: pointOrder });
      return gelu(this.norm.forward(values));
    });
  }
}

/** Adds each coarser cell's features to the rows in it, both through Linear, batch norm and GELU. */
export class GridUnpool extends Module {
  private readonly proj: Linear;
  private readonly norm: BatchNorm1d;
  private readonly skipProj: Linear;
  private readonly skipNorm: BatchNorm1d;

  constructor(inChannels: number, skipChannels: number, outChannels: number, options: RandomLayerOptions) {
    super();
    this.proj = new Linear(inChannels, outChannels, options);
    this.norm = pointBatchNorm(outChannels, options);
    this.skipProj = this.registerModule("skip_proj", new Linear(skipChannels, outChannels, options));
    this.skipNorm = this.registerModule("skip_norm", pointBatchNorm(outChannels, options));
  }

  /**
   * @param coarser of `cloud.pool` of the finer level
   * @param x [V of the coarser level, in]
   * @param skip [V of the finer level, skip]
   * @returns `sum` and its part from `skip`, [V of the finer level, out]
   * @throws ShapeError where x or skip has not the rows of its level
   */
  forward(coarser: PointCloud, x: Tensor, skip: Tensor): { sum: Tensor; skip: Tensor } {
    const { voxelOfPoint } = coarser.hash;
    requireRows("GridUnpool", "x", x, coarser.size, this.proj.inFeatures);
    requireRows("GridUnpool", "skip", skip, voxelOfPoint.size, this.skipProj.inFeatures);
    return scope(() => {
      const own = gelu(this.skipNorm.forward(this.skipProj.forward(skip)));
      const up = gelu(this.norm.forward(this.proj.forward(x)));
      return { sum: own.add(indexSelect(up, 0, voxelOfPoint)), skip: own };
    });
  }
}
