import {
  type Context,
  Embedding,
  type LevelFeatures,
  MLP,
  Module,
  ModuleList,
  PointCloud,
  PointTransformerV3,
  type RandomLayerOptions,
  timestepEmbedding,
} from "@md/nn";
import { amin, cat, indexSelect, segmentMax, ShapeError, silu, tensor, type Tensor, ValueError } from "@md/tensor";
import { itemOfRow } from "../item-of-row.js";
import { ActionHead } from "./action-head.js";
import type { ResolvedMiniDiffuserConfig } from "./config.js";
import { LanguageEncoder } from "./language.js";
import { cellsOf, NeckBlock, type NeckMemory, type QueryGrids } from "./neck.js";
import { neckRotary } from "./neck-attention.js";

/**
 * Scenes as the network sees them: points of all items side by side, positions in metres from a centre of the item's own.
 * All lie where the network does, but what the host reads: that best lies on the CPU, where nothing waits for it.
 */
export interface SceneTensors {
  /** [P, 3], f32 or f64. The host reads them. */
  coordinates: Tensor;
  /** Position, colour in [-1, 1], height: [P, 7]. */
  features: Tensor;
  /** Points of each item. */
  counts: readonly number[];
  /** Instruction tokens. */
  words: Context;
  /** Position in metres, rotation's first two columns and opening of the gripper, [B, 10]; needed with `useProprio`. */
  gripper?: Tensor;
  /** Which of an episode's key poses comes next, [B], integers below `maxSteps`; needed with that. The host reads them. */
  stepIds?: Tensor;
}

/** Scenes after the backbone: what every denoising step reads, computed once. */
export interface EncodedScenes {
  items: number;
  /** One a block of the neck, coarse to fine. */
  memories: NeckMemory[];
  /** Where positions fall into the cells of the level of each. */
  grids: QueryGrids;
  /** Instructions, [B, contextDim]. */
  instruction: Tensor;
  /** The greatest feature of each item's finest level, [B, dim]. */
  scene: Tensor;
}

/** Cells an axis that a {@link PointCloud} can have. */
const GRID_CELLS = 2 ** 16;
/** The features of a point: x, y, z, red, green, blue, height. */
const POINT_FEATURES = 7;

/**
 * The network of A.3: a Point Transformer U-Net over the scene, a neck of non-invasive blocks by which noised positions
 * read its levels from coarse to fine, and the action head.
 */
export class MiniDiffuserNetwork extends Module {
  private readonly language: LanguageEncoder;
  private readonly proprio: MLP | null;
  private readonly step: Embedding | null;
  private readonly backbone: PointTransformerV3;
  private readonly anchor: MLP;
  private readonly neck: ModuleList<NeckBlock>;
  private readonly head: ActionHead;

  constructor(
    private readonly config: ResolvedMiniDiffuserConfig,
    options: RandomLayerOptions,
  ) {
    super();
    const { compat, encChannels, decChannels, decNumHeads, contextDim } = config;
    const dim = decChannels[0]!;
    this.language = new LanguageEncoder(config.instructionDim, contextDim, options);
    this.proprio = config.useProprio ? new MLP([10, contextDim, contextDim], options) : null;
    this.step = config.maxSteps > 0 ? new Embedding(config.maxSteps, contextDim, options) : null;
    this.backbone = new PointTransformerV3({
      ...config,
      ...options,
      inChannels: POINT_FEATURES,
      checkpoint: config.checkpointBackbone,
      patchRule: compat === "none" ? "item" : "batch",
      convolveSkip: compat !== "none",
    });
    this.anchor = new MLP([3, 12, dim], options);
    const widths = [...decChannels, encChannels.at(-1)!].reverse();
    this.neck = new ModuleList(
      widths.map((width) => new NeckBlock(dim, decNumHeads[0]!, width, contextDim, config, options)),
    );
    this.head = new ActionHead(dim, options);
  }

  /** Runs the scenes through the backbone, and prepares what the neck reads of each level. */
  encode(scenes: SceneTensors): EncodedScenes {
    const { compat, voxelSize } = this.config;
    const { counts } = scenes;
    const { device } = scenes.features;
    const { grid, origins } = gridOf(scenes.coordinates, counts, voxelSize, compat === "none");
    const coordinates = scenes.coordinates.to(device);
    const origin = tensor(origins, { shape: [1, origins.length / 3, 1, 3], dtype: coordinates.dtype, device });
    const cloud = PointCloud.build({ grid, coordinates, counts });
    const { context: words, pooled } = this.language.forward(scenes.words);
    const context = withTokens(words, this.stateTokens(scenes));
    const levels = this.backbone.forward(cloud, cloud.mean(scenes.features), context);
    const blocks = [...this.neck];
    const memories = levels.map((level, i) => blocks[i]!.remember(level, context));
    const cellSizes = levels.map((_, i) => voxelSize * 2 ** (levels.length - 1 - i));
    const grids = {
      origins: cat(
        levels.map((level) => (compat === "none" ? origin : leastOf(level))),
        0,
      ),
      cellSizes: tensor(cellSizes, { shape: [levels.length, 1, 1, 1], dtype: origin.dtype, device }),
    };
    const finest = levels.at(-1)!;
    const { values, rows } = segmentMax(finest.features, tensor(finest.cloud.offsets, { device }));
    rows.dispose();
    return { items: counts.length, memories, grids, instruction: pooled, scene: values };
  }

  /**
   * What the network was trained to predict of noised positions: the neck alone.
   * @param positions [B, S, 3], metres
   * @param timesteps [B·S], item-major, any dtype and device
   * @returns [B·S, 3]
   */
  predict(encoded: EncodedScenes, positions: Tensor, timesteps: Tensor): Tensor {
    const { items, memories, grids } = encoded;
    const { compat, contextDim, decChannels, decNumHeads } = this.config;
    const samples = positions.shape[1]!;
    const { device } = positions;
    const item = itemOfRow(items, samples, device);
    const blocks = [...this.neck];
    // First of all: what waits for the positions then waits for nothing else.
    const places = cellsOf(positions, grids, compat).map((cells, i) => blocks[i]!.locate(cells, item, memories[i]!));
    const rows = compat === "released" ? item.reshape([items, samples]).permute([1, 0]).flatten() : item;
    const instruction = indexSelect(encoded.instruction, 0, rows);
    const dtype = positions.dtype as "f32" | "f64";
    const time = timestepEmbedding(timesteps.to(device), contextDim, { downscaleFreqShift: 0, dtype });
    const activated = silu(time.add(instruction));
    const placed = compat === "none" ? positions : positions.reshape([1, items * samples, 3]);
    const rotary = neckRotary(placed, decChannels[0]! / decNumHeads[0]!, this.config);
    const tokens = { items, samples, rotary };
    let x = this.anchor.forward(positions.reshape([items * samples, 3]));
    blocks.forEach((block, i) => {
      x = block.forward(x, tokens, activated, memories[i]!, places[i]!);
    });
    return this.head.noise(x);
  }

  /** See {@link ActionHead.pose}. */
  pose({ scene }: EncodedScenes, positions: Tensor): { rotation: Tensor; open: Tensor } {
    return this.head.pose(scene, positions);
  }

  // A token an item of each kind that is configured, [B, contextDim].
  private stateTokens({ counts, gripper, stepIds }: SceneTensors): Tensor[] {
    const items = counts.length;
    const tokens: Tensor[] = [];
    if (this.proprio) {
      tokens.push(this.proprio.forward(requireRows("proprio", "useProprio", gripper, items)));
    }
    if (this.step) {
      const ids = requireRows("stepIds", "maxSteps", stepIds, items);
      const { maxSteps } = this.config;
      const wrong = ids.toFlatArray().find((id) => !(id >= 0 && id < maxSteps));
      if (wrong !== undefined)
        throw new ValueError(`[MiniDiffuser] stepIds has ${wrong}, expected 0 to ${maxSteps - 1} with maxSteps`);
      tokens.push(this.step.forward(ids.to(this.device)));
    }
    return tokens;
  }
}

function requireRows(field: string, key: string, x: Tensor | undefined, items: number): Tensor {
  if (!x) throw new ValueError(`[MiniDiffuser] ${field} is absent, expected it with ${key}`);
  if (x.shape[0] === items) return x;
  throw new ShapeError(`[MiniDiffuser] ${field} has shape [${x.shape}], expected ${items} rows, one an item`);
}

/** The context with further tokens behind each item's own. */
function withTokens({ tokens, offsets }: Context, more: readonly Tensor[]): Context {
  if (more.length === 0) return { tokens, offsets };
  const items = offsets.length - 1;
  const words = offsets[items]!;
  const rows: number[] = [];
  const ends = Int32Array.from(offsets, (end, item) => end + item * more.length);
  for (let item = 0; item < items; item++) {
    for (let row = offsets[item]!; row < offsets[item + 1]!; row++) rows.push(row);
    more.forEach((_, kind) => rows.push(words + kind * items + item));
  }
  return {
    tokens: indexSelect(cat([tokens, ...more], 0), 0, tensor(Int32Array.from(rows), { device: tokens.device })),
    offsets: ends,
  };
}

/**
 * The cell of each point, counted from the least coordinates of its item, or of all items. ValueError naming a point that
 * is no number or too far from the least.
 * @returns `origins`, those least coordinates, [B, 3] or [1, 3]
 */
function gridOf(
  coordinates: Tensor,
  counts: readonly number[],
  voxelSize: number,
  byItem: boolean,
): { grid: Int32Array; origins: number[] } {
  const values = coordinates.data() as Float32Array | Float64Array;
  const round = values instanceof Float32Array ? Math.fround : (x: number): number => x;
  const edge = round(voxelSize);
  const grid = new Int32Array(values.length);
  const origins: number[] = [];
  const ends = byItem ? counts : [counts.reduce((total, count) => total + count, 0)];
  let begin = 0;
  for (const count of ends) {
    const end = begin + 3 * count;
    const least = [Infinity, Infinity, Infinity];
    for (let i = begin; i < end; i++) least[i % 3] = Math.min(least[i % 3]!, values[i]!);
    for (let i = begin; i < end; i++) {
      const cell = Math.floor(round(round(values[i]! - least[i % 3]!) / edge));
      if (!(cell < GRID_CELLS)) {
        const point = `point ${Math.floor(i / 3)} has ${"xyz"[i % 3]} = ${values[i]} m, the least is ${least[i % 3]}`;
        throw new ValueError(`[MiniDiffuser] ${point}, expected at most ${GRID_CELLS} cells of voxelSize between them`);
      }
      grid[i] = cell;
    }
    origins.push(...least);
    begin = end;
  }
  return { grid, origins };
}

const leastOf = ({ cloud }: LevelFeatures): Tensor => amin(cloud.coordinates, { dim: 0 }).reshape([1, 1, 1, 3]);
