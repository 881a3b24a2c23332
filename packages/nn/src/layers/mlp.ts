import { type Activation, type Tensor, ValueError } from "@md/tensor";
import { ModuleList } from "../containers.js";
import { Module } from "../module.js";
import { Linear } from "./linear.js";
import type { RandomLayerOptions } from "./options.js";

export interface MLPOptions extends RandomLayerOptions {
  /** Between the layers, not after the last. Default "gelu". */
  activation?: Activation;
}

/** Linear layers of the given sizes: [..., sizes[0]] -> [..., sizes.at(-1)]. */
export class MLP extends Module {
  readonly layers: ModuleList<Linear>;

  constructor(sizes: readonly number[], { activation = "gelu", ...options }: MLPOptions) {
    super();
    if (sizes.length < 2) throw new ValueError(`[MLP] sizes are [${sizes}], expected at least an input and an output`);
    if (!sizes.every((size) => Number.isSafeInteger(size) && size >= 1))
      throw new ValueError(`[MLP] sizes are [${sizes}], expected integers of at least 1`);
    const last = sizes.length - 2;
    this.layers = new ModuleList(
      sizes
        .slice(1)
        .map((size, i) => new Linear(sizes[i]!, size, { ...options, activation: i < last ? activation : "none" })),
    );
  }
  /** @param residual added to the result in the last layer's pass, [..., sizes.at(-1)] */
  forward(x: Tensor, residual: Tensor | null = null): Tensor {
    let value = x;
    const last = this.layers.at(-1);
    for (const layer of this.layers) value = layer.forward(value, layer === last ? residual : null);
    return value;
  }
}
