import { type Context, Linear, Module } from "@md/nn";
import { indexSelect, softmax, tensor, type Tensor, zeros } from "@md/tensor";
import type { RandomLayerOptions } from "@md/nn";

/** Instruction tokens to context tokens, and to one vector an item by attention pooling (A.3). */
export class LanguageEncoder extends Module {
  private readonly linear: Linear;
  private readonly score: Linear;

  constructor(instructionDim: number, contextDim: number, options: RandomLayerOptions) {
    super();
    this.linear = new Linear(instructionDim, contextDim, options);
    this.score = new Linear(instructionDim, 1, options);
  }

  /**
   * @param words of all items, their tokens [T, instructionDim]
   * @returns context tokens [T, contextDim], and their weighted mean [B, contextDim], 0 for an item without tokens
   */
  forward({ tokens, offsets }: Context): { context: Context; pooled: Tensor } {
    const context = { tokens: this.linear.forward(tokens), offsets };
    const items = offsets.length - 1;
    const longest = Math.max(...Array.from({ length: items }, (_, i) => offsets[i + 1]! - offsets[i]!));
    const dim = context.tokens.shape[1]!;
    const { dtype, device } = tokens;
    if (longest === 0) return { context, pooled: zeros([items, dim], { dtype, device }) };
    const place = new Int32Array(items * longest);
    const valid = new Float32Array(items * longest);
    for (let item = 0; item < items; item++)
      for (let t = offsets[item]!; t < offsets[item + 1]!; t++) {
        place[item * longest + t - offsets[item]!] = t;
        valid[item * longest + t - offsets[item]!] = 1;
      }
    const rows = tensor(place, { device });
    const mask = tensor(valid, { shape: [items, longest], dtype, device });
    const scores = indexSelect(this.score.forward(tokens).flatten(), 0, rows).reshape([items, longest]);
    // Far below any score, yet finite: an item without tokens has no NaN.
    const weights = softmax(scores.add(mask.sub(1).mul(1e30))).mul(mask);
    const words = indexSelect(context.tokens, 0, rows).reshape([items, longest, dim]);
    return { context, pooled: weights.unsqueeze(1).matmul(words).squeeze(1) };
  }
}
