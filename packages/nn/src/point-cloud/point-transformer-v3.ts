import {
  argsort,
  checkpoint,
  type Curve,
  curves,
  gelu,
  type Generator,
  rand,
  scope,
  type Tensor,
  ValueError,
} from "@md/tensor";
import { ModuleList } from "../containers.js";
import type { BatchNorm1d } from "../layers/norms.js";
import { SubMConv3d } from "../layers/subm-conv3d.js";
import { Module } from "../module.js";
import type { Context } from "./context-attention.js";
import { ContextBlock, PointBlock, type PointBlockOptions } from "./point-block.js";
import type { PointCloud } from "./point-cloud.js";
import { GridPool, GridUnpool, pointBatchNorm } from "./pooling.js";

export interface PointTransformerV3Options extends PointBlockOptions {
  inChannels: number;
  /** Width of each encoder stage, fine to coarse. */
  encChannels: readonly number[];
  encNumHeads: readonly number[];
  /** Blocks of each encoder stage. Default 1 each. */
  encDepths?: readonly number[];
  /** Width of each decoder stage, fine to coarse: one fewer than encoder stages. */
  decChannels: readonly number[];
  decNumHeads: readonly number[];
  /** Default 1 each. */
  decDepths?: readonly number[];
  /** Between encoder stages, powers of two. Default 2 each. */
  strides?: readonly number[];
  /** Curves that blocks take in turn. Default all four. */
  orders?: readonly Curve[];
  /** Deals the curves anew at every level and forward pass of training. Default false. */
  shuffleOrders?: boolean;
  /** Width of context tokens, to which a block attends after each block of points. Default: no such blocks. */
  contextDim?: number;
  /** A decoder stage's first block convolves the skip branch alone, as the released Mini-Diffuser does. Default false. */
  convolveSkip?: boolean;
  /** Blocks are computed again in the backward pass instead of keeping their activations. Default false. */
  checkpoint?: boolean;
}

/** A level of the U-Net and its features [V, C]. */
export interface LevelFeatures {
  cloud: PointCloud;
  features: Tensor;
}

/** Blocks of one level, those of points and of context in turn. */
class PointStage extends Module {
  readonly blocks: ModuleList<PointBlock>;
  readonly contextBlocks: ModuleList<ContextBlock>;

  constructor(dim: number, numHeads: number, depth: number, options: PointBlockOptions & { contextDim?: number }) {
    super();
    const { contextDim } = options;
    const each = <M extends Module>(make: () => M): ModuleList<M> =>
      new ModuleList(Array.from({ length: depth }, make));
    this.blocks = each(() => new PointBlock(dim, numHeads, options));
    this.contextBlocks = this.registerModule(
      "context_blocks",
      contextDim === undefined
        ? new ModuleList<ContextBlock>()
        : each(() => new ContextBlock(dim, numHeads, contextDim, options)),
    );
  }

  forward(cloud: PointCloud, x: Tensor, orders: readonly Curve[], context?: Context, convolved = x): Tensor {
    const contextBlocks = [...this.contextBlocks];
    let features = x;
    [...this.blocks].forEach((block, i) => {
      features = block.forward(cloud, features, orders[i % orders.length]!, i === 0 ? convolved : features);
      if (context) features = contextBlocks[i]?.forward(features, cloud.offsets, context) ?? features;
    });
    return features;
  }
}

/**
 * The U-Net of Point Transformer V3 (Wu et al., 2024) on grid cells: a convolution of 5³, stages of patch attention along
 * space-filling curves, grid pooling by the maximum and unpooling with skips; after each block, where asked for, attention
 * to context tokens (Garcia et al., "3D-LOTUS", 2024).
 */
export class PointTransformerV3 extends Module {
  private readonly stem: SubMConv3d;
  private readonly stemNorm: BatchNorm1d;
  private readonly encoder: ModuleList<PointStage>;
  private readonly pools: ModuleList<GridPool>;
  private readonly decoder: ModuleList<PointStage>;
  private readonly unpools: ModuleList<GridUnpool>;
  private readonly strides: readonly number[];
  private readonly orders: readonly Curve[];
  private readonly shuffleOrders: boolean;
  private readonly hasContext: boolean;
  private readonly convolveSkip: boolean;
  private readonly checkpointed: boolean;
  readonly #generator: Generator;

  /** ValueError where lists do not fit the number of stages or heads their channels. */
  constructor(options: PointTransformerV3Options) {
    super();
    const { inChannels, encChannels, decChannels, encNumHeads, decNumHeads } = options;
    const stages = encChannels.length;
    if (stages === 0) throw new ValueError("[PointTransformerV3] encChannels is empty, expected at least one stage");
    const ones = (length: number): number[] => new Array<number>(length).fill(1);
    const { encDepths = ones(stages), decDepths = ones(stages - 1), orders = curves } = options;
    this.strides = options.strides ?? new Array<number>(stages - 1).fill(2);
    const { strides } = this;
    requireLengths({ encNumHeads, encDepths }, stages);
    requireLengths({ decChannels, decNumHeads, decDepths, strides }, stages - 1);
    requireEach(
      { encDepths, decDepths },
      "integers of at least 0",
      (depth) => Number.isSafeInteger(depth) && depth >= 0,
    );
    requireEach({ strides }, "powers of two from 2", (stride) => stride >= 2 && Number.isInteger(Math.log2(stride)));
    if (orders.length === 0) throw new ValueError("[PointTransformerV3] orders is empty, expected at least one curve");
    requireEach({ orders }, `curves among ${curves}`, (curve) => curves.includes(curve));
    this.orders = orders;
    this.shuffleOrders = options.shuffleOrders ?? false;
    this.convolveSkip = options.convolveSkip ?? false;
    this.checkpointed = options.checkpoint ?? false;
    this.hasContext = options.contextDim !== undefined;
    this.#generator = options.generator;

    this.stem = new SubMConv3d(inChannels, encChannels[0]!, 5, { ...options, bias: false });
    this.stemNorm = this.registerModule("stem_norm", pointBatchNorm(encChannels[0]!, options));
    const between = encChannels.slice(1).map((_, i) => i);
    this.encoder = new ModuleList(
      encChannels.map((channels, i) => new PointStage(channels, encNumHeads[i]!, encDepths[i]!, options)),
    );
    this.pools = new ModuleList(between.map((i) => new GridPool(encChannels[i]!, encChannels[i + 1]!, options)));
    this.decoder = new ModuleList(
      decChannels.map((channels, i) => new PointStage(channels, decNumHeads[i]!, decDepths[i]!, options)),
    );
    this.unpools = new ModuleList(
      between.map((i) => {
        const below = decChannels[i + 1] ?? encChannels.at(-1)!;
        return new GridUnpool(below, encChannels[i]!, decChannels[i]!, options);
      }),
    );
  }

  /**
   * @param cloud the finest level
   * @param x [V, inChannels]
   * @param context of each item; needed with `contextDim`, refused without
   * @returns the coarsest level as the encoder leaves it, then each decoder stage, coarse to fine
   */
  forward(cloud: PointCloud, x: Tensor, context?: Context): LevelFeatures[] {
    if (this.hasContext !== (context !== undefined)) {
      const [found, expected] = context ? ["given", "none without"] : ["absent", "context tokens with"];
      throw new ValueError(`[PointTransformerV3] context is ${found}, expected ${expected} contextDim`);
    }
    const encoded: LevelFeatures[] = [];
    let level = cloud;
    let features = scope(() => gelu(this.stemNorm.forward(this.stem.forward(cloud.neighbourMap(5), x))));
    [...this.encoder].forEach((stage, i) => {
      if (i > 0) {
        level = level.pool(this.strides[i - 1]!);
        features = this.pools.at(i - 1).forward(level, features);
      }
      features = this.run(stage, level, features, context);
      encoded.push({ cloud: level, features });
    });
    const outputs = [encoded.pop()!];
    for (let i = encoded.length - 1; i >= 0; i--) {
      const finer = encoded[i]!;
      const below = outputs.at(-1)!;
      const { sum, skip } = this.unpools.at(i).forward(below.cloud, below.features, finer.features);
      const convolved = this.convolveSkip ? skip : sum;
      const decoded = this.run(this.decoder.at(i), finer.cloud, sum, context, convolved);
      outputs.push({ cloud: finer.cloud, features: decoded });
    }
    return outputs;
  }

  private run(stage: PointStage, cloud: PointCloud, x: Tensor, context?: Context, convolved = x): Tensor {
    const orders = this.dealtOrders();
    if (!this.checkpointed || !this.training) return stage.forward(cloud, x, orders, context, convolved);
    const again = (x: Tensor, convolved: Tensor, tokens?: Tensor): Tensor =>
      stage.forward(cloud, x, orders, context && { ...context, tokens: tokens! }, convolved);
    const options = { generators: [this.#generator] };
    return context
      ? checkpoint(again, [x, convolved, context.tokens] as const, options)
      : checkpoint(again, [x, convolved] as const, options);
  }

  private dealtOrders(): readonly Curve[] {
    if (!this.shuffleOrders || !this.training) return this.orders;
    const draws = rand([this.orders.length], { generator: this.#generator });
    return argsort(draws)
      .toFlatArray()
      .map((i) => this.orders[Number(i)]!);
  }
}

function requireEach<T>(
  lists: Readonly<Record<string, readonly T[]>>,
  expected: string,
  fits: (value: T) => boolean,
): void {
  for (const [name, list] of Object.entries(lists)) {
    if (!list.every(fits)) throw new ValueError(`[PointTransformerV3] ${name} is [${list}], expected ${expected}`);
  }
}

function requireLengths(lists: Readonly<Record<string, readonly unknown[]>>, expected: number): void {
  for (const [name, list] of Object.entries(lists)) {
    if (list.length !== expected)
      throw new ValueError(`[PointTransformerV3] ${name} has ${list.length} entries, expected ${expected}`);
  }
}
