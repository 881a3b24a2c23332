import { LayerNorm, Linear, MLP, Module } from "@md/nn";
import type { Generator, Tensor } from "@md/tensor";
import { ROTATION_BINS } from "../rotation.js";

/** The decoupled head of A.3: rotation bins and gripper state, classified from a token at the final position. */
export class PoseHead extends Module {
  private readonly norm: LayerNorm;
  private readonly rotation: MLP;
  private readonly open: Linear;

  constructor(embedDim: number, options: { generator: Generator }) {
    super();
    this.norm = new LayerNorm(embedDim);
    this.rotation = new MLP([embedDim, 2 * embedDim, 3 * ROTATION_BINS], options);
    this.open = new Linear(embedDim, 1, options);
  }

  /** Tokens [..., d] to logits of the bins [..., 3, 72] and of "open" [...]. */
  forward(tokens: Tensor): { rotation: Tensor; open: Tensor } {
    const normed = this.norm.forward(tokens);
    const lead = tokens.shape.slice(0, -1);
    return {
      rotation: this.rotation.forward(normed).reshape([...lead, 3, ROTATION_BINS]),
      open: this.open.forward(normed).reshape(lead),
    };
  }
}
