import { dropout, type Generator, ones, type Tensor, ValueError } from "@md/tensor";
import { Module } from "../module.js";

/**
 * Stochastic depth (Huang et al., 2016): in training each row of a branch [rows, …] is 0 with probability p, and the rest
 * is scaled by 1 / (1 - p).
 */
export class DropPath extends Module {
  readonly #generator: Generator;

  /** ValueError unless 0 <= p < 1. */
  constructor(
    readonly p: number,
    { generator }: { generator: Generator },
  ) {
    super();
    if (!(p >= 0 && p < 1)) throw new ValueError(`[DropPath] p is ${p}, expected 0 <= p < 1`);
    this.#generator = generator;
  }

  /**
   * `residual` plus what remains of a branch. Where nothing is dropped, the branch gets `residual` to add in its last pass
   * over memory, else null.
   */
  add(residual: Tensor, branch: (residual: Tensor | null) => Tensor): Tensor {
    return this.drops ? residual.add(this.forward(branch(null))) : branch(residual);
  }

  forward(x: Tensor): Tensor {
    if (!this.drops) return x;
    const rows = ones([x.shape[0]!, ...x.shape.slice(1).map(() => 1)], { dtype: x.dtype, device: x.device });
    return x.mul(dropout(rows, this.p, this.#generator));
  }

  private get drops(): boolean {
    return this.training && this.p > 0;
  }
}
