import { rotaryTable, type Tensor } from "@md/tensor";
import { Module } from "../module.js";

export interface RotaryEmbedding3dOptions {
  /** Radians a unit of distance at the highest frequency. Default 1. */
  ropeScale?: number;
  /** Base of the frequencies. Default 10000. */
  base?: number;
}

/**
 * 3D rotary position embedding (Su et al., 2021, on three axes): positions [batch, tokens, 3] -> the table
 * [batch, tokens, 3·⌊headDim/6⌋, 2] that MultiheadAttention takes for its queries and keys. One table serves all layers.
 * The first 6·⌊headDim/6⌋ channels of a head rotate; position 0 does not rotate. No parameters, no gradient to positions.
 */
export class RotaryEmbedding3d extends Module {
  readonly ropeScale: number;
  readonly base: number;

  constructor(
    readonly headDim: number,
    { ropeScale = 1, base = 10000 }: RotaryEmbedding3dOptions = {},
  ) {
    super();
    this.ropeScale = ropeScale;
    this.base = base;
  }
  forward(xyz: Tensor): Tensor {
    return rotaryTable(xyz, this.headDim, { scale: this.ropeScale, base: this.base });
  }
}
