import {
  type Context,
  fromHeads,
  headLayerNorm,
  headNorm,
  type KeyValue,
  type LayerNorm,
  Linear,
  Module,
  type RandomLayerOptions,
  toHeads,
} from "@md/nn";
import {
  applyRotary,
  type AttentionMask,
  cat,
  type DeviceName,
  indexSelect,
  maskedAttention,
  masks,
  rotaryTable,
  tensor,
  type Tensor,
  zeros,
} from "@md/tensor";
import type { Compat } from "./config.js";

export interface NeckOptions {
  compat: Compat;
  /** Radians a metre of the fastest channels; 0 for no rotary embedding. */
  ropeScale: number;
}

/** What the action tokens of all items attend to in one level, prepared once a scene. */
export interface NeckKeys extends KeyValue {
  /** Valid keys of each item. */
  lengths: number[];
}

/** Action tokens as the neck's attention sees them: S of each item. */
export interface ActionTokens {
  items: number;
  samples: number;
  /** Of their positions: {@link neckRotary}. */
  rotary: Tensor | undefined;
}

/**
 * The table that rotates tokens at positions [B, tokens, 3], metres, with `compat` [1, all tokens, 3]; undefined without
 * rotary embedding.
 */
export const neckRotary = (positions: Tensor, headDim: number, { ropeScale }: NeckOptions): Tensor | undefined =>
  ropeScale === 0 ? undefined : rotaryTable(positions, headDim, { scale: ropeScale });

/**
 * Attention of action tokens with 3D rotary embedding (A.3). Each attends to the level's points, to the context tokens,
 * which are rotated by nothing, and to itself (Eq. 13); queries and keys are normed, then rotated. With `compat` it
 * attends to the points alone and rotates before the norm, as the released code does; its "released" form rotates queries
 * alone.
 */
export class NeckAttention extends Module {
  private readonly q: Linear;
  private readonly kv: Linear;
  private readonly ownKv: Linear | null;
  private readonly contextKv: Linear | null;
  private readonly proj: Linear;
  private readonly qNorm: LayerNorm;
  private readonly kNorm: LayerNorm;

  constructor(
    private readonly dim: number,
    private readonly numHeads: number,
    pointDim: number,
    contextDim: number,
    private readonly options: NeckOptions,
    layers: RandomLayerOptions,
  ) {
    super();
    this.q = new Linear(dim, dim, layers);
    this.kv = new Linear(pointDim, 2 * dim, layers);
    const paper = options.compat === "none";
    this.ownKv = paper ? this.registerModule("own_kv", new Linear(dim, 2 * dim, layers)) : null;
    this.contextKv = paper ? this.registerModule("context_kv", new Linear(contextDim, 2 * dim, layers)) : null;
    this.proj = new Linear(dim, dim, layers);
    this.qNorm = this.registerModule("q_norm", headLayerNorm(dim / numHeads, layers));
    this.kNorm = this.registerModule("k_norm", headLayerNorm(dim / numHeads, layers));
  }

  /**
   * @param points [V, pointDim], of all items side by side
   * @param coordinates [V, 3], metres
   * @param offsets [B + 1]
   */
  remember(points: Tensor, coordinates: Tensor, offsets: Int32Array, context: Context): NeckKeys {
    if (!this.contextKv) {
      const { k, v } = this.keyValue(this.kv.forward(points));
      return { ...this.placeKeys(k, v, coordinates), lengths: counts(offsets) };
    }
    const rows = cat([this.kv.forward(points), this.contextKv.forward(context.tokens)], 0);
    const { dtype, device } = coordinates;
    const origin = zeros([context.tokens.shape[0]!, 3], { dtype, device });
    const { k, v } = this.keyValue(rows);
    const placed = this.placeKeys(k, v, cat([coordinates, origin], 0));
    const { index, lengths } = paddedByItem([offsets, context.offsets], device);
    const pad = (x: Tensor): Tensor => toHeads(indexSelect(fromHeads(x), 0, index), this.numHeads, lengths.length);
    return { k: pad(placed.k), v: pad(placed.v), lengths };
  }

  /** x [B·S, dim] to the same, plus `residual`. */
  forward(x: Tensor, { items, samples, rotary }: ActionTokens, keys: NeckKeys, residual: Tensor): Tensor {
    const queries = { qNorm: headNorm(this.qNorm), normEps: this.qNorm.eps };
    const q = this.q.forward(x);
    if (!this.ownKv) {
      const out = maskedAttention(toHeads(q, this.numHeads), keys.k, keys.v, {
        ...queries,
        qRotary: rotary,
        rotateFirst: true,
        mask: varlenOf(items, samples, keys.lengths),
      });
      return this.proj.forward(fromHeads(out), residual);
    }
    const byItem = (part: Tensor): Tensor => toHeads(part, this.numHeads, items);
    const [k, v] = this.ownKv.forward(x).split([this.dim, this.dim]) as [Tensor, Tensor];
    const normed = this.kNorm.forward(k.reshape([items, samples, this.numHeads, this.dim / this.numHeads]));
    const out = maskedAttention(byItem(q), keys.k, keys.v, {
      own: { k: rotate(normed.permute([0, 2, 1, 3]), rotary), v: byItem(v) },
      ...queries,
      qRotary: rotary,
      mask: masks.level2({
        samples,
        tokensPerSample: 1,
        conditionTokens: keys.k.shape[2]!,
        conditionLengths: keys.lengths,
      }),
    });
    return this.proj.forward(fromHeads(out), residual);
  }

  // [tokens, 2·dim] to keys and values [1, heads, tokens, headDim].
  private keyValue(rows: Tensor): KeyValue {
    const [k, v] = rows.split([this.dim, this.dim]);
    return { k: toHeads(k!, this.numHeads), v: toHeads(v!, this.numHeads) };
  }

  // Keys [batch, heads, tokens, headDim], normed in the order in which they lie in memory, tokens first.
  private normed(k: Tensor): Tensor {
    return this.kNorm.forward(k.permute([0, 2, 1, 3])).permute([0, 2, 1, 3]);
  }

  private placeKeys(k: Tensor, v: Tensor, coordinates: Tensor): KeyValue {
    const { compat } = this.options;
    if (compat === "released") return { k: this.normed(k), v };
    const rotary = neckRotary(coordinates.unsqueeze(0), this.dim / this.numHeads, this.options);
    if (compat === "fixed") return { k: this.normed(rotate(k, rotary)), v };
    return { k: rotate(this.normed(k), rotary), v };
  }
}

const rotate = (x: Tensor, rotary: Tensor | undefined): Tensor => (rotary ? applyRotary(x, rotary) : x);

const counts = (offsets: Int32Array): number[] => Array.from(offsets.subarray(1), (end, i) => end - offsets[i]!);

function varlenOf(items: number, samples: number, lengths: readonly number[]): AttentionMask {
  const ends = [0];
  for (const length of lengths) ends.push(ends.at(-1)! + length);
  return masks.varlen({
    cuSeqlensQ: Int32Array.from({ length: items + 1 }, (_, item) => item * samples),
    cuSeqlensK: Int32Array.from(ends),
  });
}

/** Where each item's rows of several parts, laid one part after the other, are; padded with row 0 to the longest item. */
function paddedByItem(parts: readonly Int32Array[], device: DeviceName): { index: Tensor; lengths: number[] } {
  const each = parts.map(counts);
  const lengths = each[0]!.map((_, item) => each.reduce((total, part) => total + part[item]!, 0));
  const longest = Math.max(...lengths);
  const index = new Int32Array(lengths.length * longest);
  let first = 0;
  const filled = lengths.map((_, item) => item * longest);
  parts.forEach((offsets, part) => {
    each[part]!.forEach((count, item) => {
      for (let row = 0; row < count; row++) index[filled[item]!++] = first + offsets[item]! + row;
    });
    first += offsets.at(-1)!;
  });
  return { index: tensor(index, { device }), lengths };
}
