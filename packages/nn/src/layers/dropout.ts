import { dropout, type Generator, type Tensor } from "@md/tensor";
import { Module } from "../module.js";

/** In training each element is 0 with probability p, else divided by 1 - p; in evaluation x itself. Any shape. */
export class Dropout extends Module {
  readonly #generator: Generator;

  constructor(
    readonly p: number,
    { generator }: { generator: Generator },
  ) {
    super();
    this.#generator = generator;
  }
  forward(x: Tensor): Tensor {
    return this.training ? dropout(x, this.p, this.#generator) : x;
  }
}
