import { type Curve, scope, type Tensor, ValueError } from "@md/tensor";
import { DropPath } from "../layers/drop-path.js";
import { Linear } from "../layers/linear.js";
import { MLP } from "../layers/mlp.js";
import { LayerNorm } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { SubMConv3d } from "../layers/subm-conv3d.js";
import { Module } from "../module.js";
import { type Context, ContextAttention } from "./context-attention.js";
import { PatchAttention, type PatchAttentionOptions } from "./patch-attention.js";
import type { PointCloud } from "./point-cloud.js";

export interface PointBlockOptions extends PatchAttentionOptions {
  /** Hidden channels of the feed-forward part, as a multiple of the channels. Default 4. */
  mlpRatio?: number;
  /** Probability with which a row's branches are dropped in training. Default 0. */
  dropPath?: number;
}

/** A submanifold convolution, Linear and LayerNorm: [V, in] -> [V, out]. */
export class ConvolutionEmbedding extends Module {
  readonly conv: SubMConv3d;
  readonly linear: Linear;
  readonly norm: LayerNorm;

  constructor(inChannels: number, outChannels: number, options: RandomLayerOptions) {
    super();
    this.conv = new SubMConv3d(inChannels, outChannels, 3, options);
    this.linear = new Linear(outChannels, outChannels, options);
    this.norm = new LayerNorm(outChannels, { dtype: options.dtype });
  }
  forward(cloud: PointCloud, x: Tensor): Tensor {
    return this.finish(this.conv.forward(cloud.neighbourMap(3), x));
  }
  /** What follows the convolution. */
  finish(convolved: Tensor): Tensor {
    return this.norm.forward(this.linear.forward(convolved));
  }
}

function mlp(dim: number, { mlpRatio = 4, ...options }: PointBlockOptions): MLP {
  const hidden = Math.round(dim * mlpRatio);
  if (hidden >= 1 && hidden < Infinity) return new MLP([dim, hidden, dim], options);
  const problem = `mlpRatio is ${mlpRatio}, which makes ${hidden} hidden channels of ${dim}`;
  throw new ValueError(`[PointBlock] ${problem}, expected at least 1`);
}

/**
 * Point Transformer V3's block (Wu et al., 2024): conditional positional encoding by convolution, patch attention and a
 * feed-forward part, norms first: [V, dim] -> the same.
 */
export class PointBlock extends Module {
  private readonly cpe: ConvolutionEmbedding;
  private readonly norm1: LayerNorm;
  private readonly attn: PatchAttention;
  private readonly norm2: LayerNorm;
  private readonly mlp: MLP;
  private readonly dropPath: DropPath;

  constructor(dim: number, numHeads: number, options: PointBlockOptions) {
    super();
    const { generator, dtype, dropPath = 0 } = options;
    this.cpe = new ConvolutionEmbedding(dim, dim, { generator, dtype });
    this.norm1 = new LayerNorm(dim, { dtype });
    this.attn = new PatchAttention(dim, numHeads, options);
    this.norm2 = new LayerNorm(dim, { dtype });
    this.mlp = mlp(dim, options);
    this.dropPath = new DropPath(dropPath, { generator });
  }

  /** @param convolved what the positional encoding convolves. Default x. */
  forward(cloud: PointCloud, x: Tensor, curve: Curve, convolved = x): Tensor {
    return scope(() => {
      const placed = x.add(this.cpe.forward(cloud, convolved));
      const attended = this.dropPath.add(placed, (residual) =>
        this.attn.forward(cloud, this.norm1.forward(placed), curve, residual),
      );
      return this.dropPath.add(attended, (residual) => this.mlp.forward(this.norm2.forward(attended), residual));
    });
  }
}

/** Attention to context tokens and a feed-forward part, norms first: [V, dim] -> the same. */
export class ContextBlock extends Module {
  private readonly norm1: LayerNorm;
  private readonly attn: ContextAttention;
  private readonly norm2: LayerNorm;
  private readonly mlp: MLP;
  private readonly dropPath: DropPath;

  constructor(dim: number, numHeads: number, contextDim: number, options: PointBlockOptions) {
    super();
    const { generator, dtype, dropPath = 0 } = options;
    this.norm1 = new LayerNorm(dim, { dtype });
    this.attn = new ContextAttention(dim, numHeads, contextDim, { generator, dtype });
    this.norm2 = new LayerNorm(dim, { dtype });
    this.mlp = mlp(dim, options);
    this.dropPath = new DropPath(dropPath, { generator });
  }

  /** @param offsets [B + 1], rows of each item in x */
  forward(x: Tensor, offsets: Int32Array, context: Context): Tensor {
    return scope(() => {
      const attended = this.dropPath.add(x, (residual) =>
        this.attn.forward(this.norm1.forward(x), offsets, context, residual),
      );
      return this.dropPath.add(attended, (residual) => this.mlp.forward(this.norm2.forward(attended), residual));
    });
  }
}
