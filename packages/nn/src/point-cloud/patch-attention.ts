import { type Curve, indexSelect, linear, maskedAttention, masks, permuteRows, type Tensor } from "@md/tensor";
import { headDimOf, headLayerNorm, headNorm } from "../layers/heads.js";
import { Linear } from "../layers/linear.js";
import type { LayerNorm } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";
import { checkPatches, type PatchRule } from "./patches.js";
import type { PointCloud } from "./point-cloud.js";
import { requireRows } from "./rows.js";

export interface PatchAttentionOptions extends RandomLayerOptions {
  /** Rows of a patch, where an item has that many. Default 120. */
  patchSize?: number;
  /** What a patch is where an item has fewer. Default "item". */
  patchRule?: PatchRule;
}

/**
 * Self-attention within patches along a space-filling curve (Wu et al., "Point Transformer V3", 2024), with LayerNorm of
 * queries and keys: [V, dim] -> the same. A padded row is a key of its patch, never a query.
 */
export class PatchAttention extends Module {
  readonly patchSize: number;
  readonly patchRule: PatchRule;
  private readonly qkv: Linear;
  private readonly proj: Linear;
  private readonly qNorm: LayerNorm;
  private readonly kNorm: LayerNorm;

  /** ValueError unless numHeads divides dim, and for a patch size or rule that is none. */
  constructor(
    readonly dim: number,
    readonly numHeads: number,
    { patchSize = 120, patchRule = "item", ...options }: PatchAttentionOptions,
  ) {
    super();
    checkPatches("PatchAttention", patchSize, patchRule);
    this.patchSize = patchSize;
    this.patchRule = patchRule;
    const headDim = headDimOf("PatchAttention", dim, numHeads);
    this.qkv = new Linear(dim, 3 * dim, options);
    this.proj = new Linear(dim, dim, options);
    this.qNorm = this.registerModule("q_norm", headLayerNorm(headDim, options));
    this.kNorm = this.registerModule("k_norm", headLayerNorm(headDim, options));
  }

  /**
   * @param residual added to the result in the same pass, [V, dim]
   * @throws ShapeError unless x is [V, dim]
   */
  forward(cloud: PointCloud, x: Tensor, curve: Curve, residual: Tensor | null = null): Tensor {
    requireRows("PatchAttention", "x", x, cloud.size, this.dim);
    const { order, inverse } = cloud.order(curve);
    const { cuSeqlensQ, cuSeqlensK, keys } = cloud.patches(this.patchSize, this.patchRule);
    const { weight, bias } = this.qkv;
    // In the curve's order before there are three times as many channels to move.
    const rows = permuteRows(x, 0, order, inverse);
    const split = linear(rows, weight, bias).reshape([1, x.shape[0]!, 3, this.numHeads, -1]);
    const [q, kv] = split.split([1, 2], 2);
    const [k, v] = (keys ? indexSelect(kv!, 1, keys) : kv!).split([1, 1], 2);
    const byHead = (part: Tensor): Tensor => part.squeeze(2).permute([0, 2, 1, 3]);
    const out = maskedAttention(byHead(q!), byHead(k!), byHead(v!), {
      mask: masks.varlen({ cuSeqlensQ, cuSeqlensK }),
      qNorm: headNorm(this.qNorm),
      kNorm: headNorm(this.kNorm),
      normEps: this.qNorm.eps,
    });
    return this.proj.forward(permuteRows(out.permute([0, 2, 1, 3]).reshape(x.shape), 0, inverse, order), residual);
  }
}
