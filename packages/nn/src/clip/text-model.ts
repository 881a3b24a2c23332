import { gather, matmul, ShapeError, type Tensor, tensor, ValueError, zeros } from "@md/tensor";
import { ModuleList } from "../containers.js";
import * as init from "../init.js";
import { Embedding } from "../layers/embedding.js";
import { LayerNorm } from "../layers/norms.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";
import { ResidualAttentionBlock } from "./residual-attention-block.js";
import { CLIP_CONTEXT_LENGTH } from "./tokenizer.js";

/** Sizes of a text model. */
export interface ClipTextSizes {
  /** Default 49,408. */
  vocabularySize?: number;
  /** Default 77. */
  contextLength?: number;
  /** Features of a token. Default 512. */
  width?: number;
  /** Default 12. */
  layers?: number;
  /** Default width / 64. */
  heads?: number;
  /** Features of the pooled text, 1024 beside RN50; null: a model without projection. Default 512. */
  embedDim?: number | null;
}

class Transformer extends Module {
  readonly resblocks: ModuleList<ResidualAttentionBlock>;

  constructor(width: number, layers: number, heads: number, options: RandomLayerOptions) {
    super();
    const blocks = Array.from({ length: layers }, () => new ResidualAttentionBlock(width, heads, options));
    this.resblocks = new ModuleList(blocks);
  }
}

/**
 * CLIP's text transformer (Radford et al., 2021; OpenAI's `clip/model.py`), with its names and initial values. Defaults
 * are those of the model beside ViT-B/32.
 */
export class ClipTextModel extends Module {
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly width: number;
  readonly tokenEmbedding: Embedding;
  /** [contextLength, width] */
  readonly positionalEmbedding: Parameter;
  readonly transformer: Transformer;
  readonly lnFinal: LayerNorm;
  /** [width, embedDim] */
  readonly textProjection: Parameter | null;

  constructor({
    vocabularySize = 49_408,
    contextLength = CLIP_CONTEXT_LENGTH,
    width = 512,
    layers = 12,
    heads = width / 64,
    embedDim = 512,
    ...options
  }: ClipTextSizes & RandomLayerOptions) {
    super();
    const { generator, dtype } = options;
    const normal = (shape: readonly number[], std: number): Parameter =>
      parameter(() => init.normal(zeros(shape, { dtype }), { generator, std }));
    this.vocabularySize = vocabularySize;
    this.contextLength = contextLength;
    this.width = width;
    this.tokenEmbedding = this.registerModule("token_embedding", new Embedding(vocabularySize, width, options));
    init.normal(this.tokenEmbedding.weight, { generator, std: 0.02 });
    this.positionalEmbedding = this.registerParameter("positional_embedding", normal([contextLength, width], 0.01));
    this.transformer = new Transformer(width, layers, heads, options);
    for (const { attn, mlp } of this.transformer.resblocks) {
      const std = width ** -0.5;
      init.normal(attn.inProjWeight, { generator, std });
      init.normal(attn.outProj.weight, { generator, std: std * (2 * layers) ** -0.5 });
      init.normal(mlp.cFc.weight, { generator, std: (2 * width) ** -0.5 });
      init.normal(mlp.cProj.weight, { generator, std: std * (2 * layers) ** -0.5 });
    }
    this.lnFinal = this.registerModule("ln_final", new LayerNorm(width, { dtype }));
    this.textProjection =
      embedDim === null ? null : this.registerParameter("text_projection", normal([width, embedDim], width ** -0.5));
  }

  /**
   * Features of each token, behind the last layer and the final norm.
   *
   * @param ids i32 or i64 [batch, tokens], at most contextLength of them; see `ClipTokenizer.tokenize`
   * @returns [batch, tokens, width]; a token's do not depend on those behind it
   */
  forward(ids: Tensor): Tensor {
    const tokens = ids.shape[1];
    if (ids.rank !== 2 || tokens === undefined || tokens > this.contextLength)
      throw new ShapeError(
        `[ClipTextModel] ids have shape [${ids.shape}], expected [batch, at most ${this.contextLength}]`,
      );
    let x = this.tokenEmbedding.forward(ids).add(this.positionalEmbedding.narrow(0, 0, tokens));
    for (const block of this.transformer.resblocks) x = block.forward(x);
    return this.lnFinal.forward(x);
  }

  /**
   * The text as one vector in the space of images: features of its end token, projected. Not normalised.
   *
   * @param features [batch, tokens, width], of {@link forward}
   * @param ends place of the end token in each text
   * @returns [batch, embedDim]
   * @throws ValueError for a model without projection
   */
  pool(features: Tensor, ends: readonly number[]): Tensor {
    if (!this.textProjection) throw new ValueError("[ClipTextModel] has no text_projection");
    const [batch, , width] = features.shape;
    if (features.rank !== 3 || width !== this.width || batch !== ends.length)
      throw new ShapeError(
        `[ClipTextModel] features have shape [${features.shape}], expected [${ends.length}, tokens, ${this.width}]`,
      );
    const { device } = features;
    const index = tensor(Int32Array.from(ends), { shape: [batch, 1, 1], device }).expand([batch, 1, width]);
    return matmul(gather(features, 1, index).reshape([batch, width]), this.textProjection);
  }
}
