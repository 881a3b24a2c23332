import { embedding, type Tensor, zeros } from "@md/tensor";
import { normal } from "../init.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import type { RandomLayerOptions } from "./options.js";

/** Learned vectors by index: i32 or i64 [...] -> [..., embeddingDim]. They start standard normal. */
export class Embedding extends Module {
  /** [numEmbeddings, embeddingDim] */
  readonly weight: Parameter;

  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
    { generator, dtype }: RandomLayerOptions,
  ) {
    super();
    this.weight = parameter(() => normal(zeros([numEmbeddings, embeddingDim], { dtype }), { generator }));
  }
  forward(index: Tensor): Tensor {
    return embedding(index, this.weight);
  }
}
