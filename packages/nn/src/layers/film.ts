import { ShapeError, type Tensor } from "@md/tensor";
import { zeros } from "../init.js";
import { Module } from "../module.js";
import { MLP } from "./mlp.js";
import type { RandomLayerOptions } from "./options.js";

export interface FiLMOptions extends RandomLayerOptions {
  /** Width of the MLP that makes gamma and beta. Default `conditionDim`. */
  hiddenDim?: number;
}

/**
 * Feature-wise linear modulation (Perez et al., 2018; Mini-Diffuser, Eq. 14): gamma ⊙ z + beta, with gamma and beta from
 * a conditioning vector by a two-layer SiLU MLP. Starts as the identity: gamma is 1 + the MLP's output, and its last
 * layer is 0.
 */
export class FiLM extends Module {
  readonly mlp: MLP;

  constructor(
    readonly conditionDim: number,
    readonly featureDim: number,
    { hiddenDim = conditionDim, ...options }: FiLMOptions,
  ) {
    super();
    this.mlp = new MLP([conditionDim, hiddenDim, 2 * featureDim], { ...options, activation: "silu" });
    const { weight, bias } = this.mlp.layers.at(-1);
    zeros(weight);
    zeros(bias!);
  }

  /**
   * gamma - 1 and beta, each [..., featureDim], of `condition` [..., conditionDim], as {@link LayerNorm} takes them: what is
   * normed before it is modulated.
   */
  modulation(condition: Tensor): { scale: Tensor; shift: Tensor } {
    const [scale, shift] = this.mlp.forward(condition).split([this.featureDim, this.featureDim]);
    return { scale: scale!, shift: shift! };
  }

  /** z [...lead, ...tokens, featureDim] by `condition` [...lead, conditionDim]: the same gamma and beta for all tokens. */
  forward(z: Tensor, condition: Tensor): Tensor {
    const lead = condition.shape.slice(0, -1);
    if (z.rank < condition.rank || String(z.shape.slice(0, lead.length)) !== String(lead)) {
      throw new ShapeError(
        `[FiLM] z has shape [${z.shape}], expected [${[...lead, "...", this.featureDim]}] for condition [${condition.shape}]`,
      );
    }
    const { scale, shift } = this.modulation(condition);
    const aligned = [...lead, ...new Array<number>(z.rank - condition.rank).fill(1), this.featureDim];
    return z.mul(scale.add(1).reshape(aligned)).add(shift.reshape(aligned));
  }
}
