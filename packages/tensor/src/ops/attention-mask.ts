import { ValueError } from "@md/native";
import type { Tensor } from "../tensor.js";
import { MAX_INT32 } from "./shape.js";

/** Action tokens sample by sample, then condition tokens: the Level-2 sequence of one batch item. */
export interface Level2Mask {
  readonly kind: "level2";
  /** M, noised samples of an item. 0 for a sequence of condition tokens alone. */
  readonly samples: number;
  /** L, action tokens of a sample. */
  readonly tokensPerSample: number;
  /** N + C, condition tokens of an item, padding included. */
  readonly conditionTokens: number;
  /** Valid condition tokens of each item, the first ones; the padding behind them neither attends nor is attended. */
  readonly conditionLengths: Int32Array | null;
}
/** Segments of different lengths, side by side in a batch of 1. */
export interface VarlenMask {
  readonly kind: "varlen";
  readonly cuSeqlensQ: Int32Array;
  readonly cuSeqlensK: Int32Array;
}
export interface CausalMask {
  readonly kind: "causal";
}
export interface DenseMask {
  readonly kind: "dense";
  readonly mask: Tensor;
}
/** Which keys a query attends, described rather than materialised; see {@link level2}, {@link varlen}, {@link causal}, {@link dense}. */
export type AttentionMask = Level2Mask | VarlenMask | CausalMask | DenseMask;

/**
 * The mask of Mini-Diffuser, Eq. 13, for sequences of samples · tokensPerSample action tokens followed by
 * conditionTokens: an action sample attends itself and the condition, the condition attends the condition. Queries are
 * the whole sequence, or the action tokens alone (keys and values of the condition may then come from a cache); keys are
 * the whole sequence, or the condition beside the `own` ones of the actions. A sample's output does not depend on any
 * other sample, to the bit.
 *
 * Where items have different numbers of condition tokens, put them first, pad to `conditionTokens` and give
 * `conditionLengths` [batch]. Padding tokens give 0 out and 0 gradients.
 */
export function level2(options: {
  samples: number;
  tokensPerSample: number;
  conditionTokens: number;
  conditionLengths?: Int32Array | readonly number[];
}): Level2Mask {
  const { samples, tokensPerSample, conditionTokens, conditionLengths } = options;
  counts("level2", "samples, tokensPerSample, conditionTokens", [samples, tokensPerSample, conditionTokens]);
  return {
    kind: "level2",
    samples,
    tokensPerSample,
    conditionTokens,
    conditionLengths: conditionLengths ? counts("level2", "conditionLengths", conditionLengths) : null,
  };
}

/**
 * Block-diagonal attention over segments laid side by side, as flash-attention's varlen functions: q is
 * [1, heads, totalQ, headDim]; segment i holds queries cuSeqlensQ[i] … cuSeqlensQ[i + 1] and keys cuSeqlensK[i] … . Both
 * have segments + 1 entries that rise from 0 to the number of tokens; segments of length 0 are allowed.
 * `cuSeqlensK` defaults to `cuSeqlensQ`.
 */
export function varlen(options: {
  cuSeqlensQ: Int32Array | readonly number[];
  cuSeqlensK?: Int32Array | readonly number[];
}): VarlenMask {
  const cuSeqlensQ = counts("varlen", "cuSeqlensQ", options.cuSeqlensQ);
  return {
    kind: "varlen",
    cuSeqlensQ,
    cuSeqlensK: options.cuSeqlensK ? counts("varlen", "cuSeqlensK", options.cuSeqlensK) : cuSeqlensQ,
  };
}

/** Query i attends keys j <= i + Tk - Tq: the last query attends all keys, as in flash-attention. */
export const causal = (): CausalMask => ({ kind: "causal" });

/** Any mask: bool, [Tq, Tk] or anything that broadcasts to [batch, heads, Tq, Tk]; true = may attend. No gradient. */
export const dense = (mask: Tensor): DenseMask => ({ kind: "dense", mask });

function counts(mask: string, field: string, values: Int32Array | readonly number[]): Int32Array {
  for (const value of values) {
    if (!Number.isInteger(value) || value < 0 || value > MAX_INT32) {
      throw new ValueError(`[${mask}] ${field}: found ${value}, expected an integer from 0 to ${MAX_INT32}`);
    }
  }
  return Int32Array.from(values);
}
