import { type HeadNorm, type Tensor, ValueError } from "@md/tensor";
import { LayerNorm } from "../layers/norms.js";
import type { LayerOptions } from "../layers/options.js";

/** Channels of a head; ValueError unless the heads divide the channels. */
export function headsOf(owner: string, dim: number, numHeads: number): number {
  const headDim = dim / numHeads;
  if (!(Number.isInteger(numHeads) && Number.isInteger(headDim) && headDim > 0))
    throw new ValueError(`[${owner}] ${dim} channels do not divide into ${numHeads} heads`);
  return headDim;
}

/** LayerNorm of queries or keys, eps 1e-6. */
export const headLayerNorm = (headDim: number, { dtype }: LayerOptions): LayerNorm =>
  new LayerNorm(headDim, { dtype, eps: 1e-6 });

export const headNorm = ({ weight, bias }: LayerNorm): HeadNorm => ({ weight: weight!, bias });

/** [tokens, dim] to [1, heads, tokens, headDim], a view. */
export const toHeads = (x: Tensor, numHeads: number): Tensor =>
  x.reshape([1, x.shape[0]!, numHeads, x.shape[1]! / numHeads]).permute([0, 2, 1, 3]);

/** The inverse of {@link toHeads}. */
export const fromHeads = (x: Tensor): Tensor => x.permute([0, 2, 1, 3]).flatten(2).squeeze(0);
