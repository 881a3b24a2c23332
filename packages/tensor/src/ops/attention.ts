import { native } from "@md/native";
import { executeAll } from "../primitives.js";
import type { Tensor } from "../tensor.js";
import type { AttentionMask } from "./attention-mask.js";

/** What the addon takes for a mask, apart from the tensor of a dense one. */
interface MaskArguments {
  kind: number;
  samples: number;
  tokensPerSample: number;
  conditionTokens: number;
  /** conditionLengths of level2, cuSeqlensQ of varlen. */
  queryIntegers: Int32Array;
  cuSeqlensK: Int32Array;
}
export interface AttentionAttrs {
  maskedAttention: { scale: number; mask: MaskArguments };
  maskedAttentionGrad: object;
}

/** In the order of `enum class MaskKind` in native/ops/masked_attention/op.h. */
const maskKinds = ["none", "level2", "varlen", "causal", "dense"] as const;
const noIntegers = new Int32Array(0);

function maskArguments(mask: AttentionMask | undefined): MaskArguments {
  return {
    kind: maskKinds.indexOf(mask?.kind ?? "none"),
    samples: mask?.kind === "level2" ? mask.samples : 0,
    tokensPerSample: mask?.kind === "level2" ? mask.tokensPerSample : 0,
    conditionTokens: mask?.kind === "level2" ? mask.conditionTokens : 0,
    queryIntegers:
      (mask?.kind === "level2" ? mask.conditionLengths : mask?.kind === "varlen" ? mask.cuSeqlensQ : null) ??
      noIntegers,
    cuSeqlensK: mask?.kind === "varlen" ? mask.cuSeqlensK : noIntegers,
  };
}

/**
 * softmax(scale · q kᵀ under `mask`) v (Mini-Diffuser, Eq. 12), fused: an online softmax, with O(tokens) of memory beside
 * the output. q is [batch, heads, Tq, headDim], k and v are [batch, heads, Tk, headDim]; f32 or f64. Permuted views of
 * [batch, tokens, heads, headDim] are read in place, and the output has that memory order: permuting and merging its
 * heads copies nothing. Gradients flow to q, k and v. A query that attends no key gives 0 out and 0 gradients.
 *
 * @param options.mask default: every query attends every key
 * @param options.scale default 1/√headDim
 * @throws ShapeError, DTypeError; ValueError for a mask whose numbers do not fit
 */
export function maskedAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: { mask?: AttentionMask; scale?: number } = {},
): Tensor {
  const mask = maskArguments(options.mask);
  const dense = options.mask?.kind === "dense" ? options.mask.mask : null;
  const scale = options.scale ?? 1 / Math.sqrt(q.shape.at(-1) || 1);
  const [out, logSumExp] = executeAll("maskedAttention", [q, k, v, dense], { scale, mask }, 2, () =>
    native.maskedAttention(
      q.slot,
      k.slot,
      v.slot,
      scale,
      mask.kind,
      mask.samples,
      mask.tokensPerSample,
      mask.conditionTokens,
      mask.queryIntegers,
      mask.cuSeqlensK,
      dense?.slot ?? -1,
    ),
  );
  logSumExp!.dispose();
  return out!;
}

/** Gradients of q, k and v for the cotangent `grad` of the output. */
export function maskedAttentionGrad(
  [q, k, v, dense]: readonly (Tensor | null)[],
  [out, logSumExp]: readonly (Tensor | null)[],
  grad: Tensor,
  { scale, mask }: AttentionAttrs["maskedAttention"],
): Tensor[] {
  return executeAll("maskedAttentionGrad", [q!, k!, v!, grad], {}, 3, () =>
    native.maskedAttentionGrad(
      q!.slot,
      k!.slot,
      v!.slot,
      out!.slot,
      logSumExp!.slot,
      grad.slot,
      scale,
      mask.kind,
      mask.samples,
      mask.tokensPerSample,
      mask.conditionTokens,
      mask.queryIntegers,
      mask.cuSeqlensK,
      dense?.slot ?? -1,
    ),
  );
}
