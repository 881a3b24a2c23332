import { maskedAttention, masks, type Tensor, ValueError } from "@md/tensor";
import { fromHeads, headDimOf, headLayerNorm, headNorm, toHeads } from "../layers/heads.js";
import { Linear } from "../layers/linear.js";
import type { LayerNorm } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";
import { requireRows } from "./rows.js";

/** Tokens of all items side by side, such as instructions of different lengths. */
export interface Context {
  /** [T, contextDim] */
  tokens: Tensor;
  /** [B + 1]: item i has the rows offsets[i] up to offsets[i + 1] - 1, possibly none. */
  offsets: Int32Array;
}

/**
 * Cross-attention of the rows of each item to the context tokens of that item, with LayerNorm of queries and keys:
 * [V, dim] -> the same. Rows of an item without tokens get the output projection's bias alone.
 */
export class ContextAttention extends Module {
  private readonly q: Linear;
  private readonly kv: Linear;
  private readonly proj: Linear;
  private readonly qNorm: LayerNorm;
  private readonly kNorm: LayerNorm;

  /** ValueError unless numHeads divides dim. */
  constructor(
    readonly dim: number,
    readonly numHeads: number,
    contextDim: number,
    options: RandomLayerOptions,
  ) {
    super();
    const headDim = headDimOf("ContextAttention", dim, numHeads);
    this.q = new Linear(dim, dim, options);
    this.kv = new Linear(contextDim, 2 * dim, options);
    this.proj = new Linear(dim, dim, options);
    this.qNorm = this.registerModule("q_norm", headLayerNorm(headDim, options));
    this.kNorm = this.registerModule("k_norm", headLayerNorm(headDim, options));
  }

  /**
   * @param offsets [B + 1], rows of each item in x
   * @param residual added to the result in the same pass, [V, dim]
   * @throws ShapeError or ValueError where rows, tokens and items do not fit each other
   */
  forward(x: Tensor, offsets: Int32Array, context: Context, residual: Tensor | null = null): Tensor {
    requireRows("ContextAttention", "x", x, offsets.at(-1)!, this.dim);
    requireRows("ContextAttention", "context.tokens", context.tokens, context.offsets.at(-1)!, this.kv.inFeatures);
    if (context.offsets.length !== offsets.length) {
      const [found, expected] = [context.offsets.length - 1, offsets.length - 1];
      throw new ValueError(`[ContextAttention] context has ${found} items, expected ${expected}`);
    }
    const [k, v] = this.kv.forward(context.tokens).split([this.dim, this.dim]);
    const heads = (part: Tensor): Tensor => toHeads(part, this.numHeads);
    const out = maskedAttention(heads(this.q.forward(x)), heads(k!), heads(v!), {
      mask: masks.varlen({ cuSeqlensQ: offsets, cuSeqlensK: context.offsets }),
      qNorm: headNorm(this.qNorm),
      kNorm: headNorm(this.kNorm),
      normEps: this.qNorm.eps,
    });
    return this.proj.forward(fromHeads(out), residual);
  }
}
