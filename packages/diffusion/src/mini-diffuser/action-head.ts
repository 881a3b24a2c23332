import { Linear, Module, type RandomLayerOptions } from "@md/nn";
import { cat, leakyRelu, type Tensor } from "@md/tensor";
import { ROTATION_BINS } from "../rotation.js";

/** Linear, LeakyReLU(0.02), Linear. */
class HeadMLP extends Module {
  private readonly hidden: Linear;
  private readonly out: Linear;

  constructor(inFeatures: number, hidden: number, outFeatures: number, options: RandomLayerOptions) {
    super();
    this.hidden = new Linear(inFeatures, hidden, options);
    this.out = new Linear(hidden, outFeatures, options);
  }
  forward(x: Tensor): Tensor {
    return this.out.forward(leakyRelu(this.hidden.forward(x), 0.02));
  }
}

/** The decoupled head of A.3: the noise of a position from its token; rotation bins and gripper from a final position. */
export class ActionHead extends Module {
  private readonly denoise: HeadMLP;
  private readonly action: HeadMLP;

  constructor(dim: number, options: RandomLayerOptions) {
    super();
    this.denoise = new HeadMLP(dim, dim, 3, options);
    this.action = new HeadMLP(dim + 3, dim, 3 * ROTATION_BINS + 1, options);
  }

  /** Action tokens [B·S, dim] to [B·S, 3]. */
  noise(tokens: Tensor): Tensor {
    return this.denoise.forward(tokens);
  }

  /**
   * @param scene the greatest feature of each item's finest level, [B, dim]
   * @param positions [B, S, 3], metres
   * @returns logits of the bins of x, y and z, [B, S, 3, 72], and of "open", [B, S]
   */
  pose(scene: Tensor, positions: Tensor): { rotation: Tensor; open: Tensor } {
    const [items, samples] = positions.shape as [number, number, number];
    const scenes = scene.unsqueeze(1).expand([items, samples, scene.shape[1]!]);
    const out = this.action.forward(cat([scenes, positions], -1));
    const bins = 3 * ROTATION_BINS;
    return {
      // Bins are the slow axis, as in released checkpoints.
      rotation: out.narrow(-1, 0, bins).reshape([items, samples, ROTATION_BINS, 3]).permute([0, 1, 3, 2]),
      open: out.narrow(-1, bins, 1).squeeze(-1),
    };
  }
}
