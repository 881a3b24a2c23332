import { masks, type Tensor } from "@md/tensor";
import { QuickGELU } from "../layers/activations.js";
import { Linear } from "../layers/linear.js";
import { MultiheadAttention } from "../layers/multihead-attention.js";
import { LayerNorm } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";

class QuickGeluMlp extends Module {
  readonly cFc: Linear;
  readonly gelu = new QuickGELU();
  readonly cProj: Linear;

  constructor(width: number, options: RandomLayerOptions) {
    super();
    this.cFc = this.registerModule("c_fc", new Linear(width, 4 * width, options));
    this.cProj = this.registerModule("c_proj", new Linear(4 * width, width, options));
  }
  /** Plus `residual`, like x. */
  forward(x: Tensor, residual: Tensor): Tensor {
    return this.cProj.forward(this.gelu.forward(this.cFc.forward(x)), residual);
  }
}

/** A block of CLIP's text transformer, normed first: [batch, tokens, width] -> the same. A token attends those before it. */
export class ResidualAttentionBlock extends Module {
  readonly attn: MultiheadAttention;
  readonly ln1: LayerNorm;
  readonly mlp: QuickGeluMlp;
  readonly ln2: LayerNorm;

  constructor(width: number, heads: number, options: RandomLayerOptions) {
    super();
    this.attn = new MultiheadAttention(width, heads, options);
    this.ln1 = this.registerModule("ln_1", new LayerNorm(width, options));
    this.mlp = new QuickGeluMlp(width, options);
    this.ln2 = this.registerModule("ln_2", new LayerNorm(width, options));
  }
  forward(x: Tensor): Tensor {
    const attended = this.attn.forward(this.ln1.forward(x), { mask: masks.causal(), residual: x });
    return this.mlp.forward(this.ln2.forward(attended), attended);
  }
}
