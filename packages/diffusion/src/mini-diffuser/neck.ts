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
import { abs, floor, ge, indexSelect, localKernelQuery, scope, sign, silu, tensor, type Tensor } from "@md/tensor";
import { itemOfRow } from "../item-of-row.js";
import type { Compat } from "./config.js";
import { type ActionTokens, NeckAttention, type NeckKeys, type NeckOptions } from "./neck-attention.js";

/** What a block of the neck keeps of its level: actions read it at every denoising step, nothing writes it. */
export interface NeckMemory {
  level: LevelFeatures;
  keys: NeckKeys;
  /** Features convolved at every cell of the level, with `compat` and local query; else null. */
  convolved: Tensor | null;
}

/** Where positions fall into the cells of a level. */
export interface QueryGrid {
  /** A corner of cell (0, 0, 0) of each item, [B, 1, 3] or, one for all, [1, 1, 3], metres. */
  origin: Tensor;
  /** Edge of a cell, metres. */
  cellSize: number;
}

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
    return this.compat === "none" ? null : this.embedding.forward(cloud, features);
  }

  /** [B·S, dim] of positions [B, S, 3]. */
  forward({ items, samples, positions }: ActionTokens, { level, convolved }: NeckMemory, grid: QueryGrid): Tensor {
    const { device } = positions;
    const item = itemOfRow(items, samples, device);
    const cells = positions.sub(grid.origin).div(grid.cellSize).reshape([-1, 3]);
    if (!convolved) {
      const { weight, bias } = this.embedding.conv;
      const kernel = weight.reshape([weight.shape[0]!, 27, -1]).permute([1, 0, 2]);
      const gathered = localKernelQuery(level.cloud.localKernelMap(cells, item), level.features, kernel);
      return this.embedding.finish(gathered.add(bias!));
    }
    const truncated = floor(abs(cells)).mul(sign(cells)).add(0.5);
    const row = level.cloud.lookup(truncated, item);
    const occupied = ge(row, tensor(0, { dtype: "i32", device })).to(cells.dtype);
    return indexSelect(convolved, 0, row.mul(occupied.to("i32"))).mul(occupied.unsqueeze(1));
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

  /**
   * @param x action tokens [B·S, dim]
   * @param condition timestep and instruction of each, [B·S, contextDim]
   */
  forward(x: Tensor, tokens: ActionTokens, condition: Tensor, memory: NeckMemory, grid: QueryGrid): Tensor {
    return scope(() => {
      const activated = silu(condition);
      const located = this.local ? x.add(this.local.forward(tokens, memory, grid)) : x;
      const attended = this.attn.forward(this.norm1.forward(located, activated), tokens, memory.keys, located);
      return this.mlp.forward(this.norm2.forward(attended, activated), attended);
    });
  }
}
