import { type AttentionArguments, native, ShapeError, ValueError } from "@md/native";
import { lowered, widened } from "../autocast.js";
import { isRecorded } from "../autograd.js";
import { executeAll } from "../primitives.js";
import type { Generator, GeneratorState } from "../random.js";
import type { Tensor } from "../tensor.js";
import { cat } from "./indexing.js";
import type { AttentionMask } from "./attention-mask.js";
import { codeOf } from "./code-of.js";

/** LayerNorm over headDim, shared by all heads. */
export interface HeadNorm {
  /** [headDim] */
  weight: Tensor;
  /** [headDim] */
  bias?: Tensor | null;
}

export interface MaskedAttentionOptions {
  /** Which keys a query attends. Default: every one. */
  mask?: AttentionMask;
  /** Default 1/√headDim. */
  scale?: number;
  /** Norm of the queries, fused into loading them. Default: none. */
  qNorm?: HeadNorm;
  /** Norm of the keys. Default: none. */
  kNorm?: HeadNorm;
  /** Of both norms. Default 1e-5. */
  normEps?: number;
  /** Table of {@link rotaryTable} by which queries are rotated, [batch or 1, Tq, pairs, 2]. Default: none. */
  qRotary?: Tensor;
  /** As `qRotary`, for the keys. */
  kRotary?: Tensor;
  /**
   * Keys and values of the action tokens of a level2 mask, [batch, heads, samples · tokensPerSample, headDim]: `k` and `v` are
   * then the condition's alone, from a cache that nothing has to be put before. They come normed and rotated, as `k` does
   * beside them. Default: all are in `k` and `v`.
   */
  own?: { k: Tensor; v: Tensor };
  /** Rotate before the norms instead of after them. Default false. */
  rotateFirst?: boolean;
  /** Probability, to 1/65536, with which a weight is dropped after the softmax. Default: none are. */
  dropout?: { p: number; generator: Generator };
}

/** What the gradient rule reads of a call, beside its tensors. */
interface CallAttrs {
  mask: AttentionMask | undefined;
  scale: number;
  eps: number;
  rotateFirst: boolean;
  dropout: GeneratorState & { p: number };
}
export interface AttentionAttrs {
  maskedAttention: CallAttrs;
  maskedAttentionGrad: object;
}

/** In the order of `enum class MaskKind` in native/ops/masked_attention/op.h. */
const maskKinds = ["none", "level2", "varlen", "causal", "dense"] as const;
const noIntegers = new Int32Array(0);
const noDropout = { p: 0, seed: 0, offset: 0 };
const KEYS_PER_DRAW = 8;

// `optional`: the tensors of the call behind q, k, v and the own keys and values, in the order of its inputs.
function argumentsOf(
  { mask, scale, eps, rotateFirst, dropout }: CallAttrs,
  optional: readonly (Tensor | null)[],
): AttentionArguments {
  const [dense, qWeight, qBias, qRotary, kWeight, kBias, kRotary] = optional.map((input) => input?.slot ?? -1);
  const level2 = mask?.kind === "level2" ? mask : null;
  const varlen = mask?.kind === "varlen" ? mask : null;
  return [
    codeOf("maskedAttention", "mask.kind", maskKinds, mask?.kind ?? "none"),
    level2?.samples ?? 0,
    level2?.tokensPerSample ?? 0,
    level2?.conditionTokens ?? 0,
    level2?.conditionLengths ?? varlen?.cuSeqlensQ ?? noIntegers,
    varlen?.cuSeqlensK ?? noIntegers,
    dense!,
    scale,
    qWeight!,
    qBias!,
    qRotary!,
    kWeight!,
    kBias!,
    kRotary!,
    eps,
    rotateFirst,
    dropout.p,
    dropout.seed,
    dropout.offset,
  ];
}

/**
 * softmax(scale · q kᵀ under `mask`) v (Mini-Diffuser, Eq. 12), fused: an online softmax, with O(tokens) of memory beside
 * the output. q is [batch, heads, Tq, headDim], k and v are [batch, heads, Tk, headDim]; any float; headDim is at most
 * 128 on a CUDA device. Permuted views of [batch, tokens, heads, headDim] are read in place, and the output has that
 * memory order: permuting and merging its heads copies nothing. A query that attends no key gives 0 out and 0 gradients.
 *
 * LayerNorm and 3D rotation of q and k are applied as their rows are loaded: neither normed nor rotated copies are kept
 * for the backward pass. Dropout keeps nothing either: the backward pass draws the same numbers again.
 *
 * Of f16 and bf16 only q, k, v and the output are; norms, rotation, softmax and sums are f32.
 *
 * Gradients flow to q, k, v and the norms; not to rotary tables or a dense mask.
 *
 * @throws ShapeError, DTypeError; ValueError for a mask whose numbers do not fit, for `own` beside another mask or beside
 *   kNorm and kRotary, or p outside [0, 1)
 */
export function maskedAttention(q: Tensor, k: Tensor, v: Tensor, options: MaskedAttentionOptions = {}): Tensor {
  const { own } = options;
  if (own && !(own.k && own.v))
    throw new ValueError(`[maskedAttention] own.${own.k ? "v" : "k"} is absent, expected both keys and values`);
  if (own && q.device !== "cpu" && options.mask?.kind === "level2" && !options.kNorm && !options.kRotary)
    return maskedAttention(q, cat([own.k, k], 2), cat([own.v, v], 2), { ...options, own: undefined });
  let [ownK, ownV]: (Tensor | null)[] = [own?.k ?? null, own?.v ?? null];
  [q, k, v, ownK, ownV] = lowered(q, k, v, ownK, ownV);
  const { mask, qNorm, kNorm, qRotary, kRotary, normEps = 1e-5, rotateFirst = false, dropout } = options;
  if (mask?.kind === "level2" && mask.conditionLengths?.length === 0 && q.shape[0]! > 0)
    throw new ShapeError(`[maskedAttention] found no condition lengths, expected one for each of ${q.shape[0]!} items`);
  const optional = [
    mask?.kind === "dense" ? mask.mask : null,
    ...[qNorm?.weight, qNorm?.bias, qRotary, kNorm?.weight, kNorm?.bias, kRotary].map((input) =>
      widened(input ?? null),
    ),
  ];
  const attrs: CallAttrs = {
    mask,
    scale: options.scale ?? 1 / Math.sqrt(q.shape.at(-1) || 1),
    eps: normEps,
    rotateFirst,
    dropout: dropout && dropout.p !== 0 ? { p: dropout.p, ...draws(q, k, ownK, dropout.generator) } : noDropout,
  };
  const operands = [q, k, v, ownK, ownV, ...optional];
  const save = isRecorded(operands);
  const [out, logSumExp] = executeAll("maskedAttention", operands, attrs, save ? 2 : 1, () =>
    native.maskedAttention(
      q.slot,
      k.slot,
      v.slot,
      ownK?.slot ?? -1,
      ownV?.slot ?? -1,
      save,
      ...argumentsOf(attrs, optional),
    ),
  );
  logSumExp?.dispose();
  return out!;
}

// One draw of 128 bits for the weights of a query and eight keys.
function draws(q: Tensor, k: Tensor, ownK: Tensor | null, generator: Generator): GeneratorState {
  const queries = q.size / (q.shape.at(-1) || 1);
  const keys = (k.shape.at(-2) ?? 0) + (ownK?.shape.at(-2) ?? 0);
  return generator.take(queries * Math.ceil(keys / KEYS_PER_DRAW), 1);
}

/** Gradients of the inputs of {@link maskedAttention}, in their order, for the cotangent `grad` of the output. */
export function maskedAttentionGrad(
  [q, k, v, ownK, ownV, ...optional]: readonly (Tensor | null)[],
  [out, logSumExp]: readonly (Tensor | null)[],
  grad: Tensor,
  attrs: CallAttrs,
): (Tensor | null)[] {
  const [, qWeight, qBias, , kWeight, kBias] = optional;
  const affine = [qWeight, kWeight].filter((weight) => weight).length;
  const keys = ownK ? 5 : 3;
  const results = executeAll("maskedAttentionGrad", [q!, k!, v!, grad], {}, keys + 2 * affine, () =>
    native.maskedAttentionGrad(
      q!.slot,
      k!.slot,
      v!.slot,
      ownK?.slot ?? -1,
      ownV?.slot ?? -1,
      out!.slot,
      logSumExp!.slot,
      grad.slot,
      ...argumentsOf(attrs, optional),
    ),
  );
  const ofNorm = (weight: Tensor | null | undefined, bias: Tensor | null | undefined): (Tensor | null)[] => {
    if (!weight) return [null, null];
    const [dWeight, dBias] = sums.splice(0, 2);
    return [dWeight!, bias ? dBias! : null];
  };
  const sums = results.splice(keys);
  return [
    ...results,
    ...(ownK ? [] : [null, null]),
    null,
    ...ofNorm(qWeight, qBias),
    null,
    ...ofNorm(kWeight, kBias),
    null,
  ];
}
