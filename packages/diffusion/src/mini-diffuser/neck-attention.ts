import { type Context, type KeyValue, LayerNorm, Linear, Module, type RandomLayerOptions } from "@md/nn";
import {
  applyRotary,
  type AttentionMask,
  cat,
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
  /** Radians a metre of the fastest channels. */
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
  /** [B, S, 3], metres. */
  positions: Tensor;
}

/**
 * Attention of action tokens with 3D rotary embedding (A.3). Each attends to the level's points, to the context tokens,
 * which are rotated by nothing, and to itself (Eq. 13); queries and keys are normed, then rotated. With `compat` it
 * attends to the points alone and rotates before the norm, as the released code does; its "released" form rotates queries
 * alone.
 */
export class NeckAttention extends Module {
  private readonly headDim: number;
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
    this.headDim = dim / numHeads;
    this.q = new Linear(dim, dim, layers);
    this.kv = new Linear(pointDim, 2 * dim, layers);
    const paper = options.compat === "none";
    this.ownKv = paper ? this.registerModule("own_kv", new Linear(dim, 2 * dim, layers)) : null;
    this.contextKv = paper ? this.registerModule("context_kv", new Linear(contextDim, 2 * dim, layers)) : null;
    this.proj = new Linear(dim, dim, layers);
    this.qNorm = this.registerModule("q_norm", new LayerNorm(this.headDim, { dtype: layers.dtype, eps: 1e-6 }));
    this.kNorm = this.registerModule("k_norm", new LayerNorm(this.headDim, { dtype: layers.dtype, eps: 1e-6 }));
  }

  /**
   * @param points [V, pointDim], of all items side by side
   * @param coordinates [V, 3], metres
   * @param offsets [B + 1]
   */
  remember(points: Tensor, coordinates: Tensor, offsets: Int32Array, context: Context): NeckKeys {
    if (!this.contextKv) {
      const { k, v } = this.byHead(this.kv.forward(points));
      return { ...this.placeKeys(k, v, coordinates), lengths: counts(offsets) };
    }
    const rows = cat([this.kv.forward(points), this.contextKv.forward(context.tokens)], 0);
    const origin = zeros([context.tokens.shape[0]!, 3], { dtype: coordinates.dtype });
    const { k, v } = this.byHead(rows);
    const placed = this.placeKeys(k, v, cat([coordinates, origin], 0));
    const { index, longest, lengths } = paddedByItem([offsets, context.offsets]);
    const pad = (x: Tensor): Tensor =>
      indexSelect(x.permute([0, 2, 1, 3]).squeeze(0), 0, index)
        .reshape([lengths.length, longest, this.numHeads, this.headDim])
        .permute([0, 2, 1, 3]);
    return { k: pad(placed.k), v: pad(placed.v), lengths };
  }

  /** x [B·S, dim] to the same. */
  forward(x: Tensor, { items, samples, positions }: ActionTokens, keys: NeckKeys): Tensor {
    const byItem = (part: Tensor): Tensor =>
      part.reshape([items, samples, this.numHeads, this.headDim]).permute([0, 2, 1, 3]);
    const rotary = this.rotary(positions);
    const queries = {
      qNorm: { weight: this.qNorm.weight!, bias: this.qNorm.bias },
      normEps: this.qNorm.eps,
    };
    const q = this.q.forward(x);
    if (!this.ownKv) {
      const flat = (part: Tensor): Tensor => part.reshape([1, items * samples, this.numHeads, this.headDim]);
      const out = maskedAttention(flat(q).permute([0, 2, 1, 3]), keys.k, keys.v, {
        ...queries,
        qRotary: rotary.reshape([1, items * samples, ...rotary.shape.slice(2)]),
        rotateFirst: true,
        mask: varlenOf(items, samples, keys.lengths),
      });
      return this.proj.forward(out.permute([0, 2, 1, 3]).reshape(x.shape));
    }
    const [ownK, ownV] = this.ownKv.forward(x).split([this.dim, this.dim]);
    const own = applyRotary(byItem(this.kNorm.forward(this.heads(ownK!))), rotary);
    const out = maskedAttention(byItem(q), cat([own, keys.k], 2), cat([byItem(ownV!), keys.v], 2), {
      ...queries,
      qRotary: rotary,
      mask: masks.level2({
        samples,
        tokensPerSample: 1,
        conditionTokens: keys.k.shape[2]!,
        conditionLengths: keys.lengths,
      }),
    });
    return this.proj.forward(out.permute([0, 2, 1, 3]).reshape(x.shape));
  }

  private rotary(positions: Tensor): Tensor {
    return rotaryTable(positions, this.headDim, { scale: this.options.ropeScale });
  }

  // [rows, dim] to [rows, heads, headDim].
  private heads(x: Tensor): Tensor {
    return x.reshape([x.shape[0]!, this.numHeads, this.headDim]);
  }

  // [rows, 2·dim] to keys and values [1, heads, rows, headDim].
  private byHead(rows: Tensor): KeyValue {
    const [k, v] = rows.split([this.dim, this.dim]);
    const turn = (x: Tensor): Tensor => this.heads(x).unsqueeze(0).permute([0, 2, 1, 3]);
    return { k: turn(k!), v: turn(v!) };
  }

  private placeKeys(k: Tensor, v: Tensor, coordinates: Tensor): KeyValue {
    const { compat } = this.options;
    const rotate = (x: Tensor): Tensor => applyRotary(x, this.rotary(coordinates.unsqueeze(0)));
    if (compat === "none") return { k: rotate(this.kNorm.forward(k)), v };
    return { k: this.kNorm.forward(compat === "released" ? k : rotate(k)), v };
  }
}

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
function paddedByItem(parts: readonly Int32Array[]): { index: Tensor; longest: number; lengths: number[] } {
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
  return { index: tensor(index), longest, lengths };
}
