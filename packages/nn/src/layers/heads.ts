import { type HeadNorm, type Tensor, ValueError } from "@md/tensor";
import { LayerNorm } from "./norms.js";
import type { LayerOptions } from "./options.js";

/** Channels of a head; ValueError unless the heads divide the channels. */
export function headDimOf(owner: string, dim: number, numHeads: number): number {
  const headDim = dim / numHeads;
  if (!(Number.isInteger(numHeads) && Number.isInteger(headDim) && headDim > 0))
    throw new ValueError(`[${owner}] ${dim} channels do not divide into ${numHeads} heads`);
  return headDim;
}

/** LayerNorm of queries or keys, eps 1e-6. */
export const headLayerNorm = (headDim: number, { dtype }: LayerOptions): LayerNorm =>
  new LayerNorm(headDim, { dtype, eps: 1e-6 });

/** An affine LayerNorm of queries or keys as `maskedAttention` takes it, but for its eps. */
export const headNorm = ({ weight, bias }: LayerNorm): HeadNorm => ({ weight: weight!, bias });

/** [batch·tokens, dim] to [batch, heads, tokens, headDim], a view. */
export const toHeads = (x: Tensor, numHeads: number, batch = 1): Tensor =>
  x.reshape([batch, x.shape[0]! / batch, numHeads, x.shape[1]! / numHeads]).permute([0, 2, 1, 3]);

/** The inverse of {@link toHeads}. */
export const fromHeads = (x: Tensor): Tensor => {
  const [batch, heads, tokens, headDim] = x.shape as [number, number, number, number];
  return x.permute([0, 2, 1, 3]).reshape([batch * tokens, heads * headDim]);
};
