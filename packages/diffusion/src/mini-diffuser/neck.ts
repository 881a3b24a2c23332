import {
  type Context,
  ConvolutionEmbedding,
  LayerNorm,
  type LevelFeatures,
  Linear,
  MLP,
  Module,
  type RandomLayerOptions,
} from "@md/nn";
import { cat, indexSelect, type LocalKernelMap, localKernelQuery, scope, Tensor, trunc, zeros } from "@md/tensor";
import type { Compat } from "./config.js";
import { type ActionTokens, NeckAttention, type NeckKeys, type NeckOptions } from "./neck-attention.js";

/** What a block of the neck keeps of its level: actions read it at every denoising step, nothing writes it. */
export interface NeckMemory {
  level: LevelFeatures;
  keys: NeckKeys;
  /** With `compat` and local query a row of 0, then the features convolved at every cell of the level; else null. */
  convolved: Tensor | null;
}

/** The grids of all levels. */
export interface QueryGrids {
  /** A corner of cell (0, 0, 0) of each item or, one for all, [levels, B or 1, 1, 3], metres. */
  origins: Tensor;
  /** Edge of a cell, metres, [levels, 1, 1, 1]. */
  cellSizes: Tensor;
}

/** Where positions [B, S, 3] lie in the grid of each level, in cells: [B·S, 3] each. With `compat` rounded towards 0. */
export function cellsOf(positions: Tensor, { origins, cellSizes }: QueryGrids, compat: Compat): Tensor[] {
  const exact = positions.sub(origins).div(cellSizes);
  const cells = compat === "none" ? exact : trunc(exact).add(0.5);
  const rows = positions.size / 3;
  return cells.reshape([-1, 3]).split(new Array<number>(origins.shape[0]!).fill(rows), 0);
}

/** Where queries read a level: the cells around each, or, with `compat`, a row of what is convolved, i32 [Q]. */
export type QueryPlaces = LocalKernelMap | Tensor;

/** LayerNorm scaled and shifted by a condition: norm(x) · (1 + scale) + shift (Eq. 14), in one pass. */
class ModulatedNorm extends Module {
  private readonly norm: LayerNorm;
  private readonly modulation: Linear;

  constructor(dim: number, conditionDim: number, options: RandomLayerOptions) {
    super();
    this.norm = new LayerNorm(dim, { dtype: options.dtype });
    this.modulation = new Linear(conditionDim, 2 * dim, options);
  }
  /** @param activated the condition behind its SiLU, [rows of x, conditionDim] */
  forward(x: Tensor, activated: Tensor): Tensor {
    const width = x.shape[1]!;
    const [shift, scale] = this.modulation.forward(activated).split([width, width]);
    return this.norm.forward(x, { scale, shift });
  }
}

/**
 * The local kernel query of a level (Eqs. 15-18) behind Linear and LayerNorm: features of the 27 cells around each
 * position. With `compat` the level is convolved everywhere and read at the position's own cell, where an empty one gives
 * 0, as the released code does; for a position in an occupied cell both are the same.
 */
class LocalQuery extends Module {
  private readonly embedding: ConvolutionEmbedding;

  constructor(
    pointDim: number,
    dim: number,
    private readonly compat: Compat,
    options: RandomLayerOptions,
  ) {
    super();
    this.embedding = new ConvolutionEmbedding(pointDim, dim, options);
  }

  remember({ cloud, features }: LevelFeatures): Tensor | null {
    if (this.compat === "none") return null;
    const convolved = this.embedding.forward(cloud, features);
    const { dtype, device } = convolved;
    return cat([zeros([1, convolved.shape[1]!], { dtype, device }), convolved], 0);
  }

  locate(cells: Tensor, item: Tensor, { level, convolved }: NeckMemory): QueryPlaces {
    return convolved ? level.cloud.lookup(cells, item).add(1) : level.cloud.localKernelMap(cells, item);
  }

  /** [Q, dim] */
  forward(places: QueryPlaces, { level, convolved }: NeckMemory): Tensor {
    if (places instanceof Tensor) return indexSelect(convolved!, 0, places);
    const { weight, bias } = this.embedding.conv;
    const kernel = weight.reshape([weight.shape[0]!, 27, -1]).permute([1, 0, 2]);
    return this.embedding.finish(localKernelQuery(places, level.features, kernel).add(bias!));
  }
}

/**
 * One non-invasive block: the level's local features are added to the action tokens, which then attend to the level and
 * pass a feed-forward part, both norms modulated by timestep and instruction. The level never reads an action.
 */
export class NeckBlock extends Module {
  private readonly local: LocalQuery | null;
  private readonly norm1: ModulatedNorm;
  private readonly attn: NeckAttention;
  private readonly norm2: ModulatedNorm;
  private readonly mlp: MLP;

  constructor(
    dim: number,
    numHeads: number,
    pointDim: number,
    contextDim: number,
    options: NeckOptions & { localQuery: boolean },
    layers: RandomLayerOptions,
  ) {
    super();
    this.local = options.localQuery ? new LocalQuery(pointDim, dim, options.compat, layers) : null;
    this.norm1 = new ModulatedNorm(dim, contextDim, layers);
    this.attn = new NeckAttention(dim, numHeads, pointDim, contextDim, options, layers);
    this.norm2 = new ModulatedNorm(dim, contextDim, layers);
    this.mlp = new MLP([dim, 4 * dim, dim], layers);
  }

  remember(level: LevelFeatures, context: Context): NeckMemory {
    const { cloud, features } = level;
    const keys = scope(() => this.attn.remember(features, cloud.coordinates, cloud.offsets, context));
    return { level, keys, convolved: this.local?.remember(level) ?? null };
  }

  /** Where queries at `cells` [Q, 3] of items [Q] read the level; null without local query. No feature decides it. */
  locate(cells: Tensor, item: Tensor, memory: NeckMemory): QueryPlaces | null {
    return this.local?.locate(cells, item, memory) ?? null;
  }

  /**
   * @param x action tokens [B·S, dim]
   * @param activated timestep and instruction of each behind their SiLU, [B·S, contextDim]
   * @param places of their positions, of {@link locate}
   */
  forward(x: Tensor, tokens: ActionTokens, activated: Tensor, memory: NeckMemory, places: QueryPlaces | null): Tensor {
    return scope(() => {
      const located = places ? x.add(this.local!.forward(places, memory)) : x;
      const attended = this.attn.forward(this.norm1.forward(located, activated), tokens, memory.keys, located);
      return this.mlp.forward(this.norm2.forward(attended, activated), attended);
    });
  }
}
