import {
  applyRotary,
  type AttentionMask,
  type Generator,
  linear,
  maskedAttention,
  type MaskedAttentionOptions,
  ShapeError,
  type Tensor,
  ValueError,
  zeros,
} from "@md/tensor";
import * as init from "../init.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import { headDimOf, headNorm } from "./heads.js";
import { LayerNorm } from "./norms.js";
import { Linear } from "./linear.js";
import type { RandomLayerOptions } from "./options.js";

export interface MultiheadAttentionOptions extends RandomLayerOptions {
  /** LayerNorm over headDim of queries and keys, before they are rotated. Default false. */
  qkNorm?: boolean;
  /** Probability with which an attention weight is dropped in training. Default 0. */
  dropout?: number;
}

/** Keys and values by head, each [batch, heads, tokens, headDim]; may be cached and joined along the tokens. */
export interface KeyValue {
  k: Tensor;
  v: Tensor;
}

export interface AttendOptions {
  /** Which keys a query attends. Default all. */
  mask?: AttentionMask;
  /** Of the action tokens of a level2 mask, where `keyValue` is the condition's alone: see `maskedAttention`. Default: none. */
  own?: KeyValue;
  /** Rotary table of the queries, see RotaryEmbedding3d. Default: not rotated. */
  rotary?: Tensor;
  /** Added to the result in the same pass, [batch, Tq, embedDim]. Default: none. */
  residual?: Tensor;
}
export interface AttentionOptions extends Omit<AttendOptions, "own"> {
  /** What keys and values are made of, [batch, Tk, embedDim]. Default: the queries' input. */
  keyValue?: Tensor;
  /** Rotary table of the keys. Default: `rotary`, for self-attention. */
  keyRotary?: Tensor;
}

/**
 * Multi-head attention (Vaswani et al., 2017) on the fused masked kernel: [batch, tokens, embedDim] -> the same. Names
 * and initial values of the projections are PyTorch's.
 */
export class MultiheadAttention extends Module {
  readonly headDim: number;
  /** [3·embedDim, embedDim]: queries, keys, values. */
  readonly inProjWeight: Parameter;
  /** [3·embedDim] */
  readonly inProjBias: Parameter;
  readonly outProj: Linear;
  readonly qNorm: LayerNorm | null;
  readonly kNorm: LayerNorm | null;
  readonly dropout: number;
  readonly #generator: Generator;

  constructor(
    readonly embedDim: number,
    readonly numHeads: number,
    { qkNorm = false, dropout = 0, ...options }: MultiheadAttentionOptions,
  ) {
    super();
    this.headDim = headDimOf("MultiheadAttention", embedDim, numHeads);
    if (!(dropout >= 0 && dropout < 1)) {
      throw new ValueError(`[MultiheadAttention] dropout is ${dropout}, expected 0 <= dropout < 1`);
    }
    const { dtype, generator } = options;
    this.dropout = dropout;
    this.#generator = generator;
    const weight = parameter(() => init.xavierUniform(zeros([3 * embedDim, embedDim], { dtype }), { generator }));
    this.inProjWeight = this.registerParameter("in_proj_weight", weight);
    this.inProjBias = this.registerParameter(
      "in_proj_bias",
      parameter(() => zeros([3 * embedDim], { dtype })),
    );
    this.outProj = this.registerModule("out_proj", new Linear(embedDim, embedDim, options));
    init.zeros(this.outProj.bias!);
    this.qNorm = qkNorm ? this.registerModule("q_norm", new LayerNorm(this.headDim, { dtype })) : null;
    this.kNorm = qkNorm ? this.registerModule("k_norm", new LayerNorm(this.headDim, { dtype })) : null;
  }

  /** Self-attention of x [batch, Tq, embedDim], or cross-attention to `keyValue`. */
  forward(x: Tensor, { keyValue, keyRotary, rotary, mask, residual }: AttentionOptions = {}): Tensor {
    const from = keyValue ?? x;
    const kRotary = keyValue ? keyRotary : (keyRotary ?? rotary);
    const kv = { k: toHeads(this.#project(from, 1)), v: toHeads(this.#project(from, 2)) };
    const kNorm = this.kNorm ? headNorm(this.kNorm) : undefined;
    return this.#attend(x, kv, { mask, qRotary: rotary, kNorm, kRotary }, residual);
  }

  /** Keys and values of x [batch, tokens, embedDim], keys normed and then rotated by `rotary`. */
  projectKeyValue(x: Tensor, rotary?: Tensor): KeyValue {
    const keys = this.#project(x, 1);
    const k = toHeads(this.kNorm ? this.kNorm.forward(keys) : keys);
    return { k: rotary ? applyRotary(k, rotary) : k, v: toHeads(this.#project(x, 2)) };
  }

  /** Attention of the queries of x [batch, Tq, embedDim] to given keys and values. */
  attend(x: Tensor, keyValue: KeyValue, { mask, own, rotary, residual }: AttendOptions = {}): Tensor {
    return this.#attend(x, keyValue, { mask, own, qRotary: rotary }, residual);
  }

  #attend(x: Tensor, { k, v }: KeyValue, options: MaskedAttentionOptions, residual?: Tensor): Tensor {
    const heads = maskedAttention(toHeads(this.#project(x, 0)), k, v, {
      ...options,
      qNorm: this.qNorm ? headNorm(this.qNorm) : undefined,
      dropout: this.training ? { p: this.dropout, generator: this.#generator } : undefined,
    });
    return this.outProj.forward(heads.permute([0, 2, 1, 3]).flatten(2), residual);
  }

  // Part 0, 1 or 2 of the joint projection: [batch, tokens, heads, headDim].
  #project(x: Tensor, part: 0 | 1 | 2): Tensor {
    const { embedDim } = this;
    if (x.rank !== 3 || x.shape[2] !== embedDim) {
      throw new ShapeError(`[MultiheadAttention] x has shape [${x.shape}], expected [batch, tokens, ${embedDim}]`);
    }
    const weight = this.inProjWeight.narrow(0, part * embedDim, embedDim);
    const bias = this.inProjBias.narrow(0, part * embedDim, embedDim);
    return linear(x, weight, bias).reshape([x.shape[0]!, x.shape[1]!, this.numHeads, this.headDim]);
  }
}

const toHeads = (x: Tensor): Tensor => x.permute([0, 2, 1, 3]);
