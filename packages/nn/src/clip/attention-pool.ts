import { cat, maskedAttention, mean, randn, ShapeError, type Tensor } from "@md/tensor";
import * as init from "../init.js";
import { Linear } from "../layers/linear.js";
import type { RandomLayerOptions } from "../layers/options.js";
import { Module } from "../module.js";
import { type Parameter, parameter } from "../parameter.js";

/**
 * CLIP's attention pooling: the mean of all places attends them and itself. [batch, channels, side, side] ->
 * [batch, outputDim].
 */
export class AttentionPool2d extends Module {
  /** [side² + 1, channels], the mean's first. */
  readonly positionalEmbedding: Parameter;
  readonly kProj: Linear;
  readonly qProj: Linear;
  readonly vProj: Linear;
  readonly cProj: Linear;

  constructor(
    readonly side: number,
    readonly channels: number,
    readonly heads: number,
    outputDim: number,
    options: RandomLayerOptions,
  ) {
    super();
    const { generator, dtype } = options;
    const std = channels ** -0.5;
    const positions = parameter(() => randn([side * side + 1, channels], { generator, dtype }).mul(std));
    this.positionalEmbedding = this.registerParameter("positional_embedding", positions);
    const project = (name: string, outFeatures: number): Linear => {
      const layer = this.registerModule(name, new Linear(channels, outFeatures, options));
      init.normal(layer.weight, { generator, std });
      return layer;
    };
    this.kProj = project("k_proj", channels);
    this.qProj = project("q_proj", channels);
    this.vProj = project("v_proj", channels);
    this.cProj = project("c_proj", outputDim);
  }

  forward(x: Tensor): Tensor {
    const { side, channels, heads } = this;
    if (String(x.shape.slice(1)) !== String([channels, side, side]))
      throw new ShapeError(
        `[AttentionPool2d] x has shape [${x.shape}], expected [batch, ${channels}, ${side}, ${side}]`,
      );
    const batch = x.shape[0]!;
    const places = x.flatten(2).permute([0, 2, 1]);
    const tokens = cat([mean(places, { dim: 1, keepdim: true }), places], 1).add(this.positionalEmbedding);
    const toHeads = (projected: Tensor): Tensor =>
      projected.reshape([batch, projected.shape[1]!, heads, channels / heads]).permute([0, 2, 1, 3]);
    const query = this.qProj.forward(tokens.narrow(1, 0, 1));
    const keys = [this.kProj, this.vProj].map((layer) => toHeads(layer.forward(tokens)));
    const attended = maskedAttention(toHeads(query), keys[0]!, keys[1]!);
    return this.cProj.forward(attended.permute([0, 2, 1, 3]).reshape([batch, channels]));
  }
}
